//! Servers: addresses, and how DTLS is spoken with them.

use super::credential::digest;
use super::document::At;
use super::error::ConfigError;
use super::file::{self, Server as Raw};
use super::keys::CERTIFICATE;
use super::{Checker, DtlsMode, Scheme, Security, Server, ServerUri, bound};
use std::path::{Path, PathBuf};

/// Largest file of keys or certificates of servers in bytes.
const MAX_PUBLIC_BYTES: u64 = 64 * 1024;
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----";

/// First wait of the handshake timer in s (RFC 7925 §11).
const TIMER_INITIAL_S: u32 = bound::DTLS_TIMER_INITIAL_S.default() as u32;
/// Longest wait of the handshake timer in s: 9, 18, 36, 72.
const TIMER_CAP_S: u32 = bound::DTLS_TIMER_CAP_S.default() as u32;

/// How DTLS is spoken with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dtls {
    /// The server's raw public key (SubjectPublicKeyInfo), PEM or DER as in its file; it must match exactly.
    pub server_public_key: Option<Vec<u8>>,
    /// PEM certificates that the server's chain must lead to (usage 2 of `/0/0/15`).
    pub trust_anchors: Option<Vec<u8>>,
    /// The one certificate that the server has, PEM or DER (usage 3); never together with `trust_anchors`.
    pub server_certificate: Option<Vec<u8>>,
    /// Longest record that is asked for in bytes: 512, 1024, 2048 or 4096 (RFC 6066 §4).
    pub max_fragment_length: u16,
    /// Cipher suites, best first; at least one, none twice.
    pub suites: Vec<Suite>,
    /// Wait before a handshake message is repeated for the first time in s, 1 to 60.
    pub timer_initial_s: u32,
    /// Longest wait before a handshake message is repeated in s, 60 to 600.
    pub timer_cap_s: u32,
    /// Identities of keys that `lpwad key new` makes, and of those in a key file that have none.
    pub psk_identity: PskIdentity,
}

impl Default for Dtls {
    fn default() -> Self {
        Dtls {
            server_public_key: None,
            trust_anchors: None,
            server_certificate: None,
            max_fragment_length: bound::MAX_FRAGMENT_LENGTH.default() as u16,
            suites: vec![Suite::Ccm8],
            timer_initial_s: TIMER_INITIAL_S,
            timer_cap_s: TIMER_CAP_S,
            psk_identity: PskIdentity::Random,
        }
    }
}

/// Cipher suites with AES-128, for each kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `TLS_PSK_WITH_AES_128_CCM_8`, `TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8`
    Ccm8,
    /// `TLS_PSK_WITH_AES_128_CCM`, `TLS_ECDHE_ECDSA_WITH_AES_128_CCM`
    Ccm,
    /// `TLS_PSK_WITH_AES_128_GCM_SHA256`, `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`
    Gcm,
}

/// What a new PSK identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PskIdentity {
    /// Random: who reads the handshake does not learn which node it is (RFC 7925 §22).
    Random,
    /// The endpoint name.
    Endpoint,
}

impl Server {
    /// Digest (SHA-256) of its name, its address and what it is trusted by: what a DTLS session with it stands on.
    #[must_use]
    pub fn dtls_identity(&self) -> [u8; 32] {
        let uri = self.secure_uri.as_ref().map(ToString::to_string).unwrap_or_default();
        let trust = [&self.dtls.server_public_key, &self.dtls.trust_anchors, &self.dtls.server_certificate];
        let [key, anchors, certificate] = trust.map(|part| part.as_deref().unwrap_or_default());
        digest(&[self.name.as_bytes(), uri.as_bytes(), key, anchors, certificate])
    }

    /// Whether a handshake by a credential of this kind holds dates against the clock: a chain of certificates has some that
    /// count; a pinned certificate, a raw public key and a pre-shared key have none.
    #[must_use]
    pub fn dates_count(&self, mode: DtlsMode) -> bool {
        mode == DtlsMode::X509 && self.dtls.server_certificate.is_none()
    }
}

/// Reads a public file, PEM with one of `labels`, or DER if `der`. Links are followed.
pub(super) fn read_public(path: &Path, labels: &[&str], der: bool) -> Result<Vec<u8>, ConfigError> {
    let fail = |problem: String| ConfigError::file(path, problem);
    let bytes = file::read_public(path, MAX_PUBLIC_BYTES)?;
    let has = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    if has("PRIVATE KEY-----") {
        return Err(fail("holds a private key, where something public belongs".into()));
    }
    // 0x30: a SEQUENCE, which keys and certificates are.
    if labels.iter().any(|label| has(label)) || (der && bytes.first() == Some(&0x30)) {
        return Ok(bytes);
    }
    Err(fail(format!(
        "no PEM of the right kind (`{}`){}",
        labels.join("` or `"),
        if der { ", and no DER" } else { "" }
    )))
}

impl Checker<'_> {
    fn dtls(&mut self, name: &At<String>, raw: &Raw) -> Dtls {
        let default = Dtls::default();
        let server_public_key =
            self.public(raw.server_public_key.as_ref(), "server.server_public_key", PUBLIC_KEY, true);
        let trust_anchors = self.public(raw.trust_anchors.as_ref(), "server.trust_anchors", CERTIFICATE, false);
        let server_certificate =
            self.public(raw.server_certificate.as_ref(), "server.server_certificate", CERTIFICATE, true);
        if let (Some(at), Some(_)) = (&raw.server_certificate, &raw.trust_anchors) {
            let hint = "trust_anchors for a chain that is checked, server_certificate for one certificate and no other";
            self.refuse(at, "server.server_certificate", "stands beside trust_anchors: keep one", hint);
        }
        let max_fragment_length = match &raw.max_fragment_length {
            None => default.max_fragment_length,
            Some(at) => match u16::try_from(at.value) {
                Ok(length @ (512 | 1024 | 2048 | 4096)) => length,
                _ => {
                    let problem = format!("{} is not 512, 1024, 2048 or 4096", at.value);
                    self.refuse(
                        at,
                        "server.max_fragment_length",
                        problem,
                        "512 suits constrained servers (RFC 6066 §4)",
                    );
                    default.max_fragment_length
                }
            },
        };
        let suites = raw.suites.as_ref().map_or(default.suites, |at| self.suites(at));
        let (timer_initial_s, timer_cap_s) = self.timers(name, raw);
        let psk_identity = match &raw.psk_identity {
            None => default.psk_identity,
            Some(at) => match at.value.as_str() {
                "random" => PskIdentity::Random,
                "endpoint" => PskIdentity::Endpoint,
                other => {
                    let problem = format!("\"{other}\" is not known");
                    self.refuse(
                        at,
                        "server.psk_identity",
                        problem,
                        "psk_identity is \"random\" (default) or \"endpoint\"",
                    );
                    default.psk_identity
                }
            },
        };
        Dtls {
            server_public_key,
            trust_anchors,
            server_certificate,
            max_fragment_length,
            suites,
            timer_initial_s,
            timer_cap_s,
            psk_identity,
        }
    }

    fn public(&mut self, at: Option<&At<PathBuf>>, key: &str, label: &str, der: bool) -> Option<Vec<u8>> {
        let at = at?;
        let home = self.path.parent().unwrap_or(Path::new("."));
        let path = self.layers.sources.file(at).parent().unwrap_or(home).join(&at.value);
        match read_public(&path, &[label], der) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let problem = format!("{}: {}", path.display(), error.problem);
                self.refuse(at, key, problem, "a file that the operator of the server gives out");
                None
            }
        }
    }

    fn suites(&mut self, at: &At<Vec<String>>) -> Vec<Suite> {
        let mut suites = Vec::new();
        let mut problem = at.value.is_empty().then(|| "is empty".to_string());
        for name in &at.value {
            let suite = match name.as_str() {
                "ccm8" => Suite::Ccm8,
                "ccm" => Suite::Ccm,
                "gcm" => Suite::Gcm,
                other => {
                    problem = Some(format!("\"{other}\" is not known"));
                    continue;
                }
            };
            if suites.contains(&suite) {
                problem = Some(format!("\"{name}\" stands twice"));
            }
            suites.push(suite);
        }
        if let Some(problem) = problem {
            self.refuse(
                at,
                "server.suites",
                problem,
                "suites = [\"ccm8\"], and \"ccm\" or \"gcm\" where the server needs them",
            );
        }
        suites
    }

    fn timers(&mut self, name: &At<String>, raw: &Raw) -> (u32, u32) {
        let cap_s = raw.dtls_timer_cap_s.as_ref().map_or(TIMER_CAP_S, |at| at.value);
        if let Some(at) = &raw.dtls_timer_cap_s {
            self.within(at, &bound::DTLS_TIMER_CAP_S, "72: waits of 9, 18, 36, 72 s");
        }
        let Some(at) = &raw.dtls_timer_initial_s else { return (TIMER_INITIAL_S, cap_s) };
        let reason = raw.dtls_timer_reason.as_ref().map_or("", |at| at.value.trim());
        let initial = bound::DTLS_TIMER_INITIAL_S;
        self.within(at, &initial, "9 (RFC 7925 §11)");
        if initial.problem(at.value).is_some() {
            return (at.value, cap_s);
        }
        if at.value < TIMER_INITIAL_S && reason.is_empty() {
            let hint = "say why in dtls_timer_reason = \"...\", or leave it at 9 (RFC 7925 §11)";
            self.refuse(at, initial.key, format!("{} s is below 9 s without a reason", at.value), hint);
        } else if at.value < TIMER_INITIAL_S {
            self.warnings.push(format!(
                "server {}: handshakes are repeated after {} s, not 9 s: {reason}",
                name.value, at.value
            ));
        }
        (at.value, cap_s)
    }
    pub(super) fn servers(&mut self) -> Vec<Server> {
        let mut servers = Vec::new();
        for raw in self.layers.servers.clone() {
            let Some(name) = raw.name.clone() else {
                self.missing("server.name", "a [[server]] has no name", "name = \"site\"");
                continue;
            };
            self.not_empty(
                &name,
                "server.name",
                "name = \"site\": nodes, events and `lpwad status` tell servers by it",
            );
            let dtls = self.dtls(&name, &raw);
            if raw.uri.is_none() && raw.secure_uri.is_none() {
                let hint = "secure_uri = \"coaps://127.0.0.1:5684\"; or uri = \"coap://...\" where a threat analysis permits it";
                self.refuse(&name, "server", "has neither uri nor secure_uri", hint);
            }
            let uri = raw.uri.and_then(|at| self.uri(&at, "server.uri", Scheme::Coap));
            let secure_uri = raw.secure_uri.and_then(|at| self.uri(&at, "server.secure_uri", Scheme::Coaps));
            let security = match raw.security {
                None => Security::Auto,
                Some(at) => match at.value.as_str() {
                    "auto" => Security::Auto,
                    "dtls" => Security::Dtls,
                    other => {
                        let hint = "security is \"auto\" or \"dtls\"; nothing forces NoSec";
                        self.refuse(&at, "server.security", format!("\"{other}\" is not known"), hint);
                        Security::Auto
                    }
                },
            };
            let reachable = raw.reachable.map(|at| at.value);
            let reachable = reachable.unwrap_or_else(|| {
                let mut addresses = [&uri, &secure_uri].into_iter().flatten().peekable();
                addresses.peek().is_some() && addresses.all(ServerUri::is_loopback_literal)
            });
            servers.push(Server { name: name.value, uri, secure_uri, security, reachable, dtls });
        }
        if self.layers.servers.is_empty() {
            self.missing("server", "there is no [[server]]", "add one with name and secure_uri");
        }
        servers
    }

    fn uri(&mut self, at: &At<String>, key: &str, scheme: Scheme) -> Option<ServerUri> {
        match at.value.parse::<ServerUri>() {
            Ok(uri) if uri.scheme == scheme => Some(uri),
            Ok(_) => {
                self.refuse(at, key, format!("scheme is not {scheme}"), "uri takes coap://, secure_uri takes coaps://");
                None
            }
            Err(problem) => {
                self.refuse(at, key, problem.to_string(), "of the form coap://127.0.0.1:5683 or coaps://[::1]:5684");
                None
            }
        }
    }
}
