//! A threat analysis: the path from node to server, what protects it, why that is believed, and what is accepted. What
//! stands here has passed every check of rule TA01.

use super::date::Day;
use super::evidence::Evidence;
use super::facts::Activation;
use super::named::named;
use super::protection::Protection;
use super::segment::{Attacker, Property, Segment};
use crate::config::ServerUri;
use std::collections::{BTreeMap, BTreeSet};

/// Largest file in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

named! {
    /// How a server without DTLS tells endpoints apart (LwM2M Core 1.1.1 §7.3: it must compare the name with the identity of
    /// the network access).
    pub enum IdentityBinding {
        /// Not at all.
        None = "none",
        /// Each endpoint has a source port of its own.
        SourcePort = "source-port",
        /// Each endpoint has a source address of its own.
        SourceAddress = "source-address",
        /// The server is on this host and nobody else's clients speak to it.
        LoopbackSingleTenant = "loopback-single-tenant",
    }
}

named! {
    /// What makes the clock of the host right.
    pub enum ClockNeed {
        /// The kernel says that something keeps it in step.
        Synchronised = "synchronised",
        /// Evidence says so: a battery, or a hypervisor.
        Attested = "attested",
    }
}

named! {
    /// What becomes of a proxy whose node side is open.
    pub enum South {
        /// DTLS, with a standing warning.
        Warn = "warn",
        /// No session.
        Refuse = "refuse",
    }
}

named! {
    /// Whether NoSec needs DTLS in reserve.
    pub enum Fallback {
        /// A `secure_uri` and a credential must be configured, and a handshake with them must have succeeded.
        Required = "required",
        /// Waived, in writing: if NoSec is lost there is no session.
        Off = "off",
    }
}

/// A risk that somebody accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Segment, counted from 0.
    pub segment: usize,
    /// What is missing there.
    pub properties: BTreeSet<Property>,
    /// Against whom.
    pub attacker: Attacker,
    /// Why that is acceptable.
    pub why: String,
    /// Who says so.
    pub by: Vec<String>,
    /// Last day.
    pub expires: Day,
}

/// Of which nodes, servers and networks the analysis speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Endpoint names; `*` stands for any run of characters.
    pub endpoints: Vec<String>,
    /// The server, by a literal address.
    pub server: ServerUri,
    /// Interface that leads to it.
    pub bearer: Option<String>,
    /// Cellular networks, as MCC and MNC; empty: none is asked for.
    pub plmn: Vec<String>,
    /// Cellular accesses; empty: none is asked for.
    pub rat: Vec<String>,
    /// Whether a foreign network is permitted; `None`: not asked for.
    pub roaming: Option<bool>,
    /// Activations that LoRaWAN's protections hold for.
    pub activation: Vec<Activation>,
}

/// What is asked of the path beside integrity, replay protection and authentication, which cannot be waived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Whether nobody else may read.
    pub confidentiality: bool,
    /// How the server tells endpoints apart.
    pub identity_binding: IdentityBinding,
    /// What makes the clock right.
    pub clock: ClockNeed,
    /// Name of the evidence for an attested clock.
    pub clock_evidence: Option<String>,
}

/// A valid analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// File as it was named when it was read.
    pub file: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// The file.
    pub text: String,
    /// Its id, 1 to 64 characters.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// From this day on.
    pub reviewed: Day,
    /// Up to and including this day, at most 366 days later.
    pub expires: Day,
    /// Who approved it. A declaration, not a proof.
    pub approved_by: Vec<String>,
    /// Who signed the file, as the file of allowed signers names them; `None`: there is no signature.
    pub signed_by: Option<String>,
    /// The path: contiguous, from node to server, the agent in it once.
    pub segments: Vec<Segment>,
    /// How many segments are south of the agent.
    pub south_segments: usize,
    /// What protects them.
    pub protections: Vec<Protection>,
    /// What is accepted.
    pub accepts: Vec<Accept>,
    /// Of what it speaks.
    pub scope: Scope,
    /// What is asked of the path.
    pub needs: Needs,
    /// Evidence by name.
    pub evidence: BTreeMap<String, Evidence>,
    /// What becomes of a proxy whose node side is open.
    pub south: South,
    /// Whether NoSec needs DTLS in reserve.
    pub fallback: Fallback,
}

impl Analysis {
    /// The evidence that something stands on, by name: of protections, and of the clock.
    #[must_use]
    pub fn evidence_in_use(&self) -> BTreeMap<&str, &Evidence> {
        let names = self.protections.iter().flat_map(|one| &one.evidence).chain(&self.needs.clock_evidence);
        names.filter_map(|name| self.evidence.get_key_value(name)).map(|(name, one)| (name.as_str(), one)).collect()
    }

    /// What is needed of every segment.
    #[must_use]
    pub fn needed(&self) -> Vec<Property> {
        let all = Property::ALL.iter().copied();
        all.filter(|property| *property != Property::Confidentiality || self.needs.confidentiality).collect()
    }

    /// Whether it speaks of this endpoint and this server.
    #[must_use]
    pub fn concerns(&self, endpoint: &str, server: &ServerUri) -> bool {
        self.scope.server == *server && self.scope.endpoints.iter().any(|pattern| matches(pattern, endpoint))
    }
}

/// Whether `name` is what `pattern` says; `*` stands for any run of characters, also none. Takes time in proportion to the
/// product of their lengths at most.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_of_endpoints() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("*", "urn:dev:mac:1", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*b", "a-b", true),
            ("a*b", "ab", true),
            ("a*b", "a-bc", false),
            ("ab*b", "ab", false),
            ("a*b*c", "axbybzc", true),
            ("a**c", "abc", true),
            ("urn:imei:3527*", "urn:imei:35270001", true),
            ("urn:imei:3527*", "urn:imei:3528", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }
}
