//! What must hold, told a second time: a small model beside the gateway that sees what goes in and out and knows nothing
//! of how the gateway works. Frames are read with foreign code (`lorawan`).

use crate::presence::Presence;
use crate::privacy;
use crate::readings::Readings;
use crate::site;
use crate::writes::{self, Writes};
use lorawan::default_crypto::DefaultFactory;
use lorawan::keys::AppKey;
use lorawan::parser::EncryptedJoinAcceptPayload;
use lpwad::gateway::event::{Class, Event, Kind, class_of};
use lpwad::store::record::{ValuesRecord, device_from_bytes, mailbox_from_bytes};
use lpwad::store::{Loaded, Table};
use lpwad_lorawan::{DevEui, SessionRecord};
use lpwad_lwm2m::{Path, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a node listens for its join accept: RX1 after 5 s, RX2 after 6 s, and the frame.
const JOIN_WINDOW: Duration = Duration::from_secs(8);

/// What a server observes to hear of temperatures.
const OBSERVED: &str = "/3303/1";
/// How long the gateway waits at most after a registration that failed: an hour, and somewhat more by chance.
const LONGEST_RETRY: Duration = Duration::from_secs(3600 * 6 / 5);
/// How long the gateway has, once all is well, to tell a server what it missed.
const TIME_TO_TELL: Duration = Duration::from_secs(4 * 3600);
/// What is older may have been dropped: the gateway's 72 h, less what lies between a frame and its acknowledgement.
const BACKLOG_AGE: Duration = Duration::from_secs(71 * 3600);

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in ms since the start.
    pub at_ms: u64,
    /// Which rule.
    pub rule: Rule,
    /// What happened.
    pub detail: String,
}

/// The classes of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No counter and no nonce is used twice.
    UsedTwice,
    /// Nothing that was acknowledged is lost.
    Lost,
    /// No clear datagram without a NoSec verdict.
    Clear,
    /// Memory has a bound.
    Memory,
    /// Deadlines are kept.
    Deadline,
    /// The protocols of plugin and disk are kept.
    Protocol,
    /// No event says a payload or a key.
    Private,
}

/// The last payload of a node.
#[derive(Clone, Debug)]
struct Said {
    fcnt: u32,
    payload: Vec<u8>,
    /// The gateway's clock then, if it was trusted.
    unix_ms: Option<u64>,
    /// The server has heard its temperature since.
    told: bool,
}

impl Said {
    fn temperature(&self) -> Option<f64> {
        site::temperature(&self.payload)
    }
}

/// A temperature that was acknowledged to its node, and that its server was not told yet.
#[derive(Clone, Debug)]
struct Untold {
    value: f64,
    since: Duration,
    arrived_unix_ms: Option<u64>,
    /// How much older it is to the gateway, by clocks that went wrong.
    skew: Duration,
}

impl Untold {
    /// It may have been dropped for its age.
    fn may_be_gone(&self, now: Duration) -> bool {
        now - self.since + self.skew >= BACKLOG_AGE
    }
}

/// The model.
#[derive(Default)]
pub struct Shadow {
    /// What was found.
    pub violations: Vec<Violation>,
    /// Frames on air by address and counter, of each session (counted by join).
    down: BTreeMap<([u8; 4], u16), Vec<u8>>,
    /// Nodes by the addresses that join accepts gave them, most significant byte first.
    owners: BTreeMap<[u8; 4], usize>,
    join_nonces: BTreeSet<(usize, Vec<u8>)>,
    dev_nonces: BTreeSet<(usize, String)>,
    joining: Vec<(usize, Duration)>,
    /// The last uplink that the gateway delivered, by node and session address.
    delivered: BTreeMap<(usize, String), u32>,
    address: BTreeMap<usize, String>,
    said: BTreeMap<usize, Said>,
    /// What nodes said, and servers were told by Send.
    pub readings: Readings,
    /// Uplinks that the gateway counted as dropped for its bound, and when it last did.
    dropped: (u64, Duration),
    /// What servers write.
    pub writes: Writes,
    /// Who was heard, and what was in the way.
    pub presence: Presence,
    /// Servers and analyses for which leave for clear sessions was lost.
    latched: BTreeSet<(usize, String)>,
    /// How often that happened.
    pub latches: u64,
    /// Of nodes whose servers observe.
    untold: BTreeMap<usize, Vec<Untold>>,
    observed: BTreeSet<usize>,
    /// How many there were.
    pub readings_owed: u64,
    /// Confirmed uplinks acknowledged to their node.
    pub acked: u64,
}

/// The sessions of a node on disk, those of keys that are not configured now included.
fn sessions(disk: &Loaded, n: usize) -> Vec<SessionRecord> {
    let device = disk.get(Table::Device, DevEui(site::dev_eui(n))).and_then(|bytes| device_from_bytes(bytes).ok());
    let Some(device) = device else { return Vec::new() };
    let shelved = device.shelved.into_iter().flat_map(|shelved| [shelved.session, shelved.pending]);
    [device.session, device.pending].into_iter().chain(shelved).flatten().collect()
}

/// The uplink counter with this address. Mistyped keys have a session of the same address that was never used.
fn fcnt_up(sessions: Vec<SessionRecord>, address: &str) -> Option<u32> {
    let of_address = sessions.into_iter().filter(|session| session.dev_addr.to_string() == address);
    of_address.filter_map(|session| session.fcnt_up).max()
}

impl Shadow {
    /// Notes a violation.
    pub fn violated(&mut self, now: Duration, rule: Rule, detail: String) {
        if self.violations.len() < 100 {
            self.violations.push(Violation { at_ms: now.as_millis() as u64, rule, detail });
        }
    }

    /// A node's frame is on air.
    pub fn up(&mut self, now: Duration, frame: &[u8]) {
        if frame.len() == 23 && frame[0] >> 5 == 0 {
            let mut dev_eui = [0; 8];
            dev_eui.copy_from_slice(&frame[9..17]);
            dev_eui.reverse();
            self.joining.retain(|(_, since)| *since + JOIN_WINDOW > now);
            self.joining.push((site::number(dev_eui), now));
        }
    }

    /// A frame of the gateway is on air.
    pub fn down(&mut self, now: Duration, frame: &[u8], disk: &Loaded) {
        match frame.first().map(|mhdr| mhdr >> 5) {
            Some(1) => self.join_accept(now, frame, disk),
            Some(3 | 5) if frame.len() >= 12 => {
                let address = [frame[1], frame[2], frame[3], frame[4]];
                let counter = u16::from_le_bytes([frame[6], frame[7]]);
                if self.down.insert((address, counter), frame.to_vec()).is_some() {
                    self.violated(now, Rule::UsedTwice, format!("FCntDown {counter} of {address:02x?} on air twice"));
                }
                let mut address = address;
                address.reverse();
                let owner = self.owners.get(&address).copied();
                let owner = owner.unwrap_or_else(|| usize::from(u16::from_be_bytes([address[2], address[3]])));
                let reserved = sessions(disk, owner)
                    .into_iter()
                    .any(|session| session.dev_addr.0 == address && session.fcnt_down_reserved > u32::from(counter));
                if frame[0] >> 5 == 5 {
                    self.writes.on_air(owner);
                }
                if !reserved {
                    let detail = format!("FCntDown {counter} of node {owner} is on air and not reserved on disk");
                    self.violated(now, Rule::UsedTwice, detail);
                }
            }
            other => self.violated(now, Rule::Protocol, format!("message type {other:?} on air")),
        }
    }

    fn join_accept(&mut self, now: Duration, frame: &[u8], disk: &Loaded) {
        for (n, _) in self.joining.clone() {
            let key = AppKey::from(site::key(n, 0));
            let Ok(accept) = EncryptedJoinAcceptPayload::new_with_factory(frame.to_vec(), DefaultFactory) else {
                break;
            };
            let accept = accept.decrypt(&key);
            if accept.validate_mic(&key) {
                // The session begins anew, and so do its counters.
                let mut address = [0; 4];
                address.copy_from_slice(accept.dev_addr().as_ref());
                self.down.retain(|(of, _), _| *of != address);
                address.reverse();
                self.owners.insert(address, n);
                if !sessions(disk, n).iter().any(|session| session.dev_addr.0 == address) {
                    self.violated(now, Rule::UsedTwice, format!("the join of node {n} is answered and not on disk"));
                }
                if !self.join_nonces.insert((n, accept.app_nonce().as_ref().to_vec())) {
                    self.violated(now, Rule::UsedTwice, format!("a JoinNonce of node {n} on air twice"));
                }
                return;
            }
        }
        self.violated(now, Rule::Protocol, "a join accept for nobody who asked".into());
    }

    /// A node sent a payload.
    pub fn said(&mut self, dev_eui: [u8; 8], fcnt: u32, payload: &[u8], unix_ms: Option<u64>) {
        if let Some(value) = site::temperature(payload) {
            self.readings.said(site::number(dev_eui), value, unix_ms);
        }
        let told = self.said.get(&site::number(dev_eui)).is_some_and(|said| said.fcnt == fcnt && said.told);
        self.said.insert(site::number(dev_eui), Said { fcnt, payload: payload.to_vec(), unix_ms, told });
    }

    /// A node's confirmed uplink was acknowledged: what it said must be on disk by now.
    pub fn acked(&mut self, now: Duration, dev_eui: [u8; 8], fcnt: u32, disk: &Loaded, clock_trusted: bool) {
        self.acked += 1;
        let n = site::number(dev_eui);
        let stored = self.stored_fcnt_up(disk, n);
        if stored.is_none_or(|stored| stored < fcnt) {
            let detail = format!("node {n}: uplink {fcnt} is acknowledged, and the disk has {stored:?}");
            return self.violated(now, Rule::Lost, detail);
        }
        let said = self.said.get(&n).filter(|said| said.fcnt == fcnt);
        let Some((wanted, unix_ms, told)) = said.and_then(|said| Some((said.temperature()?, said.unix_ms, said.told)))
        else {
            return;
        };
        let known = self.untold.get(&n).is_some_and(|all| all.iter().any(|untold| untold.value == wanted));
        if self.observed.contains(&n) && !told && !known {
            self.readings_owed += 1;
            let untold = Untold { value: wanted, since: now, arrived_unix_ms: unix_ms, skew: Duration::ZERO };
            self.untold.entry(n).or_default().push(untold);
        }
        // A value without a time is not stored.
        if stored == Some(fcnt) && clock_trusted && unix_ms.is_some() {
            let values =
                disk.get(Table::Values, DevEui(dev_eui)).and_then(|bytes| ValuesRecord::from_bytes(bytes).ok());
            let path = Path::resource(3303, 1, 5700);
            let found = values.and_then(|v| v.readings.into_iter().find(|r| r.path == path)).map(|r| r.value);
            if found != Some(Value::Float(wanted)) {
                let detail = format!("node {n}: acknowledged {wanted} is not on disk, but {found:?}");
                self.violated(now, Rule::Lost, detail);
            }
        }
    }

    /// The session that the node uses.
    fn session_address(&self, n: usize) -> String {
        let personalised = || lpwad_link::hex::encode(&site::dev_addr(n));
        self.address.get(&n).cloned().unwrap_or_else(personalised)
    }

    fn stored_fcnt_up(&self, disk: &Loaded, n: usize) -> Option<u32> {
        let address = self.session_address(n);
        fcnt_up(sessions(disk, n), &address)
    }

    /// The server of a write has its answer, or none.
    pub fn answered(&mut self, now: Duration, n: usize, accepted: bool) {
        if let Err(problem) = self.writes.answered(now, n, accepted) {
            self.violated(now, Rule::Lost, problem);
        }
    }

    /// A node took a downlink.
    pub fn received(&mut self, dev_eui: [u8; 8], payload: &[u8]) {
        if let Some(value) = writes::value(payload) {
            self.writes.received(site::number(dev_eui), value);
        }
    }

    /// The gateway says something.
    pub fn event(&mut self, now: Duration, event: &Event) {
        // As it stands, not as it is quoted for people.
        let fields = event.fields.iter().map(|(_, value)| value.as_str());
        let texts = fields.chain(event.radio.as_deref()).chain(event.server.as_deref());
        for what in texts.filter_map(privacy::breach).collect::<Vec<_>>() {
            self.violated(now, Rule::Private, format!("{what} in the event {}", event.kind.name()));
        }
        self.policy_event(now, event);
        let Some(n) = event.node.map(|dev_eui| site::number(dev_eui.0)) else { return };
        // Who removes the identifying fields has removed the node.
        let name = event.node.map_or_else(String::new, |dev_eui| dev_eui.to_string());
        let operational = event.fields.iter().filter(|(field, _)| class_of(field) == Class::Operational);
        for (field, value) in operational {
            if value.to_lowercase().contains(&name) {
                self.violated(now, Rule::Private, format!("node {n} in the operational field {field}: {value}"));
            }
        }
        let field = |name: &str| event.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        match event.kind {
            Kind::NodeJoining => {
                let nonce = field("dev_nonce").unwrap_or_default();
                if !self.dev_nonces.insert((n, nonce.clone())) {
                    self.violated(now, Rule::UsedTwice, format!("DevNonce {nonce} of node {n} accepted twice"));
                }
            }
            Kind::NodeJoined => {
                let address = field("dev_addr").unwrap_or_default();
                self.delivered.remove(&(n, address.clone()));
                self.address.insert(n, address);
            }
            Kind::Uplink => {
                let fcnt = field("fcnt").and_then(|fcnt| fcnt.parse::<u32>().ok()).unwrap_or_default();
                let key = (n, self.session_address(n));
                if self.delivered.get(&key).is_some_and(|last| *last >= fcnt) {
                    self.violated(now, Rule::UsedTwice, format!("uplink {fcnt} of node {n} delivered twice"));
                }
                self.delivered.insert(key, fcnt);
                self.presence.heard(now, n);
            }
            // It was tried, several times; the gateway waits before the next try.
            Kind::RegistrationFailed => {
                let wait = field("retry_in_s").and_then(|wait| wait.parse().ok()).map(Duration::from_secs);
                self.presence.node_disturbed(now + wait.unwrap_or(LONGEST_RETRY), n);
            }
            Kind::SessionFailed
            | Kind::DtlsNoAnswer
            | Kind::DtlsEnded
            | Kind::DtlsForged
            | Kind::DtlsParked
            | Kind::DtlsKeyChanged => self.presence.node_disturbed(now, n),
            Kind::Observed if field("path").as_deref() == Some(OBSERVED) => _ = self.observed.insert(n),
            Kind::ObservationEnded if field("path").as_deref() == Some(OBSERVED) => _ = self.observed.remove(&n),
            Kind::Deregistered | Kind::RegistrationLapsed => _ = self.observed.remove(&n),
            Kind::Registered => {
                self.observed.remove(&n);
                // The one that led to the registration can be read, if it is the newest and the only one.
                let newest = self.said.get(&n).and_then(Said::temperature);
                self.untold.retain(|of, all| *of != n || all.len() > 1 || all.last().map(|one| one.value) != newest);
            }
            Kind::WriteAccepted if field("path").as_deref() == Some(site::WRITTEN) => {
                self.writes.taken(now, n, field("downlink"));
            }
            Kind::DownlinkAcked => self.writes.acked(n, field("downlink").as_deref()),
            Kind::DownlinkDropped => {
                let (id, reason) = (field("downlink"), field("reason").unwrap_or_default());
                if let Err(problem) = self.writes.dropped(now, n, id.as_deref(), &reason) {
                    self.violated(now, Rule::Lost, problem);
                }
            }
            _ => {}
        }
    }

    fn policy_event(&mut self, now: Duration, event: &Event) {
        let of = |name: &str| event.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        match (event.kind, event.server.as_deref().and_then(site::server)) {
            (Kind::PolicyLatched, Some(index)) => {
                _ = self.latched.insert((index, of("analysis").unwrap_or_default()));
                self.latches += 1;
            }
            (Kind::PolicyRearmed, _) => {
                self.presence.disturbed(now);
                self.latched.clear();
            }
            _ => {}
        }
    }

    /// The power was gone: a latch that no disk would take is forgotten with everything else that was not on it.
    pub fn keep_latches(&mut self, state: Option<&[u8]>) {
        let state: serde_json::Value = state.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let kept = |index: usize, analysis: &str| {
            let name = format!("{} {analysis}@", site::NAMES[index]);
            state["latches"].as_object().is_some_and(|latches| latches.keys().any(|latch| latch.starts_with(&name)))
        };
        self.latched.retain(|(index, analysis)| kept(*index, analysis));
    }

    /// Whether leave for clear sessions to a server was lost for all of its nodes, and nobody has given it back.
    #[must_use]
    pub fn is_latched(&self, index: usize) -> bool {
        self.latched.iter().filter(|(of, _)| *of == index).count() >= site::ANALYSES_OF_A_SERVER
    }

    /// Whether leave for clear sessions to a server was lost for some of its nodes. Those without a credential are dark then.
    #[must_use]
    pub fn has_latch(&self, index: usize) -> bool {
        self.latched.iter().any(|(of, _)| *of == index)
    }

    /// A registration has run out at its server.
    pub fn expired(&mut self, now: Duration, n: usize) {
        if let Some(heard) = self.presence.expired(now, n) {
            let heard = heard.as_secs();
            let detail =
                format!("node {n}: its registration runs out, and it was heard at {heard} s with nothing in the way");
            self.violated(now, Rule::Deadline, detail);
        }
    }

    /// The power went: only the disk is left.
    pub fn power_cut(&mut self, now: Duration, disk: &Loaded) {
        self.check_owed(now, disk);
        for ((n, address), last) in &mut self.delivered {
            match fcnt_up(sessions(disk, *n), address) {
                Some(stored) => *last = stored.min(*last),
                // Not yet saved: it may come again.
                None => *last = 0,
            }
        }
        self.delivered.retain(|_, last| *last > 0);
    }

    /// A server has heard temperatures in a Send, with their times in s since 1970.
    pub fn sent(&mut self, now: Duration, n: usize, told: &[(f64, Option<f64>)]) {
        for problem in self.readings.sent(n, told) {
            self.violated(now, Rule::Lost, problem);
        }
    }

    /// The gateway has counted so many more uplinks as dropped for its bound.
    pub fn dropped(&mut self, now: Duration, uplinks: u64) {
        self.dropped = (self.dropped.0 + uplinks, now);
    }

    /// A server has heard a temperature.
    pub fn told(&mut self, n: usize, value: f64) {
        self.readings.told(n, value);
        if let Some(said) = self.said.get_mut(&n).filter(|said| said.temperature() == Some(value)) {
            said.told = true;
        }
        if let Some(untold) = self.untold.get_mut(&n) {
            untold.retain(|untold| untold.value != value);
        }
    }

    /// The gateway starts with this clock, and takes the age of what it kept from it.
    pub fn boots(&mut self, now: Duration, unix_ms: Option<u64>, off_ms: i64) {
        self.writes.restored(unix_ms.map(|_| off_ms));
        for untold in self.untold.values_mut().flatten() {
            if untold.may_be_gone(now) {
                continue;
            }
            let age = unix_ms.zip(untold.arrived_unix_ms).map_or(0, |(now, then)| now.saturating_sub(then));
            untold.skew = Duration::from_millis(age).saturating_sub(now - untold.since);
        }
    }

    /// Every reading that was acknowledged to its node is with the server, but the newest, what is too old, and as many of the
    /// oldest as the gateway has counted as dropped.
    pub fn check_untold(&mut self, now: Duration) {
        let all = std::mem::take(&mut self.untold).into_iter();
        let all = all.flat_map(|(n, all)| all.into_iter().map(move |untold| (n, untold)));
        let is_late = |untold: &Untold| now - untold.since >= TIME_TO_TELL && !untold.may_be_gone(now);
        let mut late: Vec<(usize, Untold)> = all.filter(|(_, untold)| is_late(untold)).collect();
        late.sort_by_key(|(_, untold)| untold.since);
        let (mut dropped, until) = self.dropped;
        for (n, untold) in late {
            if dropped > 0 && untold.since <= until {
                dropped -= 1;
                continue;
            }
            let (value, since) = (untold.value, untold.since.as_secs());
            let detail = format!("node {n}: the server was never told {value}, acknowledged at {since} s");
            self.violated(now, Rule::Lost, detail);
        }
    }

    /// Every write that was acknowledged and is not with its node must be on disk.
    pub fn check_owed(&mut self, now: Duration, disk: &Loaded) {
        for owed in self.writes.owed().collect::<Vec<_>>() {
            let n = owed.node;
            let mailbox = disk.get(Table::Mailbox, DevEui(site::dev_eui(n))).map(mailbox_from_bytes);
            let pending = mailbox.and_then(Result::ok).map(|(_, pending)| pending).unwrap_or_default();
            let there = pending.iter().any(|write| write.value == Some(Value::Boolean(owed.value)));
            if !there {
                let since = owed.since.as_secs();
                let detail = format!("node {n}: the write acknowledged at {since} s is neither delivered nor on disk");
                self.violated(now, Rule::Lost, detail);
                self.writes.forget(n);
            }
        }
    }
}
