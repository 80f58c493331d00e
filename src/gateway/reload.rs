//! A new configuration while the gateway runs. Nodes come, go and change; a node that did not change notices nothing. A
//! node that goes says goodbye to its server; its records stay, so that it does not use a counter twice if it comes back.

use super::event::{Event, Kind};
use super::gate::Cause;
use super::input::{NodeId, Now};
use super::output::Output;
use super::{Gateway, STOP_GRACE, Served};
use crate::config::{self, Config, Server};
use crate::network;
use crate::node::identity;
use crate::policy::analyses::Analyses;
use crate::store::record::{device_to_bytes, mailbox_to_bytes};
use crate::store::{Loaded, Table};
use lpwad_lorawan::DevEui;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Number of the server of a node whose server is not configured any more.
const NO_SERVER: usize = usize::MAX;

/// What holds until the next start, whatever the new configuration says.
#[derive(Debug, PartialEq)]
pub(super) struct Fixed {
    state_dir: Option<PathBuf>,
    control_socket: Option<PathBuf>,
    plugin_dirs: Vec<PathBuf>,
    rx1_delay_s: u8,
    backlog: config::Backlog,
    radios: Vec<config::Radio>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Fixed {
        Fixed {
            state_dir: config.state_dir.clone(),
            control_socket: config.control_socket.clone(),
            plugin_dirs: config.plugin_dirs.clone(),
            rx1_delay_s: config.rx1_delay_s,
            backlog: config.backlog,
            radios: config.radios.clone(),
        }
    }

    /// Names of what is different, for the operator.
    fn differences(&self, other: &Fixed) -> Vec<&'static str> {
        let differs = [
            ("gateway.state_dir", self.state_dir != other.state_dir),
            ("gateway.control_socket", self.control_socket != other.control_socket),
            ("gateway.plugin_dirs", self.plugin_dirs != other.plugin_dirs),
            ("gateway.rx1_delay_s", self.rx1_delay_s != other.rx1_delay_s),
            ("backlog", self.backlog != other.backlog),
            ("radio", self.radios != other.radios),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// Records of nodes that the configuration does not have.
pub(super) fn retired(config: &Config, loaded: &Loaded) -> Loaded {
    let configured: BTreeSet<[u8; 8]> = config.nodes.iter().map(|node| node.dev_eui.0).collect();
    let others = loaded.records.iter().filter(|((_, dev_eui), _)| !configured.contains(dev_eui));
    Loaded { records: others.map(|(key, record)| (*key, record.clone())).collect(), ..Loaded::default() }
}

impl Gateway {
    pub(super) fn reload(&mut self, now: Now, config: &Config, analyses: Analyses) {
        if self.stopping.is_some() {
            return;
        }
        let moved = self.reload_servers(now, config, analyses);
        let wanted: BTreeSet<DevEui> = config.nodes.iter().map(|node| node.dev_eui).collect();
        let (mut added, mut changed, mut removed) = (0, 0, 0);
        for id in self.fleet.ids() {
            let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none()) else { continue };
            if !wanted.contains(&node.dev_eui) {
                removed += 1;
                self.retire(now, id, true);
            }
        }
        for node in &config.nodes {
            let Some(id) = self.fleet.by_eui(node.dev_eui) else {
                added += 1;
                self.bring_in(now, node);
                continue;
            };
            let Some(there) = self.fleet.get(id) else { continue };
            let same_proxy = there.endpoint == identity::endpoint(node.dev_eui, node.endpoint.as_deref())
                && there.server == node.server
                && there.dtls == node.dtls_mode()
                && !moved.contains(&id);
            let other_credential = self.gate.configured(id, node);
            if same_proxy && there.profile == node.profile && self.network.is_configured_as(&network::device(node)) {
                if other_credential {
                    // What is clear waits for a handshake with the new one.
                    self.apply_decision(now, id);
                }
                continue;
            }
            changed += 1;
            self.retire(now, id, !same_proxy);
            self.bring_in(now, node);
        }
        self.judge_all(now, Cause::Configured);
        let event = Event::new(Kind::Reloaded).with("added", added).with("changed", changed).with("removed", removed);
        let waits = self.fixed.differences(&Fixed::of(config)).join(",");
        self.say(if waits.is_empty() { event } else { event.with("after_restart", waits) });
    }

    /// Takes over servers and analyses; gives the nodes whose server is not what it was.
    fn reload_servers(&mut self, now: Now, config: &Config, analyses: Analyses) -> BTreeSet<NodeId> {
        self.gate.replace(analyses);
        self.say_invalid();
        let servers = config.servers.iter().map(|server| Served { config: server.clone() }).collect();
        let before = std::mem::replace(&mut self.servers, servers);
        let mut moved = BTreeSet::new();
        for id in self.fleet.ids() {
            let Some(node) = self.fleet.get_mut(id) else { continue };
            let Some(old) = before.get(node.server).map(|served| &served.config) else { continue };
            let position = |same: &dyn Fn(&Server) -> bool| self.servers.iter().position(|new| same(&new.config));
            let same = position(&|new| new == old);
            if same.is_none() {
                moved.insert(id);
            }
            node.server = same.or_else(|| position(&|new| new.name == old.name)).unwrap_or(NO_SERVER);
        }
        // Nothing more leaves to where a server was, nor where it is no longer permitted.
        for id in &moved {
            self.close_session(now, *id);
        }
        self.judge_all(now, Cause::Configured);
        moved
    }

    /// Takes a node out of service; its records are kept. With `goodbye` its proxy de-registers.
    fn retire(&mut self, now: Now, id: NodeId, goodbye: bool) {
        self.refuse_unsaved(now, id);
        let Some(node) = self.fleet.get(id) else { return };
        let dev_eui = node.dev_eui;
        let mut records = vec![
            (Table::Values, node.values_record().to_bytes()),
            (
                Table::Mailbox,
                mailbox_to_bytes(node.mailbox.dropped, &node.mailbox.pending_writes(now.mono, now.unix_ms)),
            ),
        ];
        records.extend(self.proxy_record(node).map(|record| (Table::Proxy, record.to_bytes())));
        // Without a device its record is damaged; it stays as it is.
        if let Some(record) = self.network.take_device(dev_eui) {
            records.push((Table::Device, device_to_bytes(&record)));
        }
        for (table, record) in records {
            self.retired.put(table, dev_eui, record.clone());
            if table != Table::Device {
                self.persist.put(table, dev_eui, record);
            }
        }
        self.fleet.hide(id);
        self.paced.retain(|waiting| *waiting != id);
        self.handshakes.forget(id);
        self.sends.retain(|waiting| *waiting != id);
        self.backlog.missed(dev_eui);
        self.backlog.lost(dev_eui);
        if let Some(node) = self.fleet.get_mut(id) {
            node.leaves = Some(if goodbye { now.mono + STOP_GRACE } else { now.mono });
            if goodbye && node.session.is_open() {
                node.client.deregister(now.mono);
            }
        }
        self.dirty.insert(id);
    }

    fn bring_in(&mut self, now: Now, node: &config::Node) {
        let loaded = std::mem::take(&mut self.retired);
        let mut damaged = None;
        if self.network.device_status(node.dev_eui).is_none()
            && let Err(error) = network::add(&mut self.network, node, &loaded)
        {
            damaged = loaded.get(Table::Device, node.dev_eui).map(<[u8]>::to_vec);
            let event = Event::new(Kind::RecordDamaged).node(node.dev_eui).with("table", Table::Device.name());
            self.say(event.with("error", error));
        }
        self.add_node(now, node, &loaded);
        self.retired = loaded;
        self.retired.forget(node.dev_eui);
        if let Some(record) = damaged {
            self.retired.put(Table::Device, node.dev_eui, record);
        }
    }

    /// Nodes that are not served, because they are not configured or their record is damaged; it is kept.
    pub(super) fn retired_nodes(&self) -> usize {
        self.retired.records.keys().filter(|(table, _)| *table == Table::Device).count()
    }

    /// Ends a node that leaves, once it has said goodbye or need not.
    pub(super) fn finish_leaving(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id) else { return };
        let Some(until) = node.leaves else { return };
        if node.is_deregistering() && now.mono < until {
            return;
        }
        self.outputs.push_back(Output::Close(id));
        self.gate.remove(id);
        self.fleet.remove(id);
    }
}
