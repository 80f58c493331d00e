//! Device profiles: one TOML file per device type. Data only; `src/codec` gives it meaning.

use super::bound;
use super::document::{Secrecy, line_of_key, parse};
use super::error::ConfigError;
use super::file::{Gateway, read_text, toml_files};
use lpwad_lwm2m::{Path as ResourcePath, Registry, ResourceDefinition, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// Where profiles are looked for; later directories win.
pub const DIRS: [&str; 2] = ["/usr/share/lpwad/profiles", "/etc/lpwad/profiles.d"];

/// Profiles that are always there.
const EMBEDDED: [(&str, &str); 1] = [("cayenne-lpp.toml", include_str!("../../profiles/cayenne-lpp.toml"))];

/// Shortest registration lifetime in s that a profile leads to.
const MIN_LIFETIME_S: u32 = bound::LIFETIME_S.least as u32;
/// Longest payload in bytes: what a LoRaWAN frame takes at the fastest data rate (RP002-1.0.4 §2.4.6).
const MAX_PAYLOAD_BYTES: usize = 242;
/// Most object instances that a profile may list: what a client takes (64) less lpwad's own.
const MAX_OBJECTS: usize = 60;
/// Most resources that can be written.
const MAX_ACTUATORS: usize = 64;
/// Most resources that can be executed.
const MAX_COMMANDS: usize = 64;
/// Object Server (LwM2M Core 1.1.1 §D), which lpwad has for each node.
const SERVER: u16 = 1;

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
    /// Registration lifetime in s, 300 to 31,536,000 (a year), if not three times `expect_uplink_s`.
    pub lifetime_s: Option<u32>,
    /// Age in s from which a value is stale, 10 to 31,536,000, if not the lifetime.
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

/// How downlinks leave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Downlink {
    /// FPort, 1 to 223.
    pub fport: u8,
    /// Whether the node is asked to acknowledge.
    pub confirmed: bool,
    /// How long a write waits for a window, in s, 1 to 31,536,000.
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
            ttl_s: bound::TTL_S.default() as u32,
            max_pending: bound::MAX_PENDING.default() as u8,
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
    /// What the node receives, hex; 1 to 242 bytes.
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

/// Object definitions that lpwad has.
static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::embedded);

impl Profile {
    /// Reads a profile from its text; `path` is for errors only.
    pub fn parse(path: &Path, text: &str) -> Result<Profile, ConfigError> {
        let profile: Profile = parse(path, text, Secrecy::Public)?;
        match profile.mistake() {
            None => Ok(profile),
            Some((key, problem)) => {
                let line = line_of_key(text, &key);
                Err(ConfigError { line, key: Some(key), ..ConfigError::file(path, problem) })
            }
        }
    }

    /// Where the first mistake is, and what it is.
    fn mistake(&self) -> Option<(String, String)> {
        let within = |bound: bound::Bound, value: u32| {
            let key = bound.key.strip_prefix("profile ").unwrap_or(bound.key);
            Some((key.to_string(), bound.problem(value)?))
        };
        let fail = |key: &str, problem: &str| Some((key.to_string(), problem.to_string()));
        if self.name.trim().is_empty() {
            return fail("name", "is empty");
        }
        let bounds = within(bound::EXPECT_UPLINK_S, self.expect_uplink_s)
            .or_else(|| within(bound::LIFETIME_S, self.lifetime_s?))
            .or_else(|| within(bound::STALE_AFTER_S, self.stale_after_s?))
            .or_else(|| within(bound::TTL_S, self.downlink.ttl_s))
            .or_else(|| within(bound::MAX_PENDING, self.downlink.max_pending.into()));
        if bounds.is_some() {
            return bounds;
        }
        if !(1..=223).contains(&self.downlink.fport) {
            return fail("downlink.fport", "is outside 1 to 223");
        }
        for (key, count, max) in [
            ("objects", self.objects.len(), MAX_OBJECTS),
            ("actuator", self.actuator.len(), MAX_ACTUATORS),
            ("command", self.command.len(), MAX_COMMANDS),
        ] {
            if count > max {
                return Some((key.into(), format!("{count} of them; at most {max} are possible")));
            }
        }
        if let Some(power) = &self.power {
            if !(0.5..=60.0).contains(&power.voltage_v) {
                return fail("power.voltage_v", "is outside 0.5 to 60 V");
            }
            if !(0.1..=2000.0).contains(&power.tx_current_ma) {
                return fail("power.tx_current_ma", "is outside 0.1 to 2000 mA");
            }
            if !(0.1..=2000.0).contains(&power.rx_current_ma) {
                return fail("power.rx_current_ma", "is outside 0.1 to 2000 mA");
            }
        }
        self.impossible()
    }

    /// Objects, actuators and commands that no client could have.
    fn impossible(&self) -> Option<(String, String)> {
        for (n, at) in self.objects.iter().enumerate() {
            if let Some(problem) = object_problem(at.object, Some(at.instance)) {
                return Some((format!("objects.{n}"), problem));
            }
        }
        for (n, Actuator { path, .. }) in self.actuator.iter().enumerate() {
            let twice = self.actuator.iter().take(n).any(|other| other.path == *path);
            let problem = if twice { Some(format!("{path} stands twice")) } else { actuator_problem(*path) };
            if let Some(problem) = problem {
                return Some((format!("actuator.{n}.path"), problem));
            }
        }
        for (n, Command { path, payload }) in self.command.iter().enumerate() {
            if payload.is_empty() || payload.len() > MAX_PAYLOAD_BYTES {
                return Some((format!("command.{n}.payload"), format!("is not 1 to {MAX_PAYLOAD_BYTES} bytes in hex")));
            }
            let twice = self.command.iter().take(n).any(|other| other.path == *path);
            let problem = if twice { Some(format!("{path} stands twice")) } else { command_problem(*path) };
            if let Some(problem) = problem {
                return Some((format!("command.{n}.path"), problem));
            }
        }
        let no_frame = |sample: &Sample| !(1..=223).contains(&sample.fport) || sample.payload.len() > MAX_PAYLOAD_BYTES;
        let at = self.sample.iter().position(no_frame)?;
        Some((format!("sample.{at}"), format!("no frame: FPort 1 to 223, at most {MAX_PAYLOAD_BYTES} bytes")))
    }

    /// Registration lifetime in s: three times the time between uplinks, at least five minutes, so that a silent
    /// node's registration runs out by the server's own clock.
    #[must_use]
    pub fn registration_lifetime_s(&self) -> u32 {
        self.lifetime_s.unwrap_or_else(|| self.expect_uplink_s.saturating_mul(3)).max(MIN_LIFETIME_S)
    }
}

fn object_problem(object: u16, instance: Option<u16>) -> Option<String> {
    match REGISTRY.object(object) {
        _ if object == SERVER => Some(format!("/{object} is lpwad's own, and no object of a node")),
        None => Some(format!("object {object} has no definition in lpwad, so no server would see it")),
        Some(known) if !known.multiple && instance != Some(0) => Some(format!("object {object} has only instance 0")),
        Some(_) => None,
    }
}

fn resource_of(path: ResourcePath) -> Option<&'static ResourceDefinition> {
    REGISTRY.object(path.object)?.resource(path.resource?)
}

fn actuator_problem(path: ResourcePath) -> Option<String> {
    if let Some(problem) = object_problem(path.object, path.instance) {
        return Some(problem);
    }
    let Some(resource) = resource_of(path) else { return Some(format!("object {} has no such resource", path.object)) };
    let least = resource.range.map_or(0.0, |(min, _)| min);
    let numbers =
        [Value::Boolean(false), Value::Float(least), Value::Integer(least as i64), Value::Unsigned(least as u64)];
    if !resource.writable {
        return Some(format!("{path} ({}) cannot be written by a server", resource.name));
    }
    let sendable = numbers.iter().any(|value| resource.accepts(value));
    (!sendable)
        .then(|| format!("{path} ({}) is no number or boolean, and only those can be sent to a node", resource.name))
}

fn command_problem(path: ResourcePath) -> Option<String> {
    if let Some(problem) = object_problem(path.object, path.instance) {
        return Some(problem);
    }
    let Some(resource) = resource_of(path) else { return Some(format!("object {} has no such resource", path.object)) };
    (!resource.executable())
        .then(|| format!("{path} ({}) cannot be executed: [[actuator]] is for writes", resource.name))
}

/// A profile and where it comes from.
#[derive(Debug)]
pub struct ProfileFile {
    /// The profile.
    pub profile: Profile,
    path: PathBuf,
    text: String,
}

impl ProfileFile {
    /// An error at `key`, such as `sample.2`.
    #[must_use]
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let line = line_of_key(&self.text, key);
        ConfigError { line, key: Some(key.into()), ..ConfigError::file(&self.path, problem) }
    }

    /// The profiles of the user's directories; what cannot be read is left out, because [`Config::read`](super::Config::read)
    /// names it.
    #[must_use]
    pub fn read_all(config: &Path) -> Vec<ProfileFile> {
        let Ok(layers) = super::file::read(config) else { return Vec::new() };
        let home = config.parent().unwrap_or(Path::new("."));
        let files = dirs(&layers.gateway, home).into_iter().flat_map(|dir| toml_files(&dir).unwrap_or_default());
        let read = |path: PathBuf| {
            let text = read_text(&path).ok()?;
            Some(ProfileFile { profile: Profile::parse(&path, &text).ok()?, path, text })
        };
        files.filter_map(read).collect()
    }
}

/// Directories of profiles; a later one wins.
pub(super) fn dirs(gateway: &Gateway, home: &Path) -> Vec<PathBuf> {
    let more = gateway.profile_dirs.as_ref().map(|at| at.value.as_slice()).unwrap_or_default();
    DIRS.iter().map(PathBuf::from).chain(more.iter().map(|dir| home.join(dir))).collect()
}

/// All profiles: the embedded ones, then those of `dirs`, by name; and what is wrong with others.
pub fn read_all(dirs: &[PathBuf]) -> (BTreeMap<String, Arc<Profile>>, Vec<ConfigError>) {
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
    let mut unread = Vec::new();
    for dir in dirs {
        match toml_files(dir) {
            Ok(files) => {
                files.iter().for_each(|file| add(read_text(file).and_then(|text| Profile::parse(file, &text))))
            }
            Err(error) => unread.push(error),
        }
    }
    errors.extend(unread);
    (profiles, errors)
}
