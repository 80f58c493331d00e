//! What a node proves its identity with. Bytes come from the caller, which reads files; here they are checked.

use openssl::sha::Sha256;
use thiserror::Error;

use crate::chain::{CHAIN_MAX, CertificateProblem};
use crate::key::FILE_MAX;
use crate::profile::Mode;
use crate::psk::{IDENTITY_MAX, KEY_MAX, KEY_MIN, Psk};
use crate::rpk::RpkKey;
use crate::x509::X509Identity;

/// The credential of one node. Cloning shares the secret.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Identity and pre-shared key.
    Psk(Psk),
    /// Raw key pair.
    Rpk(RpkKey),
    /// Certificate and private key.
    X509(X509Identity),
}

impl Credential {
    /// The mode it serves.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::Psk(_) => Mode::Psk,
            Self::Rpk(_) => Mode::Rpk,
            Self::X509(_) => Mode::X509,
        }
    }

    /// Changes with any part of the credential: for [`Session::export`](crate::Session::export), so that a session is
    /// not resumed under another credential (S-21).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        match self {
            Self::Psk(psk) => digest(b"psk", [psk.identity(), psk.key()]),
            Self::Rpk(key) => digest(b"rpk", [&key.secret_der()[..]]),
            Self::X509(identity) => digest(b"x509", identity.parts().iter().map(|part| &part[..])),
        }
    }
}

pub(crate) fn digest<'a>(kind: &'a [u8], parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in [&b"lpwad-dtls"[..], kind].into_iter().chain(parts) {
        // No part is longer than 4 GiB: keys and certificates are bounded.
        sha.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        sha.update(part);
    }
    sha.finish()
}

/// Why a credential is refused. Never holds a byte of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// S-39.
    #[error("the identity has {bytes} bytes, but must have 1 to {IDENTITY_MAX}")]
    IdentityLength {
        /// Its length.
        bytes: usize,
    },
    /// OpenSSL takes an identity up to its first NUL.
    #[error("the identity contains a NUL byte")]
    IdentityHasNul,
    /// S-39, P-42.
    #[error("the key has {bytes} bytes, but must have {KEY_MIN} to {KEY_MAX}")]
    KeyLength {
        /// Its length.
        bytes: usize,
    },
    /// P-02.
    #[error("the key is the identity, which is no secret")]
    KeyIsIdentity,
    /// P-02.
    #[error("the key is printable text; a key is random bytes (was it hex that nobody decoded?)")]
    KeyIsText,
    /// P-02.
    #[error("the key is one byte repeated")]
    KeyIsOneByte,
    /// Nobody's key or chain is that long.
    #[error("the file has {bytes} bytes, more than the {FILE_MAX} that are read")]
    FileLength {
        /// Its length.
        bytes: usize,
    },
    /// It does not parse.
    #[error("not a private key in PEM or DER (PKCS #8 or SEC1)")]
    PrivateKeyForm,
    /// There is nobody to type the passphrase.
    #[error("the private key is encrypted; lpwad needs it without a passphrase, in a file that only it can read")]
    PrivateKeyEncrypted,
    /// It does not parse.
    #[error("not a public key in PEM or DER (SubjectPublicKeyInfo)")]
    PublicKeyForm,
    /// P-08, P-10.
    #[error("the key is not on the curve P-256 (secp256r1, prime256v1)")]
    NotP256,
    /// It does not parse.
    #[error("not a certificate in PEM or DER")]
    CertificateForm,
    /// The file holds none.
    #[error("no certificate in the file")]
    NoCertificate,
    /// A pinned certificate is one.
    #[error("{certificates} certificates where one is expected")]
    NotOneCertificate {
        /// How many there are.
        certificates: usize,
    },
    /// See [`CHAIN_MAX`].
    #[error("the chain has {certificates} certificates, more than {CHAIN_MAX}")]
    ChainLength {
        /// How many there are.
        certificates: usize,
    },
    /// The two do not belong together.
    #[error("the private key is not that of the certificate")]
    KeyOfAnother,
    /// Weaker than the profile allows.
    #[error("{0}")]
    Certificate(CertificateProblem),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_the_digest_changes_with_identity_and_key() {
        let of = |identity: &[u8], last| {
            let mut key = [7; 16];
            key[15] = last;
            Credential::Psk(Psk::new(identity, &key).unwrap()).digest()
        };
        assert_eq!(of(b"a", 1), of(b"a", 1));
        assert_ne!(of(b"a", 1), of(b"a", 2));
        assert_ne!(of(b"a", 1), of(b"b", 1));
    }
}
