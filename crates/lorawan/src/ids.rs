//! Identifiers. All are kept in the order people write them (most significant byte first); the air carries them reversed
//! (LoRaWAN 1.0.4 §1, conventions).

use std::fmt;
use std::str::FromStr;

/// Text that is not exactly the hex digits of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits")]
pub struct ParseIdError {
    /// How many digits the identifier has.
    pub digits: usize,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Reads exactly the hex digits, upper or lower case, without separators.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $len];
                hex_into(text, &mut bytes).ok_or(ParseIdError { digits: $len * 2 })?;
                Ok($name(bytes))
            }
        }
    };
}

identifier!(
    /// EUI-64 of an end device. Shown as 16 lower-case hex digits.
    DevEui, 8
);
identifier!(
    /// EUI-64 of the join server (AppEUI in LoRaWAN 1.0.0 to 1.0.3).
    JoinEui, 8
);
identifier!(
    /// 32-bit device address of one session; not unique.
    DevAddr, 4
);

/// Which radio of the gateway, as numbered by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RadioId(pub u16);

fn hex_into(text: &str, bytes: &mut [u8]) -> Option<()> {
    if text.len() != bytes.len() * 2 {
        return None;
    }
    let mut digits = text.chars().map(|c| c.to_digit(16));
    for byte in bytes {
        let value = digits.next()?? * 16 + digits.next()??;
        *byte = u8::try_from(value).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let eui: DevEui = "70B3d57ed0001234".parse().unwrap();
        assert_eq!(eui.0, [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0x00, 0x12, 0x34]);
        assert_eq!(eui.to_string(), "70b3d57ed0001234");
        assert_eq!("0102030g".parse::<DevAddr>(), Err(ParseIdError { digits: 8 }));
        assert_eq!("+1020304".parse::<DevAddr>(), Err(ParseIdError { digits: 8 }));
        assert_eq!("010203".parse::<DevAddr>(), Err(ParseIdError { digits: 8 }));
        assert_eq!("é1ø30ö".parse::<DevAddr>().ok(), None);
    }
}
