//! Whether something keeps the clock of this host in step.

use nix::libc::{STA_UNSYNC, TIME_ERROR, c_int};
use std::path::Path;

/// Made by systemd-timesyncd when it has set the clock, in a directory of its own.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// By the flag of systemd-timesyncd, else by the kernel; `None`: nobody says.
pub(super) fn synchronised() -> Option<bool> {
    if Path::new(TIMESYNCD).exists() { Some(true) } else { kernel_synchronised() }
}

/// Whether the kernel says that something keeps its clock in step (`adjtimex` without `STA_UNSYNC`); `None`: it does not
/// say.
fn kernel_synchronised() -> Option<bool> {
    #[expect(unsafe_code, reason = "no package that is in use here wraps this call")]
    // SAFETY: all zeros is a valid `timex`, with no mode set: the call only reads, and writes no more than the struct.
    let (state, timex) = unsafe {
        let mut timex: nix::libc::timex = std::mem::zeroed();
        (nix::libc::adjtimex(&mut timex), timex)
    };
    in_step(state, timex.status)
}

/// What the state that `adjtimex` gives (negative: it failed) and the bits of its status mean.
fn in_step(state: c_int, status: c_int) -> Option<bool> {
    (state >= 0).then_some(state != TIME_ERROR && status & STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::{STA_NANO, STA_PLL, TIME_INS, TIME_OK};

    #[test]
    fn s_03_the_kernel_says_whether_the_clock_is_in_step() {
        assert_eq!(in_step(TIME_OK, STA_PLL | STA_NANO), Some(true));
        assert_eq!(in_step(TIME_INS, STA_PLL), Some(true), "a leap second is to come");
        assert_eq!(in_step(TIME_OK, STA_PLL | STA_UNSYNC), Some(false));
        assert_eq!(in_step(TIME_ERROR, STA_PLL), Some(false));
        assert_eq!(in_step(TIME_ERROR, STA_UNSYNC), Some(false), "nothing has set it since the start");
        assert_eq!(in_step(-1, 0), None, "a sandbox may forbid the question");
    }
}
