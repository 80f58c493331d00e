//! Base64 (RFC 4648 §4) for text, base64url without padding (§5) for SenML JSON.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Alphabet and padding.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Variant {
    /// `+/`, padded with `=`.
    Standard,
    /// `-_`, no padding.
    UrlUnpadded,
}

pub(super) fn encode(bytes: &[u8], variant: Variant) -> String {
    let alphabet = if variant == Variant::Standard { STANDARD } else { URL };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * position)) as usize & 0x3f;
            text.extend(alphabet.get(index).map(|byte| char::from(*byte)));
        }
        if variant == Variant::Standard {
            text.extend(core::iter::repeat_n('=', 3 - chunk.len()));
        }
    }
    text
}

/// `None` for foreign characters, a wrong length, missing or superfluous padding, or bits left over that are not zero.
pub(super) fn decode(text: &str, variant: Variant) -> Option<Vec<u8>> {
    let digits = match variant {
        Variant::Standard if !text.len().is_multiple_of(4) => return None,
        Variant::Standard => text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text),
        Variant::UrlUnpadded => text,
    };
    let alphabet = if variant == Variant::Standard { STANDARD } else { URL };
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for digit in chunk {
            bits = (bits << 6) | alphabet.iter().position(|byte| byte == digit)? as u32;
        }
        let (count, rest_bits) = match chunk.len() {
            4 => (3, 0),
            3 => (2, 2),
            2 => (1, 4),
            _ => return None,
        };
        if bits & ((1 << rest_bits) - 1) != 0 {
            return None;
        }
        let [_, high, mid, low] = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        bytes.extend([high, mid, low].into_iter().take(count));
    }
    let padded = text.len() - digits.len();
    let expected = if variant == Variant::Standard { (3 - bytes.len() % 3) % 3 } else { 0 };
    (padded == expected).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10
    #[test]
    fn rfc4648_test_vectors() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes(), Variant::Standard), text);
            assert_eq!(decode(text, Variant::Standard).as_deref(), Some(plain.as_bytes()));
            let unpadded = text.trim_end_matches('=');
            assert_eq!(encode(plain.as_bytes(), Variant::UrlUnpadded), unpadded);
            assert_eq!(decode(unpadded, Variant::UrlUnpadded).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn text_that_is_not_canonical_is_refused() {
        for text in ["Zg", "Zg=", "Zg===", "Zh==", "Z===", "====", "Zm9v====", "Zm 9", "Zm-_", "="] {
            assert_eq!(decode(text, Variant::Standard), None, "{text:?}");
        }
        for text in ["Z", "Zg==", "+w", "Zh"] {
            assert_eq!(decode(text, Variant::UrlUnpadded), None, "{text:?}");
        }
        assert_eq!(decode("-_8", Variant::UrlUnpadded), Some(vec![0xfb, 0xff]));
    }
}
