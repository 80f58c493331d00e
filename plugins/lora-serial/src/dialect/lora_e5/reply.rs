//! What the module says. Tolerant about spaces and case: firmware versions differ in both.

use lpwad_link::hex;

/// One line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+AT: OK`.
    Alive,
    Version(String),
    /// The line's idle timeout is set.
    Uart,
    TestMode,
    /// Radio settings are taken; the frequency that the module made of ours.
    Configured {
        freq_hz: u32,
    },
    Listening,
    Stopped,
    /// First line of a frame.
    Strength {
        len: usize,
        rssi_dbm: i16,
        snr_db: i16,
    },
    /// Second line of a frame, 1 to 255 bytes.
    Frame(Vec<u8>),
    /// A frame to send was taken.
    TxAccepted,
    TxDone,
    Busy,
    /// `ERROR(-n)` of any command.
    Error,
    /// Anything else.
    Other,
}

/// Understands a line.
pub(super) fn parse(text: &str) -> Reply {
    let text = text.trim().to_ascii_uppercase();
    let Some((name, rest)) = text.strip_prefix('+').and_then(|text| text.split_once(':')) else { return Reply::Other };
    let rest = rest.trim();
    if rest.contains("ERROR") {
        return Reply::Error;
    }
    if rest.contains("BUSY") {
        return Reply::Busy;
    }
    match name {
        "AT" if rest == "OK" => Reply::Alive,
        "VER" if !rest.is_empty() => Reply::Version(rest.to_string()),
        "UART" => Reply::Uart,
        "MODE" if rest == "TEST" => Reply::TestMode,
        "TEST" => test(rest).unwrap_or(Reply::Other),
        _ => Reply::Other,
    }
}

fn test(rest: &str) -> Option<Reply> {
    if let Some(data) = rest.strip_prefix("RX ").and_then(|rest| rest.trim().strip_prefix('"')?.strip_suffix('"')) {
        let data = hex::decode(data).ok()?;
        return (1..=255).contains(&data.len()).then_some(Reply::Frame(data));
    }
    if let Some(settings) = rest.strip_prefix("RFCFG") {
        let freq_hz = field(settings, "F")?.parse().ok()?;
        return Some(Reply::Configured { freq_hz });
    }
    if rest.starts_with("LEN") {
        let len = field(rest, "LEN")?.parse().ok()?;
        let (rssi_dbm, snr_db) = (field(rest, "RSSI")?.parse().ok()?, field(rest, "SNR")?.parse().ok()?);
        return Some(Reply::Strength { len, rssi_dbm, snr_db });
    }
    match rest {
        "STOP" => Some(Reply::Stopped),
        "RXLRPKT" => Some(Reply::Listening),
        "TX DONE" => Some(Reply::TxDone),
        _ if rest.starts_with("TXLRPKT") => Some(Reply::TxAccepted),
        _ => None,
    }
}

/// The value of `name:value` among others, separated by commas.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(',').find_map(|part| Some(part.trim().strip_prefix(name)?.strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let strength = Reply::Strength { len: 2, rssi_dbm: -41, snr_db: 9 };
        let configured = Reply::Configured { freq_hz: 868_125_000 };
        for (line, reply) in [
            ("+AT: OK", Reply::Alive),
            ("+VER: 4.0.11", Reply::Version("4.0.11".into())),
            ("+TEST: LEN:2, RSSI:-41, SNR:9", strength.clone()),
            ("+TEST: LEN: 2, RSSI: -41, SNR: 9", strength),
            ("+TEST: RX \"00A1\"", Reply::Frame(vec![0, 0xa1])),
            ("+TEST: RFCFG F:868125000, SF7, BW125K, TXPR:8", configured),
            ("+TEST: TXLRPKT \"00A1\"", Reply::TxAccepted),
            ("+TEST: TX DONE", Reply::TxDone),
            ("+TEST: ERROR(-12)", Reply::Error),
            ("+MODE: LWOTAA", Reply::Other),
            ("+TEST: RX \"\"", Reply::Other),
            ("+TEST: RX \"0\"", Reply::Other),
            ("+TEST: RX \"", Reply::Other),
            ("+TEST: LEN:-1, RSSI:-41, SNR:9", Reply::Other),
            ("+TEST: RFCFG F:99999999999", Reply::Other),
            ("", Reply::Other),
        ] {
            assert_eq!(parse(line), reply, "{line:?}");
        }
        assert_eq!(parse(&format!("+TEST: RX \"{}\"", "00".repeat(256))), Reply::Other);
    }
}
