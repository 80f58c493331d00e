//! EU863-870 (RP002-1.0.4 §2.4): three channels that every device has, 868.1, 868.3 and 868.5 MHz; RX2 at 869.525 MHz
//! with DR0. DR7 (FSK) and DR8 to DR11 (LR-FHSS) are not supported.

use super::Choice;
use crate::regulation::etsi_en_300_220;

pub(super) const CHOICE: Choice =
    Choice { name: lrwn::region::CommonName::EU868, bands: etsi_en_300_220::BANDS_863_870 };

#[cfg(test)]
mod tests {
    use crate::region::{DataRate, Plan, Region};
    use core::time::Duration;
    use lorawan_device::region::{Configuration, DR};

    /// RP002-1.0.4 §2.4.3, §2.4.6 and §2.4.7; the sizes also against the device stack.
    #[test]
    fn regional_parameters() {
        let plan = Plan::new(Region::Eu868);
        let device = Configuration::new(lorawan_device::Region::EU868);
        let rates = [
            (DR::_0, 12, 125_000, 59),
            (DR::_1, 11, 125_000, 59),
            (DR::_2, 10, 125_000, 59),
            (DR::_3, 9, 125_000, 123),
            (DR::_4, 8, 125_000, 250),
            (DR::_5, 7, 125_000, 250),
            (DR::_6, 7, 250_000, 250),
        ];
        for (index, (their, sf, bw_hz, size)) in rates.into_iter().enumerate() {
            let dr = DataRate { sf, bw_hz };
            assert_eq!(plan.dr_index(dr), Some(index as u8));
            assert_eq!(plan.max_mac_payload(dr), size);
            assert_eq!(device.get_max_payload_length(their, false, false) as usize, size);
            assert_eq!(plan.rx1(868_300_000, dr), Some((868_300_000, dr)));
        }
        assert_eq!(plan.rx2(), Some((869_525_000, DataRate { sf: 12, bw_hz: 125_000 })));
        assert_eq!(plan.join_accept_delay(), Duration::from_secs(5));
        assert_eq!(plan.default_rx1_delay_s(), 1);
        assert_eq!(
            [868_100_000, 868_300_000, 868_500_000].map(|f| plan.default_channel(f)),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(plan.default_channel(867_100_000), None);
        assert_eq!(plan.dr_index(DataRate { sf: 7, bw_hz: 500_000 }), None);
        assert_eq!(plan.max_mac_payload(DataRate { sf: 6, bw_hz: 125_000 }), 0);
    }
}
