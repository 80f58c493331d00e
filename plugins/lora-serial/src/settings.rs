//! The instance's settings, as `plugin.toml` declares them.

use crate::modem::{DIALECTS, DialectInfo, RadioConfig, dialect};
use lpwad_link::message::Configure;
use lpwad_link::units::LoraDr;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Default of `freq_hz` when the daemon names no channel either: the first join channel of EU868.
const DEFAULT_FREQ_HZ: u32 = 868_100_000;

/// Settings that have been checked.
pub(crate) struct Settings {
    pub(crate) device: PathBuf,
    pub(crate) dialect: &'static DialectInfo,
    pub(crate) radio: RadioConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    device: PathBuf,
    dialect: String,
    #[serde(default = "default_region")]
    region: String,
    freq_hz: Option<u32>,
    #[serde(default = "default_sf")]
    sf: u8,
    baud: Option<u32>,
    #[serde(default = "default_offset_us")]
    rx_offset_us: u32,
    #[serde(default = "default_offset_us")]
    tx_offset_us: u32,
    #[serde(default = "default_max_dbm")]
    max_dbm: i8,
}

fn default_region() -> String {
    "EU868".into()
}

fn default_sf() -> u8 {
    7
}

fn default_offset_us() -> u32 {
    2_000
}

fn default_max_dbm() -> i8 {
    14
}

impl Settings {
    /// Checks what the daemon sent; an error names the setting and what it may be.
    pub(crate) fn new(configure: &Configure) -> Result<Self, String> {
        let value = serde_json::Value::Object(configure.settings.clone());
        let raw: Raw = serde_json::from_value(value).map_err(|error| format!("settings: {error}"))?;
        let range = |name: &str, ok: bool, allowed: &str| {
            if ok { Ok(()) } else { Err(format!("settings: {name} must be {allowed}")) }
        };
        let dialect = dialect(&raw.dialect).ok_or_else(|| {
            let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
            format!("settings: dialect must be {}", names.join(" or "))
        })?;
        let baud = raw.baud.unwrap_or(dialect.baud);
        range("region", raw.region == "EU868", "EU868")?;
        range("sf", (7..=12).contains(&raw.sf), "7 to 12")?;
        range("baud", (1_200..=1_000_000).contains(&baud), "1200 to 1000000")?;
        range("rx_offset_us", raw.rx_offset_us <= 1_000_000, "0 to 1000000")?;
        range("tx_offset_us", raw.tx_offset_us <= 100_000, "0 to 100000")?;
        range("max_dbm", (-3..=15).contains(&raw.max_dbm), "-3 to 15")?;
        let channel = configure.channels.first();
        let freq_hz = raw.freq_hz.or(channel.map(|channel| channel.freq_hz)).unwrap_or(DEFAULT_FREQ_HZ);
        range("freq_hz", (863_000_000..=870_000_000).contains(&freq_hz), "863000000 to 870000000 (EU868)")?;
        let bw_hz = channel.filter(|_| raw.freq_hz.is_none()).map_or(125_000, |channel| channel.bw_hz);
        range("the channel's bw_hz", [125_000, 250_000].contains(&bw_hz), "125000 or 250000")?;
        Ok(Settings {
            device: raw.device,
            dialect,
            radio: RadioConfig {
                freq_hz,
                dr: LoraDr { sf: raw.sf, bw_hz },
                baud,
                rx_offset: Duration::from_micros(u64::from(raw.rx_offset_us)),
                tx_offset: Duration::from_micros(u64::from(raw.tx_offset_us)),
                max_dbm: raw.max_dbm,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str, channels: &str) -> Result<Settings, String> {
        let json = format!(r#"{{"radio":"roof","settings":{text},"channels":{channels}}}"#);
        Settings::new(&serde_json::from_str(&json).unwrap())
    }

    const MINIMAL: &str = r#"{"device":"/dev/ttyACM0","dialect":"rn2483"}"#;

    #[test]
    fn defaults_are_those_of_plugin_toml() {
        let declared = include_str!("../plugin.toml");
        let radio = settings(MINIMAL, "[]").unwrap().radio;
        let default = |name: &str| {
            let section = declared.split(&format!("[settings.{name}]")).nth(1).unwrap();
            section.lines().find_map(|line| line.strip_prefix("default = ")).unwrap().to_string()
        };
        assert_eq!(default("freq_hz"), radio.freq_hz.to_string());
        assert_eq!(default("sf"), radio.dr.sf.to_string());
        assert!(
            !declared
                .split("[settings.baud]")
                .nth(1)
                .unwrap()
                .split("[settings.")
                .next()
                .unwrap()
                .contains("default = ")
        );
        for dialect in DIALECTS {
            let text = format!(r#"{{"device":"/d","dialect":"{}"}}"#, dialect.name);
            assert_eq!(settings(&text, "[]").unwrap().radio.baud, dialect.baud);
            assert!(declared.contains(&format!("{} for {}", dialect.baud, dialect.name)));
            assert!(declared.contains(&format!("\"{}\"", dialect.name)));
        }
        assert_eq!(default("rx_offset_us"), radio.rx_offset.as_micros().to_string());
        assert_eq!(default("tx_offset_us"), radio.tx_offset.as_micros().to_string());
        assert_eq!(default("max_dbm"), radio.max_dbm.to_string());
        assert_eq!(declared.matches("[settings.").count(), 9);
    }

    #[test]
    fn ranges_are_those_of_plugin_toml() {
        let declared = include_str!("../plugin.toml");
        for name in ["freq_hz", "sf", "baud", "rx_offset_us", "tx_offset_us", "max_dbm"] {
            let section = declared.split(&format!("[settings.{name}]")).nth(1).unwrap();
            let bound = |bound: &str| -> i64 {
                let start = format!("{bound} = ");
                section.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
            };
            let taken = |value: i64| {
                settings(&format!(r#"{{"device":"/d","dialect":"rn2483","{name}":{value}}}"#), "[]").is_ok()
            };
            let (min, max) = (bound("min"), bound("max"));
            let all = [min - 1, min, max, max + 1].map(taken);
            assert_eq!(all, [false, true, true, false], "{name}: {min} to {max}");
        }
    }

    #[test]
    fn the_channel_of_the_daemon_is_taken_unless_the_settings_name_one() {
        let channels = r#"[{"freq_hz":868300000,"bw_hz":125000},{"freq_hz":868500000,"bw_hz":125000}]"#;
        assert_eq!(settings(MINIMAL, channels).unwrap().radio.freq_hz, 868_300_000);
        let named = r#"{"device":"/d","dialect":"rn2483","freq_hz":868500000}"#;
        assert_eq!(settings(named, channels).unwrap().radio.freq_hz, 868_500_000);
    }

    #[test]
    fn mistakes_are_named() {
        for (extra, named) in [
            (r#""colour":1"#, "colour"),
            (r#""sf":6"#, "sf must be 7 to 12"),
            (r#""region":"US915""#, "region must be EU868"),
            (r#""max_dbm":20"#, "max_dbm"),
            (r#""freq_hz":915000000"#, "freq_hz"),
            (r#""baud":0"#, "baud"),
        ] {
            let text = format!(r#"{{"device":"/d","dialect":"rn2483",{extra}}}"#);
            let error = settings(&text, "[]").err().unwrap();
            assert!(error.contains(named), "{extra}: {error}");
        }
        assert!(settings("{}", "[]").err().unwrap().contains("device"));
        let error = settings(r#"{"device":"/d","dialect":"morse"}"#, "[]").err().unwrap();
        assert!(error.contains("dialect must be rn2483 or lora-e5"), "{error}");
    }
}
