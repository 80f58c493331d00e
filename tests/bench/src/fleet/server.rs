//! A DTLS server with the simulator's LwM2M server behind it, on a thread and a socket on loopback.

use crate::Failure;
use crate::site;
use lpwad_dtls::Psk;
use lpwad_dtls::testing::{Server as Association, ServerContext};
use lpwad_sim::server::{Config, ObservePolicy, Output, Server};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Longest wait for a datagram, so that the LwM2M server gets its time.
const TURN: Duration = Duration::from_millis(50);

/// Starts it; gives its port. It ends with this process.
pub fn start() -> Result<u16, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(TURN))?;
    let port = socket.local_addr()?.port();
    let context = ServerContext::psks(|identity| Psk::new(identity, &site::psk(identity)?).ok())?;
    std::thread::Builder::new().name("server".into()).spawn(move || {
        let server = Server::new(Config { observe: ObservePolicy::Sensors, seed: 7 });
        let mut peers = Peers { socket, context, server, associations: BTreeMap::new() };
        if let Err(error) = peers.serve() {
            eprintln!("lpwad-bench: the server has ended: {error}");
        }
    })?;
    Ok(port)
}

struct Peers {
    socket: UdpSocket,
    context: ServerContext,
    server: Server,
    associations: BTreeMap<SocketAddr, Association>,
}

impl Peers {
    fn serve(&mut self) -> Result<(), Failure> {
        #[expect(clippy::disallowed_methods, reason = "this server is a process of its own kind, in real time")]
        let start = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => self.take(start.elapsed(), from, buffer.get(..length).unwrap_or_default())?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // Somebody has closed a socket: an ICMP message.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
            self.server.tick(start.elapsed());
            self.drain();
        }
    }

    fn take(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) -> Result<(), Failure> {
        if begins(datagram) {
            self.associations.insert(from, Association::new(&self.context)?);
        }
        let Some(association) = self.associations.get_mut(&from) else { return Ok(()) };
        let payloads = association.open(datagram);
        while let Some(answer) = association.poll_send() {
            let _ = self.socket.send_to(&answer, from);
        }
        for payload in payloads {
            self.server.handle_datagram(now, from, &payload);
        }
        Ok(())
    }

    /// What cannot be sent is lost, as on the way.
    fn drain(&mut self) {
        while let Some(output) = self.server.poll() {
            if let Output::Send { to, bytes } = output
                && let Some(datagram) = self.associations.get_mut(&to).and_then(|association| association.seal(&bytes))
            {
                let _ = self.socket.send_to(&datagram, to);
            }
        }
    }
}

/// Whether it is a first hello: a handshake record of epoch 0 with a ClientHello that has message number 0 (RFC 6347 §4.2.2).
fn begins(datagram: &[u8]) -> bool {
    let field = |range| datagram.get(range).unwrap_or_default();
    field(0..1) == [22] && field(3..5) == [0, 0] && field(13..14) == [1] && field(17..19) == [0, 0]
}
