//! When decisions are made anew, what latches, and what becomes of sessions then.

use super::super::Gateway;
use super::super::event::{Event, Kind};
use super::super::input::{NodeId, Now};
use super::super::output::Output;
use super::{Cause, Known, grant_name};
use crate::policy::date::Day;
use crate::policy::decide::Decision;
use crate::session::{Security, State as SessionState, Way};
use crate::store::POLICY_STATE;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Gateway {
    /// Reviews if the day, the trust in the clock, or a fact changed.
    pub(in crate::gateway) fn review(&mut self, now: Now) {
        let today = self.gate.today(now);
        self.gate.stale |= self.gate.sight.tick(now.mono);
        if self.gate.stale || self.gate.judged != today {
            self.judge_all(now, Cause::Live);
        }
    }

    /// Judges all nodes, says what changed, and closes what is no longer permitted. Nothing more leaves in clear then, no
    /// De-register either (LwM2M 1.1 §7.1.1); a proxy whose node is there goes on with DTLS at once.
    pub(in crate::gateway) fn judge_all(&mut self, now: Now, cause: Cause) {
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
        let is_news = |(id, former): &(&NodeId, &Option<Arc<Decision>>)| {
            cause == Cause::Configured || self.gate.is_news(**id, former.as_deref())
        };
        let news: BTreeSet<NodeId> = formers.iter().filter(is_news).map(|(id, _)| *id).collect();
        for id in &news {
            if let Some(node) = self.fleet.get_mut(*id) {
                node.told_refused = false;
            }
        }
        self.say_decisions(now, &news);
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

    /// Closes the session of a node if its decision does not permit it any more, and opens DTLS in its place. Where there was
    /// no way and is one now, a node that has spoken meanwhile need not speak again.
    pub(in crate::gateway) fn apply_decision(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id) else { return };
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
    pub(in crate::gateway) fn is_there(&self, now: Now, id: NodeId) -> bool {
        let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none()) else { return false };
        let lifetime = u64::from(node.profile.registration_lifetime_s());
        node.heard.as_ref().is_some_and(|heard| now.mono.saturating_sub(heard.mono).as_secs() < lifetime)
    }

    /// Ends a session without a word.
    pub(in crate::gateway) fn close_session(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        if node.session.is_open() {
            node.client.session_down(now.mono);
        }
        node.session.close();
        self.handshakes.ended(id);
        self.outputs.push_back(Output::Close(id));
        self.dirty.insert(id);
    }

    /// Somebody has looked: what was lost may be granted again. Gives how many latches there were.
    pub(in crate::gateway) fn rearm(&mut self, now: Now) -> usize {
        let latches = self.gate.rearm(now);
        self.save_gate();
        self.say(Event::new(Kind::PolicyRearmed).with("latches", latches));
        self.judge_all(now, Cause::Configured);
        latches
    }

    pub(super) fn save_gate(&mut self) {
        let state = serde_json::to_vec(&self.gate.state).expect("a state holds only what JSON can hold");
        self.persist.put_policy(POLICY_STATE, Some(state));
    }
}
