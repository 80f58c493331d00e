//! UDP sockets, one per session, all in one level-triggered epoll set, so that a bounded read per turn loses nothing. Why one socket per session: `docs/decisions/0003-one-socket-per-session.md`.

use crate::gateway::input::NodeId;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Datagrams that one turn takes from one socket.
pub const READS_PER_SOCKET: usize = 8;
/// Sockets that one turn looks at.
const SOCKETS_PER_TURN: usize = 64;
/// Datagrams of strangers that a new socket may hold; the kernel's buffer has no room for more.
const MAX_STRANGERS: usize = 65_536;
/// Longest datagram; what is longer arrives one byte longer than this, and is refused as no CoAP message.
const MAX_DATAGRAM: usize = 4096;

/// The sockets.
pub struct Sockets {
    epoll: Epoll,
    sockets: BTreeMap<NodeId, UdpSocket>,
    /// Datagrams that the kernel did not take; CoAP repeats them.
    pub send_failures: u64,
}

impl Sockets {
    /// No sockets yet.
    pub fn new() -> io::Result<Sockets> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Sockets { epoll, sockets: BTreeMap::new(), send_failures: 0 })
    }

    /// The set's descriptor, readable when a socket is.
    pub fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    /// Takes over the socket of a session; gives its local port.
    pub fn add(&mut self, session: NodeId, socket: UdpSocket) -> io::Result<u16> {
        self.close(session);
        let port = socket.local_addr()?.port();
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(session.0)))?;
        self.sockets.insert(session, socket);
        Ok(port)
    }

    /// Closes a session's socket.
    pub fn close(&mut self, session: NodeId) {
        if let Some(socket) = self.sockets.remove(&session) {
            let _ = self.epoll.delete(&socket);
        }
    }

    /// Sends a datagram; what the kernel does not take is dropped and counted.
    pub fn send(&mut self, session: NodeId, datagram: &[u8]) {
        let sent = self.sockets.get(&session).map(|socket| socket.send(datagram));
        if !matches!(sent, Some(Ok(_))) {
            self.send_failures += 1;
        }
    }

    /// Takes what is there, within a turn's bounds; gives how many sockets had something.
    pub fn receive(&self, mut each: impl FnMut(NodeId, Vec<u8>)) -> io::Result<usize> {
        let mut events = [EpollEvent::empty(); SOCKETS_PER_TURN];
        let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
        for event in events.iter().take(ready) {
            let session = NodeId(event.data() as u32);
            let Some(socket) = self.sockets.get(&session) else { continue };
            drain(socket, READS_PER_SOCKET, |datagram| each(session, datagram.to_vec()));
        }
        Ok(ready)
    }
}

/// A socket connected to `peer`, at `local_port` if that is wanted and free, else at any. With a `bearer` nothing leaves by
/// another interface, also when that one is down or gone: the kernel sees to it.
pub fn connect(peer: SocketAddr, local_port: Option<u16>, bearer: Option<&str>) -> io::Result<UdpSocket> {
    let socket = match local_port.map(|port| bind(peer, port)) {
        Some(Ok(socket)) => socket,
        _ => bind(peer, 0)?,
    };
    if let Some(bearer) = bearer {
        let bound = setsockopt(&socket, sockopt::BindToDevice, &bearer.into());
        bound.map_err(|errno| io::Error::other(format!("cannot be bound to {bearer}: {errno}")))?;
    }
    filter(socket, peer)
}

/// Connects the socket, so that only `peer` reaches it.
fn filter(socket: UdpSocket, peer: SocketAddr) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    socket.connect(peer)?;
    // What came before that may be from anybody; from now on the kernel lets only the peer through.
    let mut buffer = [0; 1];
    for _ in 0..MAX_STRANGERS {
        match socket.recv(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(socket),
            Err(_) => {}
        }
    }
    Err(io::Error::other("flooded by strangers before it was connected"))
}

/// Takes up to `most` datagrams that are there. ICMP errors of the peer (connection refused) are hints and passed over.
pub fn drain(socket: &UdpSocket, most: usize, mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; MAX_DATAGRAM + 1];
    for _ in 0..most {
        match socket.recv(&mut buffer) {
            Ok(length) => each(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}

/// A socket that can reach `peer`; towards the loopback it is bound there, so that nobody else can send to it.
fn bind(peer: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let ip = match peer.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_datagrams_to_one_socket_arrive_over_several_turns_and_the_port_is_kept() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = server.local_addr().unwrap();
        let mut sockets = Sockets::new().unwrap();
        let port = sockets.add(NodeId(3), connect(peer, None, None).unwrap()).unwrap();
        let mut received = 0;
        for _ in 0..100 {
            for _ in 0..10 {
                server.send_to(b"x", ("127.0.0.1", port)).unwrap();
            }
            sockets.receive(|session, bytes| received += usize::from(session == NodeId(3) && bytes == b"x")).unwrap();
        }
        for _ in 0..100 {
            sockets.receive(|_, _| received += 1).unwrap();
        }
        assert_eq!(received, 1000);
        sockets.close(NodeId(3));
        assert_eq!(sockets.add(NodeId(3), connect(peer, Some(port), None).unwrap()).unwrap(), port);
        assert_ne!(
            sockets.add(NodeId(4), connect(peer, Some(port), None).unwrap()).unwrap(),
            port,
            "a port in use is not taken twice"
        );
        sockets.send(NodeId(9), b"x");
        assert_eq!(sockets.send_failures, 1);
    }

    #[test]
    fn what_strangers_sent_before_the_socket_was_connected_is_dropped() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = bind(server.local_addr().unwrap(), 0).unwrap();
        let port = socket.local_addr().unwrap().port();
        stranger.send_to(b"PUT", ("127.0.0.1", port)).unwrap();
        let socket = filter(socket, server.local_addr().unwrap()).unwrap();
        stranger.send_to(b"PUT", ("127.0.0.1", port)).unwrap();
        server.send_to(b"answer", ("127.0.0.1", port)).unwrap();
        let mut received = Vec::new();
        drain(&socket, 9, |datagram| received.push(datagram.to_vec()));
        assert_eq!(received, [b"answer"]);
    }

    #[test]
    fn s_05_a_socket_without_its_bearer_is_none() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(connect(peer, None, Some("lo")).is_ok());
        let error = connect(peer, None, Some("none0")).unwrap_err().to_string();
        assert!(error.starts_with("cannot be bound to none0: "), "{error}");
    }

    #[test]
    fn a_refusing_peer_is_a_hint() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sockets = Sockets::new().unwrap();
        sockets.add(NodeId(0), connect(peer, None, None).unwrap()).unwrap();
        sockets.send(NodeId(0), b"x");
        sockets.receive(|_, _| panic!("nothing to receive")).unwrap();
        sockets.receive(|_, _| panic!("nothing to receive")).unwrap();
    }
}
