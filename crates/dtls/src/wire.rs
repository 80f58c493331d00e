//! The datagram side of an OpenSSL connection: records in, datagrams out.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use crate::profile::RECORD_HEADER;
use crate::record::{CHANGE_CIPHER_SPEC, records};

/// What OpenSSL reads from and writes to. OpenSSL gets one record at a time: its buffer is as large as one record of the
/// agreed length, and would cut a datagram with several.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    inbound: VecDeque<Vec<u8>>,
    outbound: Vec<u8>,
    alert_sent: Option<u8>,
    keys_sent: bool,
}

impl Wire {
    /// Lays a record ready.
    pub(crate) fn push(&mut self, record: &[u8]) {
        self.inbound.push_back(record.to_vec());
    }

    /// The records written since the last call, packed into datagrams of at most `mtu` bytes.
    pub(crate) fn take_datagrams(&mut self, mtu: usize) -> Vec<Vec<u8>> {
        let written = std::mem::take(&mut self.outbound);
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        for record in records(&written) {
            match datagrams.last_mut() {
                Some(last) if last.len() + record.bytes.len() <= mtu => last.extend_from_slice(record.bytes),
                _ => datagrams.push(record.bytes.to_vec()),
            }
        }
        datagrams
    }

    /// Whether something was written since the last call of [`Wire::take_datagrams`].
    pub(crate) fn has_written(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// Code of the last plaintext alert that OpenSSL sent.
    pub(crate) fn alert_sent(&self) -> Option<u8> {
        self.alert_sent
    }

    /// Whether a ChangeCipherSpec was sent: all that follows from here is under keys.
    pub(crate) fn keys_sent(&self) -> bool {
        self.keys_sent
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(record) = self.inbound.pop_front() {
            if let Some(place) = buffer.get_mut(..record.len()) {
                place.copy_from_slice(&record);
                return Ok(record.len());
            }
            // Longer than any record that was agreed: nobody honest sends it.
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for record in records(bytes) {
            if let Some((_, code)) = record.plain_alert() {
                self.alert_sent = Some(code);
            }
            self.keys_sent |= record.content == CHANGE_CIPHER_SPEC;
        }
        debug_assert_eq!(records(bytes).map(|record| record.bytes.len()).sum::<usize>(), bytes.len());
        self.outbound.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that a sealed record is longer than its payload.
pub(crate) const fn overhead(tag: usize) -> usize {
    RECORD_HEADER + crate::profile::EXPLICIT_NONCE + tag
}
