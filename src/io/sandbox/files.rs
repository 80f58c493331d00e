//! Which files a plugin may use: a Landlock ruleset. What no rule names is refused, and so are, by the same ruleset, TCP and
//! signals to processes outside.

use super::Allowance;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use nix::libc;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The newest Landlock whose rights are asked for; older kernels give what they have.
const NEWEST: ABI = ABI::V7;
/// From this one on signals stay inside.
pub(super) const ABI_OF_SCOPES: libc::c_long = 6;

/// Read by every plugin: libraries, the modules of interpreters, time zones. `/usr` as a whole is not: `/usr/local/etc` may
/// hold somebody's secrets.
const LIBRARIES: [&str; 14] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/usr/local/lib",
    "/usr/local/share",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/sys/devices/system/cpu",
];
/// Read by a plugin with sockets: names and certificates.
const FOR_NETWORK: [&str; 8] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ca-certificates",
    "/etc/pki/ca-trust",
];
/// Where the dynamic loader is, whose name begins with `ld`.
const LOADERS: [&str; 2] = ["/lib", "/lib64"];
/// Where `env` of a `#!` line looks: the plugin's `PATH`.
const PROGRAMS: [&str; 2] = ["/usr/bin", "/bin"];

/// Version of Landlock in this kernel, 0 if it has none.
pub(super) fn abi() -> libc::c_long {
    const LANDLOCK_CREATE_RULESET_VERSION: usize = 1;
    super::call(libc::SYS_landlock_create_ruleset, [0, 0, LANDLOCK_CREATE_RULESET_VERSION]).max(0)
}

/// The ruleset for one start of a plugin; `None` if the kernel has no Landlock.
pub(super) fn ruleset(allowance: &Allowance) -> io::Result<Option<OwnedFd>> {
    build(allowance).map(Option::from).map_err(io::Error::other)
}

fn build(allowance: &Allowance) -> Result<RulesetCreated, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let write = AccessFs::ReadFile | AccessFs::WriteFile;
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    if !allowance.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut rules = Rules(ruleset.scope(Scope::from_all(NEWEST))?.create()?);

    for path in LIBRARIES {
        rules.add(path, read)?;
    }
    for path in beginning_with("/etc", "python3") {
        rules.add(path, read)?;
    }
    for path in ["/dev/zero", "/dev/random", "/dev/urandom"] {
        rules.add(path, AccessFs::ReadFile.into())?;
    }
    rules.add("/dev/null", write)?;

    // The plugin itself, and what the kernel runs for it. Not the shell, unless it is that.
    if let Some(dir) = allowance.exec.parent() {
        rules.add(dir, run)?;
    }
    rules.add(&allowance.exec, run)?;
    let loaders = LOADERS.iter().flat_map(|dir| beginning_with(dir, "ld"));
    for path in loaders.chain(interpreters(&allowance.exec)) {
        rules.add(path, run)?;
    }

    if allowance.network {
        for path in FOR_NETWORK {
            rules.add(path, read)?;
        }
    }
    if allowance.devices {
        // Who holds a port: `/proc/locks`, and the name of that process. What of another process needs more than its name
        // (memory, environment, open files) Landlock refuses by itself.
        rules.add("/proc", AccessFs::ReadFile.into())?;
    }
    for path in &allowance.paths {
        let Ok(kind) = std::fs::metadata(path).map(|meta| meta.file_type()) else { continue };
        let access = if kind.is_char_device() && allowance.devices {
            write | AccessFs::IoctlDev
        } else if kind.is_fifo() {
            write
        } else if kind.is_file() {
            AccessFs::ReadFile.into()
        } else {
            continue;
        };
        rules.add(path, access)?;
    }
    Ok(rules.0)
}

struct Rules(RulesetCreated);

impl Rules {
    /// Permits `access` at and below `path`, links followed; what is not there needs no rule.
    fn add(&mut self, path: impl AsRef<Path>, access: BitFlags<AccessFs>) -> Result<(), landlock::RulesetError> {
        if let Ok(file) = PathFd::new(path) {
            (&mut self.0).add_rule(PathBeneath::new(file, access))?;
        }
        Ok(())
    }
}

/// Entries of a directory whose names begin so.
fn beginning_with(dir: &str, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start)).map(|entry| entry.path()).collect()
}

/// The interpreter of a script, and what it starts if it is `env`.
fn interpreters(script: &Path) -> Vec<PathBuf> {
    /// What the kernel reads of a `#!` line (BINPRM_BUF_SIZE).
    const LINE: u64 = 256;
    let mut start = Vec::new();
    let read = std::fs::File::open(script).and_then(|file| file.take(LINE).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    let Some(line) = text.strip_prefix("#!").and_then(|text| text.lines().next()).filter(|_| read.is_ok()) else {
        return Vec::new();
    };
    let mut words = line.split_whitespace();
    let Some(interpreter) = words.next().map(PathBuf::from) else { return Vec::new() };
    let named = words.find(|word| !word.starts_with('-') && !word.contains('='));
    let found = match named.filter(|_| interpreter.ends_with("env")) {
        Some(name) => PROGRAMS.map(|dir| Path::new(dir).join(name)).to_vec(),
        None => Vec::new(),
    };
    std::iter::once(interpreter).chain(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_those_of_the_first_line() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("#!/usr/bin/python3 -u\nimport os\n", vec!["/usr/bin/python3"]),
            ("#! /usr/bin/env python3\n", vec!["/usr/bin/env", "/usr/bin/python3", "/bin/python3"]),
            ("#!/usr/bin/env -S A=1 node\n", vec!["/usr/bin/env", "/usr/bin/node", "/bin/node"]),
            ("#!\n", vec![]),
            ("import os\n#!/bin/sh\n", vec![]),
            ("\u{7f}ELF", vec![]),
            ("", vec![]),
        ] {
            let script = dir.path().join("script");
            std::fs::write(&script, text).unwrap();
            assert_eq!(interpreters(&script), expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text:?}");
        }
    }
}
