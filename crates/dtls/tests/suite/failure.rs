//! What a failed handshake is called, against `openssl s_server` and against nobody.

use std::net::UdpSocket;
use std::time::Duration;

use lpwad_dtls::{Advice, Credential, Failure, Handshake, Psk};

use crate::clock::Clock;
use crate::hello::{Hello, messages, records};
use crate::peer::{KEY, Server};
use crate::psk::{context, credential};
use crate::shell::{AfterAlert, AfterKeys, Brief, Patient, Shell, WAIT};

#[test]
fn s24_p30_a_black_hole_gets_hellos_at_0_9_27_and_63_seconds() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut shell = Shell::new(silent.local_addr().unwrap());
    let failure = shell.connect(&context(), &credential("n"), None, Brief).unwrap_err();
    assert_eq!(failure, Failure::NoAnswer { heard: false });
    assert_eq!(failure.advice(), Advice::Retry);
    assert_eq!(shell.times(), [0, 9, 27, 63]);
    assert_eq!(shell.clock.now, Duration::from_secs(135));
    // One hello, repeated: the same message under new record numbers.
    let sent: Vec<_> = shell.sent.iter().map(|(_, datagram)| datagram.clone()).collect();
    assert!(sent.iter().all(|datagram| messages(datagram) == messages(&sent[0])), "P-32");
    let numbers: Vec<_> = sent.iter().map(|datagram| records(datagram)[0].0[10]).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn p30_the_flight_of_the_keys_is_repeated_on_the_same_schedule_and_then_a_wrong_key_is_probable() {
    let mut other = KEY;
    other[0] ^= 1;
    let server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let credential = Credential::Psk(Psk::new(b"node-1", &other).unwrap());
    let failure = shell.connect(&context(), &credential, None, AfterKeys(u32::MAX)).unwrap_err();
    assert_eq!(failure, Failure::ProbableWrongKey);
    assert_eq!(failure.advice(), Advice::Report);
    let flights: Vec<u64> = shell
        .sent
        .iter()
        .filter(|(_, datagram)| messages(datagram).iter().any(|message| message.0 == 16))
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!(flights, [0, 9, 27, 63]);
    let flight = |n: usize| shell.sent.iter().filter(|(at, _)| at.as_secs() == [0, 9, 27, 63][n]).count();
    assert_eq!(flight(1), 1, "a repeated flight is packed into one datagram like the first");
}

#[test]
fn a_wall_clock_set_back_does_not_stop_the_timer() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut shell = Shell::new(silent.local_addr().unwrap());
    let mut handshake = Handshake::start(&context(), &credential("n"), None, shell.clock.now, None).unwrap();
    Clock::step_wall(-86_400_000_000);
    let failure = {
        let mut hellos = Vec::new();
        loop {
            while let Some(datagram) = handshake.poll_send() {
                hellos.push((shell.clock.now.as_secs(), Hello::parse(&datagram)));
            }
            if let Some(outcome) = handshake.take_outcome() {
                let times: Vec<u64> = hellos.iter().map(|(at, _)| *at).collect();
                assert_eq!(times, [0, 9, 27, 63]);
                assert_ne!(hellos[0].1.random, hellos[1].1.random, "a new hello");
                assert_eq!(hellos[1].1, hellos[3].1, "from there on repeated");
                assert_eq!(handshake.restarts(), 1);
                break outcome.unwrap_err();
            }
            let deadline = handshake.deadline().unwrap();
            let now = shell.clock.now;
            shell.clock.advance(deadline - now);
            handshake.on_timer(shell.clock.now);
        }
    };
    assert_eq!(failure, Failure::NoAnswer { heard: false });
}

#[test]
fn a_wall_clock_step_in_the_middle_of_a_handshake_does_not_end_it() {
    for step_us in [-3_600_000_000, 3_600_000_000] {
        let server = Server::psk("node-1", &KEY, &[]);
        let mut shell = Shell::new(server.address);
        let mut handshake = Handshake::start(&context(), &credential("node-1"), None, shell.clock.now, None).unwrap();
        Clock::step_wall(step_us);
        let session = shell.drive(&mut handshake, Patient).unwrap();
        assert!(session.is_open());
    }
}

#[test]
fn nothing_is_sent_before_the_deadline() {
    let mut clock = Clock::default();
    let mut handshake = Handshake::start(&context(), &credential("n"), None, clock.now, None).unwrap();
    assert!(handshake.poll_send().is_some());
    clock.advance(Duration::from_millis(8_999));
    handshake.on_timer(clock.now);
    handshake.on_datagram(clock.now, b"rubbish");
    handshake.on_datagram(clock.now, &[]);
    assert_eq!(handshake.deadline(), Some(Duration::from_secs(9)));
    clock.advance(Duration::from_millis(1));
    handshake.on_timer(clock.now);
    assert!(handshake.poll_send().is_some());
    assert_eq!(handshake.deadline(), Some(Duration::from_secs(27)));
}

#[test]
fn an_unreachable_port_is_no_answer_and_no_error() {
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut shell = Shell::new(address);
    let failure = shell.connect(&context(), &credential("n"), None, Brief).unwrap_err();
    assert_eq!(failure, Failure::NoAnswer { heard: false });
}

#[test]
fn a_server_without_a_common_suite_says_so() {
    let server =
        Server::openssl(&["-nocert", "-psk", &crate::peer::hex(&KEY), "-cipher", "PSK-AES128-CCM:@SECLEVEL=0"]);
    let mut shell = Shell::new(server.address);
    let failure = shell.connect(&context(), &credential("node-1"), None, AfterAlert).unwrap_err();
    assert_eq!(failure, Failure::NoCommonSuite { alert: Some(40) });
}

#[test]
fn a_handshake_goes_on_in_another_thread() {
    let server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut handshake = Handshake::start(&context(), &credential("node-1"), None, shell.clock.now, None).unwrap();
    shell.send(&handshake.poll_send().unwrap());
    let request = shell.receive(WAIT).unwrap();
    let mut handshake = std::thread::spawn(move || {
        handshake.on_datagram(Duration::ZERO, &request);
        handshake
    })
    .join()
    .unwrap();
    let session = shell.drive(&mut handshake, Patient).unwrap();
    std::thread::spawn(move || drop(session)).join().unwrap();
}
