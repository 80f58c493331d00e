//! Which OpenSSL is linked, and until when its makers mend it.

use crate::ffi;

/// A branch of OpenSSL and the last day of its support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Major and minor version.
    pub version: (u32, u32),
    /// Year, month, day.
    pub until: (u32, u32, u32),
    /// Whether it is a long-term branch.
    pub long_term: bool,
}

/// The day this table was last compared with <https://openssl-library.org/policies/releasestrat/>: year, month, day.
pub const CHECKED: (u32, u32, u32) = (2026, 11, 25);

/// The branches that have raw public keys.
pub const BRANCHES: [Branch; 6] = [
    Branch { version: (3, 2), until: (2025, 11, 23), long_term: false },
    Branch { version: (3, 3), until: (2026, 4, 9), long_term: false },
    Branch { version: (3, 4), until: (2026, 10, 22), long_term: false },
    Branch { version: (3, 5), until: (2030, 4, 8), long_term: true },
    Branch { version: (3, 6), until: (2026, 11, 1), long_term: false },
    Branch { version: (4, 0), until: (2027, 5, 14), long_term: false },
];

/// Whether a version is supported at a given day. A distribution may mend its own copy for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Supported(Branch),
    /// Its support has ended.
    Ended(Branch),
    /// Its branch is not in [`BRANCHES`]: newer than this release of lpwad, or too old.
    Unknown,
}

/// The name and version of the library that is linked, for example `OpenSSL 3.5.5 27 Jan 2026`.
#[must_use]
pub fn version() -> &'static str {
    ffi::init();
    openssl::version::version()
}

/// Major, minor and patch of the library that is linked.
#[must_use]
pub fn number() -> (u32, u32, u32) {
    ffi::init();
    // OPENSSL_VERSION_NUMBER(3): 0xMNN00PP0.
    let number = u32::try_from(openssl::version::number()).unwrap_or_default();
    (number >> 28, number >> 20 & 0xFF, number >> 4 & 0xFF)
}

/// Whether the library that is linked is supported at `unix_ms`.
#[must_use]
pub fn support(unix_ms: u64) -> Support {
    let (major, minor, _) = number();
    support_of((major, minor), unix_ms)
}

/// The same for any branch.
#[must_use]
pub fn support_of(version: (u32, u32), unix_ms: u64) -> Support {
    match BRANCHES.into_iter().find(|branch| branch.version == version) {
        None => Support::Unknown,
        Some(branch) if date(unix_ms) <= branch.until => Support::Supported(branch),
        Some(branch) => Support::Ended(branch),
    }
}

/// Year, month and day of a time, in the Gregorian calendar.
fn date(unix_ms: u64) -> (u32, u32, u32) {
    // Days since 1 March of the year 0, so that a leap day is the last of its year.
    let days = unix_ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    (small(year), small(month), small(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(951_782_400_000), (2000, 2, 29));
        assert_eq!(date(951_782_400_000 + DAY), (2000, 3, 1));
        assert_eq!(date(1_798_675_200_000), (2026, 12, 31));
        assert_eq!(date(1_798_675_200_000 + DAY), (2027, 1, 1));
        assert_eq!(date(4_107_542_400_000), (2100, 3, 1), "2100 is no leap year");
    }

    #[test]
    fn a_branch_is_supported_until_its_last_day() {
        let last = 1_793_491_200_000; // 2026-11-01
        assert_eq!(support_of((3, 6), last + DAY - 1), Support::Supported(BRANCHES[4]));
        assert_eq!(support_of((3, 6), last + DAY), Support::Ended(BRANCHES[4]));
        assert_eq!(support_of((3, 0), last), Support::Unknown);
        assert_eq!(support_of((9, 9), last), Support::Unknown);
    }

    #[test]
    fn the_linked_library_is_in_the_table_and_was_supported_when_the_table_was_checked() {
        assert!(version().starts_with("OpenSSL "), "{}", version());
        let (major, minor, _) = number();
        let branch = BRANCHES.into_iter().find(|branch| branch.version == (major, minor));
        assert!(branch.is_some_and(|branch| branch.until > CHECKED), "{} {branch:?}", version());
    }
}
