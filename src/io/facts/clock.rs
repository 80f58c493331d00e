//! Whether something keeps the clock of this host in step.

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
