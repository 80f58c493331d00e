//! The nodes file: TOML, one `[[node]]` per virtual node.
//!
//! ```toml
//! gateway_freq_hz = 868100000     # channel to which `single_channel` pins nodes (default 868100000)
//!
//! [[node]]
//! dev_eui = "70b3d57ed0001234"
//! join_eui = "0000000000000001"   # default all zero
//! app_key = "00112233445566778899aabbccddeeff"
//! sf = 7                          # spreading factor of uplinks, 7 to 12 (default 7); or dr = 5 (0 to 5)
//! interval_s = 60                 # time between uplinks (default: only when told)
//! payloads = ["01670110"]         # FRMPayloads as hex, sent in turn; `payload = ".."` for one
//! fport = 1                       # FPort of them, 1 to 223 (default 1)
//! confirmed = false               # whether they ask for an acknowledgement (default false)
//! start_delay_s = 1               # to the first transmission (default 1)
//! join_retry_s = 10               # first pause after a failed join, doubled up to 8 times (default 10)
//! rx_tolerance_ms = 10            # how exact a downlink must be, 1 to 500 (default 10)
//! single_channel = true           # pin the node to gateway_freq_hz (default false)
//! rssi_dbm = -80                  # at the gateway (default -80)
//! snr_db = 9                      # at the gateway (default 9)
//!
//! [[node]]                        # activation by personalisation: session keys instead of app_key
//! dev_eui = "70b3d57ed0001235"
//! dev_addr = "26011bda"
//! nwk_s_key = "000102030405060708090a0b0c0d0e0f"
//! app_s_key = "0f0e0d0c0b0a09080706050403020100"
//! fcnt_up = 0                     # counter of the first uplink (default 0)
//! ```
//!
//! `single_channel` is not what the standard says: a node of EU868 hops over three join channels, and a gateway with
//! one channel hears a third of its frames. Without it, nodes repeat their joins until one is heard and answered.

use crate::node::{self, Activation, Eui, Key, MAX_RX_TOLERANCE, NodeConfig, Uplink};
use serde::{Deserialize, Deserializer};
use std::str::FromStr;
use std::time::Duration;

/// Most nodes in one file.
pub const MAX_NODES: usize = 10_000;

/// Why a nodes file is refused.
#[derive(Debug, thiserror::Error)]
pub enum NodesFileError {
    /// Not TOML, or an unknown or missing key. The line is named and not shown: a key may stand in it.
    #[error("line {line}: {message}")]
    Toml {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A value that cannot be used.
    #[error("node {dev_eui}: {detail}")]
    Node {
        /// Which node.
        dev_eui: Eui,
        /// What is wrong.
        detail: String,
    },
    /// Too many nodes.
    #[error("more than {MAX_NODES} nodes")]
    TooMany,
}

/// Reads a nodes file.
pub fn parse(text: &str) -> Result<Vec<NodeConfig>, NodesFileError> {
    let file: File = toml::from_str(text).map_err(|error| NodesFileError::Toml {
        line: 1 + text.bytes().take(error.span().map_or(0, |span| span.start)).filter(|byte| *byte == b'\n').count(),
        message: error.message().to_string(),
    })?;
    if file.node.len() > MAX_NODES {
        return Err(NodesFileError::TooMany);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut nodes = Vec::with_capacity(file.node.len());
    for entry in file.node {
        let dev_eui = entry.dev_eui;
        let mut node = node_of(entry, file.gateway_freq_hz);
        if !seen.insert(dev_eui) {
            node = Err("there are two of them".into());
        }
        nodes.push(node.map_err(|detail| NodesFileError::Node { dev_eui, detail })?);
    }
    Ok(nodes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_freq")]
    gateway_freq_hz: u32,
    #[serde(default)]
    node: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(deserialize_with = "from_text")]
    dev_eui: Eui,
    #[serde(default, deserialize_with = "some_from_text")]
    join_eui: Option<Eui>,
    app_key: Option<String>,
    dev_addr: Option<String>,
    nwk_s_key: Option<String>,
    app_s_key: Option<String>,
    #[serde(default)]
    fcnt_up: u32,
    sf: Option<u8>,
    dr: Option<u8>,
    interval_s: Option<f64>,
    #[serde(default, alias = "payload")]
    payloads: OneOrMany,
    #[serde(default = "default_fport")]
    fport: u8,
    #[serde(default)]
    confirmed: bool,
    #[serde(default = "default_start_delay_s")]
    start_delay_s: f64,
    #[serde(default = "default_join_retry_s")]
    join_retry_s: f64,
    #[serde(default = "default_rx_tolerance_ms")]
    rx_tolerance_ms: u64,
    #[serde(default, alias = "channel_lock")]
    single_channel: bool,
    #[serde(default = "default_rssi_dbm")]
    rssi_dbm: i16,
    #[serde(default = "default_snr_db")]
    snr_db: i8,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        OneOrMany::Many(Vec::new())
    }
}

fn default_freq() -> u32 {
    868_100_000
}

fn default_fport() -> u8 {
    1
}

fn default_start_delay_s() -> f64 {
    1.0
}

fn default_join_retry_s() -> f64 {
    10.0
}

fn default_rx_tolerance_ms() -> u64 {
    10
}

fn default_rssi_dbm() -> i16 {
    -80
}

fn default_snr_db() -> i8 {
    9
}

fn node_of(entry: Entry, gateway_freq_hz: u32) -> Result<NodeConfig, String> {
    let activation = match (&entry.app_key, &entry.dev_addr, &entry.nwk_s_key, &entry.app_s_key) {
        (Some(app_key), None, None, None) => Activation::Otaa {
            join_eui: entry.join_eui.unwrap_or(Eui([0; 8])),
            app_key: Key(bytes(app_key, "app_key")?),
        },
        (None, Some(dev_addr), Some(nwk_s_key), Some(app_s_key)) => Activation::Abp {
            dev_addr: bytes(dev_addr, "dev_addr")?,
            nwk_s_key: Key(bytes(nwk_s_key, "nwk_s_key")?),
            app_s_key: Key(bytes(app_s_key, "app_s_key")?),
            fcnt_up: entry.fcnt_up,
        },
        _ => return Err("give either app_key, or dev_addr, nwk_s_key and app_s_key".into()),
    };
    let sf = match (entry.sf, entry.dr) {
        (Some(sf @ 7..=12), None) => sf,
        (None, Some(dr @ 0..=5)) => 12 - dr,
        (None, None) => 7,
        (Some(_), Some(_)) => return Err("give sf or dr, not both".into()),
        _ => return Err("sf is 7 to 12, dr is 0 to 5".into()),
    };
    let payloads = match entry.payloads {
        OneOrMany::One(payload) => vec![payload],
        OneOrMany::Many(payloads) => payloads,
    };
    let mut uplinks = Vec::with_capacity(payloads.len());
    for payload in payloads {
        let payload = lpwad_link::hex::decode(&payload).map_err(|error| format!("payload: {error}"))?;
        let uplink = Uplink { fport: entry.fport, payload, confirmed: entry.confirmed };
        node::check(&uplink, sf)?;
        uplinks.push(uplink);
    }
    let rx_tolerance = Duration::from_millis(entry.rx_tolerance_ms);
    if rx_tolerance.is_zero() || rx_tolerance > MAX_RX_TOLERANCE {
        return Err(format!("rx_tolerance_ms is 1 to {}", MAX_RX_TOLERANCE.as_millis()));
    }
    let interval = entry.interval_s.map(|s| seconds(s, "interval_s")).transpose()?;
    Ok(NodeConfig {
        dev_eui: entry.dev_eui,
        activation,
        sf,
        interval: interval.filter(|interval| !interval.is_zero()),
        uplinks,
        start_delay: seconds(entry.start_delay_s, "start_delay_s")?,
        join_retry: seconds(entry.join_retry_s, "join_retry_s")?,
        rx_tolerance,
        pinned_hz: entry.single_channel.then_some(gateway_freq_hz),
        rssi_dbm: entry.rssi_dbm,
        snr_db: entry.snr_db,
    })
}

/// A duration of at most a year.
fn seconds(value: f64, key: &str) -> Result<Duration, String> {
    let duration = Duration::try_from_secs_f64(value).ok();
    duration
        .filter(|duration| *duration <= Duration::from_secs(366 * 86_400))
        .ok_or_else(|| format!("{key} is a number of seconds, 0 to one year"))
}

fn bytes<const N: usize>(text: &str, key: &str) -> Result<[u8; N], String> {
    let decoded = lpwad_link::hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| format!("{key} is {} hex digits", 2 * N))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Eui, D::Error> {
    let text = String::deserialize(deserializer)?;
    Eui::from_str(&text).map_err(serde::de::Error::custom)
}

fn some_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Eui>, D::Error> {
    from_text(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTAA: &str = "[[node]]\ndev_eui = \"70b3d57ed0001234\"\napp_key = \"00112233445566778899aabbccddeeff\"\n";

    #[test]
    fn the_documented_example_is_read() {
        let text = include_str!("nodes_file.rs");
        let example: String = text
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//!")))
            .collect();
        let nodes = parse(&example).unwrap();
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0].pinned_hz, Some(868_100_000));
        assert_eq!(nodes[0].uplinks[0].payload, [1, 0x67, 1, 0x10]);
        assert!(matches!(nodes[1].activation, Activation::Abp { dev_addr: [0x26, 0x01, 0x1b, 0xda], .. }));
    }

    #[test]
    fn mistakes_are_named() {
        for (extra, expected) in [
            ("sf = 6", "sf is 7 to 12"),
            ("sf = 7\ndr = 5", "not both"),
            ("payload = \"0\"", "payload: not an even number"),
            ("payload = \"00\"\nfport = 224", "FPort 224"),
            ("rx_tolerance_ms = 0", "rx_tolerance_ms is 1 to 500"),
            ("interval_s = -1", "interval_s is a number"),
            ("dev_addr = \"26011bda\"", "give either"),
            ("colour = 1", "unknown field"),
        ] {
            let error = parse(&format!("{OTAA}{extra}\n")).unwrap_err().to_string();
            assert!(error.contains(expected), "{extra}: {error}");
        }
        assert!(parse(&format!("{OTAA}colour = 1\n")).unwrap_err().to_string().starts_with("line 4: "));
        assert!(parse(&format!("{OTAA}{OTAA}")).unwrap_err().to_string().contains("two of them"));
        let long = format!("{OTAA}sf = 12\npayload = \"{}\"\n", "00".repeat(52));
        assert!(parse(&long).unwrap_err().to_string().contains("at most 51"));
    }

    #[test]
    fn keys_do_not_show_in_errors_or_debug_output() {
        let error = parse(&OTAA.replace("ff\"", "f\"")).unwrap_err().to_string();
        assert!(error.contains("app_key is 32 hex digits") && !error.contains("0011"), "{error}");
        let shown = format!("{:?}", parse(OTAA).unwrap());
        assert!(shown.contains("Key(..)") && !shown.contains("17, 34"), "0x11, 0x22 in decimal: {shown}");
    }
}
