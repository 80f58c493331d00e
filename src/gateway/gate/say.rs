//! What is said of decisions and of analyses, and what is kept of them.

use super::super::Gateway;
use super::super::event::{Event, Kind};
use super::super::input::{NodeId, Now};
use super::State;
use crate::policy::date::Day;
use crate::policy::decide::{Case, Decision, Verdict, next_expiry};
use crate::policy::record::{Inputs, Record};
use crate::policy::rule::Rule;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Decisions that the store keeps; the oldest go.
/// Counted: `policy_records_forgotten`.
const MAX_RECORDS: usize = 100;
/// Days before an expiry on which it is warned of, the nearest first.
const WARNING_DAYS: [u32; 3] = [1, 7, 30];

impl Gateway {
    /// One event for each decision that is new, with the number of its nodes.
    pub(super) fn say_decisions(&mut self, now: Now, changed: &BTreeSet<NodeId>) {
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
        let number = last_number.saturating_add(1);
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
            self.count("policy_records_forgotten");
        }
        self.save_gate();
        number
    }

    /// Warns of what expires soon, once for each of [`WARNING_DAYS`].
    pub(super) fn say_expiries(&mut self, today: Option<Day>) {
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
    pub(in crate::gateway) fn say_invalid(&mut self) {
        for invalid in self.gate.analyses.invalid.clone() {
            self.say(Event::new(Kind::AnalysisInvalid).with("error", invalid.error));
        }
    }
}

/// Ids of rules, for people.
fn rules(rules: &[Rule]) -> String {
    rules.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(",")
}
