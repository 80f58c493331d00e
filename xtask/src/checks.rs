//! Checks that run no code of ours: format, lints, documentation, dependencies.

use crate::step::{Failure, cargo, in_ci, run, step};
use crate::{Places, tools};

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Formatting, clippy, documentation.
pub(crate) fn lint(places: &Places) -> Result<(), Failure> {
    step("tools", tools::check_for_lint)?;
    step("format", || {
        run(&mut cargo(places, &["fmt", "--all", "--check"]))
            .map_err(|_| Failure::failed("the format differs: `cargo fmt --all` mends it"))
    })?;
    step("clippy", || run(&mut cargo(places, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))?;
    step("documentation", || {
        run(cargo(places, &["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

/// Dependencies: who may use them, licences, sources, and advisories if their database can be had.
pub(crate) fn deny(places: &Places) -> Result<(), Failure> {
    if tools::first_line("cargo-deny", "--version").is_none() {
        if !in_ci() {
            let hint = format!("cargo install cargo-deny --locked --version {CARGO_DENY}");
            return Err(Failure::missing(format!("cargo-deny is not there (some 5 minutes to build):\n  {hint}")));
        }
        step("cargo-deny", || {
            run(&mut cargo(places, &["install", "cargo-deny", "--locked", "--version", CARGO_DENY]))
        })?;
    }
    step("dependencies", || {
        run(&mut cargo(places, &["deny", "--workspace", "--locked", "check", "bans", "licenses", "sources"]))
    })?;
    if run(&mut cargo(places, &["deny", "--workspace", "fetch", "db"])).is_err() {
        eprintln!("==> advisories: NOT CHECKED, because their database cannot be had from here");
        return Ok(());
    }
    step("advisories", || {
        run(&mut cargo(places, &["deny", "--workspace", "--locked", "check", "--disable-fetch", "advisories"]))
    })
}
