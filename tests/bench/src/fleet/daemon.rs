//! The daemon as a process; its events are counted.

use crate::Failure;
use crate::site::Site;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long the daemon may be silent. It repeats a lost handshake message after 9 s.
const SILENCE: Duration = Duration::from_secs(60);
/// Lines that may wait to be looked at; the daemon waits beyond that.
const LINES_WAITING: usize = 65_536;

/// `lpwad run --json`.
pub struct Daemon {
    program: PathBuf,
    child: Child,
    lines: Receiver<Value>,
    counts: BTreeMap<String, u64>,
    /// Silences in a row.
    silences: u32,
}

impl Daemon {
    /// Starts it on the directory of a site.
    pub fn start(program: &Path, site: &Site) -> Result<Daemon, Failure> {
        let mut command = command(program, site, &["run", "--json"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", program.display()))?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let (sender, lines) = sync_channel(LINES_WAITING);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::Null);
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Ok(Daemon { program: program.into(), child, lines, counts: BTreeMap::new(), silences: 0 })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next event; none if it is silent for a while.
    pub fn next(&mut self) -> Result<Option<Value>, Failure> {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => {
                self.silences = 0;
                *self.counts.entry(line["event"].as_str().unwrap_or_default().into()).or_default() += 1;
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Timeout) if self.silences < 3 => {
                self.silences += 1;
                Ok(None)
            }
            Err(RecvTimeoutError::Timeout) => Err(format!("the daemon stands still; it said {:?}", self.counts).into()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the daemon has ended; it said {:?}", self.counts).into())
            }
        }
    }

    /// Until it says this.
    pub fn wait(&mut self, event: &str) -> Result<(), Failure> {
        while !self.next()?.is_some_and(|line| line["event"] == event) {}
        Ok(())
    }

    /// How often it said this.
    pub fn count(&self, event: &str) -> u64 {
        self.counts.get(event).copied().unwrap_or(0)
    }

    /// What a command of `lpwad --json` prints.
    pub fn ask(&self, site: &Site, arguments: &[&str]) -> Result<Value, Failure> {
        let output = command(&self.program, site, &[arguments, &["--json"]].concat()).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// SIGKILL: it has no time to say anything.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM.
    pub fn stop(&mut self) -> Result<(), Failure> {
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.id())?);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM)?;
        // What it still says must not hold it up.
        while self.lines.recv().is_ok() {}
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg("--config").arg(site.path("lpwad.toml")).arg("--state-dir").arg(site.path("state"));
    command
}
