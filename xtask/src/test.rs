//! All tests: what they need, the programs and plugins that they start, then `cargo test`.

use crate::step::{Failure, cargo, run, step, text};
use crate::{Places, leshan, plugins, tools};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Runs all tests, or those that `arguments` name.
pub(crate) fn test(places: &Places, arguments: &[String]) -> Result<(), Failure> {
    prepare(places)?;
    let summary = step("test", || cargo_test(places, &["--workspace"], arguments))?;
    eprintln!("{} tests passed, {} left out.", summary.passed, summary.ignored);
    Ok(())
}

/// Runs the tests that take minutes of real time. They wait most of it, so all of them run at once.
pub(crate) fn slow(places: &Places) -> Result<(), Failure> {
    prepare(places)?;
    let only = ["-p", "lpwad", "--test", "end_to_end"];
    let arguments = ["--", "--ignored", "--test-threads", "16", "slow::"].map(String::from);
    let summary = step("slow", || cargo_test(places, &only, &arguments))?;
    if summary.passed == 0 {
        return Err(Failure::failed("there was no slow test"));
    }
    eprintln!("{} slow tests passed.", summary.passed);
    Ok(())
}

/// What tests need, and the programs that they start.
fn prepare(places: &Places) -> Result<(), Failure> {
    step("tools", tools::check_for_tests)?;
    // Programs together with tests: then cargo builds every dependency in one variant only.
    step("build", || run(&mut cargo(places, &["build", "--workspace", "--exclude", "xtask", "--bins", "--tests"])))?;
    step("stage", || plugins::stage(places, false, true))?;
    step("openssl", || supported_library(places))?;
    step("leshan", || leshan::build(places))
}

/// Fails if the build links an OpenSSL that its makers do not mend any more (the table of `crates/dtls/src/library.rs`).
fn supported_library(places: &Places) -> Result<(), Failure> {
    let fail = |problem: String| Failure::failed(format!("lpwad --version: {problem}"));
    let lpwad = places.debug.join("lpwad");
    let output = Command::new(lpwad).arg("--version").output().map_err(|error| fail(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    eprint!("{said}");
    if output.status.success() && !said.contains("out of support") { Ok(()) } else { Err(fail(said.into_owned())) }
}

/// What cargo's test programs said.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    passed: u32,
    ignored: u32,
    failed: Vec<String>,
}

impl Summary {
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.failed.push(name.to_string());
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for count in counts.split(['.', ';']).map(str::trim) {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<u32>().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse::<u32>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

fn cargo_test(places: &Places, of: &[&str], arguments: &[String]) -> Result<Summary, Failure> {
    let mut command = cargo(places, &[&["test", "--no-fail-fast"], of].concat());
    command.args(arguments).stdout(Stdio::piped());
    let fail = |error: std::io::Error| Failure::failed(format!("cargo test: {error}"));
    let mut child = command.spawn().map_err(fail)?;
    let mut summary = Summary::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(fail)?;
            summary.read(&line);
            writeln!(std::io::stdout(), "{line}").map_err(fail)?;
        }
    }
    let status = child.wait().map_err(fail)?;
    match (status.success(), summary.failed.is_empty()) {
        (true, _) => Ok(summary),
        (false, true) => Err(Failure::failed(format!("`{}` ended with {status}", text(&command)))),
        (false, false) => Err(Failure::failed(format!(
            "{} tests passed, {} failed:\n  {}",
            summary.passed,
            summary.failed.len(),
            summary.failed.join("\n  ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn counts_add_up_over_test_programs_and_failures_are_named() {
        let mut summary = Summary::default();
        for line in [
            "running 2 tests",
            "test line::tests::a ... ok",
            "test line::tests::b ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.51s",
        ] {
            summary.read(line);
        }
        assert_eq!(summary, Summary { passed: 41, ignored: 2, failed: vec!["line::tests::b".into()] });
    }
}
