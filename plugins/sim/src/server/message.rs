//! CoAP messages (RFC 7252), as this server needs them: the only place beside the exchanges that names `coap-lite`.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// Token of our own requests.
pub type Token = [u8; 8];

/// Options of a request that this server understands though they are critical (odd, RFC 7252 §5.4.1): Uri-Host,
/// Uri-Port, Uri-Path, Uri-Query, Accept.
const CRITICAL_UNDERSTOOD: [u16; 5] = [3, 7, 11, 15, 17];

/// What kind of message a code makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0.00
    Empty,
    /// 0.xx
    Request,
    /// 2.xx, 4.xx, 5.xx
    Response,
    /// The rest (RFC 7252 §12.1).
    Reserved,
}

/// Reads a datagram; `None` if it is no CoAP version 1 message.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Packet> {
    Packet::from_bytes(bytes).ok().filter(|packet| packet.header.get_version() == 1)
}

/// The bytes of a message of ours; they are always small enough.
#[must_use]
pub fn bytes(packet: &Packet) -> Vec<u8> {
    packet.to_bytes_unlimited().unwrap_or_default()
}

/// An empty message: acknowledgement or reset.
#[must_use]
pub fn empty(kind: MessageType, message_id: u16) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_type(kind);
    packet.header.code = MessageClass::Empty;
    packet.header.message_id = message_id;
    bytes(&packet)
}

/// The kind of a message.
#[must_use]
pub fn kind(packet: &Packet) -> Kind {
    match u8::from(packet.header.code) {
        0 => Kind::Empty,
        0x01..=0x1f => Kind::Request,
        0x40..=0x5f | 0x80..=0xbf => Kind::Response,
        _ => Kind::Reserved,
    }
}

/// The token, if it can be one of ours.
#[must_use]
pub fn token(packet: &Packet) -> Option<Token> {
    packet.get_token().try_into().ok()
}

/// The values of a repeatable text option; `None` if one is not UTF-8.
#[must_use]
pub fn texts(packet: &Packet, option: CoapOption) -> Option<Vec<&str>> {
    packet.get_option(option).into_iter().flatten().map(|value| std::str::from_utf8(value).ok()).collect()
}

/// An option of up to four bytes as a number.
#[must_use]
pub fn number(packet: &Packet, option: CoapOption) -> Option<u32> {
    let value = packet.get_first_option(option)?;
    (value.len() <= 4).then(|| value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// The content format, if there is one.
#[must_use]
pub fn content_format(packet: &Packet) -> Option<u16> {
    number(packet, CoapOption::ContentFormat).and_then(|format| format.try_into().ok())
}

/// Adds a numeric option in its shortest form (RFC 7252 §3.2).
pub fn add_number(packet: &mut Packet, option: CoapOption, number: u16) {
    let bytes = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    packet.add_option(option, bytes);
}

/// Whether a request carries a critical option that is not understood: it gets 4.02 (RFC 7252 §5.4.1).
#[must_use]
pub fn has_unknown_critical(packet: &Packet) -> bool {
    packet
        .options()
        .any(|(number, values)| number % 2 == 1 && !values.is_empty() && !CRITICAL_UNDERSTOOD.contains(number))
}
