//! The same frame, heard by several radios or reported twice.

use crate::DevEui;
use core::time::Duration;
use std::collections::VecDeque;

/// Frames remembered at most; the oldest is forgotten first, and a late copy of it is then judged by its counter.
/// Counted: `frames_forgotten`.
const MAX_FRAMES: usize = 256;

#[derive(Debug)]
pub(crate) struct Dedup {
    window: Duration,
    frames: VecDeque<Seen>,
    /// Frames forgotten because there were too many.
    pub(crate) forgotten: u64,
}

#[derive(Debug)]
struct Seen {
    data: Vec<u8>,
    at: Duration,
    dev_eui: Option<DevEui>,
}

impl Dedup {
    pub(crate) fn new(window: Duration) -> Dedup {
        Dedup { window, frames: VecDeque::new(), forgotten: 0 }
    }

    /// None: first seen, and remembered from now on. Some: a copy within the window; the device, if the first copy was
    /// accepted.
    pub(crate) fn check(&mut self, now: Duration, data: &[u8]) -> Option<Option<DevEui>> {
        while self.frames.front().is_some_and(|seen| seen.at + self.window < now) {
            self.frames.pop_front();
        }
        if let Some(seen) = self.frames.iter().find(|seen| seen.data == data) {
            return Some(seen.dev_eui);
        }
        if self.frames.len() >= MAX_FRAMES {
            self.frames.pop_front();
            self.forgotten = self.forgotten.saturating_add(1);
        }
        self.frames.push_back(Seen { data: data.to_vec(), at: now, dev_eui: None });
        None
    }

    /// The frame last checked was accepted as this device's.
    pub(crate) fn accepted(&mut self, dev_eui: DevEui) {
        if let Some(seen) = self.frames.back_mut() {
            seen.dev_eui = Some(dev_eui);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_within_the_window() {
        let ms = Duration::from_millis;
        let mut dedup = Dedup::new(ms(200));
        assert_eq!(dedup.check(ms(0), b"a"), None);
        dedup.accepted(DevEui([1; 8]));
        assert_eq!(dedup.check(ms(10), b"b"), None);
        assert_eq!(dedup.check(ms(200), b"a"), Some(Some(DevEui([1; 8]))));
        assert_eq!(dedup.check(ms(200), b"b"), Some(None));
        assert_eq!(dedup.check(ms(201), b"a"), None);
    }

    #[test]
    fn bounded() {
        let mut dedup = Dedup::new(Duration::from_secs(1));
        for i in 0..10_000u32 {
            dedup.check(Duration::ZERO, &i.to_le_bytes());
        }
        assert_eq!(dedup.frames.len(), MAX_FRAMES);
    }
}
