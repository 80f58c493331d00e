//! A site for a test: a directory with configuration, keys and analysis, and the processes with their lines.

use lpwad::policy::date::Day;
use lpwad::policy::draft::Draft;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long a test waits for something that must happen, and how long at most for the next line.
const PATIENCE: Duration = Duration::from_secs(180);
const SILENCE: Duration = Duration::from_secs(90);

/// Executable of the workspace, beside the daemon's.
pub fn executable(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_lpwad")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run the tests by `cargo xtask test`", path.display());
    path
}

/// A process that writes JSON lines; all of them are kept.
pub struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Process {
    pub fn start(name: &'static str, command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(name);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = sync_channel(65_536);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|_| serde_json::json!({ "text": line }));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Process { name, child, stdin, lines, seen: Vec::new() }
    }

    /// Takes what is there without waiting; gives everything that was seen.
    pub fn seen(&mut self) -> &[Value] {
        self.seen.extend(self.lines.try_iter());
        &self.seen
    }

    /// How many lines were seen so far.
    pub fn mark(&mut self) -> usize {
        self.seen().len()
    }

    /// Waits for a line, also among those seen since `mark`.
    pub fn wait_since(&mut self, mark: usize, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let mut next = mark;
        #[expect(
            clippy::disallowed_methods,
            reason = "a process that goes on about something else must not stop the tests"
        )]
        let begun = std::time::Instant::now();
        loop {
            while let Some(line) = self.seen.get(next) {
                if matches(line) {
                    return line.clone();
                }
                next += 1;
            }
            match self.lines.recv_timeout(SILENCE.min(PATIENCE.saturating_sub(begun.elapsed()))) {
                Ok(line) => self.seen.push(line),
                Err(error) => {
                    let end = if error == RecvTimeoutError::Timeout { "in time" } else { "before its end" };
                    let tail: Vec<String> = self.seen.iter().rev().take(40).rev().map(Value::to_string).collect();
                    panic!("{} does not say {what} {end}; its last lines:\n{}", self.name, tail.join("\n"));
                }
            }
        }
    }

    /// Waits a few seconds for a line; whether it came.
    pub fn comes_since(&mut self, mark: usize, matches: impl Fn(&Value) -> bool) -> bool {
        let mut next = mark;
        loop {
            while let Some(line) = self.seen.get(next) {
                if matches(line) {
                    return true;
                }
                next += 1;
            }
            match self.lines.recv_timeout(Duration::from_secs(4)) {
                Ok(line) => self.seen.push(line),
                Err(_) => return false,
            }
        }
    }

    /// Waits for a line, also among all those seen.
    pub fn wait(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.wait_since(0, what, matches)
    }

    /// Waits for an event with this name.
    pub fn wait_event(&mut self, event: &str) -> Value {
        self.wait(event, |line| line["event"] == event)
    }

    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).unwrap();
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id() as i32)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, then the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Waits for its end.
    pub fn wait_end(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of a site.
pub struct Site {
    pub dir: tempfile::TempDir,
}

/// DevEUI of the n-th node of a site.
pub fn eui(n: usize) -> String {
    format!("70b3d57ed000{n:04x}")
}

/// AppKey of the n-th node of a site, as hex.
pub fn app_key(n: usize) -> String {
    format!("2b7e151628aed2a6abf7158809cf{n:04x}")
}

/// Endpoint name of the n-th node of a site.
pub fn endpoint(n: usize) -> String {
    format!("urn:dev:mac:{}", eui(n))
}

/// The real time, in ms since 1970: files that a test writes are valid today.
pub fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "processes under test read the real clock")]
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    unix.as_millis() as u64
}

/// The day.
pub fn today() -> Day {
    Day::of_unix_ms(unix_ms())
}

/// A threat analysis that permits a clear session to a loopback server, from `since` days ago for `days` days.
pub fn analysis(server: &str, since: u32, days: u32) -> String {
    let reviewed = Day(today().0 - since);
    Draft {
        id: "TEST",
        title: "Test",
        server,
        endpoints: &["*"],
        reviewed,
        expires: reviewed.plus(days),
        by: "the tests",
        clock: Some("the tests run now"),
        abp: None,
        accept: Some("no other users on this host"),
        needs_reserve: false,
    }
    .text()
}

impl Site {
    /// `nodes` nodes that join; `more` goes into each one's entry of the simulator's file.
    pub fn new(nodes: usize, more: &str) -> Site {
        let site = Site { dir: tempfile::tempdir().unwrap() };
        let (mut sim, mut keys) = (String::new(), String::new());
        for n in 0..nodes {
            let key = app_key(n);
            let start = 0.5 + 1.5 * n as f64;
            sim += &format!(
                "[[node]]\ndev_eui = \"{}\"\napp_key = \"{key}\"\nsingle_channel = true\nrx_tolerance_ms = 400\n\
                 join_retry_s = 3\nstart_delay_s = {start}\n{more}\n",
                eui(n)
            );
            keys += &format!("[\"{}\"]\napp_key = \"{key}\"\n", eui(n));
        }
        site.write("nodes.toml", &sim);
        site.write("keys.toml", &keys);
        std::fs::DirBuilder::new().mode(0o700).create(site.path("threat-analysis.d")).unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Configuration for `nodes` nodes at a server on a loopback port, with an analysis that permits it.
    pub fn configure(&self, nodes: usize, server: &str) {
        self.write("lpwad.toml", &self.config(nodes, &format!("uri = \"{server}\"\n")));
        self.write("threat-analysis.d/test.toml", &analysis(server, 0, 30));
    }

    fn config(&self, nodes: usize, server: &str) -> String {
        let mut config = format!(
            "[gateway]\nrx1_delay_s = 2\n[[radio]]\nname = \"roof\"\nplugin = \"lora-serial\"\n\
             settings = {{ device = \"{}\", dialect = \"rn2483\" }}\n[[server]]\nname = \"site\"\n{server}",
            self.path("modem").display()
        );
        for n in 0..nodes {
            config += &format!("[[node]]\ndev_eui = \"{}\"\nprofile = \"cayenne-lpp\"\n", eui(n));
        }
        config
    }

    /// Configuration for `nodes` nodes at a DTLS server on a loopback port; `more` goes into the server's section.
    pub fn configure_secure(&self, nodes: usize, port: u16, more: &str) {
        self.configure_secure_at(nodes, &format!("127.0.0.1:{port}"), more);
    }

    /// The same at a host and port.
    pub fn configure_secure_at(&self, nodes: usize, authority: &str, more: &str) {
        let secure = format!("secure_uri = \"coaps://{authority}\"\n{more}");
        self.write("lpwad.toml", &self.config(nodes, &secure));
    }

    /// Adds lines to the n-th node's section of the key file.
    pub fn add_keys(&self, n: usize, lines: &str) {
        let keys = std::fs::read_to_string(self.path("keys.toml")).unwrap();
        let head = format!("[\"{}\"]\n", eui(n));
        assert!(keys.contains(&head));
        self.write("keys.toml", &keys.replace(&head, &format!("{head}{lines}")));
    }

    pub fn modem(&self, seed: u64) -> Process {
        self.modem_speaking("rn2483", seed)
    }

    pub fn modem_speaking(&self, dialect: &str, seed: u64) -> Process {
        let mut command = Command::new(executable("lpwad-sim"));
        command.args(["modem", "--dialect", dialect, "--seed", &seed.to_string(), "--nodes"]);
        command.arg(self.path("nodes.toml")).arg("--link").arg(self.path("modem"));
        let mut modem = Process::start("modem", &mut command);
        modem.wait_event("ready");
        modem
    }

    pub fn gateway(&self) -> Process {
        Process::start("gateway", &mut self.lpwad(&["run", "--json"]))
    }

    /// `lpwad` with the configuration and state directory of the site.
    pub fn lpwad(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lpwad"));
        command.args(arguments).arg("--config").arg(self.path("lpwad.toml")).arg("--state-dir").arg(self.path("state"));
        command
    }

    /// What a command of `lpwad --json` prints.
    pub fn ask(&self, arguments: &[&str]) -> Value {
        let output = self.lpwad(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Tries that an uplink gets: a modem that sends, or has just sent, hears nothing.
const TRIES: usize = 6;

/// Lets the n-th node send until the gateway has it.
pub fn uplink(modem: &mut Process, gateway: &mut Process, n: usize, payload: &str) {
    let heard = |line: &Value| line["event"] == "uplink" && line["node"] == eui(n).as_str();
    for _ in 0..TRIES {
        let mark = gateway.mark();
        modem.tell(&format!("uplink {} 1 {payload}", eui(n)));
        if gateway.comes_since(mark, heard) {
            return;
        }
    }
    panic!("the gateway does not hear {}", eui(n));
}

/// Lets node `n` speak until it receives this payload; gives what the modem says of it. A loaded machine may miss a window; then
/// the downlink waits for the next one.
pub fn downlink(modem: &mut Process, gateway: &mut Process, n: usize, payload: &str) -> Value {
    let is_it =
        |line: &Value| line["event"] == "received" && line["dev_eui"] == eui(n).as_str() && line["payload"] == payload;
    for _ in 0..TRIES {
        let mark = modem.mark();
        uplink(modem, gateway, n, "01670111");
        if modem.comes_since(mark, is_it) {
            return modem.wait("the downlink", is_it);
        }
    }
    panic!("node {} does not receive {payload}", eui(n));
}

/// Lets the n-th node send until it has an acknowledgement.
pub fn confirmed_uplink(modem: &mut Process, n: usize, payload: &str) {
    for _ in 0..TRIES {
        let mark = modem.mark();
        modem.tell(&format!("uplink {} 1 {payload} confirmed", eui(n)));
        let fate = |line: &Value| {
            ["acked", "no_ack"].iter().any(|event| line["event"] == *event) && line["dev_eui"] == eui(n).as_str()
        };
        if modem.wait_since(mark, "the fate of a confirmed uplink", fate)["event"] == "acked" {
            return;
        }
    }
    panic!("{} gets no acknowledgement", eui(n));
}

/// The small server of the simulator; gives its address as well.
pub fn small_server(listen: &str) -> (Process, String) {
    let mut command = Command::new(executable("lpwad-sim"));
    command.args(["server", "--listen", listen]);
    let mut server = Process::start("server", &mut command);
    let ready = server.wait_event("ready");
    let address = ready["addr"].as_str().unwrap().to_string();
    (server, format!("coap://{address}"))
}
