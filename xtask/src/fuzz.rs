//! Long runs of the fuzz targets, one at a time, from the seeds and what earlier runs found.

use crate::Places;
use crate::step::{Failure, cargo};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Seconds of each target unless said otherwise.
const SECONDS: u32 = 600;
/// Longest input in bytes.
const MAX_LEN: u32 = 4096;

/// Runs the targets that `arguments` name, or all.
pub(crate) fn fuzz(places: &Places, arguments: &[String]) -> Result<(), Failure> {
    let manifest = std::fs::read_to_string(places.root.join("fuzz/Cargo.toml"))
        .map_err(|error| Failure::failed(format!("fuzz/Cargo.toml: {error}")))?;
    let all = targets(&manifest);
    let (wanted, seconds) = parse(arguments, &all)?;
    let works = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !works(Command::new("rustup").args(["run", "nightly", "rustc", "-V"])) {
        return Err(Failure::missing("no nightly toolchain: rustup toolchain install nightly".into()));
    }
    if !works(cargo(places, &["fuzz"]).arg("--version")) {
        return Err(Failure::missing("no cargo-fuzz: cargo install cargo-fuzz --locked".into()));
    }
    let mut table = String::new();
    let mut findings = 0;
    for target in wanted {
        eprintln!("==> {target}: {seconds} s");
        let (executed, clean) = run(places, &target, seconds)?;
        findings += u32::from(!clean);
        let result = if clean { "clean" } else { "FINDING, see above" };
        let _ = writeln!(table, "{target:<20} {seconds:>5} s {executed:>12} executions  {result}");
    }
    print!("{table}");
    match findings {
        0 => Ok(()),
        count => {
            Err(Failure::failed(format!("{count} targets with a finding; fuzz/README.md says what to do with it")))
        }
    }
}

/// How many inputs were run, and whether none was a finding.
fn run(places: &Places, target: &str, seconds: u32) -> Result<(u64, bool), Failure> {
    let fail = |error: std::io::Error| Failure::failed(format!("{target}: {error}"));
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(places.root.join(&corpus)).map_err(fail)?;
    // Not by the cargo that runs this program: it belongs to another toolchain.
    let mut child = Command::new("cargo")
        .current_dir(&places.root)
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["+nightly", "fuzz", "run", target, &corpus, &format!("fuzz/seeds/{target}"), "--"])
        .args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_LEN}"), "-print_final_stats=1".into()])
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let mut executed = 0;
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines().map_while(Result::ok))
    {
        match line.strip_prefix("stat::number_of_executed_units:") {
            Some(count) => executed = count.trim().parse().unwrap_or(0),
            // Of the fuzzer's progress only its pulse, at powers of two.
            None if line.starts_with('#') && !line.contains("pulse") => {}
            None => eprintln!("{line}"),
        }
    }
    Ok((executed, child.wait().map_err(fail)?.success()))
}

fn targets(manifest: &str) -> Vec<String> {
    let names = manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split("name = \"").nth(1)?.split('"').next());
    names.map(String::from).collect()
}

fn parse(arguments: &[String], all: &[String]) -> Result<(Vec<String>, u32), Failure> {
    let (mut wanted, mut seconds) = (Vec::new(), SECONDS);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let number = rest.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
            seconds = number.ok_or_else(|| Failure::usage("--seconds takes a number from 1".into()))?;
        } else if all.contains(argument) {
            wanted.push(argument.clone());
        } else {
            return Err(Failure::usage(format!("there is no target {argument}; there are {}", all.join(", "))));
        }
    }
    Ok((if wanted.is_empty() { all.to_vec() } else { wanted }, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_seconds_are_read_and_nonsense_is_not() {
        let all =
            targets("[package]\nname = \"x\"\n[[bin]]\nname = \"lpp\"\n\n[[bin]]\nname = \"tlv\"\npath = \"p\"\n");
        assert_eq!(all, ["lpp", "tlv"]);
        let parse = |text: &str| parse(&text.split_whitespace().map(String::from).collect::<Vec<_>>(), &all).ok();
        assert_eq!(parse(""), Some((all.clone(), 600)));
        assert_eq!(parse("tlv --seconds 5"), Some((vec!["tlv".into()], 5)));
        assert_eq!((parse("lpq"), parse("--seconds"), parse("--seconds 0")), (None, None, None));
    }
}
