//! Frame counters: 16 bits on the air, 32 bits in the MIC (LoRaWAN 1.0.4 §4.3.1.5), and their reservation on disk.

/// How many downlink numbers are reserved on disk at once.
pub(crate) const BLOCK: u32 = 32;

/// Bound: A new block is asked for when fewer numbers than this are left.
const LOW_WATER: u32 = 16;

/// What an uplink counter means, once the MIC has proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Next in order, perhaps after lost frames: up to 65 535, however many (the MIC proves all 32 bits).
    New,
    /// The last accepted number again.
    Retransmission,
    /// Older than the last accepted one.
    Replay,
    /// Started again at a low number, and the device may (ABP with relaxed counter).
    Reset,
}

/// The 32-bit values that the 16 received bits may stand for, most likely first, each with its meaning if its MIC fits.
pub(crate) fn candidates(last: Option<u32>, lsb: u16, relaxed: bool) -> impl Iterator<Item = (u32, Verdict)> {
    let next = last.map_or(0, |last| u64::from(last) + 1);
    let ahead = next + u64::from(lsb.wrapping_sub(next as u16));
    let behind = ahead.checked_sub(1 << 16);
    let backward = match behind {
        Some(value) if last.is_some_and(|last| u64::from(last) == value) => Verdict::Retransmission,
        Some(value) if relaxed && value == u64::from(lsb) => Verdict::Reset,
        _ => Verdict::Replay,
    };
    let restarted = (relaxed && behind.is_some_and(|value| value > u64::from(lsb))).then_some(u64::from(lsb));
    [(Some(ahead), Verdict::New), (behind, backward), (restarted, Verdict::Reset)]
        .into_iter()
        .filter_map(|(value, verdict)| Some((u32::try_from(value?).ok()?, verdict)))
}

/// Numbers for downlink frames. A number is given out once, and only when the reservation that covers it is on disk.
#[derive(Debug)]
pub(crate) struct DownCounter {
    next: u32,
    /// Numbers below this may be used now.
    confirmed: u32,
    /// Numbers below this are in the record (on disk, or on the way there with this ticket).
    reserved: u32,
    raising: Option<u64>,
}

impl DownCounter {
    /// Starts behind everything that may have been used: `reserved` is the value of the restored record, or 0.
    pub(crate) fn restore(reserved: u32) -> DownCounter {
        DownCounter { next: reserved, confirmed: reserved, reserved, raising: None }
    }

    /// The value for the record.
    pub(crate) fn reserved(&self) -> u32 {
        self.reserved
    }

    /// The next number that will be used.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// Whether the next save should raise the reservation.
    pub(crate) fn is_low(&self) -> bool {
        self.raising.is_none() && self.confirmed.saturating_sub(self.next) < LOW_WATER
    }

    /// The record that goes to disk with this ticket shall reserve more, if that is needed.
    pub(crate) fn raise_if_low(&mut self, ticket: u64) {
        if self.is_low() {
            self.reserved = self.next.max(self.confirmed).saturating_add(BLOCK);
            self.raising = Some(ticket);
        }
    }

    /// Whether a reservation goes to disk with this ticket.
    pub(crate) fn awaits(&self, ticket: u64) -> bool {
        self.raising == Some(ticket)
    }

    /// Everything up to this ticket is on disk.
    pub(crate) fn saved_through(&mut self, ticket: u64) {
        if self.raising.is_some_and(|raising| raising <= ticket) {
            self.confirmed = self.reserved;
            self.raising = None;
        }
    }

    /// Whether a number can be given out now.
    pub(crate) fn is_available(&self) -> bool {
        self.next < self.confirmed
    }

    /// Gives out a number, which is thereby used, whatever becomes of the frame.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let number = self.is_available().then_some(self.next)?;
        self.next += 1;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(last: Option<u32>, lsb: u16, relaxed: bool) -> Vec<(u32, Verdict)> {
        candidates(last, lsb, relaxed).collect()
    }

    #[test]
    fn order_replay_and_rollover() {
        assert_eq!(list(None, 0, false), [(0, Verdict::New)]);
        assert_eq!(list(Some(5), 6, false), [(6, Verdict::New)]);
        assert_eq!(list(Some(5), 5, false), [(65_541, Verdict::New), (5, Verdict::Retransmission)]);
        assert_eq!(list(Some(5), 3, false), [(65_539, Verdict::New), (3, Verdict::Replay)]);
        assert_eq!(list(Some(65_535), 0, false), [(65_536, Verdict::New), (0, Verdict::Replay)]);
        assert_eq!(list(Some(65_536), 65_535, false), [(131_071, Verdict::New), (65_535, Verdict::Replay)]);
    }

    #[test]
    fn as_many_frames_may_be_lost_as_sixteen_bits_can_tell() {
        let first = |last, lsb| candidates(last, lsb, false).next();
        assert_eq!(first(Some(0), 16_385), Some((16_385, Verdict::New)));
        assert_eq!(first(Some(20), 20), Some((65_556, Verdict::New)));
        assert_eq!(first(None, 65_535), Some((65_535, Verdict::New)));
    }

    #[test]
    fn relaxed_counter_may_start_again() {
        assert_eq!(list(Some(500), 0, true), [(65_536, Verdict::New), (0, Verdict::Reset)]);
        assert_eq!(
            list(Some(70_000), 1, true),
            [(131_073, Verdict::New), (65_537, Verdict::Replay), (1, Verdict::Reset)]
        );
    }

    #[test]
    fn end_of_the_counter() {
        assert_eq!(list(Some(u32::MAX), 0, false), [(u32::MAX - 65_535, Verdict::Replay)]);
        let mut down = DownCounter::restore(u32::MAX);
        down.raise_if_low(1);
        down.saved_through(1);
        assert_eq!(down.take(), None);
    }

    #[test]
    fn numbers_wait_for_the_disk() {
        let mut down = DownCounter::restore(7);
        assert_eq!(down.take(), None);
        down.raise_if_low(3);
        assert_eq!((down.reserved(), down.take()), (39, None));
        down.saved_through(2);
        assert_eq!(down.take(), None);
        down.saved_through(3);
        let used: Vec<u32> = std::iter::from_fn(|| down.take()).collect();
        assert_eq!(used, (7..39).collect::<Vec<_>>());
        down.raise_if_low(4);
        down.saved_through(4);
        assert_eq!(down.take(), Some(39));
    }
}
