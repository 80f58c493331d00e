//! The policy at work: which decision holds for which node, when it is made anew, and what becomes of sessions then.
//!
//! Nodes about which everything is the same share one decision. It is made anew when the day, the trust in the clock, a
//! fact of this host, the configuration or an analysis changes (threat-analysis rule TA15).

mod judge;
mod say;

use super::input::{NodeId, Now};
use super::reserve::Reserve;
use super::sight::Sight;
use crate::config::{self, DtlsMode, Server};
use crate::policy::analyses::Analyses;
use crate::policy::analysis::Analysis;
use crate::policy::date::Day;
use crate::policy::decide::{Case, Decision, Verdict, decide};
use crate::policy::evidence::Evidence;
use crate::policy::facts::{Activation, Cellular, Facts};
use crate::policy::rule::Rule;
use crate::session::Way;
use crate::store::POLICY_STATE;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Names every grant, in the latches of a [`State`].
const ALL_GRANTS: &str = "everything";

/// The state of the policy.
#[cfg_attr(test, derive(Clone))]
pub(in crate::gateway) struct Gate {
    analyses: Analyses,
    /// The last analyses of which none was invalid: by them what was granted goes on, when a later file cannot be read.
    kept: Option<Analyses>,
    sight: Sight,
    nodes: BTreeMap<NodeId, Gated>,
    state: State,
    /// Of which analyses, by hash, it was said that so many days are left.
    warned: BTreeMap<String, u32>,
    /// Numbers of the decisions that the store keeps.
    records: BTreeSet<u64>,
    /// Day and trust in the clock at the last look.
    judged: Option<Day>,
    /// Facts have changed since.
    stale: bool,
}

/// What the policy knows of a node.
#[cfg_attr(test, derive(Clone))]
struct Gated {
    /// Of the node alone.
    facts: Facts,
    /// It was granted by [`Gate::kept`].
    on_kept: bool,
    decision: Option<Arc<Decision>>,
    reserve: Reserve,
    /// Of the node's credential.
    fingerprint: Option<[u8; 32]>,
}

/// What must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The latest day that the clock ever showed: before it the clock is wrong.
    latest: Option<Day>,
    /// Where NoSec was lost while it was used, and why.
    latches: BTreeMap<String, String>,
    /// Number of the last record.
    last_number: u64,
    /// Its hash.
    last_hash: String,
}

/// What a review was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Cause {
    /// Start or a new configuration: what somebody did is not latched.
    Configured,
    /// Day, clock or facts.
    Live,
}

/// Facts of a node as it is configured, on a host of which `host` is seen.
#[must_use]
pub fn facts_of(node: &config::Node, host: &Facts) -> Facts {
    use lpwad_lorawan::Activation as Configured;
    let (activation, checked) = match &node.activation {
        Configured::Otaa { .. } => (Activation::Otaa, true),
        Configured::Abp { relaxed_counter, .. } => (Activation::Abp, !relaxed_counter),
    };
    Facts { activation: Some(activation), counters_checked: Some(checked), ..host.clone() }
}

fn fingerprint(node: &config::Node) -> Option<[u8; 32]> {
    node.credential.as_ref().map(|credential| credential.fingerprint())
}

/// What names a grant for its latch: the server, and each analysis with the day of its review.
fn grant_name(server: &str, decision: &Decision) -> String {
    let reviews = decision.analyses.iter().map(|spoken| format!("{}@{}", spoken.id, spoken.reviewed));
    reviews.fold(server.to_string(), |name, review| format!("{name} {review}"))
}

impl Gate {
    /// With what the store has of the policy. A state that is damaged does not say what was latched: then everything is, until
    /// somebody rearms, and the chain of records begins anew behind the numbers that are there.
    pub(in crate::gateway) fn new(analyses: Analyses, sight: Sight, stored: &BTreeMap<u64, Vec<u8>>) -> Gate {
        let records: BTreeSet<u64> = stored.keys().copied().filter(|number| *number != POLICY_STATE).collect();
        let read = stored.get(&POLICY_STATE).map(|bytes| serde_json::from_slice::<State>(bytes));
        let state = match read.transpose() {
            Ok(state) => state.unwrap_or_default(),
            Err(_) => State {
                latches: [(ALL_GRANTS.to_string(), "what was latched is not known: the record is damaged".into())]
                    .into(),
                last_number: records.last().copied().unwrap_or_default(),
                ..State::default()
            },
        };
        Gate {
            analyses,
            kept: None,
            sight,
            nodes: BTreeMap::new(),
            state,
            warned: BTreeMap::new(),
            records,
            judged: None,
            stale: false,
        }
    }

    /// Notes a node; it is judged with the next review.
    pub(in crate::gateway) fn add(&mut self, id: NodeId, node: &config::Node) {
        let gated = Gated {
            facts: facts_of(node, &Facts::default()),
            on_kept: false,
            decision: None,
            reserve: Reserve::default(),
            fingerprint: fingerprint(node),
        };
        self.nodes.insert(id, gated);
        self.stale = true;
    }

    pub(in crate::gateway) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }

    /// The decision of a node; `None`: it is not judged yet, and nothing is permitted.
    pub(in crate::gateway) fn decision(&self, id: NodeId) -> Option<&Decision> {
        self.nodes.get(&id)?.decision.as_deref()
    }

    /// Whether a session of this kind is permitted now: DTLS is never too much, a clear one needs leave, and DTLS in reserve
    /// where an analysis asks for it.
    pub(in crate::gateway) fn permits(&self, id: NodeId, way: Way) -> bool {
        let Some(gated) = self.nodes.get(&id) else { return false };
        gated.decision.as_ref().is_some_and(|decision| match way {
            Way::Clear => {
                let reserved = gated.reserve.proven || !decision.needs_reserve;
                decision.verdict.permits_nosec() && reserved && !gated.reserve.takes_over()
            }
            Way::Dtls => decision.verdict != Verdict::Refuse,
        })
    }

    /// Whether a decision that came by itself is to be said and recorded. Without NoSec before and after, by the same verdict and
    /// the same rule or latch, it is not: a bearer that flaps would push everything else out of the records. `policy explain`
    /// has what holds now.
    fn is_news(&self, id: NodeId, former: Option<&Decision>) -> bool {
        let Some((was, is)) = former.zip(self.decision(id)) else { return true };
        let latched = |decision: &Decision| decision.objections.iter().any(|one| one.rule == Rule::Ta15);
        let same_reason = was.rules == is.rules || (latched(was) && latched(is));
        is.verdict.permits_nosec() || was.verdict != is.verdict || !same_reason
    }

    /// Takes over a node as it is configured now. Gives whether its credential is another one, of which nothing is proven.
    pub(in crate::gateway) fn configured(&mut self, id: NodeId, node: &config::Node) -> bool {
        let Some(gated) = self.nodes.get_mut(&id) else { return false };
        let former = std::mem::replace(&mut gated.fingerprint, fingerprint(node));
        let changed = former != gated.fingerprint;
        if changed {
            gated.reserve = Reserve::default();
        }
        changed
    }

    /// The reserve of a node.
    pub(in crate::gateway) fn reserve(&mut self, id: NodeId) -> Option<&mut Reserve> {
        self.nodes.get_mut(&id).map(|gated| &mut gated.reserve)
    }

    /// Whether a node that may use NoSec has to try its reserve now.
    pub(in crate::gateway) fn rehearsal_is_due(&self, id: NodeId, now: Duration) -> bool {
        self.nodes.get(&id).is_some_and(|gated| {
            let wanted = |decision: &Arc<Decision>| decision.verdict.permits_nosec() && decision.needs_reserve;
            gated.decision.as_ref().is_some_and(wanted) && gated.reserve.is_due(now)
        })
    }

    /// The facts that a node of this server is judged by.
    pub(in crate::gateway) fn facts(&self, id: NodeId, server: &Server) -> Option<Facts> {
        Some(self.facts_of(self.nodes.get(&id)?, server))
    }

    fn facts_of(&self, gated: &Gated, server: &Server) -> Facts {
        let Facts { activation, counters_checked, .. } = gated.facts;
        Facts { activation, counters_checked, ..self.sight.towards(server) }
    }

    /// The interface that clear sockets to this server are bound to; `None`: it is on this host.
    pub(in crate::gateway) fn bearer(&self, server: &Server) -> Option<String> {
        self.sight.towards(server).bearer
    }

    /// The analyses in force, to be shown.
    pub(in crate::gateway) fn analyses(&self) -> &Analyses {
        &self.analyses
    }

    /// Why it is not known what is latched.
    pub(in crate::gateway) fn latched_as_a_whole(&self) -> Option<&str> {
        self.state.latches.get(ALL_GRANTS).map(String::as_str)
    }

    /// Where NoSec was lost, and why.
    pub(in crate::gateway) fn latches(&self) -> &BTreeMap<String, String> {
        &self.state.latches
    }

    /// Takes over new analyses. What runs in clear goes on by the former ones if a new file is invalid.
    pub(in crate::gateway) fn replace(&mut self, analyses: Analyses) {
        let former = std::mem::replace(&mut self.analyses, analyses);
        if self.analyses.invalid.is_empty() {
            self.kept = None;
            self.nodes.values_mut().for_each(|gated| gated.on_kept = false);
        } else if former.invalid.is_empty() {
            self.kept = Some(former);
            for gated in self.nodes.values_mut() {
                gated.on_kept = gated.decision.as_ref().is_some_and(|decision| decision.verdict.permits_nosec());
            }
        }
        self.stale = true;
    }

    /// Takes over what is seen of this host.
    pub(in crate::gateway) fn see(&mut self, now: Now, host: Facts) {
        let valid = self.kept.iter().flat_map(|kept| &kept.valid).chain(&self.analyses.valid);
        let limits = valid.flat_map(|analysis| analysis.evidence.values()).filter_map(|evidence| match evidence {
            Evidence::Live { max_age_s, .. } => Some(*max_age_s),
            Evidence::Attested { .. } => None,
        });
        self.stale |= self.sight.look(now.mono, host, &limits.collect());
    }

    /// Takes over which interfaces lead to servers.
    pub(in crate::gateway) fn route(&mut self, bearers: BTreeMap<IpAddr, String>) {
        self.stale |= self.sight.route(bearers);
    }

    /// Takes over what modems say.
    pub(in crate::gateway) fn hear(&mut self, cellular: Option<Cellular>) {
        self.stale |= self.sight.hear(cellular);
    }

    /// When a fact ceases to count.
    pub(in crate::gateway) fn deadline(&self) -> Option<Duration> {
        self.sight.deadline()
    }

    /// Today, unless the clock is wrong: not trusted, or earlier than it once was.
    fn today(&self, now: Now) -> Option<Day> {
        now.unix_ms.map(Day::of_unix_ms).filter(|today| self.state.latest.is_none_or(|latest| *today >= latest))
    }

    /// Forgets latches, and that the clock once was ahead.
    fn rearm(&mut self, now: Now) -> usize {
        self.state.latest = now.unix_ms.map(Day::of_unix_ms);
        self.stale = true;
        std::mem::take(&mut self.state.latches).len()
    }

    /// The analyses that speak of a node, of those that it is judged by.
    pub(in crate::gateway) fn speaking(&self, id: NodeId) -> impl Iterator<Item = &Analysis> {
        self.nodes.get(&id).into_iter().flat_map(|gated| {
            let spoken = gated.decision.iter().flat_map(|decision| &decision.analyses);
            let all = &self.analyses_of(gated).valid;
            spoken.filter_map(|spoken| all.iter().find(|analysis| analysis.sha256 == spoken.sha256))
        })
    }

    fn analyses_of(&self, gated: &Gated) -> &Analyses {
        self.kept.as_ref().filter(|_| gated.on_kept).unwrap_or(&self.analyses)
    }

    fn latch(&self, server: &str, decision: &Decision) -> Option<&String> {
        let State { latches, .. } = &self.state;
        latches.get(&grant_name(server, decision)).or_else(|| latches.get(ALL_GRANTS))
    }

    /// Judges one node, as far as it is not judged by `known` yet.
    fn judge(
        &self,
        who: (&Gated, &str, Option<DtlsMode>),
        server: &Server,
        today: Option<Day>,
        known: &mut Known,
    ) -> Arc<Decision> {
        let (gated, endpoint, credential) = who;
        let analyses = self.analyses_of(gated);
        let concerning: Vec<usize> = match &server.uri {
            Some(uri) => {
                let all = analyses.valid.iter().enumerate();
                all.filter(|(_, analysis)| analysis.concerns(endpoint, uri)).map(|(index, _)| index).collect()
            }
            None => Vec::new(),
        };
        let activation = (gated.facts.activation, gated.facts.counters_checked);
        let key = (server.name.clone(), credential.map(DtlsMode::verdict), activation, gated.on_kept, concerning);
        if let Some(decision) = known.get(&key) {
            return Arc::clone(decision);
        }
        let facts = self.facts_of(gated, server);
        let case = Case { endpoint, server, credential, facts: &facts, today, latched: None };
        let mut decision = decide(&case, analyses);
        if let Some(why) = self.latch(&server.name, &decision).filter(|_| !decision.analyses.is_empty()) {
            decision = decide(&Case { latched: Some(why), ..case }, analyses);
        }
        let decision = Arc::new(decision);
        known.insert(key, Arc::clone(&decision));
        decision
    }
}

#[cfg(test)]
impl Gate {
    /// All that later decisions can depend on, as text: not the numbers of records, which grow without end.
    pub(in crate::gateway) fn memory(&self) -> String {
        let of = |analyses: &Analyses| {
            let valid = analyses.valid.iter().map(|analysis| analysis.sha256.clone());
            (valid.collect::<Vec<_>>(), analyses.invalid.len())
        };
        let verdict =
            |gated: &Gated| gated.decision.as_ref().map(|decision| (decision.verdict, grant_name("", decision)));
        let nodes: Vec<_> = self.nodes.values().map(|gated| (gated.on_kept, verdict(gated))).collect();
        let State { latest, latches, .. } = &self.state;
        let latched: Vec<&String> = latches.keys().collect();
        let files = (of(&self.analyses), self.kept.as_ref().map(of));
        format!("{latest:?} {latched:?} {files:?} {:?} {nodes:?} {:?} {}", self.sight, self.judged, self.stale)
    }
}

type Key = (String, Option<&'static str>, (Option<Activation>, Option<bool>), bool, Vec<usize>);
type Known = BTreeMap<Key, Arc<Decision>>;
