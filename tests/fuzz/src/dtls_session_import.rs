//! The bytes of an exported DTLS session, as they stand in a damaged store; and the same under a checksum that fits, so that
//! the parser behind it is reached. What is taken is offered in a hello.
use std::sync::LazyLock;
use std::time::Duration;

use lpwad_dtls::testing::envelope;
use lpwad_dtls::{ClientContext, Credential, EXPORT_MAX, ExportedSession, Handshake, Psk, Settings, Trust};

const BOUND: [u8; 32] = [7; 32];
const KEY: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255];

static SETUP: LazyLock<(ClientContext, Credential)> = LazyLock::new(|| {
    let context = ClientContext::new(Settings::new(Trust::Psk)).expect("the settings are valid");
    (context, Credential::Psk(Psk::new(b"node", &KEY).expect("the key is valid")))
});

/// Runs the target on an input: a whole export, or its body.
pub fn run(bytes: &[u8]) {
    for bytes in [bytes, &envelope(&BOUND, bytes)] {
        let Ok(session) = ExportedSession::import(bytes, &BOUND) else { continue };
        assert!(bytes.len() <= EXPORT_MAX);
        assert!(ExportedSession::import(bytes, &[8; 32]).is_err(), "it is bound to its context");
        let (context, credential) = &*SETUP;
        if let Ok(mut handshake) = Handshake::start(context, credential, Some(&session), Duration::ZERO, None) {
            let hello = handshake.poll_send().expect("a hello");
            assert!(hello.len() < 600);
            handshake.on_datagram(Duration::ZERO, bytes);
            handshake.on_timer(Duration::from_secs(9));
        }
    }
}
