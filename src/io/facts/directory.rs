//! The directory of fact files: which files are believed.

use super::file::{FactFile, MAX_BYTES, MAX_FACTS};
use crate::policy::facts::Seen;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Most fact files; of more the first ones by name are read.
const MAX_FILES: usize = 64;

/// A file, or the whole directory, that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// Which.
    pub path: PathBuf,
    /// Why, for people; the same words as long as nothing changes.
    pub reason: String,
}

/// What the believable files `*.json` of `dir` say at `now_unix_s`, and what is not believed. A missing directory says
/// nothing. `owner` is the only user whose files are believed: root.
pub(super) fn read(dir: &Path, owner: u32, now_unix_s: Option<u64>) -> (Vec<Seen>, Vec<Refused>) {
    let (mut seen, mut refused) = (Vec::new(), Vec::new());
    let mut refuse = |path: &Path, reason: String| refused.push(Refused { path: path.into(), reason });
    let paths = match paths(dir, owner) {
        Ok(paths) => paths,
        Err(reason) => {
            refuse(dir, reason);
            return (seen, refused);
        }
    };
    if paths.len() > MAX_FILES {
        refuse(dir, format!("has more than {MAX_FILES} files"));
    }
    for path in paths.iter().take(MAX_FILES) {
        let facts = contents(path, owner).and_then(|bytes| FactFile::parse(&bytes)?.seen_at(now_unix_s));
        match facts {
            Ok(facts) if seen.len() + facts.len() > MAX_FACTS => {
                refuse(path, format!("goes beyond {MAX_FACTS} facts of all files"));
            }
            Ok(facts) => seen.extend(facts),
            Err(reason) => refuse(path, reason),
        }
    }
    (seen, refused)
}

/// The fact files of a directory in name order, one more than is read at most.
fn paths(dir: &Path, owner: u32) -> Result<BTreeSet<PathBuf>, String> {
    let mut paths = BTreeSet::new();
    let meta = match std::fs::symlink_metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(paths),
        meta => meta.map_err(|error| format!("cannot be examined: {error}"))?,
    };
    if !meta.is_dir() {
        return Err("is not a directory; links are not followed".into());
    }
    believable(&meta, owner)?;
    let entries = std::fs::read_dir(dir).map_err(|error| format!("cannot be read: {error}"))?;
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.insert(path);
            if paths.len() > MAX_FILES + 1 {
                paths.pop_last();
            }
        }
    }
    Ok(paths)
}

/// Whether only `owner` can have made what is there.
fn believable(meta: &Metadata, owner: u32) -> Result<(), String> {
    if meta.uid() != owner {
        return Err("does not belong to root".into());
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!("has mode {:04o}: others could write it", meta.mode() & 0o7777));
    }
    Ok(())
}

fn contents(path: &Path, owner: u32) -> Result<Vec<u8>, String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ELOOP) => "is a link".to_string(),
            _ => format!("cannot be opened: {error}"),
        })?;
    let meta = file.metadata().map_err(|error| format!("cannot be examined: {error}"))?;
    if !meta.is_file() {
        return Err("is not a regular file".into());
    }
    believable(&meta, owner)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(bytes)
}

/// Writes the fact file `name` whole, or not at all, with mode 0644; a missing directory is made. One whose files would not
/// be believed is refused: somebody else could have put a link to another place there.
///
/// # Errors
/// The directory is not safe, or the system refuses, for people.
pub fn write(dir: &Path, name: &str, file: &FactFile) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    match DirBuilder::new().mode(0o755).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(fail(error)),
        _ => {}
    }
    let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let held = OpenOptions::new().read(true).custom_flags(flags).open(dir).map_err(fail)?;
    believable(&held.metadata().map_err(fail)?, nix::unistd::geteuid().as_raw())
        .map_err(|reason| format!("{} {reason}", dir.display()))?;
    // From here on the directory is the one that was examined, whatever becomes of its name.
    let held_path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    let new = held_path.join(format!(".{name}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let written = File::create_new(&new).and_then(|mut out| {
        out.set_permissions(Permissions::from_mode(0o644))?;
        out.write_all(file.to_text().as_bytes())
    });
    written.and_then(|()| std::fs::rename(&new, held_path.join(name))).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const NOW: u64 = 1_800_000_000;

    struct Dir(tempfile::TempDir);

    impl Dir {
        fn new() -> Dir {
            let dir = Dir(tempfile::tempdir().unwrap());
            dir.mode("", 0o755);
            dir
        }

        fn path(&self, name: &str) -> PathBuf {
            if name.is_empty() { self.0.path().into() } else { self.0.path().join(name) }
        }

        fn mode(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn write(&self, name: &str, facts: usize) {
            let fact = Seen {
                probe: crate::policy::protection::Probe::Wireguard,
                peer: Some(name.into()),
                interface: None,
                good: true,
                age_s: 1,
            };
            write(self.0.path(), name, &FactFile::new(NOW, vec![fact; facts])).unwrap();
        }

        /// Peers that are seen, and why the rest is not believed, for the user that makes these files in place of root.
        fn read(&self) -> (Vec<String>, Vec<String>) {
            let me = nix::unistd::geteuid().as_raw();
            let (seen, refused) = read(self.0.path(), me, Some(NOW + 5));
            assert!(seen.iter().all(|seen| seen.age_s == 6));
            let reasons = refused.into_iter().map(|one| one.reason).collect();
            (seen.into_iter().filter_map(|seen| seen.peer).collect(), reasons)
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn s_03_files_that_another_user_owns_or_can_write_are_no_facts() {
        let dir = Dir::new();
        dir.write("a.json", 1);
        dir.write("b.json", 1);
        dir.write("note.txt", 1);
        assert_eq!(dir.read(), (names(&["a.json", "b.json"]), Vec::new()));
        for mode in [0o664, 0o646] {
            dir.mode("a.json", mode);
            assert_eq!(dir.read(), (names(&["b.json"]), vec![format!("has mode {mode:04o}: others could write it")]));
        }
        dir.mode("a.json", 0o644);
        for mode in [0o775, 0o757, 0o1777] {
            dir.mode("", mode);
            assert_eq!(dir.read(), (Vec::new(), vec![format!("has mode {mode:04o}: others could write it")]));
        }
        dir.mode("", 0o755);
        // Another owner: of the directory, then of one file.
        let (seen, refused) = read(dir.0.path(), nix::unistd::geteuid().as_raw() + 1, Some(NOW));
        assert_eq!((seen.len(), refused[0].reason.as_str()), (0, "does not belong to root"));
        assert_eq!(believable(&std::fs::metadata(dir.path("a.json")).unwrap(), 54_321).unwrap_err(), refused[0].reason);
    }

    #[test]
    fn s_03_a_file_of_another_user_in_the_directory_of_root_is_no_fact() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("only root can give a file away: not tried");
        }
        let dir = Dir::new();
        dir.write("a.json", 1);
        dir.write("b.json", 1);
        std::os::unix::fs::chown(dir.path("a.json"), Some(54_321), None).unwrap();
        assert_eq!(dir.read(), (names(&["b.json"]), names(&["does not belong to root"])));
        std::os::unix::fs::chown(dir.path(""), Some(54_321), None).unwrap();
        assert_eq!(dir.read(), (Vec::new(), names(&["does not belong to root"])));
    }

    #[test]
    fn links_and_what_is_no_file_are_refused_and_a_missing_directory_says_nothing() {
        let dir = Dir::new();
        dir.write("a.json", 1);
        symlink(dir.path("a.json"), dir.path("link.json")).unwrap();
        std::fs::create_dir(dir.path("sub.json")).unwrap();
        nix::unistd::mkfifo(&dir.path("pipe.json"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let wrong = ["is a link", "is not a regular file", "is not a regular file"];
        assert_eq!(dir.read(), (names(&["a.json"]), names(&wrong)));
        let link = dir.path("dir");
        symlink(dir.0.path(), &link).unwrap();
        let me = nix::unistd::geteuid().as_raw();
        let (seen, refused) = read(&link, me, Some(NOW));
        assert_eq!((seen.len(), refused[0].reason.as_str()), (0, "is not a directory; links are not followed"));
        assert_eq!(read(&dir.path("none"), me, Some(NOW)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_file_is_written_whole_where_it_will_be_believed_and_nowhere_else() {
        let dir = Dir::new();
        dir.write("a.json", 2);
        dir.write("a.json", 1);
        assert_eq!(dir.read(), (names(&["a.json"]), Vec::new()));
        assert_eq!(std::fs::metadata(dir.path("a.json")).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path("")).unwrap().count(), 1, "nothing is left behind");
        let file = FactFile::new(NOW, Vec::new());
        symlink(dir.path(""), dir.path("link")).unwrap();
        assert!(write(&dir.path("link"), "b.json", &file).is_err());
        dir.mode("", 0o777);
        assert!(write(&dir.path(""), "b.json", &file).unwrap_err().contains("others could write it"));
        dir.mode("", 0o755);
        write(&dir.path("made"), "b.json", &file).unwrap();
        assert!(!dir.path("b.json").exists() && dir.path("made/b.json").exists());
    }

    #[test]
    fn files_and_facts_have_a_bound_and_the_first_ones_by_name_count() {
        let dir = Dir::new();
        (0..70).for_each(|n| dir.write(&format!("{n:02}.json"), 1));
        let (seen, refused) = dir.read();
        assert_eq!((seen.len(), seen[63].as_str()), (64, "63.json"));
        assert_eq!(refused, ["has more than 64 files"]);
        let dir = Dir::new();
        dir.write("a.json", 200);
        dir.write("b.json", 57);
        dir.write("c.json", 56);
        let (seen, refused) = dir.read();
        assert_eq!((seen.len(), refused), (256, names(&["goes beyond 256 facts of all files"])));
    }
}
