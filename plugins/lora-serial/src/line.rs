//! Bytes of the serial line into text lines, each with the time at which its first byte began to arrive.

use std::time::Duration;

/// Longest line: `radio_rx  ` and 255 bytes as hex, with room.
const MAX_LINE_BYTES: usize = 640;

/// A line, or what came instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Printable ASCII.
    Text {
        /// Without its end.
        text: String,
        /// When its first byte began to arrive.
        began_at: Duration,
    },
    /// Anything else, or too long; so many bytes.
    Garbage(usize),
}

/// Collects bytes into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    byte_time: Duration,
    partial: Vec<u8>,
    length: usize,
    began_at: Duration,
}

impl Lines {
    /// For a line at `baud` bits per second, 8N1.
    pub(crate) fn new(baud: u32) -> Self {
        let byte_time = byte_time(baud);
        Lines { byte_time, partial: Vec::new(), length: 0, began_at: Duration::ZERO }
    }

    /// Takes `bytes` that were read at `now` and calls `each` for every line that they end. The last byte is taken to
    /// have arrived at `now`, and those before it directly one after the other.
    pub(crate) fn push(&mut self, now: Duration, bytes: &[u8], mut each: impl FnMut(Line)) {
        for (index, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' {
                each(self.end());
                continue;
            }
            if self.length == 0 {
                let from_end = u32::try_from(bytes.len() - index).unwrap_or(u32::MAX);
                self.began_at = now.saturating_sub(self.byte_time.saturating_mul(from_end));
            }
            self.length += 1;
            if self.partial.len() < MAX_LINE_BYTES {
                self.partial.push(*byte);
            }
        }
    }

    /// Forgets a line that has begun.
    pub(crate) fn clear(&mut self) {
        self.partial.clear();
        self.length = 0;
    }

    fn end(&mut self) -> Line {
        let length = self.length;
        let bytes = std::mem::take(&mut self.partial);
        self.clear();
        let text = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        match std::str::from_utf8(text) {
            Ok(text) if length <= MAX_LINE_BYTES && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => {
                Line::Text { text: text.to_string(), began_at: self.began_at }
            }
            _ => Line::Garbage(length),
        }
    }
}

/// Time of one byte on a line: start bit, eight bits, stop bit.
pub(crate) fn byte_time(baud: u32) -> Duration {
    Duration::from_nanos(10_000_000_000 / u64::from(baud.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[(u64, &[u8])]) -> Vec<Line> {
        let mut lines = Lines::new(10_000);
        let mut out = Vec::new();
        for (ms, chunk) in chunks {
            lines.push(Duration::from_millis(*ms), chunk, |line| out.push(line));
        }
        out
    }

    fn text(text: &str, began_ms: u64) -> Line {
        Line::Text { text: text.into(), began_at: Duration::from_millis(began_ms) }
    }

    /// At 10 000 baud a byte is 1 ms.
    #[test]
    fn a_line_has_the_time_of_its_first_byte_however_it_is_cut() {
        assert_eq!(lines(&[(100, b"ok\r\nradio_err\r\n")]), [text("ok", 85), text("radio_err", 89)]);
        let split: &[(u64, &[u8])] =
            &[(86, b"o"), (87, b"k"), (88, b"\r"), (89, b"\n"), (90, b"r"), (100, b"adio_err\r\n")];
        assert_eq!(lines(split), [text("ok", 85), text("radio_err", 89)]);
        assert_eq!(lines(&[(100, b"\r\n")]), [text("", 98)]);
    }

    #[test]
    fn garbage_and_endless_lines_are_counted_and_the_next_line_is_read() {
        let long = vec![b'x'; 5_000];
        assert_eq!(lines(&[(9_000, &long), (9_001, b"\nok\r\n")]).first(), Some(&Line::Garbage(5_000)));
        assert_eq!(lines(&[(100, b"\xff\x80\nok\r\n")]), [Line::Garbage(2), text("ok", 96)]);
    }
}
