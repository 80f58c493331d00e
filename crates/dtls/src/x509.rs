//! Certificates (RFC 7925 §4.4, S-12, S-41): those of the node, and what the server's is held against.

use std::fmt;
use std::sync::Arc;

use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::x509::X509;
use zeroize::Zeroizing;

use crate::chain::{self, CHAIN_MAX};
use crate::credential::CredentialError;
use crate::key;

/// Certificate chain and private key of a node. Cloning shares them.
#[derive(Clone)]
pub struct X509Identity(Arc<Parts>);

struct Parts {
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl X509Identity {
    /// `certificates`: the node's certificate first, then those that lead to the server's trust anchor, in PEM; or one in
    /// DER. `private`: the P-256 key of the first one, in PEM or DER.
    ///
    /// # Errors
    /// Something does not parse, the key is not that of the certificate, or something in the chain is weaker than the
    /// profile allows.
    pub fn new(certificates: &[u8], private: &[u8]) -> Result<Self, CredentialError> {
        let chain = read(certificates)?;
        let key = key::private(private)?;
        let first = chain.first().ok_or(CredentialError::NoCertificate)?;
        let public = first.public_key().map_err(|_| key::drain(CredentialError::CertificateForm))?;
        key::check_curve(&public)?;
        if !public.public_eq(&key) {
            return Err(CredentialError::KeyOfAnother);
        }
        if chain.len() > CHAIN_MAX {
            return Err(CredentialError::ChainLength { certificates: chain.len() });
        }
        for certificate in &chain {
            chain::strength(certificate).map_err(CredentialError::Certificate)?;
        }
        Ok(Self(Arc::new(Parts { chain, key })))
    }

    pub(crate) fn chain(&self) -> &[X509] {
        &self.0.chain
    }

    pub(crate) fn key(&self) -> &PKeyRef<Private> {
        &self.0.key
    }

    pub(crate) fn parts(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let mut parts = ders(&self.0.chain);
        parts.push(Zeroizing::new(self.0.key.private_key_to_pkcs8().unwrap_or_default()));
        parts
    }
}

impl fmt::Debug for X509Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X509Identity(..)")
    }
}

/// What the server's certificate is held against (certificate usage of LwM2M object 0).
#[derive(Clone)]
pub enum X509Trust {
    /// Usage 2: its chain must lead to one of these, and it must name the server.
    Anchors(Vec<X509Anchor>),
    /// Usage 3: it must be exactly this one. Names and dates are not looked at (RFC 7671 §5.1).
    Pinned(X509Anchor),
}

/// A certificate that is trusted as it is.
#[derive(Clone)]
pub struct X509Anchor(X509);

impl X509Trust {
    /// Trust anchors: certificates in PEM, or one in DER.
    ///
    /// # Errors
    /// There is none, it does not parse, or its key is weaker than the profile allows.
    pub fn anchors(certificates: &[u8]) -> Result<Self, CredentialError> {
        let anchors = read(certificates)?;
        if anchors.is_empty() {
            return Err(CredentialError::NoCertificate);
        }
        for anchor in &anchors {
            chain::key_strength(anchor).map_err(CredentialError::Certificate)?;
        }
        Ok(Self::Anchors(anchors.into_iter().map(X509Anchor).collect()))
    }

    /// The server's own certificate, in PEM or DER.
    ///
    /// # Errors
    /// It is not one certificate, does not parse, or its key is weaker than the profile allows.
    pub fn pinned(certificate: &[u8]) -> Result<Self, CredentialError> {
        let certificates = read(certificate)?;
        let [certificate] = &certificates[..] else {
            return Err(CredentialError::NotOneCertificate { certificates: certificates.len() });
        };
        chain::key_strength(certificate).map_err(CredentialError::Certificate)?;
        Ok(Self::Pinned(X509Anchor(certificate.clone())))
    }

    pub(crate) fn certificates(&self) -> &[X509Anchor] {
        match self {
            Self::Anchors(anchors) => anchors,
            Self::Pinned(certificate) => std::slice::from_ref(certificate),
        }
    }
}

impl X509Anchor {
    pub(crate) fn openssl(&self) -> &X509 {
        &self.0
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.to_der().unwrap_or_default()
    }
}

impl fmt::Debug for X509Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anchors(anchors) => write!(f, "Anchors({})", anchors.len()),
            Self::Pinned(_) => f.write_str("Pinned"),
        }
    }
}

fn read(bytes: &[u8]) -> Result<Vec<X509>, CredentialError> {
    key::check_size(bytes)?;
    let certificates =
        if key::is_pem(bytes) { X509::stack_from_pem(bytes) } else { X509::from_der(bytes).map(|one| vec![one]) };
    certificates.map_err(|_| CredentialError::CertificateForm)
}

fn ders(chain: &[X509]) -> Vec<Zeroizing<Vec<u8>>> {
    chain.iter().map(|certificate| Zeroizing::new(certificate.to_der().unwrap_or_default())).collect()
}
