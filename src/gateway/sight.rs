//! What is seen, and for how long it counts.

use crate::config::Server;
use crate::policy::facts::{Cellular, Facts, HostFacts, Seen, bearer_to};
use crate::radio::Said;
use core::time::Duration;
use lpwad_link::fact::FactName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A look that does not come: so long after the last one nothing is known of this host: clock, ports, what fact files said.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// What is seen of this host and its modems.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Sight {
    /// As of the last look.
    host: Facts,
    looked: Duration,
    /// What the modems say.
    cellular: Option<Cellular>,
    /// Interfaces that lead to servers.
    bearers: BTreeMap<IpAddr, String>,
}

impl Sight {
    /// As `host` is seen at `now`.
    pub(super) fn new(now: Duration, host: HostFacts) -> Sight {
        Sight { host: host.facts, looked: now, cellular: None, bearers: host.bearers }
    }

    /// Takes over a look. Gives whether a decision can be another one by it: ages only count where they pass one of
    /// `limits`, in s.
    pub(super) fn look(&mut self, now: Duration, host: Facts, limits: &BTreeSet<u32>) -> bool {
        let changed = rough(&host, limits) != rough(&self.host, limits);
        (self.host, self.looked) = (host, now);
        changed
    }

    /// Takes over what modems say; gives whether that is another thing.
    pub(super) fn hear(&mut self, cellular: Option<Cellular>) -> bool {
        let former = std::mem::replace(&mut self.cellular, cellular);
        former != self.cellular
    }

    /// Takes over which interfaces lead to servers; gives whether that is another thing.
    pub(super) fn route(&mut self, bearers: BTreeMap<IpAddr, String>) -> bool {
        let former = std::mem::replace(&mut self.bearers, bearers);
        former != self.bearers
    }

    /// When [`Sight::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.host != Facts::default()).then(|| self.looked + LOOK_TIMEOUT)
    }

    /// Forgets what is too old; gives whether there was something.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let overdue = self.deadline().is_some_and(|deadline| deadline <= now);
        if overdue {
            self.host = Facts::default();
        }
        overdue
    }

    /// What is seen now of this host and the way to a server; nothing of nodes.
    pub(super) fn towards(&self, server: &Server) -> Facts {
        let bearer = bearer_to(server, &self.bearers);
        Facts { bearer, cellular: self.cellular.clone(), ..self.host.clone() }
    }
}

/// What all modems say together, as bad as the worst of them: of those that say anything, one that does not say whether all
/// is well leaves that unknown, and networks that are not the same are none. `None`: nobody says anything.
pub(super) fn worst<'a>(modems: impl Iterator<Item = &'a Said>) -> Option<Cellular> {
    let modems: Vec<&Said> = modems.filter(|said| !said.is_empty()).collect();
    let texts = |name| modems.iter().map(move |said| said.get(name).and_then(|value| value.as_str()));
    let same = |name| {
        let first = texts(name).next().flatten()?;
        texts(name).all(|text| text == Some(first)).then(|| first.to_string())
    };
    let gsm = texts(FactName::Rat).any(|rat| rat == Some("gsm"));
    let any = |name| {
        let said: Vec<Option<bool>> =
            modems.iter().map(|said| said.get(name).and_then(|value| value.as_bool())).collect();
        if said.contains(&Some(true)) { Some(true) } else { said.iter().all(Option::is_some).then_some(false) }
    };
    (!modems.is_empty()).then(|| Cellular {
        plmn: same(FactName::Plmn),
        rat: if gsm { Some("gsm".into()) } else { same(FactName::Rat) },
        roaming: any(FactName::Roaming),
        user_plane: any(FactName::UserPlane),
        ciphering_off: any(FactName::CipheringOff),
    })
}

/// Facts with their ages as the number of limits that they are beyond.
fn rough(facts: &Facts, limits: &BTreeSet<u32>) -> Facts {
    let beyond = |age_s: u32| limits.iter().take_while(|limit| **limit < age_s).zip(1..).last().map_or(0, |(_, n)| n);
    let seen = facts.seen.iter().map(|seen| Seen { age_s: beyond(seen.age_s), ..seen.clone() }).collect();
    Facts { seen, ..facts.clone() }
}
