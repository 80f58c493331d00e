//! Sealing at rest: what lies in the state directory is encrypted and bound to its place (XChaCha20-Poly1305, RFC 8439 with
//! the 192-bit nonce of draft-irtf-cfrg-xchacha). Why so: `docs/decisions/0016-sealing.md`.
//!
//! A sealed value is `version (1) | nonce (24) | ciphertext | tag (16)`.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Bytes of a sealing key.
pub const KEY_BYTES: usize = 32;
/// Bytes of salt that a [`Seal`] takes.
pub const SALT_BYTES: usize = 16;
/// How much longer a sealed value is.
pub const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + 16;

const NONCE_BYTES: usize = 24;
/// No JSON text begins with it.
const VERSION: u8 = 1;

/// Why a sealed value cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSeal {
    /// Sealed by a newer program.
    #[error("sealed in a form that this program does not know")]
    Version,
    /// Damaged, moved from another place, or sealed under another key; these cannot be told apart.
    #[error("damaged, moved, or sealed under another key")]
    Damaged,
}

/// Seals and opens values under one key.
pub struct Seal {
    cipher: XChaCha20Poly1305,
    salt: [u8; SALT_BYTES],
    count: AtomicU64,
}

impl Seal {
    /// `salt` must be drawn anew at every start: with the count of values it makes the nonce, and no nonce may come twice
    /// under one key.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES], salt: [u8; SALT_BYTES]) -> Seal {
        Seal { cipher: XChaCha20Poly1305::new(&Key::from(*key)), salt, count: AtomicU64::new(0) }
    }

    /// Seals `plain` for its place: `table` and `key` are authenticated, so that a value opens nowhere else.
    #[must_use]
    pub fn seal(&self, table: &str, key: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        let (salt, count) = nonce.split_at_mut(SALT_BYTES);
        salt.copy_from_slice(&self.salt);
        count.copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let payload = Payload { msg: plain, aad: &place(table, key) };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).expect("far below 256 GiB");
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// It does not open; nothing of it is given.
    pub fn open(&self, table: &str, key: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadSeal> {
        let (version, rest) = sealed.split_first().ok_or(BadSeal::Damaged)?;
        if *version != VERSION {
            return Err(BadSeal::Version);
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(BadSeal::Damaged)?;
        let payload = Payload { msg: sealed, aad: &place(table, key) };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| BadSeal::Damaged)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(redacted)")
    }
}

/// The associated data. The length keeps table and key apart.
fn place(table: &str, key: &[u8]) -> Vec<u8> {
    [b"lpwad seal", &[VERSION][..], &(table.len() as u64).to_be_bytes(), table.as_bytes(), key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: u8, salt: u8) -> Seal {
        Seal::new(&[key; KEY_BYTES], [salt; SALT_BYTES])
    }

    #[test]
    fn s_21_a_sealed_value_opens_in_its_place_and_nowhere_else() {
        let seal = seal(1, 2);
        let sealed = seal.seal("device", &[1; 8], b"secret");
        assert_eq!(sealed.len(), 6 + OVERHEAD_BYTES);
        assert_eq!(seal.open("device", &[1; 8], &sealed).unwrap().as_slice(), b"secret");
        for (table, key) in [("device", &[2; 8][..]), ("proxy", &[1; 8]), ("devic", &[1; 9]), ("device", &[1; 7])] {
            assert_eq!(seal.open(table, key, &sealed), Err(BadSeal::Damaged), "{table}");
        }
        assert_eq!(super::Seal::new(&[9; 32], [2; 16]).open("device", &[1; 8], &sealed), Err(BadSeal::Damaged));
    }

    #[test]
    fn s_21_a_flipped_bit_or_a_cut_is_rejected() {
        let seal = seal(1, 2);
        let sealed = seal.seal("session", b"node", &[7; 40]);
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let wanted = if bit < 8 { BadSeal::Version } else { BadSeal::Damaged };
            assert_eq!(seal.open("session", b"node", &bytes), Err(wanted), "bit {bit}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(seal.open("session", b"node", &sealed[..cut]), Err(BadSeal::Damaged));
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let (first, again) = (seal(1, 2), seal(1, 3));
        let sealed: Vec<Vec<u8>> = [&first, &first, &again].map(|seal| seal.seal("t", b"k", b"same")).into();
        assert!(sealed[0] != sealed[1] && sealed[1] != sealed[2] && sealed[0] != sealed[2]);
    }

    /// Made with HChaCha20 as in draft-irtf-cfrg-xchacha-03 §2.2 (checked with its vector) and the ChaCha20Poly1305 of
    /// pyca/cryptography 48: stores must stay readable.
    #[test]
    fn the_form_on_disk_is_as_it_was() {
        let sealed = "01404142434445464748494a4b4c4d4e4f50515253545556571cc53938ddfcd38b13136f4c0c099bb676c6f70357963e";
        let sealed = lpwad_link::hex::decode(sealed).unwrap();
        let opened = seal(0x11, 0).open("device", &[0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0x12, 0x34], &sealed);
        assert_eq!(opened.unwrap().as_slice(), b"{\"v\":1}");
    }
}
