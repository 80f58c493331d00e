//! The registrations: by id, by endpoint name, by address.

use super::message::Token;
use super::path::Path;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Most registrations.
pub const MAX_REGISTRATIONS: usize = 10_000;
/// Lifetime in seconds if a client names none (LwM2M Core 1.1.1 §6.2.1).
pub const DEFAULT_LIFETIME_S: u64 = 86_400;

/// Names a registration in its location, `/rd/ID` with eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u32);

impl Id {
    /// The last segment of the location.
    #[must_use]
    pub fn segment(self) -> String {
        format!("{:08x}", self.0)
    }

    /// The id that a segment names.
    #[must_use]
    pub fn from_segment(segment: &str) -> Option<Id> {
        u32::from_str_radix(segment, 16).ok().map(Id).filter(|id| id.segment() == segment)
    }
}

/// One client.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Endpoint name.
    pub ep: String,
    /// Where it was last heard.
    pub addr: SocketAddr,
    /// Lifetime in seconds; 0 never ends.
    pub lifetime_s: u64,
    /// When it ends, if ever.
    pub expires: Option<Duration>,
    /// Whether it sleeps between its messages (queue mode).
    pub queue: bool,
    /// Objects and object instances.
    pub objects: Vec<Path>,
    /// Paths that are observed or asked to be, with their tokens.
    pub observed: BTreeMap<Path, Token>,
}

impl Registration {
    /// A message has renewed it.
    pub fn renew(&mut self, now: Duration) {
        self.expires = match self.lifetime_s {
            0 => None,
            seconds => now.checked_add(Duration::from_secs(seconds)),
        };
    }
}

/// All of them. Two clients at one address are possible; that address then means the later one.
#[derive(Debug, Default)]
pub struct Registrations {
    by_id: BTreeMap<Id, Registration>,
    by_ep: BTreeMap<String, Id>,
    by_addr: BTreeMap<SocketAddr, Id>,
}

impl Registrations {
    /// Whether another endpoint would be one too many.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.by_id.len() >= MAX_REGISTRATIONS
    }

    /// Adds one, whose endpoint name is not there yet.
    pub fn insert(&mut self, id: Id, registration: Registration) {
        self.by_ep.insert(registration.ep.clone(), id);
        self.by_addr.insert(registration.addr, id);
        self.by_id.insert(id, registration);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: Id) -> Option<Registration> {
        let registration = self.by_id.remove(&id)?;
        self.by_ep.remove(&registration.ep);
        if self.by_addr.get(&registration.addr) == Some(&id) {
            self.by_addr.remove(&registration.addr);
        }
        Some(registration)
    }

    /// One registration.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<&Registration> {
        self.by_id.get(&id)
    }

    /// One registration, to change all but its name and address.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Registration> {
        self.by_id.get_mut(&id)
    }

    /// That of an endpoint name.
    #[must_use]
    pub fn of_endpoint(&self, ep: &str) -> Option<Id> {
        self.by_ep.get(ep).copied()
    }

    /// That of an address.
    #[must_use]
    pub fn at(&self, addr: SocketAddr) -> Option<Id> {
        self.by_addr.get(&addr).copied()
    }

    /// The client now speaks from this address. Gives back the old one if that is another.
    pub fn move_to(&mut self, id: Id, addr: SocketAddr) -> Option<SocketAddr> {
        let registration = self.by_id.get_mut(&id)?;
        let old = std::mem::replace(&mut registration.addr, addr);
        if self.by_addr.get(&old) == Some(&id) {
            self.by_addr.remove(&old);
        }
        self.by_addr.insert(addr, id);
        (old != addr).then_some(old)
    }
}
