//! The policy at work: which decision holds for which node, when it is made anew, and what becomes of sessions then.
//!
//! Nodes about which everything is the same share one decision. It is made anew when the day, the trust in the clock, a
//! fact of this host, the configuration or an analysis changes (threat-analysis rule TA15).

use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use super::reserve::Reserve;
use super::sight::Sight;
use super::{Gateway, Output};
use crate::config::{self, DtlsMode, Server};
use crate::policy::analyses::Analyses;
use crate::policy::date::Day;
use crate::policy::decide::{Case, Decision, Verdict, decide, next_expiry};
use crate::policy::evidence::Evidence;
use crate::policy::facts::{Activation, Cellular, Facts};
use crate::policy::record::{Inputs, Record};
use crate::policy::rule::Rule;
use crate::session::{Security, State as SessionState, Way};
use crate::store::POLICY_STATE;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Decisions that the store keeps; the oldest go.
const MAX_RECORDS: usize = 100;
/// Days before an expiry on which it is warned of, the nearest first.
const WARNING_DAYS: [u32; 3] = [1, 7, 30];

/// The state of the policy.
#[cfg_attr(test, derive(Clone))]
pub(super) struct Gate {
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
pub(super) enum Cause {
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

/// What names a grant for its latch: the server, and each analysis with the day of its review.
fn grant_name(server: &str, decision: &Decision) -> String {
    let reviews = decision.analyses.iter().map(|spoken| format!("{}@{}", spoken.id, spoken.reviewed));
    reviews.fold(server.to_string(), |name, review| format!("{name} {review}"))
}

impl Gate {
    /// With what the store has of the policy. A state that is damaged is none: then nothing is latched, and the chain of
    /// records begins anew.
    pub(super) fn new(analyses: Analyses, sight: Sight, stored: &BTreeMap<u64, Vec<u8>>) -> Gate {
        let state = stored.get(&POLICY_STATE).and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let records = stored.keys().copied().filter(|number| *number != POLICY_STATE).collect();
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
    pub(super) fn add(&mut self, id: NodeId, node: &config::Node) {
        let gated = Gated {
            facts: facts_of(node, &Facts::default()),
            on_kept: false,
            decision: None,
            reserve: Reserve::default(),
        };
        self.nodes.insert(id, gated);
        self.stale = true;
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }

    /// The decision of a node; `None`: it is not judged yet, and nothing is permitted.
    pub(super) fn decision(&self, id: NodeId) -> Option<&Decision> {
        self.nodes.get(&id)?.decision.as_deref()
    }

    /// Whether a session of this kind is permitted now: DTLS is never too much, a clear one needs leave, and DTLS in reserve
    /// where an analysis asks for it.
    pub(super) fn permits(&self, id: NodeId, way: Way) -> bool {
        let Some(gated) = self.nodes.get(&id) else { return false };
        gated.decision.as_ref().is_some_and(|decision| match way {
            Way::Clear => decision.verdict.permits_nosec() && (gated.reserve.proven || !decision.needs_reserve),
            Way::Dtls => decision.verdict != Verdict::Refuse,
        })
    }

    /// Whether the verdict was latched before and is so still: what else comes and goes meanwhile, such as a bearer that flaps,
    /// is shown to who asks, and neither said nor recorded.
    fn is_no_news(&self, id: NodeId, former: Option<&Decision>) -> bool {
        let latched = |decision: &Decision| decision.objections.iter().any(|one| one.rule == Rule::Ta15);
        let both = former.zip(self.decision(id));
        both.is_some_and(|(was, is)| latched(was) && latched(is) && was.verdict == is.verdict)
    }

    /// The reserve of a node.
    pub(super) fn reserve(&mut self, id: NodeId) -> Option<&mut Reserve> {
        self.nodes.get_mut(&id).map(|gated| &mut gated.reserve)
    }

    /// Whether a node that may use NoSec has to try its reserve now.
    pub(super) fn rehearsal_is_due(&self, id: NodeId, now: Duration) -> bool {
        self.nodes.get(&id).is_some_and(|gated| {
            let wanted = |decision: &Arc<Decision>| decision.verdict.permits_nosec() && decision.needs_reserve;
            gated.decision.as_ref().is_some_and(wanted) && gated.reserve.is_due(now)
        })
    }

    /// The facts that a node of this server is judged by.
    pub(super) fn facts(&self, id: NodeId, server: &Server) -> Option<Facts> {
        Some(self.facts_of(self.nodes.get(&id)?, server))
    }

    fn facts_of(&self, gated: &Gated, server: &Server) -> Facts {
        let Facts { activation, counters_checked, .. } = gated.facts;
        Facts { activation, counters_checked, ..self.sight.towards(server) }
    }

    /// The interface that clear sockets to this server are bound to; `None`: it is on this host.
    pub(super) fn bearer(&self, server: &Server) -> Option<String> {
        self.sight.towards(server).bearer
    }

    /// The analyses in force, to be shown.
    pub(super) fn analyses(&self) -> &Analyses {
        &self.analyses
    }

    /// Where NoSec was lost, and why.
    pub(super) fn latches(&self) -> &BTreeMap<String, String> {
        &self.state.latches
    }

    /// Takes over new analyses. What runs in clear goes on by the former ones if a new file is invalid.
    pub(super) fn replace(&mut self, analyses: Analyses) {
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
        self.nodes.values_mut().for_each(|gated| gated.reserve.ask_again());
        self.stale = true;
    }

    /// Takes over what is seen of this host.
    pub(super) fn see(&mut self, now: Now, host: Facts) {
        let valid = self.kept.iter().flat_map(|kept| &kept.valid).chain(&self.analyses.valid);
        let limits = valid.flat_map(|analysis| analysis.evidence.values()).filter_map(|evidence| match evidence {
            Evidence::Live { max_age_s, .. } => Some(*max_age_s),
            Evidence::Attested { .. } => None,
        });
        self.stale |= self.sight.look(now.mono, host, &limits.collect());
    }

    /// Takes over which interfaces lead to servers.
    pub(super) fn route(&mut self, bearers: BTreeMap<IpAddr, String>) {
        self.stale |= self.sight.route(bearers);
    }

    /// Takes over what modems say.
    pub(super) fn hear(&mut self, cellular: Option<Cellular>) {
        self.stale |= self.sight.hear(cellular);
    }

    /// When a fact ceases to count.
    pub(super) fn deadline(&self) -> Option<Duration> {
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

    fn analyses_of(&self, gated: &Gated) -> &Analyses {
        self.kept.as_ref().filter(|_| gated.on_kept).unwrap_or(&self.analyses)
    }

    fn latch(&self, server: &str, decision: &Decision) -> Option<&String> {
        self.state.latches.get(&grant_name(server, decision))
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
    pub(super) fn memory(&self) -> String {
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

impl Gateway {
    /// Reviews if the day, the trust in the clock, or a fact changed.
    pub(super) fn review(&mut self, now: Now) {
        let today = self.gate.today(now);
        self.gate.stale |= self.gate.sight.tick(now.mono);
        if self.gate.stale || self.gate.judged != today {
            self.judge_all(now, Cause::Live);
        }
    }

    /// Judges all nodes, says what changed, and closes what is no longer permitted. Nothing more leaves in clear then, no
    /// De-register either (LwM2M 1.1 §7.1.1); a proxy whose node is there goes on with DTLS at once.
    pub(super) fn judge_all(&mut self, now: Now, cause: Cause) {
        let today = self.gate.today(now);
        if self.gate.judged != today || self.gate.stale {
            self.gate.stale = false;
            self.gate.judged = today;
        }
        if today > self.gate.state.latest {
            self.gate.state.latest = today;
            self.save_gate();
        }
        self.say_expiries(today);
        let changed = self.judge_once(today);
        let latched = cause == Cause::Live && self.latch(&changed);
        let mut formers: BTreeMap<NodeId, Option<Arc<Decision>>> = changed.into_iter().collect();
        if latched {
            self.save_gate();
            for (id, former) in self.judge_once(today) {
                formers.entry(id).or_insert(former);
            }
        }
        let news = formers.iter().filter(|(id, former)| !self.gate.is_no_news(**id, former.as_deref()));
        self.say_decisions(now, &news.map(|(id, _)| *id).collect());
        for id in formers.into_keys() {
            self.apply_decision(now, id);
        }
    }

    /// Nodes whose decision is another one, with the former.
    fn judge_once(&mut self, today: Option<Day>) -> Vec<(NodeId, Option<Arc<Decision>>)> {
        let mut known = Known::new();
        let mut changed = Vec::new();
        for id in self.fleet.ids() {
            let (Some(node), Some(gated)) = (self.fleet.get(id), self.gate.nodes.get(&id)) else { continue };
            let decision = self
                .servers
                .get(node.server)
                .map(|served| self.gate.judge((gated, &node.endpoint, node.dtls), &served.config, today, &mut known));
            if decision != gated.decision
                && let Some(gated) = self.gate.nodes.get_mut(&id)
            {
                changed.push((id, std::mem::replace(&mut gated.decision, decision)));
            }
        }
        changed
    }

    /// Notes where NoSec was lost; gives whether there is something new.
    fn latch(&mut self, changed: &[(NodeId, Option<Arc<Decision>>)]) -> bool {
        let mut new = false;
        for (id, former) in changed {
            let Some(former) = former.as_ref().filter(|former| former.verdict.permits_nosec()) else { continue };
            let Some(node) = self.fleet.get(*id) else { continue };
            let Some(server) = self.servers.get(node.server).map(|served| served.config.name.clone()) else { continue };
            let Some(decision) = self.gate.decision(*id).filter(|decision| !decision.verdict.permits_nosec()) else {
                continue;
            };
            let name = grant_name(&server, former);
            let why = decision.objections.first().map_or_else(String::new, |one| one.why.clone());
            let event = Event::new(Kind::PolicyLatched).server(&server).with("analysis", former.ids().join(","));
            let event = event.with("rule", decision.rule()).with("reason", &why);
            if let Entry::Vacant(entry) = self.gate.state.latches.entry(name) {
                entry.insert(why);
                self.say(event);
                new = true;
            }
        }
        new
    }

    /// One event for each decision that is new, with the number of its nodes.
    fn say_decisions(&mut self, now: Now, changed: &BTreeSet<NodeId>) {
        let mut said: Vec<(usize, Arc<Decision>, usize, NodeId)> = Vec::new();
        for id in changed.iter().copied() {
            let Some(node) = self.fleet.get(id) else { continue };
            let Some(decision) = self.gate.nodes.get(&id).and_then(|gated| gated.decision.clone()) else { continue };
            match said.iter_mut().find(|(server, known, ..)| *server == node.server && *known == decision) {
                Some((_, _, nodes, _)) => *nodes += 1,
                None => said.push((node.server, decision, 1, id)),
            }
        }
        for (server, decision, nodes, id) in said {
            let record = self.record(now, id, &decision, nodes);
            let kind = if decision.verdict == Verdict::Refuse { Kind::PolicyRefused } else { Kind::PolicyVerdict };
            let server = self.servers.get(server).map_or("", |served| served.config.name.as_str());
            let mut event = Event::new(kind).server(server).with("verdict", decision.verdict.name());
            event = event
                .with("rule", rules(&decision.rules))
                .with("nodes", nodes)
                .with("record", record)
                .with("reason", &decision.reason);
            if !decision.analyses.is_empty() {
                let hashes: Vec<&str> = decision.analyses.iter().map(|spoken| spoken.sha256.as_str()).collect();
                event = event.with("analysis", decision.ids().join(",")).with("sha256", hashes.join(","));
            }
            self.say(event);
        }
    }

    /// Keeps a decision; gives its number.
    fn record(&mut self, now: Now, id: NodeId, decision: &Decision, nodes: usize) -> u64 {
        let State { last_number, last_hash, .. } = &self.gate.state;
        let number = last_number + 1;
        let (Some(node), Some(gated)) = (self.fleet.get(id), self.gate.nodes.get(&id)) else { return *last_number };
        let Some(server) = self.servers.get(node.server).map(|served| &served.config) else { return *last_number };
        let facts = self.gate.facts(id, server).unwrap_or_default();
        let latched = decision.objections.iter().any(|one| one.rule == Rule::Ta15);
        let case = Case {
            endpoint: &node.endpoint,
            server,
            credential: node.dtls,
            facts: &facts,
            today: self.gate.today(now),
            latched: self.gate.latch(&server.name, decision).filter(|_| latched).map(String::as_str),
        };
        let inputs = Inputs::of(&case, nodes, self.gate.analyses_of(gated));
        let record = Record::new(number, now.unix_ms, inputs, decision, last_hash);
        let line = record.to_line();
        self.persist.put_policy(number, Some(line.into_bytes()));
        self.gate.records.insert(number);
        self.gate.state.last_number = number;
        self.gate.state.last_hash = record.hash;
        while self.gate.records.len() > MAX_RECORDS {
            let Some(oldest) = self.gate.records.pop_first() else { break };
            self.persist.put_policy(oldest, None);
        }
        self.save_gate();
        number
    }

    /// Closes the session of a node if its decision does not permit it any more, and opens DTLS in its place. Where there was
    /// no way and is one now, a node that has spoken meanwhile need not speak again.
    fn apply_decision(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        node.told_refused = false;
        let way = match &node.session.state {
            SessionState::Opening(way) => *way,
            SessionState::Open(security) => security.way(),
            SessionState::Closed if node.spoke => {
                if self.gate.permits(id, Way::Dtls) && self.is_there(now, id) {
                    self.speak(now, id);
                }
                return;
            }
            SessionState::Closed | SessionState::Failed { .. } => return,
        };
        if self.gate.permits(id, way) {
            return;
        }
        let was_clear = matches!(node.session.security(), Some(Security::Clear));
        self.close_session(now, id);
        if was_clear && self.gate.permits(id, Way::Dtls) && self.is_there(now, id) {
            if let Some(node) = self.fleet.get_mut(id) {
                node.spoke = true;
            }
            self.speak(now, id);
        }
    }

    /// Whether a node was heard within the lifetime of its registration.
    fn is_there(&self, now: Now, id: NodeId) -> bool {
        let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none()) else { return false };
        let lifetime = u64::from(node.profile.registration_lifetime_s());
        node.heard.as_ref().is_some_and(|heard| now.mono.saturating_sub(heard.mono).as_secs() < lifetime)
    }

    /// Ends a session without a word.
    pub(super) fn close_session(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        if node.session.is_open() {
            node.client.session_down(now.mono);
        }
        node.session.close();
        self.handshakes.ended(id);
        self.outputs.push_back(Output::Close(id));
        self.dirty.insert(id);
    }

    /// Warns of what expires soon, once for each of [`WARNING_DAYS`].
    fn say_expiries(&mut self, today: Option<Day>) {
        let Some(today) = today else { return };
        let mut due = Vec::new();
        for analysis in &self.gate.analyses.valid {
            let Some(day) = next_expiry(analysis, today) else { continue };
            let left = day.0.saturating_sub(today.0);
            let Some(step) = WARNING_DAYS.into_iter().find(|days| left <= *days) else { continue };
            if self.gate.warned.get(&analysis.sha256) != Some(&step) {
                let event = Event::new(Kind::AnalysisExpires).with("analysis", &analysis.id);
                due.push((analysis.sha256.clone(), step, event.with("days", left)));
            }
        }
        for (sha256, step, event) in due {
            self.gate.warned.insert(sha256, step);
            self.say(event);
        }
    }

    /// Files that are not valid are shouted, with every start and reload.
    pub(super) fn say_invalid(&mut self) {
        for invalid in self.gate.analyses.invalid.clone() {
            self.say(Event::new(Kind::AnalysisInvalid).with("error", invalid.error));
        }
    }

    /// Somebody has looked: what was lost may be granted again. Gives how many latches there were.
    pub(super) fn rearm(&mut self, now: Now) -> usize {
        let latches = self.gate.rearm(now);
        self.save_gate();
        self.say(Event::new(Kind::PolicyRearmed).with("latches", latches));
        self.judge_all(now, Cause::Configured);
        latches
    }

    fn save_gate(&mut self) {
        let state = serde_json::to_vec(&self.gate.state).expect("a state holds only what JSON can hold");
        self.persist.put_policy(POLICY_STATE, Some(state));
    }
}

/// Ids of rules, for people.
pub(super) fn rules(rules: &[Rule]) -> String {
    rules.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(",")
}
