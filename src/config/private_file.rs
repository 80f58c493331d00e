//! Files that only one user may read: how they are read, made and replaced. Links are not followed.

use super::error::ConfigError;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where a private file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the operator: its mode must keep others out.
    File,
    /// A credential of systemd, which keeps others out by the directory and may grant this process access by a list that
    /// shows as a group's mode.
    Credential,
}

/// Reads a private file of at most `max` bytes; `what` is its name for people, such as "key file". Refused: a link,
/// anything but a file, group or others in its mode, and an owner that is neither root nor this user. Root may also read
/// what belongs to the owner of the directory.
///
/// # Errors
/// With the file, what is wrong, and a hint; never with anything of the contents.
pub fn read(path: &Path, origin: Origin, what: &str, max: u64) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let fail = |problem: String| ConfigError::file(path, format!("{what} {problem}"));
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ELOOP) => fail("is a link".into()).hint("name the file itself: links are not followed"),
            _ => fail(format!("cannot be opened: {error}")),
        })?;
    let meta = file.metadata().map_err(|error| fail(format!("cannot be examined: {error}")))?;
    if !meta.is_file() {
        return Err(fail("is not a regular file".into()));
    }
    if origin == Origin::File && meta.mode() & 0o077 != 0 {
        return Err(fail(format!("has mode {:04o}: others could read it", meta.mode() & 0o7777))
            .hint(format!("chmod 600 {}", path.display())));
    }
    if !may_own(meta.uid(), path) {
        return Err(
            fail("belongs to another user".into()).hint("it must belong to root or to the user that lpwad runs as")
        );
    }
    // The room is there before the first byte: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len().min(max) as usize + 1));
    file.take(max + 1).read_to_end(&mut bytes).map_err(|error| fail(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > max {
        return Err(fail(format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// Whether a file that others may read can be believed: it is a regular file that belongs to root or to this user, and
/// nobody else can write it, or put another one in its place.
///
/// # Errors
/// With the file, what is wrong, and a hint.
pub fn trusted(path: &Path) -> Result<(), ConfigError> {
    let fail = |problem: String| ConfigError::file(path, problem);
    let meta = std::fs::symlink_metadata(path).map_err(|error| fail(format!("cannot be examined: {error}")))?;
    if !meta.is_file() {
        return Err(fail("is not a regular file".into()).hint("links are not followed: name the file itself"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(fail(format!("has mode {:04o}: others could write it", meta.mode() & 0o7777))
            .hint(format!("chmod go-w {}", path.display())));
    }
    if !may_own(meta.uid(), path) {
        return Err(
            fail("belongs to another user".into()).hint("it must belong to root, or to the user that lpwad runs as")
        );
    }
    let dir = parent(path);
    let meta = std::fs::symlink_metadata(dir).map_err(|error| fail(format!("its directory: {error}")))?;
    if meta.is_dir() && meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
        return Err(fail(format!(
            "lies in a directory with mode {:04o}: others could replace it",
            meta.mode() & 0o7777
        ))
        .hint(format!("chmod go-w {}", dir.display())));
    }
    Ok(())
}

fn may_own(uid: u32, path: &Path) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    uid == 0 || uid == me || (me == 0 && owner(parent(path)).is_some_and(|(owner, _)| owner == uid))
}

fn owner(path: &Path) -> Option<(u32, u32)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.uid(), meta.gid()))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a private file that is not there yet, whole and synchronised with its directory, or not at all. Made by root, it
/// belongs to the owner of the directory.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] if there is something of this name; else what the system says.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = write_beside(path, bytes, owner(parent(path)))?;
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new)?;
    linked?;
    File::open(parent(path))?.sync_all()
}

/// The right to change a private file; two programs do not do it at the same time. The file itself need not be there.
#[derive(Debug)]
pub struct Edit {
    path: PathBuf,
    /// A lock (flock) of the directory.
    _directory: File,
}

impl Edit {
    /// Waits until nobody else changes files of this directory.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be locked.
    pub fn begin(path: &Path) -> Result<Edit, ConfigError> {
        let fail = |error: io::Error| ConfigError::file(parent(path), format!("cannot be locked: {error}"));
        let directory = File::open(parent(path)).map_err(fail)?;
        directory.lock().map_err(fail)?;
        Ok(Edit { path: path.into(), _directory: directory })
    }

    /// Replaces the file, or makes it with mode 0600: after `Ok` the new one survives a power cut, else the old one is as
    /// it was. The owner stays; a new file made by root belongs to the owner of the directory.
    ///
    /// # Errors
    /// A link or no regular file is in the place, or the system refuses.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), ConfigError> {
        let fail = |error: io::Error| ConfigError::file(&self.path, format!("cannot be written: {error}"));
        let owner = match std::fs::symlink_metadata(&self.path) {
            Ok(meta) if !meta.is_file() => {
                return Err(ConfigError::file(&self.path, "is a link, or no regular file: it is not replaced"));
            }
            Ok(meta) => Some((meta.uid(), meta.gid())),
            Err(error) if error.kind() == ErrorKind::NotFound => owner(parent(&self.path)),
            Err(error) => return Err(fail(error)),
        };
        let new = write_beside(&self.path, bytes, owner).map_err(fail)?;
        std::fs::rename(&new, &self.path).and_then(|()| File::open(parent(&self.path))?.sync_all()).map_err(fail)
    }
}

/// Writes and synchronises a file beside `path`, of mode 0600; gives its name.
fn write_beside(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(&new)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| match owner.filter(|_| nix::unistd::geteuid().is_root()) {
            Some((uid, gid)) => std::os::unix::fs::fchown(&file, Some(uid), Some(gid)),
            None => Ok(()),
        })
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // What is there of it holds secrets.
        drop(std::fs::remove_file(&new));
        return Err(error);
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_is_made_or_replaced_is_private_and_links_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(read(&path, Origin::File, "file", 3).unwrap().as_slice(), b"one");
        assert!(read(&path, Origin::File, "file", 2).unwrap_err().problem.contains("larger"));
        Edit::begin(&path).unwrap().replace(b"three").unwrap();
        assert_eq!(read(&path, Origin::File, "file", 9).unwrap().as_slice(), b"three");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read(&link, Origin::File, "file", 9).unwrap_err().problem.contains("link"));
        assert!(Edit::begin(&link).unwrap().replace(b"x").unwrap_err().problem.contains("link"));
        assert!(create(&link, b"x").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_belongs_to_another_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create(&path, b"x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path, Origin::File, "file", 9).unwrap_err();
        assert!(error.problem.contains("0640") && error.hint.unwrap().starts_with("chmod 600"));
        assert!(read(&path, Origin::Credential, "file", 9).is_ok());
        if nix::unistd::geteuid().is_root() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            assert!(read(&path, Origin::File, "file", 9).unwrap_err().problem.contains("another user"));
        }
    }
}
