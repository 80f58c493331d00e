//! Key files: TOML, mode 0600, one table per node. Nothing read here ever reaches a log or an error.

use super::credential::{Credential, Secret};
use super::document::{Secrecy, parse};
use super::error::{ConfigError, Lines};
use super::file::not_text;
pub use super::private_file::Origin;
use super::private_file::read as read_private;
use super::weak::weakness;
use lpwad_lorawan::{DevEui, Key};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use toml::Spanned;
use zeroize::Zeroizing;

/// Largest key file in bytes: some 10,000 nodes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Largest file with a private key or a certificate chain in bytes.
const MAX_PEM_BYTES: u64 = 64 * 1024;
/// Longest PSK identity in bytes (LwM2M Core 1.1.1 object 0, resource 3; RFC 7925 §4.2).
pub const MAX_IDENTITY_BYTES: usize = 128;
/// Bound: Shortest and longest PSK in bytes (resource 5).
pub const PSK_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

type Text = Option<Spanned<Zeroizing<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    app_key: Text,
    nwk_s_key: Text,
    app_s_key: Text,
    psk_identity: Text,
    psk_identity_hex: Text,
    psk: Text,
    rpk_key: Text,
    x509_certificate: Text,
    x509_key: Text,
}

/// Keys of one node.
#[derive(Clone, Debug, Default)]
pub struct NodeKeys {
    /// Root key of a node that joins (OTAA).
    pub app_key: Option<Key>,
    /// Network session key of a node that does not join (ABP).
    pub nwk_s_key: Option<Key>,
    /// Application session key of a node that does not join (ABP).
    pub app_s_key: Option<Key>,
    /// What it proves itself with by DTLS.
    pub dtls: Option<DtlsKeys>,
    /// Lines of the fields in the file, counted from 1.
    lines: BTreeMap<&'static str, usize>,
}

/// What a key file holds for DTLS.
#[derive(Clone, Debug)]
pub enum DtlsKeys {
    /// `psk`, with its identity unless that is the endpoint.
    Psk {
        /// Identity, 1 to 128 bytes.
        identity: Option<Vec<u8>>,
        /// Key, 16 to 64 bytes.
        key: Secret,
    },
    /// `rpk_key`
    Rpk(Pem),
    /// `x509_certificate` and `x509_key`
    X509(Pem, Pem),
}

/// PEM in the key file itself, or the name of a file with it.
#[derive(Clone, Debug)]
pub enum Pem {
    /// The text.
    Inline(Secret),
    /// A file, relative to the directory of the key file.
    File(String),
}

/// The nodes of one key file.
pub type KeyFile = BTreeMap<DevEui, NodeKeys>;

impl NodeKeys {
    /// Line of a field.
    #[must_use]
    pub fn line(&self, field: &str) -> Option<usize> {
        self.lines.get(field).copied()
    }

    /// The secrets that stand in the file itself, by field.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let lorawan = [("app_key", &self.app_key), ("nwk_s_key", &self.nwk_s_key), ("app_s_key", &self.app_s_key)];
        let lorawan = lorawan.into_iter().filter_map(|(field, key)| Some((field, &key.as_ref()?.expose()[..])));
        let dtls = match &self.dtls {
            Some(DtlsKeys::Psk { key, .. }) => Some(("psk", key.expose())),
            Some(DtlsKeys::Rpk(Pem::Inline(key))) => Some(("rpk_key", key.expose())),
            Some(DtlsKeys::X509(_, Pem::Inline(key))) => Some(("x509_key", key.expose())),
            _ => None,
        };
        lorawan.chain(dtls)
    }
}

impl DtlsKeys {
    /// The whole credential, with the files that are named. `endpoint` is the identity of a key that has none.
    ///
    /// # Errors
    /// A file cannot be read, is not private, or is no PEM of its kind.
    pub fn credential(&self, file: &Path, origin: Origin, endpoint: &str) -> Result<Credential, ConfigError> {
        let dir = file.parent().unwrap_or(Path::new("."));
        let private = |pem: &Pem, what: &str| match pem {
            Pem::Inline(text) => Ok(text.clone()),
            Pem::File(name) => {
                let path = dir.join(name);
                let bytes = read_private(&path, origin, what, MAX_PEM_BYTES)?;
                private_pem(&bytes).map_err(|problem| ConfigError::file(&path, problem))?;
                Ok(Secret::new(bytes))
            }
        };
        Ok(match self {
            DtlsKeys::Psk { identity, key } => Credential::Psk {
                identity: identity.clone().unwrap_or_else(|| endpoint.as_bytes().to_vec()),
                key: key.clone(),
            },
            DtlsKeys::Rpk(key) => Credential::Rpk { key: private(key, "private key")? },
            DtlsKeys::X509(certificate, key) => {
                let certificate = match certificate {
                    Pem::Inline(text) => text.expose().to_vec(),
                    Pem::File(name) => super::server::read_public(&dir.join(name), &[CERTIFICATE], false)?,
                };
                Credential::X509 { certificate, key: private(key, "private key")? }
            }
        })
    }
}

/// PEM label of a certificate.
pub(super) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Reads a key file. Refused: what [`super::private_file::read`] refuses, more than 4 MiB, and what [`parse_text`] refuses.
///
/// # Errors
/// With file, line and field; never with a value.
pub fn read(path: &Path, origin: Origin) -> Result<KeyFile, ConfigError> {
    parse_text(path, &text(path, origin)?)
}

/// The text of a key file.
///
/// # Errors
/// It cannot be read, is not private, or is no text.
pub fn text(path: &Path, origin: Origin) -> Result<Zeroizing<String>, ConfigError> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let hint = "`lpwad key import --app-key NODE` makes it, mode 0600; its form is in docs/howto/keys.md";
        return Err(ConfigError::file(path, "key file is not there").hint(hint));
    }
    let mut bytes = read_private(path, origin, "key file", MAX_BYTES)?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            let valid_up_to = error.utf8_error().valid_up_to();
            Err(not_text(path, &Zeroizing::new(error.into_bytes()), valid_up_to))
        }
    }
}

/// Parses the text of a key file; `path` is for errors only. Refused: keys that are not hex or not of their length, weak
/// keys, identities that are empty, longer than 128 bytes or hold NUL, more than one kind of credential for a node.
///
/// # Errors
/// With line and field; never with a value.
pub fn parse_text(path: &Path, text: &str) -> Result<KeyFile, ConfigError> {
    let raw: BTreeMap<Spanned<String>, RawKeys> = parse(path, text, Secrecy::Secret)?;
    let lines_of_file = Lines::of(text);
    let (mut keys, mut lines_of_tables) = (KeyFile::new(), BTreeMap::new());
    for (name, entry) in raw {
        let line = lines_of_file.line_of(name.span().start);
        // What stands in the place of a DevEUI may be a key: it is not repeated.
        let dev_eui: DevEui = name.get_ref().parse().map_err(|_| ConfigError {
            line: Some(line),
            ..ConfigError::file(
                path,
                format!("a table name of {} bytes is not a DevEUI of 16 hex digits", name.get_ref().len()),
            )
        })?;
        let mut table = Table { path, lines_of_file: &lines_of_file, dev_eui, line, lines: BTreeMap::new() };
        let node = table.node(entry)?;
        keys.insert(dev_eui, node);
        // In another letter case it is another name to TOML, and not in the order of the file.
        if let Some(other) = lines_of_tables.insert(dev_eui, line) {
            table.line = line.max(other);
            let problem = format!("this DevEUI stands twice in the file, first in line {}", line.min(other));
            return Err(table.error("", problem).hint("one table for each node; letter case does not matter"));
        }
    }
    Ok(keys)
}

/// One table of a key file.
struct Table<'a> {
    path: &'a Path,
    lines_of_file: &'a Lines,
    dev_eui: DevEui,
    line: usize,
    lines: BTreeMap<&'static str, usize>,
}

impl Table<'_> {
    fn error(&self, field: &str, problem: impl Into<String>) -> ConfigError {
        let key = format!("[\"{}\"] {field}", self.dev_eui);
        ConfigError {
            line: Some(self.lines.get(field).copied().unwrap_or(self.line)),
            key: Some(key.trim_end().into()),
            ..ConfigError::file(self.path, problem)
        }
    }

    /// Notes where a field stands; gives its text.
    fn field(&mut self, field: &'static str, text: Text) -> Option<Zeroizing<String>> {
        let text = text?;
        self.lines.insert(field, self.lines_of_file.line_of(text.span().start));
        Some(text.into_inner())
    }

    fn node(&mut self, raw: RawKeys) -> Result<NodeKeys, ConfigError> {
        let app_key = self.aes_key("app_key", raw.app_key)?;
        let nwk_s_key = self.aes_key("nwk_s_key", raw.nwk_s_key)?;
        let app_s_key = self.aes_key("app_s_key", raw.app_s_key)?;
        let identity = self.identity(raw.psk_identity, raw.psk_identity_hex)?;
        let psk = self.psk(raw.psk, identity.as_deref())?;
        let rpk = self.pem("rpk_key", raw.rpk_key, private_pem)?;
        let certificate = self.pem("x509_certificate", raw.x509_certificate, certificate_pem)?;
        let x509_key = self.pem("x509_key", raw.x509_key, private_pem)?;
        if psk.is_none() && identity.is_some() {
            return Err(self.error("psk_identity", "an identity without psk"));
        }
        let x509 = match (certificate, x509_key) {
            (Some(certificate), Some(key)) => Some(DtlsKeys::X509(certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(self.error("x509_certificate", "a certificate without x509_key")),
            (None, Some(_)) => return Err(self.error("x509_key", "a key without x509_certificate")),
        };
        let psk = psk.map(|key| DtlsKeys::Psk { identity, key });
        let mut kinds = [psk, rpk.map(DtlsKeys::Rpk), x509].into_iter().flatten();
        let dtls = kinds.next();
        if kinds.next().is_some() {
            let hint = "keep psk, or rpk_key, or x509_certificate and x509_key";
            return Err(self.error("", "more than one kind of credential for DTLS").hint(hint));
        }
        Ok(NodeKeys { app_key, nwk_s_key, app_s_key, dtls, lines: std::mem::take(&mut self.lines) })
    }

    fn aes_key(&mut self, field: &'static str, text: Text) -> Result<Option<Key>, ConfigError> {
        let Some(text) = self.field(field, text) else { return Ok(None) };
        let bytes = hex(&text).ok_or_else(|| self.error(field, "not 32 hex digits"))?;
        let key: &[u8; 16] = bytes.as_slice().try_into().map_err(|_| self.error(field, "not 32 hex digits"))?;
        self.good(field, &bytes, &[])?;
        Ok(Some(Key::new(*key)))
    }

    fn psk(&mut self, text: Text, identity: Option<&[u8]>) -> Result<Option<Secret>, ConfigError> {
        let Some(text) = self.field("psk", text) else { return Ok(None) };
        let bytes = hex(&text).ok_or_else(|| self.error("psk", "not hex digits").hint("32 to 128 hex digits"))?;
        if !PSK_BYTES.contains(&bytes.len()) {
            let problem =
                format!("has {} bytes; a pre-shared key has {} to {}", bytes.len(), PSK_BYTES.start(), PSK_BYTES.end());
            return Err(self.error("psk", problem).hint("`lpwad key new` makes a good one"));
        }
        self.good("psk", &bytes, identity.as_slice())?;
        Ok(Some(Secret::new(bytes)))
    }

    fn good(&self, field: &str, key: &[u8], ids: &[&[u8]]) -> Result<(), ConfigError> {
        let dev_eui = self.dev_eui.to_string();
        match weakness(key, &[&[dev_eui.as_bytes()], ids].concat()) {
            Some(why) => Err(self.error(field, why).hint("a key is random: `lpwad key new` makes one for DTLS")),
            None => Ok(()),
        }
    }

    fn identity(&mut self, text: Text, digits: Text) -> Result<Option<Vec<u8>>, ConfigError> {
        let text = self.field("psk_identity", text);
        let digits = self.field("psk_identity_hex", digits);
        let (field, identity) = match (text, digits) {
            (None, None) => return Ok(None),
            (Some(text), None) => ("psk_identity", text.as_bytes().to_vec()),
            (None, Some(digits)) => {
                let bytes = hex(&digits).ok_or_else(|| self.error("psk_identity_hex", "not hex digits"))?;
                ("psk_identity_hex", bytes.to_vec())
            }
            _ => return Err(self.error("psk_identity", "stands here as text and as psk_identity_hex: keep one")),
        };
        match identity_problem(&identity) {
            Some(problem) => Err(self.error(field, problem)),
            None => Ok(Some(identity)),
        }
    }

    fn pem(
        &mut self,
        field: &'static str,
        text: Text,
        check: fn(&[u8]) -> Result<(), &'static str>,
    ) -> Result<Option<Pem>, ConfigError> {
        let Some(text) = self.field(field, text) else { return Ok(None) };
        if text.contains("-----BEGIN") {
            check(text.as_bytes()).map_err(|problem| self.error(field, problem))?;
            return Ok(Some(Pem::Inline(Secret::new(Zeroizing::new(text.as_bytes().to_vec())))));
        }
        // A key in one line of base64 or hex, which have no dot, is not taken for a name, and so not shown as one.
        if !text.contains('.') || text.len() > 255 || text.contains(['\n', '\0']) {
            let hint = "the name of a PEM file with its extension, or the text of one in three quotes";
            return Err(self.error(field, "neither PEM nor the name of a file").hint(hint));
        }
        Ok(Some(Pem::File(text.to_string())))
    }
}

/// Why these bytes are no PSK identity.
#[must_use]
pub fn identity_problem(identity: &[u8]) -> Option<&'static str> {
    if identity.is_empty() {
        Some("an empty identity")
    } else if identity.len() > MAX_IDENTITY_BYTES {
        Some("an identity of more than 128 bytes")
    } else if identity.contains(&0) {
        Some("an identity with a NUL byte")
    } else {
        None
    }
}

fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    lpwad_link::hex::decode(text).ok().map(Zeroizing::new)
}

/// Whether this is PEM of one private key that needs no passphrase; the rest is the business of the DTLS library.
fn private_pem(text: &[u8]) -> Result<(), &'static str> {
    let has = |word: &str| text.windows(word.len()).any(|window| window == word.as_bytes());
    if has("ENCRYPTED") {
        return Err("the private key has a passphrase: nobody is there to type it");
    }
    if has("-----BEGIN PRIVATE KEY-----") || has("-----BEGIN EC PRIVATE KEY-----") {
        return Ok(());
    }
    Err("no PEM of a private key (`-----BEGIN PRIVATE KEY-----`)")
}

fn certificate_pem(text: &[u8]) -> Result<(), &'static str> {
    let is_certificate = text.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE.as_bytes());
    is_certificate.then_some(()).ok_or("no PEM of a certificate (`-----BEGIN CERTIFICATE-----`)")
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
