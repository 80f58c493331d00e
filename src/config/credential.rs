//! What a node proves itself with towards its server by DTLS (RFC 7925 §4.2 to §4.4).

use super::DtlsMode;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes that nobody may see. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Secret {
        Secret(bytes)
    }

    /// The bytes, for the library that works with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A node's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Pre-shared key.
    Psk {
        /// 1 to 128 bytes without NUL; any, not only text.
        identity: Vec<u8>,
        /// 16 to 64 bytes.
        key: Secret,
    },
    /// Raw public key.
    Rpk {
        /// The private key, PEM.
        key: Secret,
    },
    /// X.509 certificate.
    X509 {
        /// The certificate and the chain to it, PEM.
        certificate: Vec<u8>,
        /// Its private key, PEM.
        key: Secret,
    },
}

impl Credential {
    /// Its kind.
    #[must_use]
    pub fn mode(&self) -> DtlsMode {
        match self {
            Credential::Psk { .. } => DtlsMode::Psk,
            Credential::Rpk { .. } => DtlsMode::Rpk,
            Credential::X509 { .. } => DtlsMode::X509,
        }
    }

    /// Name of the kind, as in `/0/0/2` (LwM2M Core 1.1.1, object 0).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Credential::Psk { .. } => "psk",
            Credential::Rpk { .. } => "rpk",
            Credential::X509 { .. } => "x509",
        }
    }

    /// A digest (SHA-256) that is another one for any other credential: what is bound to it is of no use with another. It
    /// is to be kept as secret as a session, because a key can be tried against it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let (open, key): (&[u8], &Secret) = match self {
            Credential::Psk { identity, key } => (identity, key),
            Credential::Rpk { key } => (&[], key),
            Credential::X509 { certificate, key } => (certificate, key),
        };
        digest(&[self.kind().as_bytes(), open, key.expose()])
    }

    /// The same for this credential together with something else, such as the server that it is used with.
    #[must_use]
    pub fn bound_to(&self, parts: &[&[u8]]) -> [u8; 32] {
        let fingerprint = self.fingerprint();
        digest(&[&[fingerprint.as_slice()], parts].concat())
    }
}

/// SHA-256 of parts with their lengths, so that no part can pass for the end of another.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: &[u8]) -> Secret {
        Secret::new(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn s_11_debug_shows_no_byte_of_a_key() {
        let credential = Credential::Psk { identity: b"id".to_vec(), key: secret(&[0xab; 16]) };
        let shown = format!("{credential:?}");
        assert!(shown.contains("redacted") && !shown.contains("171") && !shown.contains("ab"), "{shown}");
    }

    #[test]
    fn s_21_the_fingerprint_changes_with_every_part() {
        let psk = |identity: &[u8], key: &[u8]| {
            Credential::Psk { identity: identity.to_vec(), key: secret(key) }.fingerprint()
        };
        let x509 = Credential::X509 { certificate: b"a".to_vec(), key: secret(b"bc") }.fingerprint();
        let all = [psk(b"a", b"bc"), psk(b"ab", b"c"), psk(b"a", b"bd"), psk(b"b", b"bc"), x509];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one), "{index}");
        }
        assert_eq!(psk(b"a", b"bc"), psk(b"a", b"bc"));
    }
}
