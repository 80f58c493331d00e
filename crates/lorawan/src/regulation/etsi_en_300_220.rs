//! ETSI EN 300 220-2 V3.2.1 (short range devices, 25 MHz to 1 000 MHz), annex B: the bands of 863 to 870 MHz for
//! equipment without listen-before-talk. Power is given there as ERP; EIRP is 2.15 dB more. 25 mW ERP are 14 dBm ERP.
//! The same values stand in ERC Recommendation 70-03, annex 1.

use super::Band;

const MW_25: f32 = 14.0 + 2.15;
const MW_500: f32 = 27.0 + 2.15;

/// Bands by rising frequency. Between them nothing may be sent. Of 869.7 to 870.0 MHz the entry with 1 % at 25 mW is
/// taken; the one without a limit at 5 mW is not used.
pub(crate) const BANDS_863_870: &[Band] = &[
    Band { low_hz: 863_000_000, high_hz: 865_000_000, duty_permille: 1, max_dbm_eirp: MW_25 },
    Band { low_hz: 865_000_000, high_hz: 868_000_000, duty_permille: 10, max_dbm_eirp: MW_25 },
    Band { low_hz: 868_000_000, high_hz: 868_600_000, duty_permille: 10, max_dbm_eirp: MW_25 },
    Band { low_hz: 868_700_000, high_hz: 869_200_000, duty_permille: 1, max_dbm_eirp: MW_25 },
    Band { low_hz: 869_400_000, high_hz: 869_650_000, duty_permille: 100, max_dbm_eirp: MW_500 },
    Band { low_hz: 869_700_000, high_hz: 870_000_000, duty_permille: 10, max_dbm_eirp: MW_25 },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regulation::find;

    #[test]
    fn lorawan_channels_lie_in_their_bands() {
        let permille = |freq_hz| find(BANDS_863_870, freq_hz, 125_000).map(|band| band.duty_permille);
        for freq_hz in [868_100_000, 868_300_000, 868_500_000, 867_100_000, 867_900_000] {
            assert_eq!(permille(freq_hz), Some(10), "{freq_hz}");
        }
        assert_eq!(permille(869_525_000), Some(100));
        assert_eq!(permille(868_800_000), Some(1));
        assert_eq!(permille(868_580_000), None, "reaches over the band edge");
        assert_eq!(permille(869_300_000), None);
        assert_eq!(permille(0), None);
        assert_eq!(permille(u32::MAX), None);
    }
}
