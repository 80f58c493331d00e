//! Somebody sits between the client and `openssl s_server`, and changes, forges, loses, repeats or reorders.

use std::time::Duration;

use lpwad_dtls::{Closed, Event, ExportedSession, Failure, Handshake, SealError, Session};

use crate::hello::{Hello, be, messages, records};
use crate::peer::{KEY, Server};
use crate::psk::{context, credential};
use crate::shell::{AfterAlert, AfterKeys, Patient, Shell, WAIT};

/// A plaintext alert as anybody can send it.
fn forged_alert(level: u8, code: u8) -> Vec<u8> {
    vec![21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0x77, code, 0, 2, level, code]
}

/// Where the ServerHello begins in a datagram, after its handshake header.
fn server_hello(datagram: &[u8]) -> Option<usize> {
    (datagram.len() > 25 && datagram[0] == 22 && datagram[13] == 2).then_some(25)
}

/// Offset of the length of the extensions in a ServerHello whose body begins at `start`.
fn extensions(datagram: &[u8], start: usize) -> usize {
    start + 35 + usize::from(datagram[start + 34]) + 3
}

/// Offset of the extension `code`.
fn extension(datagram: &[u8], start: usize, code: u16) -> usize {
    let mut at = extensions(datagram, start) + 2;
    while be(&datagram[at..at + 2]) != usize::from(code) {
        at += 4 + be(&datagram[at + 2..at + 4]);
    }
    at
}

fn set_be(bytes: &mut [u8], value: usize) {
    let all = value.to_be_bytes();
    bytes.copy_from_slice(&all[all.len() - bytes.len()..]);
}

/// Changes the length of the record, the message and the extensions by `by`.
fn stretch(datagram: &mut [u8], by: isize) {
    let at = extensions(datagram, 25);
    for range in [11..13, 14..17, 22..25, at..at + 2] {
        let value = be(&datagram[range.clone()]).checked_add_signed(by).unwrap();
        set_be(&mut datagram[range], value);
    }
}

/// The failure when each ServerHello is changed by `change`, and the alert that was sent last.
fn with_server_hello(resume: bool, change: fn(&mut Vec<u8>)) -> (Failure, Option<u8>) {
    let mut server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut session = None;
    if resume {
        let mut first = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
        let bytes = first.export(&[0; 32]).unwrap();
        session = Some(ExportedSession::import(&bytes, &[0; 32]).unwrap());
        shell.send(&first.close().unwrap());
        server.wait_for("DONE");
    }
    shell.inbound = Box::new(move |mut datagram| {
        if server_hello(&datagram).is_some() {
            change(&mut datagram);
        }
        vec![datagram]
    });
    let failure = shell.connect(&context(), &credential("node-1"), session.as_ref(), Patient).unwrap_err();
    let alert = shell.sent.last().and_then(|(_, datagram)| match &records(datagram)[..] {
        [(header, [2, code])] if header[0] == 21 => Some(*code),
        _ => None,
    });
    // The next attempt offers DTLS 1.2 again (P-40).
    let again =
        Handshake::start(&context(), &credential("node-1"), None, shell.clock.now, None).unwrap().poll_send().unwrap();
    assert_eq!(Hello::parse(&again).version, [0xFE, 0xFD]);
    (failure, alert)
}

#[test]
fn p37_another_fragment_length_in_the_answer_is_an_illegal_parameter() {
    for code in [0, 2, 4, 5, 255] {
        let change: fn(&mut Vec<u8>) = match code {
            0 => |datagram| set_echo(datagram, 0),
            2 => |datagram| set_echo(datagram, 2),
            4 => |datagram| set_echo(datagram, 4),
            5 => |datagram| set_echo(datagram, 5),
            _ => |datagram| set_echo(datagram, 255),
        };
        assert_eq!(with_server_hello(false, change), (Failure::BadEcho, Some(47)), "code {code}");
    }
    let on_resumption = with_server_hello(true, |datagram| set_echo(datagram, 2));
    assert_eq!(on_resumption, (Failure::BadEcho, Some(47)), "it holds across resumption");
}

fn set_echo(datagram: &mut [u8], code: u8) {
    let at = extension(datagram, 25, 1);
    datagram[at + 4] = code;
}

#[test]
fn s22_p22_compression_in_the_answer_is_an_illegal_parameter() {
    let (failure, alert) = with_server_hello(false, |datagram| {
        let at = extensions(datagram, 25) - 1;
        datagram[at] = 1;
    });
    assert!(matches!(failure, Failure::Protocol { alert: Some(47), .. }), "{failure:?}");
    assert_eq!(alert, Some(47));
}

#[test]
fn p40_an_older_version_in_the_answer_is_refused_and_never_offered() {
    let (failure, alert) = with_server_hello(false, |datagram| datagram[25..27].copy_from_slice(&[0xFE, 0xFF]));
    assert_eq!((failure, alert), (Failure::ProtocolVersion { sent: true }, Some(70)));
}

#[test]
fn s16_a_suite_that_was_not_offered_is_an_illegal_parameter() {
    let (failure, alert) = with_server_hello(false, |datagram| {
        let at = extensions(datagram, 25) - 3;
        datagram[at..at + 2].copy_from_slice(&[0x00, 0xA8]);
    });
    assert_eq!((failure, alert), (Failure::NoCommonSuite { alert: None }, Some(47)));
}

#[test]
fn p21_a_resumption_without_extended_master_secret_is_aborted() {
    let (failure, alert) = with_server_hello(true, |datagram| {
        let at = extension(datagram, 25, 23);
        datagram.drain(at..at + 4);
        stretch(datagram, -4);
    });
    assert!(matches!(failure, Failure::Protocol { alert: Some(40), .. }), "{failure:?}");
    assert_eq!(alert, Some(40));
}

#[test]
fn p35_an_extension_that_was_not_asked_for_is_refused() {
    // encrypt_then_mac, session_ticket, ALPN. OpenSSL does not know truncated_hmac (4), and ignores it.
    let changes: [fn(&mut Vec<u8>); 3] = [
        |datagram| add_extension(datagram, 22),
        |datagram| add_extension(datagram, 35),
        |datagram| add_extension(datagram, 16),
    ];
    for change in changes {
        let (failure, alert) = with_server_hello(false, change);
        assert!(matches!(failure, Failure::Protocol { alert: Some(110), .. }), "{failure:?}");
        assert_eq!(alert, Some(110));
    }
}

fn add_extension(datagram: &mut Vec<u8>, code: u8) {
    let at = extensions(datagram, 25) + 2;
    datagram.splice(at..at, [0, code, 0, 0]);
    stretch(datagram, 4);
}

#[test]
fn p04_a_cookie_request_of_version_1_0_does_not_end_the_handshake() {
    let server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    shell.inbound = Box::new(|mut datagram| {
        if datagram[0] == 22 && datagram[13] == 3 {
            datagram[1..3].copy_from_slice(&[0xFE, 0xFF]);
            datagram[25..27].copy_from_slice(&[0xFE, 0xFF]);
        }
        vec![datagram]
    });
    shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
}

#[test]
fn p17_forged_plaintext_alerts_do_not_end_a_handshake() {
    for (level, code) in [(2, 40), (2, 115), (2, 51), (2, 80), (1, 0), (1, 100), (7, 7)] {
        let server = Server::psk("node-1", &KEY, &[]);
        let mut shell = Shell::new(server.address);
        shell.inbound = Box::new(move |datagram| vec![forged_alert(level, code), datagram, forged_alert(level, code)]);
        let session = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
        assert!(session.is_open());
        assert_eq!(shell.times(), [0], "and cost no time");
    }
}

#[test]
fn p16_an_alert_that_nothing_contradicts_is_believed_at_the_next_deadline() {
    for (code, expected) in [
        (115, Failure::UnknownIdentity { alert: 115 }),
        (51, Failure::UnknownIdentity { alert: 51 }),
        (40, Failure::NoCommonSuite { alert: Some(40) }),
        (71, Failure::NoCommonSuite { alert: Some(71) }),
        (70, Failure::ProtocolVersion { sent: false }),
        (80, Failure::PeerAlert { code: 80 }),
    ] {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut shell = Shell::new(server.local_addr().unwrap());
        server.send_to(&forged_alert(2, code), shell.socket.local_addr().unwrap()).unwrap();
        let failure = shell.connect(&context(), &credential("node-1"), None, AfterAlert).unwrap_err();
        assert_eq!(failure, expected);
        assert_eq!((shell.times(), shell.clock.now), (vec![0], Duration::from_secs(9)));
    }
}

fn connected(more: &[&str]) -> (Server, Shell, Session) {
    let server = Server::psk("node-1", &KEY, more);
    let mut shell = Shell::new(server.address);
    let session = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
    (server, shell, session)
}

#[test]
fn p17_plaintext_alerts_do_not_end_a_session() {
    let (mut server, mut shell, mut session) = connected(&[]);
    for code in 0..=120 {
        for level in [1, 2] {
            assert_eq!(session.open(shell.clock.now, &forged_alert(level, code)), []);
        }
    }
    assert_eq!(session.counters().ignored, 242);
    assert_eq!(session.poll_send(), None);
    assert!(session.is_open() && session.export(&[0; 32]).is_some());
    shell.send_data(&mut session, b"still here\n");
    server.wait_for("still here");
}

#[test]
fn p13_forged_records_are_dropped_in_silence_counted_and_lead_to_a_renewal() {
    let (mut server, mut shell, mut session) = connected(&[]);
    server.write("sample\n");
    let genuine = shell.receive(WAIT).unwrap();
    for n in 0..100_000_u32 {
        let mut forged = genuine.clone();
        // Another sequence number, another type, or another byte.
        match n % 4 {
            0 => forged[7..11].copy_from_slice(&(n + 7).to_be_bytes()),
            1 => forged[0] = 21,
            2 => forged[0] = 22,
            _ => *forged.last_mut().unwrap() ^= 1,
        }
        assert_eq!(session.open(shell.clock.now, &forged), []);
        assert_eq!(session.should_renew(), n + 1 >= 65_536);
    }
    assert_eq!(session.poll_send(), None);
    assert_eq!(session.counters().forged, 100_000);
    assert_eq!(session.open(shell.clock.now, &genuine), [Event::Data(b"sample\n".to_vec())], "none of them hurt it");
    assert_eq!(session.open(shell.clock.now, &genuine), []);
    assert_eq!((session.counters().opened, session.counters().replayed), (1, 1));
    shell.send_data(&mut session, b"goes on\n");
    server.wait_for("goes on");
}

#[test]
fn p13_records_too_short_to_be_authentic_end_neither_a_handshake_nor_a_session() {
    let short = |content: u8, length: u8| {
        let mut record = vec![content, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, length, 0, length];
        record.resize(13 + usize::from(length), 0x61);
        record
    };
    let (mut server, mut shell, mut session) = connected(&[]);
    for length in 0..60 {
        for content in [21, 22, 23] {
            assert_eq!(session.open(shell.clock.now, &short(content, length)), []);
        }
    }
    assert_eq!(session.counters().forged, 180);
    shell.send_data(&mut session, b"goes on\n");
    server.wait_for("goes on");

    for content in [20, 21, 22, 23] {
        for length in [0, 1, 8, 15, 16, 17, 24, 43, 44, 60] {
            let server = Server::psk("node-1", &KEY, &[]);
            let mut shell = Shell::new(server.address);
            shell.inbound = Box::new(move |datagram| {
                // Before each record of the server, so also between its ChangeCipherSpec and its Finished.
                let mut all = Vec::new();
                for (header, body) in records(&datagram) {
                    all.push(short(content, length));
                    all.push([&header[..], body].concat());
                }
                all
            });
            shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
        }
    }
}

#[test]
fn records_of_other_epochs_versions_and_types_are_ignored() {
    let (mut server, mut shell, mut session) = connected(&[]);
    server.write("sample\n");
    let genuine = shell.receive(WAIT).unwrap();
    for (at, value) in [(0, 20), (0, 24), (0, 25), (0, 0), (1, 0xFF), (2, 0xFF), (4, 0), (4, 2), (3, 1)] {
        let mut other = genuine.clone();
        other[at] = value;
        assert_eq!(session.open(shell.clock.now, &other), []);
    }
    assert_eq!(session.open(shell.clock.now, &genuine[..genuine.len() - 1]), [], "cut off");
    assert_eq!((session.counters().ignored, session.counters().forged), (9, 0));
    let twice = [genuine.clone(), genuine].concat();
    assert_eq!(session.open(shell.clock.now, &twice), [Event::Data(b"sample\n".to_vec())]);
}

#[test]
fn p39_a_hello_request_is_answered_by_no_renegotiation() {
    let (mut server, mut shell, mut session) = connected(&[]);
    server.write("r\n");
    let request = shell.receive(WAIT).unwrap();
    assert_eq!((request[0], request[4]), (22, 1), "a handshake record under keys");
    assert_eq!(session.open(shell.clock.now, &request), []);
    let answer = session.poll_send().expect("an answer");
    assert_eq!((answer[0], answer[4], answer.len()), (21, 1, 13 + 8 + 2 + 8), "one alert under keys");
    assert_eq!((session.poll_send(), session.counters().answered), (None, 1));
    assert!(session.is_open());
    shell.note(&answer);
    shell.send_data(&mut session, b"traffic goes on\n");
    server.wait_for("traffic goes on");
    assert_eq!(session.open(shell.clock.now, &request), []);
    assert_eq!((session.poll_send(), session.counters().ignored), (None, 0), "a replay");
}

#[test]
fn s38_an_authentic_fatal_alert_ends_the_session_and_forbids_its_resumption() {
    let (mut server, mut shell, mut session) = connected(&[]);
    server.write("r\n");
    let request = shell.receive(WAIT).unwrap();
    session.open(shell.clock.now, &request);
    // `s_server` answers our refusal by a fatal alert.
    shell.send(&session.poll_send().unwrap());
    assert_eq!(shell.event(&mut session), Event::Closed(Closed::ByAlert { code: 40 }));
    assert!(!session.is_open() && session.export(&[0; 32]).is_none());
    assert_eq!(session.seal(b"late"), Err(SealError::Closed));
    assert_eq!(session.close(), None);
}

#[test]
fn p32_a_lost_flight_of_the_client_is_repeated_with_new_record_numbers() {
    let server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut lost = false;
    shell.outbound = Box::new(move |datagram| {
        let keys = messages(datagram).iter().any(|message| message.0 == 16);
        !keys || std::mem::replace(&mut lost, true)
    });
    shell.connect(&context(), &credential("node-1"), None, AfterKeys(1)).unwrap();
    let flights: Vec<_> =
        shell.sent.iter().filter(|(_, datagram)| messages(datagram).iter().any(|message| message.0 == 16)).collect();
    let [(first_at, first), (second_at, second)] = &flights[..] else { panic!("{flights:?}") };
    assert_eq!(*second_at - *first_at, Duration::from_secs(9));
    assert_eq!(messages(first), messages(second), "the same messages");
    let numbers =
        |datagram: &[u8]| records(datagram).iter().map(|(header, _)| header[3..11].to_vec()).collect::<Vec<_>>();
    assert!(numbers(first).iter().all(|number| !numbers(second).contains(number)));
}

#[test]
fn a_lost_last_flight_of_the_server_comes_again() {
    let server = Server::psk("node-1", &KEY, &[]);
    let mut shell = Shell::new(server.address);
    let mut lost = false;
    shell.inbound = Box::new(move |datagram| {
        let last = records(&datagram).iter().any(|(header, _)| header[4] == 1);
        if last && !std::mem::replace(&mut lost, true) { vec![] } else { vec![datagram] }
    });
    let session = shell.connect(&context(), &credential("node-1"), None, AfterKeys(1)).unwrap();
    assert!(session.is_open());
    assert!(shell.clock.now >= Duration::from_secs(9));
}

#[test]
fn p33_doubled_and_reordered_datagrams_in_small_fragments_are_put_together() {
    for reverse in [false, true] {
        let server = Server::psk("node-1", &KEY, &["-mtu", "256", "-timeout"]);
        let mut shell = Shell::new(server.address);
        shell.inbound = Box::new(move |datagram| {
            // Each record for itself, twice, and backwards.
            let mut all: Vec<Vec<u8>> =
                records(&datagram).iter().map(|(header, body)| [&header[..], body].concat()).collect();
            all.extend(all.clone());
            if reverse {
                all.reverse();
            }
            all
        });
        let session = shell.connect(&context(), &credential("node-1"), None, Patient).unwrap();
        assert!(session.is_open());
    }
}

#[test]
fn forged_cookie_requests_end_somewhere() {
    let mut handshake = Handshake::start(&context(), &credential("n"), None, Duration::ZERO, None).unwrap();
    let mut hellos = 0;
    for n in 0..=u8::MAX {
        while handshake.poll_send().is_some() {
            hellos += 1;
        }
        let mut request = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, n, 0, 16];
        request.extend([3, 0, 0, 4, 0, n, 0, 0, 0, 0, 0, 4, 0xFE, 0xFD, 1, n]);
        handshake.on_datagram(Duration::ZERO, &request);
        if let Some(outcome) = handshake.take_outcome() {
            assert!(matches!(outcome, Err(Failure::Protocol { .. })));
            assert!(hellos <= 8, "{hellos} hellos");
            return;
        }
    }
    panic!("it went on");
}

#[test]
fn p39_many_hello_requests_are_answered_once_a_second() {
    let (mut server, mut shell, mut session) = connected(&[]);
    let mut answered = Vec::new();
    for n in 0..30 {
        server.write("r\n");
        let request = shell.receive(WAIT).unwrap();
        assert_eq!(session.open(shell.clock.now, &request), []);
        if let Some(answer) = session.poll_send() {
            shell.note(&answer);
            answered.push(n);
        }
        shell.clock.advance(Duration::from_millis(500));
    }
    assert_eq!(answered, (0..30).step_by(2).collect::<Vec<_>>());
    assert_eq!((session.counters().answered, session.counters().ignored), (15, 15));
    server.write("text\n");
    assert_eq!(shell.event(&mut session), Event::Data(b"text\n".to_vec()));
}
