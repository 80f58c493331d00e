//! Time on air of a LoRa frame: Semtech AN1200.13 "LoRa Modem Designer's Guide", section 4.

use std::time::Duration;

/// Duration of one symbol.
///
/// `sf` is 7 to 12, `bw_hz` not 0; other values are clamped.
#[must_use]
pub fn symbol(sf: u8, bw_hz: u32) -> Duration {
    let chips = 1_000_000_000_u64 << u32::from(sf.clamp(5, 12));
    Duration::from_nanos(chips / u64::from(bw_hz.max(1)))
}

/// Time on air of `len` bytes with explicit header and coding rate 4/5.
///
/// The low data rate optimisation is on where a symbol lasts 16 ms or more (SF11 and SF12 at 125 kHz), as LoRaWAN
/// Regional Parameters RP002 demand of both sides.
#[must_use]
pub fn time_on_air(sf: u8, bw_hz: u32, preamble: u16, crc: bool, len: usize) -> Duration {
    let symbol = symbol(sf, bw_hz);
    let optimise = i64::from(symbol >= Duration::from_millis(16));
    let sf = i64::from(sf.clamp(5, 12));
    let bits = 8 * i64::try_from(len.min(255)).unwrap_or(255) - 4 * sf + 28 + 16 * i64::from(crc);
    let per_block = 4 * (sf - 2 * optimise);
    let blocks = if bits > 0 { (bits + per_block - 1) / per_block } else { 0 };
    let payload_symbols = 8 + u32::try_from(blocks * 5).unwrap_or(0);
    symbol * (u32::from(preamble) + 4 + payload_symbols) + symbol / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the public calculator behind `lora-modulation` 0.1.5's tests (13 bytes of LoRaWAN overhead + 25).
    #[test]
    fn airtime_equals_published_values() {
        let micros = |sf, bw| time_on_air(sf, bw, 8, true, 13 + 25).as_micros();
        assert_eq!(micros(7, 250_000), 41_088);
        assert_eq!(micros(7, 125_000), 82_176);
        assert_eq!(micros(8, 125_000), 143_872);
        assert_eq!(micros(9, 125_000), 267_264);
        assert_eq!(micros(10, 125_000), 493_568);
        assert_eq!(micros(11, 125_000), 1_069_056);
        assert_eq!(micros(12, 125_000), 1_974_272);
    }

    #[test]
    fn a_frame_without_crc_is_never_longer() {
        for len in 0..=255 {
            assert!(time_on_air(7, 125_000, 8, false, len) <= time_on_air(7, 125_000, 8, true, len));
        }
    }
}
