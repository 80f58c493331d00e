//! Lines of commands from a descriptor that does not block.

use lpwad_link::LineReader;
use nix::errno::Errno;
use std::os::fd::AsFd;

/// Bound: Bytes that are taken in one go.
const CHUNK: usize = 4096;

/// Collects the lines of a descriptor.
#[derive(Default)]
pub(crate) struct CommandInput {
    reader: LineReader,
}

impl CommandInput {
    /// The lines that have come, possibly none; `None` is the end. An oversize line is an error of its own.
    pub(crate) fn read(&mut self, fd: impl AsFd) -> Option<Vec<Result<String, String>>> {
        let mut buffer = [0; CHUNK];
        let count = match nix::unistd::read(fd, &mut buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Some(Vec::new()),
            Ok(0) | Err(_) => return None,
            Ok(count) => count,
        };
        let mut lines = Vec::new();
        self.reader.push(buffer.get(..count).unwrap_or_default(), |line| {
            lines.push(line.map(|line| String::from_utf8_lossy(line).into_owned()).map_err(|error| error.to_string()));
        });
        Some(lines)
    }
}
