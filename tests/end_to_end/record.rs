//! DTLS records and CoAP messages of a capture: the rows of tshark as values.
//!
//! Names of fields are those of Wireshark's display filter reference for `dtls` and `coap`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Types of handshake messages (RFC 5246 §7.4, RFC 6347 §4.3.2).
pub const CLIENT_HELLO: u8 = 1;
pub const SERVER_HELLO: u8 = 2;
pub const HELLO_VERIFY_REQUEST: u8 = 3;
pub const CLIENT_KEY_EXCHANGE: u8 = 16;
pub const FINISHED: u8 = 20;

/// Content types (RFC 5246 §6.2.1).
pub const ALERT: u8 = 21;
pub const APPLICATION_DATA: u8 = 23;

/// Bytes before the fragment of a record without Connection ID.
const HEADER: usize = 13;

/// A DTLS record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Since the begin of the capture.
    pub time: Duration,
    /// Number of its datagram in the capture.
    pub datagram: u64,
    pub to_server: bool,
    pub client_port: u16,
    /// 20 change cipher spec, 21 alert, 22 handshake, 23 application data, 25 with a Connection ID.
    pub content_type: u8,
    pub version: u16,
    pub epoch: u16,
    pub sequence: u64,
    /// Of the fragment, without the header, in bytes.
    pub length: usize,
    /// All of it as it was sent.
    pub bytes: Vec<u8>,
    /// Messages and fragments of messages; none if it is encrypted.
    pub handshake: Vec<Handshake>,
    /// Level and description; none if it is encrypted.
    pub alert: Option<(u8, u8)>,
    /// What was inside, if it was decrypted.
    pub coap: Option<Coap>,
}

/// A handshake message or a fragment of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Handshake {
    /// 1 ClientHello, 2 ServerHello, 3 HelloVerifyRequest, 16 ClientKeyExchange, 20 Finished, ..
    pub kind: u8,
    pub length: usize,
    pub message_seq: u16,
    pub fragment_offset: usize,
    pub fragment_length: usize,
    /// Of a ClientHello or ServerHello.
    pub hello: Option<Hello>,
    /// Of a ClientKeyExchange with a pre-shared key.
    pub psk_identity: Option<Vec<u8>>,
    /// All that tshark says.
    pub fields: Value,
}

/// A ClientHello or ServerHello; the latter has one suite and one compression method.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    pub version: u16,
    pub random: Vec<u8>,
    pub session_id: Vec<u8>,
    pub cookie: Vec<u8>,
    pub suites: Vec<u16>,
    pub compression: Vec<u8>,
    /// By type: length in bytes, and all that tshark says. An extension that is there twice has one entry.
    pub extensions: BTreeMap<u16, (usize, Value)>,
}

/// A CoAP message inside of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Coap {
    /// 0 CON, 1 NON, 2 ACK, 3 RST.
    pub kind: u8,
    /// `2.05` is 0x45.
    pub code: u8,
    /// Of Uri-Path or Location-Path options.
    pub path: String,
    /// All that tshark says.
    pub fields: Value,
}

/// Records with a handshake message of this type in the clear.
pub fn handshakes(records: &[Record], kind: u8) -> Vec<&Record> {
    records.iter().filter(|record| record.handshake.iter().any(|message| message.kind == kind)).collect()
}

/// Fails if a pair of epoch and sequence number of one association has two contents: a nonce would be used twice.
pub fn nothing_sealed_twice(records: &[Record]) {
    let mut randoms = BTreeSet::new();
    let mut associations: BTreeMap<u16, u32> = BTreeMap::new();
    let mut seen: BTreeMap<_, &Record> = BTreeMap::new();
    for record in records {
        let association = associations.entry(record.client_port).or_default();
        let hello = record.hello().filter(|_| record.to_server);
        if hello.is_some_and(|hello| randoms.insert((record.client_port, hello.random.clone()))) {
            *association += 1;
        }
        let key = (record.client_port, *association, record.to_server, record.epoch, record.sequence);
        let first = *seen.entry(key).or_insert(record);
        assert_eq!(first.bytes, record.bytes, "sealed twice: {first:?} and {record:?}");
    }
}

impl Record {
    /// The records of a datagram from or to `port`, the server's, of which `layers` is what tshark says.
    pub fn of_datagram(layers: &Value, port: u16) -> Vec<Record> {
        let udp = &layers["udp"];
        let (source, destination) = (number(&udp["udp.srcport"]) as u16, number(&udp["udp.dstport"]) as u16);
        let to_server = destination == port;
        let seconds: f64 = text(&layers["frame"]["frame.time_relative"]).parse().unwrap();
        let payload = hex(&udp["udp.payload"]);
        let mut coap = list(&layers["coap"]).into_iter();
        let mut rest = &payload[..];
        let mut records = Vec::new();
        for row in list(&layers["dtls"]).into_iter().flat_map(|layer| list(&layer["dtls.record"])) {
            // What is no record, as tshark sees it, has no length.
            let Some(length) = row["dtls.record.length"].as_str().map(|text| text.parse().unwrap()) else { break };
            let (bytes, after) = rest.split_at(HEADER + length);
            rest = after;
            let is_coap = row["dtls.app_data_proto"].is_string();
            records.push(Record {
                time: Duration::from_secs_f64(seconds),
                datagram: number(&layers["frame"]["frame.number"]),
                to_server,
                client_port: if to_server { source } else { destination },
                content_type: number(&row["dtls.record.content_type"]) as u8,
                version: number(&row["dtls.record.version"]) as u16,
                epoch: number(&row["dtls.record.epoch"]) as u16,
                sequence: number(&row["dtls.record.sequence_number"]),
                length,
                bytes: bytes.to_vec(),
                handshake: list(&row["dtls.handshake"]).into_iter().filter_map(Handshake::of).collect(),
                alert: alert(&row["dtls.alert_message"]),
                coap: if is_coap { coap.next().map(Coap::of) } else { None },
            });
        }
        records
    }

    /// The hello that is in it.
    pub fn hello(&self) -> Option<&Hello> {
        self.handshake.iter().find_map(|message| message.hello.as_ref())
    }
}

impl Handshake {
    /// None if it is encrypted.
    fn of(row: &Value) -> Option<Handshake> {
        let field = |name: &str| &row[format!("dtls.handshake.{name}")];
        let kind = field("type").as_str()?.parse().unwrap();
        let identity = &row["PSK Client Params"]["dtls.handshake.identity"];
        Some(Handshake {
            kind,
            length: number(field("length")) as usize,
            message_seq: number(field("message_seq")) as u16,
            fragment_offset: number(field("fragment_offset")) as usize,
            fragment_length: number(field("fragment_length")) as usize,
            hello: (matches!(kind, 1 | 2) && field("random").is_string()).then(|| Hello::of(row)),
            psk_identity: identity.is_string().then(|| hex(identity)),
            fields: row.clone(),
        })
    }
}

impl Hello {
    fn of(row: &Value) -> Hello {
        let field = |name: &str| &row[format!("dtls.handshake.{name}")];
        let suites = match &field("ciphersuites")["dtls.handshake.ciphersuite"] {
            Value::Null => field("ciphersuite"),
            many => many,
        };
        let compression = match &field("comp_methods")["dtls.handshake.comp_method"] {
            Value::Null => field("comp_method"),
            many => many,
        };
        let mut extensions = BTreeMap::new();
        for (_, extension) in row.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("Extension: ")) {
            for extension in list(extension) {
                let length = number(&extension["dtls.handshake.extension.len"]) as usize;
                extensions
                    .insert(number(&extension["dtls.handshake.extension.type"]) as u16, (length, extension.clone()));
            }
        }
        Hello {
            version: number(field("version")) as u16,
            random: hex(field("random")),
            session_id: hex(field("session_id")),
            cookie: hex(field("cookie")),
            suites: list(suites).into_iter().map(|suite| number(suite) as u16).collect(),
            compression: list(compression).into_iter().map(|method| number(method) as u8).collect(),
            extensions,
        }
    }

    /// Types of the extensions, in ascending order.
    pub fn extension_types(&self) -> Vec<u16> {
        self.extensions.keys().copied().collect()
    }
}

impl Coap {
    fn of(row: &Value) -> Coap {
        Coap {
            kind: number(&row["coap.type"]) as u8,
            code: number(&row["coap.code"]) as u8,
            path: row["coap.opt.uri_path_recon"].as_str().unwrap_or_default().to_string(),
            fields: row.clone(),
        }
    }
}

/// None if it is encrypted.
fn alert(row: &Value) -> Option<(u8, u8)> {
    let level = row["dtls.alert_message.level"].as_str()?;
    Some((level.parse().unwrap(), number(&row["dtls.alert_message.desc"]) as u8))
}

/// One value, several, or none: tshark writes a list only if there are several.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Decimal, or hexadecimal with 0x.
fn number(value: &Value) -> u64 {
    let text = text(value);
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    number.unwrap_or_else(|_| panic!("no number: {text}"))
}

/// Bytes as `01:ab`; none if there is no such field.
fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap_or_default().replace(':', "");
    lpwad_link::hex::decode(&digits).unwrap()
}

#[cfg(test)]
mod tests {
    use super::{Record, nothing_sealed_twice};

    /// A record of two bytes, always with the same epoch and sequence number.
    fn record(content: &str) -> Record {
        let layers = serde_json::json!({
            "frame": { "frame.number": "1", "frame.time_relative": "0.5" },
            "udp": {
                "udp.srcport": "40000", "udp.dstport": "5684",
                "udp.payload": format!("17:fe:fd:00:01:00:00:00:00:00:07:00:02:{content}"),
            },
            "dtls": { "dtls.record": {
                "dtls.record.content_type": "23", "dtls.record.version": "0xfefd", "dtls.record.epoch": "1",
                "dtls.record.sequence_number": "7", "dtls.record.length": "2",
            } },
        });
        Record::of_datagram(&layers, 5684).remove(0)
    }

    #[test]
    fn the_same_record_again_is_a_repetition() {
        nothing_sealed_twice(&[record("aa:01"), record("aa:01")]);
    }

    #[test]
    #[should_panic(expected = "sealed twice")]
    fn another_content_under_the_same_number_is_found() {
        nothing_sealed_twice(&[record("aa:01"), record("aa:02")]);
    }
}
