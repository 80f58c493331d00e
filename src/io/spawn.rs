//! Plugins as child processes: no new privileges, an empty environment, no inherited descriptors, a parent-death
//! signal, limits. Their standard error goes to the log. A running one is ended before it is started again.

use crate::gateway::input::{Input, RadioIndex};
use lpwad_link::LineReader;
use nix::sys::resource::{Resource, setrlimit};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Lines that may wait to be read by a plugin; a plugin that lets more pile up is ended.
const LINES_WAITING: usize = 64;
/// Longest line of standard error that is logged, in bytes.
const MAX_LOG_LINE: usize = 500;
/// Lines of standard error that are logged of one run of a plugin.
const MAX_LOG_LINES: usize = 1000;
/// How long a plugin may take to end after `stop`, before it is killed.
pub const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Limits of a plugin's process: resource, soft and hard.
const LIMITS: [(Resource, u64); 4] = [
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_NOFILE, 64),
    (Resource::RLIMIT_AS, 1 << 30),
    (Resource::RLIMIT_FSIZE, 1 << 20),
];

/// One radio's plugin.
pub struct Slot {
    radio: RadioIndex,
    name: String,
    exec: PathBuf,
    inputs: Sender<Input>,
    runs: u64,
    running: Option<Running>,
}

struct Running {
    lines: Sender<String>,
    kill: Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Slot {
    /// A slot for `radio`, whose plugin is `exec`; what it says goes to `inputs`.
    pub fn new(radio: RadioIndex, name: String, exec: PathBuf, inputs: Sender<Input>) -> Slot {
        Slot { radio, name, exec, inputs, runs: 0, running: None }
    }

    /// Ends a running process and starts a new one; says `PluginStarted`, or `PluginExited` if it cannot.
    #[expect(clippy::disallowed_methods, reason = "src/io is where tasks are started")]
    pub fn start(&mut self) {
        let old = self.running.take();
        self.runs += 1;
        let run = self.runs;
        let (lines, todo) = channel(LINES_WAITING);
        let (kill, killed) = channel(1);
        let (radio, inputs, exec, name) = (self.radio, self.inputs.clone(), self.exec.clone(), self.name.clone());
        let task = tokio::spawn(async move {
            if let Some(old) = old {
                old.end().await;
            }
            let how = match spawn(&exec) {
                Ok(child) => {
                    if inputs.send(Input::PluginStarted(radio, run)).await.is_err() {
                        return;
                    }
                    attend(child, (radio, run), &name, &inputs, todo, killed).await
                }
                Err(error) => format!("{} cannot be started: {error}", exec.display()),
            };
            // The gateway is gone: nobody to tell.
            drop(inputs.send(Input::PluginExited(radio, run, how)).await);
        });
        self.running = Some(Running { lines, kill, task });
    }

    /// Writes a line; a plugin that does not read is ended.
    pub fn write(&mut self, line: String) {
        if let Some(running) = &self.running
            && running.lines.try_send(line).is_err()
        {
            self.kill();
        }
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        if let Some(running) = &self.running {
            // Full: it is being killed already. Closed: it has ended.
            let _ = running.kill.try_send(());
        }
    }

    /// Waits until `until` for the process to end by itself after `stop`, then kills it.
    pub async fn finish(&mut self, until: tokio::time::Instant) {
        if let Some(mut running) = self.running.take() {
            let kill = running.kill.clone();
            drop(running.lines);
            if tokio::time::timeout_at(until, &mut running.task).await.is_err() {
                let _ = kill.try_send(());
                drop(running.task.await);
            }
        }
    }
}

impl Running {
    async fn end(self) {
        let _ = self.kill.try_send(());
        drop(self.task.await);
    }
}

/// Reads and writes until the process ends; gives how it ended.
async fn attend(
    mut child: Child,
    (radio, run): (RadioIndex, u64),
    name: &str,
    inputs: &Sender<Input>,
    todo: Receiver<String>,
    mut killed: Receiver<()>,
) -> String {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(mut stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return "has no pipes".into();
    };
    let read = async {
        let mut reader = LineReader::default();
        let mut buffer = vec![0; 8192];
        loop {
            let length = stdout.read(&mut buffer).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            let mut lines = Vec::new();
            reader.push(buffer.get(..length).unwrap_or_default(), |line| lines.push(line.map(<[u8]>::to_vec)));
            for line in lines {
                if inputs.send(Input::PluginLine(radio, run, line)).await.is_err() {
                    return;
                }
            }
        }
    };
    let write = write_lines(stdin, todo);
    let log = log_lines(BufReader::new(stderr), name);
    let status = {
        tokio::pin!(read, write, log);
        let (mut reading, mut writing, mut logging) = (true, true, true);
        loop {
            tokio::select! {
                () = &mut read, if reading => reading = false,
                () = &mut write, if writing => writing = false,
                () = &mut log, if logging => logging = false,
                _ = killed.recv() => {
                    drop(child.start_kill());
                    break child.wait().await;
                }
                status = child.wait(), if !reading => break status,
            }
        }
    };
    match status {
        Ok(status) => how_it_ended(status),
        Err(error) => error.to_string(),
    }
}

async fn write_lines(mut stdin: ChildStdin, mut todo: Receiver<String>) {
    while let Some(line) = todo.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn log_lines(mut stderr: BufReader<tokio::process::ChildStderr>, name: &str) {
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        let length = (&mut stderr).take(MAX_LOG_LINE as u64).read_until(b'\n', &mut line).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        lines += 1;
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect();
        if lines <= MAX_LOG_LINES {
            log::info!(target: "lpwad::plugin", "plugin radio={name} {text}");
        } else if lines == MAX_LOG_LINES + 1 {
            log::warn!(target: "lpwad::plugin", "plugin radio={name} writes too much to standard error; no more of it is logged");
        }
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("plugin ended with exit code {code}"),
        (None, Some(signal)) => format!("plugin was ended by signal {signal}"),
        (None, None) => "plugin ended".into(),
    }
}

fn spawn(exec: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(exec);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let parent = nix::unistd::getpid();
    #[expect(unsafe_code, reason = "the only way to do something between fork and exec")]
    // SAFETY: only async-signal-safe calls without allocation happen here: prctl, getppid, setrlimit, close_range, setsid.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            if nix::unistd::getppid() != parent {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            nix::sys::prctl::set_no_new_privs()?;
            nix::unistd::setsid()?;
            for (resource, limit) in LIMITS {
                setrlimit(resource, limit, limit)?;
            }
            // Every descriptor but the three pipes is closed at exec. Kernels before 5.11 do not know the flag; what we
            // opened ourselves is close-on-exec there too.
            nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
            Ok(())
        });
    }
    command.spawn()
}
