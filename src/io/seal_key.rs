//! The sealing key: a systemd credential, or a file in the state directory that is made at the first start.

use super::disk::{SEALED_KEYS, STORE, StoreError};
use super::entropy;
use crate::config::private_file::{self, Origin};
use crate::config::{ConfigError, path_of_credential};
use crate::store::seal::{KEY_BYTES, Seal};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the systemd credential.
pub const CREDENTIAL: &str = "lpwad-seal-key";
/// Name of the file in the state directory.
pub const FILE: &str = "seal.key";

/// A file with 64 hex digits and an end of line.
const MAX_BYTES: u64 = 2 * KEY_BYTES as u64 + 2;

/// Reads the sealing key; without one it is made, unless something is sealed already. `state_dir` is there and private.
///
/// # Errors
/// The key cannot be read, is no key, or is lost.
pub fn load(state_dir: &Path) -> Result<(Seal, PathBuf), StoreError> {
    let (path, origin) = place(state_dir);
    if origin != Origin::Credential && !exists(&path)? {
        if let Some(sealed) = sealed_file(state_dir)? {
            return Err(lost(&path, &sealed).into());
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let made = entropy::fill(key.as_mut_slice()).and_then(|()| private_file::create(&path, key.as_slice()));
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(StoreError::Io { path, error }),
            // Another lpwad has just made it.
            _ => {}
        }
    }
    read(path, origin)
}

/// Reads the sealing key, if there is one; none is made.
///
/// # Errors
/// The key cannot be read, or is no key.
pub fn find(state_dir: &Path) -> Result<Option<(Seal, PathBuf)>, StoreError> {
    let (path, origin) = place(state_dir);
    if exists(&path)? { read(path, origin).map(Some) } else { Ok(None) }
}

/// What is said of a sealing key that is not there although something is sealed; `None` if nothing is.
///
/// # Errors
/// A file cannot be examined.
pub fn missing(state_dir: &Path) -> Result<Option<ConfigError>, StoreError> {
    Ok(sealed_file(state_dir)?.map(|sealed| lost(&state_dir.join(FILE), &sealed)))
}

fn place(state_dir: &Path) -> (PathBuf, Origin) {
    match path_of_credential(CREDENTIAL).filter(|path| path.try_exists().unwrap_or(true)) {
        Some(path) => (path, Origin::Credential),
        None => (state_dir.join(FILE), Origin::File { user: None }),
    }
}

fn read(path: PathBuf, origin: Origin) -> Result<(Seal, PathBuf), StoreError> {
    let bytes = private_file::read(&path, origin, "sealing key", MAX_BYTES)?;
    let key = parse(&bytes).ok_or_else(|| {
        ConfigError::file(&path, format!("{} bytes are no sealing key", bytes.len()))
            .hint("a sealing key is 32 random bytes, or 64 hex digits; if it was damaged, bring back its copy")
    })?;
    let mut salt = [0; 16];
    entropy::fill(&mut salt).map_err(|error| StoreError::Io { path: path.clone(), error })?;
    Ok((Seal::new(&key, salt), path))
}

/// A sealing key: 32 bytes as they are, or 64 hex digits, with what is white after them.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if let Ok(key) = bytes.try_into() {
        return Some(Zeroizing::new(key));
    }
    let decoded = Zeroizing::new(lpwad_link::hex::decode(std::str::from_utf8(bytes).ok()?.trim_end()).ok()?);
    decoded.as_slice().try_into().ok().map(Zeroizing::new)
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::Io { path: path.into(), error }),
    }
}

/// What is sealed in the state directory, if anything is.
fn sealed_file(state_dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    for name in [STORE, SEALED_KEYS] {
        let path = state_dir.join(name);
        // The store's file is made empty.
        if exists(&path)? && std::fs::metadata(&path).is_ok_and(|meta| meta.len() > 0) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn lost(key: &Path, sealed: &Path) -> ConfigError {
    let problem = format!("the sealing key is not there, but {} is sealed", sealed.display());
    ConfigError::file(key, problem).hint(format!(
        "is it a systemd credential ({CREDENTIAL}) that this process was not given? else bring the file back. {WITHOUT_KEY}"
    ))
}

/// What is left to do without the key.
pub(super) const WITHOUT_KEY: &str = "Without the right key nothing in the state directory can be read: then move its files \
    away, let all nodes join again, and give nodes with activation = \"abp\" new session keys. Do not put an old copy of the \
    store in its place: counters would be used twice";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_later_ones_use_it() {
        let dir = directory();
        let (first, path) = load(dir.path()).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o7777), (32, 0o600));
        let sealed = first.seal("t", b"k", b"x");
        assert_eq!(load(dir.path()).unwrap().0.open("t", b"k", &sealed).unwrap().as_slice(), b"x");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = directory();
        assert!(load(other.path()).unwrap().0.open("t", b"k", &sealed).is_err(), "each gateway has a key of its own");
    }

    #[test]
    fn a_lost_key_is_not_made_anew_over_what_is_sealed() {
        for name in [STORE, SEALED_KEYS] {
            let dir = directory();
            std::fs::write(dir.path().join(name), b"sealed").unwrap();
            let said = load(dir.path()).unwrap_err().to_string();
            assert!(
                said.contains(FILE) && said.contains(name) && said.contains("counters would be used twice"),
                "{said}"
            );
            assert!(!dir.path().join(FILE).exists());
        }
    }

    #[test]
    fn a_key_that_is_none_or_not_private_or_a_link_is_refused_with_its_file() {
        let dir = directory();
        let path = dir.path().join(FILE);
        let write = |bytes: &[u8], mode| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            load(dir.path()).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(write(&[0xab; 32], 0o600), Ok(()));
        assert_eq!(write(&[b'7'; 64], 0o600), Ok(()));
        assert_eq!(
            write("ab".repeat(32).as_bytes().iter().chain(b"\n").copied().collect::<Vec<_>>().as_slice(), 0o600),
            Ok(())
        );
        for (bytes, mode, word) in [
            (&[1; 31][..], 0o600, "31 bytes"),
            (&[], 0o600, "0 bytes"),
            (&[1; 80], 0o600, "larger"),
            (&[1; 32], 0o644, "0644"),
        ] {
            let said = write(bytes, mode).unwrap_err();
            assert!(said.contains(FILE) && said.contains(word), "{said}");
        }
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("link"));
    }
}
