//! Somebody on the path between lpwad and its server: passes on, changes, forges. Only on the loopback.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a datagram to the client.
type Change = Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send>;

/// A relay; it ends with the test.
pub struct Relay {
    /// Where clients are to send to.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    change: Mutex<Change>,
    clients: Mutex<BTreeMap<SocketAddr, Client>>,
    last: Mutex<Option<SocketAddr>>,
    /// Datagrams of clients.
    passed: AtomicU64,
    /// Their bytes, and those of the server.
    bytes: (AtomicU64, AtomicU64),
}

/// The sockets of a client.
struct Client {
    /// Faces it.
    front: Arc<UdpSocket>,
    /// Towards the server.
    back: Arc<UdpSocket>,
}

impl Relay {
    /// To a port on the loopback; passes everything on.
    pub fn to(port: u16) -> Relay {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port_here = front.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            change: Mutex::new(Box::new(|datagram| vec![datagram])),
            clients: Mutex::default(),
            last: Mutex::default(),
            passed: AtomicU64::new(0),
            bytes: Default::default(),
        });
        // `localhost` may be ::1 as well.
        for front in [Some(front), UdpSocket::bind((Ipv6Addr::LOCALHOST, port_here)).ok()].into_iter().flatten() {
            let (front, shared) = (Arc::new(front), Arc::clone(&shared));
            std::thread::spawn(move || shared.face(&front));
        }
        Relay { port: port_here, shared }
    }

    /// From now on, what becomes of each datagram to a client.
    pub fn change(&self, change: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) {
        *self.shared.change.lock().unwrap() = Box::new(change);
    }

    /// How many datagrams clients have sent.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// Bytes of clients, and of the server.
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.bytes.0.load(Ordering::Relaxed), self.shared.bytes.1.load(Ordering::Relaxed))
    }

    /// Sends this to the client that sent last, as if it came from the server.
    pub fn inject(&self, datagram: &[u8]) {
        let client = self.shared.last.lock().unwrap().unwrap();
        let front = Arc::clone(&self.shared.clients.lock().unwrap()[&client].front);
        front.send_to(datagram, client).unwrap();
    }
}

impl Shared {
    /// Passes on what clients send to `front`.
    fn face(self: &Arc<Self>, front: &Arc<UdpSocket>) {
        let mut datagram = [0; 2048];
        while let Ok((length, client)) = front.recv_from(&mut datagram) {
            *self.last.lock().unwrap() = Some(client);
            self.passed.fetch_add(1, Ordering::Relaxed);
            self.bytes.0.fetch_add(length as u64, Ordering::Relaxed);
            let back = {
                let mut clients = self.clients.lock().unwrap();
                Arc::clone(&clients.entry(client).or_insert_with(|| self.meet(front, client)).back)
            };
            // A server that is not there loses datagrams.
            let _ = back.send(&datagram[..length]);
        }
    }

    /// A new client: what the server says to it goes through the change.
    fn meet(self: &Arc<Self>, front: &Arc<UdpSocket>, client: SocketAddr) -> Client {
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        back.connect(self.server).unwrap();
        let (shared, from, to) = (Arc::clone(self), Arc::clone(&back), Arc::clone(front));
        std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            loop {
                let length = match from.recv(&mut datagram) {
                    Ok(length) => length,
                    // The server is not there; it may come back.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                    Err(error) => panic!("the relay: {error}"),
                };
                shared.bytes.1.fetch_add(length as u64, Ordering::Relaxed);
                let changed = (shared.change.lock().unwrap())(datagram[..length].to_vec());
                for datagram in changed {
                    to.send_to(&datagram, client).unwrap();
                }
            }
        });
        Client { front: Arc::clone(front), back }
    }
}
