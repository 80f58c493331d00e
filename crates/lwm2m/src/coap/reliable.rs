//! One confirmable message at a time towards one peer: NSTART 1 (RFC 7252 §4.2, §4.7, §4.8).

use core::time::Duration;

use super::message::Message;
use super::token::{Rng, Token};

/// First wait for an acknowledgement, before the random factor.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// The first wait is up to this many times longer.
pub const ACK_RANDOM_FACTOR: f64 = 1.5;
/// Repetitions after the first transmission.
pub const MAX_RETRANSMIT: u8 = 4;
/// How long a separate response may take after the acknowledgement (MAX_TRANSMIT_WAIT, RFC 7252 §4.8.2).
pub const RESPONSE_WAIT: Duration = Duration::from_secs(93);
/// A message id is not used again, and a duplicate is recognised, for this long (EXCHANGE_LIFETIME, RFC 7252 §4.8.2).
pub const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// The same for non-confirmable messages (NON_LIFETIME, RFC 7252 §4.8.2).
pub const NON_LIFETIME: Duration = Duration::from_secs(145);

/// The one confirmable message that is not yet acknowledged (or answered), and what it is for.
#[derive(Debug)]
pub struct Reliable<P> {
    current: Option<Transmission<P>>,
}

#[derive(Debug)]
struct Transmission<P> {
    purpose: P,
    message_id: u16,
    token: Token,
    bytes: Vec<u8>,
    awaits_response: bool,
    acknowledged: bool,
    repeated: u8,
    interval: Duration,
    due: Duration,
}

/// What [`Reliable::tick`] wants.
#[derive(Debug, PartialEq)]
pub enum Due<P> {
    /// Nothing yet.
    Nothing,
    /// Send [`Reliable::bytes`] again.
    Retransmit,
    /// Nobody answered.
    TimedOut(P),
}

impl<P> Default for Reliable<P> {
    fn default() -> Reliable<P> {
        Reliable { current: None }
    }
}

impl<P> Reliable<P> {
    /// Nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// What the message in flight is for.
    pub fn purpose(&self) -> Option<&P> {
        self.current.as_ref().map(|current| &current.purpose)
    }

    /// Takes over a confirmable message and gives back its bytes, to be sent now. A message still in flight is forgotten.
    ///
    /// With `awaits_response` an empty acknowledgement is not the end: a response with the same token is.
    pub fn start(
        &mut self,
        now: Duration,
        message: &Message,
        purpose: P,
        awaits_response: bool,
        rng: &mut Rng,
    ) -> Vec<u8> {
        let interval = ACK_TIMEOUT.mul_f64(1.0 + rng.fraction() * (ACK_RANDOM_FACTOR - 1.0));
        let bytes = message.encode();
        self.current = Some(Transmission {
            purpose,
            message_id: message.message_id,
            token: message.token,
            bytes: bytes.clone(),
            awaits_response,
            acknowledged: false,
            repeated: 0,
            interval,
            due: now.saturating_add(interval),
        });
        bytes
    }

    /// An empty acknowledgement. Gives the purpose back if that was all there was to wait for.
    pub fn acknowledge(&mut self, now: Duration, message_id: u16) -> Option<P> {
        let current = self.current.as_mut().filter(|current| current.message_id == message_id)?;
        if current.awaits_response {
            if !current.acknowledged {
                current.acknowledged = true;
                current.due = now.saturating_add(RESPONSE_WAIT);
            }
            return None;
        }
        self.cancel()
    }

    /// A reset. Gives the purpose of the refused message back.
    pub fn reset(&mut self, message_id: u16) -> Option<P> {
        self.current.as_ref().filter(|current| current.message_id == message_id)?;
        self.cancel()
    }

    /// A response: piggybacked if it came in an acknowledgement, whose message id then counts too.
    pub fn respond(&mut self, token: Token, piggybacked: Option<u16>) -> Option<P> {
        self.current.as_ref().filter(|current| {
            current.awaits_response
                && current.token == token
                && piggybacked.is_none_or(|message_id| message_id == current.message_id)
        })?;
        self.cancel()
    }

    /// Forgets the message in flight.
    pub fn cancel(&mut self) -> Option<P> {
        self.current.take().map(|current| current.purpose)
    }

    /// When [`Reliable::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.current.as_ref().map(|current| current.due)
    }

    /// Repeats with doubled waits, then gives up: after at most 93 s (MAX_TRANSMIT_WAIT).
    pub fn tick(&mut self, now: Duration) -> Due<P> {
        let Some(current) = self.current.as_mut().filter(|current| current.due <= now) else { return Due::Nothing };
        if current.acknowledged || current.repeated >= MAX_RETRANSMIT {
            return self.cancel().map_or(Due::Nothing, Due::TimedOut);
        }
        current.repeated += 1;
        current.interval = current.interval.saturating_mul(2);
        current.due = now.saturating_add(current.interval);
        Due::Retransmit
    }

    /// The datagram in flight.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.current.as_ref().map(|current| current.bytes.as_slice())
    }

    /// Puts newer content in place of the message in flight; the repetitions so far still count (RFC 7641 §4.5.2).
    pub fn replace(&mut self, message: &Message) {
        if let Some(current) = &mut self.current {
            current.message_id = message.message_id;
            current.bytes = message.encode();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Code, Kind};
    use super::*;

    fn started(awaits_response: bool, seed: u64) -> (Reliable<&'static str>, Message) {
        let mut rng = Rng::new(seed);
        let message = Message::new(Kind::Confirmable, Code::POST, 7, rng.token());
        let mut reliable = Reliable::default();
        reliable.start(Duration::ZERO, &message, "register", awaits_response, &mut rng);
        (reliable, message)
    }

    /// C2: 2 to 3 s, doubled each time, four repetitions, silence for at most 93 s.
    #[test]
    fn c2_repeats_four_times_and_gives_up_within_93_s() {
        for seed in 0..50 {
            let (mut reliable, _) = started(true, seed);
            let mut waits = Vec::new();
            let mut now = Duration::ZERO;
            let end = loop {
                let due = reliable.deadline().unwrap();
                waits.push(due - now);
                now = due;
                assert_eq!(reliable.tick(now - Duration::from_nanos(1)), Due::Nothing);
                match reliable.tick(now) {
                    Due::Retransmit => {}
                    other => break other,
                }
            };
            assert_eq!(end, Due::TimedOut("register"));
            assert_eq!(waits.len(), 5);
            assert!(waits[0] >= ACK_TIMEOUT && waits[0] <= ACK_TIMEOUT.mul_f64(ACK_RANDOM_FACTOR), "{waits:?}");
            assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2));
            assert!(now <= Duration::from_secs(93));
            assert!(reliable.is_idle() && reliable.deadline().is_none());
        }
    }

    /// C2: an empty acknowledgement stops the repetitions; the separate response ends the exchange.
    #[test]
    fn c2_separate_response() {
        let (mut reliable, message) = started(true, 1);
        assert_eq!(reliable.acknowledge(Duration::from_secs(1), 7), None);
        assert_eq!(reliable.tick(Duration::from_secs(60)), Due::Nothing);
        assert_eq!(reliable.respond(Token::default(), None), None, "foreign token");
        assert_eq!(reliable.respond(message.token, None), Some("register"));

        let (mut reliable, _) = started(true, 1);
        reliable.acknowledge(Duration::from_secs(1), 7);
        assert_eq!(reliable.tick(Duration::from_secs(94)), Due::TimedOut("register"));
    }

    #[test]
    fn answers_to_other_messages_are_not_taken() {
        let (mut reliable, message) = started(false, 1);
        assert_eq!(reliable.acknowledge(Duration::ZERO, 8), None);
        assert_eq!(reliable.reset(8), None);
        assert_eq!(reliable.respond(message.token, Some(7)), None, "it awaits no response");
        assert_eq!(reliable.acknowledge(Duration::ZERO, 7), Some("register"));
        assert!(reliable.is_idle());
    }
}
