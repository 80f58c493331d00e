//! The session of one proxy: how datagrams pass, and by which local port. It asks the shell to open one the way that the
//! policy decided, and never sees keys or records. What opens below that way is not taken; a way that fails is tried
//! again later, never another one.

mod down;

pub use down::{Down, Reason};

use crate::config::DtlsMode;
use core::time::Duration;

/// Shortest and longest wait before a session that could not be opened is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How a session is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without security: the policy permits it.
    Clear,
    /// With DTLS.
    Dtls,
}

/// What secures an open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    Clear,
    /// DTLS 1.2.
    Dtls(Dtls),
}

/// What a handshake has agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dtls {
    /// Kind of credential.
    pub mode: DtlsMode,
    /// Cipher suite, by its IANA name.
    pub suite: String,
    /// An earlier session goes on: no keys were agreed upon anew (RFC 5246 §7.3).
    pub resumed: bool,
    /// Longest datagram that one record takes, in bytes (RFC 6066 §4).
    pub max_datagram: usize,
}

impl Security {
    /// The way that leads to it.
    #[must_use]
    pub fn way(&self) -> Way {
        match self {
            Security::Clear => Way::Clear,
            Security::Dtls(_) => Way::Dtls,
        }
    }

    /// Largest CoAP block whose message fits into a datagram with room for options, in bytes, at most 1024.
    #[must_use]
    pub fn max_block(&self) -> usize {
        const OPTIONS: usize = 256;
        match self {
            Security::Clear => 1024,
            Security::Dtls(dtls) => {
                let fits = |block: &usize| block + OPTIONS <= dtls.max_datagram;
                [1024, 512, 256, 128, 64, 32].into_iter().find(fits).unwrap_or(16)
            }
        }
    }
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// Local UDP port.
    pub local_port: u16,
    /// What secures it.
    pub security: Security,
}

/// Where the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// None; opened when the node speaks.
    Closed,
    /// The shell was asked for one.
    Opening(Way),
    /// Datagrams can pass.
    Open(Security),
    /// It could not be opened; tried again when the node speaks after this time.
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
    /// How the server was reached last, also before a restart.
    pub last_way: Way,
    /// Why it is not open, or was not before it opened.
    pub last_down: Option<Down>,
    failures: u32,
}

impl Session {
    /// A closed session that would like to have `local_port`, and was opened the way `last_way` before.
    #[must_use]
    pub fn new(local_port: Option<u16>, last_way: Way) -> Session {
        Session { state: State::Closed, local_port, last_way, last_down: None, failures: 0 }
    }

    /// Whether one may be asked for now.
    #[must_use]
    pub fn may_open(&self, now: Duration) -> bool {
        match self.state {
            State::Closed => true,
            State::Failed { until } => until <= now,
            State::Opening(_) | State::Open(_) => false,
        }
    }

    /// The shell is asked for one.
    pub fn opening(&mut self, way: Way) {
        self.state = State::Opening(way);
    }

    /// It is open. Gives whether the server knows us by another address or another session, so that a registration does not
    /// hold any more (LwM2M Transport 1.1.1 §6.4.3); `None` if it is not what was asked for, and must be closed.
    pub fn opened(&mut self, up: &Up) -> Option<bool> {
        if self.state != State::Opening(up.security.way()) {
            return None;
        }
        let goes_on = match &up.security {
            Security::Clear => self.local_port == Some(up.local_port),
            Security::Dtls(dtls) => dtls.resumed,
        };
        let is_new = !goes_on || self.last_way != up.security.way();
        self.state = State::Open(up.security.clone());
        self.local_port = Some(up.local_port);
        self.last_way = up.security.way();
        self.failures = 0;
        Some(is_new)
    }

    /// It could not be opened, or a fault ended it.
    pub fn failed(&mut self, now: Duration, down: Down) {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(16)).clamp(down.reason.least_wait(), RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Failed { until: now + wait };
        self.last_down = Some(down);
    }

    /// No datagram passes any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// What secures it, if datagrams can pass.
    #[must_use]
    pub fn security(&self) -> Option<&Security> {
        match &self.state {
            State::Open(security) => Some(security),
            State::Closed | State::Opening(_) | State::Failed { .. } => None,
        }
    }

    /// Whether datagrams can pass.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.security().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear(local_port: u16) -> Up {
        Up { local_port, security: Security::Clear }
    }

    fn dtls(resumed: bool) -> Up {
        let suite = "TLS_PSK_WITH_AES_128_CCM_8".into();
        Up {
            local_port: 4000,
            security: Security::Dtls(Dtls { mode: DtlsMode::Psk, suite, resumed, max_datagram: 512 }),
        }
    }

    fn open(session: &mut Session, way: Way, up: &Up) -> Option<bool> {
        session.opening(way);
        session.opened(up)
    }

    #[test]
    fn same_port_is_the_same_session_another_is_a_new_one() {
        let mut session = Session::new(Some(4000), Way::Clear);
        assert!(session.may_open(Duration::ZERO));
        assert_eq!(open(&mut session, Way::Clear, &clear(4000)), Some(false));
        assert!(!session.may_open(Duration::ZERO));
        session.close();
        assert_eq!(open(&mut session, Way::Clear, &clear(4001)), Some(true));
    }

    #[test]
    fn s_32_a_resumed_session_goes_on_and_a_full_handshake_or_another_way_does_not() {
        let mut session = Session::new(Some(4000), Way::Clear);
        assert_eq!(open(&mut session, Way::Dtls, &dtls(true)), Some(true), "the registration was made in clear");
        session.close();
        assert_eq!(open(&mut session, Way::Dtls, &dtls(true)), Some(false));
        session.close();
        assert_eq!(open(&mut session, Way::Dtls, &dtls(false)), Some(true));
        session.close();
        assert_eq!(open(&mut session, Way::Clear, &clear(4000)), Some(true));
    }

    #[test]
    fn s_03_what_opens_below_the_way_asked_for_is_not_taken() {
        let mut session = Session::new(None, Way::Dtls);
        assert_eq!(open(&mut session, Way::Dtls, &clear(4000)), None);
        assert!(!session.is_open());
        session.close();
        assert_eq!(session.opened(&dtls(false)), None, "nobody asked");
    }

    #[test]
    fn failures_back_off_up_to_five_minutes_and_wrong_keys_begin_at_one() {
        let waits = |reason: Reason| {
            let mut session = Session::new(None, Way::Dtls);
            let mut now = Duration::ZERO;
            let mut waits = Vec::new();
            for _ in 0..9 {
                assert!(session.may_open(now));
                session.failed(now, Down::new(reason, ""));
                let State::Failed { until } = session.state else { panic!("not failed") };
                assert!(!session.may_open(until - Duration::from_millis(1)));
                waits.push((until - now).as_secs());
                now = until;
            }
            waits
        };
        assert_eq!(waits(Reason::Socket), [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(waits(Reason::UnknownIdentity), [60, 60, 60, 60, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn s_17_blocks_leave_room_for_options_in_a_record() {
        let at = |max_datagram| {
            let Security::Dtls(dtls) = dtls(false).security else { panic!() };
            Security::Dtls(Dtls { max_datagram, ..dtls }).max_block()
        };
        assert_eq!([512, 1024, 2048, 4096, 16384].map(at), [256, 512, 1024, 1024, 1024]);
    }
}
