//! Versions of the protocol: same major number talks to same major number; what is not known is tolerated.

/// Name of this protocol in `hello`.
pub const PROTOCOL: &str = "lpwad-link";
/// Version of this protocol that this crate speaks.
pub const VERSION: &str = "1.0.0";

/// Why a peer's `hello` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The peer speaks another protocol.
    #[error("peer speaks another protocol, not {PROTOCOL}")]
    Protocol,
    /// The version is not `MAJOR.MINOR.PATCH`.
    #[error("version is not of the form MAJOR.MINOR.PATCH")]
    Malformed,
    /// Another major version.
    #[error("peer speaks major version {theirs} of {PROTOCOL}, this side speaks {VERSION}")]
    Major {
        /// Major version of the peer.
        theirs: u32,
    },
}

/// Accepts `protocol` and `version` of a peer's `hello`: the major versions must be equal (semantic versioning 2.0.0,
/// item 8); minor and patch may differ, what they added is announced as a feature.
pub fn check(protocol: &str, version: &str) -> Result<(), Mismatch> {
    if protocol != PROTOCOL {
        return Err(Mismatch::Protocol);
    }
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    match (parts.as_slice(), version.split('.').count()) {
        ([1, _, _], 3) => Ok(()),
        ([theirs, _, _], 3) => Err(Mismatch::Major { theirs: *theirs }),
        _ => Err(Mismatch::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_major_is_accepted_and_anything_else_is_named() {
        assert_eq!(check(PROTOCOL, VERSION), Ok(()));
        assert_eq!(check(PROTOCOL, "1.9.3"), Ok(()));
        assert_eq!(check(PROTOCOL, "2.0.0"), Err(Mismatch::Major { theirs: 2 }));
        assert_eq!(check("other", "1.0.0"), Err(Mismatch::Protocol));
        for version in ["", "1", "1.0", "1.0.0.0", "1.x.0", "-1.0.0", "99999999999.0.0"] {
            assert_eq!(check(PROTOCOL, version), Err(Mismatch::Malformed), "{version}");
        }
    }
}
