//! What is seen of this host, for the policy.

use crate::policy::facts::Facts;
use std::path::Path;
use std::time::Duration;

/// How often it is looked at.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Made by systemd-timesyncd when it has set the clock, in a directory of its own.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// The facts as they are now.
#[must_use]
pub fn host() -> Facts {
    let clock_synchronised = if Path::new(TIMESYNCD).exists() { Some(true) } else { kernel_synchronised() };
    Facts { clock_synchronised, ..Facts::default() }
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
    (state >= 0).then_some(state != nix::libc::TIME_ERROR && timex.status & nix::libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn s_03_the_kernel_says_whether_the_clock_is_in_step() {
        // Either way; a sandbox may forbid the question.
        let twice = (super::kernel_synchronised(), super::kernel_synchronised());
        assert_eq!(twice.0.is_some(), twice.1.is_some());
    }
}
