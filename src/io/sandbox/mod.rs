//! The sandbox of a plugin's process: which files it may use (Landlock, `files.rs`), which system calls (seccomp,
//! `calls.rs`), how much of the machine, and no capabilities. Everything is built before the fork; between fork and exec
//! it is only entered. What it permits and why: `docs/decisions/0013-plugin-sandbox.md`.

mod calls;
mod files;

use super::plugins::Plugin;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use serde_json::{Map, Value};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// Open files of a plugin.
const MAX_OPEN_FILES: u64 = 64;
/// Address space of a plugin in bytes; more memory than this it does not get.
const MAX_MEMORY_BYTES: u64 = 1024 * 1024 * 1024;
/// Largest file that a plugin could write, in bytes, were there a place where it may.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Processes and threads of the user that a plugin may add to; root is not bound by it.
const MAX_TASKS: u64 = 4096;
/// Memory that a plugin may lock, in bytes.
const MAX_LOCKED_BYTES: u64 = 64 * 1024;

/// The limits of a plugin's process.
const LIMITS: [(Resource, u64); 7] = [
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_NOFILE, MAX_OPEN_FILES),
    (Resource::RLIMIT_AS, MAX_MEMORY_BYTES),
    (Resource::RLIMIT_FSIZE, MAX_FILE_BYTES),
    (Resource::RLIMIT_NPROC, MAX_TASKS),
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
}

impl Sandbox {
    /// Builds it anew for each start, because a device may have come back as another file. What this kernel cannot do is
    /// left out; [`missing`] names it.
    ///
    /// # Errors
    /// The kernel can, but did not.
    pub fn build(allowance: &Allowance) -> io::Result<Sandbox> {
        Ok(Sandbox { files: files::ruleset(allowance)?, calls: calls::filter(allowance.network, files::abi())? })
    }

    /// Confines the calling process. Between fork and exec: no allocation, no lock, system calls only.
    pub fn enter(&self) -> io::Result<()> {
        nix::unistd::setsid()?;
        for (resource, limit) in LIMITS {
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
