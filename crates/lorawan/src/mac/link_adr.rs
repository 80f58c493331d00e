//! LinkADRReq and LinkADRAns (LoRaWAN 1.0.4 §5.2), used only to keep a device on the one channel a radio can hear.
//!
//! The request names one channel, its data rate, full power and NbTrans 1. It is sent whether or not the device sets its
//! ADR bit: the channel mask is valid for both. The answer counts as acceptance only with all three bits set.

use super::MacDown;
use crate::DataRate;
use crate::region::Plan;
use crate::session::{Pin, PinState};

/// After so many refusals the device is left alone.
const MAX_REFUSALS: u8 = 3;

/// After so many requests without any answer, too.
const MAX_ASKED: u8 = 10;

/// The request that is due, if the radio that heard the device has one channel only and the device has it by default.
pub(crate) fn request(pin: &Pin, single_channel: Option<(u32, DataRate)>, plan: &Plan) -> Option<MacDown> {
    let (freq_hz, dr) = single_channel?;
    let request = MacDown::LinkAdrReq { dr: plan.dr_index(dr)?, channel: plan.default_channel(freq_hz)? };
    match pin.state {
        PinState::Refused => None,
        PinState::Yes if pin.freq_hz == freq_hz => None,
        PinState::No | PinState::Asked | PinState::Yes => Some(request),
    }
}

/// The request went to a radio.
pub(crate) fn asked(pin: &mut Pin, freq_hz: u32) {
    *pin = Pin { state: PinState::Asked, freq_hz, asked: pin.asked.saturating_add(1), refused: pin.refused };
}

/// The uplink that may carry the answer came: `Some(all three bits)` or no answer.
pub(crate) fn answered(pin: &mut Pin, accepted: Option<bool>) {
    if pin.state != PinState::Asked {
        return;
    }
    match accepted {
        Some(true) => *pin = Pin { state: PinState::Yes, asked: 0, ..*pin },
        Some(false) => pin.refused = pin.refused.saturating_add(1),
        None => {}
    }
    if pin.state == PinState::Asked && (pin.refused >= MAX_REFUSALS || pin.asked >= MAX_ASKED) {
        pin.state = PinState::Refused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Region;

    const SF7: DataRate = DataRate { sf: 7, bw_hz: 125_000 };

    #[test]
    fn asks_until_accepted_or_refused_three_times() {
        let plan = Plan::new(Region::Eu868);
        let one = Some((868_300_000, SF7));
        let mut pin = Pin::default();
        assert_eq!(request(&pin, one, &plan), Some(MacDown::LinkAdrReq { dr: 5, channel: 1 }));
        asked(&mut pin, 868_300_000);
        answered(&mut pin, None);
        assert_eq!(pin.state, PinState::Asked);
        let mut accepted = pin;
        answered(&mut accepted, Some(true));
        assert_eq!((accepted.state, request(&accepted, one, &plan)), (PinState::Yes, None));
        assert!(request(&accepted, Some((868_100_000, SF7)), &plan).is_some(), "the radio moved");
        for _ in 0..3 {
            assert_ne!(pin.state, PinState::Refused);
            asked(&mut pin, 868_300_000);
            answered(&mut pin, Some(false));
        }
        assert_eq!((pin.state, request(&pin, one, &plan)), (PinState::Refused, None));
    }

    #[test]
    fn gives_up_on_a_device_that_never_answers() {
        let mut pin = Pin::default();
        for _ in 0..10 {
            assert_ne!(pin.state, PinState::Refused);
            asked(&mut pin, 868_100_000);
            answered(&mut pin, None);
        }
        assert_eq!(pin.state, PinState::Refused);
    }

    #[test]
    fn nothing_to_ask() {
        let plan = Plan::new(Region::Eu868);
        assert_eq!(request(&Pin::default(), None, &plan), None);
        assert_eq!(request(&Pin::default(), Some((867_100_000, SF7)), &plan), None, "no default channel");
        let mut pin = Pin::default();
        answered(&mut pin, Some(true));
        assert_eq!(pin, Pin::default(), "an answer to nothing");
    }
}
