//! Pre-shared keys against `openssl s_server`.

use lpwad_dtls::{ClientContext, Credential, Event, ExportedSession, FragmentLength, Psk, Settings, Trust};

use crate::hello::{Hello, messages, records};
use crate::peer::{KEY, Server};
use crate::shell::{Patient, Shell};

pub fn context() -> ClientContext {
    ClientContext::new(Settings::new(Trust::Psk)).unwrap()
}

pub fn credential(identity: &str) -> Credential {
    Credential::Psk(Psk::new(identity.as_bytes(), &KEY).unwrap())
}

#[test]
fn s16_p03_p04_s17_a_full_handshake_with_cookie_and_512_byte_fragments() {
    let mut server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut session = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();

    assert_eq!(session.negotiated_suite().code, 0xC0A8);
    assert_eq!(session.negotiated_fragment_length(), Some(FragmentLength::B512));
    assert_eq!(session.max_payload(), 512);
    assert!(session.extended_master_secret() && !session.resumed());

    shell.send_data(&mut session, b"from the node\n");
    server.wait_for("from the node");
    server.write("from the server\n");
    assert_eq!(shell.event(&mut session), Event::Data(b"from the server\n".to_vec()));
    assert_eq!((session.counters().sealed, session.counters().opened, session.counters().forged), (1, 1, 0));

    let hellos: Vec<Hello> = shell.sent[..2].iter().map(|(_, datagram)| Hello::parse(datagram)).collect();
    assert!(hellos[0].cookie.is_empty() && !hellos[1].cookie.is_empty());
    assert_eq!(hellos[0].random, hellos[1].random);

    let datagram = session.close().unwrap();
    shell.send(&datagram);
    assert_eq!(session.close(), None);
    server.wait_for("DONE");
}

#[test]
fn s20_p18_a_session_is_exported_as_bytes_and_resumed() {
    let mut server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut first = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
    let bytes = first.export(&[9; 32]).expect("extended master secret and a session id");
    shell.send(&first.close().unwrap());
    server.wait_for("DONE");
    drop(first);

    shell.sent.clear();
    let session = ExportedSession::import(&bytes, &[9; 32]).unwrap();
    let mut second = shell.connect(&context(), &credential("node-1"), Some(&session), Patient).unwrap();
    assert!(second.resumed() && second.extended_master_secret());
    assert_eq!(second.negotiated_fragment_length(), Some(FragmentLength::B512));
    shell.send_data(&mut second, b"once more\n");
    server.wait_for("once more");

    let hello = Hello::parse(&shell.sent[0].1);
    assert_eq!(hello.session_id.len(), 32);
    assert!(hello.extension_codes().contains(&23), "P-21");
    let key_exchanges = shell.sent.iter().flat_map(|(_, datagram)| messages(datagram)).filter(|m| m.0 == 16).count();
    assert_eq!(key_exchanges, 0, "no ClientKeyExchange");
}

#[test]
fn s17_no_record_is_longer_than_was_agreed_in_either_direction() {
    let mut server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut session = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();

    assert!(session.seal(&[b'x'; 513]).is_err());
    assert!(session.is_open(), "refused before OpenSSL saw it");
    let mut line = vec![b'y'; 511];
    line.push(b'\n');
    shell.send_data(&mut session, &line);
    server.wait_for("yyyy");
    let line = format!("{}\n", "z".repeat(511));
    server.write(&line);
    assert_eq!(shell.event(&mut session), Event::Data(line.into_bytes()));
    for datagram in shell.sent.iter().map(|(_, datagram)| datagram).chain(&shell.received) {
        for (header, body) in records(datagram) {
            let plaintext = body.len() - if header[4] == 1 { 16 } else { 0 };
            assert!(plaintext <= 512, "{plaintext} bytes in a record");
        }
    }
}
