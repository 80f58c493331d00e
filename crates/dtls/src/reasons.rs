//! From the errors of OpenSSL to failures.

use openssl::ssl::{Error, SslStream};

use crate::chain::CertificateProblem;
use crate::context::reason;
use crate::failure::Failure;
use crate::notes;
use crate::profile::Mode;
use crate::wire::Wire;

// Reasons of `openssl/sslerr.h`; they are part of OpenSSL's stable interface.
const CERTIFICATE_VERIFY_FAILED: i32 = 134;
const INCONSISTENT_EXTMS: i32 = 104;
const INVALID_MAX_FRAGMENT_LENGTH: i32 = 232;
const NO_CIPHERS_AVAILABLE: i32 = 181;
const UNKNOWN_CIPHER_RETURNED: i32 = 248;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const WRONG_CIPHER_RETURNED: i32 = 261;
const WRONG_SSL_VERSION: i32 = 266;

/// What an error of the handshake means that was not an alert of the server.
pub(crate) fn meaning(mode: Mode, stream: &SslStream<Wire>, error: &Error) -> Failure {
    let alert = stream.get_ref().alert_sent();
    let Some(stack) = error.ssl_error() else {
        return Failure::Protocol { reason: "the connection was closed".to_owned(), alert };
    };
    let has = |wanted: &[i32]| stack.errors().iter().any(|error| wanted.contains(&error.reason_code()));
    if has(&[CERTIFICATE_VERIFY_FAILED]) {
        match mode {
            Mode::Psk | Mode::Rpk => Failure::WrongServerKey,
            Mode::X509 => {
                let code = stream.ssl().verify_result().as_raw();
                let problem = notes::of(stream.ssl()).and_then(notes::Notes::problem);
                Failure::Certificate(problem.unwrap_or(CertificateProblem::Other(code)))
            }
        }
    } else if has(&[INVALID_MAX_FRAGMENT_LENGTH]) {
        Failure::BadEcho
    } else if has(&[UNSUPPORTED_PROTOCOL, WRONG_SSL_VERSION]) {
        Failure::ProtocolVersion { sent: true }
    } else if has(&[UNKNOWN_CIPHER_RETURNED, WRONG_CIPHER_RETURNED]) {
        Failure::NoCommonSuite { alert: None }
    } else if has(&[INCONSISTENT_EXTMS]) {
        Failure::Protocol { reason: "extended master secret differs from the resumed session".to_owned(), alert }
    } else if alert.is_none() && has(&[NO_CIPHERS_AVAILABLE]) {
        Failure::Local(format!("OpenSSL: {}", reason(stack)))
    } else {
        Failure::Protocol { reason: reason(stack), alert }
    }
}
