//! Records: JSON with a version, so that an upgrade can read what an older version wrote. A damaged record costs its
//! node a join or a registration, and nobody else anything.

use core::time::Duration;
use lpwad_lorawan::{DevAddr, DeviceRecord, Key, KeyMark, Pin, PinState, SessionRecord, Shelved};
use lpwad_lwm2m::{Path, Reading, Snapshot, Value};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// Version of the records that this program writes.
const VERSION: u32 = 1;

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Written by a newer program.
    #[error("record has a version that this program does not know")]
    Version,
    /// Not a record.
    #[error("record is damaged")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    record: T,
}

#[derive(Deserialize)]
struct OnlyVersion {
    v: u32,
}

fn to_bytes<T: Serialize>(record: T) -> Vec<u8> {
    serde_json::to_vec(&Versioned { v: VERSION, record }).expect("records hold only what JSON can hold")
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadRecord> {
    let version: OnlyVersion = serde_json::from_slice(bytes).map_err(|_| BadRecord::Damaged)?;
    if version.v != VERSION {
        return Err(BadRecord::Version);
    }
    let versioned: Versioned<T> = serde_json::from_slice(bytes).map_err(|_| BadRecord::Damaged)?;
    Ok(versioned.record)
}

#[derive(Serialize, Deserialize)]
struct DeviceRow {
    dev_nonces: Vec<u16>,
    next_join_nonce: u32,
    session: Option<SessionRow>,
    pending: Option<SessionRow>,
    /// Hexadecimal.
    #[serde(default)]
    app_key_mark: Option<String>,
    #[serde(default)]
    shelved: Vec<ShelvedRow>,
}

#[derive(Serialize, Deserialize)]
struct ShelvedRow {
    app_key_mark: Option<String>,
    dev_nonces: Vec<u16>,
    session: Option<SessionRow>,
    pending: Option<SessionRow>,
}

#[derive(Serialize, Deserialize)]
struct SessionRow {
    dev_addr: String,
    nwk_s_key: Zeroizing<String>,
    app_s_key: Zeroizing<String>,
    fcnt_up: Option<u32>,
    fcnt_down_reserved: u32,
    rx1_delay_s: u8,
    pin_state: u8,
    pin_freq_hz: u32,
    pin_asked: u8,
    pin_refused: u8,
}

/// Bytes of a device's record. They hold session keys: the store's file is 0600.
#[must_use]
pub fn device_to_bytes(record: &DeviceRecord) -> Vec<u8> {
    to_bytes(DeviceRow {
        dev_nonces: record.used_dev_nonces.iter().copied().collect(),
        next_join_nonce: record.next_join_nonce,
        session: record.session.as_ref().map(session_row),
        pending: record.pending.as_ref().map(session_row),
        app_key_mark: mark_row(record.app_key_mark),
        shelved: record.shelved.iter().map(shelved_row).collect(),
    })
}

fn shelved_row(shelved: &Shelved) -> ShelvedRow {
    ShelvedRow {
        app_key_mark: mark_row(shelved.app_key_mark),
        dev_nonces: shelved.used_dev_nonces.iter().copied().collect(),
        session: shelved.session.as_ref().map(session_row),
        pending: shelved.pending.as_ref().map(session_row),
    }
}

fn mark_row(mark: Option<KeyMark>) -> Option<String> {
    mark.map(|mark| lpwad_link::hex::encode(&mark))
}

/// A device's record from its bytes.
pub fn device_from_bytes(bytes: &[u8]) -> Result<DeviceRecord, BadRecord> {
    let row: DeviceRow = from_bytes(bytes)?;
    Ok(DeviceRecord {
        used_dev_nonces: row.dev_nonces.into_iter().collect(),
        next_join_nonce: row.next_join_nonce,
        session: row.session.as_ref().map(session_record).transpose()?,
        pending: row.pending.as_ref().map(session_record).transpose()?,
        app_key_mark: mark(row.app_key_mark.as_deref())?,
        shelved: row.shelved.into_iter().map(shelved).collect::<Result<_, _>>()?,
    })
}

fn shelved(row: ShelvedRow) -> Result<Shelved, BadRecord> {
    Ok(Shelved {
        app_key_mark: mark(row.app_key_mark.as_deref())?,
        used_dev_nonces: row.dev_nonces.into_iter().collect(),
        session: row.session.as_ref().map(session_record).transpose()?,
        pending: row.pending.as_ref().map(session_record).transpose()?,
    })
}

fn mark(hex: Option<&str>) -> Result<Option<KeyMark>, BadRecord> {
    let bytes = hex.map(lpwad_link::hex::decode).transpose().map_err(|_| BadRecord::Damaged)?;
    bytes.map(|bytes| bytes.as_slice().try_into().map_err(|_| BadRecord::Damaged)).transpose()
}

const PIN_STATES: [PinState; 4] = [PinState::No, PinState::Asked, PinState::Yes, PinState::Refused];

fn session_row(record: &SessionRecord) -> SessionRow {
    SessionRow {
        dev_addr: record.dev_addr.to_string(),
        nwk_s_key: Zeroizing::new(lpwad_link::hex::encode(record.nwk_s_key.expose())),
        app_s_key: Zeroizing::new(lpwad_link::hex::encode(record.app_s_key.expose())),
        fcnt_up: record.fcnt_up,
        fcnt_down_reserved: record.fcnt_down_reserved,
        rx1_delay_s: record.rx1_delay_s,
        pin_state: PIN_STATES.iter().position(|state| *state == record.pin.state).unwrap_or(0) as u8,
        pin_freq_hz: record.pin.freq_hz,
        pin_asked: record.pin.asked,
        pin_refused: record.pin.refused,
    }
}

fn session_record(row: &SessionRow) -> Result<SessionRecord, BadRecord> {
    let key = |hex: &str| {
        let bytes = Zeroizing::new(lpwad_link::hex::decode(hex).map_err(|_| BadRecord::Damaged)?);
        Ok(Key::new(bytes.as_slice().try_into().map_err(|_| BadRecord::Damaged)?))
    };
    Ok(SessionRecord {
        dev_addr: row.dev_addr.parse::<DevAddr>().map_err(|_| BadRecord::Damaged)?,
        nwk_s_key: key(&row.nwk_s_key)?,
        app_s_key: key(&row.app_s_key)?,
        fcnt_up: row.fcnt_up,
        fcnt_down_reserved: row.fcnt_down_reserved,
        rx1_delay_s: row.rx1_delay_s,
        pin: Pin {
            state: PIN_STATES.get(usize::from(row.pin_state)).copied().ok_or(BadRecord::Damaged)?,
            freq_hz: row.pin_freq_hz,
            asked: row.pin_asked,
            refused: row.pin_refused,
        },
    })
}

/// What a proxy needs to go on after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyRecord {
    /// Server that the registration is at: the record is of no use for another.
    pub server: String,
    /// Endpoint that is registered.
    pub endpoint: String,
    /// Local UDP port.
    pub local_port: Option<u16>,
    /// Whether the registration was made over DTLS.
    #[serde(default)]
    pub dtls: bool,
    /// State of the LwM2M client.
    pub snapshot: Option<Snapshot>,
}

impl ProxyRecord {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// From its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<ProxyRecord, BadRecord> {
        from_bytes(bytes)
    }
}

/// Last values of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValuesRecord {
    /// When the node was last heard, in ms since 1970, if the clock was trusted.
    pub last_heard_unix_ms: Option<u64>,
    /// Its values.
    pub readings: Vec<Reading>,
}

/// The readings of an uplink that a server has not been told of yet.
#[derive(Clone, Debug, PartialEq)]
pub struct BacklogRecord {
    /// When the uplink came, in ms since 1970, if the clock was trusted.
    pub arrived_unix_ms: Option<u64>,
    /// What it said.
    pub readings: Vec<Reading>,
}

/// A write that waits, or waited at the power cut.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingWrite {
    /// Resource.
    pub path: Path,
    /// Value; `None` for an Execute.
    pub value: Option<Value>,
    /// Seconds left when it was written down.
    pub ttl_s: u32,
    /// When it is given up, in ms since 1970, if the clock was trusted.
    pub expires_unix_ms: Option<u64>,
}

impl PendingWrite {
    /// Time that is left at `unix_ms`; without a trusted clock then or now, what was left when it was written down.
    #[must_use]
    pub fn time_left(&self, unix_ms: Option<u64>) -> Duration {
        match (self.expires_unix_ms, unix_ms) {
            (Some(expires), Some(now)) => Duration::from_millis(expires.saturating_sub(now)),
            _ => Duration::from_secs(u64::from(self.ttl_s)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ValuesRow {
    last_heard_unix_ms: Option<u64>,
    readings: Vec<ValueRow>,
}

#[derive(Serialize, Deserialize)]
struct BacklogRow {
    arrived_unix_ms: Option<u64>,
    readings: Vec<ValueRow>,
}

#[derive(Serialize, Deserialize)]
struct MailboxRow {
    dropped: u64,
    pending: Vec<PendingRow>,
}

#[derive(Serialize, Deserialize)]
struct PendingRow {
    path: String,
    value: Option<TypedValue>,
    ttl_s: u32,
    expires_unix_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ValueRow {
    path: String,
    #[serde(flatten)]
    value: TypedValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
enum TypedValue {
    String(String),
    Integer(i64),
    Unsigned(u64),
    /// As bits, so that every number comes back as it was.
    Float(u64),
    Boolean(bool),
    Opaque(#[serde(with = "lpwad_link::hex")] Vec<u8>),
    Time(i64),
    Objlnk(u16, u16),
    Corelnk(String),
}

fn typed(value: &Value) -> TypedValue {
    match value {
        Value::String(v) => TypedValue::String(v.clone()),
        Value::Integer(v) => TypedValue::Integer(*v),
        Value::Unsigned(v) => TypedValue::Unsigned(*v),
        Value::Float(v) => TypedValue::Float(v.to_bits()),
        Value::Boolean(v) => TypedValue::Boolean(*v),
        Value::Opaque(v) => TypedValue::Opaque(v.clone()),
        Value::Time(v) => TypedValue::Time(*v),
        Value::Objlnk(object, instance) => TypedValue::Objlnk(*object, *instance),
        Value::Corelnk(v) => TypedValue::Corelnk(v.clone()),
    }
}

fn untyped(value: TypedValue) -> Value {
    match value {
        TypedValue::String(v) => Value::String(v),
        TypedValue::Integer(v) => Value::Integer(v),
        TypedValue::Unsigned(v) => Value::Unsigned(v),
        TypedValue::Float(v) => Value::Float(f64::from_bits(v)),
        TypedValue::Boolean(v) => Value::Boolean(v),
        TypedValue::Opaque(v) => Value::Opaque(v),
        TypedValue::Time(v) => Value::Time(v),
        TypedValue::Objlnk(object, instance) => Value::Objlnk(object, instance),
        TypedValue::Corelnk(v) => Value::Corelnk(v),
    }
}

fn path_of(text: &str) -> Result<Path, BadRecord> {
    text.parse().map_err(|_| BadRecord::Damaged)
}

fn value_row(reading: &Reading) -> ValueRow {
    ValueRow { path: reading.path.to_string(), value: typed(&reading.value), at_ms: reading.at_unix_ms }
}

fn reading(row: ValueRow) -> Result<Reading, BadRecord> {
    Ok(Reading { path: path_of(&row.path)?, value: untyped(row.value), at_unix_ms: row.at_ms })
}

impl BacklogRecord {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let readings = self.readings.iter().map(value_row).collect();
        to_bytes(BacklogRow { arrived_unix_ms: self.arrived_unix_ms, readings })
    }

    /// From its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<BacklogRecord, BadRecord> {
        let row: BacklogRow = from_bytes(bytes)?;
        let readings = row.readings.into_iter().map(reading).collect::<Result<_, _>>()?;
        Ok(BacklogRecord { arrived_unix_ms: row.arrived_unix_ms, readings })
    }
}

impl ValuesRecord {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let readings = self.readings.iter().map(value_row).collect();
        to_bytes(ValuesRow { last_heard_unix_ms: self.last_heard_unix_ms, readings })
    }

    /// From its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<ValuesRecord, BadRecord> {
        let row: ValuesRow = from_bytes(bytes)?;
        let readings = row.readings.into_iter().map(reading).collect::<Result<_, _>>()?;
        Ok(ValuesRecord { last_heard_unix_ms: row.last_heard_unix_ms, readings })
    }
}

/// Bytes of a mailbox: how many writes were dropped so far, and what waits, oldest first.
#[must_use]
pub fn mailbox_to_bytes(dropped: u64, pending: &[PendingWrite]) -> Vec<u8> {
    let pending = pending
        .iter()
        .map(|write| PendingRow {
            path: write.path.to_string(),
            value: write.value.as_ref().map(typed),
            ttl_s: write.ttl_s,
            expires_unix_ms: write.expires_unix_ms,
        })
        .collect();
    to_bytes(MailboxRow { dropped, pending })
}

/// The same, from bytes.
pub fn mailbox_from_bytes(bytes: &[u8]) -> Result<(u64, Vec<PendingWrite>), BadRecord> {
    let row: MailboxRow = from_bytes(bytes)?;
    let write = |row: PendingRow| {
        Ok(PendingWrite {
            path: path_of(&row.path)?,
            value: row.value.map(untyped),
            ttl_s: row.ttl_s,
            expires_unix_ms: row.expires_unix_ms,
        })
    };
    Ok((row.dropped, row.pending.into_iter().map(write).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionRecord {
        SessionRecord {
            dev_addr: "00112233".parse().unwrap(),
            nwk_s_key: Key::new([1; 16]),
            app_s_key: Key::new([2; 16]),
            fcnt_up: Some(70_000),
            fcnt_down_reserved: 64,
            rx1_delay_s: 5,
            pin: Pin { state: PinState::Yes, freq_hz: 868_100_000, asked: 1, refused: 0 },
        }
    }

    #[test]
    fn device_record_round_trips() {
        let record = DeviceRecord {
            used_dev_nonces: [0, 7, 65_535].into(),
            next_join_nonce: 3,
            session: Some(session()),
            pending: Some(SessionRecord { fcnt_up: None, ..session() }),
            app_key_mark: Some([7; 8]),
            shelved: vec![Shelved {
                app_key_mark: None,
                used_dev_nonces: [1].into(),
                session: Some(session()),
                pending: None,
            }],
        };
        assert_eq!(device_from_bytes(&device_to_bytes(&record)).unwrap(), record);
    }

    #[test]
    fn values_and_mailbox_round_trip_to_the_bit() {
        let values = [
            Value::String("é".into()),
            Value::Integer(i64::MIN),
            Value::Unsigned(u64::MAX),
            Value::Float(0.1 + 0.2),
            Value::Boolean(false),
            Value::Opaque(vec![0, 255]),
            Value::Time(-1),
            Value::Objlnk(3, 0),
            Value::Corelnk("</1>".into()),
        ];
        let readings: Vec<Reading> = values
            .iter()
            .zip(0..)
            .map(|(value, n)| Reading {
                path: Path::resource(3300, n, 5700),
                value: value.clone(),
                at_unix_ms: Some(1),
            })
            .collect();
        let missed = BacklogRecord { arrived_unix_ms: None, readings: readings.clone() };
        assert_eq!(BacklogRecord::from_bytes(&missed.to_bytes()).unwrap(), missed);
        let record = ValuesRecord { last_heard_unix_ms: None, readings };
        assert_eq!(ValuesRecord::from_bytes(&record.to_bytes()).unwrap(), record);
        let pending: Vec<PendingWrite> = values
            .iter()
            .map(|value| PendingWrite {
                path: Path::resource(3306, 0, 5850),
                value: Some(value.clone()),
                ttl_s: 9,
                expires_unix_ms: Some(9),
            })
            .chain([PendingWrite { path: Path::resource(3, 0, 4), value: None, ttl_s: 1, expires_unix_ms: Some(1) }])
            .collect();
        assert_eq!(mailbox_from_bytes(&mailbox_to_bytes(4, &pending)).unwrap(), (4, pending));
    }

    #[test]
    fn damaged_or_newer_records_are_told_apart() {
        let bytes = device_to_bytes(&DeviceRecord::default());
        for cut in 0..bytes.len() {
            assert_eq!(device_from_bytes(&bytes[..cut]), Err(BadRecord::Damaged));
        }
        let newer = String::from_utf8(bytes).unwrap().replace("\"v\":1", "\"v\":2");
        assert_eq!(device_from_bytes(newer.as_bytes()), Err(BadRecord::Version));
        let bad_key = device_to_bytes(&DeviceRecord { session: Some(session()), ..Default::default() });
        let bad_key = String::from_utf8(bad_key).unwrap().replace("0101", "01");
        assert_eq!(device_from_bytes(bad_key.as_bytes()), Err(BadRecord::Damaged));
    }
}
