//! `cargo xtask sim`: one run with its counts and, as the last line, its hash; or many, with what they found.

use clap::Parser;
use lpwad_week::{Outcome, Settings, run};
use std::process::ExitCode;
use std::time::Duration;

/// The whole gateway in simulated time.
#[derive(Parser)]
struct Arguments {
    /// Seed of the run, or of the first of many.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run so many seeds, one after the other.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: Option<u64>,
    /// Nodes of the site.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5000))]
    nodes: u16,
    /// Days of simulated time.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=366))]
    days: u64,
    /// Tell the story of this node, counted from 0, on standard error.
    #[arg(long, value_name = "NUMBER")]
    watch: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = |seed| Settings {
        nodes: usize::from(arguments.nodes),
        length: Duration::from_secs(arguments.days * 86_400),
        watch: arguments.watch,
        ..Settings::week(seed)
    };
    let Some(seeds) = arguments.seeds else {
        let outcome = run(settings(arguments.seed));
        for (name, count) in &outcome.counts {
            println!("{count:>10} {name}");
        }
        let clean = report(arguments.seed, &outcome);
        println!("{}", outcome.hash);
        return if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let mut bad = 0;
    for seed in arguments.seed..arguments.seed.saturating_add(seeds) {
        let outcome = run(settings(seed));
        println!("seed {seed}: {}", outcome.hash);
        bad += u64::from(!report(seed, &outcome));
    }
    println!("{seeds} seeds, {bad} with violations");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what was found; whether it was nothing.
fn report(seed: u64, outcome: &Outcome) -> bool {
    for violation in outcome.violations.iter().take(20) {
        println!("seed {seed}: {:?} at {} ms: {}", violation.rule, violation.at_ms, violation.detail);
    }
    outcome.violations.is_empty()
}
