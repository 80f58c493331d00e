//! `lpwad-sim`: see the library's documentation.

use clap::{Args, Parser, Subcommand, ValueEnum};
use lpwad_sim::modem::{Language, ModemConfig};
use lpwad_sim::{command, nodes_file, server, shell};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "lpwad-sim",
    version,
    about = "A simulated LoRa modem with virtual end nodes, and a small LwM2M server"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A LoRa modem on a pseudo terminal, with virtual nodes on its air.
    #[command(after_help = format!("Lines on standard input:\n{}", command::HELP))]
    Modem(ModemArgs),
    /// A small LwM2M server.
    Server(server::ServerArgs),
}

#[derive(Args)]
struct ModemArgs {
    /// Modem to simulate.
    #[arg(long, value_enum, default_value = "rn2483")]
    dialect: Dialect,
    /// Nodes file (TOML); without it there are no nodes.
    #[arg(long)]
    nodes: Option<PathBuf>,
    /// Symbolic link to the pseudo terminal.
    #[arg(long)]
    link: PathBuf,
    /// Seed of everything random; the same seed gives the same DevNonces again, which a network refuses.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Speed of the modem's serial line in baud; default: as it leaves the factory.
    #[arg(long)]
    baud: Option<u32>,
    /// Transcript of the serial line.
    #[arg(long)]
    record: Option<PathBuf>,
    /// End with the standard input.
    #[arg(long)]
    exit_on_eof: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dialect {
    Rn2483,
    LoraE5,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Modem(args) => modem(args),
        Command::Server(args) => server::run(args).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lpwad-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn modem(args: ModemArgs) -> Result<(), Box<dyn std::error::Error>> {
    // The end of the parent is the end of the simulator, so that a crashed test leaves nothing behind.
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    let stop = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?.as_fd().try_clone_to_owned()?;
    let nodes = match &args.nodes {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            nodes_file::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => Vec::new(),
    };
    let language = match args.dialect {
        Dialect::Rn2483 => Language::Rn2483,
        Dialect::LoraE5 => Language::LoraE5,
    };
    let baud = args.baud.unwrap_or(language.baud());
    let modem = ModemConfig { language, baud, seed: args.seed, ..ModemConfig::default() };
    let (link, seed, record, exit_on_eof) = (args.link, args.seed, args.record, args.exit_on_eof);
    let options = shell::Options { link, modem, seed, nodes, record, exit_on_eof };
    let input: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    shell::run(options, input, Some(stop), &mut std::io::stdout().lock())?;
    Ok(())
}
