//! Steps with a name and a time, the programs that they run, and how they fail.

use crate::Places;
use std::process::Command;
use std::time::Instant;

/// Exit codes (sysexits.h).
pub(crate) const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What to say; empty if it has been said.
    pub(crate) message: String,
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: String) -> Failure {
        Failure { code: USAGE, message }
    }

    /// Something that is needed is not there.
    pub(crate) fn missing(message: String) -> Failure {
        Failure { code: UNAVAILABLE, message }
    }
}

/// Does `work` and says how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    eprintln!("==> {name}");
    let start = now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    match &result {
        Ok(_) => eprintln!("==> {name}: done in {seconds:.1} s"),
        Err(_) => eprintln!("==> {name}: FAILED after {seconds:.1} s"),
    }
    result
}

#[expect(clippy::disallowed_methods, reason = "build steps are timed by the real clock")]
fn now() -> Instant {
    Instant::now()
}

/// Cargo, the one that runs this program, in the root of the repository.
pub(crate) fn cargo(places: &Places, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A relative directory is meant from where the user stands, not from the root.
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR")
        && let Ok(dir) = std::path::absolute(dir)
    {
        command.env("CARGO_TARGET_DIR", dir);
    }
    let (name, options) = arguments.split_at(arguments.len().min(1));
    command.current_dir(&places.root).args(name);
    // In CI a lock file that does not fit the manifests is an error.
    let uses_lock_file = !matches!(name, ["fmt" | "deny" | "install"]);
    if in_ci() && uses_lock_file {
        command.arg("--locked");
    }
    command.args(options);
    command
}

/// Whether this runs in CI.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty())
}

/// Runs a program to its end; it must succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("`{}` ended with {status}", text(command)))),
        Err(error) => Err(Failure::failed(format!("`{}` cannot be run: {error}", text(command)))),
    }
}

/// Runs a program in place of this one; comes back only if that fails.
pub(crate) fn become_program(command: &mut Command) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(Failure::failed(format!("`{}` cannot be run: {error}", text(command))))
}

/// A command as one would type it.
pub(crate) fn text(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
