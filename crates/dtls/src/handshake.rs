//! One handshake: datagrams and time in, datagrams and one outcome out.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream};

use crate::context::{ClientContext, Trust, reason};
use crate::credential::Credential;
use crate::export::ExportedSession;
use crate::failure::Failure;
use crate::ffi::{self, Timeout};
use crate::notes::{self, FATAL};
use crate::profile::{EARLY_RECORDS, FINISHED_MIN, FLIGHTS, Mode, SENDS};
use crate::record::{ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, records};
use crate::session::Session;
use crate::wire::Wire;
use crate::{alert, chain, reasons};

/// Part of our interval after which OpenSSL, which reads the wall clock, has to agree that it has passed: 7/8, which
/// leaves room for a clock that is being slewed (`docs/decisions/0014-dtls-timers.md`).
const OPENSSL_WAITS: (u64, u64) = (7, 8);

/// Bytes and datagrams of one handshake or session, without UDP and IP headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams handed out.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Datagrams taken in.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
}

/// A handshake under way. It may move between threads. Call [`Handshake::on_datagram`] and [`Handshake::on_timer`], and after
/// each of them send what [`Handshake::poll_send`] gives, and look for the outcome.
pub struct Handshake {
    setup: Setup,
    stream: Option<SslStream<Wire>>,
    outgoing: VecDeque<Vec<u8>>,
    outcome: Option<Result<Session, Failure>>,
    deadline: Option<Duration>,
    interval: Duration,
    sends: u32,
    flights: u32,
    early: u32,
    heard: bool,
    hint: Option<u8>,
    repetitions: u32,
    restarts: u32,
    traffic: Traffic,
}

/// What a handshake is begun with, and begun again.
struct Setup {
    context: ClientContext,
    credential: Credential,
    resume: Option<ExportedSession>,
    unix_ms: Option<u64>,
}

impl Setup {
    fn open(&self) -> Result<SslStream<Wire>, ErrorStack> {
        let settings = self.context.settings();
        let mut ssl = Ssl::new(self.context.ssl())?;
        let psk = match &self.credential {
            Credential::Psk(psk) => Some(psk.clone()),
            Credential::Rpk(_) | Credential::X509(_) => None,
        };
        notes::attach(&mut ssl, psk, openssl_us(Duration::from_millis(settings.timer_initial_ms.into())))?;
        ffi::set_callbacks(&mut ssl);
        ssl.set_mtu(settings.mtu.into())?;
        if let Some(name) = self.context.sni() {
            ssl.set_hostname(name)?;
        }
        match (&self.credential, &settings.trust) {
            (Credential::Rpk(key), Trust::Rpk(server)) => {
                ssl.set_private_key(key.openssl())?;
                ffi::expect_server_key(&mut ssl, server.openssl())?;
            }
            (Credential::X509(identity), Trust::X509(trust)) => {
                let mut chain = identity.chain().iter();
                if let Some(first) = chain.next() {
                    ssl.set_certificate(first)?;
                }
                for more in chain {
                    ssl.add_chain_cert(more.clone())?;
                }
                ssl.set_private_key(identity.key())?;
                let host = settings.server_name.as_deref().unwrap_or_default();
                chain::prepare(&mut ssl, trust, host, self.unix_ms)?;
            }
            _ => {}
        }
        if let Some(session) = &self.resume {
            ffi::set_session(&mut ssl, session.openssl())?;
        }
        ssl.set_connect_state();
        SslStream::new(ssl, Wire::default())
    }
}

fn openssl_us(interval: Duration) -> u32 {
    let (part, whole) = OPENSSL_WAITS;
    let us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).saturating_mul(part) / whole;
    u32::try_from(us).unwrap_or(u32::MAX)
}

impl Handshake {
    /// Begins at `now` (since any start, monotonic) and lays the first flight ready. A session in `resume` is offered; the
    /// server may ignore it, and then the handshake is a full one; it is not offered if the fragment length has been changed
    /// since, or if the server's certificate has expired. `unix_ms`: the wall time in milliseconds since 1970, if it is
    /// trusted; without it the dates of certificates are not looked at.
    ///
    /// # Errors
    /// [`Failure::Local`]: the credential is not of the context's mode, or OpenSSL refuses.
    pub fn start(
        context: &ClientContext,
        credential: &Credential,
        resume: Option<&ExportedSession>,
        now: Duration,
        unix_ms: Option<u64>,
    ) -> Result<Self, Failure> {
        if credential.mode() != context.mode() {
            return Err(Failure::Local("the credential is not of the mode of the server's settings".to_owned()));
        }
        let setup = Setup {
            context: context.clone(),
            credential: credential.clone(),
            resume: resume
                .filter(|session| session.agrees_with(context.settings().max_fragment_length))
                .filter(|session| !session.has_ended(&context.settings().trust, unix_ms))
                .map(ExportedSession::share),
            unix_ms,
        };
        let stream = setup.open().map_err(|error| local(&error))?;
        let mut handshake = Self {
            interval: Duration::from_millis(context.settings().timer_initial_ms.into()),
            setup,
            stream: Some(stream),
            outgoing: VecDeque::new(),
            outcome: None,
            deadline: None,
            sends: 0,
            flights: 0,
            early: 0,
            heard: false,
            hint: None,
            repetitions: 0,
            restarts: 0,
            traffic: Traffic::default(),
        };
        handshake.advance(now);
        match handshake.outcome.take() {
            Some(Err(failure)) => Err(failure),
            other => {
                handshake.outcome = other;
                Ok(handshake)
            }
        }
    }

    /// Takes in a datagram from the server's address. Rubbish is ignored. A plaintext alert is a hint and nothing more: it
    /// is believed at the next deadline, if nothing better has come until then (P-17).
    pub fn on_datagram(&mut self, now: Duration, datagram: &[u8]) {
        if self.stream.is_none() {
            return;
        }
        self.traffic.datagrams_in += 1;
        self.traffic.bytes_in += datagram.len() as u64;
        for record in records(datagram) {
            let Some(stream) = &mut self.stream else {
                // What follows the server's Finished.
                if let Some(Ok(session)) = &mut self.outcome {
                    session.push_early(record.bytes);
                }
                continue;
            };
            match (record.epoch, record.content) {
                (0, ALERT) => {
                    if let Some((level, code)) = record.plain_alert()
                        && (level == FATAL || code == 0)
                    {
                        self.hint.get_or_insert(code);
                    }
                    continue;
                }
                (0, HANDSHAKE | CHANGE_CIPHER_SPEC) => stream.get_mut().push(record.bytes),
                // Only what may be the server's Finished. Application data that overtakes it is left to the repetitions of
                // the peer; a record too short for its nonce and tag would end the handshake in OpenSSL.
                (1, HANDSHAKE)
                    if self.early < EARLY_RECORDS && record.is_dtls_12() && record.body.len() >= FINISHED_MIN =>
                {
                    self.early += 1;
                    stream.get_mut().push(record.bytes);
                }
                _ => continue,
            }
            self.advance(now);
        }
    }

    /// Repeats the flight, or fails, if the deadline has come; else does nothing.
    pub fn on_timer(&mut self, now: Duration) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if let Some(code) = self.hint {
            return self.fail(alert::meaning(self.setup.context.mode(), code));
        }
        if self.sends >= SENDS {
            return self.fail(self.silence());
        }
        let Some(stream) = &mut self.stream else { return };
        let cap = Duration::from_millis(self.setup.context.settings().timer_cap_ms.into());
        self.interval = (self.interval * 2).min(cap);
        if let Some(notes) = notes::of(stream.ssl()) {
            notes.set_next_us(openssl_us(self.interval));
        }
        let mut result = Ok(());
        match ffi::handle_timeout(stream) {
            Timeout::Repeated => self.repetitions += 1,
            // The wall clock was set back: OpenSSL would wait as long as it was set. A new hello comes in place of the
            // repetition, on the same schedule.
            Timeout::NotDue => {
                self.restarts += 1;
                result = self.setup.open().map(|stream| self.stream = Some(stream));
            }
            Timeout::Failed => return self.fail(Failure::Local("OpenSSL could not repeat the flight".to_owned())),
        }
        if let Err(error) = result {
            return self.fail(local(&error));
        }
        let (sends, interval) = (self.sends, self.interval);
        self.early = 0;
        self.advance(now);
        self.sends = sends + 1;
        self.interval = interval;
        if self.stream.is_some() {
            self.deadline = Some(now + interval);
        }
    }

    /// When [`Handshake::on_timer`] is to be called next; `None` once there is an outcome.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The next datagram to send.
    pub fn poll_send(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The outcome, once. Send first what [`Handshake::poll_send`] still gives: the last flight, or the alert that goes
    /// with a failure.
    pub fn take_outcome(&mut self) -> Option<Result<Session, Failure>> {
        self.outcome.take()
    }

    /// How often a flight was repeated, a new hello in place of a repetition included.
    #[must_use]
    pub fn repetitions(&self) -> u32 {
        self.repetitions + self.restarts
    }

    /// How often a step of the wall clock made it begin again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// What went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Lets OpenSSL go on as far as it can.
    fn advance(&mut self, now: Duration) {
        let Some(stream) = &mut self.stream else { return };
        let result = stream.do_handshake();
        let (began, heard) =
            notes::of(stream.ssl()).map(|notes| (notes.take_began(), notes.take_message())).unwrap_or_default();
        self.heard |= heard;
        let ended = match result {
            Ok(()) => Some(None),
            Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => None,
            Err(error) => Some(Some(reasons::meaning(self.setup.context.mode(), stream, &error))),
        };
        self.collect();
        match ended {
            Some(None) => self.succeed(),
            Some(Some(failure)) => self.fail(failure),
            None if began => self.flight_began(now),
            None => {}
        }
    }

    fn flight_began(&mut self, now: Duration) {
        self.flights += 1;
        if self.flights > FLIGHTS {
            return self.fail(Failure::Protocol { reason: "too many cookie requests".to_owned(), alert: None });
        }
        self.interval = Duration::from_millis(self.setup.context.settings().timer_initial_ms.into());
        self.deadline = Some(now + self.interval);
        self.sends = 1;
        self.early = 0;
        self.hint = None;
    }

    fn collect(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        for datagram in stream.get_mut().take_datagrams(self.setup.context.settings().mtu.into()) {
            self.traffic.datagrams_out += 1;
            self.traffic.bytes_out += datagram.len() as u64;
            self.outgoing.push_back(datagram);
        }
    }

    fn silence(&self) -> Failure {
        let keys_sent = self.stream.as_ref().is_some_and(|stream| stream.get_ref().keys_sent());
        if keys_sent && self.setup.context.mode() == Mode::Psk {
            Failure::ProbableWrongKey
        } else {
            Failure::NoAnswer { heard: self.heard }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.stream = None;
        self.deadline = None;
        self.outcome = Some(Err(failure));
    }

    fn succeed(&mut self) {
        self.deadline = None;
        let Some(stream) = self.stream.take() else { return };
        self.outcome = Some(Session::open_stream(stream, self.setup.context.settings()));
    }
}

fn local(error: &ErrorStack) -> Failure {
    Failure::Local(format!("OpenSSL: {}", reason(error)))
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("deadline", &self.deadline)
            .field("sends", &self.sends)
            .field("flights", &self.flights)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_and_sessions_move_between_threads() {
        fn moves<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}
        moves::<Handshake>();
        moves::<Session>();
        is_shared::<ClientContext>();
        is_shared::<Credential>();
        is_shared::<ExportedSession>();
    }

    #[test]
    fn openssl_waits_a_little_less_than_we_do() {
        assert_eq!(openssl_us(Duration::from_secs(9)), 7_875_000);
        assert_eq!(openssl_us(Duration::from_secs(600)), 525_000_000);
        assert_eq!(openssl_us(Duration::MAX), u32::MAX);
    }
}
