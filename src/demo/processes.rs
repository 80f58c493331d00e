//! The processes of a demo and their lines.

use super::site::Site;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that may wait to be shown.
const LINES_WAITING: usize = 1024;

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Server,
    Modem,
    Gateway,
}

/// A JSON line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) source: Source,
    pub(super) value: Value,
}

struct Process {
    source: Source,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// All processes.
pub(super) struct Processes {
    simulator: PathBuf,
    own: PathBuf,
    running: Vec<Process>,
    lines: Receiver<Line>,
    sender: SyncSender<Line>,
}

impl Processes {
    /// Finds the simulator beside this executable.
    pub(super) fn find() -> Result<Processes, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let simulator = own.with_file_name("lpwad-sim");
        if !simulator.is_file() {
            return Err(format!("{} is missing; in a source tree `cargo xtask demo` builds it", simulator.display()));
        }
        let (sender, lines) = sync_channel(LINES_WAITING);
        Ok(Processes { simulator, own, running: Vec::new(), lines, sender })
    }

    pub(super) fn start_server(&mut self) -> Result<(), String> {
        let mut command = Command::new(&self.simulator);
        command.args(["server", "--listen", "127.0.0.1:0", "--exit-on-eof"]);
        self.start(Source::Server, command)
    }

    pub(super) fn start_modem(&mut self, site: &Site, seed: u64) -> Result<(), String> {
        let mut command = Command::new(&self.simulator);
        command.args(["modem", "--dialect", "rn2483", "--exit-on-eof", "--seed", &(seed >> 1).to_string(), "--nodes"]);
        command.arg(site.path("nodes.toml")).arg("--link").arg(site.modem_link());
        self.start(Source::Modem, command)
    }

    pub(super) fn start_gateway(&mut self, site: &Site) -> Result<(), String> {
        let mut command = Command::new(&self.own);
        command.args(["run", "--json", "--config"]).arg(site.path("lpwad.toml"));
        command.arg("--state-dir").arg(site.path("state"));
        self.start(Source::Gateway, command)
    }

    fn start(&mut self, source: Source, mut command: Command) -> Result<(), String> {
        // The gateway's journal goes nowhere: its events come as JSON. The others say on standard error what is wrong.
        let stderr = if source == Source::Gateway { Stdio::null() } else { Stdio::inherit() };
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(Line { source, value }).is_err()
                {
                    return;
                }
            }
        });
        self.running.push(Process { source, child, stdin });
        Ok(())
    }

    /// The next line, if one comes in time.
    pub(super) fn next(&self, wait: Duration) -> Option<Line> {
        self.lines.recv_timeout(wait).ok()
    }

    /// Waits for an event; lines before it are passed over.
    pub(super) fn wait_for(&self, source: Source, event: &str, wait: Duration) -> Result<Value, String> {
        while let Ok(line) = self.lines.recv_timeout(wait) {
            if line.source == source && line.value["event"] == event {
                return Ok(line.value);
            }
        }
        Err(format!("{source:?} does not say that it is {event}"))
    }

    /// Writes a line to a process.
    pub(super) fn tell(&mut self, source: Source, line: &str) -> Result<(), String> {
        let process = self.running.iter_mut().find(|process| process.source == source);
        let stdin = process.and_then(|process| process.stdin.as_mut()).ok_or("not running")?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).map_err(|error| error.to_string())
    }

    /// A process that has ended.
    pub(super) fn first_dead(&mut self) -> Option<String> {
        self.running
            .iter_mut()
            .find_map(|process| matches!(process.child.try_wait(), Ok(Some(_))).then_some(process.source))
            .map(|source| format!("{source:?}").to_lowercase())
    }

    /// Stops all, the gateway first so that it can say goodbye; gives what went wrong.
    pub(super) fn stop(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        for mut process in std::mem::take(&mut self.running).into_iter().rev() {
            drop(process.stdin.take());
            let pid = nix::unistd::Pid::from_raw(process.child.id() as i32);
            // It may have ended by itself.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            match process.child.wait() {
                Ok(status) if status.success() || process.source != Source::Gateway => {}
                Ok(status) => problems.push(format!("gateway: {status}")),
                Err(error) => problems.push(error.to_string()),
            }
        }
        problems
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        drop(self.stop());
    }
}
