//! A dialect of `lora-serial` against a modem that answers anything: a script of lines.

use lpwad_link::units::LoraDr;
use lpwad_lora_serial::modem::{Output, RadioConfig, TxRequest, dialect};
use std::collections::BTreeSet;
use std::time::Duration;

/// Outputs of one step at most.
const MAX_OUTPUTS: usize = 400;
/// Steps of one script at most.
const MAX_STEPS: usize = 2_000;

/// Runs the dialect `name` against a script of at most 2,000 lines: `!t` lets time pass to the deadline, `!s` half a
/// second, `!x` orders a transmission, `!b` sends the rest of the line without an end; any other line is the modem's.
///
/// # Panics
/// The dialect breaks a promise: two ends of one transmission, an end of one that was not ordered, `Ready` twice, outputs
/// without end, a deadline that does not move.
pub fn run(name: &str, script: &[u8]) {
    let Some(info) = dialect(name) else { panic!("there is no dialect {name}") };
    let dr = LoraDr { sf: 7, bw_hz: 125_000 };
    let mut modem = (info.new)(RadioConfig {
        freq_hz: 868_100_000,
        dr,
        baud: info.baud,
        rx_offset: Duration::from_millis(2),
        tx_offset: Duration::from_millis(2),
        max_dbm: 14,
    });
    let mut now = Duration::from_secs(1);
    let (mut ordered, mut done, mut ready) = (0, BTreeSet::new(), 0);
    modem.start(now);
    for line in script.split(|byte| *byte == b'\n').take(MAX_STEPS) {
        let mut ticked = None;
        match line {
            b"!t" => {
                if let Some(deadline) = modem.deadline() {
                    now = now.max(deadline);
                    modem.tick(now);
                    ticked = Some(deadline);
                }
            }
            b"!s" => {
                now += Duration::from_millis(500);
                modem.tick(now);
            }
            b"!x" => {
                ordered += 1;
                let request = TxRequest {
                    id: ordered,
                    at: now + Duration::from_secs(2),
                    freq_hz: 869_525_000,
                    dr,
                    dbm: 14.0,
                    iq_inverted: true,
                    data: vec![0x60; 20],
                };
                modem.handle_tx(now, request);
            }
            [b'!', b'b', bytes @ ..] => modem.handle_bytes(now, bytes),
            line => modem.handle_bytes(now, &[line, b"\r\n"].concat()),
        }
        now += Duration::from_millis(1);
        let mut outputs = 0;
        while let Some(output) = modem.poll() {
            outputs += 1;
            assert!(outputs <= MAX_OUTPUTS, "outputs without end");
            match output {
                Output::TxDone { id, .. } => {
                    assert!(
                        (1..=ordered).contains(&id) && done.insert(id),
                        "transmission {id} ends twice or never began"
                    );
                }
                Output::Ready { .. } => ready += 1,
                Output::Rx(frame) => assert!((1..=255).contains(&frame.data.len()), "{} bytes", frame.data.len()),
                _ => {}
            }
        }
        assert!(ready <= 1, "ready twice");
        assert!(ticked.is_none() || outputs > 0 || modem.deadline() != ticked, "the deadline does not move");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lpwad_lora_serial::modem::DIALECTS;

    #[test]
    fn whatever_a_modem_answers_the_promises_are_kept() {
        // SplitMix64, so that a failure can be repeated.
        let mut state = 7u64;
        let mut next = |limit: usize| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed >> 33) as usize % limit
        };
        let words: [&[u8]; 24] = [
            b"!t",
            b"!t",
            b"!t",
            b"!s",
            b"!x",
            b"",
            b"ok",
            b"invalid_param",
            b"busy",
            b"4294967245",
            b"RN2483 1.0.5 Mar 06 2018",
            b"radio_rx  4011",
            b"radio_tx_ok",
            b"radio_err",
            b"+AT: OK",
            b"+VER: 4.0.11",
            b"+UART: TIMEOUT, 0",
            b"+MODE: TEST",
            b"+TEST: RFCFG F:868100000, SF7, BW125K, TXPR:8, RXPR:8, POW:14dBm, CRC:ON, IQ:OFF, NET:ON",
            b"+TEST: RXLRPKT",
            b"+TEST: LEN:2, RSSI:-41, SNR:9",
            b"+TEST: RX \"00A1\"",
            b"+TEST: TX DONE",
            b"!b\xff\x00+TEST",
        ];
        for info in DIALECTS {
            for _ in 0..300 {
                let mut script = Vec::new();
                for _ in 0..next(120) {
                    script.extend_from_slice(words[next(words.len())]);
                    script.push(b'\n');
                }
                run(info.name, &script);
            }
        }
    }
}
