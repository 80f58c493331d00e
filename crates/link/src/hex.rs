//! Binary data on the wire is lower-case hex, so that a person can read a frame in the journal.

use serde::{Deserialize, Deserializer, Serializer};

/// Text that is not an even number of hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an even number of hex digits")]
pub struct BadHex;

/// `bytes` as lower-case hex digits.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Bytes of hex digits, upper or lower case, without separators.
pub fn decode(text: &str) -> Result<Vec<u8>, BadHex> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|d| d as u8).ok_or(BadHex);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(BadHex);
    }
    pairs
        .map(|pair| match pair {
            [high, low] => Ok(digit(*high)? << 4 | digit(*low)?),
            _ => Err(BadHex),
        })
        .collect()
}

/// For `#[serde(serialize_with)]` and `#[serde(with)]`.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

/// For `#[serde(deserialize_with)]` and `#[serde(with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    decode(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        assert_eq!(decode("00ffA5").unwrap(), [0, 255, 0xA5]);
        assert_eq!(encode(&[0, 255, 0xA5]), "00ffa5");
        assert!(decode("").unwrap().is_empty());
        for bad in ["0", "0g", "0x00", "é0", "+1"] {
            assert_eq!(decode(bad), Err(BadHex), "{bad}");
        }
    }
}
