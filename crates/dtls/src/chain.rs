//! How the server's certificate chain is judged (RFC 7925 §4.4.1, RFC 6125; S-41, P-10, P-11, P-42). OpenSSL builds and
//! verifies the chain; here are the rules it does not know, and names for its refusals.

use std::net::IpAddr;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::ssl::{SslContextBuilder, SslRef, SslSessionRef, SslVerifyMode};
use openssl::stack::StackRef;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use openssl::x509::{X509, X509Ref, X509StoreContext, X509StoreContextRef};
use thiserror::Error;

use crate::context::{Trust, is_domain_name};
use crate::ffi;
use crate::notes::{self, Notes};
use crate::x509::{X509Anchor, X509Trust};

/// Longest chain without its trust anchor: the server's certificate and three others (P-10 asks for three in all).
pub const CHAIN_MAX: usize = 4;

/// OpenSSL's levels: 2 is 112 bits, which SHA-1 and RSA below 2048 do not reach.
const AUTH_LEVEL: i32 = 2;

/// Why a certificate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// No trust anchor leads to it.
    #[error("no trust anchor leads to the certificate")]
    UnknownIssuer,
    /// It is not the pinned one.
    #[error("the certificate is not the pinned one")]
    NotPinned,
    /// It names another server.
    #[error("the certificate names another server")]
    NameMismatch,
    /// It names no server where RFC 6125 looks.
    #[error("the certificate has no dNSName in its subjectAltName")]
    NoName,
    /// P-11.
    #[error("the certificate has more than one dNSName")]
    SeveralNames,
    /// P-11.
    #[error("the certificate has a wildcard name")]
    Wildcard,
    /// P-11.
    #[error("the certificate has a domain name in its common name, where RFC 7925 forbids it")]
    NameInCommonName,
    /// Its time is over.
    #[error("a certificate of the chain has expired")]
    Expired,
    /// Its time has not begun.
    #[error("a certificate of the chain is not valid yet")]
    NotYetValid,
    /// SHA-1, or another hash below SHA-256.
    #[error("a certificate of the chain is signed with a hash weaker than SHA-256")]
    WeakSignature,
    /// P-11, P-42.
    #[error("a certificate of the chain has an RSA key or signature; the profile asks for ECDSA")]
    Rsa,
    /// P-42.
    #[error("a certificate of the chain has a key that is too short, or of a kind the profile does not know")]
    WeakKey,
    /// See [`CHAIN_MAX`].
    #[error("the chain has more than {CHAIN_MAX} certificates without its trust anchor")]
    TooLong,
    /// An intermediate may not issue certificates, or the leaf may not serve.
    #[error("a certificate of the chain may not be used for this")]
    WrongUse,
    /// Signature or form.
    #[error("a certificate of the chain is damaged, or signed by another authority of the same name")]
    Invalid,
    /// Another refusal of OpenSSL.
    #[error("OpenSSL refuses the chain with verify code {0}")]
    Other(i32),
}

use CertificateProblem as Problem;

/// From X509_verify_cert_error_string(3).
fn name(code: i32) -> Problem {
    match code {
        2 | 18..=21 | 27 => Problem::UnknownIssuer,
        9 => Problem::NotYetValid,
        10 => Problem::Expired,
        22 | 25 => Problem::TooLong,
        24 | 26 | 32 | 39 | 79 => Problem::WrongUse,
        4 | 6 | 7 | 13 | 14 | 34 | 41 => Problem::Invalid,
        62 | 64 => Problem::NameMismatch,
        66 | 67 => Problem::WeakKey,
        68 => Problem::WeakSignature,
        other => Problem::Other(other),
    }
}

/// Key and signature of a certificate.
pub(crate) fn strength(certificate: &X509Ref) -> Result<(), Problem> {
    key_strength(certificate)?;
    match certificate.signature_algorithm().object().nid() {
        Nid::ECDSA_WITH_SHA256 | Nid::ECDSA_WITH_SHA384 | Nid::ECDSA_WITH_SHA512 => Ok(()),
        Nid::SHA256WITHRSAENCRYPTION | Nid::SHA384WITHRSAENCRYPTION | Nid::SHA512WITHRSAENCRYPTION | Nid::RSASSAPSS => {
            Err(Problem::Rsa)
        }
        _ => Err(Problem::WeakSignature),
    }
}

/// The key alone: nobody checks how a trust anchor is signed.
pub(crate) fn key_strength(certificate: &X509Ref) -> Result<(), Problem> {
    let key = certificate.public_key().map_err(|_| Problem::Invalid)?;
    match key.id() {
        Id::RSA | Id::RSA_PSS => Err(Problem::Rsa),
        Id::EC => {
            let group = key.ec_key().map_err(|_| Problem::Invalid)?;
            match group.group().curve_name() {
                Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1 | Nid::SECP521R1) => Ok(()),
                _ => Err(Problem::WeakKey),
            }
        }
        _ => Err(Problem::WeakKey),
    }
}

/// Names of the server's certificate, which OpenSSL has compared already.
fn names(leaf: &X509Ref) -> Result<(), Problem> {
    let found = leaf.subject_alt_names();
    let mut domains = found.iter().flatten().filter_map(|name| name.dnsname());
    let first = domains.next();
    if first.is_some() && domains.next().is_some() {
        return Err(Problem::SeveralNames);
    }
    if first.is_some_and(|name| name.contains('*')) {
        return Err(Problem::Wildcard);
    }
    for entry in leaf.subject_name().entries_by_nid(Nid::COMMONNAME) {
        let Ok(text) = entry.data().to_string() else { return Err(Problem::Invalid) };
        if text.contains('.') && is_domain_name(&text) && text.parse::<IpAddr>().is_err() {
            return Err(Problem::NameInCommonName);
        }
    }
    Ok(())
}

/// The certificates that OpenSSL has verified, leaf first, trust anchor last.
fn whole(chain: &StackRef<X509>) -> Result<(), Problem> {
    let last = chain.len().saturating_sub(1);
    for (index, certificate) in chain.iter().enumerate() {
        if index < last { strength(certificate)? } else { key_strength(certificate)? }
    }
    if last > CHAIN_MAX {
        return Err(Problem::TooLong);
    }
    chain.iter().next().map_or(Err(Problem::Invalid), names)
}

/// Has the context judge chains by these rules.
pub(crate) fn install(context: &mut SslContextBuilder, trust: &X509Trust) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for anchor in trust.certificates() {
        store.add_cert(anchor.openssl().clone())?;
    }
    // An intermediate may be the anchor.
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    context.set_cert_store(store.build());
    match trust {
        X509Trust::Anchors(_) => {
            context.verify_param_mut().set_auth_level(AUTH_LEVEL);
            context.set_verify_callback(SslVerifyMode::PEER, judge);
        }
        X509Trust::Pinned(pinned) => {
            let pinned = pinned.clone();
            context.set_verify_callback(SslVerifyMode::PEER, move |_, store| judge_pinned(store, &pinned));
        }
    }
    Ok(())
}

/// What differs from one handshake to the next: `unix_ms` is the time, if it is trusted.
pub(crate) fn prepare(ssl: &mut SslRef, trust: &X509Trust, host: &str, unix_ms: Option<u64>) -> Result<(), ErrorStack> {
    let param = ssl.param_mut();
    let seconds = unix_ms.and_then(|ms| libc::time_t::try_from(ms / 1000).ok());
    match (trust, seconds) {
        (X509Trust::Anchors(_), Some(seconds)) => param.set_time(seconds),
        _ => param.set_flags(X509VerifyFlags::NO_CHECK_TIME)?,
    }
    if matches!(trust, X509Trust::Anchors(_)) {
        param.set_hostflags(X509CheckFlags::NO_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => param.set_ip(address)?,
            Err(_) => param.set_host(host)?,
        }
    }
    Ok(())
}

/// When the server's certificate of a session ends, in ms since 1970: from then on the session stands on nothing. `None` if
/// dates do not count for this trust. Of the chain above it nothing is known any more.
pub(crate) fn ends_unix_ms(session: &SslSessionRef, trust: &Trust) -> Option<u64> {
    let certificate = ffi::server_certificate(session)?;
    // One whose date cannot be read has ended.
    matches!(trust, Trust::X509(X509Trust::Anchors(_))).then(|| unix_ms(certificate.not_after()).unwrap_or(0))
}

fn unix_ms(time: &Asn1TimeRef) -> Option<u64> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    u64::try_from(seconds).ok()?.checked_mul(1000)
}

fn judge(fine: bool, store: &mut X509StoreContextRef) -> bool {
    let problem = if fine {
        // OpenSSL comes here once for each certificate, at last with the leaf.
        if store.error_depth() > 0 {
            return true;
        }
        match store.chain().map_or(Err(Problem::Invalid), whole) {
            Ok(()) => return true,
            Err(problem) => problem,
        }
    } else {
        match (name(store.error().as_raw()), store.chain().and_then(|chain| chain.iter().next())) {
            // More telling than that no name fits.
            (Problem::NameMismatch, Some(leaf)) => match names(leaf) {
                Err(problem) => problem,
                Ok(()) if has_no_name(leaf) => Problem::NoName,
                Ok(()) => Problem::NameMismatch,
            },
            // OpenSSL's strength levels do not tell which rule it is.
            (Problem::WeakKey | Problem::WeakSignature, _) => {
                store.current_cert().and_then(|cert| strength(cert).err()).unwrap_or(name(store.error().as_raw()))
            }
            (problem, _) => problem,
        }
    };
    refuse(store, problem)
}

fn has_no_name(leaf: &X509Ref) -> bool {
    leaf.subject_alt_names()
        .is_none_or(|names| names.iter().all(|name| name.dnsname().is_none() && name.ipaddress().is_none()))
}

fn judge_pinned(store: &mut X509StoreContextRef, pinned: &X509Anchor) -> bool {
    let same = store
        .chain()
        .and_then(|chain| chain.iter().next())
        .is_some_and(|leaf| leaf.to_der().is_ok_and(|der| der == pinned.der()));
    if same {
        store.set_error(openssl::x509::X509VerifyResult::OK);
        return true;
    }
    refuse(store, Problem::NotPinned)
}

fn refuse(store: &mut X509StoreContextRef, problem: Problem) -> bool {
    if let Some(notes) = notes_of(store) {
        notes.set_problem(problem);
    }
    // Keeps the alert of OpenSSL where it refused by itself.
    if store.error() == openssl::x509::X509VerifyResult::OK {
        store.set_error(ffi::certificate_rejected());
    }
    false
}

fn notes_of(store: &X509StoreContextRef) -> Option<&Notes> {
    notes::of(store.ex_data(X509StoreContext::ssl_idx().ok()?)?)
}
