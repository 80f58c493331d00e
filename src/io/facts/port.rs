//! Who can reach the serial port of a radio: rights on the device, and who has it open.

use crate::policy::facts::Seen;
use crate::policy::protection::Probe;
use nix::libc;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A setting of a radio that may name its serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// The radio.
    pub radio: String,
    /// The path; links are followed.
    pub path: PathBuf,
}

/// A port that others can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exposed {
    /// Its radio.
    pub radio: String,
    /// How, for people; the same words as long as nothing changes.
    pub reason: String,
}

/// What there is at a path.
enum Place {
    /// Nothing.
    Missing,
    /// A file of the plugin, and no device.
    File,
    /// A device that others cannot open, by its number.
    Device(u64),
    /// Others can.
    Exposed(String),
}

/// A fact for each port that is there, named by its radio; and if there is every one, one without a name, which is good if
/// all are. Processes are looked up in `proc`; only `daemon` and its children may have a port open.
pub(super) fn look(ports: &[Port], daemon: Option<u32>, proc: &Path) -> (Vec<Seen>, Vec<Exposed>) {
    let me = nix::unistd::geteuid().as_raw();
    let places: Vec<(&Port, Place)> = ports.iter().map(|port| (port, place(&port.path, me))).collect();
    let devices =
        places.iter().filter_map(|(_, place)| if let Place::Device(rdev) = place { Some(*rdev) } else { None });
    let open = daemon.map_or_else(BTreeMap::new, |daemon| others(&devices.collect(), daemon, proc));
    let (mut seen, mut exposed) = (Vec::new(), Vec::new());
    let mut all = Some(true);
    for (port, place) in places {
        let reason = match place {
            Place::Missing => {
                all = None;
                continue;
            }
            Place::File => continue,
            Place::Device(rdev) => open.get(&rdev).map(|who| format!("{} is open in {who}", port.path.display())),
            Place::Exposed(how) => Some(format!("{} {how}", port.path.display())),
        };
        let good = reason.is_none();
        all = all.map(|all| all && good);
        seen.push(Seen { probe: Probe::TtyOwner, peer: Some(port.radio.clone()), interface: None, good, age_s: 0 });
        exposed.extend(reason.map(|reason| Exposed { radio: port.radio.clone(), reason }));
    }
    if let Some(good) = all.filter(|_| !seen.is_empty()) {
        seen.push(Seen { probe: Probe::TtyOwner, peer: None, interface: None, good, age_s: 0 });
    }
    (seen, exposed)
}

fn place(path: &Path, me: u32) -> Place {
    let meta = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Place::Missing,
        Err(error) => return Place::Exposed(format!("cannot be examined: {error}")),
        Ok(meta) if meta.is_file() || meta.is_dir() => return Place::File,
        Ok(meta) => meta,
    };
    match device_problem(&meta, me).or_else(|| link_problem(path, me)).or_else(|| list_problem(path)) {
        Some(how) => Place::Exposed(how),
        None => Place::Device(meta.rdev()),
    }
}

fn device_problem(meta: &Metadata, me: u32) -> Option<String> {
    if !meta.file_type().is_char_device() {
        return Some("is no character device".into());
    }
    rights_problem(meta.uid(), meta.mode(), me)
}

/// A device may belong to root or this user, and to a group; nobody else may have a right.
fn rights_problem(owner: u32, mode: u32, me: u32) -> Option<String> {
    if owner != 0 && owner != me {
        return Some("belongs to another user".into());
    }
    (mode & 0o007 != 0).then(|| format!("has mode {:04o}: others can open it", mode & 0o7777))
}

/// A link must not lie where others could put another one.
fn link_problem(path: &Path, me: u32) -> Option<String> {
    if !std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        return None;
    }
    let Some(meta) = path.parent().and_then(|dir| std::fs::metadata(dir).ok()) else {
        return Some("is a link in a directory that cannot be examined".into());
    };
    let others = (meta.uid() != 0 && meta.uid() != me) || (meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0);
    others.then(|| "is a link that others can change".into())
}

/// An access list gives rights that the mode does not show, such as those of who sits before the machine.
fn list_problem(path: &Path) -> Option<String> {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return Some("is no path".into()) };
    #[expect(unsafe_code, reason = "no package that is in use here wraps this call")]
    // SAFETY: both names end with a zero byte, and with size 0 nothing is written.
    let size = unsafe { libc::getxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), std::ptr::null_mut(), 0) };
    if size >= 0 {
        return Some("has an access list (getfacl)".into());
    }
    match nix::errno::Errno::last() {
        nix::errno::Errno::ENODATA | nix::errno::Errno::EOPNOTSUPP => None,
        error => Some(format!("has an access list that cannot be read: {error}")),
    }
}

/// Which of these devices a process has open that is neither `daemon` nor its child, and which process. What this user may
/// not look into is passed over.
fn others(devices: &BTreeSet<u64>, daemon: u32, proc: &Path) -> BTreeMap<u64, String> {
    let mut open = BTreeMap::new();
    if devices.is_empty() {
        return open;
    }
    let processes = std::fs::read_dir(proc).into_iter().flatten().filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for process in numbers.filter(|process| *process != daemon) {
        let dir = proc.join(process.to_string());
        for entry in std::fs::read_dir(dir.join("fd")).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            // Pipes, sockets and the like have no path.
            if !std::fs::read_link(&path).is_ok_and(|target| target.is_absolute()) {
                continue;
            }
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            if !meta.file_type().is_char_device() || !devices.contains(&meta.rdev()) {
                continue;
            }
            // One that has ended meanwhile has nothing open any more.
            let Some((name, parent)) = name_and_parent(&dir) else { continue };
            if parent != daemon {
                open.entry(meta.rdev()).or_insert_with(|| format!("process {process} ({name})"));
            }
        }
    }
    open
}

/// Name and parent of a process, by its `stat`: the name is in parentheses and may hold some itself (proc_pid_stat(5)).
fn name_and_parent(dir: &Path) -> Option<(String, u32)> {
    let stat = std::fs::read(dir.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (before, behind) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let parent = behind.split_whitespace().nth(1)?.parse().ok()?;
    Some((name.chars().filter(|c| !c.is_control()).collect(), parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
    use std::process::{Command, Stdio};

    struct Tty {
        _master: PtyMaster,
        path: PathBuf,
    }

    impl Tty {
        fn new() -> Tty {
            let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
            grantpt(&master).unwrap();
            unlockpt(&master).unwrap();
            let tty = Tty { path: ptsname_r(&master).unwrap().into(), _master: master };
            tty.mode(0o620);
            tty
        }

        fn mode(&self, mode: u32) {
            std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    fn port(radio: &str, path: &Path) -> Port {
        Port { radio: radio.into(), path: path.into() }
    }

    /// Radio and whether it is good; and why not.
    fn looked(ports: &[Port], daemon: Option<u32>, proc: &Path) -> (Vec<(Option<String>, bool)>, Vec<String>) {
        let (seen, exposed) = look(ports, daemon, proc);
        assert!(seen.iter().all(|seen| seen.probe == Probe::TtyOwner && seen.age_s == 0));
        let seen = seen.into_iter().map(|seen| (seen.peer, seen.good)).collect();
        (seen, exposed.into_iter().map(|one| one.reason).collect())
    }

    fn named(name: &str, good: bool) -> (Option<String>, bool) {
        (Some(name.into()), good)
    }

    #[test]
    fn s_03_a_port_that_others_may_open_is_exposed_and_a_missing_one_is_not_known() {
        let (a, b) = (Tty::new(), Tty::new());
        let ports = [port("a", &a.path), port("b", &b.path)];
        let look = || looked(&ports, None, Path::new("/proc"));
        assert_eq!(look(), (vec![named("a", true), named("b", true), (None, true)], Vec::new()));
        b.mode(0o622);
        let why = format!("{} has mode 0622: others can open it", b.path.display());
        assert_eq!(look(), (vec![named("a", true), named("b", false), (None, false)], vec![why]));
        let (file, missing) = (tempfile::NamedTempFile::new().unwrap(), port("c", Path::new("/dev/none")));
        let ports = [port("a", &a.path), missing, port("d", file.path())];
        assert_eq!(looked(&ports, None, Path::new("/proc")).0, [named("a", true)], "all is not known");
        assert_eq!(looked(&ports[1..], None, Path::new("/proc")).0, []);
        let pipe = file.path().with_extension("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let why = format!("{} is no character device", pipe.display());
        assert_eq!(looked(&[port("e", &pipe)], None, Path::new("/proc")).1, [why]);
        std::fs::remove_file(pipe).unwrap();
    }

    #[test]
    fn s_03_a_port_of_another_user_is_exposed() {
        assert_eq!(rights_problem(0, 0o20_660, 7), None);
        assert_eq!(rights_problem(7, 0o20_600, 7), None);
        assert_eq!(rights_problem(8, 0o20_600, 7).unwrap(), "belongs to another user");
        for mode in [0o664, 0o662, 0o661] {
            assert!(rights_problem(0, 0o20_000 | mode, 7).unwrap().contains("others can open it"));
        }
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("only root can give a device away: not tried");
        }
        let tty = Tty::new();
        chown(&tty.path, Some(54_321), None).unwrap();
        assert_eq!(looked(&[port("a", &tty.path)], None, Path::new("/proc")).0, [named("a", false), (None, false)]);
    }

    #[test]
    fn a_link_is_followed_unless_others_could_change_it() {
        let (tty, dir) = (Tty::new(), tempfile::tempdir().unwrap());
        let link = dir.path().join("modem");
        symlink(&tty.path, &link).unwrap();
        let mode = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let good = || looked(&[port("a", &link)], None, Path::new("/proc")).0[0].1;
        let all = [0o755, 0o775, 0o777, 0o1777].map(|bits| {
            mode(bits);
            good()
        });
        assert_eq!(all, [true, false, false, true]);
    }

    #[test]
    fn s_03_a_port_that_another_process_has_open_is_exposed_and_the_own_plugin_is_none() {
        let tty = Tty::new();
        let held = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(&tty.path).unwrap();
        let mut child = Command::new("cat").stdin(held).stdout(Stdio::null()).spawn().unwrap();
        let me = std::process::id();
        let look = |daemon| looked(&[port("a", &tty.path)], daemon, Path::new("/proc"));
        let results = (look(Some(me)), look(Some(1)), look(None));
        child.kill().unwrap();
        child.wait().unwrap();
        let good = (vec![named("a", true), (None, true)], Vec::new());
        assert_eq!((&results.0, &results.2), (&good, &good), "a child, and nobody asked");
        assert_eq!(results.1.0, [named("a", false), (None, false)]);
        let why = format!("{} is open in process ", tty.path.display());
        assert!(results.1.1[0].starts_with(&why), "{:?}", results.1.1);
    }

    #[test]
    fn names_of_processes_cannot_forge_their_parent_and_what_has_ended_has_nothing_open() {
        let (tty, proc) = (Tty::new(), tempfile::tempdir().unwrap());
        let process = |number: u32, stat: Option<&str>| {
            let dir = proc.path().join(number.to_string());
            std::fs::create_dir_all(dir.join("fd")).unwrap();
            symlink(&tty.path, dir.join("fd/3")).unwrap();
            symlink("socket:[7]", dir.join("fd/4")).unwrap();
            if let Some(stat) = stat {
                std::fs::write(dir.join("stat"), stat).unwrap();
            }
        };
        let look = || looked(&[port("a", &tty.path)], Some(50), proc.path());
        process(50, Some("50 (lpwad) S 1 50 50"));
        process(51, Some("51 (lora-serial) S 50 51 51"));
        process(52, None);
        assert_eq!(look().1, Vec::<String>::new());
        process(53, Some("53 (x) S 50 (y) S 1 53 53"));
        assert_eq!(look().1, [format!("{} is open in process 53 (x) S 50 (y)", tty.path.display())]);
    }
}
