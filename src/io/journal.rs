//! Events to people: the journal with structured fields under systemd, else lines on standard error; with `--json` also
//! JSON lines on standard output.

use super::log_queue::{LogQueue, RECORDS_WAITING};
use crate::gateway::event::Event;
use log::kv::{Key, Source, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::sync::{Arc, OnceLock};

/// The queue before the log, once logging was started.
static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();
/// The queue before standard output, once an event was written there.
static LINES: OnceLock<Option<LogQueue>> = OnceLock::new();

/// Starts logging: to the journal if standard error is connected to it, else to standard error.
pub fn start(verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Info };
    let journal = systemd_journal_logger::connected_to_journal().then(systemd_journal_logger::JournalLog::new);
    let log: Arc<dyn Log> = match journal {
        Some(Ok(journal)) => Arc::new(journal.with_syslog_identifier("lpwad".into())),
        _ => Arc::new(Stderr),
    };
    let installed = match LogQueue::start(log.clone(), RECORDS_WAITING) {
        Ok(queue) => log::set_boxed_logger(Box::new(QUEUE.get_or_init(|| Arc::new(queue)).clone())),
        // Without a thread, the caller waits.
        Err(_) => log::set_boxed_logger(Box::new(log)),
    };
    if installed.is_ok() {
        log::set_max_level(level);
    }
}

/// Waits until what was logged is written, for 2 s at most.
pub fn finish() {
    log::logger().flush();
    if let Some(Some(lines)) = LINES.get() {
        lines.flush();
    }
}

/// Records that were dropped because the log, or standard output, took none.
pub fn dropped() -> u64 {
    let lines = LINES.get().and_then(Option::as_ref).map_or(0, LogQueue::dropped);
    lines + QUEUE.get().map_or(0, |queue| queue.dropped())
}

/// Logs an event with its fields `LPWAD_EVENT`, `LPWAD_NODE`, `LPWAD_RADIO`, `LPWAD_SERVER` and those of its own.
pub fn log(event: &Event) {
    let text = event.to_text();
    let level = event.kind.level();
    if level > log::max_level() {
        return;
    }
    let fields = Fields(event);
    log::logger()
        .log(&Record::builder().level(level).target("lpwad").args(format_args!("{text}")).key_values(&fields).build());
}

/// Writes an event as one JSON line to standard output, with the time.
pub fn print_json(event: &Event, unix_ms: Option<u64>) {
    let mut object = event.to_json();
    if let Some(object) = object.as_object_mut() {
        object.insert("unix_ms".into(), unix_ms.into());
    }
    let text = object.to_string();
    let args = format_args!("{text}");
    let record = Record::builder().level(Level::Info).target(LINE).args(args).build();
    match LINES.get_or_init(|| LogQueue::start(Arc::new(Stdout), RECORDS_WAITING).ok()) {
        Some(lines) => lines.log(&record),
        // Without a thread, the caller waits.
        None => Stdout.log(&record),
    }
}

/// Target of a JSON line.
const LINE: &str = "line";

/// Lines on standard output. Who does not read them holds nobody up: the journal has the events.
struct Stdout;

impl Log for Stdout {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target() == LINE
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let mut out = std::io::stdout().lock();
            // Nobody listens any more.
            drop(writeln!(out, "{}", record.args()).and_then(|()| out.flush()));
        }
    }

    fn flush(&self) {}
}

struct Fields<'a>(&'a Event);

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), log::kv::Error> {
        let Event { kind, node, radio, server, fields } = self.0;
        visitor.visit_pair(Key::from_str("LPWAD_EVENT"), Value::from(kind.name()))?;
        if let Some(node) = node {
            visitor.visit_pair(Key::from_str("LPWAD_NODE"), Value::from_display(node))?;
        }
        if let Some(radio) = radio {
            visitor.visit_pair(Key::from_str("LPWAD_RADIO"), Value::from(radio.as_str()))?;
        }
        if let Some(server) = server {
            visitor.visit_pair(Key::from_str("LPWAD_SERVER"), Value::from(server.as_str()))?;
        }
        for (name, value) in fields {
            visitor.visit_pair(Key::from_str(name), Value::from(value.as_str()))?;
        }
        Ok(())
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("lpwad")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn ",
            Level::Info => "info ",
            Level::Debug | Level::Trace => "debug",
        };
        drop(writeln!(std::io::stderr().lock(), "{level} {}", record.args()));
    }

    fn flush(&self) {}
}
