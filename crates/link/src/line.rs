//! Bytes into lines, with a cap: a peer that never ends its line costs 64 KiB and no more.

/// Longest line in bytes, without its end.
/// Counted: `bad_lines`.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// A line grew over [`MAX_LINE_BYTES`]; it is dropped up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line longer than {MAX_LINE_BYTES} bytes")]
pub struct Oversize;

/// Collects bytes as they come and hands out whole lines.
#[derive(Debug, Default)]
pub struct LineReader {
    partial: Vec<u8>,
    skipping: bool,
}

impl LineReader {
    /// Takes `bytes` and calls `each` once for every line that they end, in order. `\n` ends a line; a `\r` before it
    /// and empty lines are dropped. An oversize line is reported once, when the cap is passed.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Result<&[u8], Oversize>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if !self.skipping {
                if self.partial.len() + text.len() > MAX_LINE_BYTES {
                    self.skipping = true;
                    self.partial = Vec::new();
                    each(Err(Oversize));
                } else {
                    self.partial.extend_from_slice(text);
                }
            }
            if ended {
                let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
                if !self.skipping && !line.is_empty() {
                    each(Ok(line));
                }
                self.partial.clear();
                self.skipping = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Result<String, Oversize>> {
        let mut reader = LineReader::default();
        let mut out = Vec::new();
        for chunk in chunks {
            reader.push(chunk, |line| out.push(line.map(|l| String::from_utf8_lossy(l).into_owned())));
        }
        out
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let whole = lines(&[b"a\r\n\nbc\ndef"]);
        assert_eq!(whole, [Ok("a".into()), Ok("bc".into())]);
        let bytes: Vec<&[u8]> = b"a\r\n\nbc\ndef".chunks(1).collect();
        assert_eq!(lines(&bytes), whole);
    }

    #[test]
    fn oversize_line_is_reported_once_and_the_next_line_is_read() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(lines(&[&long, &long, b"tail\nok\n"]), [Err(Oversize), Ok("ok".into())]);
        let longest = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(lines(&[&longest, b"\n"]).len(), 1);
        assert!(lines(&[&longest, b"\n"])[0].is_ok());
    }
}
