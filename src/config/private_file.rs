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
    File {
        /// The user that lpwad runs as, if this may be another one: root reads what belongs to that user.
        user: Option<u32>,
    },
    /// A credential of systemd, which keeps others out by the directory and may grant this process access by a list that
    /// shows as a group's mode.
    Credential,
}

/// Reads a private file of at most `max` bytes; `what` is its name for people, such as "key file". Refused: a link,
/// anything but a file, group or others in its mode, and an owner that is neither root nor this user. Root may also read
/// what belongs to the owner of the directory, or to the user that lpwad runs as.
///
/// # Errors
/// With the file, what is wrong, and a hint; never with anything of the contents.
pub fn read(path: &Path, origin: Origin, what: &str, max: u64) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let fail = |problem: String| ConfigError::file(path, format!("{what} {problem}"));
    let file = open_at_once(path, false).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP) => fail("is a link".into()).hint("name the file itself: links are not followed"),
        _ => fail(format!("cannot be opened: {error}")),
    })?;
    let meta = file.metadata().map_err(|error| fail(format!("cannot be examined: {error}")))?;
    if !meta.is_file() {
        return Err(fail("is not a regular file".into()));
    }
    if origin != Origin::Credential && meta.mode() & 0o077 != 0 {
        return Err(fail(format!("has mode {:04o}: others could read it", meta.mode() & 0o7777))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let user = if let Origin::File { user } = origin { user } else { None };
    if let Some((problem, hint)) = owner_problem(meta.uid(), path, user) {
        return Err(fail(problem).hint(hint));
    }
    // The room is there before the first byte: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len().min(max) as usize + 1));
    file.take(max + 1).read_to_end(&mut bytes).map_err(|error| fail(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > max {
        return Err(fail(format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// Opens a file for reading without waiting for anybody at the other end of a pipe. `links`: they are followed.
pub(super) fn open_at_once(path: &Path, links: bool) -> io::Result<File> {
    let links = if links { 0 } else { nix::libc::O_NOFOLLOW };
    let flags = links | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
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
    if let Some((problem, hint)) = owner_problem(meta.uid(), path, None) {
        return Err(fail(problem).hint(hint));
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

/// What is wrong with the owner of a file, and what to do; `user` is the one that lpwad runs as, if that is known.
fn owner_problem(uid: u32, path: &Path, user: Option<u32>) -> Option<(String, String)> {
    let me = nix::unistd::geteuid().as_raw();
    let mut expected = vec![(0, "root")];
    if me == 0 {
        expected.extend(user.map(|user| (user, "that lpwad runs as")));
        expected.extend(owner(parent(path)).map(|(owner, _)| (owner, "that has the directory")));
    } else {
        expected.push((me, "that this program runs as"));
    }
    if expected.iter().any(|(expected, _)| *expected == uid) {
        return None;
    }
    let mut named = std::collections::BTreeSet::new();
    expected.retain(|(uid, _)| named.insert(*uid));
    let name = |(uid, what): &(u32, &str)| if *uid == 0 { "root".into() } else { format!("the user {uid} {what}") };
    let names: Vec<String> = expected.iter().map(name).collect();
    let best = expected.get(1).map_or(0, |(uid, _)| *uid);
    let hint = format!("chown {best} {}, if it is yours; not to be believed otherwise", path.display());
    Some((format!("belongs to user {uid}, not to {}", names.join(" or ")), hint))
}

/// The user that lpwad runs as, as far as a state directory tells; before there is one, the user `lpwad` of the system.
#[must_use]
pub fn user_of(state_dir: &Path) -> Option<u32> {
    const NAME: &str = "lpwad";
    let named = || nix::unistd::User::from_name(NAME).ok().flatten().map(|user| user.uid.as_raw());
    owner(state_dir).map(|(uid, _)| uid).or_else(named)
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
    user: Option<u32>,
    /// A lock (flock) of the directory.
    _directory: File,
}

impl Edit {
    /// Waits until nobody else changes files of this directory. `user` is the one that lpwad runs as, if that is known.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be locked.
    pub fn begin(path: &Path, user: Option<u32>) -> Result<Edit, ConfigError> {
        let fail = |error: io::Error| ConfigError::file(parent(path), format!("cannot be locked: {error}"));
        let directory = File::open(parent(path)).map_err(fail)?;
        directory.lock().map_err(fail)?;
        Ok(Edit { path: path.into(), user, _directory: directory })
    }

    /// Replaces the file, or makes it with mode 0600: after `Ok` the new one survives a power cut, else the old one is as
    /// it was. The owner stays; a new file made by root belongs to the user that lpwad runs as, or to the owner of the directory.
    ///
    /// # Errors
    /// A link or no regular file is in the place, or the system refuses.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), ConfigError> {
        let fail = |error: io::Error| {
            let written = ConfigError::file(&self.path, format!("cannot be written: {error}"));
            match error.kind() {
                ErrorKind::PermissionDenied => written.hint(format!(
                    "do this as root: a new file is put in the place of the old one, and this user may not write {}",
                    parent(&self.path).display()
                )),
                _ => written,
            }
        };
        let owner = match std::fs::symlink_metadata(&self.path) {
            Ok(meta) if !meta.is_file() => {
                return Err(ConfigError::file(&self.path, "is a link, or no regular file: it is not replaced"));
            }
            Ok(meta) => Some((meta.uid(), meta.gid())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                owner(parent(&self.path)).map(|(uid, gid)| self.user.map_or((uid, gid), |user| (user, gid)))
            }
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
    use crate::config::file::{self, read_text};
    use std::os::unix::fs::{PermissionsExt, symlink};

    const FILE: Origin = Origin::File { user: None };

    #[test]
    fn what_is_no_regular_file_is_refused_at_once_and_links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(at("file"), "text").unwrap();
        for (link, to) in [("good", "file"), ("bad", "pipe")] {
            std::os::unix::fs::symlink(at(to), at(link)).unwrap();
        }
        for (name, word) in [("pipe", "not a regular file"), ("bad", "not a regular file"), (".", "is a directory")] {
            let error = read_text(&at(name)).unwrap_err();
            assert!(error.problem.contains(word) && error.hint.is_some(), "{name}: {error}");
        }
        assert_eq!(read_text(&at("good")).unwrap(), "text");
        std::fs::create_dir(at("conf.d")).unwrap();
        nix::unistd::mkfifo(&at("conf.d/a.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let errors = file::read(&at("lpwad.toml")).unwrap_err();
        assert!(errors.0[0].problem == "is not there" && errors.0[1].problem.contains("regular"), "{errors}");
        std::fs::write(at("latin"), b"a = 1\nb = '\xe9'\n").unwrap();
        let error = read_text(&at("latin")).unwrap_err();
        assert_eq!((error.line, error.problem.as_str()), (Some(2), "is not UTF-8 text here"));
    }

    #[test]
    fn what_is_made_or_replaced_is_private_and_links_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(read(&path, FILE, "file", 3).unwrap().as_slice(), b"one");
        assert!(read(&path, FILE, "file", 2).unwrap_err().problem.contains("larger"));
        Edit::begin(&path, None).unwrap().replace(b"three").unwrap();
        assert_eq!(read(&path, FILE, "file", 9).unwrap().as_slice(), b"three");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read(&link, FILE, "file", 9).unwrap_err().problem.contains("link"));
        assert!(Edit::begin(&link, None).unwrap().replace(b"x").unwrap_err().problem.contains("link"));
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
        let error = read(&path, FILE, "file", 9).unwrap_err();
        assert!(error.problem.contains("0640") && error.hint.unwrap().starts_with("chmod 600"));
        assert!(read(&path, Origin::Credential, "file", 9).is_ok());
        if nix::unistd::geteuid().is_root() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            let error = read(&path, FILE, "file", 9).unwrap_err();
            assert_eq!(error.problem, "file belongs to user 12345, not to root");
            assert!(trusted(&path).unwrap_err().problem.contains("belongs to user 12345"));
        }
    }

    #[test]
    fn root_works_with_the_files_of_the_user_that_lpwad_runs_as_and_leaves_them_to_that_user() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("only root can give a file away: not tried");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        create(&path, b"one").unwrap();
        let owned = |uid| std::os::unix::fs::chown(&path, Some(uid), Some(uid)).unwrap();
        owned(12_345);
        let of_user = |user| read(&path, Origin::File { user: Some(user) }, "key file", 9);
        assert_eq!(of_user(12_345).unwrap().as_slice(), b"one");
        let error = of_user(12_346).unwrap_err();
        assert_eq!(
            error.problem, "key file belongs to user 12345, not to root or the user 12346 that lpwad runs as",
            "a file of anybody is not read"
        );
        assert!(error.hint.unwrap().starts_with("chown 12346 "));
        let meta = || std::fs::metadata(&path).map(|meta| (meta.uid(), meta.gid(), meta.mode() & 0o7777)).unwrap();
        Edit::begin(&path, Some(12_346)).unwrap().replace(b"two").unwrap();
        assert_eq!(meta(), (12_345, 12_345, 0o600), "the owner stays");
        std::fs::remove_file(&path).unwrap();
        Edit::begin(&path, Some(12_346)).unwrap().replace(b"new").unwrap();
        assert_eq!(meta(), (12_346, 0, 0o600));
        std::os::unix::fs::chown(dir.path(), Some(777), None).unwrap();
        owned(777);
        assert!(of_user(12_346).is_ok(), "that of the directory's owner");
        assert_eq!(user_of(dir.path()), Some(777));
    }
}
