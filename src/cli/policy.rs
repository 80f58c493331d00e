//! `lpwad policy`: why sessions open as they do, and the files that say so.

use super::{ask, exit, fail_as, show_policy};
use crate::config::{ConfigError, ConfigErrors, ServerUri, private_file, read_text};
use crate::gateway::control::Request;
use crate::io::{Clock, sealed_keys};
use crate::policy::analysis::Analysis;
use crate::policy::date::Day;
use crate::policy::draft::Draft;
use crate::policy::file::sha256;
use crate::policy::outlook::outlook;
use crate::policy::record::Record;
use crate::policy::signature::{Signers, signed_by};
use clap::Subcommand;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What can be asked of the policy.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Why the session of a node opens as it does: verdict, rules, and the table of segments, attackers and properties. Asks
    /// the gateway that runs; before there is one, `lpwad check` tells the verdicts.
    Explain {
        /// DevEUI or endpoint name.
        node: String,
    },
    /// Who may run without DTLS, until when, on whose word; analyses and latches. Asks the gateway that runs.
    List,
    /// Check files of threat analyses: every mistake by file, line and key. What the day or the place of a file makes void is a
    /// warning.
    Check {
        /// Files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Who may sign, in the form of ssh-keygen's allowed signers [default: policy.analysis_signers, if the configuration
        /// can be read].
        #[arg(long, value_name = "FILE")]
        signers: Option<PathBuf>,
    },
    /// Write a first threat analysis, for LoRaWAN nodes and a server on this host. Nothing is accepted or proven in it yet.
    New {
        /// Id of the analysis.
        #[arg(long, value_name = "ID")]
        id: String,
        /// The server's address without DTLS, as in server.uri: a literal address of this host.
        #[arg(long, default_value = "coap://127.0.0.1:5683", value_name = "URI")]
        server: String,
        /// Endpoint names, `*` for any run of characters; may be given more than once.
        #[arg(long, default_value = "*", value_name = "PATTERN")]
        endpoint: Vec<String>,
        /// Who approves it.
        #[arg(long, value_name = "NAME")]
        by: String,
        /// What it is about.
        #[arg(long, default_value = "", value_name = "TEXT")]
        title: String,
        /// Days until it expires, 1 to 366.
        #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
        /// File to write, which must not be there yet [default: standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the decisions that are kept, one record a line; they can be verified anywhere. Asks the gateway that
    /// runs.
    Record {
        /// Only the one of this number.
        number: Option<u64>,
    },
    /// Derive the decisions of records again, from what stands in them alone; a changed byte is found.
    Verify {
        /// File with lines of `lpwad policy record`.
        #[arg(value_name = "RECORD")]
        file: PathBuf,
    },
    /// Somebody has looked: what was lost while it was used may be granted again. Asks the gateway that runs.
    Rearm,
}

pub(super) fn run(command: &Command, arguments: &super::Arguments) -> ExitCode {
    match command {
        Command::Explain { node } => {
            ask(arguments, &Request::PolicyExplain { node: node.clone() }, show_policy::explain)
        }
        Command::List => ask(arguments, &Request::PolicyList, show_policy::list),
        Command::Record { number } => ask(arguments, &Request::PolicyRecords { number: *number }, show_policy::records),
        Command::Rearm => ask(arguments, &Request::PolicyRearm, show_policy::rearmed),
        Command::Check { files, signers } => {
            // Somebody who may check a file need not be allowed to read the keys.
            let config = || sealed_keys::read_config(&arguments.config, arguments.state_dir.as_deref()).ok();
            let signers = signers.clone().or_else(|| config()?.analysis_signers);
            match signers.map(|path| Signers::read(&path)).transpose() {
                Ok(signers) => check(files, signers.as_ref(), arguments.json),
                Err(errors) => fail_as(arguments.json, exit::CONFIG, &errors),
            }
        }
        Command::Verify { file } => verify(file, arguments.json),
        Command::New { id, server, endpoint, by, title, days, out } => {
            let Some(today) = Clock::start().now().unix_ms.map(Day::of_unix_ms) else {
                return fail_as(
                    arguments.json,
                    exit::OS,
                    &"the clock of this machine is not set, and an analysis has dates",
                );
            };
            let endpoints: Vec<&str> = endpoint.iter().map(String::as_str).collect();
            let draft = Draft {
                id,
                title,
                server,
                endpoints: &endpoints,
                reviewed: today,
                expires: today.plus(*days),
                by,
                clock: None,
                abp: None,
                accept: None,
                needs_reserve: true,
            };
            new(&draft, out.as_deref(), arguments.json)
        }
    }
}

fn check(files: &[PathBuf], signers: Option<&Signers>, json: bool) -> ExitCode {
    let mut entries = Vec::new();
    let mut bad = false;
    let today = Clock::start().now().unix_ms.map(Day::of_unix_ms);
    for path in files {
        let checked = |text: String| {
            let analysis = Analysis::parse(path, &text)?;
            Ok::<_, ConfigErrors>(Analysis { signed_by: signed_by(path, text.as_bytes(), signers)?, ..analysis })
        };
        let entry = match read_text(path).map_err(ConfigErrors::from).and_then(checked) {
            Ok(analysis) => {
                let (id, expires, by) = (&analysis.id, analysis.expires, &analysis.signed_by);
                let warnings = warnings(path, &analysis, today);
                if !json {
                    let signed = by.as_ref().map_or("not signed".into(), |by| format!("signed by {by}"));
                    let segments = analysis.segments.len();
                    let how = match warnings.len() {
                        0 => "ok".into(),
                        1 => "ok, with 1 warning".into(),
                        n => format!("ok, with {n} warnings"),
                    };
                    println!("{}: {how}, {id}, {segments} segments, expires {expires}, {signed}", path.display());
                    for warning in &warnings {
                        println!("  warning: {warning}");
                    }
                }
                let sha256 = &analysis.sha256;
                json!({
                    "file": path,
                    "ok": true,
                    "id": id,
                    "sha256": sha256,
                    "expires": expires,
                    "signed_by": by,
                    "warnings": warnings,
                })
            }
            Err(errors) => {
                bad = true;
                if !json {
                    eprintln!("{errors}");
                }
                let errors: Vec<Value> = errors.0.iter().map(ConfigError::to_json).collect();
                json!({ "file": path, "ok": false, "errors": errors })
            }
        };
        entries.push(entry);
    }
    if json {
        println!("{}", Value::Array(entries));
    }
    if bad { exit::CONFIG.into() } else { ExitCode::SUCCESS }
}

/// What keeps a file without mistakes from permitting what it says: where it lies, and the day. It is no error: a file may be
/// checked elsewhere, and before its time.
fn warnings(path: &Path, analysis: &Analysis, today: Option<Day>) -> Vec<String> {
    let unsafe_file = private_file::trusted(path).err().map(|error| {
        let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
        format!("it {}, and where lpwad reads it so, nobody gets NoSec (rule TA01){hint}", error.problem)
    });
    unsafe_file.into_iter().chain(outlook(analysis, today)).collect()
}

fn verify(path: &Path, json: bool) -> ExitCode {
    // From a pipe as well.
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fail_as(json, exit::IO, &format!("{}: cannot be read: {error}", path.display())),
    };
    match Record::verify_all(&text) {
        Ok(records) if records.is_empty() => fail_as(json, exit::DATA, &format!("{}: holds no record", path.display())),
        Ok(records) => {
            for record in &records {
                let (verdict, rules) = (&record.outcome["verdict"], &record.outcome["rules"]);
                if json {
                    let (number, hash) = (record.number, &record.hash);
                    println!(
                        "{}",
                        json!({ "ok": true, "number": number, "verdict": verdict, "rules": rules, "hash": hash })
                    );
                } else {
                    let verdict = verdict.as_str().unwrap_or_default();
                    println!("record {}: holds, {verdict} for {}", record.number, record.inputs.endpoint);
                }
            }
            ExitCode::SUCCESS
        }
        Err((line, bad)) => {
            if json {
                println!("{}", json!({ "ok": false, "line": line, "problem": bad.to_string() }));
            }
            fail_as(json, exit::DATA, &format!("{}:{line}: the record {bad}", path.display()))
        }
    }
}

fn new(draft: &Draft, out: Option<&Path>, json: bool) -> ExitCode {
    let text = draft.text();
    let name = out.unwrap_or(Path::new("analysis"));
    if let Err(errors) = Analysis::parse(name, &text) {
        return fail_as(json, exit::USAGE, &errors);
    }
    if !draft.server.parse().is_ok_and(|uri: ServerUri| uri.is_loopback_literal()) {
        let problem = "is not on this host, and the path that `policy new` writes ends here";
        let hint =
            "for a server behind a tunnel or a bearer begin with one of the examples of config/threat-analysis.d";
        return fail_as(json, exit::USAGE, &format!("--server {} {problem}\n  hint: {hint}", draft.server));
    }
    let Some(path) = out else {
        if json {
            println!("{}", json!({ "text": text, "sha256": sha256(text.as_bytes()) }));
        } else {
            print!("{text}");
        }
        return ExitCode::SUCCESS;
    };
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    if let Err(error) = made.and_then(|mut file| file.write_all(text.as_bytes())) {
        let directory = path.parent().filter(|dir| error.kind() == ErrorKind::NotFound && !dir.exists());
        let hint = directory.map_or_else(String::new, |dir| {
            format!("\n  hint: its directory is not there: install -d -m 755 {}", dir.display())
        });
        return fail_as(json, exit::CANNOT_CREATE, &format!("{}: {error}{hint}", path.display()));
    }
    if json {
        println!("{}", json!({ "file": path, "sha256": sha256(text.as_bytes()) }));
    } else {
        println!("{}: written; read it, prove it, then `lpwad policy check` it", path.display());
    }
    ExitCode::SUCCESS
}
