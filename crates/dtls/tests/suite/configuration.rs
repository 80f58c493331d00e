//! A system's `openssl.cnf` changes nothing.

use std::process::Command;
use std::time::Duration;

use lpwad_dtls::testing::{Server, ServerContext, connect};
use lpwad_dtls::{Handshake, Psk};

use crate::hello::Hello;
use crate::peer::KEY;
use crate::psk::{context, credential};

/// No provider with AES, another range of versions, other suites, groups and options.
const HOSTILE: &str = "openssl_conf = init
[init]
providers = providers
ssl_conf = ssl
[providers]
base = base
[base]
activate = 1
[ssl]
system_default = system
[system]
MinProtocol = DTLSv1
MaxProtocol = DTLSv1
CipherString = AES256-SHA:@SECLEVEL=5
Groups = P-521
SignatureAlgorithms = RSA+SHA512
Options = Compression,UnsafeLegacyRenegotiation,SessionTicket,EncryptThenMac
";

/// Runs the ignored test `name` of this program under the hostile file. Whether it passed, and what it said.
fn run(name: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openssl.cnf");
    std::fs::write(&file, HOSTILE).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env("OPENSSL_CONF", file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("running 1 test"), "{text}");
    (output.status.success(), text)
}

#[test]
fn a_hostile_openssl_cnf_changes_nothing() {
    let (passed, text) = run("configuration::child_shakes_hands");
    assert!(passed, "{text}");
}

#[test]
fn the_hostile_openssl_cnf_is_one() {
    let (passed, text) = run("configuration::child_uses_openssl_as_it_comes");
    assert!(!passed, "without our precaution the file has an effect: {text}");
}

#[test]
#[ignore = "run by the tests above with OPENSSL_CONF set"]
fn child_shakes_hands() {
    let mut handshake = Handshake::start(&context(), &credential("node-1"), None, Duration::ZERO, None).unwrap();
    let datagram = handshake.poll_send().unwrap();
    assert_eq!(datagram.len(), 91);
    let hello = Hello::parse(&datagram);
    assert_eq!((hello.version, &hello.suites[..]), ([0xFE, 0xFD], &[0xC0A8][..]));
    assert_eq!(hello.extension_codes(), [1, 13, 23, 65281]);

    let mut server = Server::new(&ServerContext::psk(Psk::new(b"node-1", &KEY).unwrap()).unwrap()).unwrap();
    let mut handshake = Handshake::start(&context(), &credential("node-1"), None, Duration::ZERO, None).unwrap();
    connect(&mut handshake, &mut server, Duration::ZERO).unwrap().unwrap();
}

#[test]
#[ignore = "run by the tests above with OPENSSL_CONF set"]
fn child_uses_openssl_as_it_comes() {
    openssl::init();
    let mut handshake = Handshake::start(&context(), &credential("node-1"), None, Duration::ZERO, None).unwrap();
    assert!(handshake.poll_send().is_some());
}
