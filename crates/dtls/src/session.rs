//! An open session: payloads to records and back.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use openssl::ssl::{ErrorCode, SslStream};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::context::{Settings, reason};
use crate::failure::Failure;
use crate::handshake::Traffic;
use crate::notes::{self, FATAL};
use crate::profile::{
    ANSWER_GAP, EXPLICIT_NONCE, FINISHED_REPEATS, FORGED_BUDGET, FORGED_BUDGET_SHORT_TAG, FragmentLength,
    HELLO_REQUEST, SEALED_BUDGET, Suite,
};
use crate::record::{ALERT, APPLICATION_DATA, HANDSHAKE, Record, Window, records};
use crate::wire::{Wire, overhead};
use crate::{alert, chain, export, ffi};

/// What came out of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A payload.
    Data(Vec<u8>),
    /// The session has ended; nothing comes after it.
    Closed(Closed),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Closed {
    /// An authenticated alert of the server. `close_notify` (0) leaves the session resumable; a fatal one does not.
    #[error("the server closed the session by alert {code} ({})", alert::name(*code))]
    ByAlert {
        /// Its number.
        code: u8,
    },
    /// An authentic record broke a rule.
    #[error("the server broke a rule of the protocol: {0}")]
    Protocol(String),
}

/// Why a payload is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// More than [`Session::max_payload`].
    #[error("a payload of {bytes} bytes is longer than the {max} that fit into a record")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What fits.
        max: usize,
    },
    /// OpenSSL sends no empty record.
    #[error("an empty payload")]
    Empty,
    /// The session has ended.
    #[error("the session has ended")]
    Closed,
    /// OpenSSL refused.
    #[error("OpenSSL: {0}")]
    OpenSsl(String),
}

/// What a session has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Payloads sealed.
    pub sealed: u64,
    /// Payloads opened.
    pub opened: u64,
    /// Records whose authentication failed (P-13).
    pub forged: u64,
    /// Records seen before, or too old to tell.
    pub replayed: u64,
    /// Records that have no place in an open session: plaintext, of another epoch, version or type; alerts without keys
    /// (P-17); requests above the rate.
    pub ignored: u64,
    /// HelloRequests answered by `no_renegotiation`, and repeated Finished answered by the last flight (P-39).
    pub answered: u64,
}

/// An open session. It has no timers. It may move between threads.
pub struct Session {
    stream: SslStream<Wire>,
    suite: Suite,
    fragment: Option<FragmentLength>,
    max_payload: usize,
    mtu: usize,
    resumed: bool,
    extended_master_secret: bool,
    ends_unix_ms: Option<u64>,
    window: Window,
    early: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    last_answer: Option<Duration>,
    /// Handshake records seen that were no HelloRequest.
    repeats: u32,
    open: bool,
    /// A fatal alert of either side: the session must not be resumed (RFC 5246 §7.2.2).
    killed: bool,
    counters: Counters,
    traffic: Traffic,
}

impl Session {
    pub(crate) fn open_stream(stream: SslStream<Wire>, settings: &Settings) -> Result<Self, Failure> {
        let lost = |what: &str| Failure::Local(format!("OpenSSL does not tell the {what}"));
        let cipher = stream.ssl().current_cipher().ok_or_else(|| lost("suite"))?;
        let suite = Suite::by_code(u16::from_be_bytes(cipher.protocol_id())).ok_or_else(|| lost("suite"))?;
        let session = stream.ssl().session().ok_or_else(|| lost("session"))?;
        let fragment = FragmentLength::from_code(ffi::max_fragment_length(session));
        let ends_unix_ms = chain::ends_unix_ms(session, &settings.trust);
        let resumed = stream.ssl().session_reused();
        let extended_master_secret = stream.ssl().extms_support() == Some(true);
        let mtu = usize::from(settings.mtu);
        // A server that does not know the extension may send more, but is not sent more.
        let limit = fragment.unwrap_or(settings.max_fragment_length).bytes();
        Ok(Self {
            stream,
            suite,
            fragment,
            max_payload: limit.min(mtu - overhead(suite.tag)),
            mtu,
            resumed,
            extended_master_secret,
            ends_unix_ms,
            window: Window::default(),
            early: VecDeque::new(),
            outgoing: VecDeque::new(),
            last_answer: None,
            repeats: 0,
            open: true,
            killed: false,
            counters: Counters::default(),
            traffic: Traffic::default(),
        })
    }

    pub(crate) fn push_early(&mut self, record: &[u8]) {
        self.early.push_back(record.to_vec());
    }

    /// One payload as a datagram of one record.
    ///
    /// # Errors
    /// The payload is empty or longer than [`Session::max_payload`], or the session has ended.
    pub fn seal(&mut self, payload: &[u8]) -> Result<Vec<u8>, SealError> {
        if !self.open {
            return Err(SealError::Closed);
        }
        if payload.is_empty() {
            return Err(SealError::Empty);
        }
        // OpenSSL ends the session over a payload that is too long.
        if payload.len() > self.max_payload {
            return Err(SealError::TooLong { bytes: payload.len(), max: self.max_payload });
        }
        let result = self.stream.ssl_write(payload);
        let mut datagrams = self.stream.get_mut().take_datagrams(self.mtu);
        match (result, datagrams.pop()) {
            (Ok(_), Some(datagram)) if datagrams.is_empty() => {
                self.counters.sealed += 1;
                self.count_out(&datagram);
                Ok(datagram)
            }
            (Err(error), _) => {
                self.open = false;
                Err(SealError::OpenSsl(error.ssl_error().map(reason).unwrap_or_default()))
            }
            _ => {
                self.open = false;
                Err(SealError::OpenSsl("not one record".to_owned()))
            }
        }
    }

    /// What the records of a datagram from the server's address hold, in their order. Forged, repeated and misplaced ones
    /// are counted and give nothing. Afterwards send what [`Session::poll_send`] gives.
    pub fn open(&mut self, now: Duration, datagram: &[u8]) -> Vec<Event> {
        self.traffic.datagrams_in += 1;
        self.traffic.bytes_in += datagram.len() as u64;
        let mut events = self.take_early(now);
        for record in records(datagram) {
            self.open_record(now, &record, &mut events);
        }
        events
    }

    /// What came together with the end of the handshake. Call it once after the outcome; [`Session::open`] does so too.
    pub fn take_early(&mut self, now: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        for bytes in std::mem::take(&mut self.early) {
            for record in records(&bytes) {
                self.open_record(now, &record, &mut events);
            }
        }
        events
    }

    /// The next answer to send: `no_renegotiation`, the last flight once more, or the alert that ends the session.
    pub fn poll_send(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// Ends the session. The datagram with `close_notify` is to be sent once; an exported session can still be resumed.
    pub fn close(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        let _ = self.stream.shutdown();
        let datagram = self.stream.get_mut().take_datagrams(self.mtu).pop()?;
        self.count_out(&datagram);
        Some(datagram)
    }

    /// The session as bytes for [`ExportedSession::import`](crate::ExportedSession::import), with the master secret in
    /// them. `context`: digest of server, mode and credential, as the caller likes. `None` if the session must not be
    /// resumed: no extended master secret (P-21), no session id, or an authenticated fatal alert.
    #[must_use]
    pub fn export(&self, context: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        if !self.extended_master_secret || !self.resumable() {
            return None;
        }
        export::write(self.stream.ssl().session()?, context)
    }

    /// Longest payload of one record, in bytes: the agreed fragment length, or less if the datagram is shorter.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// The fragment length that the server confirmed; `None` if it does not know the extension.
    #[must_use]
    pub fn negotiated_fragment_length(&self) -> Option<FragmentLength> {
        self.fragment
    }

    /// The suite in use.
    #[must_use]
    pub fn negotiated_suite(&self) -> Suite {
        self.suite
    }

    /// Whether an earlier session was resumed.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Whether its keys are bound to the handshake (RFC 7627, P-38).
    #[must_use]
    pub fn extended_master_secret(&self) -> bool {
        self.extended_master_secret
    }

    /// When the server's certificate ends, in ms since 1970, if it was held against the clock (trust anchors): from then on
    /// the caller should close the session. A resumed one has the certificate of the session that it goes on from.
    #[must_use]
    pub fn ends_unix_ms(&self) -> Option<u64> {
        self.ends_unix_ms
    }

    /// Whether it can still be used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether keys are used up: too many failed authentications, or too many records sent (P-13). The caller makes a new
    /// session by a full handshake.
    #[must_use]
    pub fn should_renew(&self) -> bool {
        let forged = if self.suite.tag < 16 { FORGED_BUDGET_SHORT_TAG } else { FORGED_BUDGET };
        self.counters.forged >= forged || self.counters.sealed >= SEALED_BUDGET
    }

    /// What it has seen.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What went over the wire since the handshake.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn open_record(&mut self, now: Duration, record: &Record<'_>, events: &mut Vec<Event>) {
        if !self.open {
            return;
        }
        // Only its length tells what is in a handshake record.
        let is_request = record.body.len() == HELLO_REQUEST + self.suite.tag;
        let misplaced = record.epoch != 1 || !record.is_dtls_12();
        let unwanted = match record.content {
            APPLICATION_DATA | ALERT => false,
            HANDSHAKE => !is_request && self.repeats >= FINISHED_REPEATS,
            _ => true,
        };
        if misplaced || unwanted {
            self.counters.ignored += 1;
        } else if self.window.is_old(record.sequence) {
            self.counters.replayed += 1;
        } else if record.body.len() <= EXPLICIT_NONCE + self.suite.tag {
            // OpenSSL would end the session over a record that is too short to be authentic.
            self.counters.forged += 1;
        } else {
            self.stream.get_mut().push(record.bytes);
            let before = events.len();
            let authentic = self.read(record, events);
            if authentic {
                self.window.mark(record.sequence);
            } else {
                self.counters.forged += 1;
            }
            self.counters.opened +=
                events.iter().skip(before).filter(|event| matches!(event, Event::Data(_))).count() as u64;
            if authentic && record.content == HANDSHAKE {
                self.repeats += u32::from(!is_request);
                self.answer(now);
            } else {
                self.collect();
            }
        }
    }

    /// Lets OpenSSL read one record. Whether it was authentic.
    fn read(&mut self, record: &Record<'_>, events: &mut Vec<Event>) -> bool {
        let mut authentic = false;
        let mut plaintext = vec![0; record.body.len().max(1)];
        let ended = loop {
            match self.stream.ssl_read(&mut plaintext) {
                Ok(length) => {
                    authentic = true;
                    events.push(Event::Data(plaintext.get(..length).unwrap_or_default().to_vec()));
                }
                Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => break None,
                Err(error) => break Some(error),
            }
        };
        let (alert, message) =
            notes::of(self.stream.ssl()).map(|notes| (notes.take_alert(), notes.take_message())).unwrap_or_default();
        // A repeated Finished is answered without a word to the callback.
        authentic |= alert.is_some() || message || ended.is_some() || self.stream.get_ref().has_written();
        if let Some(error) = ended {
            self.open = false;
            let closed = match alert {
                Some((level, code)) if level == FATAL || code == 0 => Closed::ByAlert { code },
                _ => Closed::Protocol(error.ssl_error().map(reason).unwrap_or_default()),
            };
            self.killed = closed != Closed::ByAlert { code: 0 };
            events.push(Event::Closed(closed));
        }
        authentic
    }

    /// Lays ready the answer that OpenSSL wrote to a handshake record, if the last one is long enough ago; else it is
    /// dropped. OpenSSL has to see each of these records, because it counts their messages.
    fn answer(&mut self, now: Duration) {
        if self.last_answer.is_some_and(|last| now < last + ANSWER_GAP) {
            self.stream.get_mut().take_datagrams(self.mtu);
            self.counters.ignored += 1;
        } else if self.collect() {
            self.counters.answered += 1;
            self.last_answer = Some(now);
        }
    }

    /// Lays ready what OpenSSL wrote by itself. Whether there was something.
    fn collect(&mut self) -> bool {
        let datagrams = self.stream.get_mut().take_datagrams(self.mtu);
        let some = !datagrams.is_empty();
        for datagram in datagrams {
            self.count_out(&datagram);
            self.outgoing.push_back(datagram);
        }
        some
    }

    fn count_out(&mut self, datagram: &[u8]) {
        self.traffic.datagrams_out += 1;
        self.traffic.bytes_out += datagram.len() as u64;
    }

    fn resumable(&self) -> bool {
        self.stream.ssl().session().is_some_and(|session| !session.id().is_empty()) && !self.killed
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("suite", &self.suite.name)
            .field("resumed", &self.resumed)
            .field("open", &self.open)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
