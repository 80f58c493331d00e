//! The one clock: monotonic since the start of the process, and wall time as far as it can be trusted.

use crate::gateway::input::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// No wall clock before this is right: 2026-11-24, when this version was made. A gateway without a battery clock boots
/// in 1970 or at its image's date; until the network time is there, its clock is not trusted.
const NOT_BEFORE_UNIX_MS: u64 = 1_795_478_400_000;

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the monotonic clock is read")]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn now(&self) -> Now {
        let unix_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok());
        Now { mono: self.start.elapsed(), unix_ms: unix_ms.filter(|ms| *ms >= NOT_BEFORE_UNIX_MS) }
    }

    /// The instant of a time of this clock, for the runtime's timer.
    #[must_use]
    pub fn instant(&self, mono: Duration) -> Instant {
        self.start + mono
    }
}
