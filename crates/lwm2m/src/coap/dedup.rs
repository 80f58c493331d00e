//! Messages already seen, and what was answered (RFC 7252 §4.2, §4.5).

use core::time::Duration;

use super::message::Kind;
use super::reliable::{EXCHANGE_LIFETIME, NON_LIFETIME};

/// Messages remembered at most.
/// Counted: `messages_forgotten`, `requests_refused`.
pub const MAX_REMEMBERED: usize = 64;
/// Longer answers to safe requests are not kept: such a request is served again, which RFC 7252 §4.5 allows.
pub const MAX_KEPT_SAFE_ANSWER: usize = 128;

/// The recent messages of one peer. Bound: [`MAX_REMEMBERED`] entries; only the answers to requests that change something are
/// kept at full length, and those are short.
#[derive(Debug, Default)]
pub struct Dedup {
    entries: Vec<Entry>,
    forgotten: u64,
}

#[derive(Debug)]
struct Entry {
    message_id: u16,
    until: Duration,
    safe: bool,
    answer: Option<Vec<u8>>,
}

/// What is known about a message.
#[derive(Debug, PartialEq)]
pub enum Seen<'a> {
    /// Never seen: it is remembered now.
    New,
    /// Never seen, and it cannot be remembered: every entry belongs to a request that changed something. Serve it only if it
    /// is safe to repeat.
    NewUnremembered,
    /// Seen, and not answered yet.
    InProgress,
    /// Seen, and this was the answer.
    Answered(&'a [u8]),
}

impl Dedup {
    /// Looks a message up, and remembers it if it is new. `safe`: serving it twice does no harm (GET, responses).
    pub fn check(&mut self, now: Duration, kind: Kind, message_id: u16, safe: bool) -> Seen<'_> {
        self.entries.retain(|entry| entry.until > now);
        if let Some(index) = self.entries.iter().position(|entry| entry.message_id == message_id) {
            return match self.entries.get(index).and_then(|entry| entry.answer.as_deref()) {
                Some(answer) => Seen::Answered(answer),
                None => Seen::InProgress,
            };
        }
        if self.entries.len() >= MAX_REMEMBERED {
            match self.entries.iter().position(|entry| entry.safe) {
                Some(oldest) => {
                    self.entries.remove(oldest);
                    self.forgotten += 1;
                }
                None => return Seen::NewUnremembered,
            }
        }
        let lifetime = if kind == Kind::NonConfirmable { NON_LIFETIME } else { EXCHANGE_LIFETIME };
        self.entries.push(Entry { message_id, until: now.saturating_add(lifetime), safe, answer: None });
        Seen::New
    }

    /// The answer to replay when the message comes again.
    pub fn answered(&mut self, message_id: u16, bytes: &[u8]) {
        let Some(index) = self.entries.iter().position(|entry| entry.message_id == message_id) else { return };
        if self.entries.get(index).is_some_and(|entry| entry.safe) && bytes.len() > MAX_KEPT_SAFE_ANSWER {
            self.entries.remove(index);
        } else if let Some(entry) = self.entries.get_mut(index) {
            entry.answer = Some(bytes.to_vec());
        }
    }

    /// How many messages were forgotten early, because there were too many.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets everything: the peer of a new session numbers its messages anew.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::ZERO;

    /// C1
    #[test]
    fn c1_replays_the_answer_for_the_exchange_lifetime() {
        let mut dedup = Dedup::default();
        assert_eq!(dedup.check(T0, Kind::Confirmable, 1, false), Seen::New);
        assert_eq!(dedup.check(T0, Kind::Confirmable, 1, false), Seen::InProgress);
        dedup.answered(1, b"done");
        assert_eq!(dedup.check(Duration::from_secs(246), Kind::Confirmable, 1, false), Seen::Answered(b"done"));
        assert_eq!(dedup.check(Duration::from_secs(247), Kind::Confirmable, 1, false), Seen::New);
        assert_eq!(dedup.check(T0, Kind::NonConfirmable, 2, false), Seen::New);
        assert_eq!(dedup.check(Duration::from_secs(145), Kind::NonConfirmable, 2, false), Seen::New);
    }

    /// C1: a flood of reads pushes out no request that changed something; a flood of those stops being served.
    #[test]
    fn c1_the_table_is_bounded_and_never_forgets_a_change_early() {
        let mut dedup = Dedup::default();
        assert_eq!(dedup.check(T0, Kind::Confirmable, 0, false), Seen::New);
        for message_id in 1..1000 {
            assert_eq!(dedup.check(T0, Kind::Confirmable, message_id, true), Seen::New);
        }
        assert_eq!(dedup.entries.len(), MAX_REMEMBERED);
        assert_eq!(dedup.check(T0, Kind::Confirmable, 0, false), Seen::InProgress);
        for message_id in 1000..1000 + MAX_REMEMBERED as u16 - 1 {
            assert_eq!(dedup.check(T0, Kind::Confirmable, message_id, false), Seen::New);
        }
        assert_eq!(dedup.check(T0, Kind::Confirmable, 5000, false), Seen::NewUnremembered);
        assert_eq!(dedup.check(T0, Kind::Confirmable, 5001, true), Seen::NewUnremembered);
    }

    #[test]
    fn a_long_answer_to_a_read_is_not_kept() {
        let mut dedup = Dedup::default();
        dedup.check(T0, Kind::Confirmable, 1, true);
        dedup.answered(1, &[0; MAX_KEPT_SAFE_ANSWER + 1]);
        assert_eq!(dedup.check(T0, Kind::Confirmable, 1, true), Seen::New);
    }
}
