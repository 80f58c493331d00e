//! Which OpenSSL is linked, and whether its makers still mend it.

use lpwad_dtls::library::{self, Support};
use std::sync::OnceLock;

/// The version of lpwad and of the OpenSSL that is linked, for `--version`.
#[must_use]
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let unix_ms = super::Clock::start().now().unix_ms;
        let warning = warning(unix_ms).map(|warning| format!("\n{warning}")).unwrap_or_default();
        format!("{} with {}{warning}", env!("CARGO_PKG_VERSION"), library::version())
    })
}

/// The name and version of the linked library alone.
#[must_use]
pub fn name() -> &'static str {
    library::version()
}

/// What there is to be said of the linked library at this wall time; nothing without a trusted clock.
#[must_use]
pub fn warning(unix_ms: Option<u64>) -> Option<String> {
    match library::support(unix_ms?) {
        Support::Supported(_) => None,
        Support::Ended(branch) => {
            let ((major, minor), (year, month, day)) = (branch.version, branch.until);
            Some(format!(
                "OpenSSL {major}.{minor} is out of support since {year}-{month:02}-{day:02}: build with a newer one"
            ))
        }
        Support::Unknown => Some(format!(
            "{} is of a branch that this release does not know: see its makers for how long they mend it",
            library::version()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_library_and_an_end_of_support_is_said() {
        assert!(version().contains("OpenSSL 3."), "{}", version());
        assert_eq!(warning(None), None);
        // 2100-01-01
        let late = warning(Some(4_102_444_800_000)).unwrap();
        assert!(late.contains("out of support since 2"), "{late}");
    }
}
