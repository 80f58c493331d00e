//! Pre-shared keys against `gnutls-serv`.

use lpwad_dtls::{
    ClientContext, Credential, Event, ExportedSession, ExtraSuites, Failure, FragmentLength, Psk, Settings, Trust,
};

use crate::hello::messages;
use crate::peer::{KEY, Server};
use crate::psk::{context, credential};
use crate::shell::{AfterKeys, Patient, Shell};

const CCM_8: &str = "+AES-128-CCM-8";

#[test]
fn s16_p06_s19_a_handshake_with_an_ignored_hint_and_its_resumption() {
    let server = Server::gnutls_psk("node-1", &KEY, CCM_8);
    let mut shell = Shell::new(server.address);
    let mut session = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
    assert_eq!(session.negotiated_suite().code, 0xC0A8);
    assert_eq!(session.negotiated_fragment_length(), Some(FragmentLength::B512));
    assert!(session.extended_master_secret());
    shell.send_data(&mut session, b"hello");
    assert_eq!(shell.event(&mut session), Event::Data(b"hello".to_vec()));
    let exchange =
        shell.sent.iter().flat_map(|(_, datagram)| messages(datagram)).find(|message| message.0 == 16).unwrap();
    assert_eq!(exchange.2[2..], *b"node-1", "P-06: the identity is ours, whatever the hint");

    let bytes = session.export(&[3; 32]).unwrap();
    shell.send(&session.close().unwrap());
    let resume = ExportedSession::import(&bytes, &[3; 32]).unwrap();
    let mut session = shell.connect(&context(), &credential("node-1"), Some(&resume), Patient).unwrap();
    assert!(session.resumed());
    shell.send_data(&mut session, b"again");
    assert_eq!(shell.event(&mut session), Event::Data(b"again".to_vec()));
}

#[test]
fn p41_a_server_that_dislikes_short_tags_needs_an_extra_suite() {
    for (suites, extra, code) in [
        ("+AES-128-CCM", ExtraSuites { ccm: true, gcm: false }, 0xC0A4),
        ("+AES-128-GCM", ExtraSuites { ccm: false, gcm: true }, 0x00A8),
    ] {
        let server = Server::gnutls_psk("node-1", &KEY, suites);
        let mut settings = Settings::new(Trust::Psk);
        settings.extra_suites = extra;
        let context = ClientContext::new(settings).unwrap();
        let mut shell = Shell::new(server.address);
        let mut session = shell.connect(&context, &credential("node-1"), None, Patient).unwrap();
        assert_eq!(session.negotiated_suite().code, code);
        assert_eq!(session.max_payload(), 512);
        shell.send_data(&mut session, b"hello");
        assert_eq!(shell.event(&mut session), Event::Data(b"hello".to_vec()));
    }
}

#[test]
fn p16_gnutls_hides_whether_key_or_identity_is_wrong() {
    let server = Server::gnutls_psk("node-1", &KEY, CCM_8);
    let mut other = KEY;
    other[0] ^= 1;
    let wrong_key = Credential::Psk(Psk::new(b"node-1", &other).unwrap());
    for credential in [wrong_key, credential("node-2")] {
        let mut shell = Shell::new(server.address);
        let failure = shell.connect(&context(), &credential, None, AfterKeys(u32::MAX)).unwrap_err();
        assert_eq!(failure, Failure::ProbableWrongKey);
    }
}
