//! The text of a threat analysis to an [`Analysis`]: rule TA01. Every key is known, every name is one of those that there
//! are, and each mistake is named by file, line and key with what is allowed.

use super::analysis::{Accept, Analysis, ClockNeed, Fallback, IdentityBinding, MAX_BYTES, Needs, Scope, South};
use super::date::Day;
use super::evidence::{Evidence, EvidenceKind, is_wireguard_key};
use super::facts::Activation;
use super::protection::{Kind, Probe, Protection};
use super::raw::{Raw, RawAccept, RawEvidence, RawNeeds, RawProtection, RawScope, RawSegment};
use super::segment::{AGENT, Attacker, Medium, NODE, Property, SERVER, Segment};
use crate::config::error::{line_of, nearest};
use crate::config::{ConfigError, ConfigErrors, Scheme, Secrecy, ServerUri, parse};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::Spanned;
use toml::value::Datetime;

/// Most segments of a path.
const MAX_SEGMENTS: usize = 16;
/// Most protections, accepted risks, pieces of evidence and endpoint patterns each.
const MAX_ENTRIES: usize = 64;
/// Longest id of an analysis in bytes.
const MAX_ID_BYTES: usize = 64;
/// Longest endpoint name or pattern in bytes.
const MAX_ENDPOINT_BYTES: usize = 128;
/// Most days from review to expiry.
const MAX_DAYS: u32 = 366;
/// Age in s beyond which a live fact does not count, if the file does not say.
const MAX_AGE_S: u32 = 180;

/// The SHA-256 of bytes, hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Analysis {
    /// Reads the text of a file; `path` names it in errors and records.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line and key (rule TA01).
    pub fn parse(path: &Path, text: &str) -> Result<Analysis, ConfigErrors> {
        if text.len() > MAX_BYTES {
            return Err(ConfigError::file(path, format!("larger than {MAX_BYTES} bytes")).into());
        }
        let raw: Raw = parse(path, text, Secrecy::Public).map_err(|error| match error.hint {
            None if error.problem.starts_with("missing field") => {
                error.hint("`lpwad policy new` writes a whole file; its keys stand in docs/threat-analysis.md")
            }
            _ => error,
        })?;
        let mut reader = Reader { path, text, errors: Vec::new() };
        let analysis = reader.analysis(raw);
        match analysis {
            Some(analysis) if reader.errors.is_empty() => Ok(analysis),
            _ if reader.errors.is_empty() => Err(ConfigError::file(path, "is no threat analysis").into()),
            _ => Err(ConfigErrors(reader.errors)),
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    errors: Vec<ConfigError>,
}

/// A name of one of the enumerations.
macro_rules! one_of {
    ($reader:expr, $kind:ident, $at:expr, $key:expr) => {{
        let names: Vec<&str> = $kind::ALL.iter().map(|one| one.name()).collect();
        $reader.name($at, $key, &names).and_then($kind::named)
    }};
}

impl Reader<'_> {
    fn refuse<T>(&mut self, at: &Spanned<T>, key: &str, problem: impl Into<String>, hint: &str) {
        self.errors.push(ConfigError {
            file: self.path.into(),
            line: Some(line_of(self.text, at.span().start)),
            key: Some(key.into()),
            problem: problem.into(),
            hint: Some(hint.into()),
        });
    }

    /// The text, if it is one of the names.
    fn name<'b>(&mut self, at: &'b Spanned<String>, key: &str, names: &[&str]) -> Option<&'b str> {
        let name = at.get_ref().as_str();
        if names.contains(&name) {
            return Some(name);
        }
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? Allowed: {}", names.join(", ")),
            None => format!("allowed: {}", names.join(", ")),
        };
        self.refuse(at, key, format!("\"{name}\" is not known"), &hint);
        None
    }

    fn day(&mut self, at: &Spanned<Datetime>, key: &str) -> Option<Day> {
        let day = Day::of_toml(at.get_ref());
        if day.is_none() {
            self.refuse(at, key, "is not a plain date from 1970 on", &format!("{key} = 2027-05-02"));
        }
        day
    }

    fn analysis(&mut self, raw: Raw) -> Option<Analysis> {
        if *raw.schema.get_ref() != 1 {
            self.refuse(&raw.schema, "schema", "is not 1", "this version reads schema = 1");
        }
        let id = raw.id.get_ref();
        if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
            self.refuse(&raw.id, "id", "is not 1 to 64 printable characters", "id = \"TA-2026-014\"");
        }
        if let Some(method) = &raw.method {
            self.name(method, "method", &["STRIDE", "TVRA", "IEC62443"]);
        }
        let reviewed = self.day(&raw.reviewed, "reviewed");
        let expires = self.day(&raw.expires, "expires");
        if let (Some(reviewed), Some(expires)) = (reviewed, expires)
            && (expires < reviewed || expires > reviewed.plus(MAX_DAYS))
        {
            let problem = format!("is not within {MAX_DAYS} days after reviewed, {reviewed}");
            self.refuse(&raw.expires, "expires", problem, "review at least once a year");
        }
        if names(raw.approved_by.get_ref()).is_empty() {
            self.refuse(&raw.approved_by, "approved_by", "names nobody", "approved_by = [\"j.doe\"]");
        }
        let evidence = self.evidence(&raw.evidence);
        let segments = self.segments(&raw.segments)?;
        let protections = self.protections(&raw.protections, &segments, &evidence);
        self.check_media(&raw.segments, &segments, &protections);
        let accepts = self.accepts(&raw.accept, &segments);
        let easy = |accept: &Accept| {
            accept.attacker == Attacker::HostUser
                && segments.get(accept.segment).is_some_and(|segment| segment.medium == Medium::Loopback)
        };
        if !accepts.iter().all(easy) && names(raw.approved_by.get_ref()).len() < 2 {
            self.refuse(
                &raw.approved_by,
                "approved_by",
                "names one person, and a risk is accepted",
                "two names, unless all that is accepted is host-user on loopback",
            );
        }
        let south = raw.south.as_ref().map_or(Some(South::Warn), |at| one_of!(self, South, at, "south"));
        let fallback =
            raw.fallback.as_ref().map_or(Some(Fallback::Required), |at| one_of!(self, Fallback, at, "fallback"));
        let scope = self.scope(&raw.scope);
        let needs = self.needs(&raw.needs, &evidence);
        let south_segments = segments.iter().position(|segment| segment.from == AGENT)?;
        Some(Analysis {
            file: self.path.display().to_string(),
            sha256: sha256(self.text.as_bytes()),
            text: self.text.into(),
            id: raw.id.into_inner(),
            title: raw.title.unwrap_or_default(),
            reviewed: reviewed?,
            expires: expires?,
            approved_by: raw.approved_by.into_inner(),
            signed_by: None,
            segments,
            south_segments,
            protections,
            accepts,
            scope: scope?,
            needs: needs?,
            evidence,
            south: south?,
            fallback: fallback?,
        })
    }

    fn segments(&mut self, raw: &Spanned<Vec<RawSegment>>) -> Option<Vec<Segment>> {
        let all = raw.get_ref();
        let before = self.errors.len();
        let hint = "from \"node\" by \"agent\" to \"server\", each beginning where the former ends";
        if all.len() < 2 || all.len() > MAX_SEGMENTS {
            self.refuse(raw, "segments", format!("has {} entries, not 2 to {MAX_SEGMENTS}", all.len()), hint);
            return None;
        }
        let mut segments: Vec<Segment> = Vec::new();
        for entry in all {
            let medium = one_of!(self, Medium, &entry.medium, "medium");
            let attackers: BTreeSet<Attacker> =
                entry.attackers.get_ref().iter().filter_map(|at| one_of!(self, Attacker, at, "attackers")).collect();
            if entry.own_wire && medium != Some(Medium::Ip) {
                self.refuse(&entry.medium, "own_wire", "is for medium \"ip\" only", "leave it out");
            }
            if let Some(before) = segments.last()
                && before.to != *entry.from.get_ref()
            {
                let problem = format!("is not \"{}\", where the segment before it ends: the path has a gap", before.to);
                self.refuse(&entry.from, "from", problem, hint);
            }
            if entry.id.get_ref().is_empty() || segments.iter().any(|other| other.id == *entry.id.get_ref()) {
                self.refuse(&entry.id, "id", "is empty or used twice", "each segment has a name of its own");
            }
            let visited = |name: &String| segments.iter().any(|other| other.from == *name);
            if visited(entry.to.get_ref()) || entry.to.get_ref() == entry.from.get_ref() {
                let problem = format!("\"{}\" is on the path twice", entry.to.get_ref());
                self.refuse(&entry.to, "to", problem, hint);
            }
            segments.push(Segment {
                id: entry.id.get_ref().clone(),
                from: entry.from.get_ref().clone(),
                to: entry.to.get_ref().clone(),
                medium: medium.unwrap_or(Medium::Ip),
                attackers,
                own_wire: entry.own_wire,
            });
        }
        if segments.first().is_some_and(|first| first.from != NODE)
            || segments.last().is_some_and(|last| last.to != SERVER)
            || !segments.iter().any(|segment| segment.from == AGENT)
            || segments.first().is_some_and(|first| first.from == AGENT)
        {
            self.refuse(raw, "segments", "do not lead from \"node\" by \"agent\" to \"server\"", hint);
        }
        (self.errors.len() == before).then_some(segments)
    }

    fn protections(
        &mut self,
        raw: &[RawProtection],
        segments: &[Segment],
        evidence: &BTreeMap<String, Evidence>,
    ) -> Vec<Protection> {
        if let Some(entry) = raw.get(MAX_ENTRIES) {
            self.refuse(&entry.kind, "protections", format!("has more than {MAX_ENTRIES} entries"), "join spans");
        }
        let mut protections = Vec::new();
        for entry in raw.iter().take(MAX_ENTRIES) {
            let Some(kind) = one_of!(self, Kind, &entry.kind, "kind") else { continue };
            let first = segments.iter().position(|segment| segment.from == *entry.from.get_ref());
            let last = segments.iter().position(|segment| segment.to == *entry.to.get_ref());
            let (first, last) = match (first, last) {
                (Some(first), Some(last)) if first <= last => (first, last),
                _ => {
                    let stops: Vec<&str> = segments.iter().map(|s| s.from.as_str()).chain([SERVER]).collect();
                    let hint = format!("the path is: {}", stops.join(", "));
                    self.refuse(&entry.from, "protections", "from and to are no span of the path", &hint);
                    continue;
                }
            };
            let claims = self.claims(entry, kind);
            if let Some(medium) = kind.medium()
                && !segments.iter().take(last + 1).skip(first).all(|segment| segment.medium == medium)
            {
                self.refuse(&entry.kind, "kind", format!("{kind} is for medium \"{medium}\" only"), "another span");
            }
            let mut named = Vec::new();
            for name in &entry.evidence {
                let known: Vec<&str> = evidence.keys().map(String::as_str).collect();
                if let Some(name) = self.name(name, "evidence", &known) {
                    named.push(name.to_string());
                }
            }
            let matching = |name: &String| match (evidence.get(name), kind.probe()) {
                (Some(Evidence::Live { probe, .. }), Some(wanted)) => *probe == wanted,
                _ => false,
            };
            match kind.probe() {
                Some(probe) if !claims.is_empty() && !named.iter().any(matching) => {
                    let problem = format!("{kind} can be looked at, and has no live evidence");
                    let hint = format!("[evidence] NAME = {{ type = \"live\", probe = \"{probe}\" }}");
                    self.refuse(&entry.kind, "evidence", problem, &hint);
                }
                None if named.iter().any(|name| matches!(evidence.get(name), Some(Evidence::Live { .. }))) => {
                    let problem = format!("{kind} cannot be looked at: nothing live can speak for it");
                    self.refuse(&entry.kind, "evidence", problem, "type = \"test-report\" or \"operator-letter\"");
                }
                _ => {}
            }
            protections.push(Protection { kind, first, last, claims, evidence: named });
        }
        protections
    }

    fn claims(&mut self, entry: &RawProtection, kind: Kind) -> BTreeSet<Property> {
        let mut claims = BTreeSet::new();
        let cap: Vec<&str> = kind.cap().iter().map(|property| property.name()).collect();
        let hint = match cap.is_empty() {
            true => format!("{kind} gives nothing: claims = []"),
            false => format!("{kind} can claim: {}", cap.join(", ")),
        };
        for claim in entry.claims.get_ref() {
            if claim.get_ref() == "all" && kind.cap().len() == Property::ALL.len() {
                claims.extend(Property::ALL.iter().copied());
                continue;
            }
            if claim.get_ref() == "all" {
                self.refuse(claim, "claims", format!("{kind} cannot claim all"), &hint);
                continue;
            }
            let Some(property) = one_of!(self, Property, claim, "claims") else { continue };
            if kind.cap().contains(&property) {
                claims.insert(property);
            } else {
                self.refuse(claim, "claims", format!("{kind} cannot claim {property}"), &hint);
            }
        }
        claims
    }

    /// The least attackers of each medium, and a link protection over each radio segment.
    fn check_media(&mut self, raw: &Spanned<Vec<RawSegment>>, segments: &[Segment], protections: &[Protection]) {
        for (index, (segment, entry)) in segments.iter().zip(raw.get_ref()).enumerate() {
            let has_apn = protections.iter().any(|one| one.kind == Kind::PrivateApn && one.spans(index));
            let internet = segment.medium == Medium::Ip && !segment.own_wire && !has_apn;
            let floor = segment.medium.floor().iter().copied().chain(internet.then_some(Attacker::Internet));
            let missing: Vec<&str> =
                floor.filter(|attacker| !segment.attackers.contains(attacker)).map(Attacker::name).collect();
            if !missing.is_empty() {
                let problem = format!("medium \"{}\" has at least: {}", segment.medium, missing.join(", "));
                self.refuse(
                    &entry.attackers,
                    "attackers",
                    problem,
                    "list them; a protection may then work against them",
                );
            }
            let link = protections.iter().any(|one| one.kind.is_link_layer() && one.spans(index));
            if segment.medium == Medium::Radio && !link {
                let problem = format!("radio segment \"{}\" has no protection of the link", segment.id);
                self.refuse(&entry.id, "segments", problem, "without one there is no NoSec (LwM2M 1.1 section 7.1.1)");
            }
        }
    }

    fn accepts(&mut self, raw: &[RawAccept], segments: &[Segment]) -> Vec<Accept> {
        if let Some(entry) = raw.get(MAX_ENTRIES) {
            self.refuse(&entry.segment, "accept", format!("has more than {MAX_ENTRIES} entries"), "accept less");
        }
        let mut accepts = Vec::new();
        for entry in raw.iter().take(MAX_ENTRIES) {
            let ids: Vec<&str> = segments.iter().map(|segment| segment.id.as_str()).collect();
            let segment = self.name(&entry.segment, "accept.segment", &ids);
            let segment = segment.and_then(|id| segments.iter().position(|one| one.id == id));
            let attacker = one_of!(self, Attacker, &entry.attacker, "accept.attacker");
            let properties: Option<BTreeSet<Property>> = match entry.property.get_ref().as_str() {
                "all" => Some(Property::ALL.iter().copied().collect()),
                _ => one_of!(self, Property, &entry.property, "accept.property").map(|one| BTreeSet::from([one])),
            };
            let expires = self.day(&entry.expires, "accept.expires");
            if entry.why.get_ref().trim().is_empty() {
                self.refuse(&entry.why, "accept.why", "is empty", "say why the risk is acceptable");
            }
            let (Some(segment), Some(attacker), Some(properties), Some(expires)) =
                (segment, attacker, properties, expires)
            else {
                continue;
            };
            if !may_accept(attacker, &properties) {
                let problem = format!("nobody may accept that {attacker} changes or forges (rule TA08)");
                self.refuse(&entry.attacker, "accept", problem, "only confidentiality can be accepted against it");
            }
            let loopback = segments.get(segment).is_some_and(|one| one.medium == Medium::Loopback);
            let people = if loopback && attacker == Attacker::HostUser { 1 } else { 2 };
            if names(entry.by.get_ref()).len() < people {
                let problem = format!("names fewer than {people}");
                self.refuse(&entry.by, "accept.by", problem, "two people; one for host-user on loopback");
            }
            let (why, by) = (entry.why.get_ref().clone(), entry.by.get_ref().clone());
            accepts.push(Accept { segment, properties, attacker, why, by, expires });
        }
        accepts
    }

    fn scope(&mut self, raw: &RawScope) -> Option<Scope> {
        let endpoints = raw.endpoints.get_ref();
        let long = |name: &String| name.is_empty() || name.len() > MAX_ENDPOINT_BYTES;
        if endpoints.is_empty() || endpoints.len() > MAX_ENTRIES || endpoints.iter().any(long) {
            let problem = format!("is not 1 to {MAX_ENTRIES} names of 1 to 128 bytes");
            self.refuse(
                &raw.endpoints,
                "scope.endpoints",
                problem,
                "endpoints = [\"urn:dev:mac:70b3d57ed0*\"]; \"*\" is all",
            );
        }
        let server = match raw.server.get_ref().parse::<ServerUri>() {
            Ok(uri) if uri.scheme == Scheme::Coap && uri.literal().is_some() => Some(uri),
            Ok(uri) if uri.scheme == Scheme::Coaps => {
                let hint = "the address of the clear session, as in server.uri";
                self.refuse(&raw.server, "scope.server", "is an address for DTLS", hint);
                None
            }
            Ok(_) => {
                let hint = "a literal address: a name can lead elsewhere tomorrow";
                self.refuse(&raw.server, "scope.server", "has a host name", hint);
                None
            }
            Err(error) => {
                self.refuse(&raw.server, "scope.server", error.to_string(), "server = \"coap://127.0.0.1:5683\"");
                None
            }
        };
        let activation = match &raw.activation {
            None => vec![Activation::Otaa],
            Some(all) => all.iter().filter_map(|at| one_of!(self, Activation, at, "scope.activation")).collect(),
        };
        Some(Scope {
            endpoints: endpoints.clone(),
            server: server?,
            bearer: raw.bearer.as_ref().map(|at| at.get_ref().clone()),
            plmn: raw.plmn.clone(),
            rat: raw.rat.clone(),
            roaming: raw.roaming,
            activation,
        })
    }

    fn needs(&mut self, raw: &RawNeeds, evidence: &BTreeMap<String, Evidence>) -> Option<Needs> {
        let identity_binding = match &raw.identity_binding {
            None => Some(IdentityBinding::None),
            Some(at) => one_of!(self, IdentityBinding, at, "needs.identity_binding"),
        };
        let clock = match &raw.clock {
            None => Some(ClockNeed::Synchronised),
            Some(at) => one_of!(self, ClockNeed, at, "needs.clock"),
        };
        let known: Vec<&str> = evidence.keys().map(String::as_str).collect();
        let clock_evidence = raw.clock_evidence.as_ref().and_then(|at| self.name(at, "needs.clock_evidence", &known));
        if let (Some(at), Some(ClockNeed::Attested)) = (&raw.clock, clock) {
            let attested = clock_evidence.and_then(|name| evidence.get(name));
            if attested.is_none_or(|one| one.kind() == EvidenceKind::Live) {
                let hint = "clock_evidence = \"NAME\" of an entry of [evidence]";
                self.refuse(at, "needs.clock", "an attested clock needs evidence that is not live", hint);
            }
        }
        Some(Needs {
            confidentiality: raw.confidentiality.unwrap_or(true),
            identity_binding: identity_binding?,
            clock: clock?,
            clock_evidence: clock_evidence.map(str::to_string),
        })
    }

    fn evidence(&mut self, raw: &BTreeMap<Spanned<String>, RawEvidence>) -> BTreeMap<String, Evidence> {
        let mut evidence = BTreeMap::new();
        if let Some((name, _)) = raw.iter().nth(MAX_ENTRIES) {
            self.refuse(name, "evidence", format!("has more than {MAX_ENTRIES} entries"), "join them");
        }
        for (name, entry) in raw.iter().take(MAX_ENTRIES) {
            let key = format!("evidence.{}", name.get_ref());
            let Some(kind) = one_of!(self, EvidenceKind, &entry.kind, &key) else { continue };
            let one = match kind {
                EvidenceKind::Live => self.live(name, &key, entry),
                _ => self.attested(name, &key, kind, entry),
            };
            if let Some(one) = one {
                evidence.insert(name.get_ref().clone(), one);
            }
        }
        evidence
    }

    fn live(&mut self, name: &Spanned<String>, key: &str, entry: &RawEvidence) -> Option<Evidence> {
        if entry.reference.is_some() || entry.date.is_some() || entry.expires.is_some() {
            self.refuse(name, key, "live evidence has no ref, date or expires", "probe, peer, max_age_s");
        }
        let Some(probe) = &entry.probe else {
            self.refuse(name, key, "live evidence names no probe", "probe = \"lorawan\"");
            return None;
        };
        let max_age_s = entry.max_age_s.as_ref().map_or(MAX_AGE_S, |at| *at.get_ref());
        if let Some(at) = entry.max_age_s.as_ref().filter(|at| !(1..=3600).contains(at.get_ref())) {
            self.refuse(at, key, "max_age_s is not 1 to 3600", "max_age_s = 180");
        }
        let probe = one_of!(self, Probe, probe, key)?;
        let not_a_key = |at: &&Spanned<String>| probe == Probe::Wireguard && !is_wireguard_key(at.get_ref());
        if let Some(at) = entry.peer.as_ref().filter(not_a_key) {
            let problem = "peer is not the public key of a WireGuard peer: 32 bytes in base64, 44 characters";
            self.refuse(at, key, problem, "`wg show` on this host lists the peers by their public keys");
        }
        Some(Evidence::Live { probe, peer: entry.peer.as_ref().map(|at| at.get_ref().clone()), max_age_s })
    }

    fn attested(
        &mut self,
        name: &Spanned<String>,
        key: &str,
        kind: EvidenceKind,
        entry: &RawEvidence,
    ) -> Option<Evidence> {
        if entry.probe.is_some() || entry.peer.is_some() || entry.max_age_s.is_some() {
            self.refuse(name, key, "only live evidence has probe, peer or max_age_s", "ref, date, expires");
        }
        let reference = entry.reference.as_ref().map(|at| at.get_ref().trim().to_string()).unwrap_or_default();
        if reference.is_empty() {
            self.refuse(name, key, "does not say what and where it is", "ref = \"site visit 2026-10-12, J. Doe\"");
        }
        let (Some(date), Some(expires)) = (&entry.date, &entry.expires) else {
            self.refuse(name, key, "has no date or no expires", "date = 2026-09-01, expires = 2027-09-01");
            return None;
        };
        let (date, day) = (self.day(date, key)?, self.day(expires, key)?);
        if day < date {
            self.refuse(expires, key, "expires before its date", "expires is the last day");
        }
        Some(Evidence::Attested { kind, reference, date, expires: day })
    }
}

/// The names that are not empty, each once.
fn names(all: &[String]) -> BTreeSet<&str> {
    all.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect()
}

/// Rule TA08: confidentiality against anybody; anything only against those who are let in.
fn may_accept(attacker: Attacker, properties: &BTreeSet<Property>) -> bool {
    matches!(attacker, Attacker::HostUser | Attacker::Physical | Attacker::OperatorInsider)
        || properties.iter().all(|property| *property == Property::Confidentiality)
}
