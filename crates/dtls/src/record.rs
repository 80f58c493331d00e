//! Headers of records (RFC 6347 §4.1): only what can be read without keys.

use crate::profile::{RECORD_HEADER, VERSION};

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// One record of a datagram, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) content: u8,
    pub(crate) version: [u8; 2],
    pub(crate) epoch: u16,
    /// 48 bits.
    pub(crate) sequence: u64,
    /// What follows the header.
    pub(crate) body: &'a [u8],
    /// With its header.
    pub(crate) bytes: &'a [u8],
}

impl Record<'_> {
    /// Level and code, if it is a plaintext alert.
    pub(crate) fn plain_alert(&self) -> Option<(u8, u8)> {
        match (self.content, self.epoch, self.body) {
            (ALERT, 0, [level, code]) => Some((*level, *code)),
            _ => None,
        }
    }

    /// Whether its version is the one spoken here.
    pub(crate) fn is_dtls_12(&self) -> bool {
        self.version == VERSION
    }
}

/// The whole records at the front of `datagram`; what does not parse, and all after it, is left out.
pub(crate) fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let &[content, major, minor, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] = rest.first_chunk::<RECORD_HEADER>()?;
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([l0, l1]));
        let (bytes, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(Record {
            content,
            version: [major, minor],
            epoch: u16::from_be_bytes([e0, e1]),
            sequence: u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]),
            body: bytes.get(RECORD_HEADER..).unwrap_or_default(),
            bytes,
        })
    })
}

/// Which sequence numbers were seen (RFC 6347 §4.1.2.6).
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// One above the highest.
    next: u64,
    /// Bit `n`: `next - 1 - n` was seen.
    seen: u64,
}

impl Window {
    /// Whether `sequence` was seen, or is too old to tell.
    pub(crate) fn is_old(&self, sequence: u64) -> bool {
        match self.next.checked_sub(sequence.saturating_add(1)) {
            None => false,
            Some(age) => age >= u64::from(u64::BITS) || self.seen >> age & 1 == 1,
        }
    }

    /// Notes an authentic record.
    pub(crate) fn mark(&mut self, sequence: u64) {
        let next = sequence.saturating_add(1);
        if let Some(age) = self.next.checked_sub(next) {
            if age < u64::from(u64::BITS) {
                self.seen |= 1 << age;
            }
        } else {
            let shift = u32::try_from(next - self.next).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.next = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_and_rubbish_ends_them() {
        let mut datagram = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 7, 0, 2, 1, 2];
        datagram.extend([21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 8, 0, 2, 2, 40]);
        datagram.extend([23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 9, 1]);
        let found: Vec<_> = records(&datagram).collect();
        assert_eq!(found.len(), 2, "the third is cut off");
        assert_eq!((found[0].content, found[0].epoch, found[0].sequence), (22, 0, 7));
        assert_eq!(found[0].body, [1, 2]);
        assert_eq!(found[0].plain_alert(), None);
        assert_eq!(found[1].plain_alert(), Some((2, 40)));
        assert_eq!(records(&datagram[..12]).count(), 0);
        assert_eq!(records(&[]).count(), 0);
    }

    #[test]
    fn a_window_knows_what_it_has_seen() {
        let mut window = Window::default();
        assert!(!window.is_old(0));
        window.mark(0);
        assert!(window.is_old(0));
        window.mark(70);
        assert!(window.is_old(70) && window.is_old(0) && window.is_old(6), "6 is 64 behind: too old");
        assert!(!window.is_old(7) && !window.is_old(71));
        window.mark(7);
        assert!(window.is_old(7) && !window.is_old(8));
        window.mark(1 << 47);
        assert!(window.is_old(70) && !window.is_old((1 << 47) - 1));
        window.mark(u64::MAX);
        assert!(window.is_old(3));
    }
}
