//! What was on air, as the simulated modem recorded it, read with foreign code.

use crate::site::{Process, app_key};
use lorawan::default_crypto::DefaultFactory;
use lorawan::keys::AppKey;
use lorawan::parser::EncryptedJoinAcceptPayload;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of a site that is looked at.
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
    // Every session has an address of its own.
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
