//! Raw public keys against `gnutls-serv`.

use lpwad_dtls::{
    ClientContext, Credential, CredentialError, Event, ExportedSession, Failure, FragmentLength, RpkKey, ServerKey,
    Settings, Trust,
};
use openssl::nid::Nid;

use crate::ca::{ec, key_pem, p256};
use crate::hello::{Hello, records};
use crate::peer::Server;
use crate::shell::{Patient, Shell};

fn setup(server_key: &[u8]) -> (ClientContext, Credential) {
    let settings = Settings::new(Trust::Rpk(ServerKey::new(server_key).unwrap()));
    (ClientContext::new(settings).unwrap(), Credential::Rpk(RpkKey::new(&key_pem(&p256())).unwrap()))
}

#[test]
fn s13_s40_p08_a_handshake_with_raw_public_keys_and_its_resumption() {
    let server_key = p256();
    let mut server = Server::gnutls_rpk(&server_key);
    let (context, credential) = setup(&server_key.public_key_to_der().unwrap());
    let mut shell = Shell::new(server.address);
    let mut session = shell.connect(&context, &credential, None, Patient).unwrap();
    assert_eq!(session.negotiated_suite().code, 0xC0AE);
    assert_eq!(session.negotiated_fragment_length(), Some(FragmentLength::B512));
    shell.send_data(&mut session, b"hello");
    assert_eq!(shell.event(&mut session), Event::Data(b"hello".to_vec()), "the server echoes");

    let hello = Hello::parse(&shell.sent[0].1);
    assert_eq!(hello.suites, [0xC0AE]);
    assert_eq!(hello.extension_codes(), [1, 10, 11, 13, 19, 20, 23, 65281]);
    let types: Vec<_> = hello.extensions.iter().filter(|(code, _)| [19, 20].contains(code)).collect();
    assert!(types.iter().all(|(_, body)| body == &[1, 2]), "raw public keys and nothing else: {types:?}");

    let bytes = session.export(&[1; 32]).unwrap();
    shell.send(&session.close().unwrap());
    let resume = ExportedSession::import(&bytes, &[1; 32]).unwrap();
    let mut session = shell.connect(&context, &credential, Some(&resume), Patient).unwrap();
    assert!(session.resumed());
    shell.send_data(&mut session, b"again");
    assert_eq!(shell.event(&mut session), Event::Data(b"again".to_vec()));
    server.write("");
}

#[test]
fn s40_p09_another_server_key_is_refused_before_finished_by_an_alert_that_is_not_about_certificates() {
    let server = Server::gnutls_rpk(&p256());
    let (context, credential) = setup(&p256().public_key_to_der().unwrap());
    let mut shell = Shell::new(server.address);
    let failure = shell.connect(&context, &credential, None, Patient).unwrap_err();
    assert_eq!(failure, Failure::WrongServerKey);
    let (_, last) = shell.sent.last().unwrap();
    let [(header, body)] = &records(last)[..] else { panic!("{last:?}") };
    assert_eq!((header[0], &body[..]), (21, &[2, 40][..]));
    assert!(shell.sent.iter().flat_map(|(_, datagram)| records(datagram)).all(|(header, _)| header[4] == 0));
}

#[test]
fn p23_ephemeral_keys_are_not_used_twice() {
    let server_key = p256();
    let server = Server::gnutls_rpk(&server_key);
    let (context, credential) = setup(&server_key.public_key_to_der().unwrap());
    let mut points = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut shell = Shell::new(server.address);
        let mut session = shell.connect(&context, &credential, None, Patient).unwrap();
        let messages = shell.sent.iter().flat_map(|(_, datagram)| crate::hello::messages(datagram));
        points.extend(messages.filter(|message| message.0 == 16).map(|message| message.2));
        shell.send(&session.close().unwrap());
    }
    assert_eq!(points.len(), 20);
}

#[test]
fn s40_p42_keys_of_other_curves_and_rubbish_are_refused_by_name() {
    let other = ec(Nid::SECP384R1);
    assert_eq!(RpkKey::new(&key_pem(&other)).unwrap_err(), CredentialError::NotP256);
    assert_eq!(ServerKey::new(&other.public_key_to_der().unwrap()).unwrap_err(), CredentialError::NotP256);
    assert_eq!(RpkKey::new(&key_pem(&crate::ca::rsa(2048))).unwrap_err(), CredentialError::NotP256);
    let key = p256();
    RpkKey::new(&key.private_key_to_pkcs8().unwrap()).unwrap();
    RpkKey::new(&key.ec_key().unwrap().private_key_to_pem().unwrap()).unwrap();
    ServerKey::new(&key.public_key_to_pem().unwrap()).unwrap();
    assert_eq!(RpkKey::new(&key_pem(&key)).unwrap().public_der().unwrap().len(), 91);
    for rubbish in [&b""[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &[0x30, 0x80]] {
        assert_eq!(RpkKey::new(rubbish).unwrap_err(), CredentialError::PrivateKeyForm);
        assert_eq!(ServerKey::new(rubbish).unwrap_err(), CredentialError::PublicKeyForm);
    }
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
    assert_eq!(RpkKey::new(&encrypted).unwrap_err(), CredentialError::PrivateKeyEncrypted, "and nobody is asked");
    let encrypted = key.private_key_to_pkcs8_passphrase(cipher, b"secret").unwrap();
    assert_eq!(RpkKey::new(&encrypted).unwrap_err(), CredentialError::PrivateKeyForm);
    assert_eq!(RpkKey::new(&vec![0; 65_537]).unwrap_err(), CredentialError::FileLength { bytes: 65_537 });
    assert_eq!(format!("{:?}", RpkKey::new(&key_pem(&key)).unwrap()), "RpkKey(..)");
}
