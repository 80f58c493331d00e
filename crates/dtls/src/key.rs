//! Keys as they stand in files and LwM2M resources: PEM or DER, P-256 only (P-08, P-10, P-42).

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};

use crate::credential::CredentialError;
use crate::ffi;

/// Longest file that is read, in bytes.
pub(crate) const FILE_MAX: usize = 64 * 1024;

pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN ")
}

pub(crate) fn check_size(bytes: &[u8]) -> Result<(), CredentialError> {
    ffi::init();
    if bytes.len() > FILE_MAX { Err(CredentialError::FileLength { bytes: bytes.len() }) } else { Ok(()) }
}

/// PKCS #8 (RFC 5958) or SEC1 (RFC 5915), not encrypted.
pub(crate) fn private(bytes: &[u8]) -> Result<PKey<Private>, CredentialError> {
    check_size(bytes)?;
    let key = if is_pem(bytes) {
        let mut asked = false;
        // Without the callback OpenSSL would ask at the terminal.
        let key = PKey::private_key_from_pem_callback(bytes, |_| {
            asked = true;
            Err(ErrorStack::get())
        });
        if asked {
            return Err(drain(CredentialError::PrivateKeyEncrypted));
        }
        key
    } else {
        PKey::private_key_from_der(bytes)
    };
    let key = key.map_err(|_: ErrorStack| CredentialError::PrivateKeyForm)?;
    check_curve(&key)?;
    match key.ec_key().map(|key| key.check_key()) {
        Ok(Ok(())) => Ok(key),
        _ => Err(drain(CredentialError::PrivateKeyForm)),
    }
}

/// A `SubjectPublicKeyInfo` (RFC 7250 §3).
pub(crate) fn public(bytes: &[u8]) -> Result<PKey<Public>, CredentialError> {
    check_size(bytes)?;
    let key = if is_pem(bytes) { PKey::public_key_from_pem(bytes) } else { PKey::public_key_from_der(bytes) };
    let key = key.map_err(|_: ErrorStack| CredentialError::PublicKeyForm)?;
    check_curve(&key)?;
    Ok(key)
}

pub(crate) fn check_curve<T: HasPublic>(key: &PKeyRef<T>) -> Result<(), CredentialError> {
    if is_p256(key) { Ok(()) } else { Err(CredentialError::NotP256) }
}

pub(crate) fn is_p256<T: HasPublic>(key: &PKeyRef<T>) -> bool {
    key.id() == Id::EC && key.ec_key().is_ok_and(|key| key.group().curve_name() == Some(Nid::X9_62_PRIME256V1))
}

/// Empties the error queue of this thread, so that it does not speak at the next failure.
pub(crate) fn drain(error: CredentialError) -> CredentialError {
    let _ = ErrorStack::get();
    error
}
