//! Device profiles: one TOML file per device type. Data only; `src/codec` gives it meaning.

use super::document::{Secrecy, parse};
use super::error::{ConfigError, ConfigErrors};
use super::file::{read_text, toml_files};
use lpwad_lwm2m::Path as ResourcePath;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where profiles are looked for; later directories win.
pub const DIRS: [&str; 2] = ["/usr/share/lpwad/profiles", "/etc/lpwad/profiles.d"];

/// Profiles that are always there.
const EMBEDDED: [(&str, &str); 1] = [("cayenne-lpp.toml", include_str!("../../profiles/cayenne-lpp.toml"))];

/// Shortest registration lifetime in s that a profile leads to.
const MIN_LIFETIME_S: u32 = 300;

/// What a device type sends and takes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, as `node.profile` names it.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// How its payloads are read.
    pub codec: Codec,
    /// Longest usual time between two uplinks in s, 10 to 2,592,000 (30 days).
    pub expect_uplink_s: u32,
    /// Registration lifetime in s, if not three times `expect_uplink_s`.
    pub lifetime_s: Option<u32>,
    /// Age in s from which a value is stale, if not the lifetime.
    pub stale_after_s: Option<u32>,
    /// Object instances that are known before the first uplink, as `/3303/1`.
    #[serde(default)]
    pub objects: Vec<InstancePath>,
    /// How downlinks leave.
    #[serde(default)]
    pub downlink: Downlink,
    /// Resources that can be written.
    #[serde(default)]
    pub actuator: Vec<Actuator>,
    /// Resources that can be executed.
    #[serde(default)]
    pub command: Vec<Command>,
    /// What Device (object 3) says of it.
    #[serde(default)]
    pub device: Device,
    /// What its radio draws, for models only.
    pub power: Option<Power>,
    /// Frames with what they mean; they are the profile's test.
    #[serde(default)]
    pub sample: Vec<Sample>,
}

/// How payloads are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Cayenne Low Power Payload.
    CayenneLpp,
    /// Nothing but the raw payload, as `/19/<FPort>/0`.
    Raw,
}

/// An object instance, `/3303/1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancePath {
    /// Object id.
    pub object: u16,
    /// Instance id.
    pub instance: u16,
}

impl<'de> Deserialize<'de> for InstancePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<ResourcePath>() {
            Ok(ResourcePath { object, instance: Some(instance), resource: None, .. }) => {
                Ok(InstancePath { object, instance })
            }
            _ => Err(serde::de::Error::custom(format!("\"{text}\" is not an object instance such as /3303/1"))),
        }
    }
}

/// Writes that may wait for a node if its profile does not say otherwise; one more is refused (`write-refused`).
const MAX_PENDING_DEFAULT: u8 = 16;
/// Most that a profile may say.
const MAX_PENDING: u8 = 64;

/// How downlinks leave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Downlink {
    /// FPort, 1 to 223.
    pub fport: u8,
    /// Whether the node is asked to acknowledge.
    pub confirmed: bool,
    /// How long a write waits for a window, in s.
    pub ttl_s: u32,
    /// How many resources may wait at the same time, 1 to 64.
    pub max_pending: u8,
    /// Whether an Execute that leaves unconfirmed is answered 2.04 when it is queued; else it is refused with 5.03.
    pub execute_accepted: bool,
}

impl Default for Downlink {
    fn default() -> Self {
        Downlink {
            fport: 99,
            confirmed: true,
            ttl_s: 86_400,
            max_pending: MAX_PENDING_DEFAULT,
            execute_accepted: false,
        }
    }
}

/// A resource that can be written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actuator {
    /// The resource.
    #[serde(deserialize_with = "resource_path")]
    pub path: ResourcePath,
    /// Its channel in the payload.
    pub channel: u8,
}

/// A resource that can be executed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The resource.
    #[serde(deserialize_with = "resource_path")]
    pub path: ResourcePath,
    /// What the node receives, hex.
    #[serde(deserialize_with = "lpwad_link::hex::deserialize")]
    pub payload: Vec<u8>,
}

fn resource_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ResourcePath, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse::<ResourcePath>() {
        Ok(path) if path.resource.is_some() && path.resource_instance.is_none() => Ok(path),
        _ => Err(serde::de::Error::custom(format!("\"{text}\" is not a resource such as /3306/0/5850"))),
    }
}

/// What Device (object 3) says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// `/3/0/0`
    pub manufacturer: String,
    /// `/3/0/1`
    pub model: String,
}

/// What the radio of a node draws, from its data sheet or measured. All three or none: nothing is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Supply in V, 0.5 to 60.
    pub voltage_v: f64,
    /// While it sends, in mA, 0.1 to 2000.
    pub tx_current_ma: f64,
    /// While it receives, in mA, 0.1 to 2000.
    pub rx_current_ma: f64,
}

/// A frame with what it means.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// FPort.
    pub fport: u8,
    /// Payload, hex.
    #[serde(deserialize_with = "lpwad_link::hex::deserialize")]
    pub payload: Vec<u8>,
    /// Path to number or boolean.
    pub expect: BTreeMap<String, toml::Value>,
}

impl Profile {
    /// Reads a profile from its text; `path` is for errors only.
    pub fn parse(path: &Path, text: &str) -> Result<Profile, ConfigError> {
        let profile: Profile = parse(path, text, Secrecy::Public)?;
        let fail = |key: &str, problem: &str| ConfigError { key: Some(key.into()), ..ConfigError::file(path, problem) };
        if !(10..=2_592_000).contains(&profile.expect_uplink_s) {
            return Err(fail("expect_uplink_s", "is outside 10 to 2592000 s"));
        }
        if !(1..=223).contains(&profile.downlink.fport) {
            return Err(fail("downlink.fport", "is outside 1 to 223"));
        }
        if !(1..=MAX_PENDING).contains(&profile.downlink.max_pending) {
            return Err(fail("downlink.max_pending", "is outside 1 to 64"));
        }
        if profile.objects.len() > 256 || profile.actuator.len() > 64 {
            return Err(fail("objects", "more than 256 objects or 64 actuators"));
        }
        if let Some(power) = &profile.power {
            if !(0.5..=60.0).contains(&power.voltage_v) {
                return Err(fail("power.voltage_v", "is outside 0.5 to 60 V"));
            }
            if !(0.1..=2000.0).contains(&power.tx_current_ma) {
                return Err(fail("power.tx_current_ma", "is outside 0.1 to 2000 mA"));
            }
            if !(0.1..=2000.0).contains(&power.rx_current_ma) {
                return Err(fail("power.rx_current_ma", "is outside 0.1 to 2000 mA"));
            }
        }
        Ok(profile)
    }

    /// Registration lifetime in s: three times the time between uplinks, at least five minutes, so that a silent
    /// node's registration runs out by the server's own clock.
    #[must_use]
    pub fn registration_lifetime_s(&self) -> u32 {
        self.lifetime_s.unwrap_or_else(|| self.expect_uplink_s.saturating_mul(3)).max(MIN_LIFETIME_S)
    }
}

/// All profiles: the embedded ones, then those of `dirs`, by name.
pub fn read_all(dirs: &[PathBuf]) -> Result<BTreeMap<String, Arc<Profile>>, ConfigErrors> {
    let mut profiles = BTreeMap::new();
    let mut errors = Vec::new();
    let mut add = |parsed: Result<Profile, ConfigError>| match parsed {
        Ok(profile) => {
            profiles.insert(profile.name.clone(), Arc::new(profile));
        }
        Err(error) => errors.push(error),
    };
    for (name, text) in EMBEDDED {
        add(Profile::parse(Path::new(name), text));
    }
    for dir in dirs {
        for file in toml_files(dir)? {
            add(read_text(&file).and_then(|text| Profile::parse(&file, &text)));
        }
    }
    if errors.is_empty() { Ok(profiles) } else { Err(ConfigErrors(errors)) }
}
