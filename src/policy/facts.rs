//! What is seen while lpwad runs. A fact can only tighten: where one is missing, what needs it does not count.

use super::named::named;
use super::protection::Probe;
use crate::config::Server;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

named! {
    /// How a LoRaWAN node came by its session.
    pub enum Activation {
        /// It joins.
        Otaa = "otaa",
        /// It has a fixed address and session keys: the counters must survive in the node.
        Abp = "abp",
    }
}

/// Facts of a node, its server and this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// How the node was activated.
    pub activation: Option<Activation>,
    /// Whether its frame counters are checked.
    pub counters_checked: Option<bool>,
    /// Whether something keeps the clock of this host in step: the kernel's flag.
    pub clock_synchronised: Option<bool>,
    /// Name of the interface by which the kernel reaches the server, if it is up. Clear sockets are bound to it.
    pub bearer: Option<String>,
    /// What the cellular modem says.
    pub cellular: Option<Cellular>,
    /// What else was looked at.
    pub seen: Vec<Seen>,
}

/// What is seen of this host, whichever the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// What is the same for all servers.
    pub facts: Facts,
    /// Interfaces that are up, by the addresses that the kernel reaches by them now.
    pub bearers: BTreeMap<IpAddr, String>,
}

impl HostFacts {
    /// What is seen of this host and the way to a server.
    #[must_use]
    pub fn towards(&self, server: &Server) -> Facts {
        Facts { bearer: bearer_to(server, &self.bearers), ..self.facts.clone() }
    }
}

/// Of the interfaces by address, the one that leads to this server without DTLS.
#[must_use]
pub fn bearer_to(server: &Server, bearers: &BTreeMap<IpAddr, String>) -> Option<String> {
    let address = server.uri.as_ref().and_then(crate::config::ServerUri::literal)?;
    bearers.get(&address.ip()).cloned()
}

impl From<Facts> for HostFacts {
    fn from(facts: Facts) -> HostFacts {
        HostFacts { facts, bearers: BTreeMap::new() }
    }
}

/// What the cellular modem of this gateway says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cellular {
    /// Network, as MCC and MNC.
    pub plmn: Option<String>,
    /// Access: `nb-iot`, `lte-m`, `lte`, `gsm`.
    pub rat: Option<String>,
    /// In a foreign network (`+CEREG: 5`).
    pub roaming: Option<bool>,
    /// Data goes by the user plane (`+CCIOTOPTI`).
    pub user_plane: Option<bool>,
    /// The modem says that ciphering is off.
    pub ciphering_off: Option<bool>,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What.
    pub probe: Probe,
    /// Which one of several.
    #[serde(default)]
    pub peer: Option<String>,
    /// On which interface, of a `wireguard` fact: without one it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Whether it is as it should be.
    pub good: bool,
    /// How long ago, in s.
    pub age_s: u32,
}
