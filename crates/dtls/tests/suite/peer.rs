//! Servers that we did not write, as child processes. They end with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use openssl::pkey::{PKey, Private};
use tempfile::TempDir;

/// How long a server may take to say something.
const WAIT: Duration = Duration::from_secs(20);

pub struct Server {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    pub address: SocketAddr,
    /// What it reads.
    _files: Option<TempDir>,
}

pub const KEY: [u8; 16] =
    [0x10, 0xA1, 0x32, 0xC3, 0x54, 0xE5, 0x76, 0x07, 0x98, 0x29, 0xBA, 0x4B, 0xDC, 0x6D, 0xFE, 0x8F];

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Server {
    /// `openssl s_server` of the system, with a port of its own choice.
    pub fn openssl(arguments: &[&str]) -> Self {
        let mut command = Command::new("/usr/bin/openssl");
        command.args(["s_server", "-dtls1_2", "-accept", "127.0.0.1:0"]).args(arguments);
        let (child, stdin, lines) = spawn(command);
        let mut server = Self { child, stdin, lines, address: ([127, 0, 0, 1], 0).into(), _files: None };
        let line = server.wait_for("ACCEPT ");
        server.address = line.trim_start_matches("ACCEPT ").parse().unwrap();
        server
    }

    /// The same with a pre-shared key and CCM_8.
    pub fn psk(identity: &str, key: &[u8], more: &[&str]) -> Self {
        let key = hex(key);
        let mut arguments = vec!["-nocert", "-psk", &key, "-psk_identity", identity];
        arguments.extend(["-cipher", "PSK-AES128-CCM8:PSK-AES128-CCM:PSK-AES128-GCM-SHA256:@SECLEVEL=0"]);
        arguments.extend(more);
        Self::openssl(&arguments)
    }

    /// `gnutls-serv` with a raw public key; it echoes what it gets.
    pub fn gnutls_rpk(key: &PKey<Private>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let private = files.path().join("key.pem");
        let public = files.path().join("public.pem");
        std::fs::write(&private, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        std::fs::write(&public, key.public_key_to_pem().unwrap()).unwrap();
        let priority = "NONE:+VERS-DTLS1.2:+AEAD:+AES-128-CCM-8:+ECDHE-ECDSA:+GROUP-SECP256R1:+SIGN-ECDSA-SHA256:\
                        +CTYPE-SRV-RAWPK:+CTYPE-CLI-RAWPK:+COMP-NULL";
        let mut command = Command::new("/usr/bin/gnutls-serv");
        command.args(["--udp", "--echo", "--priority", priority]);
        command.arg("--rawpkkeyfile").arg(private).arg("--rawpkfile").arg(public);
        Self::gnutls(command, Some(files))
    }

    /// `gnutls-serv` with a pre-shared key; it echoes what it gets.
    pub fn gnutls_psk(identity: &str, key: &[u8], suites: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let keys = files.path().join("keys.psk");
        std::fs::write(&keys, format!("{identity}:{}\n", hex(key))).unwrap();
        let priority = format!("NONE:+VERS-DTLS1.2:+AEAD:{suites}:+PSK:+COMP-NULL:+CTYPE-X.509:+SIGN-ECDSA-SHA256");
        let mut command = Command::new("/usr/bin/gnutls-serv");
        command.args(["--udp", "--echo", "--priority", &priority, "--pskhint", "a hint that is ignored"]);
        command.arg("--pskpasswd").arg(keys);
        Self::gnutls(command, Some(files))
    }

    /// With a free port, which it cannot choose itself.
    fn gnutls(mut command: Command, files: Option<TempDir>) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        command.args(["--port", &port.to_string()]);
        let (child, stdin, lines) = spawn(command);
        let mut server = Self { child, stdin, lines, address: ([127, 0, 0, 1], port).into(), _files: files };
        server.wait_for("listening");
        server
    }

    /// The next line of its output that contains `wanted`.
    pub fn wait_for(&mut self, wanted: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(WAIT) {
                Ok(line) if line.contains(wanted) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{wanted:?} did not come ({error}); the server said {seen:#?}"),
            }
        }
    }

    /// Writes to its input: data for the client, or a command.
    pub fn write(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).unwrap();
        self.stdin.flush().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(mut command: Command) -> (Child, ChildStdin, Receiver<String>) {
    let mut child = command
        .env_remove("OPENSSL_CONF")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; apt-get install openssl gnutls-bin"));
    let (sender, lines) = sync_channel(10_000);
    let outputs: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for output in outputs {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
    }
    let stdin = child.stdin.take().unwrap();
    (child, stdin, lines)
}
