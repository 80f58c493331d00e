//! Configuration: plain data, checked once, read by all.

mod document;
pub mod error;
mod file;
pub mod keys;
pub mod profile;
mod uri;

pub use error::{ConfigError, ConfigErrors};
pub use profile::Profile;
pub use uri::{BadUri, Scheme, ServerUri};

use core::time::Duration;
use document::At;
pub use document::{Secrecy, parse};
use error::nearest;
use file::Layers;
pub use file::{read_text, toml_files};
use keys::KeyFile;
use lpwad_lorawan::{Activation, DevAddr, DevEui, Region};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most nodes in one configuration; each one costs a socket.
pub const MAX_NODES: usize = 20_000;

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Directory of everything that must survive; `None` if neither the file nor the command line names one.
    pub state_dir: Option<PathBuf>,
    /// Control socket, if the file names one.
    pub control_socket: Option<PathBuf>,
    /// More directories to search for plugins.
    pub plugin_dirs: Vec<PathBuf>,
    /// Directory of threat analyses.
    pub analysis_dir: PathBuf,
    /// Receive delay that nodes get in their join accept, in s, 1 to 15.
    pub rx1_delay_s: u8,
    /// What is kept of what servers miss.
    pub backlog: Backlog,
    /// Radios, at least one.
    pub radios: Vec<Radio>,
    /// Servers, at least one.
    pub servers: Vec<Server>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// What is legal but probably not meant.
    pub warnings: Vec<String>,
}

/// Bounds of what is kept of what servers miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes of all records in the store; 0: nothing is kept.
    pub max_bytes: usize,
    /// Older readings are dropped.
    pub max_age: Duration,
}

impl Default for Backlog {
    /// 4 MiB and 72 h.
    fn default() -> Backlog {
        Backlog { max_bytes: 4 * 1024 * 1024, max_age: Duration::from_secs(72 * 3600) }
    }
}

/// A radio.
#[derive(Clone, Debug, PartialEq)]
pub struct Radio {
    /// Name of the instance.
    pub name: String,
    /// Plugin to run.
    pub plugin: String,
    /// Its region.
    pub region: Region,
    /// The plugin's own settings, handed on as they are.
    pub settings: Map<String, Value>,
}

/// An LwM2M server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Address for NoSec.
    pub uri: Option<ServerUri>,
    /// Address for DTLS.
    pub secure_uri: Option<ServerUri>,
    /// What the operator wants.
    pub security: Security,
    /// Whether the server can reach a proxy at any time; without it proxies register in queue mode.
    pub reachable: bool,
}

/// What the operator wants of a server's link. Nothing here can force NoSec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// What the policy says.
    Auto,
    /// DTLS, whatever the policy would permit.
    Dtls,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its DevEUI.
    pub dev_eui: DevEui,
    /// Its device profile.
    pub profile: Arc<Profile>,
    /// How it gets its session, and its keys.
    pub activation: Activation,
    /// Index of its server in [`Config::servers`].
    pub server: usize,
    /// Endpoint name, if not made from the DevEUI.
    pub endpoint: Option<String>,
}

impl Config {
    /// Reads and checks the configuration at `path`, the profiles and the key files that it names.
    pub fn read(path: &Path) -> Result<Config, ConfigErrors> {
        let layers = file::read(path)?;
        Checker { layers, path, errors: Vec::new(), warnings: Vec::new() }.check()
    }
}

struct Checker<'a> {
    layers: Layers,
    path: &'a Path,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
}

impl Checker<'_> {
    fn check(mut self) -> Result<Config, ConfigErrors> {
        let gateway = self.layers.gateway.clone();
        let home = self.path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let rx1_delay_s = match &gateway.rx1_delay_s {
            Some(at) if !(1..=15).contains(&at.value) => {
                self.refuse(
                    at,
                    "gateway.rx1_delay_s",
                    format!("{} s is outside 1 to 15 s", at.value),
                    "5 suits AT modems",
                );
                5
            }
            Some(at) => at.value,
            None => 5,
        };
        let mut profile_dirs: Vec<PathBuf> = profile::DIRS.iter().map(PathBuf::from).collect();
        if let Some(at) = &gateway.profile_dirs {
            profile_dirs.extend(at.value.iter().map(|dir| home.join(dir)));
        }
        let profiles = profile::read_all(&profile_dirs).unwrap_or_else(|errors| {
            self.errors.extend(errors.0);
            BTreeMap::new()
        });
        let backlog = self.backlog();
        let servers = self.servers();
        let radios = self.radios();
        let nodes = self.nodes(&servers, &profiles);
        let analysis_dir = match &self.layers.policy.analysis_dir {
            Some(at) => home.join(&at.value),
            None => home.join("threat-analysis.d"),
        };
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        let plugin_dirs = gateway.plugin_dirs.map(|at| at.value).unwrap_or_default();
        Ok(Config {
            state_dir: gateway.state_dir.map(|at| home.join(at.value)),
            control_socket: gateway.control_socket.map(|at| home.join(at.value)),
            plugin_dirs: plugin_dirs.iter().map(|dir| home.join(dir)).collect(),
            analysis_dir,
            rx1_delay_s,
            backlog,
            radios,
            servers,
            nodes,
            warnings: self.warnings,
        })
    }

    fn refuse<T>(&mut self, at: &At<T>, key: &str, problem: impl Into<String>, hint: &str) {
        self.errors.push(self.layers.sources.error(at, key, problem).hint(hint));
    }

    fn missing(&mut self, key: &str, problem: &str, hint: &str) {
        let error = ConfigError { key: Some(key.into()), ..ConfigError::file(self.path, problem) };
        self.errors.push(error.hint(hint));
    }

    fn backlog(&mut self) -> Backlog {
        let raw = self.layers.backlog.clone();
        let mut backlog = Backlog::default();
        if let Some(at) = raw.max_bytes {
            if at.value != 0 && !(64 * 1024..=1024 * 1024 * 1024).contains(&at.value) {
                let problem = format!("{} B is outside 64 KiB to 1 GiB", at.value);
                self.refuse(&at, "backlog.max_bytes", problem, "4194304 is the default; 0 keeps nothing");
            }
            backlog.max_bytes = usize::try_from(at.value).unwrap_or(usize::MAX);
        }
        if let Some(at) = raw.max_age_h {
            if !(1..=24 * 366).contains(&at.value) {
                let problem = format!("{} h is outside 1 h to a year", at.value);
                self.refuse(&at, "backlog.max_age_h", problem, "72 is the default");
            }
            backlog.max_age = Duration::from_secs(u64::from(at.value) * 3600);
        }
        backlog
    }

    fn servers(&mut self) -> Vec<Server> {
        let mut servers = Vec::new();
        for raw in self.layers.servers.clone() {
            let Some(name) = raw.name else {
                self.missing("server.name", "a [[server]] has no name", "name = \"site\"");
                continue;
            };
            let uri = raw.uri.and_then(|at| self.uri(&at, "server.uri", Scheme::Coap));
            let secure_uri = raw.secure_uri.and_then(|at| self.uri(&at, "server.secure_uri", Scheme::Coaps));
            if uri.is_none() && secure_uri.is_none() {
                self.refuse(&name, "server", "has neither uri nor secure_uri", "uri = \"coap://127.0.0.1:5683\"");
            }
            let security = match raw.security {
                None => Security::Auto,
                Some(at) => match at.value.as_str() {
                    "auto" => Security::Auto,
                    "dtls" => Security::Dtls,
                    other => {
                        let hint = "security is \"auto\" or \"dtls\"; nothing forces NoSec";
                        self.refuse(&at, "server.security", format!("\"{other}\" is not known"), hint);
                        Security::Auto
                    }
                },
            };
            let reachable = raw.reachable.map(|at| at.value);
            let on_this_host = uri.as_ref().is_some_and(ServerUri::is_loopback_literal);
            servers.push(Server {
                name: name.value,
                uri,
                secure_uri,
                security,
                reachable: reachable.unwrap_or(on_this_host),
            });
        }
        if self.layers.servers.is_empty() {
            self.missing("server", "there is no [[server]]", "add one with name and uri");
        }
        servers
    }

    fn uri(&mut self, at: &At<String>, key: &str, scheme: Scheme) -> Option<ServerUri> {
        match at.value.parse::<ServerUri>() {
            Ok(uri) if uri.scheme == scheme => Some(uri),
            Ok(_) => {
                self.refuse(at, key, format!("scheme is not {scheme}"), "uri takes coap://, secure_uri takes coaps://");
                None
            }
            Err(problem) => {
                self.refuse(at, key, problem.to_string(), "of the form coap://127.0.0.1:5683 or coaps://[::1]:5684");
                None
            }
        }
    }

    fn radios(&mut self) -> Vec<Radio> {
        let mut radios = Vec::new();
        for raw in self.layers.radios.clone() {
            let Some(name) = raw.name else {
                self.missing("radio.name", "a [[radio]] has no name", "name = \"roof\"");
                continue;
            };
            let Some(plugin) = raw.plugin else {
                self.refuse(&name, "radio.plugin", "is missing", "plugin = \"lora-serial\"");
                continue;
            };
            if let Some(at) = raw.attach.filter(|at| at.value != "spawn") {
                self.refuse(&at, "radio.attach", format!("\"{}\" is not supported", at.value), "attach = \"spawn\"");
            }
            let settings = raw.settings.as_ref().map(|at| at.value.clone()).unwrap_or_default();
            let region = match settings.get("region").and_then(toml::Value::as_str).unwrap_or("EU868") {
                "EU868" => Region::Eu868,
                other => {
                    let at = raw.settings.as_ref().map_or(name.value.clone(), |_| other.to_string());
                    self.refuse(
                        &name,
                        "radio.settings.region",
                        format!("\"{at}\" is not supported"),
                        "region = \"EU868\"",
                    );
                    Region::Eu868
                }
            };
            match serde_json::to_value(&settings) {
                Ok(Value::Object(settings)) => {
                    radios.push(Radio { name: name.value, plugin: plugin.value, region, settings });
                }
                _ => self.refuse(&name, "radio.settings", "cannot be handed to a plugin as JSON", "use plain values"),
            }
        }
        if self.layers.radios.is_empty() {
            self.missing("radio", "there is no [[radio]]", "add one with name, plugin and settings");
        }
        if radios.len() > usize::from(u8::MAX) {
            self.missing("radio", "more than 255 radios", "run a second gateway");
        }
        radios
    }

    fn nodes(&mut self, servers: &[Server], profiles: &BTreeMap<String, Arc<Profile>>) -> Vec<Node> {
        let mut key_files: BTreeMap<PathBuf, KeyFile> = BTreeMap::new();
        let mut nodes = Vec::new();
        if self.layers.nodes.len() > MAX_NODES {
            self.missing("node", &format!("more than {MAX_NODES} nodes"), "run a second gateway");
            return nodes;
        }
        for raw in self.layers.nodes.clone() {
            let Some(eui) = &raw.dev_eui else {
                self.missing("node.dev_eui", "a [[node]] has no dev_eui", "dev_eui = \"70b3d57ed0001234\"");
                continue;
            };
            let Ok(dev_eui) = eui.value.parse::<DevEui>() else {
                self.refuse(
                    eui,
                    "node.dev_eui",
                    format!("\"{}\" is not 16 hex digits", eui.value),
                    "as printed on the node, most significant byte first",
                );
                continue;
            };
            let profile = match &raw.profile {
                None => {
                    self.refuse(eui, "node.profile", "is missing", "profile = \"cayenne-lpp\"");
                    None
                }
                Some(at) => match profiles.get(&at.value) {
                    Some(profile) => Some(profile.clone()),
                    None => {
                        let names = || profiles.keys().map(String::as_str);
                        let hint = match nearest(&at.value, names()) {
                            Some(near) => format!("did you mean \"{near}\"?"),
                            None => format!("known profiles: {}", names().collect::<Vec<_>>().join(", ")),
                        };
                        self.refuse(at, "node.profile", format!("there is no profile \"{}\"", at.value), &hint);
                        None
                    }
                },
            };
            let server = self.server_of(eui, raw.server.as_ref(), servers);
            let activation = self.activation(eui, dev_eui, &raw, &mut key_files);
            if let Some(at) = raw
                .endpoint
                .as_ref()
                .filter(|at| at.value.is_empty() || at.value.len() > 128 || at.value.contains('\0'))
            {
                self.refuse(
                    at,
                    "node.endpoint",
                    "is empty, longer than 128 bytes or holds a NUL",
                    "leave it out for urn:dev:mac:<DevEUI>",
                );
            }
            if let (Some(profile), Some(server), Some(activation)) = (profile, server, activation) {
                nodes.push(Node { dev_eui, profile, activation, server, endpoint: raw.endpoint.map(|at| at.value) });
            }
        }
        self.endpoints_differ(&nodes);
        self.keys_differ(&nodes);
        nodes
    }

    fn server_of(&mut self, eui: &At<String>, at: Option<&At<String>>, servers: &[Server]) -> Option<usize> {
        let Some(at) = at else {
            if servers.len() > 1 {
                self.refuse(eui, "node.server", "is missing and there is more than one server", "server = \"<name>\"");
            }
            return (servers.len() == 1).then_some(0);
        };
        let found = servers.iter().position(|server| server.name == at.value);
        if found.is_none() {
            let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            let hint = format!("known servers: {}", names.join(", "));
            self.refuse(at, "node.server", format!("there is no server \"{}\"", at.value), &hint);
        }
        found
    }

    fn activation(
        &mut self,
        eui: &At<String>,
        dev_eui: DevEui,
        raw: &file::Node,
        files: &mut BTreeMap<PathBuf, KeyFile>,
    ) -> Option<Activation> {
        let home = self.path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let mut origin = keys::Origin::File;
        let file = match &raw.keys {
            None => home.join("keys.toml"),
            Some(at) => match at.value.split_once(':') {
                Some(("file", name)) => self.layers.sources.file(at).parent().unwrap_or(&home).join(name),
                Some(("credential", name)) if !name.contains('/') => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                    Some(dir) => {
                        origin = keys::Origin::Credential;
                        PathBuf::from(dir).join(name)
                    }
                    None => {
                        let hint = "set LoadCredential= in the unit, or use keys = \"file:/etc/lpwad/keys.toml\"";
                        self.refuse(at, "node.keys", "there are no systemd credentials in this process", hint);
                        return None;
                    }
                },
                _ => {
                    let hint = "keys = \"file:/etc/lpwad/keys.toml\" or \"credential:NAME\"";
                    self.refuse(at, "node.keys", "is not of a known form", hint);
                    return None;
                }
            },
        };
        if !files.contains_key(&file) {
            let read = keys::read(&file, origin).unwrap_or_else(|error| {
                self.errors.push(error);
                KeyFile::new()
            });
            files.insert(file.clone(), read);
        }
        let keys = files.get(&file).and_then(|file| file.get(&dev_eui)).cloned();
        let Some(keys) = keys else {
            if files.get(&file).is_some_and(|file| !file.is_empty()) {
                let hint = format!("add a table [\"{dev_eui}\"] with app_key there");
                self.refuse(eui, "node.keys", format!("{} has no keys for this node", file.display()), &hint);
            }
            return None;
        };
        match raw.activation.as_ref().map_or("otaa", |at| at.value.as_str()) {
            "otaa" => match keys.app_key {
                Some(app_key) => Some(Activation::Otaa { join_eui: None, app_key }),
                None => {
                    self.refuse(
                        eui,
                        "node.keys",
                        format!("{} has no app_key for this node", file.display()),
                        "a node that joins needs app_key",
                    );
                    None
                }
            },
            "abp" => {
                let dev_addr = raw.dev_addr.as_ref().and_then(|at| at.value.parse::<DevAddr>().ok());
                let relaxed_counter = raw.relaxed_counter.as_ref().is_some_and(|at| at.value);
                if relaxed_counter {
                    self.warnings
                        .push(format!("node {dev_eui}: relaxed_counter lets old frames of this node be replayed"));
                }
                match (dev_addr, keys.nwk_s_key, keys.app_s_key) {
                    (Some(dev_addr), Some(nwk_s_key), Some(app_s_key)) => {
                        Some(Activation::Abp { dev_addr, nwk_s_key, app_s_key, relaxed_counter })
                    }
                    _ => {
                        let hint =
                            "abp needs dev_addr = \"<8 hex digits>\" here, nwk_s_key and app_s_key in the key file";
                        self.refuse(eui, "node.activation", "something that abp needs is missing", hint);
                        None
                    }
                }
            }
            other => {
                let problem = format!("\"{other}\" is not known");
                self.refuse(eui, "node.activation", problem, "activation is \"otaa\" (default) or \"abp\"");
                None
            }
        }
    }

    fn endpoints_differ(&mut self, nodes: &[Node]) {
        let mut seen = BTreeMap::new();
        for node in nodes {
            if let Some(endpoint) = &node.endpoint
                && let Some(other) = seen.insert(endpoint.clone(), node.dev_eui)
            {
                let problem = format!("\"{endpoint}\" is the endpoint of both {other} and {}", node.dev_eui);
                self.missing("node.endpoint", &problem, "an endpoint names one node");
            }
        }
    }

    /// One key for two nodes is refused (RFC 7925 §4.1; requirement P-01).
    fn keys_differ(&mut self, nodes: &[Node]) {
        let mut seen: BTreeMap<[u8; 16], DevEui> = BTreeMap::new();
        for node in nodes {
            if let Activation::Otaa { app_key, .. } = &node.activation
                && let Some(other) = seen.insert(*app_key.expose(), node.dev_eui)
            {
                let problem = format!("{other} and {} have the same app_key", node.dev_eui);
                self.missing("node.keys", &problem, "each node has a key of its own");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

    /// The example as it stands, and with every key that it shows as a comment.
    #[test]
    fn the_commented_example_is_a_configuration() {
        let example = include_str!("../../config/lpwad.toml");
        let uncommented: String = example
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) && key.contains(" = ") => key,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_ne!(example, uncommented);
        for text in [example, &uncommented] {
            let dir = tempfile::tempdir().expect("a directory");
            std::fs::write(dir.path().join("lpwad.toml"), text).expect("written");
            let keys = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(dir.path().join("keys.toml"));
            let nodes: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("dev_eui = \"")?.split('"').next()).collect();
            assert!(!nodes.is_empty());
            for node in nodes {
                let key = "2b7e151628aed2a6abf7158809cf4f3c";
                let entry =
                    format!("[\"{node}\"]\napp_key = \"{key}\"\nnwk_s_key = \"{key}\"\napp_s_key = \"{key}\"\n");
                std::io::Write::write_all(&mut keys.as_ref().expect("opened"), entry.as_bytes()).expect("written");
            }
            let config = Config::read(&dir.path().join("lpwad.toml"));
            assert!(config.is_ok(), "{}", config.err().map(|errors| errors.to_string()).unwrap_or_default());
        }
    }
}
