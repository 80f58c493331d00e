//! The application downlinks of one device: one on its way, one waiting. The queue is the caller's.

use crate::output::{DownlinkOutcome, RefusedReason};

/// A confirmed downlink is repeated this often, each time with a new counter, before it is given up.
pub(crate) const MAX_RETRIES: u8 = 3;

/// Application data for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink {
    /// The caller's number, given back with the outcome.
    pub id: u64,
    /// 1 to 223.
    pub fport: u8,
    /// Plain payload; what fits depends on the data rate: 51 bytes at SF12 to SF10, 115 at SF9, 242 at SF8 and SF7.
    pub payload: Vec<u8>,
    /// Whether the device shall acknowledge it.
    pub confirmed: bool,
    /// Whether the caller has more for the device (FPending).
    pub more: bool,
}

/// What is said about a downlink.
pub(crate) type Report = (u64, DownlinkOutcome);

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Option<Downlink>,
    current: Option<Current>,
}

/// The downlink that was given to a radio at least once.
#[derive(Debug)]
struct Current {
    downlink: Downlink,
    /// Transmissions so far, the one on its way included.
    tries: u8,
    sent: bool,
    /// It is not repeated any more: the queue has taken it back.
    withdrawn: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A radio has it.
    OnItsWay,
    /// Sent; the next uplink may acknowledge it.
    AwaitsAck,
    /// To be sent again.
    Again,
}

impl Outbox {
    /// Sets or takes away the one that waits. What is already on its way stays, and does not wait a second time.
    pub(crate) fn set(&mut self, downlink: Option<Downlink>) {
        let is_current = |id| self.current.as_ref().is_some_and(|current| current.downlink.id == id);
        self.waiting = downlink.filter(|downlink| !is_current(downlink.id));
    }

    /// Takes a downlink back, wherever it is. What a radio has goes out, and not again.
    pub(crate) fn withdraw(&mut self, id: u64) {
        self.waiting.take_if(|waiting| waiting.id == id);
        self.current.take_if(|current| current.downlink.id == id && current.state != State::OnItsWay);
        if let Some(current) = self.current.as_mut().filter(|current| current.downlink.id == id) {
            current.withdrawn = true;
        }
    }

    /// The downlink that goes out next.
    pub(crate) fn due(&self) -> Option<&Downlink> {
        match &self.current {
            None => self.waiting.as_ref(),
            Some(current) if current.state == State::Again => Some(&current.downlink),
            Some(_) => None,
        }
    }

    /// Whether another one waits behind the one that goes out now.
    pub(crate) fn has_more(&self) -> bool {
        self.current.is_some() && self.waiting.is_some()
    }

    /// The downlink that was due can never be sent.
    pub(crate) fn refuse_due(&mut self) {
        match &self.current {
            None => self.waiting = None,
            Some(_) => self.current = None,
        }
    }

    /// The downlink that was due was given to a radio.
    pub(crate) fn handed_over(&mut self) {
        match &mut self.current {
            Some(current) => {
                current.tries += 1;
                current.state = State::OnItsWay;
            }
            None => {
                self.current = self.waiting.take().map(|downlink| Current {
                    downlink,
                    tries: 1,
                    sent: false,
                    withdrawn: false,
                    state: State::OnItsWay,
                });
            }
        }
    }

    /// The radio sent it under this counter. Said once per downlink.
    pub(crate) fn sent(&mut self, id: u64, fcnt: u32) -> Option<Report> {
        let current = self.current.as_mut().filter(|c| c.downlink.id == id && c.state == State::OnItsWay)?;
        let first = !std::mem::replace(&mut current.sent, true);
        if current.downlink.confirmed && !current.withdrawn {
            current.state = State::AwaitsAck;
        } else {
            self.current = None;
        }
        first.then_some((id, DownlinkOutcome::Sent { fcnt }))
    }

    /// The radio did not send it. It waits again, unless a newer one took its place.
    pub(crate) fn not_sent(&mut self, id: u64) -> Option<Report> {
        let mut current = self.current.take_if(|c| c.downlink.id == id && c.state == State::OnItsWay)?;
        if current.withdrawn {
            return None;
        }
        if current.sent {
            current.state = State::Again;
            self.current = Some(current);
            return None;
        }
        if self.waiting.is_some() {
            return Some((id, DownlinkOutcome::Refused(RefusedReason::Replaced)));
        }
        self.waiting = Some(current.downlink);
        None
    }

    /// A new uplink came, with or without acknowledgement (LoRaWAN 1.0.4 §4.3.1.2).
    pub(crate) fn heard(&mut self, ack: bool) -> Option<Report> {
        let current = self.current.as_mut().filter(|c| c.downlink.confirmed && c.state != State::Again)?;
        let id = current.downlink.id;
        let outcome = if ack {
            DownlinkOutcome::Acked
        } else if current.state == State::OnItsWay {
            return None;
        } else if current.tries > MAX_RETRIES {
            DownlinkOutcome::NoAck { tries: current.tries }
        } else {
            current.state = State::Again;
            return None;
        };
        self.current = None;
        Some((id, outcome))
    }

    /// The device has a new session: what the old one left unacknowledged is sent again.
    pub(crate) fn new_session(&mut self) {
        if let Some(current) = self.current.as_mut().filter(|c| c.state == State::AwaitsAck) {
            current.state = State::Again;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn downlink(id: u64, confirmed: bool) -> Downlink {
        Downlink { id, fport: 1, payload: vec![1], confirmed, more: false }
    }

    fn due(outbox: &Outbox) -> Option<u64> {
        outbox.due().map(|d| d.id)
    }

    #[test]
    fn unconfirmed() {
        let mut outbox = Outbox::default();
        outbox.set(Some(downlink(1, false)));
        outbox.set(Some(downlink(2, false)));
        assert_eq!(due(&outbox), Some(2));
        outbox.handed_over();
        assert_eq!(due(&outbox), None);
        assert_eq!(outbox.heard(true), None, "nothing to acknowledge");
        assert_eq!(outbox.not_sent(2), None);
        assert_eq!(due(&outbox), Some(2));
        outbox.handed_over();
        outbox.set(Some(downlink(3, false)));
        assert!(outbox.has_more());
        assert_eq!(outbox.sent(7, 0), None);
        assert_eq!(outbox.sent(2, 9), Some((2, DownlinkOutcome::Sent { fcnt: 9 })));
        assert_eq!(outbox.sent(2, 9), None);
        assert_eq!(due(&outbox), Some(3));
    }

    #[test]
    fn replaced_while_the_radio_failed() {
        let mut outbox = Outbox::default();
        outbox.set(Some(downlink(1, true)));
        outbox.handed_over();
        outbox.set(Some(downlink(2, true)));
        assert_eq!(outbox.not_sent(1), Some((1, DownlinkOutcome::Refused(RefusedReason::Replaced))));
        assert_eq!(due(&outbox), Some(2));
    }

    #[test]
    fn what_is_on_its_way_does_not_replace_itself() {
        let mut outbox = Outbox::default();
        outbox.set(Some(downlink(1, true)));
        outbox.handed_over();
        outbox.set(Some(downlink(1, true)));
        assert!(!outbox.has_more());
        assert_eq!(outbox.not_sent(1), None);
        assert_eq!(due(&outbox), Some(1));
    }

    #[test]
    fn what_is_withdrawn_is_not_sent_again() {
        let mut outbox = Outbox::default();
        outbox.set(Some(downlink(1, true)));
        outbox.withdraw(1);
        assert_eq!(due(&outbox), None, "it waited");

        for comes_back in [true, false] {
            outbox.set(Some(downlink(2, true)));
            outbox.handed_over();
            outbox.withdraw(2);
            match comes_back {
                true => assert_eq!(outbox.not_sent(2), None),
                false => assert!(outbox.sent(2, 0).is_some(), "the radio had it"),
            }
            assert_eq!((outbox.heard(false), due(&outbox)), (None, None));
        }

        outbox.set(Some(downlink(3, true)));
        outbox.handed_over();
        outbox.sent(3, 1);
        outbox.withdraw(7);
        outbox.withdraw(3);
        assert_eq!((outbox.heard(false), due(&outbox)), (None, None), "it awaited its acknowledgement");
    }

    #[test]
    fn confirmed_is_sent_four_times_and_reported_sent_once() {
        let mut outbox = Outbox::default();
        outbox.set(Some(downlink(1, true)));
        outbox.handed_over();
        assert!(outbox.sent(1, 0).is_some());
        for fcnt in 1..=3 {
            assert_eq!(outbox.heard(false), None);
            assert_eq!(due(&outbox), Some(1));
            outbox.handed_over();
            assert_eq!(outbox.sent(1, fcnt), None);
        }
        assert_eq!(outbox.heard(false), Some((1, DownlinkOutcome::NoAck { tries: 4 })));
        assert_eq!(due(&outbox), None);
    }

    #[test]
    fn acknowledgement_may_overtake_the_radio() {
        let mut outbox = Outbox::default();
        outbox.set(Some(downlink(1, true)));
        outbox.handed_over();
        assert_eq!(outbox.heard(true), Some((1, DownlinkOutcome::Acked)));
        assert_eq!(outbox.sent(1, 0), None);
    }
}
