//! The real daemon with a fleet: nodes speak through the example plugin (a FIFO of frames), their clients register over DTLS
//! at the server of this process. One uplink waits for the registration of an earlier one, so that nothing depends on the
//! speed of the machine.

mod daemon;
mod server;

use crate::Failure;
use crate::measure::{Status, cpu_s_of, sockets_of};
use crate::report::figure;
use crate::site::{self, Setup, Site};
use daemon::Daemon;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Nodes that have spoken and are not heard of yet: more than the handshakes that the gateway holds at once.
const AHEAD: usize = 80;
/// Speakers that come back after their sessions were put aside.
const RETURNING: usize = 200;

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Nodes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    n: u16,
    /// `dtls_live_sessions` of the configuration: the rest is put aside.
    #[arg(long, default_value_t = 1000)]
    live: usize,
    /// Kill the daemon afterwards, start it again and let every node speak once.
    #[arg(long)]
    restart: bool,
    /// The daemon; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    lpwad: Option<PathBuf>,
}

/// The air: frames go in by a FIFO.
struct Air {
    fifo: File,
    counters: Vec<u32>,
}

impl Air {
    /// One temperature, another one each time.
    fn uplink(&mut self, n: usize) -> Result<(), Failure> {
        let counter = self.counters.get_mut(n).ok_or("no such node")?;
        let frame = site::frame(n, *counter, &[1, 0x67, 0, *counter as u8])?;
        *counter += 1;
        Ok(writeln!(self.fifo, "{}", lpwad_link::hex::encode(&frame))?)
    }
}

/// All figures.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let nodes = usize::from(arguments.n);
    let program = match &arguments.lpwad {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("lpwad"),
    };
    let site = Site::new()?;
    let fifo = site.path("frames");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR)?;
    let settings = format!("{{ file = \"{}\" }}", fifo.display());
    let port = server::start()?;
    let setup = |nodes| Setup { nodes, joining: 0, port, settings: &settings, live: arguments.live };

    // Without nodes: what is not of the fleet.
    site.configure(&setup(0))?;
    let mut daemon = Daemon::start(&program, &site)?;
    daemon.wait("radio-ready")?;
    let empty = resident(&daemon)?;
    daemon.stop()?;

    site.configure(&setup(nodes))?;
    let mut daemon = Daemon::start(&program, &site)?;
    daemon.wait("radio-ready")?;
    // Read and write, as the plugin has it: neither end waits for the other.
    let fifo = File::options().read(true).write(true).open(&fifo)?;
    let mut air = Air { fifo, counters: vec![0; nodes] };
    let idle = (resident(&daemon)?, cpu_s_of(daemon.id()).ok_or("no CPU time")?);
    let n = nodes as u64;
    figure("daemon_cpu_until_ready", idle.1, "s", n, None);
    figure("daemon_resident_without_nodes", empty as f64, "B", 1, None);
    figure("daemon_resident_per_configured_node", slope(idle.0, empty, n), "B", n, None);

    let first = speak(&mut daemon, &mut air, 0..nodes, "registered")?;
    let (memory, cpu) = (resident(&daemon)?, cpu_s_of(daemon.id()).ok_or("no CPU time")?);
    figure("daemon_registered", first.heard as f64, "1", n, None);
    figure("daemon_full_handshakes", first.full as f64, "1", n, None);
    figure("daemon_resident", memory as f64, "B", n, None);
    figure("daemon_resident_per_node", slope(memory, empty, n), "B", n, None);
    figure("daemon_cpu_per_registration", (cpu - idle.1) * 1e6 / n as f64, "us", n, None);
    status(&daemon, &site, n)?;
    figure("parked", daemon.count("dtls-parked") as f64, "1", n, None);

    if nodes > arguments.live {
        // The first that spoke have been put aside.
        let returning = RETURNING.min(nodes - arguments.live);
        let again = speak(&mut daemon, &mut air, 0..returning, "session-opened")?;
        figure("returned_resumed", again.resumed as f64, "1", returning as u64, None);
        figure("returned_full", again.full as f64, "1", returning as u64, Some(0.0));
    }
    if arguments.restart {
        daemon.kill()?;
        let mut daemon = Daemon::start(&program, &site)?;
        daemon.wait("radio-ready")?;
        let before = cpu_s_of(daemon.id()).ok_or("no CPU time")?;
        let again = speak(&mut daemon, &mut air, 0..nodes, "updated")?;
        let cpu = cpu_s_of(daemon.id()).ok_or("no CPU time")?;
        figure("restarted_resumed", again.resumed as f64, "1", n, None);
        figure("restarted_full", again.full as f64, "1", n, Some(0.0));
        figure("restarted_registrations", daemon.count("registered") as f64, "1", n, Some(0.0));
        figure("restarted_cpu_per_resumption", (cpu - before) * 1e6 / n as f64, "us", n, None);
        figure("restarted_resident", resident(&daemon)? as f64, "B", n, None);
        daemon.stop()?;
    }
    Ok(())
}

/// What the daemon said while nodes spoke.
#[derive(Default)]
struct Heard {
    heard: usize,
    resumed: usize,
    full: usize,
}

/// Lets each of the nodes speak, a few at a time, until the daemon says `event` of each.
fn speak(daemon: &mut Daemon, air: &mut Air, nodes: std::ops::Range<usize>, event: &str) -> Result<Heard, Failure> {
    let mut heard = Heard::default();
    let mut open: BTreeSet<String> = BTreeSet::new();
    let mut next = nodes.clone();
    loop {
        while open.len() < AHEAD
            && let Some(n) = next.next()
        {
            air.uplink(n)?;
            open.insert(site::eui(n));
        }
        if open.is_empty() {
            return Ok(heard);
        }
        let Some(line) = daemon.next()? else {
            // A frame or an answer was lost: they speak again.
            for n in nodes.clone().filter(|n| open.contains(&site::eui(*n))) {
                air.uplink(n)?;
            }
            continue;
        };
        if line["event"] == "session-opened" {
            match &line["resumed"] {
                Value::String(resumed) if resumed == "true" => heard.resumed += 1,
                Value::Bool(true) => heard.resumed += 1,
                _ => heard.full += 1,
            }
        }
        if line["event"] == event && open.remove(line["node"].as_str().unwrap_or_default()) {
            heard.heard += 1;
        }
    }
}

fn resident(daemon: &Daemon) -> Result<u64, Failure> {
    let status = Status::of(&daemon.id().to_string()).ok_or("the daemon has gone")?;
    Ok(status.bytes("VmRSS").ok_or("no VmRSS")?)
}

fn slope(more: u64, less: u64, n: u64) -> f64 {
    (more as f64 - less as f64) / n as f64
}

/// Sockets and sessions as the kernel and the daemon count them.
fn status(daemon: &Daemon, site: &Site, n: u64) -> Result<(), Failure> {
    if let Some(sockets) = sockets_of(daemon.id()) {
        figure("daemon_sockets", sockets as f64, "1", n, None);
    }
    let status = daemon.ask(site, &["status"])?;
    for name in ["dtls_live", "open", "not_sent", "records_forged", "records_ignored"] {
        let value = status["sessions"][name].as_u64().ok_or_else(|| format!("status has no sessions.{name}"))?;
        figure(&format!("sessions_{name}"), value as f64, "1", n, None);
    }
    Ok(())
}
