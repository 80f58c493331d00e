//! A radio plugin that misbehaves on request. It drives no radio.
//!
//! Not supported: to be of use.

mod hostile;
mod radio;

use lpwad_link::fact::{Fact, FactName};
use lpwad_link::message::{FromPlugin, Hello, Status, ToPlugin};
use lpwad_link::version;
use radio::Radio;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

/// Lines of the daemon that may wait.
const LINES_WAITING: usize = 64;
/// Lines of garbage and of good ones that are more than anybody should take.
const TOO_MANY: usize = 5000;
/// Changes of mind that are, too.
const TOO_MANY_FACTS: usize = 100;
const ENDLESS_BYTES: usize = 1 << 20;
/// A power that radios have, and that is permitted nowhere in the band.
const LOUD_DBM_EIRP: f32 = 40.0;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Good,
    Silent,
    Mute,
    Garbage,
    WrongVersion,
    EarlyExit,
    Flood,
    EndlessLine,
    BadSheet,
    StderrFlood,
    NotReading,
    TimeJump,
    LateTxdone,
    MissingTxdone,
    FactFlood,
    Loud,
    ThreadFlood,
    Hostile,
}

const MODES: [(&str, Mode); 18] = [
    ("good", Mode::Good),
    ("silent", Mode::Silent),
    ("mute", Mode::Mute),
    ("garbage", Mode::Garbage),
    ("wrong-version", Mode::WrongVersion),
    ("early-exit", Mode::EarlyExit),
    ("flood", Mode::Flood),
    ("endless-line", Mode::EndlessLine),
    ("bad-sheet", Mode::BadSheet),
    ("stderr-flood", Mode::StderrFlood),
    ("not-reading", Mode::NotReading),
    ("time-jump", Mode::TimeJump),
    ("late-txdone", Mode::LateTxdone),
    ("missing-txdone", Mode::MissingTxdone),
    ("fact-flood", Mode::FactFlood),
    ("loud", Mode::Loud),
    ("thread-flood", Mode::ThreadFlood),
    ("hostile", Mode::Hostile),
];

fn mode(name: &str) -> Result<Mode, String> {
    let known = MODES.iter().find(|(known, _)| *known == name.trim());
    known.map(|(_, mode)| *mode).ok_or_else(|| format!("settings: there is no mode \"{name}\""))
}

/// The mode in the file beside the executable.
fn mode_of_file() -> Option<Result<Mode, String>> {
    let executable = std::path::PathBuf::from(std::env::args_os().next()?);
    let text = std::fs::read_to_string(executable.with_file_name("mode")).ok()?;
    Some(mode(&text))
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(problem) => {
            drop(say(&FromPlugin::Status(Status { fault: Some(problem), counters: serde_json::Map::new() })));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let before = mode_of_file().transpose()?;
    let lines = listen(before == Some(Mode::NotReading));
    let Some(ToPlugin::Hello(_)) = next(&lines) else { return Ok(ExitCode::SUCCESS) };
    match before {
        Some(Mode::Silent) => return until_end(&lines),
        Some(Mode::WrongVersion) => greet("2.0.0")?,
        _ => greet(version::VERSION)?,
    }
    match before {
        Some(Mode::EarlyExit) => return Ok(ExitCode::from(3)),
        Some(Mode::NotReading) => {
            radio::say_ready(14.0)?;
            return until_end(&lines);
        }
        _ => {}
    }
    let Some(ToPlugin::Configure(configure)) = next(&lines) else { return Ok(ExitCode::SUCCESS) };
    let named = configure.settings.get("mode").and_then(serde_json::Value::as_str).unwrap_or("good");
    let mode = before.map_or_else(|| mode(named), Ok)?;
    radio::say_ready(match mode {
        Mode::BadSheet => 1000.0,
        Mode::Loud => LOUD_DBM_EIRP,
        _ => 14.0,
    })?;
    let mut radio = Radio::new(&configure, mode)?;
    match mode {
        Mode::EarlyExit => return Ok(ExitCode::from(3)),
        Mode::Silent | Mode::Mute | Mode::NotReading => return until_end(&lines),
        Mode::Garbage => write_all(&b"\x00 this is { no message \xff\n".repeat(TOO_MANY))?,
        Mode::Flood => {
            let line = FromPlugin::Status(Status { fault: None, counters: serde_json::Map::new() }).to_line();
            write_all(line.repeat(TOO_MANY).as_bytes())?;
        }
        Mode::FactFlood => (0..TOO_MANY_FACTS).try_for_each(|n| {
            let value = serde_json::Value::Bool(n % 2 == 0);
            say(&FromPlugin::Fact(Fact { name: FactName::Roaming.name().into(), value, age_s: 0 }))
        })?,
        Mode::EndlessLine => write_all(&vec![b'x'; ENDLESS_BYTES])?,
        Mode::StderrFlood => {
            // Standard error may be closed at the other end, or full.
            (0..TOO_MANY).for_each(|n| drop(writeln!(std::io::stderr(), "line {n} that nobody wants to read")));
        }
        Mode::ThreadFlood => radio.counters = hostile::threads(),
        Mode::Hostile => radio.counters = hostile::attempts(&configure.settings),
        _ => {}
    }
    serve(&mut radio, &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// A radio until the daemon says `stop` or is gone.
fn serve(radio: &mut Radio, lines: &Receiver<ToPlugin>) -> Result<(), String> {
    loop {
        radio.do_what_is_due()?;
        match lines.recv_timeout(radio.wait()) {
            Ok(ToPlugin::Tx(tx)) => radio.transmit(&tx),
            Ok(ToPlugin::Stop(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Nothing more, until the daemon loses patience.
fn until_end(lines: &Receiver<ToPlugin>) -> Result<ExitCode, String> {
    while lines.recv().is_ok() {}
    Ok(ExitCode::SUCCESS)
}

fn next(lines: &Receiver<ToPlugin>) -> Option<ToPlugin> {
    lines.recv().ok()
}

/// Reads the daemon's lines on a thread of its own; after `only_one` of them it stays, and reads no more.
fn listen(only_one: bool) -> Receiver<ToPlugin> {
    let (sender, lines) = sync_channel(LINES_WAITING);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if let Ok(message) = ToPlugin::parse(line.trim_ascii())
                && sender.send(message).is_err()
            {
                return;
            }
            line.clear();
            if only_one {
                loop {
                    std::thread::park();
                }
            }
        }
    });
    lines
}

fn greet(version: &str) -> Result<(), String> {
    say(&FromPlugin::Hello(Hello {
        protocol: version::PROTOCOL.into(),
        version: version.into(),
        features: Vec::new(),
        plugin: Some("stress".into()),
        kind: Some("lora-phy".into()),
    }))
}

fn say(message: &FromPlugin) -> Result<(), String> {
    write_all(message.to_line().as_bytes())
}

fn write_all(bytes: &[u8]) -> Result<(), String> {
    let mut output = std::io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|error| error.to_string())
}
