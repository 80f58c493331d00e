//! Plugins as child processes: a sandbox, an empty environment, no inherited descriptors, a parent-death signal. Their
//! standard error goes to the log. A running one is ended, with all that it started, before it is started again.

use super::sandbox::{Allowance, Sandbox};
use crate::gateway::event::{Event, Kind};
use crate::gateway::input::{Input, RadioIndex};
use lpwad_link::LineReader;
use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

/// Lines that may wait to be read by a plugin; a plugin that lets more pile up is ended.
const LINES_WAITING: usize = 64;
/// Bytes that the kernel keeps for a plugin that does not read, beside the lines; a page is the least that it takes.
const MAX_UNREAD_BYTES: i32 = 4096;
/// How long a plugin may leave a line unread while there is no room for it, before it is ended.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest line of standard error that is logged, in bytes.
const MAX_LOG_LINE: usize = 500;
/// Lines of standard error that are logged of one run of a plugin; more are read slowly and thrown away.
const MAX_LOG_LINES: usize = 1000;
/// Pause between two pieces of 8 KiB that are thrown away, so that a flood costs little.
const FLOOD_WAIT: Duration = Duration::from_millis(100);
/// How long the last words of a process that has ended are waited for; another one may hold its pipes.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);
/// How long a plugin may take to end after `stop`, before it is killed.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// How long the daemon waits at its own end for a plugin that was killed; the kernel may hold one.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// One radio's plugin.
pub struct Slot {
    radio: RadioIndex,
    name: String,
    exec: PathBuf,
    allowance: Allowance,
    inputs: Sender<Input>,
    runs: u64,
    running: Option<Running>,
    /// Held while there is a process: what the kernel does not let end keeps the next one out.
    place: Arc<Mutex<()>>,
}

/// Why a plugin is killed.
#[derive(Clone, Copy)]
enum Kill {
    /// The gateway, or the end of the daemon, wants it.
    Wanted,
    /// It does not read what it is told.
    NotReading,
}

struct Running {
    lines: Sender<String>,
    kill: Sender<Kill>,
    task: tokio::task::JoinHandle<()>,
}

impl Slot {
    /// A slot for `radio`, whose plugin is `exec`, with what it may reach; what it says goes to `inputs`.
    pub fn new(radio: RadioIndex, name: String, exec: PathBuf, allowance: Allowance, inputs: Sender<Input>) -> Slot {
        let place = Arc::default();
        Slot { radio, name, exec, allowance, inputs, runs: 0, running: None, place }
    }

    /// Ends a running process and, when that has ended, starts a new one; says `PluginStarted`, or `PluginExited` if it
    /// cannot. One that is killed while it waits is never started, and nothing is said of it.
    #[expect(clippy::disallowed_methods, reason = "src/io is where tasks are started")]
    pub fn start(&mut self) {
        self.kill();
        self.runs += 1;
        let run = self.runs;
        let (lines, todo) = channel(LINES_WAITING);
        let (kill, mut killed) = channel(1);
        let (radio, inputs, exec, name) = (self.radio, self.inputs.clone(), self.exec.clone(), self.name.clone());
        let (allowance, place) = (self.allowance.clone(), self.place.clone());
        let task = tokio::spawn(async move {
            let _place = tokio::select! {
                biased;
                _ = killed.recv() => return,
                place = place.lock_owned() => place,
            };
            let end = match spawn(&exec, &allowance) {
                Ok(child) => {
                    if inputs.send(Input::PluginStarted(radio, run)).await.is_err() {
                        return;
                    }
                    attend(child, (radio, run), &name, &inputs, todo, killed).await
                }
                Err(error) => {
                    let how = format!("{} cannot be started: {error}", exec.display());
                    Input::PluginExited(radio, run, how)
                }
            };
            // The gateway is gone: nobody to tell.
            drop(inputs.send(end).await);
        });
        self.running = Some(Running { lines, kill, task });
    }

    /// Writes a line; a plugin that does not read is ended.
    pub fn write(&mut self, line: String) {
        if let Some(running) = &self.running
            && let Err(TrySendError::Full(_)) = running.lines.try_send(line)
        {
            self.kill_for(Kill::NotReading);
        }
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.kill_for(Kill::Wanted);
    }

    fn kill_for(&mut self, why: Kill) {
        if let Some(running) = &self.running {
            // Full: it is being killed already. Closed: it has ended.
            let _ = running.kill.try_send(why);
        }
    }

    /// Waits until `until` for the process to end by itself after `stop`, then kills it and waits for [`KILL_WAIT`] at most.
    pub async fn finish(&mut self, until: tokio::time::Instant) {
        if let Some(mut running) = self.running.take() {
            let kill = running.kill.clone();
            drop(running.lines);
            if tokio::time::timeout_at(until, &mut running.task).await.is_err() {
                let _ = kill.try_send(Kill::Wanted);
                drop(timeout(KILL_WAIT, running.task).await);
            }
        }
    }
}

/// Reads and writes until the process ends; gives how it ended.
async fn attend(
    mut child: Child,
    (radio, run): (RadioIndex, u64),
    name: &str,
    inputs: &Sender<Input>,
    todo: Receiver<String>,
    mut killed: Receiver<Kill>,
) -> Input {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr), Some(pid)) = (stdin, stdout, stderr, child.id()) else {
        return Input::PluginExited(radio, run, "plugin has no pipes".into());
    };
    // The leader of its session and group, by `Sandbox::enter`.
    let group = Pid::from_raw(pid.cast_signed());
    let read = read_lines(stdout, (radio, run), inputs);
    let write = write_lines(stdin, todo);
    let log = log_lines(BufReader::new(stderr), name, inputs);
    tokio::pin!(read, write, log);
    let (mut reading, mut writing, mut logging) = (true, true, true);
    let killed = loop {
        tokio::select! {
            () = &mut read, if reading => reading = false,
            taken = &mut write, if writing => {
                writing = false;
                if !taken {
                    break Some(Kill::NotReading);
                }
            }
            () = &mut log, if logging => logging = false,
            why = killed.recv() => break Some(why.unwrap_or(Kill::Wanted)),
            _ = child.wait() => break None,
        }
    };
    // With it goes what it started. If it has ended already, its number is that of its group as long as somebody is in it.
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait().await;
    if killed.is_none() {
        let rest = async {
            tokio::join!(
                async {
                    if reading {
                        read.await
                    }
                },
                async {
                    if logging {
                        log.await
                    }
                }
            )
        };
        // Whoever left the group may hold the pipes for ever.
        drop(timeout(LAST_WORDS_WAIT, rest).await);
    }
    match (killed, status) {
        (Some(Kill::NotReading), _) => Input::PluginNotReading(radio, run),
        (_, Ok(status)) => Input::PluginExited(radio, run, how_it_ended(status)),
        (_, Err(error)) => Input::PluginExited(radio, run, error.to_string()),
    }
}

async fn read_lines(mut stdout: ChildStdout, (radio, run): (RadioIndex, u64), inputs: &Sender<Input>) {
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
}

/// Writes what is to be written until there is nothing more; false if the plugin does not take it.
async fn write_lines(mut stdin: ChildStdin, mut todo: Receiver<String>) -> bool {
    while let Some(line) = todo.recv().await {
        match timeout(READ_TIMEOUT, stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            // It has closed its end: it is about to end, or silent.
            Ok(Err(_)) => break,
            Err(_) => return false,
        }
    }
    true
}

async fn log_lines(mut stderr: BufReader<ChildStderr>, name: &str, inputs: &Sender<Input>) {
    for _ in 0..MAX_LOG_LINES {
        let mut line = Vec::new();
        let length = (&mut stderr).take(MAX_LOG_LINE as u64).read_until(b'\n', &mut line).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect();
        log::info!(target: "lpwad::plugin", "plugin radio={name} {text}");
    }
    let mut buffer = vec![0; 8192];
    let mut said = false;
    while stderr.read(&mut buffer).await.is_ok_and(|length| length > 0) {
        if !std::mem::replace(&mut said, true) {
            drop(inputs.send(Input::Noticed(Event::new(Kind::PluginLogFlood).radio(name))).await);
        }
        sleep(FLOOD_WAIT).await;
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

fn spawn(exec: &Path, allowance: &Allowance) -> std::io::Result<Child> {
    let sandbox = Sandbox::build(allowance)?;
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
    // SAFETY: only async-signal-safe calls without allocation happen here: prctl, getppid, and those of `Sandbox::enter`.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if nix::unistd::getppid() != parent {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            sandbox.enter()
        });
    }
    let child = command.spawn()?;
    if let Some(stdin) = &child.stdin {
        shrink(stdin);
    }
    Ok(child)
}

/// Makes a pipe as small as it can be, so that a plugin that does not read is noticed. Without that it is noticed later.
fn shrink(pipe: &ChildStdin) {
    #[expect(unsafe_code, reason = "nix has it in a feature that brings much else")]
    // SAFETY: fcntl with a number as argument, on a descriptor that `pipe` holds open.
    unsafe {
        libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, MAX_UNREAD_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::plugins::Plugin;
    use std::collections::BTreeMap;
    use std::os::unix::process::ExitStatusExt;

    /// Runs a shell in a group of its own as a plugin would, without the sandbox, which would not let it start anything.
    fn attend_shell(script: &str, lines: Vec<String>, meanwhile: impl FnOnce(&Sender<Kill>)) -> (Input, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script).process_group(0).kill_on_drop(true);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            shrink(child.stdin.as_ref().unwrap());
            let (inputs, mut said) = channel(100);
            let (to_write, todo) = channel(100);
            let (kill, killed) = channel(1);
            for line in lines {
                to_write.try_send(line).unwrap();
            }
            meanwhile(&kill);
            let end = attend(child, (RadioIndex(0), 1), "x", &inputs, todo, killed).await;
            drop(inputs);
            let mut texts = Vec::new();
            while let Some(Input::PluginLine(_, _, Ok(line))) = said.recv().await {
                texts.push(String::from_utf8(line).unwrap());
            }
            (end, texts)
        })
    }

    #[test]
    fn starts_do_not_pile_up_behind_a_process_that_does_not_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (inputs, mut said) = channel(100);
            let exec = PathBuf::from("/nowhere/plugin");
            let plugin = Plugin {
                name: "x".into(),
                exec: exec.clone(),
                needs: Vec::new(),
                help: String::new(),
                settings: BTreeMap::new(),
            };
            let allowance = Allowance::new(&plugin, &serde_json::Map::new());
            let mut slot = Slot::new(RadioIndex(0), "x".into(), exec, allowance, inputs);
            // As a process that the kernel does not let end.
            let held = slot.place.clone().lock_owned().await;
            let mut tasks = Vec::new();
            for _ in 0..3 {
                slot.start();
                slot.kill();
                tasks.push(slot.running.take().unwrap().task);
            }
            for task in tasks {
                task.await.unwrap();
            }
            slot.start();
            drop(held);
            slot.finish(tokio::time::Instant::now() + STOP_GRACE).await;
            drop(slot);
            let end = said.recv().await;
            assert!(matches!(&end, Some(Input::PluginExited(_, 4, _))), "{end:?}");
            assert!(said.recv().await.is_none(), "only the last one was tried");
        });
    }

    fn is_alive(pid: &str) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    }

    #[test]
    fn a_process_that_ends_is_noticed_though_a_child_of_it_holds_its_pipes_and_the_child_ends_with_it() {
        let (end, texts) = attend_shell("sleep 1000 & echo $!; exit 3", Vec::new(), |_| {});
        assert!(matches!(&end, Input::PluginExited(_, 1, how) if how.ends_with("exit code 3")), "{end:?}");
        assert_eq!(texts.len(), 1, "its last words are read");
        let gone = (0..1_000_000).any(|_| !is_alive(&texts[0]));
        assert!(gone, "the child has outlived it");
    }

    #[test]
    fn a_kill_reaches_the_whole_group() {
        let (end, _) = attend_shell("sleep 1000 & wait", Vec::new(), |kill| kill.try_send(Kill::Wanted).unwrap());
        let signal = how_it_ended(ExitStatus::from_raw(9));
        assert!(matches!(&end, Input::PluginExited(_, 1, how) if *how == signal), "{end:?}");
    }

    #[test]
    fn a_process_that_does_not_read_is_named() {
        let line = format!("{}\n", "x".repeat(60_000));
        let (end, _) = attend_shell("exec sleep 1000", vec![line], |_| {});
        assert!(matches!(end, Input::PluginNotReading(_, 1)), "{end:?}");
    }
}
