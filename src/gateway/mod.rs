//! The owner of everything: radios, network, nodes, policy. One value: `handle(now, input)`, then `poll()` until there
//! is nothing more, then wait for an input or until `deadline()`. It does no IO, reads no clock, draws no randomness.
//!
//! The way of a frame is told in [`uplink`](self) and its mirror `downlink`; `proxy` is the LwM2M side of a node,
//! `persist` what goes to the store and what waits for it.

mod backlog;
pub mod control;
mod deliver;
mod downlink;
pub mod event;
mod explain;
mod fleet;
pub mod gate;
mod handshakes;
pub mod input;
pub mod output;
mod pace;
mod persist;
mod proxy;
mod quota;
mod radios;
mod reload;
mod reserve;
mod sight;
mod status;
mod uplink;

use crate::config::{Config, Server};
use crate::node::{Node, Restored};
use crate::policy::analyses::Analyses;
use crate::radio::Radio;
use crate::store::record::{BacklogRecord, ProxyRecord, ValuesRecord, mailbox_from_bytes};
use crate::store::{BacklogKey, Loaded, Table};
use crate::{codec, config, network};
use backlog::Backlog;
use core::time::Duration;
use event::{Event, Kind};
pub use explain::OwnLink;
use fleet::Fleet;
use gate::{Cause, Gate};
use handshakes::Handshakes;
use input::{HostFacts, Input, NodeId, Now};
use lpwad_lorawan::{DevEui, Network};
use lpwad_lwm2m::Registry;
use output::Output;
use pace::Pace;
use persist::Persist;
use quota::Quota;
use reload::Fixed;
use sight::Sight;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Registrations that are begun in a second.
const REGISTRATIONS_PER_S: u32 = 100;
/// Sends of the backlog in a second: it leaves most of the way to what is new.
const SENDS_PER_S: u32 = 10;
/// Nodes that one tick serves before it looks at the radio again.
const NODES_PER_TICK: usize = 64;
/// How long a stop waits for servers and disk.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What the gateway itself counts, from the start on.
const COUNTS: [&str; 12] = [
    "datagrams_not_held",
    "datagrams_not_permitted",
    "datagrams_without_session",
    "downlinks_acked",
    "events_not_said",
    "notifications",
    "observations",
    "policy_records_forgotten",
    "registrations",
    "uplinks_of_unknown_nodes",
    "writes_refused",
    "writes_refused_full",
];

/// The gateway.
pub struct Gateway {
    servers: Vec<Served>,
    gate: Gate,
    fixed: Fixed,
    radios: Vec<Radio>,
    network: Network,
    fleet: Fleet,
    registry: Arc<Registry>,
    /// Records of nodes that are not configured: their counters and nonces are needed if they come back. Also what is damaged.
    retired: Loaded,
    seed: u64,
    pace: Pace,
    /// Nodes that wait for a token to register, in order.
    paced: VecDeque<NodeId>,
    handshakes: Handshakes,
    /// Nodes whose client may have something to say.
    dirty: BTreeSet<NodeId>,
    persist: Persist,
    backlog: Backlog,
    /// Sends of the backlog, all nodes.
    send_pace: Pace,
    /// Nodes that wait for a token to send of their backlog, in order.
    sends: VecDeque<NodeId>,
    next_item: u64,
    started: Now,
    stopping: Option<Duration>,
    stopped: bool,
    counts: BTreeMap<&'static str, u64>,
    /// Events that others cause at will: what of them is said.
    quota: Quota,
    outputs: VecDeque<Output>,
}

/// A server.
struct Served {
    config: Server,
}

impl Gateway {
    /// A gateway as configured and as it was before the restart, on a host of which `host` is seen.
    #[must_use]
    pub fn new(now: Now, config: &Config, analyses: Analyses, host: HostFacts, loaded: &Loaded, seed: u64) -> Gateway {
        let (network, damaged) = network::build(config, loaded, seed);
        let radios = config.radios.iter().zip(1u64..).map(|(radio, n)| {
            let channels = network::channels_hz(radio.region);
            Radio::new(radio.name.clone(), radio.settings.clone(), channels, seed.rotate_left(17).wrapping_add(n))
        });
        let mut gateway = Gateway {
            servers: config.servers.iter().map(|server| Served { config: server.clone() }).collect(),
            gate: Gate::new(analyses, Sight::new(now.mono, host), &loaded.policy),
            fixed: Fixed::of(config),
            radios: radios.collect(),
            network,
            fleet: Fleet::default(),
            registry: Arc::new(Registry::embedded()),
            retired: reload::retired(config, loaded),
            seed,
            pace: Pace::new(REGISTRATIONS_PER_S),
            paced: VecDeque::new(),
            handshakes: Handshakes::default(),
            dirty: BTreeSet::new(),
            persist: Persist::default(),
            backlog: Backlog::new(config.backlog),
            send_pace: Pace::new(SENDS_PER_S),
            sends: VecDeque::new(),
            next_item: 1,
            started: now,
            stopping: None,
            stopped: false,
            counts: COUNTS.map(|name| (name, 0)).into(),
            quota: Quota::default(),
            outputs: VecDeque::new(),
        };
        gateway.say(Event::new(Kind::Started).with("nodes", config.nodes.len()).with("radios", config.radios.len()));
        for (dev_eui, error) in damaged {
            // It stays what it is for as long as the gateway runs.
            if let Some(record) = loaded.get(Table::Device, dev_eui) {
                gateway.retired.put(Table::Device, dev_eui, record.to_vec());
            }
            gateway.say(Event::new(Kind::RecordDamaged).node(dev_eui).with("table", "device").with("error", error));
        }
        if let Some(why) = gateway.gate.latched_as_a_whole() {
            let event = Event::new(Kind::RecordDamaged).with("table", "policy").with("error", why);
            gateway.say(event);
        }
        gateway.say_invalid();
        for (key, bytes) in &loaded.backlog {
            gateway.restore_backlog(now, *key, bytes);
        }
        for node in &config.nodes {
            gateway.add_node(now, node, loaded);
        }
        gateway.judge_all(now, Cause::Configured);
        gateway.settle(now);
        gateway
    }

    /// A configured node as it was when its records were written. The network has it already.
    fn add_node(&mut self, now: Now, node: &config::Node, loaded: &Loaded) {
        let Some(server) = self.servers.get(node.server).map(|served| served.config.clone()) else { return };
        let restored = self.restored(node.dev_eui, loaded);
        let writes = restored.mailbox.as_ref().map(|(_, writes)| writes.clone()).unwrap_or_default();
        let seed = self.seed ^ u64::from_be_bytes(node.dev_eui.0).rotate_left(32);
        let storing = self.backlog.bounds.max_bytes > 0;
        let mut built = Node::new(node, &server, &self.registry, restored, seed, now.unix_ms, storing);
        let mut given_up = Vec::new();
        for write in writes {
            // A profile that no longer has the actuator cannot send what was written for it.
            let Ok(payload) = codec::encode(&built.profile, write.path, write.value.as_ref()) else {
                given_up.push((write.path, "the profile has no such actuator"));
                continue;
            };
            let ttl = write.time_left(now.unix_ms).min(Duration::from_secs(u64::from(built.profile.downlink.ttl_s)));
            let item = self.item(now, write.path, write.value, payload, ttl);
            if ttl.is_zero() {
                given_up.push((write.path, "out of time"));
            } else if built.mailbox.put(item, u8::MAX).is_err() {
                given_up.push((write.path, "too many are waiting"));
            }
        }
        built.mailbox.dropped += given_up.len() as u64;
        built.show_mailbox();
        built.client.tick(now.mono, now.unix_ms);
        let changed = !given_up.is_empty();
        for (path, reason) in given_up {
            let event = Event::new(Kind::DownlinkDropped).node(built.dev_eui).with("reason", reason);
            self.say(event.with("path", path));
        }
        let id = self.fleet.add(built);
        self.gate.add(id, node);
        if changed {
            self.save_mailbox(now, id);
        }
        self.offer_downlink(now, id);
        self.dirty.insert(id);
    }

    fn restore_backlog(&mut self, now: Now, key: BacklogKey, bytes: &[u8]) {
        match BacklogRecord::from_bytes(bytes) {
            Ok(record) => self.backlog.restore(now, key, &record, bytes),
            Err(error) => {
                let event = Event::new(Kind::RecordDamaged).node(key.dev_eui).with("table", BacklogKey::TABLE);
                self.say(event.with("error", error));
                self.persist.remove_backlog(now.mono, key);
            }
        }
    }

    fn restored(&mut self, dev_eui: DevEui, loaded: &Loaded) -> Restored {
        let mut damaged = Vec::new();
        let mut note = |table: Table, error: crate::store::record::BadRecord| damaged.push((table, error));
        let restored = Restored {
            proxy: loaded
                .get(Table::Proxy, dev_eui)
                .and_then(|bytes| ProxyRecord::from_bytes(bytes).map_err(|error| note(Table::Proxy, error)).ok()),
            values: loaded
                .get(Table::Values, dev_eui)
                .and_then(|bytes| ValuesRecord::from_bytes(bytes).map_err(|error| note(Table::Values, error)).ok()),
            mailbox: loaded
                .get(Table::Mailbox, dev_eui)
                .and_then(|bytes| mailbox_from_bytes(bytes).map_err(|error| note(Table::Mailbox, error)).ok()),
        };
        for (table, error) in damaged {
            self.say(Event::new(Kind::RecordDamaged).node(dev_eui).with("table", table.name()).with("error", error));
        }
        restored
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        // Nothing is granted by older facts when there are newer ones.
        match &input {
            Input::Facts(host) => self.gate.see(now, host.clone()),
            Input::Bearers(bearers) => self.gate.route(bearers.clone()),
            _ => {}
        }
        self.review(now);
        match input {
            Input::PluginStarted(radio, run) => self.with_radio(radio, |radio| radio.started(now.mono, run)),
            Input::PluginLine(radio, run, line) => {
                self.with_radio(radio, |radio| {
                    radio.line(now.mono, run, line.as_deref().map_err(|oversize| *oversize))
                });
            }
            Input::PluginExited(radio, run, how) => self.with_radio(radio, |radio| radio.exited(now.mono, run, &how)),
            Input::Up(id, up) => self.session_up(now, id, &up),
            Input::Down(id, down) => self.session_down(now, id, down),
            Input::Rehearsed(id, down) => self.rehearsed(now, id, down),
            Input::PluginNotReading(radio, run) => self.with_radio(radio, |radio| radio.not_reading(now.mono, run)),
            Input::Noticed(event) => self.say_rarely(now, event),
            Input::Datagram(id, bytes) => self.datagram(now, id, &bytes),
            Input::Committed(ticket) => self.committed(now, ticket),
            Input::CommitFailed(ticket, why) => self.commit_failed(now, ticket, &why),
            Input::Request(request, what) => {
                let answer = match &what {
                    control::Request::PolicyRearm => serde_json::json!({ "latches": self.rearm(now) }),
                    what => self.answer_request(now, what),
                };
                self.outputs.push_back(Output::Reply(request, answer));
            }
            Input::Reload(config, analyses) => self.reload(now, &config, analyses),
            Input::Facts(_) | Input::Bearers(_) => {}
            Input::ReloadFailed(why) => self.say(Event::new(Kind::ReloadFailed).with("reason", why)),
            Input::Tick => self.tick(now),
            Input::Stop => self.stop(now),
        }
        self.settle(now);
    }

    /// The next thing to do, until there is nothing more.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is wanted; `None`: not before another input.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let paced = (!self.paced.is_empty()).then(|| self.pace.next());
        let sends = (!self.sends.is_empty()).then(|| self.send_pace.next());
        let stop = self.stopping.filter(|_| !self.stopped);
        self.radios
            .iter()
            .filter_map(Radio::deadline)
            .chain(self.network.deadline())
            .chain(self.fleet.deadline())
            .chain(self.persist.deadline())
            .chain(self.backlog.deadline())
            .chain(self.handshakes.deadline())
            .chain(self.gate.deadline())
            .chain(paced)
            .chain(sends)
            .chain(stop)
            .min()
    }

    fn tick(&mut self, now: Now) {
        for radio in &mut self.radios {
            radio.tick(now.mono);
        }
        if self.network.deadline().is_some_and(|deadline| deadline <= now.mono) {
            self.network.tick(now.mono);
        }
        for id in self.fleet.due(now.mono, NODES_PER_TICK) {
            self.tick_node(now, id);
        }
        while let Some(id) = self.paced.front().copied() {
            if !self.pace.take(now.mono) {
                break;
            }
            self.paced.pop_front();
            self.tell_alive(now, id);
        }
        self.tick_handshakes(now);
        self.tick_backlog(now);
        self.tick_persist(now);
        if self.stopping.is_some_and(|until| until <= now.mono) {
            self.finish_stop(now);
        }
    }

    /// Passes on what one part says to the next, until nobody has anything to say; then gives the batch to the disk.
    fn settle(&mut self, now: Now) {
        loop {
            let mut quiet = self.drain_radios(now);
            while let Some(output) = self.network.poll() {
                self.network_said(now, output);
                quiet = false;
            }
            while let Some(id) = self.dirty.pop_first() {
                self.drain_client(now, id);
                self.fleet.reschedule(id);
                quiet = false;
            }
            if quiet {
                break;
            }
        }
        if let Some(batch) = self.persist.next_batch(now.mono) {
            self.outputs.push_back(Output::Commit(batch));
        }
        if self.stopping.is_some() && self.is_quiet() {
            self.finish_stop(now);
        }
    }

    fn stop(&mut self, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.say(Event::new(Kind::Stopping));
        self.stopping = Some(now.mono + STOP_GRACE);
        self.paced.clear();
        self.handshakes.stop();
        self.sends.clear();
        self.persist.end(now.mono);
        for id in self.fleet.ids() {
            if let Some(node) = self.fleet.get_mut(id).filter(|node| node.session.is_open()) {
                node.client.deregister(now.mono);
                self.dirty.insert(id);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.persist.is_idle() && self.fleet.iter().all(|(_, node)| !node.is_deregistering())
    }

    fn finish_stop(&mut self, now: Now) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for radio in &mut self.radios {
            radio.stop();
        }
        self.drain_radios(now);
        self.outputs.push_back(Output::Stopped);
    }

    fn say(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn count(&mut self, name: &'static str) {
        debug_assert!(COUNTS.contains(&name), "{name} is not in COUNTS");
        *self.counts.entry(name).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
