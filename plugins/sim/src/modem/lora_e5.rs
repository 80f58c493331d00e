//! The commands of a Seeed LoRa-E5 in TEST mode, as public AT samples show them. Error numbers and the word for busy are
//! guesses. `mac_paused` of the module stands for TEST mode here.
//!
//! Not simulated: the line timeout of the module, its own LoRaWAN stack, a change of speed.

use super::command::Params;
use super::{Modem, Radio};
use std::time::Duration;

/// Longest command line.
const MAX_COMMAND_BYTES: usize = 526;

/// Both lines of a frame that was heard.
pub(super) fn received_lines(data: &[u8], rssi_dbm: i16, snr_db: i8) -> String {
    let hex = lpwad_link::hex::encode(data).to_uppercase();
    format!("+TEST: LEN:{}, RSSI:{rssi_dbm}, SNR:{snr_db}\r\n+TEST: RX \"{hex}\"", data.len())
}

impl Modem {
    pub(super) fn execute_lora_e5(&mut self, now: Duration, command: &str) {
        let reply_at = now + self.config.reply_latency;
        if command.is_empty() {
            return;
        }
        let text = command.to_ascii_uppercase();
        let receiving = matches!(self.radio, Radio::Receiving { .. });
        let sending = matches!(self.radio, Radio::Starting { .. } | Radio::Transmitting { .. });
        let answer = match text.as_str() {
            _ if command.len() > MAX_COMMAND_BYTES => "+CMD: ERROR(-1)".to_string(),
            "AT" if receiving => return,
            "AT" => "+AT: OK".into(),
            "AT+VER" => "+VER: 4.0.11".into(),
            "AT+UART=TIMEOUT,0" => "+UART: TIMEOUT, 0".into(),
            "AT+MODE=TEST" => {
                self.mac_paused = true;
                "+MODE: TEST".into()
            }
            _ if text.starts_with("AT+TEST=") && !self.mac_paused => "+TEST: ERROR(-12)".into(),
            _ if text.starts_with("AT+TEST=") && sending => "+TEST: RF BUSY".into(),
            "AT+TEST=STOP" => {
                self.radio = Radio::Idle;
                if let Some(data) = self.race.take() {
                    self.say(now, &received_lines(&data, self.last_rssi_dbm, self.last_snr_db));
                }
                "+TEST: STOP".into()
            }
            "AT+TEST=RXLRPKT" => {
                self.radio = Radio::Receiving { since: now, until: None, params: self.params.clone() };
                "+TEST: RXLRPKT".into()
            }
            _ => match (text.strip_prefix("AT+TEST=RFCFG,"), text.strip_prefix("AT+TEST=TXLRPKT,")) {
                (Some(settings), _) if !receiving => {
                    configure(settings, &mut self.params).unwrap_or("+TEST: ERROR(-2)".into())
                }
                (_, Some(quoted)) if !receiving => match frame(quoted) {
                    Some(data) => {
                        let at = now + self.config.tx_latency;
                        self.radio = Radio::Starting { at, frame: self.params.frame(data) };
                        format!("+TEST: TXLRPKT {quoted}")
                    }
                    None => "+TEST: ERROR(-2)".into(),
                },
                _ => "+CMD: ERROR(-1)".into(),
            },
        };
        self.say(reply_at, &answer);
    }
}

fn frame(quoted: &str) -> Option<Vec<u8>> {
    let data = lpwad_link::hex::decode(quoted.strip_prefix('"')?.strip_suffix('"')?).ok()?;
    (1..=255).contains(&data.len()).then_some(data)
}

/// Frequency in MHz, SF, bandwidth, two preambles, power, CRC, inverted IQ, public network.
fn configure(settings: &str, params: &mut Params) -> Option<String> {
    let words: Vec<&str> = settings.split(',').map(str::trim).collect();
    let [mhz, sf, bw, preamble, _, power, crc, iq, public] = words.as_slice() else { return None };
    let on_off = |word: &str| match word {
        "ON" => Some(true),
        "OFF" => Some(false),
        _ => None,
    };
    let mhz: f64 = mhz.parse().ok().filter(|mhz| (862.0..=1020.0).contains(mhz))?;
    let sf = sf.strip_prefix("SF")?.parse().ok().filter(|sf| (7..=12).contains(sf))?;
    let bw_khz = bw.parse().ok().filter(|bw| [125, 250, 500].contains(bw))?;
    let power_dbm = power.parse().ok().filter(|dbm| (-3..=22).contains(dbm))?;
    let (crc, iq_inverted, public) = (on_off(crc)?, on_off(iq)?, on_off(public)?);
    params.freq_hz = (mhz * 1e6).round() as u32;
    (params.sf, params.bw_khz, params.power_dbm) = (sf, bw_khz, power_dbm);
    (params.crc, params.iq_inverted, params.sync_word) = (crc, iq_inverted, if public { 0x34 } else { 0x12 });
    params.preamble = preamble.parse().ok()?;
    let name = |flag| if flag { "ON" } else { "OFF" };
    Some(format!(
        "+TEST: RFCFG F:{}, SF{sf}, BW{bw_khz}K, TXPR:{preamble}, POW:{power_dbm}dBm, CRC:{}, IQ:{}, NET:{}",
        params.freq_hz,
        name(crc),
        name(iq_inverted),
        name(public)
    ))
}
