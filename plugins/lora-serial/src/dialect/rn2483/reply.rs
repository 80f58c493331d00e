//! What the module says.

use lpwad_link::hex;

/// Oldest firmware with `radio rxstop` and `radio get rssi`.
pub(super) const OLDEST_FIRMWARE: (u32, u32, u32) = (1, 0, 5);
/// The same for people.
pub(super) const OLDEST_FIRMWARE_NAME: &str = "1.0.5";

/// One line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Busy,
    InvalidParam,
    RadioErr,
    TxOk,
    /// A frame, 1 to 255 bytes.
    Frame(Vec<u8>),
    /// Answer to a `get`, or to `mac pause`.
    Number(i64),
    /// What the module says after a reset and to `sys get ver`.
    Version(Version),
    /// Anything else.
    Other,
}

/// Model and firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) line: String,
    pub(super) is_rn2903: bool,
    pub(super) firmware: String,
    pub(super) is_new_enough: bool,
}

impl Version {
    pub(super) fn freq_ranges_hz(&self) -> Vec<[u32; 2]> {
        if self.is_rn2903 {
            vec![[902_000_000, 928_000_000]]
        } else {
            vec![[433_050_000, 434_790_000], [863_000_000, 870_000_000]]
        }
    }
}

/// Reads one line. Fields may be separated by more than one space: `radio_rx` has two.
pub(super) fn parse(text: &str) -> Reply {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["ok"] => Reply::Ok,
        ["busy"] => Reply::Busy,
        ["invalid_param"] => Reply::InvalidParam,
        ["radio_err"] => Reply::RadioErr,
        ["radio_tx_ok"] => Reply::TxOk,
        ["radio_rx", data] => match hex::decode(data) {
            Ok(data) if (1..=255).contains(&data.len()) => Reply::Frame(data),
            _ => Reply::Other,
        },
        [number] => number.parse().map_or(Reply::Other, Reply::Number),
        [model @ ("RN2483" | "RN2903"), firmware, ..] => {
            // A greeting that was cut off by the next answer is no version.
            let parts: Option<Vec<u32>> = firmware.split('.').map(|part| part.parse().ok()).collect();
            let Some(parts) = parts else { return Reply::Other };
            let is_new_enough = match parts.as_slice() {
                [major, minor, patch] => (*major, *minor, *patch) >= OLDEST_FIRMWARE,
                _ => false,
            };
            Reply::Version(Version {
                line: text.to_string(),
                is_rn2903: *model == "RN2903",
                firmware: (*firmware).to_string(),
                is_new_enough,
            })
        }
        _ => Reply::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        assert_eq!(parse("RN2483 1RN2483 1.0.5 Oct 31 2018 15:06:52"), Reply::Other);
        assert_eq!(parse("radio_rx  40FF"), Reply::Frame(vec![0x40, 0xff]));
        assert_eq!(parse("radio_rx 40FF"), Reply::Frame(vec![0x40, 0xff]));
        assert_eq!(parse("4294967245"), Reply::Number(4_294_967_245));
        assert_eq!(parse("-128"), Reply::Number(-128));
        for other in ["", "radio_rx", "radio_rx  4", "radio_rx  40 FF", "okay", "OK", "sys reset"] {
            assert_eq!(parse(other), Reply::Other, "{other:?}");
        }
        assert_eq!(parse(&format!("radio_rx  {}", "00".repeat(256))), Reply::Other);
        for (line, new_enough) in [
            ("RN2483 1.0.5 Oct 31 2018 15:06:52", true),
            ("RN2903 1.0.5 Nov 06 2018 10:45:27", true),
            ("RN2483 1.1.0 x", true),
            ("RN2483 1.0.4 Oct 12 2017 14:59:25", false),
            ("RN2483 0.9.5 x", false),
            ("RN2483 1.0 x", false),
        ] {
            let Reply::Version(version) = parse(line) else { panic!("{line}") };
            assert_eq!((version.is_new_enough, version.line.as_str()), (new_enough, line));
        }
    }
}
