//! `cargo xtask COMMAND`: the only door to building, the demo, the tests and the checks. No dependencies, so that it
//! is there in a second. Progress goes to standard error; standard output belongs to the program that is run.

mod checks;
mod fuzz;
mod leshan;
mod plugins;
mod step;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;
use step::{Failure, cargo, step};

const HELP: &str = "\
cargo xtask COMMAND [ARGUMENTS]

  demo [ARGS]     build what is needed and run `lpwad demo ARGS`: no hardware, no root (`demo --help` for ARGS)
  build [--release]
                  build all programs and lay the plugins out beside them, so that `lpwad` finds them
  stage [--release]
                  only lay out the plugins: target/<profile>/plugins/<name>/
  test [ARGS]     check that what the tests need is there, build, run all tests; ARGS go to `cargo test`,
                  for example the part of a test's name
  slow            the tests that take minutes of real time (timers of DTLS against a server that is silent): 2.5 min,
                  most of it idle
  sim [ARGS]      the whole gateway in simulated time: one week of faults from a seed; the last line is the hash of the run
                  (`sim --seed 7`, `sim --seeds 100`, `sim --help`)
  kill [--times N] [--seed S]
                  the real process under traffic, killed N times (20); the tests do it 20 times
  fuzz [TARGET...] [--seconds N]
                  fuzz the targets (all of them), each for N seconds (600), with a table at the end; needs nightly
                  and cargo-fuzz. A short run of all targets is part of the tests
  docs            write docs/events.md, docs/limits.md and docs/conformance.md from the code; the tests tell when that
                  is needed
  lint            formatting, clippy, documentation: all warnings are errors
  deny            licences, sources and known advisories of the dependencies, and who may use which (needs cargo-deny)
  ci              lint, deny, test, slow

Programs are built with the dev profile unless --release is given: it is there sooner, and fast enough for the demo
and the tests. CARGO_TARGET_DIR is honoured.
";

/// Where things are.
struct Places {
    /// Root of the repository.
    root: PathBuf,
    /// Directory of the programs that cargo builds with the dev profile.
    debug: PathBuf,
}

impl Places {
    fn find() -> Result<Places, Failure> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from);
        let own =
            std::env::current_exe().map_err(|error| Failure::failed(format!("where is this program? {error}")))?;
        match (root, own.parent()) {
            (Some(root), Some(debug)) => Ok(Places { root, debug: debug.into() }),
            _ => Err(Failure::failed("this program has no directory; run it by `cargo xtask`")),
        }
    }

    /// Directory of the programs of a profile.
    fn programs(&self, release: bool) -> PathBuf {
        if release { self.debug.with_file_name("release") } else { self.debug.clone() }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return ExitCode::from(step::USAGE);
    };
    if matches!(command.as_str(), "help" | "--help" | "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Places::find().and_then(|places| run(&places, command, rest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("xtask {command}: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(places: &Places, command: &str, rest: &[String]) -> Result<(), Failure> {
    match command {
        "demo" => demo(places, rest),
        "build" => {
            let release = only_release(rest)?;
            step("build", || build(places, release))?;
            step("stage", || plugins::stage(places, release, !release))
        }
        "stage" => {
            let release = only_release(rest)?;
            step("stage", || plugins::stage(places, release, !release))
        }
        "test" => test::test(places, rest),
        "slow" => nothing_more(rest).and_then(|()| test::slow(places)),
        "fuzz" => fuzz::fuzz(places, rest),
        "docs" => nothing_more(rest).and_then(|()| {
            let mut command = cargo(places, &["test", "-q", "-p", "lpwad", "--test", "docs", "--test", "conformance"]);
            step::run(command.env("LPWAD_WRITE_DOCS", "1"))
        }),
        "kill" => kill(places, rest),
        "sim" => sim(places, rest),
        "lint" => nothing_more(rest).and_then(|()| checks::lint(places)),
        "deny" => nothing_more(rest).and_then(|()| checks::deny(places)),
        "ci" => {
            nothing_more(rest)?;
            checks::lint(places)?;
            checks::deny(places)?;
            test::test(places, &[])?;
            test::slow(places)
        }
        _ => Err(Failure::usage(format!("there is no such command\n\n{HELP}"))),
    }
}

fn build(places: &Places, release: bool) -> Result<(), Failure> {
    let mut command = cargo(places, &["build", "--workspace", "--exclude", "xtask", "--bins"]);
    if release {
        command.arg("--release");
    }
    step::run(&mut command)
}

fn demo(places: &Places, rest: &[String]) -> Result<(), Failure> {
    step("build", || {
        let packages = ["-p", "lpwad", "-p", "lpwad-lora-serial", "-p", "lpwad-sim"];
        step::run(cargo(places, &["build", "--bins"]).args(packages))
    })?;
    step("stage", || plugins::stage(places, false, false))?;
    step::become_program(std::process::Command::new(places.programs(false).join("lpwad")).arg("demo").args(rest))
}

fn sim(places: &Places, rest: &[String]) -> Result<(), Failure> {
    step("build", || step::run(&mut cargo(places, &["build", "--profile", "sim", "-p", "lpwad-week"])))?;
    let program = places.debug.with_file_name("sim").join("lpwad-week");
    step::become_program(std::process::Command::new(program).args(rest))
}

fn kill(places: &Places, rest: &[String]) -> Result<(), Failure> {
    let mut environment = Vec::new();
    let mut rest = rest.iter();
    while let Some(flag) = rest.next() {
        let name = match flag.as_str() {
            "--times" => "LPWAD_KILLS",
            "--seed" => "LPWAD_SEED",
            _ => return Err(Failure::usage(format!("takes --times N and --seed S, not {flag}"))),
        };
        let number = rest.next().filter(|text| text.parse::<u64>().is_ok());
        environment.push((name, number.ok_or_else(|| Failure::usage(format!("{flag} takes a number")))?));
    }
    step("build", || {
        step::run(&mut cargo(places, &["build", "--workspace", "--exclude", "xtask", "--bins", "--tests"]))
    })?;
    step("stage", || plugins::stage(places, false, true))?;
    let mut command =
        cargo(places, &["test", "--workspace", "--test", "end_to_end", "--", "--nocapture", "kills_under"]);
    step("kill", || step::run(command.envs(environment)))
}

fn only_release(rest: &[String]) -> Result<bool, Failure> {
    match rest {
        [] => Ok(false),
        [flag] if flag == "--release" => Ok(true),
        _ => Err(Failure::usage("takes --release or nothing".into())),
    }
}

fn nothing_more(rest: &[String]) -> Result<(), Failure> {
    if rest.is_empty() { Ok(()) } else { Err(Failure::usage("takes no arguments".into())) }
}
