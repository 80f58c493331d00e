//! Sessions as bytes, so that they outlive the process (S-20, S-21, P-18).
//!
//! Form: version (1 byte, now 1), digest of the context (32), SHA-256 of all the rest (32), agreed fragment length code (1),
//! session in DER (the rest). The caller seals it: it holds the master secret.

use std::fmt;

use openssl::sha::Sha256;
use openssl::ssl::{SslSession, SslSessionRef};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::context::Trust;
use crate::profile::FragmentLength;
use crate::{chain, ffi};

const VERSION: u8 = 1;
const HEADER: usize = 1 + 32 + 32 + 1;

/// Longest export that is read, in bytes: X.509 sessions hold the server's certificate.
pub const EXPORT_MAX: usize = 8 * 1024;

/// Why an export is not used. Each of them costs one full handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Written by another release.
    #[error("the session was written in another format")]
    Version,
    /// Server, mode or credential are not those it was made with.
    #[error("the session belongs to another server, mode or credential")]
    OtherContext,
    /// It is not what was written.
    #[error("the session is damaged")]
    Damaged,
}

/// A session to resume.
pub struct ExportedSession(SslSession);

impl ExportedSession {
    /// Reads what [`Session::export`](crate::Session::export) wrote. `context` must be the same as there.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import(bytes: &[u8], context: &[u8; 32]) -> Result<Self, ImportError> {
        ffi::init();
        if bytes.len() > EXPORT_MAX {
            return Err(ImportError::Damaged);
        }
        let (version, rest) = bytes.split_first().ok_or(ImportError::Damaged)?;
        if *version != VERSION {
            return Err(ImportError::Version);
        }
        let (bound, rest) = rest.split_first_chunk::<32>().ok_or(ImportError::Damaged)?;
        let (sum, body) = rest.split_first_chunk::<32>().ok_or(ImportError::Damaged)?;
        if *sum != checksum(bound, body) {
            return Err(ImportError::Damaged);
        }
        if bound != context {
            return Err(ImportError::OtherContext);
        }
        let (length, der) = body.split_first().ok_or(ImportError::Damaged)?;
        let session = SslSession::from_der(der).map_err(|_| ImportError::Damaged)?;
        if session.id().is_empty() || ffi::max_fragment_length(&session) != *length {
            return Err(ImportError::Damaged);
        }
        Ok(Self(session))
    }

    pub(crate) fn openssl(&self) -> &SslSessionRef {
        &self.0
    }

    /// Whether it may be offered together with this fragment length: an agreed one holds across resumption, and a server
    /// refuses another (RFC 6066 §4).
    pub(crate) fn agrees_with(&self, length: FragmentLength) -> bool {
        [0, length.code()].contains(&ffi::max_fragment_length(&self.0))
    }

    /// Whether the server's certificate has ended, where dates count and the time is known: resuming would not look at it.
    pub(crate) fn has_ended(&self, trust: &Trust, unix_ms: Option<u64>) -> bool {
        unix_ms.zip(chain::ends_unix_ms(&self.0, trust)).is_some_and(|(now, end)| now >= end)
    }

    pub(crate) fn share(&self) -> Self {
        Self((*self.0).to_owned())
    }
}

impl fmt::Debug for ExportedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportedSession(..)")
    }
}

pub(crate) fn write(session: &SslSessionRef, context: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
    let der = Zeroizing::new(session.to_der().ok()?);
    let length = ffi::max_fragment_length(session);
    debug_assert!(length == 0 || FragmentLength::from_code(length).is_some());
    let mut body = Zeroizing::new(Vec::with_capacity(1 + der.len()));
    body.push(length);
    body.extend_from_slice(&der);
    let bytes = envelope(context, &body);
    (bytes.len() <= EXPORT_MAX).then_some(bytes)
}

pub(crate) fn envelope(context: &[u8; 32], body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER + body.len()));
    bytes.push(VERSION);
    bytes.extend_from_slice(context);
    bytes.extend_from_slice(&checksum(context, body));
    bytes.extend_from_slice(body);
    bytes
}

fn checksum(context: &[u8; 32], body: &[u8]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(&[VERSION]);
    sha.update(context);
    sha.update(body);
    sha.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_what_was_not_written_is_refused() {
        let mut bytes = vec![1; HEADER + 10];
        assert_eq!(ExportedSession::import(&bytes, &[1; 32]).unwrap_err(), ImportError::Damaged);
        bytes[0] = 2;
        assert_eq!(ExportedSession::import(&bytes, &[1; 32]).unwrap_err(), ImportError::Version);
        for length in 0..HEADER {
            assert!(ExportedSession::import(&vec![1; length], &[1; 32]).is_err());
        }
        assert_eq!(ExportedSession::import(&vec![1; EXPORT_MAX + 1], &[1; 32]).unwrap_err(), ImportError::Damaged);
        // A checksum that fits, over what is no session.
        let mut bytes = vec![1; 33];
        bytes.extend(checksum(&[1; 32], &[1, 0x30, 0x80]));
        bytes.extend([1, 0x30, 0x80]);
        assert_eq!(ExportedSession::import(&bytes, &[1; 32]).unwrap_err(), ImportError::Damaged);
        assert_eq!(ExportedSession::import(&bytes, &[2; 32]).unwrap_err(), ImportError::OtherContext);
    }
}
