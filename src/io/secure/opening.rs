//! The way to a handshake: credential, addresses, socket. A rehearsal goes the same way, beside a clear session.

use super::super::disk::Disk;
use super::super::handshake::{Attempt, Start};
use super::super::keys::{self, Opening};
use super::super::resolve::{Name, Resolved};
use super::super::udp;
use super::Sessions;
use crate::config::{DtlsMode, ServerUri};
use crate::gateway::input::{Down, Input, NodeId, Now, Reason};
use lpwad_dtls::ExportedSession;
use lpwad_lorawan::DevEui;
use std::io;
use std::net::SocketAddr;

/// A DTLS session that is being opened.
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) server: String,
    pub(super) node: DevEui,
    pub(super) local_port: Option<u16>,
    /// The addresses are, or were, asked for by this name.
    pub(super) name: Option<Name>,
    /// The addresses are known, and the handshake is under way.
    pub(super) begun: bool,
    pub(super) binding: [u8; 32],
    pub(super) mode: DtlsMode,
    pub(super) resumes: bool,
    /// Nothing is to be opened: the handshake is tried, beside a clear session.
    pub(super) rehearsal: bool,
}

impl Pending {
    /// What the gateway is told of a failure.
    pub(super) fn failed(&self, session: NodeId, down: Down) -> Input {
        if self.rehearsal { Input::Rehearsed(session, Some(down)) } else { Input::Down(session, down) }
    }
}

impl Sessions {
    /// Tries a handshake for a node, beside its clear session; gives what came of it, if that is known already.
    pub fn rehearse(
        &mut self,
        now: Now,
        session: NodeId,
        server: String,
        node: DevEui,
        disk: &mut Disk,
    ) -> Option<Input> {
        self.begin_dtls(now, session, (server, node), None, disk, true)
    }

    pub(super) fn begin_dtls(
        &mut self,
        now: Now,
        session: NodeId,
        (server, node): (String, DevEui),
        local_port: Option<u16>,
        disk: &Disk,
        rehearsal: bool,
    ) -> Option<Input> {
        let opening = match self.keys.opening(&server, node) {
            Ok(opening) => opening,
            Err(problem) => {
                let down = Down::new(Reason::NoCredential, problem);
                return Some(if rehearsal {
                    Input::Rehearsed(session, Some(down))
                } else {
                    Input::Down(session, down)
                });
            }
        };
        let mode = keys::mode(opening.credential.mode());
        self.attempts += 1;
        let pending = Pending {
            number: self.attempts,
            server,
            node,
            local_port,
            name: None,
            begun: false,
            binding: opening.binding,
            mode,
            resumes: false,
            rehearsal,
        };
        self.opening.insert(session, pending);
        let addresses = self.addresses(now, session, &opening.uri)?;
        self.begin(now, session, opening, &addresses, disk)
    }

    /// The addresses of a server, if they are known; else the session waits for them.
    fn addresses(&mut self, now: Now, session: NodeId, uri: &ServerUri) -> Option<Vec<SocketAddr>> {
        if let Some(address) = uri.literal() {
            return Some(vec![address]);
        }
        let name = (uri.host.to_string(), uri.port);
        let known = self.resolver.ask(now.mono, &name);
        if let Some(pending) = self.opening.get_mut(&session) {
            pending.name = Some(name);
        }
        known
    }

    /// Begins the handshake of a session that is being opened.
    fn begin(
        &mut self,
        now: Now,
        session: NodeId,
        opening: Opening,
        addresses: &[SocketAddr],
        disk: &Disk,
    ) -> Option<Input> {
        let pending = self.opening.get_mut(&session)?;
        let turn = pending.name.as_ref().and_then(|name| self.turns.get(name)).copied().unwrap_or(0);
        let turn = turn.checked_rem(addresses.len()).unwrap_or(0);
        // An address without a route costs nothing: the next one is tried at once.
        let in_turn = addresses.iter().cycle().skip(turn).take(addresses.len());
        let mut socket = Err(io::Error::other("no address"));
        for peer in in_turn {
            socket = udp::connect(*peer, pending.local_port, None);
            if socket.is_ok() {
                break;
            }
        }
        let down = match &socket {
            Err(error) => Some(Down::new(Reason::Socket, error.to_string())),
            Ok(_) if opening.needs_clock && now.unix_ms.is_none() => Some(Down::new(Reason::ClockUnknown, "")),
            Ok(_) => None,
        };
        let (Ok(socket), None) = (socket, &down) else {
            let pending = self.opening.remove(&session)?;
            return down.map(|down| pending.failed(session, down));
        };
        pending.binding = opening.binding;
        // A damaged export, or one of another credential, costs a full handshake and nothing else. A rehearsal is to show that
        // the credential works.
        let export = disk.export(pending.node).filter(|_| !pending.rehearsal);
        let resume = export.and_then(|bytes| ExportedSession::import(bytes, &opening.binding).ok());
        (pending.resumes, pending.begun) = (resume.is_some(), true);
        let attempt = Attempt { session, number: pending.number, node: pending.node };
        let Opening { context, credential, .. } = opening;
        let start = Start { attempt, socket, context, credential, resume, unix_ms: now.unix_ms };
        if self.handshakes.begin(start) {
            return None;
        }
        let pending = self.opening.remove(&session)?;
        Some(pending.failed(session, Down::new(Reason::Socket, "too many handshakes wait")))
    }

    /// The name service has answered.
    pub fn resolved(&mut self, now: Now, resolved: &Resolved, disk: &mut Disk) -> Vec<Input> {
        self.resolver.keep(now.mono, resolved);
        let waits = |pending: &Pending| !pending.begun && pending.name.as_ref() == Some(&resolved.name);
        let waiting: Vec<NodeId> = self.opening.iter().filter(|(_, one)| waits(one)).map(|(id, _)| *id).collect();
        let mut inputs = Vec::new();
        for session in waiting {
            let Some(pending) = self.opening.get(&session) else { continue };
            let (server, node) = (pending.server.clone(), pending.node);
            let opening = match (&resolved.addresses, self.keys.opening(&server, node)) {
                (Ok(addresses), Ok(opening)) => {
                    inputs.extend(self.begin(now, session, opening, addresses, disk));
                    continue;
                }
                (Err(problem), _) => Down::new(Reason::Unresolved, problem.clone()),
                (_, Err(problem)) => Down::new(Reason::NoCredential, problem),
            };
            inputs.extend(self.opening.remove(&session).map(|pending| pending.failed(session, opening)));
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Clock;
    use super::super::super::handshake::Handshakes;
    use super::super::super::resolve::Resolver;
    use super::*;
    use crate::config::Config;
    use crate::gateway::output::Target;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tokio::sync::mpsc;

    const NODE: DevEui = DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1]);

    fn config(dir: &std::path::Path) -> Config {
        let keys = dir.join("keys.toml");
        let psk = "psk_identity = \"node\"\npsk = \"9f1c3b5a7d2e4860b1c7d9e3f5a20817\"\n";
        let app_key = "app_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n";
        fs::write(&keys, format!("[70b3d57ed0000001]\n{app_key}{psk}")).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        let text = "[[radio]]\nname = \"roof\"\nplugin = \"lora-serial\"\n\
            [[server]]\nname = \"site\"\nsecure_uri = \"coaps://server.invalid:5684\"\nsecurity = \"dtls\"\n\
            [[node]]\ndev_eui = \"70b3d57ed0000001\"\nprofile = \"cayenne-lpp\"\nkeys = \"file:keys.toml\"\n";
        fs::write(dir.join("lpwad.toml"), text).unwrap();
        Config::read(&dir.join("lpwad.toml")).unwrap()
    }

    #[tokio::test]
    async fn an_answer_of_the_name_service_leaves_a_handshake_alone_that_is_under_way() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::start());
        let (inputs, _disk_says) = mpsc::channel(4);
        let (mut disk, _) = Disk::open(&dir.path().join("state"), inputs).unwrap();
        let (done, _handshaken) = mpsc::channel(4);
        let (answers, _resolved) = mpsc::channel(4);
        let handshakes = Handshakes::start(clock, done).unwrap();
        let mut sessions = Sessions::new(&config(dir.path()), handshakes, Resolver::new(answers)).unwrap();
        let to = Target::Dtls { server: "site".into(), node: NODE };
        assert!(sessions.open(clock.now(), NodeId(0), to, None, &mut disk).is_none(), "the name is asked for");

        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let name: Name = ("server.invalid".into(), 5684);
        let known = Resolved { name: name.clone(), addresses: Ok(vec![silent.local_addr().unwrap()]) };
        assert!(sessions.resolved(clock.now(), &known, &mut disk).is_empty(), "it begins");
        let lost = Resolved { name: name.clone(), addresses: Err("the name service does not answer".into()) };
        let told = sessions.resolved(clock.now(), &lost, &mut disk);
        assert!(told.is_empty(), "and goes on, whatever becomes of the name");

        let to = Target::Dtls { server: "site".into(), node: NODE };
        assert!(sessions.open(clock.now(), NodeId(1), to, None, &mut disk).is_none());
        let told = sessions.resolved(clock.now(), &lost, &mut disk);
        assert!(matches!(told[..], [Input::Down(NodeId(1), _)]), "who waits for it is told: {told:?}");
    }
}
