//! What all nodes share towards one server in one mode.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::X509VerifyResult;
use thiserror::Error;

use crate::credential::digest;
use crate::profile::{
    ExtraSuites, FragmentLength, HANDSHAKE_MESSAGE_MAX, Mode, TIMER_CAP_LEAST_MS, TIMER_CAP_MS, TIMER_INITIAL_MS,
    offered,
};
use crate::rpk::ServerKey;
use crate::x509::{X509Anchor, X509Trust};
use crate::{chain, ffi, notes};

/// `SSL_OP_NO_ENCRYPT_THEN_MAC`, which the `openssl` crate has no name for.
const NO_ENCRYPT_THEN_MAC: u64 = 1 << 19;

/// Bound: Smallest datagram that OpenSSL can be held to, in bytes.
pub const MTU_MIN: u16 = 256;
/// Largest datagram that it can be held to, in bytes.
pub const MTU_MAX: u16 = 9_000;

/// Towards one server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the server proves itself, which is also how the node does.
    pub trust: Trust,
    /// Largest payload of a record in both directions (S-17).
    pub max_fragment_length: FragmentLength,
    /// Largest datagram sent, in bytes without UDP and IP headers: 256 to 9000.
    pub mtu: u16,
    /// First retransmission time in milliseconds: 100 to 60,000. Below 9,000 the caller should have a reason (P-31).
    pub timer_initial_ms: u32,
    /// Longest time between two repetitions in milliseconds: 60,000 to 600,000.
    pub timer_cap_ms: u32,
    /// Suites to offer besides the one of the profile (P-41).
    pub extra_suites: ExtraSuites,
    /// Host of the server's URI. A domain name is sent as SNI (P-36); an address is not.
    pub server_name: Option<String>,
}

impl Settings {
    /// The defaults of the profile.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            max_fragment_length: FragmentLength::default(),
            mtu: 1_200,
            timer_initial_ms: TIMER_INITIAL_MS,
            timer_cap_ms: TIMER_CAP_MS,
            extra_suites: ExtraSuites::default(),
            server_name: None,
        }
    }
}

/// What the server is known by.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It knows the key of the node.
    Psk,
    /// It has exactly this key.
    Rpk(ServerKey),
    /// Its certificate is held against this. With trust anchors [`Settings::server_name`] must be set: it is the name, or
    /// the address, that the certificate must have.
    X509(X509Trust),
}

impl Trust {
    /// The mode it belongs to.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::Psk => Mode::Psk,
            Self::Rpk(_) => Mode::Rpk,
            Self::X509(_) => Mode::X509,
        }
    }

    /// Changes with mode, key and certificates: for [`Session::export`](crate::Session::export), beside the server's address
    /// and [`Credential::digest`](crate::Credential::digest).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        match self {
            Self::Psk => digest(b"trust psk", []),
            Self::Rpk(key) => digest(b"trust rpk", [&key.der()[..]]),
            Self::X509(trust) => {
                let kind: &[u8] = match trust {
                    X509Trust::Anchors(_) => b"trust anchors",
                    X509Trust::Pinned(_) => b"trust pinned",
                };
                let ders: Vec<_> = trust.certificates().iter().map(X509Anchor::der).collect();
                digest(kind, ders.iter().map(|der| &der[..]))
            }
        }
    }
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// See [`Settings::mtu`].
    #[error("the datagram size is {bytes} bytes, but must be {MTU_MIN} to {MTU_MAX}")]
    Mtu {
        /// What was asked for.
        bytes: u16,
    },
    /// See [`Settings::timer_initial_ms`].
    #[error("the initial timer is {ms} ms, but must be 100 to 60,000")]
    TimerInitial {
        /// What was asked for.
        ms: u32,
    },
    /// See [`Settings::timer_cap_ms`].
    #[error("the longest timer is {ms} ms, but must be 60,000 to 600,000")]
    TimerCap {
        /// What was asked for.
        ms: u32,
    },
    /// Not a domain name.
    #[error("the server's name is no domain name and no address")]
    ServerName,
    /// See [`Trust::X509`].
    #[error("a certificate under a trust anchor is checked against the server's name, and none is set")]
    NameNeeded,
    /// OpenSSL refused.
    #[error("OpenSSL: {0}")]
    OpenSsl(String),
}

impl From<ErrorStack> for SettingsError {
    fn from(error: ErrorStack) -> Self {
        Self::OpenSsl(reason(&error))
    }
}

/// The texts of an error stack; they are constants of OpenSSL and hold no data of ours.
pub(crate) fn reason(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack.errors().iter().filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join(", ") }
}

/// Shared by all nodes towards one server. Cloning is cheap; it may be used from several threads.
#[derive(Clone)]
pub struct ClientContext(Arc<Parts>);

struct Parts {
    ssl: SslContext,
    settings: Settings,
    sni: Option<String>,
}

impl ClientContext {
    /// # Errors
    /// A setting out of range, or a refusal of OpenSSL.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        ffi::init();
        if !(MTU_MIN..=MTU_MAX).contains(&settings.mtu) {
            return Err(SettingsError::Mtu { bytes: settings.mtu });
        }
        if !(100..=60_000).contains(&settings.timer_initial_ms) {
            return Err(SettingsError::TimerInitial { ms: settings.timer_initial_ms });
        }
        if !(TIMER_CAP_LEAST_MS..=600_000).contains(&settings.timer_cap_ms) {
            return Err(SettingsError::TimerCap { ms: settings.timer_cap_ms });
        }
        let sni = match settings.server_name.as_deref() {
            None => None,
            Some(name) if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => None,
            Some(name) if is_domain_name(name) => Some(name.to_owned()),
            Some(_) => return Err(SettingsError::ServerName),
        };
        if matches!(settings.trust, Trust::X509(X509Trust::Anchors(_))) && settings.server_name.is_none() {
            return Err(SettingsError::NameNeeded);
        }
        let ssl = build(&settings)?;
        Ok(Self(Arc::new(Parts { ssl, settings, sni })))
    }

    /// What it was made from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn ssl(&self) -> &SslContext {
        &self.0.ssl
    }

    pub(crate) fn sni(&self) -> Option<&str> {
        self.0.sni.as_deref()
    }

    pub(crate) fn mode(&self) -> Mode {
        self.0.settings.trust.mode()
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientContext").field(&self.0.settings).finish()
    }
}

fn build(settings: &Settings) -> Result<SslContext, ErrorStack> {
    let mode = settings.trust.mode();
    let mut context = SslContextBuilder::new(SslMethod::dtls_client())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    context.clear_options(SslOptions::from_bits_retain(!0));
    context.set_options(
        SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_QUERY_MTU
            | SslOptions::NO_TICKET
            | SslOptions::from_bits_retain(NO_ENCRYPT_THEN_MAC),
    );
    context.set_mode(SslMode::RELEASE_BUFFERS);
    context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    // Level 0 admits the 8-byte tag. It opens nothing else: the list names each suite, and certificates are checked by
    // rules of their own.
    let names: Vec<&str> = offered(mode, settings.extra_suites).map(|suite| suite.openssl).collect();
    context.set_cipher_list(&format!("{}:@SECLEVEL=0", names.join(":")))?;
    context.set_groups_list("P-256")?;
    context.set_sigalgs_list("ECDSA+SHA256")?;
    ffi::set_max_fragment_length(&mut context, settings.max_fragment_length.code())?;
    ffi::set_sizes(&mut context, settings.max_fragment_length.bytes(), HANDSHAKE_MESSAGE_MAX)?;
    match &settings.trust {
        // The hint of the server is ignored (P-06).
        Trust::Psk => context.set_psk_client_callback(|ssl, _hint, identity, key| {
            Ok(notes::of(ssl).and_then(notes::Notes::psk).map_or(0, |psk| psk.fill(identity, key)))
        }),
        Trust::Rpk(_) => {
            ffi::set_raw_public_keys(&mut context)?;
            // Without this OpenSSL would answer a wrong key by an alert that is named after certificates (P-09).
            context.set_verify_callback(SslVerifyMode::PEER, |fine, store| {
                if !fine {
                    store.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
                }
                fine
            });
        }
        Trust::X509(trust) => chain::install(&mut context, trust)?,
    }
    Ok(context.build())
}

/// Labels of letters, digits and hyphens (RFC 1123 §2.1), at most 253 bytes; a trailing dot is not sent (RFC 6066 §3).
pub(crate) fn is_domain_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Settings)) -> Result<ClientContext, SettingsError> {
        let mut settings = Settings::new(Trust::Psk);
        change(&mut settings);
        ClientContext::new(settings)
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        assert_eq!(with(|s| s.mtu = 255).unwrap_err(), SettingsError::Mtu { bytes: 255 });
        assert_eq!(with(|s| s.timer_initial_ms = 99).unwrap_err(), SettingsError::TimerInitial { ms: 99 });
        assert_eq!(with(|s| s.timer_cap_ms = 59_999).unwrap_err(), SettingsError::TimerCap { ms: 59_999 });
        for name in ["", "a..b", "-a.example", "a b", "ex\0ample", "host."] {
            assert_eq!(with(|s| s.server_name = Some(name.into())).unwrap_err(), SettingsError::ServerName, "{name}");
        }
    }

    #[test]
    fn p36_only_a_domain_name_is_sent_as_sni() {
        let sni = |name: &str| with(|s| s.server_name = Some(name.into())).unwrap().sni().map(str::to_owned);
        assert_eq!(sni("lwm2m.example.org").as_deref(), Some("lwm2m.example.org"));
        assert_eq!(sni("192.0.2.1"), None);
        assert_eq!(sni("[2001:db8::1]"), None);
        assert_eq!(sni("2001:db8::1"), None);
    }
}
