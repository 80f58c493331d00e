//! Key files: TOML, mode 0600, one table per node. Nothing read here ever reaches a log or an error.

use super::document::{Secrecy, parse};
use super::error::ConfigError;
use lpwad_lorawan::{DevEui, Key};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Largest key file in bytes: some 10,000 nodes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    app_key: Option<Zeroizing<String>>,
    nwk_s_key: Option<Zeroizing<String>>,
    app_s_key: Option<Zeroizing<String>>,
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
}

/// Where a key file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the operator: its mode must keep others out.
    File,
    /// A credential of systemd, which keeps others out by the directory and may grant this process access by a list that
    /// shows as a group's mode.
    Credential,
}

/// The nodes of one key file.
pub type KeyFile = BTreeMap<DevEui, NodeKeys>;

/// Reads a key file. Refused: a link, anything but a file, group or others in its mode, an owner that is neither root
/// nor this user, more than 4 MiB, keys that are not 32 hex digits, weak keys (all bytes equal).
pub fn read(path: &Path, origin: Origin) -> Result<KeyFile, ConfigError> {
    let fail = |problem: String| ConfigError::file(path, problem);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| {
            fail(format!("key file cannot be opened: {error}")).hint("key files are not followed through links")
        })?;
    let meta = file.metadata().map_err(|error| fail(format!("key file cannot be examined: {error}")))?;
    if !meta.is_file() {
        return Err(fail("key file is not a regular file".into()));
    }
    if origin == Origin::File && meta.mode() & 0o077 != 0 {
        return Err(fail(format!("key file has mode {:04o}: others could read it", meta.mode() & 0o7777))
            .hint(format!("chmod 600 {}", path.display())));
    }
    if meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(fail("key file belongs to another user".into()));
    }
    if meta.len() > MAX_BYTES {
        return Err(fail(format!("key file is larger than {MAX_BYTES} bytes")));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|_| fail("key file is not UTF-8 text or cannot be read".into()))?;
    parse_text(path, &text)
}

/// Parses the text of a key file; `path` is for errors only.
pub fn parse_text(path: &Path, text: &str) -> Result<KeyFile, ConfigError> {
    let raw: BTreeMap<String, RawKeys> = parse(path, text, Secrecy::Secret)?;
    let mut keys = KeyFile::new();
    for (name, entry) in raw {
        let line = || text.find(&name).map(|at| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count());
        // What stands in the place of a DevEUI may be a key: it is not repeated.
        let dev_eui: DevEui = name.parse().map_err(|_| ConfigError {
            line: line(),
            ..ConfigError::file(path, format!("a table name of {} bytes is not a DevEUI of 16 hex digits", name.len()))
        })?;
        let fail = |key: &str, problem: &str| ConfigError {
            line: line(),
            key: Some(format!("[\"{dev_eui}\"] {key}")),
            ..ConfigError::file(path, problem)
        };
        let key = |field: &str, text: Option<Zeroizing<String>>| match text {
            None => Ok(None),
            Some(text) => hex_key(&text).map(Some).map_err(|problem| fail(field, problem)),
        };
        let node = NodeKeys {
            app_key: key("app_key", entry.app_key)?,
            nwk_s_key: key("nwk_s_key", entry.nwk_s_key)?,
            app_s_key: key("app_s_key", entry.app_s_key)?,
        };
        if keys.insert(dev_eui, node).is_some() {
            return Err(fail("", "this DevEUI stands twice in the file"));
        }
    }
    Ok(keys)
}

fn hex_key(text: &str) -> Result<Key, &'static str> {
    let bytes = Zeroizing::new(lpwad_link::hex::decode(text).map_err(|_| "not 32 hex digits")?);
    let key: [u8; 16] = bytes.as_slice().try_into().map_err(|_| "not 32 hex digits")?;
    if key.iter().all(|byte| *byte == key[0]) {
        return Err("weak key: all its bytes are equal");
    }
    Ok(Key::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const GOOD: &str = "[\"70b3d57ed0001234\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n";

    fn write(mode: u32, text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        dir
    }

    #[test]
    fn good_file_is_read() {
        let dir = write(0o600, GOOD);
        let keys = read(&dir.path().join("keys.toml"), Origin::File).unwrap();
        let node = &keys[&"70b3d57ed0001234".parse().unwrap()];
        assert_eq!(node.app_key.as_ref().unwrap().expose()[0], 0x2b);
    }

    #[test]
    fn readable_by_others_or_behind_a_link_is_refused_with_a_hint() {
        let dir = write(0o640, GOOD);
        let error = read(&dir.path().join("keys.toml"), Origin::File).unwrap_err();
        assert!(error.problem.contains("0640") && error.hint.unwrap().starts_with("chmod 600"));
        assert!(read(&dir.path().join("keys.toml"), Origin::Credential).is_ok());
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(dir.path().join("keys.toml"), &link).unwrap();
        assert!(read(&link, Origin::File).unwrap_err().problem.contains("cannot be opened"));
    }

    #[test]
    fn bad_keys_are_named_by_field_and_never_shown() {
        for (text, word) in [
            ("[\"70b3d57ed0001234\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f\"\n", "not 32 hex digits"),
            ("[\"70b3d57ed0001234\"]\napp_key = \"11111111111111111111111111111111\"\n", "weak key"),
            ("[\"70b3\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n", "DevEUI"),
            ("\n[\"2b7e151628aed2a6abf7158809cf4f3c\"]\napp_key = \"70b3\"\n", "toml:2: a table name of 32 bytes"),
            ("[\"70b3d57ed0001234\"]\nappkey = \"2b7e151628aed2a6abf7158809cf4f3c\"\n", "not a valid entry"),
            ("[\"70b3d57ed0001234\"]\napp_key = 2b7e151628aed2a6\n", "not a valid entry"),
        ] {
            let error = parse_text(Path::new("keys.toml"), text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert!(!error.contains("2b7e") && !error.contains("1111"), "{error}");
        }
    }
}
