//! The serial port: opened by this process alone, or refused with the name of who has it.

use nix::sys::stat::{major, minor};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

/// Why a port cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error("port {0} is not there: is the modem plugged in?")]
    Missing(PathBuf),
    #[error(
        "port {0} must not be opened by this user: it belongs to another group (often dialout), or the unit's DeviceAllow= leaves it out"
    )]
    Denied(PathBuf),
    #[error("port {path} is in use by {holder}")]
    InUse { path: PathBuf, holder: String },
    #[error("port {path}: {error}")]
    Other { path: PathBuf, error: String },
}

/// Opens `path` at `baud`, 8N1, raw, exclusively: TIOCEXCL keeps other opens out (except root's), an advisory lock
/// keeps other well-behaved programs out. A program that opened the port before without either is looked for too.
pub(crate) fn open(path: &Path, baud: u32) -> Result<SerialStream, PortError> {
    let opened = tokio_serial::new(path.to_string_lossy(), baud).open_native_async();
    match (opened, holder(path)) {
        (Ok(port), None) => Ok(port),
        (_, Some(holder)) => Err(PortError::InUse { path: path.into(), holder }),
        (Err(error), None) => Err(match error.kind() {
            _ if !path.exists() => PortError::Missing(path.into()),
            tokio_serial::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => PortError::Denied(path.into()),
            // The kernel's EBUSY arrives as "no device".
            tokio_serial::ErrorKind::NoDevice => {
                PortError::InUse { path: path.into(), holder: "another program that this user may not see".into() }
            }
            _ => PortError::Other { path: path.into(), error: error.to_string() },
        }),
    }
}

/// Name and process id of another process that has `path` open or locked, as far as this user may see.
fn holder(path: &Path) -> Option<String> {
    let device = fs::canonicalize(path).ok()?;
    let pid = locker(&device).or_else(|| opener(&device))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim();
    Some(if name.is_empty() { format!("process {pid}") } else { format!("{name} (pid {pid})") })
}

/// From `/proc/locks`, lines such as `1: FLOCK  ADVISORY  WRITE 1234 00:17:5 0 EOF`; it shows all users' locks.
fn locker(device: &Path) -> Option<u32> {
    let metadata = fs::metadata(device).ok()?;
    let (dev, inode) = (metadata.dev(), metadata.ino());
    let id = format!("{:02x}:{:02x}:{inode}", major(dev), minor(dev));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let ["FLOCK", _, _, pid, file, ..] = words.get(1..)? else { return None };
        let pid: u32 = pid.parse().ok()?;
        (*file == id && pid != std::process::id()).then_some(pid)
    })
}

/// From `/proc/PID/fd`; a user sees its own processes only.
fn opener(device: &Path) -> Option<u32> {
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| *pid != std::process::id()).find(|pid| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == device))
    })
}
