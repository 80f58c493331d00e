//! Pre-shared keys (RFC 7925 §4.2, S-39, P-01, P-02, P-05).

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::credential::CredentialError;

/// Bound: Shortest key, in bytes (P-42).
pub const KEY_MIN: usize = 16;
/// Longest key, in bytes (RFC 7925 §4.2).
pub const KEY_MAX: usize = 64;
/// Longest identity, in bytes (RFC 7925 §4.2).
pub const IDENTITY_MAX: usize = 128;

/// An identity and its key. Cloning shares the key.
#[derive(Clone)]
pub struct Psk(Arc<Parts>);

struct Parts {
    identity: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Psk {
    /// `identity`: 1 to 128 bytes without a NUL, opaque. `key`: 16 to 64 bytes.
    ///
    /// # Errors
    /// A length out of range, a NUL in the identity (OpenSSL would send what stands before it), or a key that is no
    /// secret: printable text, one byte repeated, or the identity itself.
    pub fn new(identity: &[u8], key: &[u8]) -> Result<Self, CredentialError> {
        if identity.is_empty() || identity.len() > IDENTITY_MAX {
            return Err(CredentialError::IdentityLength { bytes: identity.len() });
        }
        if identity.contains(&0) {
            return Err(CredentialError::IdentityHasNul);
        }
        if !(KEY_MIN..=KEY_MAX).contains(&key.len()) {
            return Err(CredentialError::KeyLength { bytes: key.len() });
        }
        if key == identity {
            return Err(CredentialError::KeyIsIdentity);
        }
        if key.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Err(CredentialError::KeyIsText);
        }
        if key.iter().all(|byte| Some(byte) == key.first()) {
            return Err(CredentialError::KeyIsOneByte);
        }
        Ok(Self(Arc::new(Parts { identity: identity.to_vec(), key: Zeroizing::new(key.to_vec()) })))
    }

    /// What the server is told in clear.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.0.identity
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// Writes identity, NUL and key to the buffers of OpenSSL. Length of the key, or 0 if something does not fit.
    pub(crate) fn fill(&self, identity: &mut [u8], key: &mut [u8]) -> usize {
        let wanted = self.identity();
        let Some((place, rest)) = identity.split_at_mut_checked(wanted.len()) else { return 0 };
        let Some(end) = rest.first_mut() else { return 0 };
        let Some(secret) = key.get_mut(..self.key().len()) else { return 0 };
        place.copy_from_slice(wanted);
        *end = 0;
        secret.copy_from_slice(self.key());
        secret.len()
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 256).unwrap()).collect()
    }

    #[test]
    fn s39_lengths_of_keys_and_identities() {
        for length in [16, 32, 64] {
            Psk::new(b"n", &key(length)).unwrap();
        }
        for length in [0, 1, 8, 15, 65] {
            assert_eq!(Psk::new(b"n", &key(length)).unwrap_err(), CredentialError::KeyLength { bytes: length });
        }
        for length in [1, 128] {
            Psk::new(&vec![0xFF; length], &key(16)).unwrap();
        }
        for length in [0, 129] {
            let error = Psk::new(&vec![b'a'; length], &key(16)).unwrap_err();
            assert_eq!(error, CredentialError::IdentityLength { bytes: length });
        }
        assert_eq!(Psk::new(b"a\0b", &key(16)).unwrap_err(), CredentialError::IdentityHasNul);
    }

    #[test]
    fn p02_a_word_or_an_id_is_no_key() {
        let id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        assert_eq!(Psk::new(&id, &id).unwrap_err(), CredentialError::KeyIsIdentity);
        assert_eq!(Psk::new(b"n", b"correct horse battery").unwrap_err(), CredentialError::KeyIsText);
        assert_eq!(Psk::new(b"n", b"00112233445566778899aabbccddeeff").unwrap_err(), CredentialError::KeyIsText);
        assert_eq!(Psk::new(b"n", &[0; 16]).unwrap_err(), CredentialError::KeyIsOneByte);
    }

    #[test]
    fn buffers_that_are_too_small_give_no_key() {
        let psk = Psk::new(b"node", &key(16)).unwrap();
        assert_eq!(psk.fill(&mut [0; 5], &mut [0; 16]), 16);
        assert_eq!(psk.fill(&mut [0; 4], &mut [0; 16]), 0);
        assert_eq!(psk.fill(&mut [0; 3], &mut [0; 16]), 0);
        assert_eq!(psk.fill(&mut [0; 5], &mut [0; 15]), 0);
    }

    #[test]
    fn s11_a_key_is_not_shown() {
        assert_eq!(format!("{:?}", Psk::new(b"n", &key(16)).unwrap()), "Psk(..)");
    }
}
