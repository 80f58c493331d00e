//! Signatures over the file of an analysis, as `ssh-keygen -Y sign` makes them (PROTOCOL.sshsig of OpenSSH), and who may
//! sign: a file in the form of `ALLOWED SIGNERS` in ssh-keygen(1).
//!
//! Not supported: keys that are not Ed25519, certificates, and of the options all but `namespaces` with whole names. A line
//! with any of these makes the file of signers unusable, so that nothing is passed over in silence.

use crate::config::{ConfigError, ConfigErrors, private_file, read_text};
use ssh_key::{Algorithm, PublicKey, SshSig};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Namespace of signatures over analyses: one made for another purpose does not count.
pub const NAMESPACE: &str = "lpwad-threat-analysis";
/// Largest signature, in bytes; one by Ed25519 has some 300.
pub const MAX_BYTES: usize = 4096;
/// Most signers.
const MAX_SIGNERS: usize = 256;

/// Who may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers(Vec<Signer>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signer {
    /// Names, as they stand in the file.
    principals: String,
    /// Namespaces that the key is for; `None`: all.
    namespaces: Option<Vec<String>>,
    key: PublicKey,
}

/// The file of the signature over the file `path`: `NAME.toml.sig` beside `NAME.toml`.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// Who signed the file `path`, whose contents are `message`; `None`: there is no signature beside it.
///
/// # Errors
/// There is one, and it is not good, or nobody says who may sign.
pub fn signed_by(path: &Path, message: &[u8], signers: Option<&Signers>) -> Result<Option<String>, ConfigError> {
    let path = beside(path);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => private_file::trusted(&path)?,
    }
    let Some(signers) = signers else {
        return Err(ConfigError::file(path, "is a signature, and nobody may sign")
            .hint("analysis_signers under [policy] names the file of allowed signers"));
    };
    let principals = signers.verify(message, &read_text(&path)?);
    principals.map(|one| Some(one.to_string())).map_err(|problem| ConfigError::file(path, problem))
}

impl Signers {
    /// Reads a file of allowed signers that nobody else can write.
    ///
    /// # Errors
    /// It is not so, or a line cannot be used.
    pub fn read(path: &Path) -> Result<Signers, ConfigErrors> {
        private_file::trusted(path)?;
        Signers::parse(path, &read_text(path)?)
    }

    /// Reads the text of a file of allowed signers: lines of principals, options if there are any, type and key.
    ///
    /// # Errors
    /// Each line that cannot be used, with its number.
    pub fn parse(path: &Path, text: &str) -> Result<Signers, ConfigErrors> {
        let (mut signers, mut errors) = (Vec::new(), Vec::new());
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Signer::parse(line) {
                Ok(_) if signers.len() == MAX_SIGNERS => {
                    errors.push(ConfigError::file(path, format!("has more than {MAX_SIGNERS} signers")));
                    break;
                }
                Ok(signer) => signers.push(signer),
                Err(problem) => errors.push(ConfigError { line: Some(number), ..ConfigError::file(path, problem) }),
            }
        }
        if errors.is_empty() { Ok(Signers(signers)) } else { Err(ConfigErrors(errors)) }
    }

    /// Whether `signature` (the text of a `.sig` file) is one over `message` by a signer; gives who, as the file of signers
    /// names them.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn verify(&self, message: &[u8], signature: &str) -> Result<&str, String> {
        if signature.len() > MAX_BYTES {
            return Err(format!("is larger than {MAX_BYTES} bytes"));
        }
        let signature: SshSig = signature.parse().map_err(|error| format!("is no signature of ssh-keygen: {error}"))?;
        if signature.namespace() != NAMESPACE {
            return Err(format!("is for another purpose: it was not made with -n {NAMESPACE}"));
        }
        let known = self.0.iter().filter(|signer| signer.key.key_data() == signature.public_key());
        let mut for_this = known
            .filter(|signer| signer.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| name == NAMESPACE)));
        let Some(signer) = for_this.next() else { return Err("is by a key that is no allowed signer".into()) };
        match signer.key.verify(NAMESPACE, message, &signature) {
            Ok(()) => Ok(&signer.principals),
            Err(_) => Err("is not one over this file: one of them was changed".into()),
        }
    }
}

impl Signer {
    fn parse(line: &str) -> Result<Signer, String> {
        let form = "is not principals, options, type and key";
        let (principals, rest) = line.split_once(char::is_whitespace).ok_or(form)?;
        if principals.contains('"') {
            return Err("quotes around principals are not supported".into());
        }
        let rest = rest.trim_start();
        let (options, key) = if is_key(rest) { ("", rest) } else { split_options(rest).ok_or(form)? };
        let namespaces = namespaces(options)?;
        let key = PublicKey::from_openssh(key).map_err(|error| format!("the key cannot be read: {error}"))?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::SkEd25519 => {}
            other => {
                return Err(format!("keys of type {other} are not supported: ssh-keygen -t ed25519 makes one that is"));
            }
        }
        Ok(Signer { principals: principals.into(), namespaces, key })
    }
}

fn is_key(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind))
}

/// Options, and what follows the first space outside of quotes.
fn split_options(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        !quoted && c.is_whitespace()
    })?;
    let (options, rest) = text.split_at(end);
    Some((options, rest.trim_start()))
}

/// The namespaces that options name; `None`: they name none.
fn namespaces(options: &str) -> Result<Option<Vec<String>>, String> {
    if options.is_empty() {
        return Ok(None);
    }
    let value = options.strip_prefix("namespaces=\"").and_then(|rest| rest.strip_suffix('"'));
    let Some(value) = value.filter(|value| !value.contains(['"', '*', '?', '!'])) else {
        return Err(format!("options {options} are not supported: only namespaces=\"NAME,NAME\" is, without patterns"));
    };
    Ok(Some(value.split(',').map(str::to_string).collect()))
}
