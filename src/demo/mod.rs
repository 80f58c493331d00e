//! `lpwad demo`: a simulated modem with nodes, a small LwM2M server and a real `lpwad run` between them, each a process
//! of its own; what happens is shown live. No hardware, no root, nothing left behind.

mod processes;
mod site;

use crate::config::{Scheme, ServerUri};
use crate::io::{Clock, entropy};
use processes::{Line, Processes, Source};
use serde_json::{Value, json};
use site::Site;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

/// Bound: Longest time that a demo without `--for` may take.
const LONGEST: Duration = Duration::from_secs(180);
/// Bound: The same at another server, which is not told to observe or write.
const AT_ANOTHER_SERVER: Duration = Duration::from_secs(60);

/// Arguments of `lpwad demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Simulated nodes, 1 to 100.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: u16,
    /// Seconds to run [default: until everything was shown, at most 180; with --server 60].
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: Option<u32>,
    /// Another server, coap:// on a loopback address, instead of the small one of the simulator.
    #[arg(long, value_name = "URI", value_parser = clear_address)]
    server: Option<ServerUri>,
    /// Seed of the simulation [default: random].
    #[arg(long)]
    seed: Option<u64>,
}

fn clear_address(text: &str) -> Result<ServerUri, String> {
    match text.parse::<ServerUri>() {
        Ok(uri) if uri.scheme == Scheme::Coap => Ok(uri),
        Ok(_) => Err("there is no DTLS yet: give coap://, as in coap://127.0.0.1:5683".into()),
        Err(problem) => Err(format!("{problem}: give one as coap://127.0.0.1:5683")),
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    joined: BTreeSet<String>,
    registered: BTreeSet<String>,
    observed: BTreeSet<(String, String)>,
    notified: BTreeSet<String>,
    notifications: u64,
    writes_accepted: u64,
    writes_delivered: u64,
    asked_to_write: bool,
    /// The policy permits no session: nothing more will come.
    refused: bool,
    errors: Vec<String>,
}

/// Runs the demo. Exit code 0 if all nodes joined, registered, were observed and notified, and the write reached its
/// node (with another server: if all nodes joined and registered).
#[must_use]
pub fn run(arguments: &Arguments, json: bool) -> ExitCode {
    match show(arguments, json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("lpwad demo: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: &Arguments, json: bool) -> Result<bool, String> {
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => entropy::seed().map_err(|error| error.to_string())?,
    };
    let clock = Clock::start();
    let say = |text: &str| {
        if !json {
            println!("{:>6.1} s  {text}", clock.now().mono.as_secs_f64());
        }
    };
    let mut processes = Processes::find()?;
    let site = Site::prepare(arguments.nodes, seed)?;
    say(&format!(
        "{} nodes, a modem on a pseudo terminal, a server, and lpwad between them (seed {seed})",
        arguments.nodes
    ));
    say(
        "the simulated nodes keep to the modem's one channel; real ones hop over three and join at about a third of the tries",
    );

    let server = match &arguments.server {
        Some(uri) => uri.to_string(),
        None => {
            processes.start_server()?;
            let ready = processes.wait_for(Source::Server, "ready", Duration::from_secs(10))?;
            format!("coap://{}", ready["addr"].as_str().ok_or("the server does not say its address")?)
        }
    };
    say(&format!("server at {server}"));
    processes.start_modem(&site, seed)?;
    processes.wait_for(Source::Modem, "ready", Duration::from_secs(10))?;
    say("modem RN2483 at a pseudo terminal");
    site.configure(&server, clock.now().unix_ms)?;
    processes.start_gateway(&site)?;

    let own_server = arguments.server.is_none();
    let longest = if own_server { LONGEST } else { AT_ANOTHER_SERVER };
    let end = arguments.seconds.map_or(longest, |seconds| Duration::from_secs(u64::from(seconds)));
    let mut seen = Seen::default();
    let all = usize::from(arguments.nodes);
    while clock.now().mono < end && !seen.refused {
        let left = end.saturating_sub(clock.now().mono);
        let Some(line) = processes.next(left.min(Duration::from_millis(500))) else {
            if let Some(dead) = processes.first_dead() {
                seen.errors.push(format!("{dead} ended early"));
                break;
            }
            continue;
        };
        if let Some(text) = seen.note(&line) {
            say(&text);
        }
        let notified_all = seen.notified.len() >= all;
        if own_server && notified_all && !seen.asked_to_write {
            let endpoint = site.endpoint(0);
            processes.tell(Source::Server, &format!("write {endpoint} /3306/0/5850 true"))?;
            seen.asked_to_write = true;
            say(&format!("asking the server to write /3306/0/5850 = true at {endpoint}"));
        }
        if arguments.seconds.is_none() && own_server && seen.complete(all) {
            break;
        }
    }
    let good = seen.errors.is_empty()
        && if own_server { seen.complete(all) } else { seen.joined.len() >= all && seen.registered.len() >= all };
    let left_over = processes.stop();
    seen.errors.extend(left_over);
    let summary = json!({
        "nodes": arguments.nodes,
        "joined": seen.joined.len(),
        "registered": seen.registered.len(),
        "observed": seen.observed.len(),
        "notified": seen.notifications,
        "writes_accepted": seen.writes_accepted,
        "writes_delivered": seen.writes_delivered,
        "errors": seen.errors.len(),
        "problems": seen.errors,
        "seconds": clock.now().mono.as_secs(),
    });
    if json {
        println!("{summary}");
    } else {
        println!();
        println!("joined over the air      {} of {all}", seen.joined.len());
        println!("registered as a client   {} of {all}", seen.registered.len());
        println!("paths observed           {}", seen.observed.len());
        println!("notifications            {}", seen.notifications);
        println!("writes delivered by air  {}", seen.writes_delivered);
        println!("errors                   {}", seen.errors.len());
        for problem in &seen.errors {
            println!("  {problem}");
        }
        if !good {
            println!("not everything was seen in time");
        }
    }
    Ok(good && seen.errors.is_empty())
}

impl Seen {
    fn complete(&self, all: usize) -> bool {
        self.joined.len() >= all
            && self.registered.len() >= all
            && self.notified.len() >= all
            && !self.observed.is_empty()
            && self.writes_delivered > 0
    }

    /// Notes a line; gives what to show of it.
    fn note(&mut self, line: &Line) -> Option<String> {
        let field = |name: &str| match &line.value[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let node = field("node");
        Some(match (line.source, line.value["event"].as_str()?) {
            (Source::Gateway, "radio-ready") => format!("radio {} is ready on {} Hz", field("radio"), field("freq_hz")),
            (Source::Gateway, "radio-lost") => {
                self.errors.push(format!("radio lost: {}", field("reason")));
                format!("radio {} is lost: {}", field("radio"), field("reason"))
            }
            (Source::Gateway, "policy-verdict") => {
                format!("policy: {} to server {}, by analysis {}", field("verdict"), field("server"), field("analysis"))
            }
            (Source::Gateway, "policy-refused") => {
                self.errors.push(field("reason"));
                self.refused = true;
                format!("policy: no session to server {}: {}", field("server"), field("reason"))
            }
            (Source::Gateway, "store-failed") => {
                self.errors.push(field("reason"));
                format!("store: {}", field("reason"))
            }
            (Source::Gateway, "node-joining") => {
                format!("{node}  asks to join; the accept goes out, as {}", field("dev_addr"))
            }
            (Source::Gateway, "node-joined") => {
                self.joined.insert(node.clone());
                format!("{node}  joined")
            }
            (Source::Gateway, "uplink") => {
                format!(
                    "{node}  uplink {}, {} bytes on FPort {}, {} dBm",
                    field("fcnt"),
                    field("bytes"),
                    field("fport"),
                    field("rssi_dbm")
                )
            }
            (Source::Gateway, "registered") => {
                self.registered.insert(node.clone());
                format!("{node}  registered as {} at {}", field("endpoint"), field("location"))
            }
            (Source::Gateway, "observed") => {
                let path = field("path");
                let text = format!("{node}  server observes {path}");
                self.observed.insert((node, path));
                text
            }
            (Source::Gateway, "notified") => {
                self.notifications += 1;
                let text = format!("{node}  notified {}", field("path"));
                self.notified.insert(node);
                text
            }
            (Source::Gateway, "write-accepted") => {
                self.writes_accepted += 1;
                format!("{node}  write to {} accepted, waits for the node's receive window", field("path"))
            }
            (Source::Gateway, "downlink-sent") => format!("{node}  downlink {} on air", field("downlink")),
            (Source::Gateway, "downlink-acked") => {
                format!("{node}  downlink {} acknowledged by the node", field("downlink"))
            }
            (Source::Server, "notify") => format!("           server got {} {}", field("path"), field("values")),
            (Source::Server, "written") => {
                format!("           server's write to {} is answered {}", field("path"), field("code"))
            }
            (Source::Modem, "received") if !field("payload").is_empty() => {
                self.writes_delivered += 1;
                format!(
                    "{}  node received {} on FPort {} in {}",
                    field("dev_eui"),
                    field("payload"),
                    field("fport"),
                    field("window")
                )
            }
            _ => return None,
        })
    }
}
