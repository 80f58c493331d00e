//! The shell: lines of the daemon on standard input and output, bytes of the modem on the port, and the clock.

use crate::modem::{self, Dialect, Fault, Output, RxFrame, TxRequest};
use crate::port::{self, PortError};
use crate::settings::Settings;
use lpwad_link::message::{Configure, Hello, Ready, Rx, Status, Tx, TxDone, TxStatus};
use lpwad_link::{FromPlugin, LineReader, ToPlugin, version};
use std::collections::VecDeque;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt, Stdin};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

/// Length of a break: longer than a byte at any usual speed.
const BREAK: Duration = Duration::from_millis(20);
/// Longest wait for the port to take a few bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the plugin ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("daemon: {0}")]
    Version(#[from] version::Mismatch),
    #[error("{0}")]
    Settings(String),
    #[error("{0}")]
    Port(#[from] PortError),
    #[error("port {path} is gone: {reason}")]
    PortLost { path: PathBuf, reason: String },
    #[error("{0}")]
    Modem(#[from] Fault),
}

/// Speaks with the daemon until it says `stop` or goes away. An error has been reported to it as a fault.
pub(crate) async fn run() -> Result<(), RunError> {
    let mut daemon = Daemon::new();
    let result = serve(&mut daemon).await;
    if let Err(error) = &result {
        let counters = std::mem::take(&mut daemon.counters);
        daemon.send(&FromPlugin::Status(Status { fault: Some(error.to_string()), counters }))?;
    }
    result
}

async fn serve(daemon: &mut Daemon) -> Result<(), RunError> {
    let configure = loop {
        match daemon.next().await? {
            None | Some(ToPlugin::Stop(_)) => return Ok(()),
            Some(ToPlugin::Hello(hello)) => daemon.greet(&hello)?,
            Some(ToPlugin::Configure(configure)) => break configure,
            Some(ToPlugin::Tx(tx)) => daemon.refuse(tx.id, "not configured")?,
        }
    };
    let settings = Settings::new(&configure).map_err(RunError::Settings)?;
    let port = port::open(&settings.device, settings.radio.baud)?;
    // What came in before belongs to nobody.
    let _ = port.clear(ClearBuffer::All);
    let dialect = (settings.dialect.new)(settings.radio.clone());
    Radio { start: Instant::now(), port, dialect, settings }.serve(daemon, &configure).await
}

/// The modem on its port.
struct Radio {
    start: Instant,
    port: SerialStream,
    dialect: Box<dyn Dialect>,
    settings: Settings,
}

impl Radio {
    async fn serve(&mut self, daemon: &mut Daemon, configure: &Configure) -> Result<(), RunError> {
        // A little more often than asked for, so that a late wake-up is no silence.
        let status_period = Duration::from_secs(u64::from(configure.status_period_s.max(1))).mul_f32(0.8);
        let mut status_at = self.start;
        self.dialect.start(Duration::ZERO);
        let mut bytes = [0; 1024];
        loop {
            self.drain(daemon).await?;
            if status_at <= Instant::now() {
                status_at = Instant::now() + status_period;
                daemon.send(&FromPlugin::Status(Status { fault: None, counters: daemon.counters.clone() }))?;
            }
            let deadline = self.dialect.deadline().map_or(status_at, |due| (self.start + due).min(status_at));
            tokio::select! {
                biased;
                count = self.port.read(&mut bytes) => match count {
                    Ok(count) if count > 0 => {
                        let now = self.start.elapsed();
                        self.dialect.handle_bytes(now, bytes.get(..count).unwrap_or(&[]));
                    }
                    Ok(_) => return Err(self.lost("hung up".into())),
                    Err(error) => return Err(self.lost(error.to_string())),
                },
                () = sleep_until(deadline) => {}
                message = daemon.next() => match message? {
                    None | Some(ToPlugin::Stop(_)) => return Ok(()),
                    Some(ToPlugin::Tx(tx)) => self.transmit(tx),
                    Some(ToPlugin::Hello(_) | ToPlugin::Configure(_)) => daemon.count_bad_line(),
                },
            }
            self.dialect.tick(self.start.elapsed());
        }
    }

    fn transmit(&mut self, tx: Tx) {
        let now = self.start.elapsed();
        // The stamp lies within half a turn (35.8 minutes) of now.
        let distance = tx.at_us.wrapping_sub(stamp(now)).cast_signed();
        let micros = Duration::from_micros(u64::from(distance.unsigned_abs()));
        let at = if distance < 0 { now.saturating_sub(micros) } else { now + micros };
        let Tx { id, freq_hz, dr, dbm_eirp: dbm, iq_inverted, data, .. } = tx;
        self.dialect.handle_tx(now, TxRequest { id, at, freq_hz, dr, dbm, iq_inverted, data });
    }

    /// Carries out what the dialect asks for, until it asks for nothing more.
    async fn drain(&mut self, daemon: &mut Daemon) -> Result<(), RunError> {
        while let Some(output) = self.dialect.poll() {
            match output {
                Output::Write(bytes) => self.write(&bytes).await?,
                Output::WriteAt { at, bytes } => {
                    // Timers are too coarse for this: the rest of the way is at most `modem::WRITE_AHEAD`.
                    while self.start.elapsed() < at {
                        std::hint::spin_loop();
                    }
                    self.write(&bytes).await?;
                }
                Output::Break { then } => {
                    let _ = self.port.set_break();
                    sleep(BREAK).await;
                    let _ = self.port.clear_break();
                    self.write(&then).await?;
                }
                Output::SetBaud(baud) => {
                    self.port.set_baud_rate(baud).map_err(|error| self.lost(error.to_string()))?;
                    let _ = self.port.clear(ClearBuffer::Input);
                }
                Output::Ready { model, freq_ranges_hz, min_lead } => {
                    let radio = &self.settings.radio;
                    daemon.send(&FromPlugin::Ready(Ready {
                        max_dbm_eirp: f32::from(radio.max_dbm),
                        clock: "us32".into(),
                        freq_ranges_hz,
                        channels: 1,
                        freq_hz: Some(radio.freq_hz),
                        dr: Some(radio.dr),
                        timed_tx: true,
                        inverted_iq: true,
                        min_lead_ms: u32::try_from(min_lead.as_millis()).unwrap_or(u32::MAX),
                        model,
                    }))?;
                }
                Output::Rx(RxFrame { at, rssi_dbm, snr_db, data }) => {
                    let (freq_hz, dr) = (self.settings.radio.freq_hz, self.settings.radio.dr);
                    daemon.send(&FromPlugin::Rx(Rx { at_us: stamp(at), freq_hz, dr, rssi_dbm, snr_db, data }))?;
                }
                Output::TxDone { id, status, margin, detail } => {
                    daemon.send(&FromPlugin::Txdone(TxDone { id, status, tx_margin_ms: margin, detail }))?;
                }
                Output::Fault(fault) => {
                    daemon.take_counters(self.dialect.counters());
                    return Err(fault.into());
                }
            }
        }
        daemon.take_counters(self.dialect.counters());
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        match timeout(WRITE_TIMEOUT, AsyncWriteExt::write_all(&mut self.port, bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(error.to_string())),
            Err(_) => Err(self.lost("it takes no more bytes".into())),
        }
    }

    fn lost(&self, reason: String) -> RunError {
        RunError::PortLost { path: self.settings.device.clone(), reason }
    }
}

/// The daemon's end of the plugin: lines in and out.
struct Daemon {
    input: Stdin,
    reader: LineReader,
    messages: VecDeque<ToPlugin>,
    bad_lines: u64,
    counters: serde_json::Map<String, serde_json::Value>,
}

impl Daemon {
    fn new() -> Self {
        Daemon {
            input: tokio::io::stdin(),
            reader: LineReader::default(),
            messages: VecDeque::new(),
            bad_lines: 0,
            counters: serde_json::Map::new(),
        }
    }

    /// The next message, `None` at the end of the input. May be dropped while it waits.
    async fn next(&mut self) -> Result<Option<ToPlugin>, RunError> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
            }
            let count = self.input.read(&mut bytes).await?;
            if count == 0 {
                return Ok(None);
            }
            let Daemon { reader, messages, bad_lines, .. } = self;
            reader.push(bytes.get(..count).unwrap_or(&[]), |line| {
                let parsed = line.map_err(|error| error.to_string());
                match parsed.and_then(|line| ToPlugin::parse(line).map_err(|error| error.to_string())) {
                    Ok(message) => messages.push_back(message),
                    Err(error) => {
                        *bad_lines += 1;
                        eprintln!("lora-serial: line from the daemon: {error}");
                    }
                }
            });
        }
    }

    fn greet(&mut self, hello: &Hello) -> Result<(), RunError> {
        self.send(&FromPlugin::Hello(Hello {
            protocol: version::PROTOCOL.into(),
            version: version::VERSION.into(),
            features: Vec::new(),
            plugin: Some("lora-serial".into()),
            kind: Some("lora-phy".into()),
        }))?;
        Ok(version::check(&hello.protocol, &hello.version)?)
    }

    fn refuse(&mut self, id: u64, why: &str) -> Result<(), RunError> {
        let (status, detail) = (TxStatus::Failed, Some(why.to_string()));
        self.send(&FromPlugin::Txdone(TxDone { id, status, tx_margin_ms: None, detail }))
    }

    fn count_bad_line(&mut self) {
        self.bad_lines += 1;
    }

    fn take_counters(&mut self, counters: &modem::Counters) {
        for (name, value) in counters.iter().map(|(name, value)| (*name, *value)).chain([("bad_lines", self.bad_lines)])
        {
            self.counters.insert(name.into(), value.into());
        }
    }

    /// Writes at once. A daemon that does not read blocks us, and it is the only one who would care.
    fn send(&mut self, message: &FromPlugin) -> Result<(), RunError> {
        let mut output = std::io::stdout().lock();
        output.write_all(message.to_line().as_bytes())?;
        Ok(output.flush()?)
    }
}

/// The plugin's clock as the protocol has it: microseconds in 32 bits, wrapping every 71.6 minutes.
fn stamp(time: Duration) -> u32 {
    time.as_micros() as u32
}
