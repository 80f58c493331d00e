//! `kill -9` under traffic: nothing that must not be sent twice is sent twice, and the nodes need not join again.

use crate::site::{Process, Site, app_key, confirmed_uplink, endpoint, eui, small_server, uplink};
use lorawan::default_crypto::DefaultFactory;
use lorawan::keys::AppKey;
use lorawan::parser::EncryptedJoinAcceptPayload;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that a test of this kind has at most.
pub const NODES: usize = 3;

/// Node and JoinNonce of a join accept, read with foreign code.
fn join_nonce(frame: &[u8]) -> (usize, Vec<u8>) {
    for n in 0..NODES {
        let accept = EncryptedJoinAcceptPayload::new_with_factory(frame.to_vec(), DefaultFactory).unwrap();
        let key = AppKey::from(<[u8; 16]>::try_from(lpwad_link::hex::decode(&app_key(n)).unwrap()).unwrap());
        let accept = accept.decrypt(&key);
        if accept.validate_mic(&key) {
            return (n, accept.app_nonce().as_ref().to_vec());
        }
    }
    panic!("a join accept for nobody: {frame:02x?}");
}

/// Frames of the gateway on air, in order.
fn downlinks(modem: &mut Process) -> Vec<Vec<u8>> {
    let air = |line: &&serde_json::Value| line["event"] == "air" && line["dir"] == "down";
    modem
        .seen()
        .iter()
        .filter(air)
        .map(|line| lpwad_link::hex::decode(line["data"].as_str().unwrap()).unwrap())
        .collect()
}

/// Fails if a JoinNonce, or a counter with its address, was on air twice; gives how many join accepts and data frames were.
pub fn nothing_twice(modem: &mut Process) -> (usize, usize) {
    // A new session has a new address, or begins its counters anew.
    let mut by_counter: BTreeMap<(Vec<u8>, [u8; 2]), Vec<u8>> = BTreeMap::new();
    let mut nonces = BTreeSet::new();
    let mut data = 0;
    for frame in downlinks(modem) {
        match frame[0] >> 5 {
            1 => assert!(nonces.insert(join_nonce(&frame)), "a JoinNonce twice"),
            // Unconfirmed and confirmed data down: DevAddr at 1..5, FCntDown at 6..8.
            3 | 5 => {
                data += 1;
                let key = (frame[1..5].to_vec(), [frame[6], frame[7]]);
                if let Some(other) = by_counter.insert(key, frame.clone()) {
                    assert_eq!(other, frame, "two frames under one FCntDown");
                    panic!("a frame was sent twice: {frame:02x?}");
                }
            }
            other => panic!("message type {other} on air"),
        }
    }
    (nonces.len(), data)
}

#[test]
fn after_kill_9_no_counter_or_nonce_is_used_twice_and_nodes_go_on() {
    let (mut server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(2, "");
    site.configure(2, &uri);
    let mut modem = site.modem(31);
    let mut gateway = site.gateway();
    // Twice it dies with a join on its way: the JoinNonce is on disk, the accept was handed to the radio or not.
    for _ in 0..2 {
        gateway.wait_event("node-joining");
        gateway.kill();
        gateway = site.gateway();
    }
    for n in 0..2 {
        modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(n).as_str());
    }
    for round in 0..4 {
        // Confirmed uplinks: each one is answered with a frame that has a counter.
        for n in 0..2 {
            confirmed_uplink(&mut modem, n, &format!("0167011{round}"));
        }
        // One more is under way when the process dies.
        let mark = modem.mark();
        modem.tell(&format!("uplink {} 1 0167012{round} confirmed", eui(round % 2)));
        modem.wait_since(mark, "an uplink", |line| line["event"] == "uplink");
        let since = server.mark();
        gateway.kill();
        gateway = site.gateway();
        gateway.wait_event("radio-ready");
        for n in 0..2 {
            uplink(&mut modem, &mut gateway, n, &format!("0167013{round}"));
            server.wait_since(since, "the proxy again", |line| {
                ["registered", "updated"].iter().any(|event| line["event"] == *event)
                    && line["ep"] == endpoint(n).as_str()
            });
        }
    }
    let joins = modem.seen().iter().filter(|line| line["event"] == "joined").count();
    assert_eq!(joins, 2, "nobody joined again");
    gateway.terminate();

    let (nonces, data) = nothing_twice(&mut modem);
    assert!(nonces >= 2 && data >= 8, "{nonces} join accepts, {data} data frames");
}
