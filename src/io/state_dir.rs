//! The state directory: made with mode 0700, and of this user alone.

use super::disk::{STORE, StoreError};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes the state directory with mode 0700, or sees to it that it is ours alone.
pub(super) fn prepare(state_dir: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::Io { path: state_dir.into(), error };
    if fs::symlink_metadata(state_dir).is_err() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(io)?;
    }
    examine_directory(state_dir)
}

/// Whether the state directory and what lies in it can be used, as far as that is seen without making or opening a store.
/// Nothing is wrong with one that is not there yet.
///
/// # Errors
/// What a start would say.
pub fn examine(state_dir: &Path) -> Result<(), StoreError> {
    if matches!(fs::symlink_metadata(state_dir), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    examine_directory(state_dir)?;
    let path = state_dir.join(STORE);
    match fs::symlink_metadata(&path) {
        Ok(meta) if !meta.is_file() => {
            Err(StoreError::Unsafe { path, problem: "store is a link, or no regular file".into() })
        }
        Ok(meta) => examine_store(&path, &meta, fs::metadata(state_dir).map_or(meta.uid(), |dir| dir.uid())),
        // Without a store nothing is wrong with it.
        Err(_) => Ok(()),
    }
}

fn examine_directory(state_dir: &Path) -> Result<(), StoreError> {
    let unsafe_dir = |problem: String| StoreError::Unsafe { path: state_dir.into(), problem };
    let meta = fs::symlink_metadata(state_dir).map_err(|error| StoreError::Io { path: state_dir.into(), error })?;
    if meta.is_symlink() {
        return Err(unsafe_dir("state directory is a link: name the directory itself".into()));
    }
    if !meta.is_dir() {
        return Err(unsafe_dir(
            "state directory is no directory: name one with --state-dir or gateway.state_dir".into(),
        ));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(unsafe_dir(format!(
            "state directory has mode {:04o}: chmod 700",
            meta.permissions().mode() & 0o7777
        )));
    }
    let me = nix::unistd::geteuid();
    if meta.uid() != me.as_raw() && !me.is_root() {
        return Err(unsafe_dir("state directory belongs to another user: run lpwad as that user, or chown it".into()));
    }
    Ok(())
}

/// Whether nobody but `owner` can use the store's file.
pub(super) fn examine_store(path: &Path, meta: &fs::Metadata, owner: u32) -> Result<(), StoreError> {
    let mode = meta.permissions().mode();
    let problem = if mode & 0o077 != 0 {
        format!("store has mode {:04o}: chmod 600", mode & 0o7777)
    } else if meta.uid() != owner {
        "store belongs to another user: run lpwad as that user, or chown it".into()
    } else {
        return Ok(());
    };
    Err(StoreError::Unsafe { path: path.into(), problem })
}
