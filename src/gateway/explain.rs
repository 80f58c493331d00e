//! What `lpwad policy explain` and `lpwad policy list` say, as JSON.

use super::Gateway;
use super::input::{NodeId, Now};
use crate::config::Power;
use crate::node::Node;
use crate::policy::analysis::Analysis;
use crate::policy::date::Day;
use lpwad_lorawan::{DataRate, DevEui};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What is known of the link that a node has itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnLink {
    /// Data rate of the last uplink since the start.
    pub last_dr: Option<DataRate>,
    /// What its profile says that its radio draws.
    pub power: Option<Power>,
}

impl Gateway {
    /// The link that a configured node has itself.
    #[must_use]
    pub fn own_link(&self, node: DevEui) -> Option<OwnLink> {
        let node = self.fleet.get(self.fleet.by_eui(node)?)?;
        Some(OwnLink { last_dr: node.heard.as_ref().map(|heard| heard.dr), power: node.profile.power })
    }

    /// The whole of a node's decision.
    pub(super) fn explain(&self, now: Now, id: NodeId, node: &Node) -> Json {
        let server = self.servers.get(node.server).map(|served| &served.config);
        json!({
            "dev_eui": node.dev_eui.to_string(),
            "endpoint": node.endpoint,
            "server": server.map(|server| &server.name),
            "uri": server.and_then(|server| server.uri.as_ref()).map(ToString::to_string),
            "secure_uri": server.and_then(|server| server.secure_uri.as_ref()).map(ToString::to_string),
            "credential": node.dtls.map(crate::config::DtlsMode::verdict),
            "today": now.unix_ms.map(Day::of_unix_ms),
            "facts": server.and_then(|server| self.gate.facts(id, server)),
            "decision": self.gate.decision(id),
            "signed_by": self.signatures(id),
        })
    }

    /// Who signed the analyses that speak of a node, by id; of those that are signed.
    fn signatures(&self, id: NodeId) -> BTreeMap<&str, &str> {
        let speaking = self.gate.speaking(id);
        speaking.filter_map(|analysis| Some((analysis.id.as_str(), analysis.signed_by.as_deref()?))).collect()
    }

    /// The nodes that may run without DTLS.
    pub(super) fn policy_list(&self, now: Now) -> Json {
        let granted = self.nodes().filter_map(|(id, node)| {
            let decision = self.gate.decision(id).filter(|decision| decision.verdict.permits_nosec())?;
            let mut by: Vec<&String> = self.gate.speaking(id).flat_map(|analysis| &analysis.approved_by).collect();
            by.sort();
            by.dedup();
            Some(json!({
                "dev_eui": node.dev_eui.to_string(),
                "endpoint": node.endpoint,
                "server": self.servers.get(node.server).map(|served| &served.config.name),
                "analyses": decision.ids(),
                "until": decision.next_expiry,
                "approved_by": by,
            }))
        });
        json!({ "nosec": granted.collect::<Vec<_>>(), "policy": self.policy_entry(now) })
    }

    /// Analyses and latches.
    pub(super) fn policy_entry(&self, now: Now) -> Json {
        let today = now.unix_ms.map(Day::of_unix_ms);
        let analyses = self.gate.analyses();
        let entry = |analysis: &Analysis| {
            json!({
                "id": analysis.id,
                "file": analysis.file,
                "sha256": analysis.sha256,
                "reviewed": analysis.reviewed,
                "expires": analysis.expires,
                "signed_by": analysis.signed_by,
                "days_left": today.map(|today| i64::from(analysis.expires.0) - i64::from(today.0)),
            })
        };
        let latches = self.gate.latches().iter().map(|(what, why)| json!({ "what": what, "why": why }));
        json!({
            "analyses": analyses.valid.iter().map(entry).collect::<Vec<_>>(),
            "invalid": analyses.invalid.iter().map(|invalid| &invalid.error).collect::<Vec<_>>(),
            "latches": latches.collect::<Vec<_>>(),
        })
    }
}
