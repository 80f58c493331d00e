//! Tokens and the one source of pseudo-randomness of a client.

use core::fmt;

/// A CoAP token, 0 to 8 bytes (RFC 7252 §5.3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Token {
    len: u8,
    bytes: [u8; 8],
}

impl Token {
    /// `None` for more than 8 bytes.
    pub fn new(token: &[u8]) -> Option<Token> {
        let mut bytes = [0; 8];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Token { len: u8::try_from(token.len()).ok()?, bytes })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). The seed comes from the caller.
///
/// Tokens only have to be unguessable for somebody who sees no message of this client (RFC 7252 §5.3.1, §11.4); whoever does
/// see them is kept out by DTLS, not by this generator.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same run.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly spread from 0 up to and without 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A token of 8 bytes.
    pub fn token(&mut self) -> Token {
        Token { len: 8, bytes: self.next_u64().to_be_bytes() }
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs for seed 1234567, as listed in the Rosetta Code task "Pseudo-random numbers/Splitmix64".
    #[test]
    fn splitmix64_known_answers() {
        let mut rng = Rng::new(1234567);
        assert_eq!(rng.next_u64(), 6457827717110365317);
        assert_eq!(rng.next_u64(), 3203168211198807973);
    }

    /// C3
    #[test]
    fn tokens_take_up_to_eight_bytes() {
        assert_eq!(Token::new(&[]).unwrap().as_bytes(), &[] as &[u8]);
        assert_eq!(Token::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap().as_bytes().len(), 8);
        assert_eq!(Token::new(&[0; 9]), None);
        assert_eq!(Rng::new(1).token().as_bytes().len(), 8);
    }
}
