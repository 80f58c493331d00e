//! Command line. Exit codes are those of sysexits.h, as told in `docs/command-line.md`.

mod check;
mod facts;
mod key;
mod policy;
mod show;
mod show_policy;

use crate::config::Config;
use crate::demo;
use crate::gateway::control::Request;
use crate::io::run::{Options, RunError, run, state_dir};
use crate::io::{control, journal, library, sealed_keys, secrecy};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit codes (sysexits.h).
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const DATA: u8 = 65;
    pub(super) const OS: u8 = 71;
    pub(super) const CANNOT_CREATE: u8 = 73;
    pub(super) const IO: u8 = 74;
    pub(super) const CONFIG: u8 = 78;
}

/// LPWA to LwM2M gateway agent: each end node becomes an LwM2M client of its own.
#[derive(Parser)]
#[command(version = library::version(), about, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file; `conf.d/*.toml` beside it is laid over it.
    #[arg(long, global = true, default_value = "/etc/lpwad/lpwad.toml", value_name = "FILE")]
    config: PathBuf,
    /// Directory of everything that must survive; wins over the configuration [default: /var/lib/lpwad].
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Output for programs: JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT; SIGHUP reads the configuration again. With --json, events go to standard output, one object a line.
    Run {
        /// Log debug events as well.
        #[arg(long)]
        verbose: bool,
    },
    /// Check configuration, profiles, key files, plugins, state directory and threat analyses; say what would happen. Exit code 78: a mistake, or no node could open a session.
    Check,
    /// Show everything working without hardware, root or another program.
    Demo(demo::Arguments),
    /// Show how the running gateway is: radios, servers, verdicts, counters. Asks `lpwad run`.
    Status,
    /// Show nodes of the running gateway. Asks `lpwad run`.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Make, bring in, renew and hand out keys of nodes.
    #[command(subcommand)]
    Key(key::Command),
    /// Why sessions open with DTLS or without, and the threat analyses that say so.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Write facts that the policy asks for and only root can see.
    #[command(subcommand)]
    Facts(facts::Command),
}

#[derive(Subcommand)]
enum NodeCommand {
    /// One line a node: joined, registered, last heard.
    List,
    /// Everything about one node: link, session, values, waiting downlinks.
    Show {
        /// DevEUI or endpoint name.
        node: String,
    },
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no error.
            drop(error.print());
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    if let Err(error) = secrecy::protect() {
        return fail(exit::OS, &format!("core files cannot be switched off: {error}"));
    }
    match &arguments.command {
        Command::Run { verbose } => run_gateway(&arguments, *verbose),
        Command::Check => check::check(&arguments.config, arguments.state_dir.as_deref(), arguments.json),
        Command::Demo(demo) => demo::run(demo, arguments.json),
        Command::Key(command) => key::run(command, &arguments.config, arguments.state_dir.as_deref(), arguments.json),
        Command::Policy(command) => policy::run(command, &arguments),
        Command::Facts(command) => facts::run(command),
        Command::Status => ask(&arguments, &Request::Status, show::status),
        Command::Node(NodeCommand::List) => ask(&arguments, &Request::NodeList, show::nodes),
        Command::Node(NodeCommand::Show { node }) => {
            ask(&arguments, &Request::NodeShow { node: node.clone() }, show::node)
        }
    }
}

fn run_gateway(arguments: &Arguments, verbose: bool) -> ExitCode {
    let config = match sealed_keys::read_config(&arguments.config, arguments.state_dir.as_deref()) {
        Ok(config) => config,
        Err(errors) => return fail(exit::CONFIG, &errors),
    };
    journal::start(verbose);
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let state_dir = state_dir(arguments.state_dir.as_deref(), config.state_dir.as_deref());
    let control_socket = control_socket(arguments.state_dir.as_deref(), Some(&config));
    let options = Options { config: arguments.config.clone(), state_dir, control_socket, json: arguments.json };
    let ended = run(&config, &options);
    journal::finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Config(errors)) => fail(exit::CONFIG, &errors),
        Err(error) => fail(exit::IO, &error),
    }
}

/// The control socket: the configuration's, that of systemd's runtime directory, or one in the state directory.
fn control_socket(command_line: Option<&Path>, config: Option<&Config>) -> PathBuf {
    if let Some(path) = config.and_then(|config| config.control_socket.clone()) {
        return path;
    }
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    match (command_line, runtime, config) {
        (None, Some(runtime), _) => runtime.join("control.sock"),
        (Some(dir), ..) => dir.join("control.sock"),
        (None, None, Some(config)) => state_dir(None, config.state_dir.as_deref()).join("control.sock"),
        (None, None, None) => PathBuf::from("/var/lib/lpwad/control.sock"),
    }
}

fn ask(arguments: &Arguments, request: &Request, show: fn(&serde_json::Value) -> String) -> ExitCode {
    // Somebody who may ask need not be allowed to read the keys: a configuration that cannot be read is passed over.
    let (config, unread) = match sealed_keys::read_config(&arguments.config, arguments.state_dir.as_deref()) {
        Ok(config) => (Some(config), None),
        Err(errors) => (None, Some(errors)),
    };
    let service = Path::new("/run/lpwad/control.sock");
    let path = match control_socket(arguments.state_dir.as_deref(), config.as_ref()) {
        path if arguments.state_dir.is_none() && !path.exists() && service.exists() => service.to_path_buf(),
        path => path,
    };
    let answer = match control::ask(&path, request) {
        Ok(answer) => answer,
        Err(error) => {
            let hint = "is `lpwad run` running with the same --config and --state-dir?";
            let note = unread.map_or_else(String::new, |errors| {
                format!("\n  note: the configuration could not be read, so this may be the wrong place:\n{errors}")
            });
            let problem = format!("no gateway answers at {}: {error}\n  hint: {hint}{note}", path.display());
            return fail_as(arguments.json, exit::UNAVAILABLE, &problem);
        }
    };
    if let Some(problem) = answer.get("error").and_then(serde_json::Value::as_str) {
        return fail_as(arguments.json, exit::UNAVAILABLE, &problem);
    }
    if arguments.json {
        println!("{answer}");
    } else {
        print!("{}", show(&answer));
    }
    ExitCode::SUCCESS
}

/// Says what went wrong on standard error: to people, or as one JSON object.
fn fail_as(json: bool, code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    if !json {
        return fail(code, error);
    }
    eprintln!("{}", serde_json::json!({ "error": error.to_string(), "exit_code": code }));
    code.into()
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("lpwad: {error}");
    code.into()
}
