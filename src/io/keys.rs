//! Credentials and servers as the DTLS library wants them, from a configuration. Only the shell has them: the gateway knows
//! of a credential only what kind it is.

use crate::config::{self, Config, DtlsMode, ServerUri, Suite};
use lpwad_dtls::{
    ClientContext, Credential, CredentialError, ExtraSuites, FragmentLength, Mode, Psk, RpkKey, ServerKey, Settings,
    Trust, X509Identity, X509Trust,
};
use lpwad_lorawan::DevEui;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that handshakes need, for one configuration.
#[derive(Default)]
pub struct Keys {
    servers: BTreeMap<String, Server>,
    /// All nodes, those without a credential too.
    nodes: BTreeMap<DevEui, Option<Arc<config::Credential>>>,
}

struct Server {
    config: config::Server,
    uri: ServerUri,
    /// Digest of its address and of what it is trusted by.
    identity: [u8; 32],
    contexts: BTreeMap<&'static str, Result<ClientContext, String>>,
}

/// What one handshake needs.
pub struct Opening {
    /// Where to.
    pub uri: ServerUri,
    /// Towards that server, shared.
    pub context: ClientContext,
    /// Of the node.
    pub credential: Credential,
    /// Names server, mode and credential: an exported session is of use for the same only.
    pub binding: [u8; 32],
    /// Dates of certificates are held against the clock.
    pub needs_clock: bool,
}

impl Keys {
    /// From a configuration; contexts that stand stay as they are where nothing changed.
    #[must_use]
    pub fn of(config: &Config) -> Keys {
        let servers = config.servers.iter().filter_map(|server| {
            let uri = server.secure_uri.clone()?;
            let identity = server.dtls_identity();
            Some((server.name.clone(), Server { config: server.clone(), uri, identity, contexts: BTreeMap::new() }))
        });
        let nodes = config.nodes.iter().map(|node| (node.dev_eui, node.credential.clone()));
        Keys { servers: servers.collect(), nodes: nodes.collect() }
    }

    /// Nodes of a configuration whose credential cannot be used with their server, and why, for people.
    #[must_use]
    pub fn problems(config: &Config) -> Vec<(DevEui, String)> {
        let mut keys = Keys::of(config);
        let mut problems = Vec::new();
        for node in config.nodes.iter().filter(|node| node.credential.is_some()) {
            let Some(server) = config.servers.get(node.server).filter(|server| server.secure_uri.is_some()) else {
                continue;
            };
            if let Err(problem) = keys.opening(&server.name, node.dev_eui) {
                problems.push((node.dev_eui, problem));
            }
        }
        problems
    }

    /// What a handshake of a node with a server needs, or why there can be none, for people.
    ///
    /// # Errors
    /// No credential, or one that does not fit the server; nothing of it is shown.
    pub fn opening(&mut self, server: &str, node: DevEui) -> Result<Opening, String> {
        let credential = self.credential(node).ok_or("it has no credential for DTLS")?;
        let credential = Arc::clone(credential);
        let server = self.servers.get_mut(server).ok_or("its server has no secure_uri")?;
        let mode = credential.kind();
        let binding = credential.bound_to(&[&server.identity]);
        let context = match server.contexts.get(mode) {
            Some(context) => context.clone(),
            None => {
                let made = context(&server.config, &server.uri, &credential);
                server.contexts.insert(mode, made.clone());
                made
            }
        }?;
        let needs_clock = server.config.dates_count(credential.mode());
        let credential = of_node(&credential)?;
        Ok(Opening { uri: server.uri.clone(), context, credential, binding, needs_clock })
    }

    /// What a session of a node with a server stands on now; `None` if there can be none.
    #[must_use]
    pub fn binding(&self, server: &str, node: DevEui) -> Option<[u8; 32]> {
        Some(self.credential(node)?.bound_to(&[&self.servers.get(server)?.identity]))
    }

    /// Whether the node is configured.
    #[must_use]
    pub fn knows(&self, node: DevEui) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Whether the node has a credential.
    #[must_use]
    pub fn has_credential(&self, node: DevEui) -> bool {
        self.credential(node).is_some()
    }

    fn credential(&self, node: DevEui) -> Option<&Arc<config::Credential>> {
        self.nodes.get(&node)?.as_ref()
    }
}

fn context(server: &config::Server, uri: &ServerUri, credential: &config::Credential) -> Result<ClientContext, String> {
    let dtls = &server.dtls;
    let in_file = |key: &'static str| move |error: CredentialError| format!("{key}: {error}");
    let trust = match credential.mode() {
        DtlsMode::Psk => Trust::Psk,
        DtlsMode::Rpk => {
            let key =
                dtls.server_public_key.as_ref().ok_or("a raw public key needs server_public_key at the server")?;
            Trust::Rpk(ServerKey::new(key).map_err(in_file("server_public_key"))?)
        }
        DtlsMode::X509 => Trust::X509(match (&dtls.server_certificate, &dtls.trust_anchors) {
            (Some(pinned), _) => X509Trust::pinned(pinned).map_err(in_file("server_certificate"))?,
            (None, Some(anchors)) => X509Trust::anchors(anchors).map_err(in_file("trust_anchors"))?,
            (None, None) => {
                return Err("a certificate needs trust_anchors or server_certificate at the server".into());
            }
        }),
    };
    let settings = Settings {
        max_fragment_length: FragmentLength::from_bytes(usize::from(dtls.max_fragment_length))
            .ok_or("max_fragment_length is not 512, 1024, 2048 or 4096")?,
        timer_initial_ms: dtls.timer_initial_s * 1000,
        timer_cap_ms: dtls.timer_cap_s * 1000,
        extra_suites: ExtraSuites { ccm: dtls.suites.contains(&Suite::Ccm), gcm: dtls.suites.contains(&Suite::Gcm) },
        server_name: Some(uri.host.to_string()),
        ..Settings::new(trust)
    };
    ClientContext::new(settings).map_err(|error| error.to_string())
}

fn of_node(credential: &config::Credential) -> Result<Credential, String> {
    let credential = match credential {
        config::Credential::Psk { identity, key } => Psk::new(identity, key.expose()).map(Credential::Psk),
        config::Credential::Rpk { key } => RpkKey::new(key.expose()).map(Credential::Rpk),
        config::Credential::X509 { certificate, key } => {
            X509Identity::new(certificate, key.expose()).map(Credential::X509)
        }
    };
    credential.map_err(|error| error.to_string())
}

/// The same in words of the gateway.
#[must_use]
pub fn mode(mode: Mode) -> DtlsMode {
    match mode {
        Mode::Psk => DtlsMode::Psk,
        Mode::Rpk => DtlsMode::Rpk,
        Mode::X509 => DtlsMode::X509,
    }
}
