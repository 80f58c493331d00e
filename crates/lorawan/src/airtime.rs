//! Time on air of a LoRa frame (Semtech AN1200.13, "LoRa Modem Designer's Guide").

use crate::DataRate;
use core::time::Duration;

/// Preamble symbols of LoRaWAN with LoRa modulation, without the 4.25 symbols of synchronisation.
const PREAMBLE_SYMBOLS: u64 = 8;

/// Time on air of a PHYPayload of `len` bytes (255 at most; more counts as 255): explicit header, coding rate 4/5, 8 preamble symbols, with payload CRC.
///
/// A downlink carries no payload CRC (LoRaWAN 1.0.4 §4.1), but some modems cannot leave it out; counting it makes the
/// result up to 5 symbols too long, never too short.
pub fn time_on_air(dr: DataRate, len: usize) -> Duration {
    let sf = i64::from(dr.sf);
    let symbol_us = (1_000_000u64 << dr.sf.min(12)) / u64::from(dr.bw_hz.max(1));
    // Low data rate optimisation is on when a symbol lasts longer than 16 ms: SF11 and SF12 at 125 kHz.
    let low_rate = i64::from(symbol_us > 16_000);
    let bits = 8 * len.min(255) as i64 - 4 * sf + 28 + 16;
    let bits_per_block = 4 * (sf - 2 * low_rate).max(1);
    let blocks = u64::try_from(bits).unwrap_or(0).div_ceil(bits_per_block as u64);
    let payload_symbols = 8 + blocks * 5;
    Duration::from_micros((4 * PREAMBLE_SYMBOLS + 17 + 4 * payload_symbols) * symbol_us / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lorawan_device::nb_device::radio::{Bandwidth, BaseBandModulationParams, CodingRate, SpreadingFactor};

    #[test]
    fn agrees_with_lora_modulation_at_every_length() {
        let spreading = [
            (7, SpreadingFactor::_7),
            (8, SpreadingFactor::_8),
            (9, SpreadingFactor::_9),
            (10, SpreadingFactor::_10),
            (11, SpreadingFactor::_11),
            (12, SpreadingFactor::_12),
        ];
        for (sf, theirs) in spreading {
            for (bw_hz, bandwidth) in [(125_000, Bandwidth::_125KHz), (250_000, Bandwidth::_250KHz)] {
                let params = BaseBandModulationParams::new(theirs, bandwidth, CodingRate::_4_5);
                for len in 1..=255u8 {
                    let expected = Duration::from_micros(params.time_on_air_us(Some(8), true, len).into());
                    assert_eq!(
                        time_on_air(DataRate { sf, bw_hz }, len.into()),
                        expected,
                        "SF{sf}BW{bw_hz} {len} bytes"
                    );
                }
            }
        }
    }

    #[test]
    fn known_values() {
        // A join accept without CFList (17 bytes), from the public airtime calculators.
        let us = |sf, bw_hz, len| time_on_air(DataRate { sf, bw_hz }, len).as_micros();
        assert_eq!(us(7, 125_000, 38), 82_176);
        assert_eq!(us(12, 125_000, 38), 1_974_272);
        assert_eq!(us(7, 250_000, 38), 41_088);
    }

    #[test]
    fn nonsense_does_not_panic() {
        time_on_air(DataRate { sf: 0, bw_hz: 0 }, usize::MAX);
        time_on_air(DataRate { sf: 255, bw_hz: 1 }, 0);
    }
}
