//! One CoAP message (RFC 7252 §3), and the only place that names `coap-lite`.
//!
//! On top of that crate's parser this checks what it lets through: the version, a payload marker without payload, bytes after an
//! empty message, and the size.

use core::fmt;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

use super::token::Token;

/// The longest datagram that is parsed. Our peers send blocks of at most 1024 bytes; this leaves room for a peer that does not.
/// Counted: `malformed`.
pub const MAX_DATAGRAM: usize = 4096;

/// Option numbers (RFC 7252 §5.10, RFC 7641 §2, RFC 7959 §2.1).
pub mod option {
    /// Entity tag of a representation.
    pub const ETAG: u16 = 4;
    /// 0 register, 1 deregister; in a response the sequence number.
    pub const OBSERVE: u16 = 6;
    /// Host the client thinks it talks to.
    pub const URI_HOST: u16 = 3;
    /// Port the client thinks it talks to.
    pub const URI_PORT: u16 = 7;
    /// Segment of the location of a created resource.
    pub const LOCATION_PATH: u16 = 8;
    /// Segment of the target.
    pub const URI_PATH: u16 = 11;
    /// Format of the payload.
    pub const CONTENT_FORMAT: u16 = 12;
    /// Seconds a response is fresh.
    pub const MAX_AGE: u16 = 14;
    /// Argument of the target.
    pub const URI_QUERY: u16 = 15;
    /// Format the client wants.
    pub const ACCEPT: u16 = 17;
    /// Block of a response.
    pub const BLOCK2: u16 = 23;
    /// Block of a request.
    pub const BLOCK1: u16 = 27;
    /// Target of a forward proxy.
    pub const PROXY_URI: u16 = 35;
    /// Scheme of a forward proxy's target.
    pub const PROXY_SCHEME: u16 = 39;
    /// Size of a request's payload.
    pub const SIZE1: u16 = 60;
}

/// Message type (RFC 7252 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Must be acknowledged.
    Confirmable,
    /// Is not acknowledged.
    NonConfirmable,
    /// Acknowledges a confirmable message.
    Acknowledgement,
    /// Refuses a message.
    Reset,
}

/// Request method or response code: 3 bits of class, 5 of detail (RFC 7252 §12.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// 0.00
    pub const EMPTY: Code = Code(0x00);
    /// 0.01
    pub const GET: Code = Code(0x01);
    /// 0.02
    pub const POST: Code = Code(0x02);
    /// 0.03
    pub const PUT: Code = Code(0x03);
    /// 0.04
    pub const DELETE: Code = Code(0x04);
    /// 2.01
    pub const CREATED: Code = Code(0x41);
    /// 2.02
    pub const DELETED: Code = Code(0x42);
    /// 2.04
    pub const CHANGED: Code = Code(0x44);
    /// 2.05
    pub const CONTENT: Code = Code(0x45);
    /// 2.31
    pub const CONTINUE: Code = Code(0x5f);
    /// 4.00
    pub const BAD_REQUEST: Code = Code(0x80);
    /// 4.01
    pub const UNAUTHORIZED: Code = Code(0x81);
    /// 4.02
    pub const BAD_OPTION: Code = Code(0x82);
    /// 4.04
    pub const NOT_FOUND: Code = Code(0x84);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Code = Code(0x85);
    /// 4.06
    pub const NOT_ACCEPTABLE: Code = Code(0x86);
    /// 4.08
    pub const INCOMPLETE: Code = Code(0x88);
    /// 4.13
    pub const TOO_LARGE: Code = Code(0x8d);
    /// 4.15
    pub const UNSUPPORTED_FORMAT: Code = Code(0x8f);
    /// 5.00
    pub const INTERNAL_ERROR: Code = Code(0xa0);
    /// 5.03
    pub const UNAVAILABLE: Code = Code(0xa3);
    /// 5.05
    pub const PROXYING_NOT_SUPPORTED: Code = Code(0xa5);

    /// 0 request, 2 success, 4 client error, 5 server error.
    pub fn class(self) -> u8 {
        self.0 >> 5
    }

    /// A method (class 0, not 0.00).
    pub fn is_request(self) -> bool {
        self.class() == 0 && self != Code::EMPTY
    }

    /// A response of class 2, 4 or 5.
    pub fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// A response of class 2.
    pub fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 0x1f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One message, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Confirmable, non-confirmable, acknowledgement or reset.
    pub kind: Kind,
    /// Method or response code.
    pub code: Code,
    /// Matches acknowledgements and detects duplicates.
    pub message_id: u16,
    /// Matches responses to requests.
    pub token: Token,
    /// In ascending order of number; repeated ones in the order of the message.
    pub options: Vec<(u16, Vec<u8>)>,
    /// Without the marker; empty if there is none.
    pub payload: Vec<u8>,
}

/// The bytes are not a CoAP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CoAP message")]
pub struct Malformed {
    /// Message id of a confirmable message that must be refused with a reset (RFC 7252 §4.2).
    pub reset: Option<u16>,
}

impl Message {
    /// A message without options and payload.
    pub fn new(kind: Kind, code: Code, message_id: u16, token: Token) -> Message {
        Message { kind, code, message_id, token, options: Vec::new(), payload: Vec::new() }
    }

    /// An empty acknowledgement or reset.
    pub fn empty(kind: Kind, message_id: u16) -> Message {
        Message::new(kind, Code::EMPTY, message_id, Token::default())
    }

    /// Parses one datagram of at most [`MAX_DATAGRAM`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
        let version_is_one = bytes.first().is_some_and(|byte| byte >> 6 == 1);
        if !version_is_one || bytes.len() < 4 || bytes.len() > MAX_DATAGRAM {
            return Err(Malformed { reset: None });
        }
        let reset = match bytes {
            [first, _, high, low, ..] if first & 0x30 == 0 => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        let packet = Packet::from_bytes(bytes).map_err(|_| Malformed { reset })?;
        let code = Code(packet.header.code.into());
        let marker_without_payload = packet.payload.is_empty()
            && bytes.last() == Some(&0xff)
            && packet.to_bytes_unlimited().is_ok_and(|encoded| encoded.len() != bytes.len());
        if marker_without_payload || (code == Code::EMPTY && bytes.len() != 4) {
            return Err(Malformed { reset });
        }
        let kind = match packet.header.get_type() {
            MessageType::Confirmable => Kind::Confirmable,
            MessageType::NonConfirmable => Kind::NonConfirmable,
            MessageType::Acknowledgement => Kind::Acknowledgement,
            MessageType::Reset => Kind::Reset,
        };
        let token = Token::new(packet.get_token()).ok_or(Malformed { reset })?;
        let options =
            packet.options().flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone()))).collect();
        Ok(Message { kind, code, message_id: packet.header.message_id, token, options, payload: packet.payload })
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = Packet::new();
        packet.header.set_version(1);
        packet.header.set_type(match self.kind {
            Kind::Confirmable => MessageType::Confirmable,
            Kind::NonConfirmable => MessageType::NonConfirmable,
            Kind::Acknowledgement => MessageType::Acknowledgement,
            Kind::Reset => MessageType::Reset,
        });
        packet.header.code = MessageClass::from(self.code.0);
        packet.header.message_id = self.message_id;
        packet.set_token(self.token.as_bytes().to_vec());
        for (number, value) in &self.options {
            packet.add_option(CoapOption::from(*number), value.clone());
        }
        packet.payload.clone_from(&self.payload);
        packet.to_bytes_unlimited().expect("only a size limit can fail, and there is none")
    }

    /// All values of an option.
    pub fn values(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        self.options.iter().filter(move |(n, _)| *n == number).map(|(_, value)| value.as_slice())
    }

    /// All values of an option as text; `None` if one is not UTF-8.
    pub fn texts(&self, number: u16) -> Option<Vec<&str>> {
        self.values(number).map(|value| core::str::from_utf8(value).ok()).collect()
    }

    /// The first value of an option as an unsigned integer; `None` if absent or longer than 4 bytes (RFC 7252 §3.2).
    pub fn uint(&self, number: u16) -> Option<u32> {
        let value = self.values(number).next()?;
        if value.len() > 4 {
            return None;
        }
        Some(value.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
    }

    /// The option is there.
    pub fn has(&self, number: u16) -> bool {
        self.values(number).next().is_some()
    }

    /// Adds an option with bytes.
    pub fn add(&mut self, number: u16, value: &[u8]) {
        let index = self.options.partition_point(|(n, _)| *n <= number);
        self.options.insert(index, (number, value.to_vec()));
    }

    /// Adds an option with an unsigned integer in its shortest form (RFC 7252 §3.2).
    pub fn add_uint(&mut self, number: u16, value: u32) {
        let bytes = value.to_be_bytes();
        let skip = bytes.iter().take_while(|byte| **byte == 0).count();
        self.add(number, bytes.get(skip..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7252 Appendix A, figure 16: CON GET /temperature (MID 0x7d34) and its piggybacked 2.05 "22.3 C".
    #[test]
    fn rfc7252_appendix_a_figure_16() {
        let mut request = Message::new(Kind::Confirmable, Code::GET, 0x7d34, Token::default());
        request.add(option::URI_PATH, b"temperature");
        let bytes = [&[0x40, 0x01, 0x7d, 0x34, 0xbb], b"temperature".as_slice()].concat();
        assert_eq!(request.encode(), bytes);
        assert_eq!(Message::decode(&bytes), Ok(request));

        let mut response = Message::new(Kind::Acknowledgement, Code::CONTENT, 0x7d34, Token::default());
        response.payload = b"22.3 C".to_vec();
        let bytes = [&[0x60, 0x45, 0x7d, 0x34, 0xff], b"22.3 C".as_slice()].concat();
        assert_eq!(response.encode(), bytes);
        assert_eq!(Message::decode(&bytes), Ok(response));
    }

    /// RFC 7252 Appendix A, figure 17: the same with token 0x20.
    #[test]
    fn rfc7252_appendix_a_figure_17() {
        let bytes = [&[0x41, 0x01, 0x7d, 0x35, 0x20, 0xbb], b"temperature".as_slice()].concat();
        let request = Message::decode(&bytes).unwrap();
        assert_eq!(request.token.as_bytes(), [0x20]);
        assert_eq!(request.encode(), bytes);
    }

    /// C5: RFC 7252 §3 and §4.1: what must be treated as a message format error.
    #[test]
    fn format_errors_are_refused_and_tell_what_to_reset() {
        let reset = |id| Err(Malformed { reset: id });
        assert_eq!(Message::decode(&[]), reset(None));
        assert_eq!(Message::decode(&[0x40, 0x01, 0x12]), reset(None));
        assert_eq!(Message::decode(&[0x80, 0x01, 0x12, 0x34]), reset(None), "version 2 is ignored in silence");
        assert_eq!(Message::decode(&[0x49, 0x01, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0]), reset(Some(0x1234)));
        assert_eq!(Message::decode(&[0x40, 0x01, 0x12, 0x34, 0xff]), reset(Some(0x1234)), "marker without payload");
        assert_eq!(Message::decode(&[0x40, 0x01, 0x12, 0x34, 0xf0]), reset(Some(0x1234)), "delta 15");
        assert_eq!(Message::decode(&[0x40, 0x01, 0x12, 0x34, 0xb5, b'a']), reset(Some(0x1234)), "cut option");
        assert_eq!(Message::decode(&[0x41, 0x00, 0x12, 0x34, 0x01]), reset(Some(0x1234)), "empty with a token");
        assert_eq!(Message::decode(&[0x50, 0x01, 0x12, 0x34, 0xff]), reset(None), "NON is dropped");
        assert_eq!(Message::decode(&vec![0x40; MAX_DATAGRAM + 1]), reset(None));
        assert!(Message::decode(&[0x40, 0x01, 0x12, 0x34, 0xb1, 0xff]).is_ok(), "0xff as the value of an option");
    }

    #[test]
    fn unsigned_options_take_their_shortest_form() {
        let mut message = Message::new(Kind::Confirmable, Code::GET, 1, Token::default());
        message.add_uint(option::OBSERVE, 0);
        message.add_uint(option::CONTENT_FORMAT, 11542);
        message.add_uint(option::ACCEPT, 60);
        let lengths: Vec<usize> = message.options.iter().map(|(_, value)| value.len()).collect();
        assert_eq!(lengths, [0, 2, 1]);
        let decoded = Message::decode(&message.encode()).unwrap();
        assert_eq!(decoded.uint(option::OBSERVE), Some(0));
        assert_eq!(decoded.uint(option::CONTENT_FORMAT), Some(11542));
        assert_eq!(decoded.uint(option::BLOCK1), None);
    }

    prop_compose! {
        fn any_message()(
            kind in prop_oneof![Just(Kind::Confirmable), Just(Kind::NonConfirmable), Just(Kind::Acknowledgement)],
            code in 1u8..=255,
            message_id: u16,
            token in proptest::collection::vec(any::<u8>(), 0..=8),
            options in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..6),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) -> Message {
            let mut message = Message::new(kind, Code(code), message_id, Token::new(&token).unwrap());
            for (number, value) in &options {
                message.add(*number, value);
            }
            message.payload = payload;
            message
        }
    }

    proptest! {
        #[test]
        fn encode_and_decode_are_inverse(message in any_message()) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn random_bytes_after_a_valid_header_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(&[&[0x40, 0x01, 0x00, 0x01], bytes.as_slice()].concat());
        }
    }
}
