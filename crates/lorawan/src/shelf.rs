//! What a device's record holds for keys that are not configured now. Keys that come back (a mistake in the configuration that is
//! corrected) find their counters and nonces again: none is used twice, no frame is accepted twice.

use crate::device::{Activation, DeviceRecord};
use crate::frame;
use crate::session::SessionRecord;
use std::collections::BTreeSet;

/// Former keys of one device whose state is kept, the newest ones. Who returns to still older ones starts from nothing.
const MAX_SHELVED: usize = 64;
/// Used DevNonces of all former keys together. Where there are more, the oldest AppKeys go: counters of a session that was not
/// joined stay.
const MAX_SHELVED_NONCES: usize = 65_536;

/// Tells AppKeys apart without saying anything else of them.
pub type KeyMark = [u8; 8];

/// What belongs to the keys of one activation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shelved {
    /// Of the AppKey; None for a device that is activated by personalization.
    pub app_key_mark: Option<KeyMark>,
    /// Nonces of join requests that were accepted with the AppKey.
    pub used_dev_nonces: BTreeSet<u16>,
    /// The session in use then.
    pub session: Option<SessionRecord>,
    /// The session offered then.
    pub pending: Option<SessionRecord>,
}

impl Shelved {
    /// Whether nothing was ever sent or accepted with these keys: a class A device is answered only after an uplink.
    fn is_unused(&self) -> bool {
        let is_used = |session: &SessionRecord| session.fcnt_up.is_some();
        self.used_dev_nonces.is_empty() && self.pending.is_none() && !self.session.as_ref().is_some_and(is_used)
    }

    fn is_joined(&self) -> bool {
        self.app_key_mark.is_some() || !self.used_dev_nonces.is_empty()
    }

    fn belongs_to(&self, activation: &Activation) -> bool {
        match activation {
            Activation::Otaa { app_key, .. } => match self.app_key_mark {
                Some(known) => known == frame::key_mark(app_key),
                // From before there were marks: nonces are of a join, and a session alone is of a personalized device.
                None => !self.used_dev_nonces.is_empty(),
            },
            Activation::Abp { dev_addr, nwk_s_key, app_s_key, .. } => {
                self.app_key_mark.is_none()
                    && self.session.as_ref().is_some_and(|session| {
                        (session.dev_addr, &session.nwk_s_key, &session.app_s_key) == (*dev_addr, nwk_s_key, app_s_key)
                    })
            }
        }
    }
}

impl DeviceRecord {
    /// The record for a device that is activated like this: what belongs to its keys is taken out, what does not is shelved.
    pub(crate) fn turn_to(self, activation: &Activation) -> DeviceRecord {
        let DeviceRecord { app_key_mark, used_dev_nonces, next_join_nonce, session, pending, mut shelved } = self;
        let mut current = Shelved { app_key_mark, used_dev_nonces, session, pending };
        if !current.belongs_to(activation) {
            let place = shelved.iter().position(|state| state.belongs_to(activation));
            let found = place.map(|place| shelved.remove(place)).unwrap_or_default();
            let former = std::mem::replace(&mut current, found);
            if !former.is_unused() {
                shelved.push(former);
            }
            let nonces = |shelved: &[Shelved]| shelved.iter().map(|state| state.used_dev_nonces.len()).sum::<usize>();
            while shelved.len() > MAX_SHELVED || nonces(&shelved) > MAX_SHELVED_NONCES {
                // What comes back to an AppKey joins anew; what was activated by personalization would count from 0 again.
                let oldest = shelved.iter().position(|state| state.is_joined()).unwrap_or(0);
                shelved.remove(oldest);
            }
        }
        let app_key_mark = match activation {
            Activation::Otaa { app_key, .. } => Some(frame::key_mark(app_key)),
            Activation::Abp { .. } => None,
        };
        let Shelved { used_dev_nonces, session, pending, .. } = current;
        // Join nonces count on: a device may have kept the highest one whatever its keys are.
        DeviceRecord { app_key_mark, used_dev_nonces, next_join_nonce, session, pending, shelved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DevAddr, Key, Pin};

    fn otaa(key: u8) -> Activation {
        Activation::Otaa { join_eui: None, app_key: Key::new([key; 16]) }
    }

    fn abp(key: u8) -> Activation {
        let keys = [key, key + 1].map(|key| Key::new([key; 16]));
        let [nwk_s_key, app_s_key] = keys;
        Activation::Abp { dev_addr: DevAddr([key; 4]), nwk_s_key, app_s_key, relaxed_counter: false }
    }

    fn session(key: u8, fcnt_up: u32) -> SessionRecord {
        SessionRecord {
            dev_addr: DevAddr([key; 4]),
            nwk_s_key: Key::new([key; 16]),
            app_s_key: Key::new([key + 1; 16]),
            fcnt_up: Some(fcnt_up),
            fcnt_down_reserved: 32,
            rx1_delay_s: 1,
            pin: Pin::default(),
        }
    }

    #[test]
    fn keys_that_come_back_find_what_was_theirs() {
        let mut record = DeviceRecord::default().turn_to(&otaa(1));
        record.used_dev_nonces = [3, 4].into();
        record.next_join_nonce = 3;
        record.session = Some(session(50, 7));
        let first = record.clone();

        let mut record = record.turn_to(&otaa(2));
        assert_eq!((record.used_dev_nonces.len(), &record.session, record.next_join_nonce), (0, &None, 3));
        record.used_dev_nonces = [9].into();
        let mut record = record.turn_to(&abp(20));
        assert_eq!(record.session, None, "a session of its keys is for the device to make");
        record.session = Some(session(20, 100));
        let record = record.turn_to(&abp(30));
        assert_eq!(record.session, None);
        let record = record.turn_to(&abp(20));
        assert_eq!(record.session.as_ref().and_then(|session| session.fcnt_up), Some(100));
        let record = record.turn_to(&otaa(1));
        assert_eq!((&record.used_dev_nonces, &record.session), (&first.used_dev_nonces, &first.session));
        assert_eq!(record.clone().turn_to(&otaa(1)), record, "nothing changes when nothing changed");
        assert_eq!(record.turn_to(&otaa(2)).used_dev_nonces, [9].into());
    }

    #[test]
    fn a_record_without_a_mark_is_of_the_key_that_is_there() {
        let old =
            DeviceRecord { used_dev_nonces: [3].into(), session: Some(session(50, 7)), ..DeviceRecord::default() };
        let record = old.clone().turn_to(&otaa(1));
        assert_eq!((&record.used_dev_nonces, &record.session), (&old.used_dev_nonces, &old.session));
        assert_eq!(record.turn_to(&otaa(2)).session, None, "from then on it is marked");
        let personalized = DeviceRecord { session: Some(session(20, 7)), ..DeviceRecord::default() };
        assert_eq!(personalized.turn_to(&otaa(1)).session, None);
    }

    #[test]
    fn the_shelf_is_bounded() {
        let mut record = DeviceRecord::default();
        for key in 0..100 {
            record = record.turn_to(&otaa(key));
            record.used_dev_nonces.insert(key.into());
        }
        assert_eq!(record.shelved.len(), MAX_SHELVED);
        assert_eq!(record.clone().turn_to(&otaa(35)).used_dev_nonces, [35].into());
        assert_eq!(record.turn_to(&otaa(34)).used_dev_nonces, [].into());

        let mut record = DeviceRecord::default().turn_to(&abp(1));
        record.session = Some(session(1, 7));
        for key in 0..100 {
            record = record.turn_to(&otaa(key));
            record.used_dev_nonces.insert(key.into());
        }
        let back = record.turn_to(&abp(1)).session;
        assert_eq!(back.and_then(|session| session.fcnt_up), Some(7), "its counters never begin again");

        let mut record = DeviceRecord::default();
        for key in 0..3 {
            record = record.turn_to(&otaa(key));
            record.used_dev_nonces = (0..=u16::MAX).collect();
        }
        assert_eq!(record.shelved.len(), 1);
    }

    #[test]
    fn keys_that_were_never_used_take_no_place() {
        let mut record = DeviceRecord { session: Some(session(1, 7)), ..DeviceRecord::default() };
        for key in 10..40 {
            record = record.turn_to(&abp(key));
            record.session = Some(SessionRecord { fcnt_up: None, ..session(key, 0) });
        }
        assert_eq!(record.turn_to(&abp(1)).session.and_then(|session| session.fcnt_up), Some(7));
    }
}
