//! The hash of a run: everything that goes into the gateway and everything that comes out, in order.

use lpwad::gateway::output::Output;
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
                for ((table, key), record) in &batch.records {
                    self.note(now, table.name(), key);
                    self.note(now, "record", record);
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
