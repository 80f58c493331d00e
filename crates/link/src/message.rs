//! The messages, in the order in which a plugin meets them. Fields a side does not know are ignored, so that fields
//! can be added by feature; the meaning of a field never changes.

use crate::fact::Fact;
use crate::hex;
use crate::units::LoraDr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// From the daemon to a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToPlugin {
    /// First line: who speaks.
    Hello(Hello),
    /// Second line, after the plugin's `hello`: what to do. Answered by `ready` or by a `status` with a fault.
    Configure(Configure),
    /// Send a frame. Answered by exactly one `txdone` with the same id.
    Tx(Tx),
    /// Stop and exit within two seconds.
    Stop(Stop),
}

/// From a plugin to the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FromPlugin {
    /// Answer to the daemon's `hello`.
    Hello(Hello),
    /// The radio works; what it can do.
    Ready(Ready),
    /// A frame was heard, with a good CRC.
    Rx(Rx),
    /// What became of a `tx`.
    Txdone(TxDone),
    /// Sign of life, at least once in a status period.
    Status(Status),
    /// What the modem says of its network.
    Fact(Fact),
}

/// Who speaks, and in which version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::version::PROTOCOL`].
    pub protocol: String,
    /// Version of the protocol, `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// Names of optional abilities; an unknown name is ignored.
    #[serde(default)]
    pub features: Vec<String>,
    /// Name of the plugin (plugins only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// What the plugin is: `lora-phy` (plugins only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A channel to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Centre frequency in Hz.
    pub freq_hz: u32,
    /// Bandwidth in Hz.
    pub bw_hz: u32,
}

/// What a radio shall do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configure {
    /// Name of the instance in the configuration file.
    pub radio: String,
    /// The instance's own settings, as `plugin.toml` declares them.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Channels of the region to listen on, the most wanted first; a radio with one receiver takes the first that
    /// its settings do not override.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// Longest time in seconds between two `status` lines; after three times as long without a line the plugin counts
    /// as dead.
    #[serde(default = "default_status_period_s")]
    pub status_period_s: u32,
}

fn default_status_period_s() -> u32 {
    10
}

/// Capability sheet of a radio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// Highest radiated power in dBm EIRP.
    pub max_dbm_eirp: f32,
    /// The radio's clock: `us32` is microseconds in 32 bits.
    pub clock: String,
    /// Frequencies that it can use, `[lowest, highest]` in Hz; empty if not known.
    #[serde(default)]
    pub freq_ranges_hz: Vec<[u32; 2]>,
    /// How many channels it hears at the same time.
    #[serde(default = "one")]
    pub channels: u8,
    /// With one receiver: the one frequency that it hears, in Hz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freq_hz: Option<u32>,
    /// With one receiver: the one data rate that it hears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dr: Option<LoraDr>,
    /// Whether it sends at `at_us` (true) or as soon as it is told (false).
    #[serde(default)]
    pub timed_tx: bool,
    /// Whether it can send with inverted IQ; without it no node hears a downlink.
    #[serde(default)]
    pub inverted_iq: bool,
    /// How long before `at_us` it must have the frame, in ms.
    #[serde(default)]
    pub min_lead_ms: u32,
    /// What the radio says of itself, for people: model and firmware.
    #[serde(default)]
    pub model: String,
}

fn one() -> u8 {
    1
}

/// A frame that was heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rx {
    /// Radio clock at the end of the frame on air, in µs, 32 bits.
    pub at_us: u32,
    /// Frequency in Hz.
    pub freq_hz: u32,
    /// Data rate.
    pub dr: LoraDr,
    /// Received signal strength in dBm, if the radio knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rssi_dbm: Option<i16>,
    /// Signal to noise ratio in dB, if the radio knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snr_db: Option<f32>,
    /// PHYPayload, 1 to 255 bytes.
    #[serde(with = "hex")]
    pub data: Vec<u8>,
}

/// A frame to send: LoRa, explicit header, no payload CRC, sync word 0x34, preamble 8, coding rate 4/5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tx {
    /// Chosen by the daemon, repeated in `txdone`.
    pub id: u64,
    /// Radio clock at the start of the preamble, in µs, 32 bits.
    pub at_us: u32,
    /// Frequency in Hz.
    pub freq_hz: u32,
    /// Data rate.
    pub dr: LoraDr,
    /// Radiated power in dBm EIRP.
    pub dbm_eirp: f32,
    /// Whether IQ is inverted (true for every LoRaWAN downlink).
    pub iq_inverted: bool,
    /// PHYPayload, 1 to 255 bytes.
    #[serde(with = "hex")]
    pub data: Vec<u8>,
}

/// What became of a `tx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TxStatus {
    /// It was on air.
    Sent,
    /// It came too late for its time; nothing was on air.
    Late,
    /// Another frame occupies the time; nothing was on air.
    Collision,
    /// The radio was busy; nothing was on air.
    Busy,
    /// It failed; whether something was on air is not known.
    Failed,
}

/// Answer to `tx`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TxDone {
    /// Id of the `tx`.
    pub id: u64,
    /// Outcome.
    pub status: TxStatus,
    /// By how much the frame was ready before its time, in ms; negative if it was late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_margin_ms: Option<i32>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Sign of life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Why the radio does not work at present, or nothing if it does. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Counters since the start of the plugin, at most 64.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub counters: Map<String, Value>,
}

/// Stop has no fields yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {}

/// Why a line is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a JSON object with one key, or a field of a known message is missing or of the wrong type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A well-formed message of a name that this version does not know: to be ignored and counted.
    #[error("unknown message {0:?}")]
    Unknown(String),
}

macro_rules! line_codec {
    ($type:ty, $known:expr) => {
        impl $type {
            /// Reads one line (without its end).
            pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
                let value: Value =
                    serde_json::from_slice(line).map_err(|error| ParseError::Malformed(error.to_string()))?;
                let name = match value.as_object().map(|object| (object.len(), object.keys().next())) {
                    Some((1, Some(name))) => name.clone(),
                    _ => return Err(ParseError::Malformed("not an object with one key".into())),
                };
                let known: &[&str] = $known;
                if !known.contains(&name.as_str()) {
                    return Err(ParseError::Unknown(name.chars().take(32).collect()));
                }
                serde_json::from_value(value).map_err(|error| ParseError::Malformed(error.to_string()))
            }

            /// The message as one line with its end.
            #[must_use]
            pub fn to_line(&self) -> String {
                let mut line = serde_json::to_string(self).expect("messages hold only what JSON can hold");
                line.push('\n');
                line
            }
        }
    };
}

line_codec!(ToPlugin, &["hello", "configure", "tx", "stop"]);
line_codec!(FromPlugin, &["hello", "ready", "rx", "txdone", "status", "fact"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcript_of_the_design_is_read_and_written_as_it_stands() {
        let to = [
            r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","features":[]}}"#,
            r#"{"tx":{"id":17,"at_us":82234567,"freq_hz":868100000,"dr":"SF7BW125","dbm_eirp":14.0,"iq_inverted":true,"data":"60a1"}}"#,
            r#"{"stop":{}}"#,
        ];
        for line in to {
            assert_eq!(ToPlugin::parse(line.as_bytes()).unwrap().to_line().trim_end(), line);
        }
        let from = [
            r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","features":["tx-queue"],"plugin":"lora-serial","kind":"lora-phy"}}"#,
            r#"{"rx":{"at_us":81234567,"freq_hz":868100000,"dr":"SF7BW125","rssi_dbm":-97,"snr_db":5.5,"data":"4004"}}"#,
            r#"{"txdone":{"id":17,"status":"sent"}}"#,
            r#"{"fact":{"name":"roaming","value":false,"age_s":3}}"#,
            r#"{"fact":{"name":"plmn","value":null,"age_s":0}}"#,
        ];
        for line in from {
            assert_eq!(FromPlugin::parse(line.as_bytes()).unwrap().to_line().trim_end(), line);
        }
        let short = br#"{"ready":{"max_dbm_eirp":16.0,"clock":"us32"}}"#;
        let FromPlugin::Ready(ready) = FromPlugin::parse(short).unwrap() else { panic!("not ready") };
        assert_eq!((ready.channels, ready.timed_tx, ready.inverted_iq), (1, false, false));
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_names_are_told_apart_from_garbage() {
        assert!(FromPlugin::parse(br#"{"status":{"fault":"x","new_field":[1,2]}}"#).is_ok());
        assert_eq!(FromPlugin::parse(br#"{"link":{"name":"x"}}"#), Err(ParseError::Unknown("link".into())));
        assert!(FromPlugin::parse(br#"{"fact":{"name":"of-later-versions","value":[7]}}"#).is_ok());
        for garbage in [
            &b"{"[..],
            b"[]",
            b"{}",
            b"null",
            b"\xff\xfe",
            br#"{"rx":{},"status":{}}"#,
            br#"{"rx":{"at_us":-1}}"#,
            br#"{"fact":{"name":"rat"}}"#,
            br#"{"fact":{"name":"rat","value":"lte","age_s":-1}}"#,
            br#"{"fact":{"name":7,"value":"lte"}}"#,
        ] {
            assert!(matches!(FromPlugin::parse(garbage), Err(ParseError::Malformed(_))), "{garbage:?}");
        }
        let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
        assert!(matches!(FromPlugin::parse(&deep), Err(ParseError::Malformed(_))));
    }
}
