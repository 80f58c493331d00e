//! `lpwad facts`: what needs more rights than the gateway has, seen by root and written where the gateway reads it.

use super::{exit, fail};
use crate::io::Clock;
use crate::io::facts::{directory, wireguard};
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be looked at.
#[derive(Subcommand)]
pub(super) enum Command {
    /// The last handshake with each peer of each WireGuard tunnel, asked from `wg` (wireguard-tools).
    Wireguard {
        /// Directory to write the facts to, as policy.facts_dir names it [default: standard output].
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Wireguard { dir } = command;
    let Some(unix_ms) = Clock::start().now().unix_ms else {
        return fail(exit::OS, &"the clock of this machine is not set, and facts have a time");
    };
    let file = match wireguard::ask(unix_ms / 1000) {
        Ok(file) => file,
        Err(problem) => return fail(exit::OS, &problem),
    };
    let Some(dir) = dir else {
        print!("{}", file.to_text());
        return ExitCode::SUCCESS;
    };
    match directory::write(dir, wireguard::FILE, &file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(exit::CANNOT_CREATE, &problem),
    }
}
