//! The hash of a run: everything that goes into the gateway and everything that comes out, in order.

use lpwad::gateway::input::{Input, Now};
use lpwad::gateway::output::Output;
use lpwad::store::{BacklogKey, POLICY_TABLE};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The hash so far.
#[derive(Default)]
pub struct Trace(Sha256);

impl Trace {
    /// Something that happened at a time.
    pub fn note(&mut self, now: Duration, what: &str, bytes: &[u8]) {
        self.0.update((now.as_nanos() as u64).to_le_bytes());
        self.0.update((what.len() as u32).to_le_bytes());
        self.0.update(what.as_bytes());
        self.0.update((bytes.len() as u32).to_le_bytes());
        self.0.update(bytes);
    }

    /// An input of the gateway, with the time that it is given.
    pub fn input(&mut self, now: Duration, time: Now, input: &Input) {
        self.note(now, "mono", &(time.mono.as_nanos() as u64).to_le_bytes());
        self.note(now, "unix", &time.unix_ms.unwrap_or(u64::MAX).to_le_bytes());
        match input {
            Input::PluginLine(_, run, Ok(line)) => {
                self.note(now, "plugin", &run.to_le_bytes());
                self.note(now, "plugin", line);
            }
            Input::Datagram(session, bytes) => {
                self.note(now, "datagram", &session.0.to_le_bytes());
                self.note(now, "datagram", bytes);
            }
            Input::Tick => self.note(now, "tick", &[]),
            // Keys have no text; which of them were wrong is in what follows.
            Input::Reload(config, analyses) => {
                let nodes: Vec<u8> = config.nodes.iter().flat_map(|node| node.dev_eui.0).collect();
                self.note(now, "reload", &nodes);
                self.note(now, "reload", format!("{analyses:?}").as_bytes());
            }
            other => self.note(now, "input", format!("{other:?}").as_bytes()),
        }
    }

    /// An output of the gateway.
    pub fn output(&mut self, now: Duration, output: &Output) {
        match output {
            Output::WritePlugin(_, line) => self.note(now, "line", line.as_bytes()),
            Output::Send(session, bytes) => {
                self.note(now, "send", &session.0.to_le_bytes());
                self.note(now, "send", bytes);
            }
            Output::Event(event) => self.note(now, "event", event.to_text().as_bytes()),
            Output::Commit(batch) => {
                self.note(now, "batch", &batch.ticket.to_le_bytes());
                for ((table, key), record) in &batch.records {
                    self.note(now, table.name(), key);
                    self.note(now, "record", record);
                }
                for (key, record) in &batch.backlog {
                    self.note(now, BacklogKey::TABLE, &key.to_bytes());
                    self.note(
                        now,
                        if record.is_some() { "record" } else { "removed" },
                        record.as_deref().unwrap_or(&[]),
                    );
                }
                for (number, record) in &batch.policy {
                    self.note(now, POLICY_TABLE, &number.to_le_bytes());
                    self.note(
                        now,
                        if record.is_some() { "record" } else { "removed" },
                        record.as_deref().unwrap_or(&[]),
                    );
                }
            }
            other => self.note(now, "output", format!("{other:?}").as_bytes()),
        }
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        lpwad_link::hex::encode(&self.0.clone().finalize())
    }
}
