//! The configuration file and its layers: `lpwad.toml`, then `conf.d/*.toml` beside it in name order. Later wins;
//! tables merge field by field; entries of a list merge by name.

use super::document::{At, Secrecy, Sources, parse, section};
use super::error::{ConfigError, ConfigErrors};
use super::private_file;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest configuration file in bytes.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

section! {
    /// `[gateway]`
    Gateway {
        /// Directory of everything that must survive.
        state_dir: PathBuf,
        /// Unix socket of `lpwad status` and the like.
        control_socket: PathBuf,
        /// More directories to search for plugins.
        plugin_dirs: Vec<PathBuf>,
        /// More directories to search for device profiles.
        profile_dirs: Vec<PathBuf>,
        /// Receive delay that nodes get in their join accept, in s.
        rx1_delay_s: u8,
        /// DTLS sessions that are live at once.
        dtls_live_sessions: u32,
    }
}

/// Settings of a plugin, by names that know where they stand.
pub type Settings = BTreeMap<toml::Spanned<String>, toml::Value>;

section! {
    /// `[[radio]]`
    Radio {
        /// Name of the instance.
        name: String,
        /// Plugin to run.
        plugin: String,
        /// Who starts the plugin.
        attach: String,
        /// The plugin's own settings.
        settings: Settings,
    }
}

section! {
    /// `[[server]]`
    Server {
        /// Name of the server.
        name: String,
        /// Address for NoSec.
        uri: String,
        /// Address for DTLS.
        secure_uri: String,
        /// `auto` or `dtls`.
        security: String,
        /// Whether the server can reach a proxy at any time.
        reachable: bool,
        /// File with the server's raw public key.
        server_public_key: PathBuf,
        /// File with the certificates that the server's chain must lead to.
        trust_anchors: PathBuf,
        /// File with the one certificate that the server has.
        server_certificate: PathBuf,
        /// Longest DTLS record that is asked for, in bytes.
        max_fragment_length: u32,
        /// Cipher suites, best first.
        suites: Vec<String>,
        /// Wait before a handshake message is repeated for the first time, in s.
        dtls_timer_initial_s: u32,
        /// Why that is shorter than 9 s.
        dtls_timer_reason: String,
        /// Longest wait before a handshake message is repeated, in s.
        dtls_timer_cap_s: u32,
        /// `random` or `endpoint`: identities of new keys.
        psk_identity: String,
    }
}

section! {
    /// `[backlog]`
    Backlog {
        /// Bytes of all readings that servers missed; 0: none are kept.
        max_bytes: u64,
        /// Hours after which they are dropped.
        max_age_h: u32,
    }
}

section! {
    /// `[policy]`
    Policy {
        /// Directory of threat analyses.
        analysis_dir: PathBuf,
        /// File of those who may sign threat analyses.
        analysis_signers: PathBuf,
        /// Directory of fact files.
        facts_dir: PathBuf,
    }
}

section! {
    /// `[[node]]`
    Node {
        /// DevEUI, 16 hex digits.
        dev_eui: String,
        /// Device profile.
        profile: String,
        /// Where its keys are.
        keys: String,
        /// Server of its proxy.
        server: String,
        /// Endpoint name, if not made from the DevEUI.
        endpoint: String,
        /// `otaa` or `abp`.
        activation: String,
        /// Address of an ABP node, 8 hex digits.
        dev_addr: String,
        /// Whether the counter of an ABP node may start anew.
        relaxed_counter: bool,
    }
}

/// One file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    gateway: Gateway,
    #[serde(default)]
    radio: Vec<Radio>,
    #[serde(default)]
    server: Vec<Server>,
    #[serde(default)]
    backlog: Backlog,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    node: Vec<Node>,
}

/// All layers, one over the other, and the sources that they came from.
#[derive(Debug, Default)]
pub struct Layers {
    /// Texts, for errors.
    pub sources: Sources,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[[radio]]`
    pub radios: Vec<Radio>,
    /// `[[server]]`
    pub servers: Vec<Server>,
    /// `[backlog]`
    pub backlog: Backlog,
    /// `[policy]`
    pub policy: Policy,
    /// `[[node]]`
    pub nodes: Vec<Node>,
}

/// Reads `path` and the `conf.d` directory beside it.
pub fn read(path: &Path) -> Result<Layers, ConfigErrors> {
    let mut layers = Layers::default();
    let mut errors = Vec::new();
    if std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        let hint = "name another file with --config, or start from config/lpwad.toml";
        errors.push(ConfigError::file(path, "is not there").hint(hint));
    } else if let Err(error) = read_text(path).and_then(|text| layers.add(path, text)) {
        errors.push(error);
    }
    let conf_d = path.parent().unwrap_or(Path::new(".")).join("conf.d");
    for file in toml_files(&conf_d)? {
        if let Err(error) = read_text(&file).and_then(|text| layers.add(&file, text)) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(layers) } else { Err(ConfigErrors(errors)) }
}

/// The `*.toml` files of a directory in name order; none if there is no such directory.
pub fn toml_files(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::file(dir, format!("directory cannot be read: {error}"))),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    Ok(files)
}

/// The text of a public file, at most 8 MiB.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let bytes = read_public(path, MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|error| not_text(path, error.as_bytes(), error.utf8_error().valid_up_to()))
}

/// An error at the first byte that is no UTF-8.
pub(super) fn not_text(path: &Path, bytes: &[u8], valid_up_to: usize) -> ConfigError {
    let line = 1 + bytes.iter().take(valid_up_to).filter(|byte| **byte == b'\n').count();
    let problem = "is not UTF-8 text here";
    ConfigError { line: Some(line), ..ConfigError::file(path, problem) }
        .hint("save the file as UTF-8, or use plain ASCII")
}

/// Reads a public file of at most `max` bytes. Links are followed; what is no regular file is refused, and nobody waits for it.
pub(super) fn read_public(path: &Path, max: u64) -> Result<Vec<u8>, ConfigError> {
    let fail = |error: std::io::Error| ConfigError::file(path, format!("cannot be read: {error}"));
    let file = private_file::open_at_once(path, true).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if meta.is_dir() {
        return Err(ConfigError::file(path, "is a directory, not a file").hint("name the file in it"));
    }
    if !meta.is_file() {
        let hint = "what is read here lies in a file: a pipe, a socket or a device has no place";
        return Err(ConfigError::file(path, "is not a regular file").hint(hint));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > max {
        return Err(ConfigError::file(path, format!("larger than {max} bytes")));
    }
    Ok(bytes)
}

impl Layers {
    /// Lays the text of one more file over the others.
    pub fn add(&mut self, path: &Path, text: String) -> Result<(), ConfigError> {
        let mut raw: RawFile = parse(path, &text, Secrecy::Public)?;
        let file = self.sources.add(path, text);
        raw.gateway.place(file);
        raw.backlog.place(file);
        raw.policy.place(file);
        raw.radio.iter_mut().for_each(|section| section.place(file));
        raw.server.iter_mut().for_each(|section| section.place(file));
        raw.node.iter_mut().for_each(|section| section.place(file));
        self.gateway.overlay(raw.gateway);
        self.backlog.overlay(raw.backlog);
        self.policy.overlay(raw.policy);
        let sources = &self.sources;
        merge(sources, &mut self.radios, raw.radio, "radio.name", |s| s.name.as_ref(), Radio::overlay)?;
        merge(sources, &mut self.servers, raw.server, "server.name", |s| s.name.as_ref(), Server::overlay)?;
        merge(sources, &mut self.nodes, raw.node, "node.dev_eui", |s| s.dev_eui.as_ref(), Node::overlay)
    }
}

/// Merges the entries of one file into the list: same name as an earlier file's means more of that entry; the same
/// name twice in one file is an error.
fn merge<S>(
    sources: &Sources,
    list: &mut Vec<S>,
    later: Vec<S>,
    key: &str,
    name: impl Fn(&S) -> Option<&At<String>>,
    overlay: impl Fn(&mut S, S),
) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    let mut index: BTreeMap<String, usize> = list
        .iter()
        .enumerate()
        .filter_map(|(at, section)| name(section).map(|n| (n.value.to_lowercase(), at)))
        .collect();
    for section in later {
        let Some(at) = name(&section) else {
            list.push(section);
            continue;
        };
        let lower = at.value.to_lowercase();
        if !seen.insert(lower.clone()) {
            return Err(sources.error(at, key, format!("\"{}\" stands twice in this file", at.value)));
        }
        match index.get(&lower).and_then(|at| list.get_mut(*at)) {
            Some(earlier) => overlay(earlier, section),
            None => {
                index.insert(lower, list.len());
                list.push(section);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_merge_by_name_and_twice_in_one_file_is_an_error() {
        let mut layers = Layers::default();
        layers.add(Path::new("a"), "[[server]]\nname='s'\nuri='coap://127.0.0.1'\nsecurity='auto'\n".into()).unwrap();
        layers.add(Path::new("b"), "[[server]]\nname='s'\nsecurity='dtls'\n[[server]]\nname='t'\n".into()).unwrap();
        assert_eq!(layers.servers.len(), 2);
        let first = &layers.servers[0];
        assert_eq!(first.security.as_ref().unwrap().value, "dtls");
        assert_eq!(first.uri.as_ref().unwrap().value, "coap://127.0.0.1");
        let error = layers.add(Path::new("c"), "[[node]]\ndev_eui='A1'\n[[node]]\ndev_eui='a1'\n".into()).unwrap_err();
        assert_eq!(error.to_string(), "c:4: node.dev_eui: \"a1\" stands twice in this file");
    }
}
