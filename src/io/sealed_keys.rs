//! Imported keys (`keys = "store"`): a key file that lies sealed in the state directory, as a whole.

use super::disk::{SEALED_KEYS, StoreError};
use super::run::state_dir;
use super::seal_key;
use super::state_dir::{self, prepare};
use crate::config::private_file::{Edit, Origin, read, user_of};
use crate::config::{Config, ConfigError, ConfigErrors, Outside};
use crate::store::seal::Seal;
use std::path::Path;
use zeroize::Zeroizing;

/// Largest sealed key file in bytes; a little more than that of an open one.
const MAX_BYTES: u64 = 5 * 1024 * 1024;

/// Reads the configuration with the keys that were imported. The state directory is the one of the command line, of the
/// configuration, of systemd, or the default.
///
/// # Errors
/// Everything that is wrong in files of the user.
pub fn read_config(path: &Path, command_line: Option<&Path>) -> Result<Config, ConfigErrors> {
    let sealed = |configured: Option<&Path>| {
        let dir = state_dir(command_line, configured);
        Ok((dir.join(SEALED_KEYS), text(&dir)?))
    };
    let user = |configured: Option<&Path>| user_of(&state_dir(command_line, configured));
    Config::read_with(path, &Outside { sealed: &sealed, user: &user })
}

/// The text of the imported keys; empty if none were imported.
///
/// # Errors
/// It cannot be read, others could read it, or the sealing key is not the right one.
pub fn text(state_dir: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let path = state_dir.join(SEALED_KEYS);
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(Zeroizing::default());
    }
    let sealed = read(&path, Origin::File { user: None }, "sealed keys", MAX_BYTES)?;
    let (seal, key) = seal_key::load(state_dir).map_err(as_config_error(state_dir))?;
    open(&path, &sealed, &seal, &key)
}

fn open(path: &Path, sealed: &[u8], seal: &Seal, key: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let mut plain = seal.open(SEALED_KEYS, b"", sealed).map_err(|problem| {
        ConfigError::file(path, format!("{problem}; the key is that of {}", key.display()))
            .hint("bring back the right key; or remove this file and import the keys again (`lpwad key import`)")
    })?;
    String::from_utf8(std::mem::take(&mut *plain))
        .map(Zeroizing::new)
        .map_err(|_| ConfigError::file(path, "no text, although it was sealed by lpwad"))
}

/// Looks at the state directory as a start would, but makes nothing, and does not open the store; gives a warning.
///
/// # Errors
/// The directory or a file in it cannot be used: others could read it, or the sealing key or what it sealed is damaged.
pub fn examine(state_dir: &Path) -> Result<Option<String>, ConfigError> {
    let as_error = as_config_error(state_dir);
    state_dir::examine(state_dir).map_err(&as_error)?;
    if !state_dir.is_dir() {
        return Ok(None);
    }
    let Some((seal, key)) = seal_key::find(state_dir).map_err(&as_error)? else {
        // The service may have it as a credential, which this process has not.
        return Ok(seal_key::missing(state_dir).map_err(&as_error)?.map(|error| error.to_string()));
    };
    let path = state_dir.join(SEALED_KEYS);
    if std::fs::symlink_metadata(&path).is_ok() {
        let sealed = read(&path, Origin::File { user: None }, "sealed keys", MAX_BYTES)?;
        open(&path, &sealed, &seal, &key)?;
    }
    Ok(None)
}

/// Changes the imported keys; two programs do not do it at the same time. What `change` gives is on disk after `Ok`.
///
/// # Errors
/// As [`text`], what `change` says, or it cannot be written.
pub fn edit(
    state_dir: &Path,
    change: impl FnOnce(&Path, &str) -> Result<Zeroizing<String>, ConfigError>,
) -> Result<(), ConfigError> {
    if !state_dir.is_dir() {
        let hint = format!("start lpwad once, or: install -d -m 700 -o USER {}", state_dir.display());
        return Err(ConfigError::file(state_dir, "there is no state directory yet").hint(hint));
    }
    prepare(state_dir).map_err(as_config_error(state_dir))?;
    let path = state_dir.join(SEALED_KEYS);
    let edit = Edit::begin(&path, None)?;
    let changed = change(&path, &text(state_dir)?)?;
    let (seal, _) = seal_key::load(state_dir).map_err(as_config_error(state_dir))?;
    edit.replace(&seal.seal(SEALED_KEYS, b"", changed.as_bytes()))
}

fn as_config_error(state_dir: &Path) -> impl Fn(StoreError) -> ConfigError {
    move |error| match error {
        StoreError::File(error) => error,
        StoreError::Unsafe { path, problem } => ConfigError::file(path, problem),
        StoreError::Io { path, error } => ConfigError::file(path, error.to_string()),
        other => ConfigError::file(state_dir, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const TEXT: &str = "[\"70b3d57ed0001234\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n";

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    fn put(dir: &Path, text: &str) {
        edit(dir, |_, _| Ok(Zeroizing::new(text.into()))).unwrap();
    }

    #[test]
    fn s_21_imported_keys_lie_sealed_and_come_back() {
        let dir = directory();
        assert_eq!(text(dir.path()).unwrap().as_str(), "");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "to look makes nothing");
        put(dir.path(), TEXT);
        let file = dir.path().join(SEALED_KEYS);
        let sealed = fs::read(&file).unwrap();
        assert!(!sealed.windows(8).any(|bytes| TEXT.as_bytes().windows(8).any(|plain| plain == bytes)));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        edit(dir.path(), |_, before| {
            assert_eq!(before, TEXT);
            Ok(Zeroizing::new(format!("{before}# more\n")))
        })
        .unwrap();
        assert_eq!(text(dir.path()).unwrap().as_str(), format!("{TEXT}# more\n"));
    }

    #[test]
    fn check_sees_what_a_start_would_fail_of_and_makes_nothing() {
        let dir = directory();
        let state = dir.path().join("state");
        assert_eq!(examine(&state), Ok(None), "there is none yet");
        assert!(!state.exists());
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir(&state).unwrap();
        mode(&state, 0o755);
        assert!(examine(&state).unwrap_err().to_string().contains("mode 0755"));
        mode(&state, 0o700);
        assert_eq!(examine(&state), Ok(None));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        put(&state, TEXT);
        assert_eq!(examine(&state), Ok(None));
        let (key, sealed) = (state.join(seal_key::FILE), state.join(SEALED_KEYS));
        let good = fs::read(&key).unwrap();
        for (damage, word) in [(&good[1..], "31 bytes"), (&[7; 32], "damaged")] {
            fs::write(&key, damage).unwrap();
            let said = examine(&state).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
        fs::remove_file(&key).unwrap();
        let said = examine(&state).unwrap().unwrap();
        assert!(said.contains("systemd credential") && !key.exists(), "{said}");
        fs::remove_file(&sealed).unwrap();
        fs::write(state.join(crate::io::disk::STORE), "x").unwrap();
        mode(&state.join(crate::io::disk::STORE), 0o644);
        assert!(examine(&state).unwrap_err().to_string().contains("store has mode 0644"));
        let said = examine(&state.join(crate::io::disk::STORE)).unwrap_err().to_string();
        assert!(said.contains("is no directory"), "{said}");
        assert!(prepare(&state.join(crate::io::disk::STORE)).unwrap_err().to_string().contains("is no directory"));
    }

    #[test]
    fn s_21_a_flipped_bit_another_key_and_a_lost_key_are_named() {
        let dir = directory();
        put(dir.path(), TEXT);
        let file = dir.path().join(SEALED_KEYS);
        let mut sealed = fs::read(&file).unwrap();
        sealed[40] ^= 1;
        fs::write(&file, &sealed).unwrap();
        let said = text(dir.path()).unwrap_err().to_string();
        assert!(said.contains(SEALED_KEYS) && said.contains("damaged") && said.contains("hint"), "{said}");
        sealed[40] ^= 1;
        fs::write(&file, &sealed).unwrap();
        assert!(text(dir.path()).is_ok());
        fs::remove_file(dir.path().join(seal_key::FILE)).unwrap();
        let said = edit(dir.path(), |_, _| unreachable!("nothing is changed")).unwrap_err().to_string();
        assert!(said.contains("not there") && !dir.path().join(seal_key::FILE).exists(), "{said}");
    }
}
