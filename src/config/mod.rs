//! Configuration: plain data, checked once, read by all.

pub mod bound;
mod credential;
mod document;
pub mod error;
mod file;
pub mod key_edit;
pub mod keys;
mod node;
pub mod place;
pub mod private_file;
pub mod profile;
mod radio;
pub mod roster;
mod server;
mod uri;
pub mod weak;

pub use credential::{Credential, Secret};
pub use error::{ConfigError, ConfigErrors};
pub use node::endpoint;
pub use place::{Outside, Place};
pub use profile::{Power, Profile};
pub use radio::RadioPlaces;
pub use server::{Dtls, PskIdentity, Suite};
pub use uri::{BadUri, Scheme, ServerUri};

use core::time::Duration;
use document::At;
pub use document::{Secrecy, parse};
use file::Layers;
pub use file::{read_text, toml_files};
use lpwad_lorawan::{Activation, DevEui, Region};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most nodes in one configuration; each one costs a socket.
pub const MAX_NODES: usize = 20_000;

/// Directory of facts that root writes, if the configuration names no other.
pub const FACTS_DIR: &str = "/run/lpwad/facts";

/// The whole configuration.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Config {
    /// Directory of everything that must survive; `None` if neither the file nor the command line names one.
    pub state_dir: Option<PathBuf>,
    /// Control socket, if the file names one.
    pub control_socket: Option<PathBuf>,
    /// More directories to search for plugins.
    pub plugin_dirs: Vec<PathBuf>,
    /// Directory of threat analyses.
    pub analysis_dir: PathBuf,
    /// File of those who may sign threat analyses.
    pub analysis_signers: Option<PathBuf>,
    /// Directory of facts that root writes.
    pub facts_dir: PathBuf,
    /// Receive delay that nodes get in their join accept, in s, 1 to 15.
    pub rx1_delay_s: u8,
    /// DTLS sessions that are live at once; beyond it the longest idle is put aside until its node speaks.
    pub dtls_live_sessions: usize,
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
    /// 16 MiB and 72 h: room for 500 nodes with a reading an hour.
    fn default() -> Backlog {
        Backlog {
            max_bytes: bound::BACKLOG_MAX_BYTES.default() as usize,
            max_age: Duration::from_secs(bound::BACKLOG_MAX_AGE_H.default() * 3600),
        }
    }
}

/// DTLS sessions that are live at once by default.
pub const DTLS_LIVE_SESSIONS: usize = bound::DTLS_LIVE_SESSIONS.default() as usize;

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
    /// How DTLS is spoken with it.
    pub dtls: Dtls,
}

/// What the operator wants of a server's link. Nothing here can force NoSec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// What the policy says.
    Auto,
    /// DTLS, whatever the policy would permit.
    Dtls,
}

/// Kind of a credential for DTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsMode {
    /// Pre-shared key.
    Psk,
    /// Raw public key.
    Rpk,
    /// X.509 certificate.
    X509,
}

impl DtlsMode {
    /// The verdict that leads to it.
    #[must_use]
    pub fn verdict(self) -> &'static str {
        match self {
            DtlsMode::Psk => "dtls-psk",
            DtlsMode::Rpk => "dtls-rpk",
            DtlsMode::X509 => "dtls-x509",
        }
    }
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
    /// What it proves itself with by DTLS, if it has anything.
    pub credential: Option<Arc<Credential>>,
}

impl Node {
    /// Kind of its credential for DTLS, if it has one.
    #[must_use]
    pub fn dtls_mode(&self) -> Option<DtlsMode> {
        self.credential.as_deref().map(Credential::mode)
    }
}

impl Config {
    /// Reads and checks the configuration at `path`, the profiles and the key files that it names; not for nodes whose
    /// keys are in the sealed store.
    pub fn read(path: &Path) -> Result<Config, ConfigErrors> {
        let sealed = |_: Option<&Path>| Err(ConfigError::file(path, "the sealed store is not at hand here"));
        Config::read_with(path, &Outside { sealed: &sealed, user: &|_| None })
    }

    /// The same; keys in the sealed store are read as well.
    pub fn read_with(path: &Path, outside: &Outside<'_>) -> Result<Config, ConfigErrors> {
        let layers = file::read(path)?;
        Checker { layers, path, outside, errors: Vec::new(), warnings: Vec::new() }.check()
    }
}

/// Where systemd has put the credential of this name, if it has given any to this process.
#[must_use]
pub fn path_of_credential(name: &str) -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(name))
}

struct Checker<'a> {
    layers: Layers,
    path: &'a Path,
    outside: &'a Outside<'a>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
}

impl Checker<'_> {
    fn check(mut self) -> Result<Config, ConfigErrors> {
        let gateway = self.layers.gateway.clone();
        let home = self.path.parent().unwrap_or(Path::new(".")).to_path_buf();
        if let Some(at) = &gateway.rx1_delay_s {
            self.within(at, &bound::RX1_DELAY_S, "5 suits AT modems");
        }
        let rx1_delay_s = gateway.rx1_delay_s.as_ref().map_or(bound::RX1_DELAY_S.default() as u8, |at| at.value);
        let (profiles, errors) = profile::read_all(&profile::dirs(&gateway, &home));
        // What is missing then may stand in a file that could not be read.
        let all_profiles = errors.is_empty();
        self.errors.extend(errors);
        let backlog = self.backlog();
        if let Some(at) = &gateway.dtls_live_sessions {
            self.within(at, &bound::DTLS_LIVE_SESSIONS, "1000 is the default");
        }
        let dtls_live_sessions = gateway.dtls_live_sessions.as_ref().map_or(DTLS_LIVE_SESSIONS, |at| at.value as usize);
        let servers = self.servers();
        let radios = self.radios();
        let nodes = self.nodes(&servers, &profiles, all_profiles);
        let analysis_dir = match &self.layers.policy.analysis_dir {
            Some(at) => home.join(&at.value),
            None => home.join("threat-analysis.d"),
        };
        self.paths(&home);
        let facts_dir = match &self.layers.policy.facts_dir {
            Some(at) => home.join(&at.value),
            None => FACTS_DIR.into(),
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
            analysis_signers: self.layers.policy.analysis_signers.as_ref().map(|at| home.join(&at.value)),
            facts_dir,
            rx1_delay_s,
            dtls_live_sessions,
            backlog,
            radios,
            servers,
            nodes,
            warnings: self.warnings.iter().map(|warning| error::without_keys(warning)).collect(),
        })
    }

    /// What is named by its path: directories and files that are not there, and paths that are none.
    fn paths(&mut self, home: &Path) {
        let (gateway, policy) = (self.layers.gateway.clone(), self.layers.policy.clone());
        for (at, key) in [
            (&gateway.state_dir, "gateway.state_dir"),
            (&gateway.control_socket, "gateway.control_socket"),
            (&policy.analysis_dir, "policy.analysis_dir"),
            (&policy.analysis_signers, "policy.analysis_signers"),
            (&policy.facts_dir, "policy.facts_dir"),
        ] {
            if let Some(at) = at.as_ref().filter(|at| at.value.as_os_str().is_empty()) {
                self.refuse(at, key, "is empty", "a path; without this line the default holds");
            }
        }
        for (at, key) in
            [(&gateway.plugin_dirs, "gateway.plugin_dirs"), (&gateway.profile_dirs, "gateway.profile_dirs")]
        {
            let Some(at) = at else { continue };
            for dir in at.value.iter().map(|dir| home.join(dir)).filter(|dir| !dir.is_dir()) {
                let problem = format!("{} is no directory, or not there", dir.display());
                self.warnings.push(self.layers.sources.error(at, key, problem).to_string());
            }
        }
        if let Some(at) = &policy.analysis_signers
            && let Err(error) = std::fs::metadata(home.join(&at.value))
            && !at.value.as_os_str().is_empty()
        {
            let problem = format!("{}: {error}", home.join(&at.value).display());
            let hint = "a file in the form of ssh-keygen's allowed signers; leave the line out if nobody signs";
            self.refuse(at, "policy.analysis_signers", problem, hint);
        }
    }

    fn not_empty(&mut self, at: &At<String>, key: &str, hint: &str) {
        if at.value.trim().is_empty() {
            self.refuse(at, key, "is empty", hint);
        }
    }

    fn refuse<T>(&mut self, at: &At<T>, key: &str, problem: impl Into<String>, hint: &str) {
        self.errors.push(self.layers.sources.error(at, key, problem).hint(hint));
    }

    fn within<T: Copy + Into<u64>>(&mut self, at: &At<T>, bound: &bound::Bound, hint: &str) {
        if let Some(problem) = bound.problem(at.value) {
            self.refuse(at, bound.key, problem, hint);
        }
    }

    fn missing(&mut self, key: &str, problem: &str, hint: &str) {
        let error = ConfigError { key: Some(key.into()), ..ConfigError::file(self.path, problem) };
        self.errors.push(error.hint(hint));
    }

    fn backlog(&mut self) -> Backlog {
        let raw = self.layers.backlog.clone();
        let mut backlog = Backlog::default();
        if let Some(at) = raw.max_bytes {
            if at.value != 0 {
                self.within(&at, &bound::BACKLOG_MAX_BYTES, "16777216 is the default; 0 keeps nothing");
            }
            backlog.max_bytes = usize::try_from(at.value).unwrap_or(usize::MAX);
        }
        if let Some(at) = raw.max_age_h {
            self.within(&at, &bound::BACKLOG_MAX_AGE_H, "72 is the default; 8784 is a year");
            backlog.max_age = Duration::from_secs(u64::from(at.value) * 3600);
        }
        backlog
    }
}

#[cfg(test)]
mod tests;
