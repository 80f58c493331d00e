//! `lpwad-bench`: what lpwad costs. Each figure is a JSON line on standard output: `metric`, `value`, `unit`, `n` (how many
//! were measured) and `floor` (the same by the least that could do it, in the same run, or null). CPU time and memory only,
//! no wall time: the machine may be busy. Build it with `--release`.

mod bare;
mod dtls;
mod fleet;
mod flood;
mod measure;
mod report;
mod site;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What lpwad costs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// DTLS in this process: memory of sessions, CPU and bytes of handshakes and records, beside bare OpenSSL.
    Dtls {
        /// Sessions and handshakes; records are a hundred times as many.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=20_000))]
        n: u64,
    },
    /// The real daemon with nodes that have pre-shared keys, through a radio plugin, against a DTLS server in this process.
    Fleet(fleet::Arguments),
    /// Frames of strangers at the gateway's core: what they cost, and that none is answered.
    Flood {
        /// Frames of each kind.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
        n: u32,
    },
}

/// What stops a measurement.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Dtls { n } => dtls::run(n),
        What::Fleet(arguments) => fleet::run(&arguments),
        What::Flood { n } => flood::run(n),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lpwad-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
