//! The time of a test: `now` is simulated, and so is the wall clock that OpenSSL reads in this process.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static OFFSET_US: Cell<i64> = const { Cell::new(0) };
}

/// In place of the libc's, in this test program only: the real time and what the thread has moved it by. OpenSSL calls
/// nothing else for its timer.
#[expect(unsafe_code, reason = "OpenSSL takes no clock; this is how a test gives it one")]
// SAFETY: same name, type and contract as gettimeofday(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(out: *mut libc::timeval, _zone: *mut libc::c_void) -> libc::c_int {
    let mut real = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `real` is valid for one write.
    if unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut real) } != 0 {
        return -1;
    }
    let us = real.tv_sec * 1_000_000 + real.tv_nsec / 1_000 + OFFSET_US.get();
    let value = libc::timeval { tv_sec: us.div_euclid(1_000_000), tv_usec: us.rem_euclid(1_000_000) };
    // SAFETY: the caller passes a pointer that is valid for one write.
    unsafe { out.write(value) };
    0
}

/// The clock of one test. It moves only when it is told to.
#[derive(Debug, Default)]
pub struct Clock {
    pub now: Duration,
}

impl Clock {
    /// Time passes.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        Self::step_wall(i64::try_from(by.as_micros()).unwrap());
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn step_wall(us: i64) {
        OFFSET_US.set(OFFSET_US.get() + us);
    }
}
