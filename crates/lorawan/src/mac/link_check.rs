//! LinkCheckReq and LinkCheckAns (LoRaWAN 1.0.4 §5.1).

use super::MacDown;
use crate::DataRate;

/// The answer: how many dB the best copy was above the least that can be demodulated, and how many radios heard it.
pub(crate) fn answer(dr: DataRate, snr_db: Option<f32>, radios: usize) -> MacDown {
    let margin = snr_db.map_or(0.0, |snr_db| snr_db - required_snr_db(dr.sf));
    // The conversion saturates, and NaN gives 0. 255 is reserved.
    let margin_db = (margin as u8).min(254);
    MacDown::LinkCheckAns { margin_db, gateways: u8::try_from(radios).unwrap_or(u8::MAX) }
}

/// Least SNR for demodulation: -7.5 dB at SF7, 2.5 dB less per step (Semtech SX1276 data sheet, table of spreading factors).
fn required_snr_db(sf: u8) -> f32 {
    -7.5 - 2.5 * (f32::from(sf) - 7.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margin() {
        let margin = |sf, snr| match answer(DataRate { sf, bw_hz: 125_000 }, snr, 1) {
            MacDown::LinkCheckAns { margin_db, gateways: 1 } => margin_db,
            other => panic!("{other:?}"),
        };
        assert_eq!(margin(7, Some(5.0)), 12);
        assert_eq!(margin(12, Some(-20.0)), 0);
        assert_eq!(margin(12, Some(-25.0)), 0);
        assert_eq!(margin(12, Some(f32::INFINITY)), 254);
        assert_eq!(margin(12, Some(f32::NAN)), 0);
        assert_eq!(margin(9, None), 0);
    }
}
