//! Eclipse Leshan as a process: `tests/interop/leshan`, whose README describes the lines.

use crate::namespace::Namespace;
use crate::site::Process;
use serde_json::{Value, json};
use std::process::Command;

pub struct Leshan {
    pub process: Process,
    /// Ports of CoAP, and of CoAP over DTLS if that was asked for.
    pub port: u16,
    pub coaps_port: Option<u16>,
    next: u64,
}

impl Leshan {
    /// At a port of its own choice, without DTLS.
    pub fn start() -> Leshan {
        Leshan::with(&["--coap", "127.0.0.1:0"])
    }

    /// With these options of the harness.
    pub fn with(options: &[&str]) -> Leshan {
        Leshan::run(&mut Leshan::command(options))
    }

    /// The same in a namespace.
    pub fn within(namespace: &Namespace, options: &[&str]) -> Leshan {
        Leshan::run(&mut namespace.wrap(&Leshan::command(options)))
    }

    fn command(options: &[&str]) -> Command {
        let jar = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/leshan/target/leshan-harness.jar");
        assert!(std::path::Path::new(jar).is_file(), "{jar} is missing: run the tests by `cargo xtask test`");
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/leshan/models");
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-jar", jar, "--models", models]).args(options);
        command
    }

    fn run(command: &mut Command) -> Leshan {
        let mut process = Process::start("leshan", command);
        let ready = process.wait_event("ready");
        let port = |name: &str| ready[name].as_u64().map(|port| port as u16);
        Leshan { process, port: port("port").unwrap(), coaps_port: port("coaps_port"), next: 0 }
    }

    pub fn uri(&self) -> String {
        format!("coap://127.0.0.1:{}", self.port)
    }

    /// The answer to a command.
    pub fn ask(&mut self, mut command: Value) -> Value {
        self.next += 1;
        let id = self.next;
        command["id"] = id.into();
        self.process.tell(&command.to_string());
        self.process.wait(&format!("the answer to {command}"), |line| line["id"] == id)
    }

    /// Lets a client come with a pre-shared key (hex digits).
    pub fn permit_psk(&mut self, endpoint: &str, identity: &str, key: &str) {
        let command = json!({ "cmd": "security-add", "ep": endpoint, "mode": "psk", "identity": identity, "key": key });
        assert_eq!(self.ask(command)["ok"], true);
    }
}
