//! Files of keys and certificates, in PEM or DER, and a pre-shared key with its identity. What is taken can be used.
use std::time::Duration;

use lpwad_dtls::{
    ClientContext, Credential, Handshake, Psk, RpkKey, ServerKey, Settings, Trust, X509Identity, X509Trust,
};

/// Runs the target on an input; two files are parted by the first `|`.
pub fn run(bytes: &[u8]) {
    let (first, second) = match bytes.iter().position(|byte| *byte == b'|') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, bytes),
    };
    if let Ok(psk) = Psk::new(first, second) {
        assert!((1..=128).contains(&first.len()) && (16..=64).contains(&second.len()));
        start(Trust::Psk, &Credential::Psk(psk));
    }
    let key = RpkKey::new(first);
    if let (Ok(key), Ok(server)) = (&key, ServerKey::new(second)) {
        assert_eq!(key.public_der().expect("a key has a public one").len(), 91);
        start(Trust::Rpk(server), &Credential::Rpk(key.clone()));
    }
    let trust = [X509Trust::anchors(first), X509Trust::pinned(first)];
    if let Ok(identity) = X509Identity::new(first, second) {
        for trust in trust.into_iter().flatten() {
            start(Trust::X509(trust), &Credential::X509(identity.clone()));
        }
    }
}

fn start(trust: Trust, credential: &Credential) {
    let mut settings = Settings::new(trust);
    settings.server_name = Some("lwm2m.example.org".to_owned());
    let context = ClientContext::new(settings).expect("what was taken can be used");
    let mut handshake =
        Handshake::start(&context, credential, None, Duration::ZERO, Some(0)).expect("a handshake begins");
    assert!(handshake.poll_send().is_some());
    assert_eq!(credential.digest(), credential.clone().digest());
}
