//! Root and session keys.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// An AES-128 key. Wiped when dropped, never shown.
///
/// The copies that the cipher makes while it works on a frame are not wiped (`lrwn` keeps keys in plain arrays).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 16]);

impl Key {
    /// Takes the 16 key bytes.
    pub fn new(bytes: [u8; 16]) -> Key {
        Key(bytes)
    }

    /// The 16 key bytes, for the store and the cipher.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Key::new([0xab; 16])), "Key(redacted)");
    }
}
