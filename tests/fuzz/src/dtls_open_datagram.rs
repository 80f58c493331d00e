//! Datagrams into a handshake and into an open DTLS session, from anybody: raw ones, ones with a header that fits, and genuine
//! records of the server with bytes changed. Keys and nonces differ from run to run; what may come out does not.
//!
//! Form: first byte modulo 4: how many datagrams of the server pass before the rest is read (0: none, so all goes into the
//! handshake). Then pieces: kind, length, that many bytes.
use std::sync::LazyLock;
use std::time::Duration;

use lpwad_dtls::testing::{Server, ServerContext};
use lpwad_dtls::{ClientContext, Credential, Event, Handshake, Psk, Session, Settings, Trust};

const KEY: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255];

static SETUP: LazyLock<(ServerContext, ClientContext, Credential)> = LazyLock::new(|| {
    let psk = Psk::new(b"node", &KEY).expect("the key is valid");
    let server = ServerContext::psk(psk.clone()).expect("OpenSSL takes the settings");
    let client = ClientContext::new(Settings::new(Trust::Psk)).expect("the settings are valid");
    (server, client, Credential::Psk(psk))
});

/// Pieces of the input: kind and bytes.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first()?;
        let (length, after) = after.split_first()?;
        let (piece, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        Some((*kind, piece))
    })
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let (server, client, credential) = &*SETUP;
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut server = Server::new(server).expect("OpenSSL makes a server");
    let mut handshake = Handshake::start(client, credential, None, Duration::ZERO, None).expect("a handshake begins");
    let mut left = if first % 4 == 3 { u8::MAX } else { first % 4 };
    for _ in 0..6 {
        while let Some(datagram) = handshake.poll_send() {
            server.open(&datagram);
        }
        while let Some(datagram) = server.poll_send().filter(|_| left > 0) {
            left -= 1;
            handshake.on_datagram(Duration::ZERO, &datagram);
        }
    }
    match handshake.take_outcome() {
        Some(outcome) => in_session(outcome.expect("an honest handshake"), &mut server, rest),
        None => in_handshake(&mut handshake, rest),
    }
}

fn in_handshake(handshake: &mut Handshake, rest: &[u8]) {
    let mut now = Duration::ZERO;
    for (kind, piece) in pieces(rest) {
        match kind % 3 {
            0 => handshake.on_datagram(now, piece),
            1 => handshake.on_datagram(now, &record(22, 0, piece)),
            _ => {
                now += Duration::from_secs(5);
                handshake.on_timer(now);
            }
        }
        let sent = std::iter::from_fn(|| handshake.poll_send()).count();
        assert!(sent <= 8, "{sent} datagrams for one");
        if let Some(outcome) = handshake.take_outcome() {
            assert!(outcome.is_err(), "nobody knows the key");
            assert_eq!(handshake.deadline(), None);
        }
    }
}

fn in_session(mut session: Session, server: &mut Server, rest: &[u8]) {
    let mut now = Duration::ZERO;
    for (kind, piece) in pieces(rest) {
        now += Duration::from_secs(1);
        let events = match kind % 4 {
            0 => session.open(now, piece),
            1 => session.open(now, &record(piece.first().copied().unwrap_or(23), 1, piece)),
            2 => {
                let mut genuine = server.seal(b"genuine").expect("the server is connected");
                let same = genuine.clone();
                for change in piece.chunks_exact(2) {
                    if let Some(byte) = genuine.get_mut(usize::from(change[0])) {
                        *byte = change[1];
                    }
                }
                let events = session.open(now, &genuine);
                assert!(genuine == same || events.is_empty(), "a changed record gave something");
                events
            }
            _ => server.seal(piece).map_or_else(Vec::new, |datagram| session.open(now, &datagram)),
        };
        for event in events {
            match event {
                Event::Data(data) => assert!(data == b"genuine" || data == piece),
                Event::Closed(closed) => panic!("forged records closed it: {closed}"),
            }
        }
        assert_eq!(session.poll_send(), None, "and nothing is answered");
    }
    let datagram = server.seal(b"genuine").expect("the server is connected");
    assert_eq!(session.open(now, &datagram), [Event::Data(b"genuine".to_vec())], "it goes on");
    let counters = session.counters();
    assert_eq!(session.traffic().bytes_out, 0);
    assert!(counters.forged + counters.ignored + counters.replayed <= bytes_bound(rest));
}

fn bytes_bound(rest: &[u8]) -> u64 {
    rest.len() as u64
}

fn record(content: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = vec![content, 0xFE, 0xFD, 0, epoch, 0, 0, 0, 0, 0, 9, length[0], length[1]];
    bytes.extend_from_slice(body);
    bytes
}
