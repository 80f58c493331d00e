//! Raw public keys (RFC 7250, RFC 7925 §4.3, S-40, P-08, P-09).

use std::fmt;

use openssl::pkey::{PKey, PKeyRef, Private, Public};
use zeroize::Zeroizing;

use crate::credential::CredentialError;
use crate::key;

/// The key pair of a node. Cloning shares it.
#[derive(Clone)]
pub struct RpkKey(PKey<Private>);

impl RpkKey {
    /// A P-256 private key in PEM or DER, PKCS #8 (RFC 5958) or SEC1.
    ///
    /// # Errors
    /// It does not parse, is encrypted, or lies on another curve.
    pub fn new(private: &[u8]) -> Result<Self, CredentialError> {
        key::private(private).map(Self)
    }

    /// The public key for the server's side: a `SubjectPublicKeyInfo` in DER, 91 bytes.
    ///
    /// # Errors
    /// OpenSSL refuses to encode it.
    pub fn public_der(&self) -> Result<Vec<u8>, CredentialError> {
        self.0.public_key_to_der().map_err(|_| CredentialError::PublicKeyForm)
    }

    pub(crate) fn openssl(&self) -> &PKeyRef<Private> {
        &self.0
    }

    pub(crate) fn secret_der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.private_key_to_pkcs8().unwrap_or_default())
    }
}

impl fmt::Debug for RpkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RpkKey(..)")
    }
}

/// The one key that the server may have.
#[derive(Clone)]
pub struct ServerKey(PKey<Public>);

impl ServerKey {
    /// A P-256 `SubjectPublicKeyInfo` in PEM or DER.
    ///
    /// # Errors
    /// It does not parse, or lies on another curve.
    pub fn new(public: &[u8]) -> Result<Self, CredentialError> {
        key::public(public).map(Self)
    }

    pub(crate) fn openssl(&self) -> &PKeyRef<Public> {
        &self.0
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.public_key_to_der().unwrap_or_default()
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(..)")
    }
}
