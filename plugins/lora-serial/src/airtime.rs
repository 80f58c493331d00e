//! Time on air of a LoRa frame: Semtech AN1200.13 "LoRa Modem Designer's Guide", section 4.

use lpwad_link::units::LoraDr;
use std::time::Duration;

/// Preamble symbols of a LoRaWAN frame (RP002-1.0.4 §2.4.1).
const PREAMBLE_SYMBOLS: u32 = 8;

/// Time on air of a downlink: explicit header, coding rate 4/5, no payload CRC, preamble 8; low data rate
/// optimisation where a symbol lasts 16 ms or more.
pub(crate) fn downlink(dr: LoraDr, len: usize) -> Duration {
    let sf = u32::from(dr.sf.clamp(5, 12));
    let symbol = Duration::from_nanos((1_000_000_000_u64 << sf) / u64::from(dr.bw_hz.max(1)));
    let optimise = u32::from(symbol >= Duration::from_millis(16));
    let bits = (8 * u32::try_from(len.min(255)).unwrap_or(255) + 28).saturating_sub(4 * sf);
    let payload_symbols = 8 + bits.div_ceil(4 * (sf - 2 * optimise)) * 5;
    symbol * (PREAMBLE_SYMBOLS + 4 + payload_symbols) + symbol / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame without CRC is as long as one with CRC and two bytes less (the formula has 16 bits for the CRC); the
    /// latter's values are from a public calculator, as quoted in the tests of `lora-modulation` 0.1.5.
    #[test]
    fn airtime_equals_published_values() {
        let micros = |sf, bw_hz| downlink(LoraDr { sf, bw_hz }, 38 + 2).as_micros();
        assert_eq!(micros(7, 125_000), 82_176);
        assert_eq!(micros(9, 125_000), 267_264);
        assert_eq!(micros(11, 125_000), 1_069_056);
        assert_eq!(micros(12, 125_000), 1_974_272);
        assert_eq!(micros(7, 250_000), 41_088);
    }
}
