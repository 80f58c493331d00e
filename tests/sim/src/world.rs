//! One run: everything on one clock, from one seed. What is due first happens first; nothing waits for real time.

use crate::disk::{Disk, Forgets};
use crate::faults::Faults;
use crate::net::{Net, To};
use crate::plugin::Plugin;
use crate::sessions::{Handshake, Sessions};
use crate::settings::{Outcome, Planted, Settings, UNBOUNDED};
use crate::shadow::{Rule, Shadow};
use crate::site::{self, Folder};
use crate::tally::{self, inside};
use crate::trace::Trace;
use lpwad::config::Backlog;
use lpwad::gateway::Gateway;
use lpwad::gateway::control::Request;
use lpwad::gateway::event::{Event, Kind};
use lpwad::gateway::input::{Down, HostFacts, Input, NodeId, Now, Reason, Security, Up};
use lpwad::gateway::output::{Output, Target};
use lpwad::store::{Loaded, POLICY_STATE, Table};
use lpwad_sim::air::{Air, AirEvent, Direction};
use lpwad_sim::rng::Rng;
use lpwad_sim::server::{
    Command as ServerCommand, Config as ServerConfig, Data, Event as ServerEvent, ObservePolicy,
    Output as ServerOutput, Server,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Wall time at the start: 2026-12-01.
pub(crate) const START_UNIX_MS: u64 = 1_796_083_200_000;
/// Turns without time going on, before a run counts as stuck: a tick serves 64 nodes.
const MAX_TURNS: u32 = 10_000;
/// What goes wrong on purpose only later begins here.
const QUIET_START: Duration = Duration::from_secs(6 * 3600);
/// Memory that a gateway may hold at rest: a base, with four analyses in force and perhaps four former ones, and so much for
/// each node, in bytes.
const MEMORY: (i64, i64) = (220_000, 12_000);
/// And for each byte of its backlog: a record has an entry and stands in a batch.
const MEMORY_OF_BACKLOG: i64 = 3;

/// The world.
pub struct World {
    pub(crate) settings: Settings,
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    /// Milliseconds that the wall clock is off.
    pub(crate) clock_off_ms: i64,
    pub(crate) air: Air,
    pub(crate) plugin: Plugin,
    pub(crate) disk: Disk,
    pub(crate) net: Net,
    pub(crate) servers: [Server; 2],
    pub(crate) folder: Folder,
    /// The last one without a broken file that this run of the gateway has seen.
    pub(crate) folder_before: Option<Folder>,
    pub(crate) shadow: Shadow,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// What is wrong with the configuration at the moment.
    pub(crate) edited: site::Edited,
    endpoints: BTreeMap<String, usize>,
    gateway: Option<Gateway>,
    booted: Duration,
    /// Local port and server of each open session, and whose a port is.
    sockets: BTreeMap<NodeId, (u16, usize)>,
    dtls: Sessions,
    ports: BTreeMap<u16, NodeId>,
    next_port: u16,
    trace: Trace,
    hoard: Vec<Vec<u8>>,
    /// It was not woken in the last turn, as a mistake on purpose.
    asleep: bool,
    /// Servers that do not answer.
    silent: [bool; 2],
    next_check: Duration,
    most_memory: i64,
    /// Uplinks that this run of the gateway says it dropped for the bound of its backlog.
    dropped: u64,
    /// Nothing is out of order at the end.
    quiet: bool,
}

/// Starts a gateway on what a disk holds; gives what it says of damaged records.
#[must_use]
pub fn starts(nodes: usize, loaded: &Loaded) -> Vec<String> {
    let now = Now { mono: Duration::ZERO, unix_ms: Some(START_UNIX_MS + 86_400_000) };
    let config = site::config(nodes, &site::Edited::default(), Backlog::default().max_bytes);
    let mut gateway = Gateway::new(now, &config, Folder::WHOLE.analyses(), HostFacts::default(), loaded, 1);
    gateway.handle(now, Input::Tick);
    std::iter::from_fn(|| gateway.poll())
        .filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None })
        .filter(|event| event.kind == Kind::RecordDamaged)
        .map(|event| event.to_text())
        .collect()
}

/// Runs it.
#[must_use]
pub fn run(settings: Settings) -> Outcome {
    let length = settings.length;
    let mut faults = Faults::new(settings.seed, length, settings.weather);
    let mut world = World::new(settings);
    world.boot();
    let mut turns = 0;
    while world.now < length {
        let next = world.deadline().into_iter().chain(faults.deadline()).min().unwrap_or(length);
        if next > world.now {
            turns = 0;
            world.now = next.min(length);
        }
        turns += 1;
        if turns > MAX_TURNS {
            world.shadow.violated(world.now, Rule::Deadline, "time does not go on".into());
            break;
        }
        world.turn();
        faults.turn(&mut world);
    }
    world.quiet = faults.is_over();
    world.finish()
}

impl World {
    fn new(settings: Settings) -> World {
        // The process makes the object definitions once, and keeps them: they are no gateway's.
        drop(site::config(0, &site::Edited::default(), 0));
        let seed = settings.seed;
        let mut disk = match &settings.medium {
            Some(medium) => Disk::real(seed, medium.clone()),
            None => Disk::new(seed),
        };
        if let (Some(medium), Some((operations, left))) = (&settings.medium, settings.cut) {
            medium.cut_at(operations);
            disk.left = Some(left);
        }
        disk.forgets = match settings.planted {
            Some(Planted::CounterNotReserved) => Some(Forgets::Table(Table::Device)),
            Some(Planted::AcknowledgedNotStored) => Some(Forgets::Table(Table::Mailbox)),
            Some(Planted::ValueNotStored) => Some(Forgets::Table(Table::Values)),
            Some(Planted::MissedNotStored) => Some(Forgets::Backlog),
            _ => None,
        };
        let nodes = settings.nodes;
        World {
            settings,
            rng: Rng::new(seed, 10),
            now: Duration::ZERO,
            clock_off_ms: 0,
            air: Air::new(seed, site::nodes(nodes)),
            plugin: Plugin::new(seed),
            disk,
            net: Net::new(seed),
            servers: [server(seed, 0), server(seed, 1)],
            folder: Folder::WHOLE,
            folder_before: Some(Folder::WHOLE),
            shadow: Shadow::default(),
            counts: BTreeMap::new(),
            edited: site::Edited::default(),
            endpoints: (0..nodes).map(|n| (site::endpoint(n), n)).collect(),
            gateway: None,
            booted: Duration::ZERO,
            sockets: BTreeMap::new(),
            dtls: Sessions::new(seed),
            ports: BTreeMap::new(),
            next_port: 20_000,
            trace: Trace::default(),
            hoard: Vec::new(),
            asleep: false,
            silent: [false; 2],
            next_check: Duration::from_secs(3600),
            most_memory: 0,
            dropped: 0,
            quiet: false,
        }
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Tells what happens to a node, if somebody watches it.
    pub(crate) fn tell(&self, n: usize, what: impl FnOnce() -> String) {
        if self.settings.watch == Some(n) {
            eprintln!("{:>12} ms  {}", self.now.as_millis(), what());
        }
    }

    /// Milliseconds since 1970, as the machine's clock shows it.
    fn wall_ms(&self) -> u64 {
        (START_UNIX_MS + self.now.as_millis() as u64).saturating_add_signed(self.clock_off_ms)
    }

    pub(crate) fn time(&self) -> Now {
        let wall = self.wall_ms();
        Now { mono: self.now - self.booted, unix_ms: (wall >= site::NOT_BEFORE_UNIX_MS).then_some(wall) }
    }

    /// The machine starts.
    pub(crate) fn boot(&mut self) {
        self.booted = self.now;
        self.folder_before = (!self.folder.broken).then_some(self.folder);
        let (now, seed) = (self.time(), self.rng.next());
        let backlog_bytes = self.settings.backlog_bytes;
        let (nodes, edited, loaded) = (self.settings.nodes, &self.edited, &self.disk.synced);
        self.gateway = Some(inside(|| {
            let config = site::config(nodes, edited, backlog_bytes);
            Gateway::new(now, &config, self.folder.analyses(), HostFacts::default(), loaded, seed)
        }));
        self.trace.note(
            self.now,
            "boot",
            &[now.unix_ms.unwrap_or(u64::MAX).to_le_bytes(), seed.to_le_bytes()].concat(),
        );
        self.count("boots");
        self.shadow.presence.disturbed(self.now);
        self.shadow.boots(self.now, now.unix_ms, self.clock_off_ms);
        self.shadow.keep_latches(self.disk.synced.policy.get(&POLICY_STATE).map(Vec::as_slice));
        self.tell(self.settings.watch.unwrap_or_default(), || "the gateway starts".into());
        self.drain();
        if self.clock_off_ms == 0 {
            self.rearm();
        }
    }

    /// The wall clock is so many milliseconds off from now on.
    pub(crate) fn set_clock(&mut self, off_ms: i64) {
        self.clock_off_ms = off_ms;
        self.shadow.presence.disturbed(self.now);
        self.shadow.readings.clock_steps();
        self.shadow.writes.clock(self.time().unix_ms.map(|_| off_ms));
    }

    /// Somebody sees that the clock is right, and says so.
    pub(crate) fn rearm(&mut self) {
        self.input(|| Input::Request(u64::MAX, Request::PolicyRearm));
    }

    /// The power goes, and comes back when [`World::boot`] is called.
    pub(crate) fn power_cut(&mut self) {
        // What it has to say for itself.
        self.input(|| Input::Request(1, Request::Status));
        let gateway = self.gateway.take();
        inside(|| drop(gateway));
        self.dropped = 0;
        inside(|| self.hoard.clear());
        if self.settings.planted != Some(Planted::QueueUnbounded) && tally::live() != 0 {
            self.shadow.violated(self.now, Rule::Memory, format!("{} bytes outlive the gateway", tally::live()));
        }
        if let Err(problem) = self.disk.power_cut() {
            self.shadow.violated(self.now, Rule::Lost, problem);
        }
        self.plugin.power_cut();
        self.sockets.clear();
        self.dtls.power_cut();
        self.ports.clear();
        self.shadow.power_cut(self.now, &self.disk.synced);
    }

    /// Server `index` falls silent, or answers again.
    pub(crate) fn silence(&mut self, index: usize, silent: bool) {
        let (Some(server), Some(is_silent)) = (self.servers.get_mut(index), self.silent.get_mut(index)) else { return };
        server.command(self.now, ServerCommand::Silent(silent));
        *is_silent = silent;
        self.shadow.presence.server_disturbed(self.now, index);
    }

    /// Server `index` restarts and has forgotten everything.
    pub(crate) fn restart_server(&mut self, index: usize) {
        let seed = self.rng.next();
        if let Some(slot) = self.servers.get_mut(index) {
            *slot = server(seed, index as u64);
        }
        if let Some(silent) = self.silent.get_mut(index) {
            *silent = false;
        }
        self.shadow.presence.server_disturbed(self.now, index);
        self.dtls.server_forgets(index);
        // What it was asked to write is forgotten too.
        for n in (0..self.settings.nodes).filter(|n| n % 2 == index) {
            self.shadow.answered(self.now, n, false);
        }
    }

    /// Gives the gateway an input, made in its own memory.
    pub(crate) fn input(&mut self, make: impl FnOnce() -> Input) {
        let now = self.time();
        if self.gateway.is_some() {
            self.give(now, make);
            self.drain();
        }
    }

    fn give(&mut self, time: Now, make: impl FnOnce() -> Input) {
        let Some(gateway) = &mut self.gateway else { return };
        let input = inside(make);
        // A text of its own is not the gateway's memory.
        self.trace.input(self.now, time, &input);
        inside(|| gateway.handle(time, input));
    }

    fn drain(&mut self) {
        loop {
            let Some(gateway) = &mut self.gateway else { return };
            let Some(output) = inside(|| gateway.poll()) else { break };
            self.trace.output(self.now, &output);
            let answer = self.carry_out(&output);
            inside(|| drop(output));
            if let Some(make) = answer {
                self.give(self.time(), make);
            }
        }
    }

    fn carry_out(&mut self, output: &Output) -> Option<impl FnOnce() -> Input + use<>> {
        let now = self.now;
        match output {
            Output::StartPlugin(_) => self.plugin.start(now),
            Output::WritePlugin(_, line) => {
                let late = self.settings.planted == Some(Planted::OrderLate);
                let arrives = if late { now + Duration::from_millis(1000) } else { now };
                if let Err((rule, problem)) = self.plugin.written(arrives, line) {
                    self.shadow.violated(now, rule, problem);
                }
            }
            Output::KillPlugin(_) => self.plugin.exit(now),
            Output::Open { session, to: Target::Clear { peer, .. }, local_port } => {
                let (session, index) = (*session, usize::from(peer.port() - 5683));
                if !self.permits_clear(index) {
                    let detail = format!("a clear session {} to server {index} without a verdict", session.0);
                    self.shadow.violated(now, Rule::Clear, detail);
                }
                let local_port = self.socket(session, index, *local_port);
                return Some(move || Input::Up(session, Up { local_port, security: Security::Clear }));
            }
            Output::Open { session, to: Target::Dtls { server, node }, local_port } => {
                let (session, index, local_port) = (*session, site::server(server).unwrap_or_default(), *local_port);
                self.dtls.begin(now, Handshake { session, node: node.0, index, local_port, rehearsal: false });
            }
            Output::Rehearse { session, server, node } => {
                let (session, index) = (*session, site::server(server).unwrap_or_default());
                self.dtls.begin(now, Handshake { session, node: node.0, index, local_port: None, rehearsal: true });
            }
            Output::Send(session, bytes) => self.send(*session, bytes),
            Output::Close(session) => {
                if self.settings.planted == Some(Planted::ClearDatagram) && self.sockets.contains_key(session) {
                    self.send(*session, &[0x40, 0, 0, 0]);
                }
                self.dtls.close(*session);
                self.close(*session);
            }
            Output::Commit(batch) => {
                if let Err(problem) = self.disk.commit(now, batch.clone()) {
                    self.shadow.violated(now, Rule::Protocol, problem);
                }
            }
            Output::Event(event) => {
                self.count(event.kind.name());
                if let Some(n) = event.node.map(|dev_eui| site::number(dev_eui.0)) {
                    self.tell(n, || event.to_text());
                }
                let said = self.settings.planted == Some(Planted::PayloadSaid) && event.kind == Kind::Uplink;
                let more = |mut event: Event| {
                    event.fields.push(("frame", lpwad_link::hex::encode(&site::payload(272))));
                    event
                };
                let silent = self.settings.planted == Some(Planted::RegistrationNotRenewed);
                if silent && event.kind == Kind::RegistrationFailed {
                    // A gateway that does not try has nothing to say.
                    return None;
                }
                let event = if said { &more(event.clone()) } else { event };
                self.shadow.event(now, event);
            }
            Output::Reply(_, status) => {
                let dropped = status["backlog"]["uplinks_dropped"].as_u64().unwrap_or(self.dropped);
                let more = dropped - std::mem::replace(&mut self.dropped, dropped);
                *self.counts.entry("uplinks_dropped").or_default() += more;
                // Where only age bounds the backlog, the shadow knows by itself what may be gone.
                if more > 0 && self.settings.backlog_bytes < UNBOUNDED {
                    self.shadow.dropped(self.now, more);
                }
            }
            Output::Stopped => {}
        }
        None
    }

    fn free_port(&mut self) -> u16 {
        loop {
            self.next_port = if self.next_port >= 60_000 { 20_000 } else { self.next_port + 1 };
            if !self.ports.contains_key(&self.next_port) {
                return self.next_port;
            }
        }
    }

    fn socket(&mut self, session: NodeId, index: usize, wanted: Option<u16>) -> u16 {
        let port = wanted.filter(|port| !self.ports.contains_key(port)).unwrap_or_else(|| self.free_port());
        self.sockets.insert(session, (port, index));
        self.ports.insert(port, session);
        port
    }

    fn close(&mut self, session: NodeId) {
        if let Some((port, _)) = self.sockets.remove(&session) {
            self.ports.remove(&port);
        }
    }

    /// One of the open DTLS sessions ends, or is put aside.
    pub(crate) fn end_session(&mut self, which: u64) {
        let Some(session) = self.dtls.any_open(which) else { return };
        let reason = [Reason::Parked, Reason::Ended, Reason::Forged][(which >> 32) as usize % 3];
        self.dtls.close(session);
        self.close(session);
        self.input(|| Input::Down(session, Down::new(reason, "")));
    }

    /// Handshakes that have ended.
    fn handshakes(&mut self) {
        while let Some((handshake, security)) = self.dtls.ended(self.now) {
            let session = handshake.session;
            if handshake.rehearsal {
                self.count(if security.is_some() { "rehearsals" } else { "rehearsals_failed" });
                self.input(|| {
                    let failed = security.is_none().then(|| Down::new(Reason::NoAnswer, ""));
                    Input::Rehearsed(session, failed)
                });
                continue;
            }
            let Some(security) = security else {
                self.count("handshakes_failed");
                self.input(|| Input::Down(session, Down::new(Reason::NoAnswer, "")));
                continue;
            };
            self.count("handshakes");
            let local_port = self.socket(session, handshake.index, handshake.local_port);
            // The copy is made in the memory of the gateway, which drops it.
            self.input(|| Input::Up(session, Up { local_port, security: security.clone() }));
        }
    }

    /// Whether a clear datagram to a server may leave.
    fn permits_clear(&self, index: usize) -> bool {
        self.folder.permits(self.folder_before, index, self.wall_ms()) && !self.shadow.is_latched(index)
    }

    fn send(&mut self, session: NodeId, bytes: &[u8]) {
        if self.settings.planted == Some(Planted::RegistrationNotRenewed) && self.now > QUIET_START && registers(bytes)
        {
            return;
        }
        let Some((port, index)) = self.sockets.get(&session).copied() else {
            return self.shadow.violated(self.now, Rule::Protocol, "a datagram without a socket".into());
        };
        if !self.dtls.is_open(session) && !self.permits_clear(index) {
            let detail = format!("a clear datagram of session {} to server {index} without a verdict", session.0);
            self.shadow.violated(self.now, Rule::Clear, detail);
        }
        self.count("datagrams_sent");
        self.net.send(self.now, To::Server { index, from: port }, bytes);
    }

    fn deadline(&self) -> Option<Duration> {
        let gateway = self.gateway.as_ref().and_then(Gateway::deadline).map(|mono| self.booted + mono);
        gateway
            .into_iter()
            .chain(self.air.deadline())
            .chain(self.plugin.deadline())
            .chain(self.disk.deadline())
            .chain(self.net.deadline())
            .chain(self.dtls.deadline())
            .chain(self.servers.iter().filter_map(Server::deadline))
            .chain([self.next_check])
            .min()
    }

    /// Everything that is due.
    fn turn(&mut self) {
        self.air.tick(self.now);
        self.plugin.tick(self.now, &mut self.air);
        self.air_events();
        while let Some(said) = self.plugin.take(self.now) {
            self.input(|| said.input());
        }
        self.handshakes();
        let finished = self.disk.finish(self.now);
        if self.disk.is_cut() {
            self.power_cut();
            self.boot();
        }
        if let Some((ticket, result)) = finished {
            self.input(|| match &result {
                Ok(()) => Input::Committed(ticket),
                Err(why) => Input::CommitFailed(ticket, why.clone()),
            });
        }
        while let Some((to, bytes)) = self.net.take(self.now) {
            self.arrive(to, &bytes);
        }
        for index in 0..self.servers.len() {
            if let Some(server) = self.servers.get_mut(index) {
                server.tick(self.now);
            }
            self.drain_server(index);
        }
        self.wake();
        if self.is_due() {
            self.shadow.violated(self.now, Rule::Deadline, "a deadline has passed, and the turn too".into());
        }
        if self.next_check <= self.now {
            self.next_check += Duration::from_secs(3600);
            self.check();
        }
    }

    fn is_due(&self) -> bool {
        let deadline = self.gateway.as_ref().and_then(Gateway::deadline);
        deadline.is_some_and(|mono| self.booted + mono <= self.now)
    }

    /// Wakes the gateway if it is due.
    fn wake(&mut self) {
        self.asleep = !self.asleep && self.settings.planted == Some(Planted::WokenLate);
        if self.asleep {
            return;
        }
        let mut ticks = 0;
        while self.is_due() {
            self.input(|| Input::Tick);
            ticks += 1;
            if ticks > MAX_TURNS {
                let detail = format!("still due after {ticks} ticks");
                return self.shadow.violated(self.now, Rule::Deadline, detail);
            }
        }
    }

    fn air_events(&mut self) {
        while let Some(event) = self.air.poll() {
            match event {
                AirEvent::OnAir { direction: Direction::Up, start, frame, .. } => self.shadow.up(start, &frame.data),
                AirEvent::OnAir { direction: Direction::Down, start, frame, .. } => {
                    self.shadow.down(start, &frame.data, &self.disk.synced)
                }
                AirEvent::ToGateway(heard) => {
                    self.count("frames_heard");
                    if self.gateway.is_some() {
                        self.plugin.heard(&heard);
                    }
                }
                AirEvent::UplinkSent { dev_eui, fcnt, uplink } => {
                    let unix_ms = self.time().unix_ms;
                    self.shadow.said(dev_eui.0, fcnt, &uplink.payload, unix_ms);
                }
                AirEvent::NodeReceived { dev_eui, payload, fport: Some(99), .. } => {
                    self.tell(site::number(dev_eui.0), || format!("the node takes {payload:02x?}"));
                    self.shadow.received(dev_eui.0, &payload)
                }
                AirEvent::Acked { dev_eui, fcnt } => {
                    let trusted = self.time().unix_ms.is_some();
                    self.shadow.acked(self.now, dev_eui.0, fcnt, &self.disk.synced, trusted);
                }
                AirEvent::NodeBroken { dev_eui, detail } => {
                    self.shadow.violated(self.now, Rule::Protocol, format!("node {dev_eui}: {detail}"));
                }
                AirEvent::NodeReceived { .. }
                | AirEvent::NodeJoined { .. }
                | AirEvent::JoinFailed { .. }
                | AirEvent::NoAck { .. }
                | AirEvent::Missed { .. } => {}
            }
        }
    }

    fn arrive(&mut self, to: To, bytes: &[u8]) {
        match to {
            To::Server { index, from } => {
                let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), from);
                if let Some(server) = self.servers.get_mut(index) {
                    server.handle_datagram(self.now, from, bytes);
                }
                self.drain_server(index);
            }
            To::Proxy { port, index } => {
                let Some(id) = self.ports.get(&port).copied() else { return };
                // A connected socket takes datagrams of its peer only.
                if self.sockets.get(&id) != Some(&(port, index)) {
                    return;
                }
                if self.settings.planted == Some(Planted::QueueUnbounded) {
                    inside(|| self.hoard.push(Vec::with_capacity(1024)));
                }
                self.input(|| Input::Datagram(id, bytes.to_vec()));
            }
        }
    }

    pub(crate) fn drain_server(&mut self, index: usize) {
        while let Some(output) = self.servers.get_mut(index).and_then(Server::poll) {
            match output {
                ServerOutput::Send { to, bytes } => {
                    self.net.send(self.now, To::Proxy { port: to.port(), index }, &bytes)
                }
                ServerOutput::Event(ServerEvent::Written(answer)) => {
                    let accepted = answer.code.as_deref() == Some("2.04");
                    if let Some(n) = self.endpoints.get(&answer.ep).copied() {
                        self.tell(n, || format!("the server has its answer: {:?} {:?}", answer.code, answer.error));
                        self.shadow.answered(self.now, n, accepted);
                    }
                }
                ServerOutput::Event(ServerEvent::Error { detail }) => {
                    let ep = detail.strip_prefix("not registered: ").unwrap_or_default();
                    if let Some(n) = self.endpoints.get(ep) {
                        self.shadow.answered(self.now, *n, false);
                    }
                }
                ServerOutput::Event(ServerEvent::Notify(answer)) => {
                    self.count("server_notified");
                    self.told(&answer.ep, answer.data.as_ref());
                }
                ServerOutput::Event(ServerEvent::Observed(answer)) => self.told(&answer.ep, answer.data.as_ref()),
                ServerOutput::Event(ServerEvent::Send { ep, data }) => {
                    self.count("server_sent");
                    self.sent(&ep, &data);
                    self.told(&ep, Some(&data));
                }
                ServerOutput::Event(ServerEvent::Registered { ep, addr, .. }) => {
                    self.count("server_registered");
                    self.check_reserve(&ep, addr.port(), index);
                }
                ServerOutput::Event(ServerEvent::Expired { ep }) => {
                    self.count("server_expired");
                    self.disturbances();
                    if let Some(n) = self.endpoints.get(&ep).copied() {
                        self.tell(n, || "its registration runs out".into());
                        self.shadow.expired(self.now, n);
                    }
                }
                ServerOutput::Event(_) => {}
            }
        }
    }

    /// A node with a credential registers in clear only after a handshake has shown that it could do otherwise: the analysis of
    /// such nodes asks for DTLS in reserve.
    fn check_reserve(&mut self, ep: &str, port: u16, index: usize) {
        let (Some(n), Some(session)) = (self.endpoints.get(ep).copied(), self.ports.get(&port).copied()) else {
            return;
        };
        let clear = self.sockets.get(&session) == Some(&(port, index)) && !self.dtls.is_open(session);
        if clear && site::has_credential(n) && !self.dtls.is_proven(session) {
            let detail = format!("node {n} registers in clear, and no handshake has shown that DTLS could take over");
            self.shadow.violated(self.now, Rule::Clear, detail);
        }
    }

    /// Notes what is in the way of all nodes at the moment, or of those of a server.
    fn disturbances(&mut self) {
        // A clock that was once ahead is not trusted when it is behind, or right again, until somebody says so.
        // With a broken file, what is begun anew meanwhile (by a start, by a reload) has no leave.
        if self.gateway.is_none() || self.clock_off_ms != 0 || self.folder.broken {
            self.shadow.presence.disturbed(self.now);
        }
        self.shadow.presence.disturbed(self.disk.full_until.min(self.now));
        for index in 0..self.servers.len() {
            let dark = self.shadow.has_latch(index) || !self.permits_clear(index);
            if dark || self.silent.get(index) == Some(&true) {
                self.shadow.presence.server_disturbed(self.now, index);
            }
        }
    }

    /// A server has heard values of a node in a Send.
    fn sent(&mut self, ep: &str, data: &Data) {
        let Some(n) = self.endpoints.get(ep).copied() else { return };
        let temperature = |values: &serde_json::Map<String, serde_json::Value>| values.get(site::TEMPERATURE)?.as_f64();
        let alone = if data.stamped.is_empty() { Some((data.ts, &data.values)) } else { None };
        let all = data.stamped.iter().map(|stamped| (stamped.ts, &stamped.values)).chain(alone);
        let told: Vec<_> = all.filter_map(|(at_s, values)| Some((temperature(values)?, at_s))).collect();
        self.shadow.sent(self.now, n, &told);
    }

    /// A server has heard values of a node.
    fn told(&mut self, ep: &str, data: Option<&Data>) {
        let (Some(n), Some(data)) = (self.endpoints.get(ep).copied(), data) else { return };
        let stamped = data.stamped.iter().map(|stamped| &stamped.values);
        let temperatures = stamped.chain([&data.values]).filter_map(|values| values.get(site::TEMPERATURE)?.as_f64());
        for value in temperatures {
            self.shadow.told(n, value);
        }
    }

    fn check(&mut self) {
        self.shadow.check_owed(self.now, &self.disk.synced);
        self.input(|| Input::Request(1, Request::Status));
        // What the disk has, whatever the gateway says, and never more than it may keep.
        let backlog = self.disk.backlog_bytes().min(self.settings.backlog_bytes) as i64;
        let memory = tally::live();
        self.most_memory = self.most_memory.max(memory);
        let bound = MEMORY.0 + MEMORY.1 * self.settings.nodes as i64 + MEMORY_OF_BACKLOG * backlog;
        if memory > bound {
            self.shadow.violated(self.now, Rule::Memory, format!("{memory} bytes live, more than {bound}"));
        }
    }

    fn finish(mut self) -> Outcome {
        self.check();
        if self.quiet {
            self.shadow.check_untold(self.now);
        }
        let gateway = self.gateway.take();
        inside(|| drop(gateway));
        inside(|| self.hoard.clear());
        let more = [
            ("frames_sent", self.plugin.sent),
            ("commits", self.disk.commits),
            ("writes_acknowledged", self.shadow.writes.acknowledged),
            ("writes_arrived", self.shadow.writes.arrived),
            ("writes_given_up", self.shadow.writes.given_up),
            ("uplinks_acknowledged", self.shadow.acked),
            ("readings_owed", self.shadow.readings_owed),
            ("latches", self.shadow.latches),
            ("most_memory_bytes", self.most_memory.unsigned_abs()),
        ];
        self.counts.extend(more);
        Outcome {
            hash: self.trace.hash(),
            violations: self.shadow.violations,
            counts: self.counts,
            history: self.disk.history,
        }
    }
}

/// Whether a datagram is a Register or an Update: POST, and its path begins with `rd`.
fn registers(bytes: &[u8]) -> bool {
    bytes.get(1) == Some(&2) && bytes.windows(3).any(|window| window == b"\xb2rd")
}

fn server(seed: u64, index: u64) -> Server {
    Server::new(ServerConfig { observe: ObservePolicy::Sensors, seed: seed ^ (index + 1) << 32 })
}
