//! Sessions by number: clear ones and DTLS. A session that is asked for with DTLS is sealed from its first to its last
//! datagram: there is no way from here to a clear one.

mod opening;

use super::cost::Cost;
use super::disk::Disk;
use super::handshake::{Attempt, Done, Handshakes};
use super::keys::Keys;
use super::resolve::{Name, Resolver};
use super::udp::{self, Sockets};
use crate::config::Config;
use crate::gateway::input::{Down, Dtls, Input, NodeId, Now, Reason, Security, Up};
use crate::gateway::output::Target;
use lpwad_dtls::{CertificateProblem, Closed, Event, Failure, SealError, Session};
use lpwad_lorawan::DevEui;
use opening::Pending;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// All sessions.
pub struct Sessions {
    sockets: Sockets,
    keys: Keys,
    handshakes: Handshakes,
    resolver: Resolver,
    links: BTreeMap<NodeId, Link>,
    opening: BTreeMap<NodeId, Pending>,
    /// DTLS sessions by the time of their last datagram: the first is the longest idle.
    idle: BTreeSet<(Duration, NodeId)>,
    /// DTLS sessions that may be live at once.
    max_live: usize,
    attempts: u64,
    /// Which of a server's addresses is the next to be tried.
    turns: BTreeMap<Name, usize>,
    /// What does not fit into a record, or comes when the session has just ended.
    not_sent: u64,
    /// Of sessions that have ended.
    dropped_before: Dropped,
    /// What DTLS has cost nodes, but for sessions that are open.
    costs: BTreeMap<DevEui, Cost>,
}

/// Records that were dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    /// Their authentication failed.
    forged: u64,
    /// Seen before.
    replayed: u64,
    /// Out of place.
    ignored: u64,
}

/// How an open session passes its datagrams.
enum Link {
    Clear,
    Dtls(Box<Live>),
}

/// An open DTLS session.
struct Live {
    session: Session,
    server: String,
    node: DevEui,
    /// What it stands on.
    binding: [u8; 32],
    used: Duration,
}

impl Sessions {
    /// None yet. Handshakes that end come back by [`Sessions::handshaken`], names by [`Sessions::resolved`].
    pub fn new(config: &Config, handshakes: Handshakes, resolver: Resolver) -> io::Result<Sessions> {
        Ok(Sessions {
            sockets: Sockets::new()?,
            keys: Keys::of(config),
            handshakes,
            resolver,
            links: BTreeMap::new(),
            opening: BTreeMap::new(),
            idle: BTreeSet::new(),
            max_live: config.dtls_live_sessions,
            attempts: 0,
            turns: BTreeMap::new(),
            not_sent: 0,
            dropped_before: Dropped::default(),
            costs: BTreeMap::new(),
        })
    }

    /// The set of all open sockets, readable when one is.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// A new configuration: what is opened from now on is opened under it. What is open stays so until [`Sessions::end_changed`].
    pub fn reload(&mut self, keys: Keys, max_live: usize) {
        self.keys = keys;
        self.max_live = max_live;
    }

    /// After a [`Sessions::reload`], once the gateway has said what it has to say by the old sessions: those under a credential that is
    /// another one now end, exports of nodes without one go. A node that is not configured any more has its session until the
    /// gateway closes it.
    pub fn end_changed(&mut self, disk: &mut Disk) -> Vec<Input> {
        self.costs.retain(|node, _| self.keys.knows(*node));
        self.forget_exports(disk);
        let mut changed = Vec::new();
        for (id, link) in &self.links {
            if let Link::Dtls(live) = link
                && self.keys.knows(live.node)
                && self.keys.binding(&live.server, live.node) != Some(live.binding)
            {
                changed.push((*id, live.node));
            }
        }
        // A handshake that was begun under what does not hold any more.
        for (id, pending) in &self.opening {
            if self.keys.knows(pending.node)
                && self.keys.binding(&pending.server, pending.node) != Some(pending.binding)
            {
                changed.push((*id, pending.node));
            }
        }
        let end = |(id, node): (NodeId, DevEui)| {
            if let Some(Link::Dtls(live)) = self.links.get_mut(&id)
                && let Some(goodbye) = live.session.close()
            {
                self.sockets.send(id, &goodbye);
            }
            self.close(id);
            disk.remove_export(node);
            Input::Down(id, Down::new(Reason::KeyChanged, "the configuration has another credential or server"))
        };
        changed.into_iter().map(end).collect()
    }

    /// Ends the sessions whose server's certificate has expired since; the next ones begin with a full handshake.
    pub fn expire(&mut self, now: Now) -> Vec<Input> {
        let over = |link: &Link| match link {
            Link::Dtls(live) => now.unix_ms.zip(live.session.ends_unix_ms()).is_some_and(|(now, end)| now >= end),
            Link::Clear => false,
        };
        let over: Vec<NodeId> = self.links.iter().filter(|(_, link)| over(link)).map(|(id, _)| *id).collect();
        over.iter().for_each(|id| self.close(*id));
        let down = |id| Input::Down(id, Down::new(Reason::Ended, "the server's certificate has expired"));
        over.into_iter().map(down).collect()
    }

    /// Removes what was exported of nodes that have no credential any more.
    pub fn forget_exports(&self, disk: &mut Disk) {
        let gone: Vec<DevEui> = disk.exported().filter(|node| !self.keys.has_credential(*node)).collect();
        gone.into_iter().for_each(|node| disk.remove_export(node));
    }

    /// Opens a session; gives what came of it, if that is known already.
    pub fn open(
        &mut self,
        now: Now,
        session: NodeId,
        to: Target,
        local_port: Option<u16>,
        disk: &mut Disk,
    ) -> Option<Input> {
        self.close(session);
        match to {
            Target::Clear { peer, bearer } => {
                let opened = udp::connect(peer, local_port, bearer.as_deref())
                    .and_then(|socket| self.sockets.add(session, socket));
                Some(match opened {
                    Ok(local_port) => {
                        self.links.insert(session, Link::Clear);
                        Input::Up(session, Up { local_port, security: Security::Clear })
                    }
                    Err(error) => Input::Down(session, Down::new(Reason::Socket, error.to_string())),
                })
            }
            Target::Dtls { server, node } => self.begin_dtls(now, session, (server, node), local_port, disk, false),
        }
    }

    /// A handshake has ended.
    pub fn handshaken(&mut self, now: Now, done: Done, disk: &mut Disk) -> Vec<Input> {
        let Attempt { session: id, number, node } = done.attempt;
        self.costs.entry(node).or_default().handshake(done.traffic);
        // One that was given up or replaced is of no interest.
        let Some(pending) = self.opening.get(&id).filter(|pending| pending.number == number) else { return Vec::new() };
        let (node, resumes) = (pending.node, pending.resumes);
        let Some(pending) = self.opening.remove(&id) else { return Vec::new() };
        let session = match done.outcome {
            Ok(session) => session,
            Err(failure) => {
                let silent = matches!(failure, Failure::NoAnswer { heard: false });
                if silent && let Some(name) = &pending.name {
                    *self.turns.entry(name.clone()).or_default() += 1;
                }
                if resumes && !silent {
                    // Whatever was wrong, the next try does not begin with it.
                    disk.remove_export(node);
                }
                return vec![pending.failed(id, Down::new(reason(&failure), failure.to_string()))];
            }
        };
        match session.export(&pending.binding) {
            Some(export) => _ = disk.put_export(node, export),
            None => disk.remove_export(node),
        }
        if pending.rehearsal {
            return vec![Input::Rehearsed(id, None)];
        }
        let local_port = match self.sockets.add(id, done.socket) {
            Ok(local_port) => local_port,
            Err(error) => return vec![Input::Down(id, Down::new(Reason::Socket, error.to_string()))],
        };
        let security = Security::Dtls(Dtls {
            mode: pending.mode,
            suite: session.negotiated_suite().name.into(),
            resumed: session.resumed(),
            max_datagram: session.max_payload(),
        });
        let live = Live { session, server: pending.server, node, binding: pending.binding, used: now.mono };
        self.idle.insert((now.mono, id));
        self.links.insert(id, Link::Dtls(Box::new(live)));
        let mut inputs = vec![Input::Up(id, Up { local_port, security })];
        inputs.extend(self.take(now, id, None, disk));
        inputs.extend(self.make_room());
        inputs
    }

    /// Puts the longest idle sessions aside until no more than the bound are live.
    fn make_room(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        while self.idle.len() > self.max_live {
            let Some((_, id)) = self.idle.first().copied() else { break };
            self.close(id);
            inputs.push(Input::Down(id, Down::new(Reason::Parked, "")));
        }
        inputs
    }

    /// Sends a datagram by an open session; gives its end, if that is found out by it.
    pub fn send(&mut self, now: Now, id: NodeId, datagram: &[u8]) -> Option<Input> {
        match self.links.get_mut(&id) {
            Some(Link::Clear) => self.sockets.send(id, datagram),
            Some(Link::Dtls(live)) => {
                let sealed = live.session.seal(datagram);
                self.idle.remove(&(live.used, id));
                live.used = now.mono;
                self.idle.insert((now.mono, id));
                match sealed {
                    Ok(record) => {
                        self.costs.entry(live.node).or_default().coap_bytes_out += datagram.len() as u64;
                        self.sockets.send(id, &record);
                    }
                    Err(SealError::TooLong { .. } | SealError::Empty) => self.not_sent += 1,
                    Err(error @ (SealError::Closed | SealError::OpenSsl(_))) => {
                        self.not_sent += 1;
                        self.close(id);
                        return Some(Input::Down(id, Down::new(Reason::Ended, error.to_string())));
                    }
                }
            }
            None => self.not_sent += 1,
        }
        None
    }

    /// Takes what the sockets have; gives how many of them had something.
    pub fn receive(&mut self, now: Now, disk: &mut Disk, inputs: &mut Vec<Input>) -> io::Result<usize> {
        let mut datagrams = Vec::new();
        let ready = self.sockets.receive(|id, datagram| datagrams.push((id, datagram)))?;
        for (id, datagram) in datagrams {
            match self.links.get(&id) {
                Some(Link::Clear) => inputs.push(Input::Datagram(id, datagram)),
                Some(Link::Dtls(_)) => inputs.extend(self.take(now, id, Some(&datagram), disk)),
                None => {}
            }
        }
        Ok(ready)
    }

    /// What a datagram of a DTLS session holds; without one, what came with the end of the handshake.
    fn take(&mut self, now: Now, id: NodeId, datagram: Option<&[u8]>, disk: &mut Disk) -> Vec<Input> {
        let Some(Link::Dtls(live)) = self.links.get_mut(&id) else { return Vec::new() };
        let events = match datagram {
            Some(datagram) => live.session.open(now.mono, datagram),
            None => live.session.take_early(now.mono),
        };
        while let Some(answer) = live.session.poll_send() {
            self.sockets.send(id, &answer);
        }
        let (node, renew) = (live.node, live.session.should_renew());
        let mut inputs = Vec::new();
        for event in events {
            match event {
                Event::Data(plain) => {
                    self.idle.remove(&(live.used, id));
                    live.used = now.mono;
                    self.idle.insert((now.mono, id));
                    self.costs.entry(node).or_default().coap_bytes_in += plain.len() as u64;
                    inputs.push(Input::Datagram(id, plain));
                }
                Event::Closed(why) => {
                    if why != (Closed::ByAlert { code: 0 }) {
                        // After a fatal alert a session must not be resumed (RFC 5246 §7.2.2).
                        disk.remove_export(node);
                    }
                    self.close(id);
                    inputs.push(Input::Down(id, Down::new(Reason::Ended, why.to_string())));
                    return inputs;
                }
            }
        }
        if renew {
            self.close(id);
            inputs.push(Input::Down(id, Down::new(Reason::Forged, "")));
        }
        inputs
    }

    /// Closes a session without a word, or stops opening it.
    pub fn close(&mut self, id: NodeId) {
        if self.opening.remove(&id).is_some() {
            self.handshakes.cancel(id);
        }
        if let Some(Link::Dtls(live)) = self.links.remove(&id) {
            self.idle.remove(&(live.used, id));
            self.dropped_before = self.dropped_before.and(&live.session);
            let cost = self.costs.entry(live.node).or_default();
            *cost = cost.with_session(live.session.traffic());
        }
        self.sockets.close(id);
    }

    /// What DTLS has cost a node since the start; `None`: it has not used it.
    #[must_use]
    pub fn cost(&self, node: DevEui) -> Option<Cost> {
        let open = self.links.values().find_map(|link| match link {
            Link::Dtls(live) if live.node == node => Some(live.session.traffic()),
            _ => None,
        });
        let cost = self.costs.get(&node).copied()?;
        Some(open.map_or(cost, |traffic| cost.with_session(traffic)))
    }

    /// What `lpwad status` says of sessions.
    #[must_use]
    pub fn status(&self) -> serde_json::Value {
        let live = self.links.values().filter_map(|link| if let Link::Dtls(live) = link { Some(live) } else { None });
        let dropped = live.fold(self.dropped_before, |sum, live| sum.and(&live.session));
        serde_json::json!({
            "open": self.links.len(),
            "dtls_live": self.idle.len(),
            "dtls_max_live": self.max_live,
            "opening": self.opening.len(),
            "send_failures": self.sockets.send_failures,
            "not_sent": self.not_sent,
            "records_forged": dropped.forged,
            "records_replayed": dropped.replayed,
            "records_ignored": dropped.ignored,
        })
    }
}

impl Dropped {
    fn and(self, session: &Session) -> Dropped {
        let counters = session.counters();
        Dropped {
            forged: self.forged + counters.forged,
            replayed: self.replayed + counters.replayed,
            ignored: self.ignored + counters.ignored,
        }
    }
}

/// What a failure is to the gateway.
fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::NoAnswer { .. } => Reason::NoAnswer,
        Failure::ProbableWrongKey => Reason::WrongKey,
        Failure::UnknownIdentity { .. } => Reason::UnknownIdentity,
        Failure::WrongServerKey => Reason::WrongServerKey,
        Failure::Certificate(problem) => match problem {
            CertificateProblem::NameMismatch => Reason::WrongName,
            CertificateProblem::Expired | CertificateProblem::NotYetValid => Reason::CertificateExpired,
            _ => Reason::CertificateRefused,
        },
        Failure::NoCommonSuite { .. } => Reason::NoCommonSuite,
        Failure::ProtocolVersion { .. } => Reason::Version,
        // bad_certificate to unknown_ca, access_denied (RFC 5246 §7.2): the server means what we showed.
        Failure::PeerAlert { code: 42..=46 | 48 | 49, .. } => Reason::CredentialRefused,
        Failure::PeerAlert { .. } => Reason::Alert,
        Failure::BadEcho | Failure::Protocol { .. } => Reason::Protocol,
        _ => Reason::Socket,
    }
}
