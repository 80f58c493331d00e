//! The sandbox of a plugin's process: which files it may use (Landlock, `files.rs`), which system calls (seccomp,
//! `calls.rs`), how much of the machine, and no capabilities. Everything is built before the fork; between fork and exec
//! it is only entered. What it permits and why: `docs/decisions/0013-plugin-sandbox.md`.

mod calls;
mod files;

use super::plugins::Plugin;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use serde_json::{Map, Value};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::{fs, io};

/// Open files of a plugin.
const MAX_OPEN_FILES: u64 = 64;
/// Memory of a plugin that can be written to, in bytes.
const MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Address space of a plugin in bytes; more memory than this it does not get, whatever it does.
const MAX_ADDRESS_SPACE_BYTES: u64 = 1024 * 1024 * 1024;
/// Largest file that a plugin could write, in bytes, were there a place where it may.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Threads that a plugin may have, on top of all that the daemon's user has when it starts; root is not bound by it.
const MAX_THREADS: u64 = 128;
/// Memory that a plugin may lock, in bytes.
const MAX_LOCKED_BYTES: u64 = 64 * 1024;

/// The limits of a plugin's process, beside that of its threads.
const LIMITS: [(Resource, u64); 7] = [
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_NOFILE, MAX_OPEN_FILES),
    (Resource::RLIMIT_DATA, MAX_MEMORY_BYTES),
    (Resource::RLIMIT_AS, MAX_ADDRESS_SPACE_BYTES),
    (Resource::RLIMIT_FSIZE, MAX_FILE_BYTES),
    (Resource::RLIMIT_MEMLOCK, MAX_LOCKED_BYTES),
    (Resource::RLIMIT_MSGQUEUE, 0),
];

/// What one plugin may reach beyond what every plugin may.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// Its executable, in its own directory.
    exec: PathBuf,
    /// Paths in its settings that its manifest declares as paths.
    paths: Vec<PathBuf>,
    /// Whether they may be devices.
    devices: bool,
    /// Whether it may use IP sockets.
    network: bool,
}

impl Allowance {
    /// What the manifest asks for and the settings name.
    pub fn new(plugin: &Plugin, settings: &Map<String, Value>) -> Allowance {
        let needs = |what: &str| plugin.needs.iter().any(|need| need == what);
        let paths = plugin.settings.iter().filter(|(_, setting)| setting.kind == "path");
        let paths = paths.filter_map(|(name, _)| settings.get(name)?.as_str().map(PathBuf::from));
        Allowance {
            exec: plugin.exec.clone(),
            paths: paths.filter(|path| path.is_absolute()).collect(),
            devices: needs("device"),
            network: needs("network"),
        }
    }
}

/// A sandbox, ready to be entered.
pub struct Sandbox {
    files: Option<OwnedFd>,
    calls: Option<calls::Filter>,
    max_tasks: u64,
}

impl Sandbox {
    /// Builds it anew for each start, because a device may have come back as another file. What this kernel cannot do is
    /// left out; [`missing`] names it.
    ///
    /// # Errors
    /// The kernel can, but did not.
    pub fn build(allowance: &Allowance) -> io::Result<Sandbox> {
        Ok(Sandbox {
            files: files::ruleset(allowance)?,
            calls: calls::filter(allowance.network, files::abi())?,
            // The kernel counts a user's tasks, not a process's: who starts after another's flood has its share too.
            max_tasks: tasks_of_user().saturating_add(MAX_THREADS),
        })
    }

    /// Confines the calling process. Between fork and exec: no allocation, no lock, system calls only.
    pub fn enter(&self) -> io::Result<()> {
        nix::unistd::setsid()?;
        go_first_when_memory_ends()?;
        for (resource, limit) in LIMITS.into_iter().chain([(Resource::RLIMIT_NPROC, self.max_tasks)]) {
            // Narrower already: it stays so.
            let limit = limit.min(getrlimit(resource)?.1);
            setrlimit(resource, limit, limit)?;
        }
        drop_capabilities();
        // Every descriptor but the three pipes is closed at exec. Kernels before 5.11 do not know the flag; what we
        // opened ourselves is close-on-exec there too.
        call(libc::SYS_close_range, [3, u32::MAX as usize, libc::CLOSE_RANGE_CLOEXEC as usize]);
        nix::sys::prctl::set_no_new_privs()?;
        if let Some(files) = &self.files
            && call(libc::SYS_landlock_restrict_self, [files.as_raw_fd() as usize, 0, 0]) != 0
        {
            return Err(io::Error::last_os_error());
        }
        match &self.calls {
            // Last: what comes before may need what it refuses.
            Some(filter) => filter.install(),
            None => Ok(()),
        }
    }
}

/// What this kernel lacks of the sandbox; empty if nothing.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    let abi = files::abi();
    if abi == 0 {
        missing.push("Landlock: plugins may read and write what the daemon may");
    }
    if !calls::is_supported() {
        missing.push("seccomp: plugins may open sockets and start programs");
        if abi < files::ABI_OF_SCOPES {
            missing.push("Landlock ABI 6: plugins may signal the daemon");
        }
    }
    missing
}

/// A daemon of root has plugins of root; of its capabilities they keep that to open a device that root does not own. Without
/// capabilities there is nothing to drop, and the calls fail.
fn drop_capabilities() {
    const CAP_DAC_OVERRIDE: usize = 1;
    const HIGHEST: usize = 63;
    for capability in (0..=HIGHEST).filter(|capability| *capability != CAP_DAC_OVERRIDE) {
        call(libc::SYS_prctl, [libc::PR_CAPBSET_DROP as usize, capability, 0]);
    }
    call(libc::SYS_prctl, [libc::PR_CAP_AMBIENT as usize, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0]);
}

/// When the machine has no memory left, the kernel ends a plugin before anything else. Without `/proc` it chooses by size.
fn go_first_when_memory_ends() -> io::Result<()> {
    if let Ok(file) = nix::fcntl::open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        nix::unistd::write(&file, b"1000")?;
    }
    Ok(())
}

/// Tasks (threads of all processes) of the user of this process, as far as `/proc` shows them.
fn tasks_of_user() -> u64 {
    let (user, own) = (nix::unistd::getuid().as_raw(), std::process::id().to_string());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // What of this process is not to be seen by others belongs to root.
    let of_user = processes.filter(|entry| {
        entry.file_name() == own.as_str() || entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == user)
    });
    let statuses = of_user.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    statuses.filter_map(|status| threads(&status)).sum()
}

/// How many threads `/proc/<pid>/status` tells of.
fn threads(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// A system call whose arguments are numbers.
fn call(number: libc::c_long, [a, b, c]: [usize; 3]) -> libc::c_long {
    #[expect(unsafe_code, reason = "libc has no safe function for these calls")]
    // SAFETY: no argument is a pointer; the further ones that prctl looks at are zero.
    unsafe {
        libc::syscall(number, a, b, c, 0usize, 0usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_what_the_manifest_declares_as_paths_and_needs() {
        let setting = |kind: &str| toml::from_str(&format!("type = \"{kind}\"")).unwrap();
        let plugin = Plugin {
            name: "x".into(),
            exec: "/p/x/x".into(),
            needs: vec!["device".into()],
            help: String::new(),
            settings: [("device", "path"), ("other", "path"), ("text", "string")]
                .map(|(name, kind)| (name.to_string(), setting(kind)))
                .into(),
        };
        let settings =
            serde_json::json!({ "device": "/dev/x", "other": "relative", "text": "/etc/shadow", "more": "/y" });
        let allowance = Allowance::new(&plugin, settings.as_object().unwrap());
        assert_eq!(allowance.paths, [PathBuf::from("/dev/x")]);
        assert!(allowance.devices && !allowance.network);
    }

    #[test]
    fn threads_that_this_process_starts_are_tasks_of_its_user() {
        assert_eq!(threads("Name:\tx\nThreads:\t12\nSigQ:\t1/2\n"), Some(12));
        let held = std::sync::Mutex::new(());
        std::thread::scope(|scope| {
            let guard = held.lock();
            (0..20).for_each(|_| drop(scope.spawn(|| drop(held.lock()))));
            assert!(tasks_of_user() >= 21);
            drop(guard);
        });
    }

    #[test]
    fn the_unit_outlives_a_plugin_that_takes_all_it_can() {
        /// Plugins that may flood at once.
        const PLUGINS: u64 = 8;
        let unit = include_str!("../../../systemd/lpwad.service");
        let value = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        assert!(value("TasksMax").unwrap().parse::<u64>().unwrap() > (PLUGINS + 1) * MAX_THREADS);
        // Otherwise systemd stops the daemon when the kernel ends a plugin.
        assert_eq!(value("OOMPolicy"), Some("continue"));
    }

    #[test]
    fn a_sandbox_can_be_built_for_what_is_not_there() {
        let allowance = Allowance {
            exec: "/nowhere/at/all".into(),
            paths: vec!["/nowhere/device".into()],
            devices: true,
            network: true,
        };
        let sandbox = Sandbox::build(&allowance).unwrap();
        assert_eq!(sandbox.files.is_some(), files::abi() > 0);
        assert_eq!(sandbox.calls.is_some(), calls::is_supported());
    }
}
