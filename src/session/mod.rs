//! The session of one proxy: whether datagrams can pass, and by which local port. It asks the shell to open a socket and
//! never sees keys or records. This version knows NoSec only.

use core::time::Duration;

/// Shortest and longest wait before a socket that could not be opened is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Where the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No socket; opened when the node speaks and the policy permits.
    Closed,
    /// The shell was asked.
    Opening,
    /// Datagrams can pass.
    Open,
    /// The socket could not be opened; tried again when the node speaks after this time.
    Failed {
        /// Not before.
        until: Duration,
    },
}

/// The session of one proxy.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where it stands.
    pub state: State,
    /// The local UDP port of this proxy, kept over restarts where possible.
    pub local_port: Option<u16>,
    failures: u32,
}

impl Session {
    /// A closed session that would like to have `local_port`.
    #[must_use]
    pub fn new(local_port: Option<u16>) -> Session {
        Session { state: State::Closed, local_port, failures: 0 }
    }

    /// Whether the shell should be asked to open a socket now; then the session is `Opening`.
    pub fn want_open(&mut self, now: Duration) -> bool {
        let want = match self.state {
            State::Closed => true,
            State::Failed { until } => until <= now,
            State::Opening | State::Open => false,
        };
        if want {
            self.state = State::Opening;
        }
        want
    }

    /// The socket is open at `local_port`; gives whether the server knows us by another address (LwM2M Transport 1.1.1
    /// §6.4.3: then the client registers again).
    pub fn opened(&mut self, local_port: u16) -> bool {
        let is_new = self.local_port != Some(local_port);
        self.state = State::Open;
        self.local_port = Some(local_port);
        self.failures = 0;
        is_new
    }

    /// The socket could not be opened.
    pub fn failed(&mut self, now: Duration) {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(16)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Failed { until: now + wait };
    }

    /// No datagram passes any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Whether datagrams can pass.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_port_is_the_same_session_another_is_a_new_one() {
        let mut session = Session::new(Some(4000));
        assert!(session.want_open(Duration::ZERO) && !session.want_open(Duration::ZERO));
        assert!(!session.opened(4000));
        session.close();
        assert!(session.want_open(Duration::ZERO) && session.opened(4001));
    }

    #[test]
    fn failures_back_off_up_to_five_minutes() {
        let mut session = Session::new(None);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert!(session.want_open(now));
            session.failed(now);
            let State::Failed { until } = session.state else { panic!("not failed") };
            assert!(!session.want_open(until - Duration::from_millis(1)));
            waits.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
