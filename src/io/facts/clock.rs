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

    /// Calls of systemd's group `@clock`, which is no part of `@system-service`.
    const CLOCK_CALLS: [(&str, nix::libc::c_long); 4] = [
        ("adjtimex", nix::libc::SYS_adjtimex),
        ("clock_adjtime", nix::libc::SYS_clock_adjtime),
        ("clock_settime", nix::libc::SYS_clock_settime),
        ("settimeofday", nix::libc::SYS_settimeofday),
    ];

    /// What the kernel says where all calls of [`CLOCK_CALLS`] but these are refused, as by a unit.
    fn asked_where_allowed(allowed: &[&str]) -> Option<bool> {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
        let refused = CLOCK_CALLS.iter().filter(|(name, _)| !allowed.contains(name));
        let rules = refused.map(|(_, call)| (*call, Vec::new())).collect();
        let refuse = SeccompAction::Errno(nix::libc::EPERM as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let program = BpfProgram::try_from(SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap());
        std::thread::scope(|threads| {
            let ask = || {
                // A filter is that of its thread.
                seccompiler::apply_filter(&program.unwrap()).unwrap();
                kernel_synchronised()
            };
            threads.spawn(ask).join().unwrap()
        })
    }

    #[test]
    fn s_03_the_unit_lets_the_question_through() {
        let unit = include_str!("../../../systemd/lpwad.service");
        let filters = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
        let allowed: Vec<&str> = filters.flat_map(str::split_whitespace).collect();
        assert!(allowed.contains(&"@system-service") && !allowed.contains(&"@clock"), "{allowed:?}");
        assert!(allowed.iter().all(|name| !name.starts_with('~')), "{allowed:?}");
        // It refuses all of `@clock` and takes the filter's place.
        assert!(!unit.lines().any(|line| line.starts_with("ProtectClock=")));
        assert_eq!(asked_where_allowed(&[]), None);
        assert!(asked_where_allowed(&allowed).is_some(), "{allowed:?}");
    }
}
