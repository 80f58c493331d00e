//! What servers wrote and nodes are owed: a write that was acknowledged reaches its node, or the gateway gives it up for a
//! true reason and says so.

use std::collections::BTreeMap;
use std::time::Duration;

/// Time to live of a write, from the profile of the site.
const TTL: Duration = Duration::from_secs(86_400);
/// The gateway keeps times in whole seconds.
const ROUNDING: Duration = Duration::from_secs(2);
/// Writes of one node that are remembered; later ones take their place in the gateway too.
const REMEMBERED: usize = 8;

/// How much older something may be to a gateway that takes its age from the clock at each start.
#[derive(Clone, Copy, Debug)]
struct Skew {
    ms: i64,
    /// The least that the clock was off since the beginning, and since the start of the gateway, while it was trusted.
    least_ever: Option<i64>,
    least_since_boot: Option<i64>,
}

impl Skew {
    fn new(off_ms: Option<i64>) -> Skew {
        Skew { ms: 0, least_ever: off_ms, least_since_boot: off_ms }
    }

    fn clock(&mut self, off_ms: Option<i64>) {
        let least = |before: Option<i64>| before.into_iter().chain(off_ms).min();
        (self.least_ever, self.least_since_boot) = (least(self.least_ever), least(self.least_since_boot));
    }

    fn boots(&mut self, off_ms: Option<i64>) {
        let Some(off) = off_ms else { return };
        let of_old = self.least_ever.map_or(0, |least| off - least);
        let of_new = self.ms + self.least_since_boot.map_or(0, |least| off - least);
        self.ms = self.ms.max(of_old).max(of_new);
        (self.least_ever, self.least_since_boot) = (self.least_ever.or(off_ms), off_ms);
    }
}

/// A write that the gateway took.
#[derive(Clone, Debug)]
struct Write {
    /// `None`: nobody waits for the answer any more.
    value: Option<bool>,
    taken: Duration,
    /// Its name in this run of the gateway.
    id: Option<String>,
    /// Confirmed frames that its node had been sent before.
    frames_before: u64,
    skew: Skew,
    /// When its server got its answer, if it did, and no newer one took its place.
    owed: Option<Duration>,
}

impl Write {
    /// Whether it may be given up for this reason.
    fn may_go(&self, now: Duration, reason: &str, frames: u64) -> bool {
        if reason == "out of time" {
            let age = now - self.taken + Duration::from_millis(self.skew.ms.unsigned_abs());
            return age + ROUNDING >= TTL;
        }
        let tries = reason.strip_prefix("NoAck { tries: ").and_then(|rest| rest.strip_suffix(" }"));
        // So often it was on air.
        tries.and_then(|tries| tries.parse().ok()).is_some_and(|tries: u64| frames - self.frames_before >= tries)
    }
}

/// A write that was acknowledged and is with nobody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owed {
    /// Whose.
    pub node: usize,
    /// What was written.
    pub value: bool,
    /// When it was acknowledged.
    pub since: Duration,
}

/// The writes of all nodes.
#[derive(Default)]
pub struct Writes {
    taken: BTreeMap<usize, Vec<Write>>,
    /// The value of a write on its way from the server, by node.
    asked: BTreeMap<usize, bool>,
    frames: BTreeMap<usize, u64>,
    off_ms: Option<i64>,
    /// How many were acknowledged.
    pub acknowledged: u64,
    /// How many of these arrived.
    pub arrived: u64,
    /// How many of these the gateway gave up, with true reasons.
    pub given_up: u64,
}

impl Writes {
    /// The clock is so much off; `None`: it is not trusted.
    pub fn clock(&mut self, off_ms: Option<i64>) {
        self.off_ms = off_ms;
        self.taken.values_mut().flatten().for_each(|write| write.skew.clock(off_ms));
    }

    /// The gateway starts with this clock, or takes over a configuration by it: what it restores has a new name, and an age by the
    /// clock.
    pub fn restored(&mut self, off_ms: Option<i64>) {
        self.off_ms = off_ms;
        for write in self.taken.values_mut().flatten() {
            write.id = None;
            write.skew.boots(off_ms);
        }
    }

    /// A confirmed frame to a node is on air.
    pub fn on_air(&mut self, n: usize) {
        *self.frames.entry(n).or_default() += 1;
    }

    /// A server writes to a node; `false` if another write to it is still on its way.
    pub fn asks(&mut self, n: usize, value: bool) -> bool {
        let free = !self.asked.contains_key(&n);
        if free {
            self.asked.insert(n, value);
        }
        free
    }

    /// The gateway says that it takes a write.
    pub fn taken(&mut self, now: Duration, n: usize, id: Option<String>) {
        let value = self.asked.get(&n).copied();
        let frames_before = self.frames.get(&n).copied().unwrap_or_default();
        let all = self.taken.entry(n).or_default();
        if value.is_none() {
            // It takes the place of older ones all the same.
            all.iter_mut().for_each(|write| write.owed = None);
        }
        all.push(Write { value, taken: now, id, frames_before, skew: Skew::new(self.off_ms), owed: None });
        if all.len() > REMEMBERED {
            all.remove(0);
        }
    }

    /// The server has its answer, or none. Gives a complaint if it was told that a write is taken which was not.
    pub fn answered(&mut self, now: Duration, n: usize, accepted: bool) -> Result<(), String> {
        let Some(value) = self.asked.remove(&n).filter(|_| accepted) else { return Ok(()) };
        self.acknowledged += 1;
        let all = self.taken.entry(n).or_default();
        all.iter_mut().for_each(|write| write.owed = None);
        let last = all.iter_mut().rev().find(|write| write.value == Some(value));
        last.ok_or(format!("node {n}: a write is acknowledged that was not taken"))?.owed = Some(now);
        Ok(())
    }

    /// A node took a value.
    pub fn received(&mut self, n: usize, value: bool) {
        let asked = self.asked.get(&n) == Some(&value);
        let all = self.taken.entry(n).or_default();
        if let Some(write) = all.iter_mut().find(|write| write.owed.is_some() && write.value == Some(value)) {
            write.owed = None;
            self.arrived += 1;
        } else if asked {
            // It is faster than its answer, or the answer was lost. An older one of the resource came before it, or was replaced by it.
            self.asked.remove(&n);
            all.iter_mut().for_each(|write| write.owed = None);
        }
    }

    /// The gateway gives a write up. A complaint if the reason is not true.
    pub fn dropped(&mut self, now: Duration, n: usize, id: Option<&str>, reason: &str) -> Result<(), String> {
        // The newer one is owed, and has a name of its own.
        if reason.contains("Replaced") {
            return Ok(());
        }
        let frames = self.frames.get(&n).copied().unwrap_or_default();
        let Some(all) = self.taken.get_mut(&n) else { return Ok(()) };
        let named = |write: &Write| id.is_some() && write.id.as_deref() == id;
        let is_known = all.iter().any(named);
        // One that is from before the start has another name now.
        let meant = |write: &Write| if is_known { named(write) } else { write.id.is_none() };
        if !all.iter().any(meant) {
            return Ok(());
        }
        let is_true = |write: &Write| meant(write) && write.may_go(now, reason, frames);
        if let Some(write) = all.iter().find(|write| meant(write)).filter(|_| !all.iter().any(is_true)) {
            let age = (now - write.taken).as_secs();
            self.taken.remove(&n);
            return Err(format!("node {n}: a write of {age} s is given up without need: {reason}"));
        }
        self.given_up += all.iter().filter(|write| is_true(write) && write.owed.is_some()).count() as u64;
        all.retain(|write| !is_true(write));
        Ok(())
    }

    /// A node has acknowledged a write.
    pub fn acked(&mut self, n: usize, id: Option<&str>) {
        if let Some(all) = self.taken.get_mut(&n) {
            all.retain(|write| write.owed.is_some() || write.id.as_deref() != id);
        }
    }

    /// All that is owed.
    pub fn owed(&self) -> impl Iterator<Item = Owed> {
        let all = self.taken.iter().flat_map(|(n, all)| all.iter().map(move |write| (*n, write)));
        all.filter_map(|(node, write)| Some(Owed { node, value: write.value?, since: write.owed? }))
    }

    /// It was lost, and said to be.
    pub fn forget(&mut self, n: usize) {
        self.taken.remove(&n);
    }
}

/// Value of an LPP payload of the site's actuator: channel 0, value times 100 as 16 bits, 0xff.
#[must_use]
pub fn value(payload: &[u8]) -> Option<bool> {
    match payload {
        [0, 0, 100, 0xff] => Some(true),
        [0, 0, 0, 0xff] => Some(false),
        _ => None,
    }
}
