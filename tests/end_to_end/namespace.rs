//! Hosts of a test: network namespaces that are made for it and end with it; and one with mounts of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A namespace: that of a process which waits for the end of its standard input.
pub struct Namespace {
    holder: Child,
    /// The option of `unshare` and `nsenter`.
    kind: &'static str,
}

const NET: &str = "--net";
const MOUNTS: &str = "--mount";

/// What the holder runs in a network namespace: its loopback is up when it says so.
const HOLD: &str = "ip link set lo up && echo ready && exec cat";

impl Namespace {
    /// Two of them, without a link. Whoever is not root is it in a user namespace of both.
    pub fn pair() -> (Namespace, Namespace) {
        let first = Namespace::held_by(unshare().args([NET, "sh", "-c", HOLD]), NET);
        let second = Namespace::held_by(first.command("unshare").args([NET, "sh", "-c", HOLD]), NET);
        (first, second)
    }

    /// One in which something can be mounted that is not seen outside.
    pub fn of_mounts() -> Namespace {
        Namespace::held_by(unshare().args([MOUNTS, "sh", "-c", "echo ready && exec cat"]), MOUNTS)
    }

    fn held_by(command: &mut Command, kind: &'static str) -> Namespace {
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no namespace here: the tests need root, or user namespaces, and iproute2");
        Namespace { holder, kind }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A program in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), self.kind]);
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// What `command` would run, in it.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = self.command(command.get_program().to_str().unwrap());
        wrapped.args(command.get_args());
        wrapped
    }

    /// Runs `mount` with these options on a directory; whether it was done.
    pub fn mount(&self, options: &[&str], dir: &Path) -> bool {
        self.command("mount").arg("--no-mtab").args(options).arg(dir).output().expect("mount").status.success()
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) {
        let output = self.command("ip").args(words.split(' ')).output().expect("ip: apt-get install iproute2");
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A cable to another one: name and address, with the length of its prefix, of the end here and of the end there.
    pub fn connect(&self, here: (&str, &str), other: &Namespace, there: (&str, &str)) {
        self.ip(&format!("link add {} type veth peer name {} netns {}", here.0, there.0, other.pid()));
        for (namespace, (name, address)) in [(self, here), (other, there)] {
            namespace.ip(&format!("addr add {address} dev {name}"));
            namespace.ip(&format!("link set {name} up"));
        }
    }

    /// Sends a datagram from here, by whatever route there is.
    pub fn send(&self, to: &str, text: &str) {
        // Bash knows UDP; it fails where there is no route, which is as good as lost.
        let script = format!("printf %s '{text}' >/dev/udp/{to}");
        let _ = self.command("bash").args(["-c", &script]).stderr(Stdio::null()).status().expect("bash");
    }
}

/// Whoever is not root is it in a user namespace.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
