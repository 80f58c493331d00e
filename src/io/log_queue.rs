//! Between whoever logs and the log: records wait on a thread of their own, so that a journal that takes none does not hold
//! up the gateway. What is more than the queue holds is dropped and counted, and the log is told when it takes records again.

use log::kv::{Key, Source, Value, VisitSource};
use log::{Level, Log, Metadata, Record};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Log records that may wait to be written, and JSON lines that may wait for who reads them; what comes then is dropped, and the log
/// says how many once it takes records again.
/// Counted: `log_dropped`.
pub(super) const RECORDS_WAITING: usize = 4096;
/// How long the end of the daemon waits for the log to take what waits.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// A log that never waits.
pub(super) struct LogQueue {
    inner: Arc<dyn Log>,
    shared: Arc<Shared>,
    capacity: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Owned>,
    writing: bool,
    dropped: u64,
}

/// A record that outlives who made it.
struct Owned {
    level: Level,
    target: String,
    text: String,
    fields: Vec<(String, String)>,
}

impl LogQueue {
    /// Starts the thread that writes to `inner`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(inner: Arc<dyn Log>, capacity: usize) -> std::io::Result<LogQueue> {
        let queue = LogQueue { inner: inner.clone(), shared: Arc::default(), capacity };
        let shared = queue.shared.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || shared.write_to(inner.as_ref()))?;
        Ok(queue)
    }

    /// Records that found the queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.state().dropped
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes, for ever.
    fn write_to(&self, inner: &dyn Log) {
        let mut told = 0;
        loop {
            let state = self.state();
            let mut state = self
                .changed
                .wait_while(state, |state| state.waiting.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let Some(next) = state.waiting.pop_front() else { continue };
            state.writing = true;
            let dropped = state.dropped;
            drop(state);
            if dropped > told {
                let text = format!("the log took no records for a while: {} were dropped", dropped - told);
                Owned { level: Level::Warn, target: "lpwad".into(), text, fields: Vec::new() }.write(inner);
                told = dropped;
            }
            next.write(inner);
            self.state().writing = false;
            self.changed.notify_all();
        }
    }
}

impl Log for LogQueue {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let owned = Owned::of(record);
        let mut state = self.shared.state();
        if state.waiting.len() < self.capacity {
            state.waiting.push_back(owned);
            self.shared.changed.notify_all();
        } else {
            state.dropped += 1;
        }
    }

    /// Waits until all is written, for [`FLUSH_WAIT`] at most.
    fn flush(&self) {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.shared.changed.wait_timeout_while(self.shared.state(), FLUSH_WAIT, busy));
    }
}

impl Owned {
    fn of(record: &Record) -> Owned {
        let mut fields = Fields(Vec::new());
        // Only what a field gives itself as an error, and none of ours does.
        drop(record.key_values().visit(&mut fields));
        let (target, text) = (record.target().to_string(), record.args().to_string());
        Owned { level: record.level(), target, text, fields: fields.0 }
    }

    fn write(&self, inner: &dyn Log) {
        let (text, target) = (&self.text, &self.target);
        inner.log(
            &Record::builder().level(self.level).target(target).args(format_args!("{text}")).key_values(self).build(),
        );
    }
}

impl Source for Owned {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), log::kv::Error> {
        for (name, value) in &self.fields {
            visitor.visit_pair(Key::from_str(name), Value::from(value.as_str()))?;
        }
        Ok(())
    }
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push((key.as_str().to_string(), value.to_string()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{SyncSender, sync_channel};

    /// A log that takes nothing while `gate` is held.
    struct Stalled {
        entered: SyncSender<()>,
        gate: Mutex<()>,
        written: Mutex<Vec<Owned>>,
    }

    impl Log for Stalled {
        fn enabled(&self, metadata: &Metadata) -> bool {
            metadata.target() == "lpwad"
        }

        fn log(&self, record: &Record) {
            self.entered.send(()).unwrap();
            let _open = self.gate.lock().unwrap();
            self.written.lock().unwrap().push(Owned::of(record));
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_log_that_takes_nothing_holds_nobody_up_and_is_told_what_was_dropped() {
        let (entered, is_in) = sync_channel(16);
        let stalled = Arc::new(Stalled { entered, gate: Mutex::default(), written: Mutex::default() });
        let queue = LogQueue::start(stalled.clone(), 4).unwrap();
        let say = |target: &str, text: &str| {
            let fields = Owned {
                level: Level::Info,
                target: String::new(),
                text: String::new(),
                fields: vec![("LPWAD_NODE".into(), text.into())],
            };
            queue.log(
                &Record::builder()
                    .level(Level::Info)
                    .target(target)
                    .args(format_args!("{text}"))
                    .key_values(&fields)
                    .build(),
            );
        };
        let held = stalled.gate.lock().unwrap();
        say("lpwad", "0");
        is_in.recv().unwrap();
        for n in 1..10 {
            say("lpwad", &n.to_string());
            say("other", "nobody wants this");
        }
        assert_eq!(queue.dropped(), 5);
        drop(held);
        queue.flush();
        let written = stalled.written.lock().unwrap();
        let texts: Vec<&str> = written.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["0", "the log took no records for a while: 5 were dropped", "1", "2", "3", "4"]);
        assert_eq!(written[5].fields, [("LPWAD_NODE".to_string(), "4".to_string())]);
    }
}
