//! What `lpwad status`, `node list` and `node show` say, as JSON; `src/cli` turns it into text for people.

use super::control::{self, Request};
use super::input::{NodeId, Now};
use super::{Gateway, Served};
use crate::node::Node;
use crate::policy::decide::Decision;
use crate::radio::{Radio, State as RadioState};
use crate::session::{Security, State as SessionState};
use lpwad_lwm2m::{State as ClientState, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

impl Gateway {
    pub(super) fn answer_request(&self, now: Now, request: &Request) -> Json {
        match request {
            Request::Status => self.status(now),
            Request::NodeList => {
                json!(self.nodes().map(|(_, node)| self.node_entry(now, node)).collect::<Vec<_>>())
            }
            Request::NodeShow { node: name } => match self.find_node(name) {
                Some((id, node)) => self.node_whole(now, id, node),
                None => no_node(name),
            },
            Request::PolicyExplain { node: name } => match self.find_node(name) {
                Some((id, node)) => self.explain(now, id, node),
                None => no_node(name),
            },
            Request::PolicyList => self.policy_list(now),
            Request::PolicyRecords { .. } => control::error("the shell answers this, from the store"),
            Request::PolicyRearm => control::error("asked for where nothing can be changed"),
        }
    }

    fn find_node(&self, name: &str) -> Option<(NodeId, &Node)> {
        let by_eui = name.parse().ok().and_then(|dev_eui| self.fleet.by_eui(dev_eui));
        let by_endpoint = || self.nodes().find(|(_, node)| node.endpoint == *name).map(|(id, _)| id);
        by_eui.or_else(by_endpoint).and_then(|id| Some((id, self.fleet.get(id)?)))
    }

    fn status(&self, now: Now) -> Json {
        let registered = self.nodes().filter(|(_, node)| is_registered(node)).count();
        let joined = self.nodes().filter(|(_, node)| self.is_joined(node)).count();
        let handshakes = self.handshakes.counts();
        let network: serde_json::Map<String, Json> =
            self.network.counters().iter().map(|(name, count)| (name.to_string(), count.into())).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": now.mono.saturating_sub(self.started.mono).as_secs(),
            "clock_trusted": now.unix_ms.is_some(),
            "radios": self.radios.iter().map(radio_entry).collect::<Vec<_>>(),
            "servers": self.servers.iter().enumerate().map(|(index, served)| self.server_entry(index, served)).collect::<Vec<_>>(),
            "policy": self.policy_entry(now),
            "nodes": { "configured": self.nodes().count(), "joined": joined, "registered": registered },
            "store": {
                "commits": self.persist.commits,
                "failing": self.persist.is_failing(),
                "datagrams_held": self.persist.held(),
                "removals_forgotten": self.persist.removals_forgotten,
                "retired_nodes": self.retired_nodes(),
            },
            "handshakes": { "under_way": handshakes.0, "waiting": handshakes.1 },
            "backlog": self.backlog_entry(now),
            "network": network,
            "counts": self.counts,
            "clients": self.client_counts(),
        })
    }

    /// The counters of the clients of all nodes together; those of a node that is no longer configured are not among them.
    fn client_counts(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for (name, count) in lpwad_lwm2m::Counters::default().iter() {
            sums.insert(name, count);
        }
        for (_, node) in self.nodes() {
            for (name, count) in node.client.counters().iter().chain([("downlinks_dropped", node.mailbox.dropped)]) {
                *sums.entry(name).or_default() += count;
            }
        }
        sums.entry("downlinks_dropped").or_default();
        sums
    }

    fn server_entry(&self, index: usize, served: &Served) -> Json {
        let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut reason = None;
        for (id, _) in self.nodes().filter(|(_, node)| node.server == index) {
            let Some(decision) = self.gate.decision(id) else { continue };
            *verdicts.entry(decision.verdict.name()).or_default() += 1;
            reason = reason.or(Some(&decision.reason));
        }
        json!({
            "name": served.config.name,
            "uri": served.config.uri.as_ref().map(ToString::to_string),
            "secure_uri": served.config.secure_uri.as_ref().map(ToString::to_string),
            "verdicts": verdicts,
            "reason": reason,
        })
    }

    fn backlog_entry(&self, now: Now) -> Json {
        let (uplinks, bytes, oldest) = self.backlog.size(now.mono);
        json!({
            "uplinks": uplinks,
            "bytes": bytes,
            "max_bytes": self.backlog.bounds.max_bytes,
            "oldest_s": oldest.map(|age| age.as_secs()),
            "uplinks_dropped": self.backlog.dropped,
            "readings_delivered": self.backlog.delivered,
            "readings_unsendable": self.backlog.unsendable,
        })
    }

    /// The nodes that are configured.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.fleet.iter().filter(|(_, node)| node.leaves.is_none())
    }

    fn is_joined(&self, node: &Node) -> bool {
        self.network.device_status(node.dev_eui).is_some_and(|status| status.joined)
    }

    fn node_entry(&self, now: Now, node: &Node) -> Json {
        json!({
            "dev_eui": node.dev_eui.to_string(),
            "endpoint": node.endpoint,
            "profile": node.profile.name,
            "server": self.servers.get(node.server).map(|served| &served.config.name),
            "joined": self.is_joined(node),
            "registration": registration(node),
            "last_heard_s_ago": node.heard.as_ref().map(|heard| now.mono.saturating_sub(heard.mono).as_secs()),
            "uplinks": node.uplinks,
            "pending_downlinks": node.mailbox.items().len(),
        })
    }

    fn node_whole(&self, now: Now, id: NodeId, node: &Node) -> Json {
        let mut whole = self.node_entry(now, node);
        let session = match &node.session.state {
            SessionState::Closed => json!("closed"),
            SessionState::Opening(_) => json!("opening"),
            SessionState::Open(Security::Clear) => json!("nosec"),
            SessionState::Open(Security::Dtls(dtls)) => json!(dtls.mode.verdict()),
            SessionState::Failed { .. } => json!("failed"),
        };
        let values: serde_json::Map<String, Json> = node
            .client
            .values()
            .map(|(path, value, at)| (path.to_string(), json!({ "value": value_json(value), "at_unix_ms": at })))
            .collect();
        let client = node.client.counters().iter().map(|(name, count)| (name.to_string(), Json::from(count)));
        let more = json!({
            "verdict": self.gate.decision(id).map(verdict_json),
            "session": session,
            "dtls": match node.session.security() {
                Some(Security::Dtls(dtls)) => json!({
                    "suite": dtls.suite,
                    "resumed": dtls.resumed,
                    "max_datagram_bytes": dtls.max_datagram,
                }),
                Some(Security::Clear) | None => Json::Null,
            },
            "session_fault": node.session.last_down.as_ref().map(|down| json!({
                "reason": down.reason.name(),
                "detail": down.detail,
                "hint": down.reason.hint(),
            })),
            "local_port": node.session.local_port,
            "last_heard_unix_ms": node.last_heard_unix_ms,
            "lorawan": self.network.device_status(node.dev_eui).map(|status| json!({
                "activation": format!("{:?}", status.activation).to_lowercase(),
                "dev_addr": status.dev_addr.map(|addr| addr.to_string()),
                "fcnt_up": status.fcnt_up,
                "fcnt_down": status.fcnt_down,
                "single_channel": format!("{:?}", status.pinned).to_lowercase(),
            })),
            "link": node.heard.as_ref().map(|heard| json!({
                "dr": super::uplink::dr_name(heard.dr),
                "rssi_dbm": heard.rssi_dbm,
                "snr_db": heard.snr_db,
                "fcnt": heard.fcnt,
            })),
            "values": values,
            "downlinks": node.mailbox.items().iter().map(|item| json!({
                "id": item.id,
                "path": item.path.to_string(),
                "value": item.value.as_ref().map(value_json),
                "on_air": item.sent,
                "expires_in_s": item.expires.saturating_sub(now.mono).as_secs(),
            })).collect::<Vec<_>>(),
            "downlinks_dropped": node.mailbox.dropped,
            "backlog": self.backlog.size_of(node.dev_eui),
            "client": client.collect::<serde_json::Map<_, _>>(),
        });
        if let (Json::Object(whole), Json::Object(more)) = (&mut whole, more) {
            whole.extend(more);
        }
        whole
    }
}

fn no_node(name: &str) -> Json {
    control::error(&format!("no node \"{name}\": give a DevEUI or an endpoint of `lpwad node list`"))
}

fn is_registered(node: &Node) -> bool {
    matches!(node.client.state(), ClientState::Registered { .. })
}

fn registration(node: &Node) -> Json {
    match node.client.state() {
        ClientState::Idle => json!({ "state": "none" }),
        ClientState::Registering { failures, .. } => json!({ "state": "registering", "failures": failures }),
        ClientState::Registered { location, observations, .. } => {
            json!({ "state": "registered", "location": location, "observations": observations })
        }
        ClientState::Deregistering => json!({ "state": "deregistering" }),
        ClientState::Disabled { .. } => json!({ "state": "disabled" }),
    }
}

fn radio_entry(radio: &Radio) -> Json {
    let (state, sheet) = match &radio.state {
        RadioState::Starting => ("starting", None),
        RadioState::Hello { .. } => ("hello", None),
        RadioState::Configuring { .. } => ("configuring", None),
        RadioState::Ready { sheet, .. } => ("ready", Some(sheet)),
        RadioState::Failed { .. } => ("failed", None),
        RadioState::Stopping => ("stopping", None),
    };
    json!({
        "name": radio.name,
        "state": state,
        "fault": radio.fault,
        "sheet": sheet,
        "rx_frames": radio.rx_frames,
        "tx_frames": radio.tx_frames,
        "bad_lines": radio.bad_lines,
        "starts": radio.starts,
        "clock_jumps": radio.clock_jumps,
        "unknown_facts": radio.unknown_facts,
        "plugin": radio.plugin_counters,
    })
}

/// The short form of a decision.
fn verdict_json(decision: &Decision) -> Json {
    json!({
        "verdict": decision.verdict.name(),
        "rules": decision.rules,
        "reason": decision.reason,
        "warnings": decision.warnings,
        "analyses": decision.ids(),
        "next_expiry": decision.next_expiry,
    })
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::String(text) | Value::Corelnk(text) => json!(text),
        Value::Integer(number) | Value::Time(number) => json!(number),
        Value::Unsigned(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Boolean(on) => json!(on),
        Value::Opaque(bytes) => json!(lpwad_link::hex::encode(bytes)),
        Value::Objlnk(object, instance) => json!(format!("{object}:{instance}")),
    }
}
