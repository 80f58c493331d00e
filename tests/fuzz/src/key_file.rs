//! Text of a key file. The error names no value of the file; what is read keeps its bounds, and can be changed by
//! `lpwad key` without harm to other nodes.
use lpwad::config::key_edit::{Change, change};
use lpwad::config::keys::{DtlsKeys, KeyFile, MAX_IDENTITY_BYTES, PSK_BYTES, parse_text};
use std::path::Path;

/// Runs the target on an input.
pub fn run(text: &str) {
    match parse_text(Path::new("keys.toml"), text) {
        Ok(keys) => {
            assert!(keys.len() <= text.len() / 16);
            bounds(&keys);
            edit(text, &keys);
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("keys.toml") && said.len() < 1000);
            // What follows `=` on any line is a value. A DevEUI, 16 characters, may be named, also in the brackets of its table.
            for value in text.lines().filter(|line| !line.contains('[')).filter_map(|line| line.split_once('=')) {
                let value = value.1.trim().trim_matches(['"', ']']);
                if value.len() > 16 && said.contains(value) {
                    // It may be what the error says anyway. An error that tells a value tells another one in its place too.
                    for other in ["0", "z"].map(|other| other.repeat(value.len())) {
                        let twin = parse_text(Path::new("keys.toml"), &text.replace(value, &other));
                        let told = twin.err().is_some_and(|error| error.to_string().contains(&other));
                        assert!(!told, "a value of the file is in the error");
                    }
                }
            }
        }
    }
}

fn bounds(keys: &KeyFile) {
    for node in keys.values() {
        assert!(node.secrets().all(|(field, _)| node.line(field).is_some_and(|line| line > 0)));
        if let Some(DtlsKeys::Psk { identity, key }) = &node.dtls {
            assert!(PSK_BYTES.contains(&key.expose().len()));
            let good =
                |identity: &Vec<u8>| (1..=MAX_IDENTITY_BYTES).contains(&identity.len()) && !identity.contains(&0);
            assert!(identity.as_ref().is_none_or(good));
        }
    }
}

/// A new key for a node that is there, and for one that is not.
fn edit(text: &str, keys: &KeyFile) {
    let path = Path::new("keys.toml");
    let new = "70b3d57ed000ffff".parse().expect("a DevEUI");
    for dev_eui in keys.keys().next().copied().into_iter().chain([new]) {
        let psk = "9f1c3b5a7d2e4860b1c7d9e3f5a20817";
        let set = vec![("psk_identity", "fuzz".to_string().into()), ("psk", psk.to_string().into())];
        let wanted = Change { set, remove: vec!["psk_identity_hex", "rpk_key", "x509_certificate", "x509_key"] };
        let Ok(changed) = change(path, text, dev_eui, &wanted) else { continue };
        let after = parse_text(path, &changed).expect("what was written is read");
        assert_eq!(after.len(), keys.len() + usize::from(!keys.contains_key(&dev_eui)));
        assert!(after.get(&dev_eui).is_some_and(|node| node.secrets().any(|(field, _)| field == "psk")));
        for (other, before) in keys.iter().filter(|(other, _)| **other != dev_eui) {
            let now = after.get(other).expect("other nodes stay");
            assert!(before.secrets().eq(now.secrets()), "another node's key has changed");
        }
    }
}
