//! Nodes: profile, server, keys; and what no two of them may share.

use super::credential::{Credential, Secret};
use super::document::At;
use super::error::{ConfigError, nearest};
use super::keys::{self, KeyFile, NodeKeys};
use super::place::Place;
use super::server::PskIdentity;
use super::weak::weakness;
use super::{Checker, MAX_NODES, Node, Profile, Security, Server, file};
use lpwad_lorawan::{Activation, DevAddr, DevEui};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest endpoint name in bytes.
const MAX_ENDPOINT_BYTES: usize = 128;

/// Endpoint name of a node (LwM2M Core 1.1.1 §7.3): `urn:dev:mac:<EUI-64>` (RFC 9039 §4.1), unless another is configured.
#[must_use]
pub fn endpoint(dev_eui: DevEui, configured: Option<&str>) -> String {
    configured.map_or_else(|| format!("urn:dev:mac:{dev_eui}"), str::to_string)
}

/// Key files by place, with their names; `None` where one cannot be used, which was said.
type Files = BTreeMap<Place, Option<(PathBuf, KeyFile)>>;

/// A node's keys, and where they stand.
struct Found {
    place: Place,
    file: PathBuf,
    keys: NodeKeys,
}

/// A key that is in use, for comparison with others.
struct Used {
    dev_eui: DevEui,
    field: &'static str,
    key: Secret,
    file: PathBuf,
    line: Option<usize>,
}

impl Used {
    fn error(&self, problem: String) -> ConfigError {
        ConfigError {
            line: self.line,
            key: Some(format!("[\"{}\"] {}", self.dev_eui, self.field)),
            ..ConfigError::file(&self.file, problem)
        }
    }
}

impl Checker<'_> {
    /// `all_profiles`: there are no others than `profiles`.
    pub(super) fn nodes(
        &mut self,
        servers: &[Server],
        profiles: &BTreeMap<String, Arc<Profile>>,
        all_profiles: bool,
    ) -> Vec<Node> {
        let mut files = Files::new();
        let mut used = Vec::new();
        let mut nodes = Vec::new();
        if self.layers.nodes.len() > MAX_NODES {
            self.missing("node", &format!("more than {MAX_NODES} nodes"), "run a second gateway");
            return nodes;
        }
        for raw in self.layers.nodes.clone() {
            let Some(eui) = &raw.dev_eui else {
                self.missing("node.dev_eui", "a [[node]] has no dev_eui", "dev_eui = \"70b3d57ed0001234\"");
                continue;
            };
            let Ok(dev_eui) = eui.value.parse::<DevEui>() else {
                self.refuse(
                    eui,
                    "node.dev_eui",
                    format!("\"{}\" is not 16 hex digits", eui.value),
                    "as printed on the node, most significant byte first",
                );
                continue;
            };
            let profile = match &raw.profile {
                None => {
                    self.refuse(eui, "node.profile", "is missing", "profile = \"cayenne-lpp\"");
                    None
                }
                Some(at) => match profiles.get(&at.value) {
                    Some(profile) => Some(profile.clone()),
                    None if !all_profiles => None,
                    None => {
                        let names = || profiles.keys().map(String::as_str);
                        let hint = match nearest(&at.value, names()) {
                            Some(near) => format!("did you mean \"{near}\"?"),
                            None => format!("known profiles: {}", names().collect::<Vec<_>>().join(", ")),
                        };
                        self.refuse(at, "node.profile", format!("there is no profile \"{}\"", at.value), &hint);
                        None
                    }
                },
            };
            let server = self.server_of(eui, raw.server.as_ref(), servers);
            let found = self.keys_of(eui, dev_eui, &raw, &mut files);
            let activation = found.as_ref().and_then(|found| self.activation(eui, dev_eui, &raw, found));
            if let Some(at) = raw
                .endpoint
                .as_ref()
                .filter(|at| at.value.is_empty() || at.value.len() > MAX_ENDPOINT_BYTES || at.value.contains('\0'))
            {
                self.refuse(
                    at,
                    "node.endpoint",
                    "is empty, longer than 128 bytes or holds a NUL",
                    "leave it out for urn:dev:mac:<DevEUI>",
                );
            }
            let name = endpoint(dev_eui, raw.endpoint.as_ref().map(|at| at.value.as_str()));
            let credential = match (&found, server.and_then(|server| servers.get(server))) {
                (Some(found), Some(server)) => self.credential(eui, &name, found, server),
                _ => None,
            };
            if let Some(found) = found {
                self.note_keys(dev_eui, &name, &found, activation.as_ref(), credential.as_deref(), &mut used);
            }
            if let (Some(profile), Some(server), Some(activation)) = (profile, server, activation) {
                let endpoint = raw.endpoint.map(|at| at.value);
                nodes.push(Node { dev_eui, profile, activation, server, endpoint, credential });
            }
        }
        self.endpoints_differ(&nodes);
        self.keys_differ(&used);
        self.identities_differ(&nodes);
        self.warn_without_credential(servers, &nodes);
        nodes
    }

    fn server_of(&mut self, eui: &At<String>, at: Option<&At<String>>, servers: &[Server]) -> Option<usize> {
        let Some(at) = at else {
            if servers.len() > 1 {
                self.refuse(eui, "node.server", "is missing and there is more than one server", "server = \"<name>\"");
            }
            return (servers.len() == 1).then_some(0);
        };
        let found = servers.iter().position(|server| server.name == at.value);
        // One without a name, or none at all, was named already.
        if found.is_none() && !servers.is_empty() && servers.len() == self.layers.servers.len() {
            let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            let hint = match nearest(&at.value, names.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known servers: {}", names.join(", ")),
            };
            self.refuse(at, "node.server", format!("there is no server \"{}\"", at.value), &hint);
        }
        found
    }

    /// The state directory that the configuration names.
    fn state_dir(&self) -> Option<PathBuf> {
        let home = self.path.parent().unwrap_or(Path::new("."));
        self.layers.gateway.state_dir.as_ref().map(|at| home.join(&at.value))
    }

    fn keys_of(&mut self, eui: &At<String>, dev_eui: DevEui, raw: &file::Node, files: &mut Files) -> Option<Found> {
        let home = self.path.parent().unwrap_or(Path::new("."));
        let place = match Place::of(raw.keys.as_ref(), &self.layers, home) {
            Ok(place) => place,
            Err(error) => {
                self.errors.push(error);
                return None;
            }
        };
        if !files.contains_key(&place) {
            let read = place
                .text(self.outside, self.state_dir().as_deref())
                .and_then(|(file, text)| Ok((file.clone(), keys::parse_text(&file, &text)?)));
            let read = read.map_err(|error| self.errors.push(error)).ok();
            files.insert(place.clone(), read);
        }
        let (file, keys) = files.get(&place)?.as_ref()?;
        if let Some(keys) = keys.get(&dev_eui) {
            return Some(Found { place, file: file.clone(), keys: keys.clone() });
        }
        let hint =
            format!("add a table [\"{dev_eui}\"] with app_key there, or use `lpwad key import --app-key {dev_eui}`");
        self.refuse(eui, "node.keys", format!("{} has no keys for this node", file.display()), &hint);
        None
    }

    fn activation(&mut self, eui: &At<String>, dev_eui: DevEui, raw: &file::Node, found: &Found) -> Option<Activation> {
        let Found { file, keys, .. } = found;
        let keys = keys.clone();
        match raw.activation.as_ref().map_or("otaa", |at| at.value.as_str()) {
            "otaa" => match keys.app_key {
                Some(app_key) => Some(Activation::Otaa { join_eui: None, app_key }),
                None => {
                    self.refuse(
                        eui,
                        "node.keys",
                        format!("{} has no app_key for this node", file.display()),
                        "a node that joins needs app_key",
                    );
                    None
                }
            },
            "abp" => {
                let dev_addr = raw.dev_addr.as_ref().and_then(|at| match at.value.parse::<DevAddr>() {
                    Ok(dev_addr) => Some(dev_addr),
                    Err(_) => {
                        let problem = format!("\"{}\" is not 8 hex digits", at.value);
                        self.refuse(at, "node.dev_addr", problem, "dev_addr = \"260b1234\", as the node has it");
                        None
                    }
                });
                let relaxed_counter = raw.relaxed_counter.as_ref().is_some_and(|at| at.value);
                if relaxed_counter {
                    self.warnings
                        .push(format!("node {dev_eui}: relaxed_counter lets old frames of this node be replayed"));
                }
                match (dev_addr, keys.nwk_s_key, keys.app_s_key) {
                    (Some(dev_addr), Some(nwk_s_key), Some(app_s_key)) => {
                        Some(Activation::Abp { dev_addr, nwk_s_key, app_s_key, relaxed_counter })
                    }
                    (_, nwk_s_key, app_s_key) => {
                        let at = raw.activation.as_ref().unwrap_or(eui);
                        if raw.dev_addr.is_none() {
                            let hint = "dev_addr = \"<8 hex digits>\" in this [[node]], as the node has it";
                            self.refuse(at, "node.activation", "abp needs dev_addr, which is missing", hint);
                        }
                        let keys = [("nwk_s_key", nwk_s_key.is_some()), ("app_s_key", app_s_key.is_some())];
                        let missing: Vec<&str> =
                            keys.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
                        if !missing.is_empty() {
                            let problem = format!("abp needs {}, missing in {}", missing.join(" and "), file.display());
                            let hint =
                                format!("in its table [\"{dev_eui}\"]: 32 hex digits each, as the node has them");
                            self.refuse(at, "node.activation", problem, &hint);
                        }
                        None
                    }
                }
            }
            other => {
                let problem = format!("\"{other}\" is not known");
                let at = raw.activation.as_ref().unwrap_or(eui);
                self.refuse(at, "node.activation", problem, "activation is \"otaa\" (default) or \"abp\"");
                None
            }
        }
    }

    fn endpoints_differ(&mut self, nodes: &[Node]) {
        let mut seen = BTreeMap::new();
        for node in nodes {
            let endpoint = endpoint(node.dev_eui, node.endpoint.as_deref());
            if let Some(other) = seen.insert(endpoint.clone(), node.dev_eui) {
                let problem = format!("\"{endpoint}\" is the endpoint of both {other} and {}", node.dev_eui);
                self.missing("node.endpoint", &problem, "an endpoint names one node");
            }
        }
    }

    fn credential(
        &mut self,
        eui: &At<String>,
        endpoint: &str,
        found: &Found,
        server: &Server,
    ) -> Option<Arc<Credential>> {
        let dtls = found.keys.dtls.as_ref()?;
        let of_field = |field: &str, problem: &str, hint: &str| {
            let key = Some(format!("[\"{}\"] {field}", eui.value.to_lowercase()));
            ConfigError { line: found.keys.line(field), key, ..ConfigError::file(&found.file, problem) }.hint(hint)
        };
        if let keys::DtlsKeys::Psk { identity: None, .. } = dtls
            && server.dtls.psk_identity != PskIdentity::Endpoint
        {
            let hint = "add psk_identity there; or say psk_identity = \"endpoint\" in the server's section";
            self.errors.push(of_field("psk", "a key without psk_identity", hint));
            return None;
        }
        let user = (self.outside.user)(self.state_dir().as_deref());
        let credential = match dtls.credential(&found.file, found.place.origin(user), endpoint) {
            Ok(credential) => credential,
            Err(error) => {
                self.errors.push(error);
                return None;
            }
        };
        let lacks = match &credential {
            _ if server.secure_uri.is_none() => None,
            Credential::Rpk { .. } if server.dtls.server_public_key.is_none() => Some(("rpk_key", "server_public_key")),
            Credential::X509 { .. }
                if server.dtls.trust_anchors.is_none() && server.dtls.server_certificate.is_none() =>
            {
                Some(("x509_certificate", "trust_anchors or server_certificate"))
            }
            _ => None,
        };
        if let Some((field, lacking)) = lacks {
            let problem = format!("server \"{}\" has no {lacking}: nothing tells it from another", server.name);
            self.errors.push(of_field(field, &problem, "add it to the section [[server]]"));
        }
        Some(Arc::new(credential))
    }

    /// Notes the keys that a node uses, and refuses those that its endpoint name gives away.
    fn note_keys(
        &mut self,
        dev_eui: DevEui,
        endpoint: &str,
        found: &Found,
        activation: Option<&Activation>,
        credential: Option<&Credential>,
        used: &mut Vec<Used>,
    ) {
        let mut note = |field: &'static str, key: &[u8]| {
            let key = Secret::new(zeroize::Zeroizing::new(key.to_vec()));
            let entry = Used { dev_eui, field, key, file: found.file.clone(), line: found.keys.line(field) };
            if field != "rpk_key" && field != "x509_key" {
                let hint = "a key is random: `lpwad key new` makes one for DTLS";
                let weak = weakness(entry.key.expose(), &[endpoint.as_bytes()]);
                self.errors.extend(weak.map(|why| entry.error(why.into()).hint(hint)));
            }
            used.push(entry);
        };
        match activation {
            Some(Activation::Otaa { app_key, .. }) => note("app_key", app_key.expose()),
            Some(Activation::Abp { nwk_s_key, app_s_key, .. }) => {
                note("nwk_s_key", nwk_s_key.expose());
                note("app_s_key", app_s_key.expose());
            }
            None => {}
        }
        match credential {
            Some(Credential::Psk { key, .. }) => note("psk", key.expose()),
            Some(Credential::Rpk { key }) => note("rpk_key", key.expose()),
            Some(Credential::X509 { key, .. }) => note("x509_key", key.expose()),
            None => {}
        }
    }

    /// One key for two nodes is refused, and one for LoRaWAN and DTLS (RFC 7925 §4.1; requirement P-01).
    fn keys_differ(&mut self, used: &[Used]) {
        let mut seen: BTreeMap<&[u8], &Used> = BTreeMap::new();
        let is_lorawan = |field: &str| field.ends_with("s_key") || field == "app_key";
        for entry in used {
            let Some(other) = seen.insert(entry.key.expose(), entry) else { continue };
            if entry.dev_eui != other.dev_eui || !is_lorawan(entry.field) {
                let problem = format!("is also the {} of {}", other.field, other.dev_eui);
                self.errors.push(entry.error(problem).hint("each node has keys of its own, one for each purpose"));
            }
        }
    }

    /// A server finds the key by the identity (RFC 4279 §2).
    fn identities_differ(&mut self, nodes: &[Node]) {
        let mut seen = BTreeMap::new();
        for node in nodes {
            if let Some(Credential::Psk { identity, .. }) = node.credential.as_deref()
                && let Some(other) = seen.insert((node.server, identity), node.dev_eui)
            {
                let problem = format!("{other} and {} have the same psk_identity at one server", node.dev_eui);
                self.missing("node.keys", &problem, "an identity names one node");
            }
        }
    }

    fn warn_without_credential(&mut self, servers: &[Server], nodes: &[Node]) {
        for (index, server) in servers.iter().enumerate().filter(|(_, server)| server.security == Security::Dtls) {
            let mut without = nodes.iter().filter(|node| node.server == index && node.credential.is_none()).peekable();
            if let Some(first) = without.peek().map(|node| node.dev_eui) {
                let count = without.count();
                self.warnings.push(format!(
                    "server {}: nodes without a key for DTLS, and so without session: {count}, the first is {first}; \
                     `lpwad key new` makes one",
                    server.name
                ));
            }
        }
    }
}
