//! What no server program can be made to do: against a server in the process.

use std::time::Duration;

use lpwad_dtls::testing::{Server, ServerContext, connect};
use lpwad_dtls::{ClientContext, FragmentLength};
use lpwad_dtls::{
    Closed, Credential, Event, ExportedSession, ExtraSuites, Failure, Handshake, ImportError, Psk, SealError, Session,
    Settings, Trust,
};

use crate::clock::Clock;
use crate::hello::{Hello, messages, records};
use crate::peer::KEY;
use crate::psk::{context, credential};

fn server_context() -> ServerContext {
    ServerContext::psk(Psk::new(b"node-1", &KEY).unwrap()).unwrap()
}

fn begin(context: &ClientContext, resume: Option<&ExportedSession>) -> Handshake {
    Handshake::start(context, &credential("node-1"), resume, Duration::ZERO, None).unwrap()
}

fn pair(context: &ClientContext) -> (Session, Server) {
    let mut server = Server::new(&server_context()).unwrap();
    let session = connect(&mut begin(context, None), &mut server, Duration::ZERO).unwrap().unwrap();
    (session, server)
}

#[test]
fn p16_a_server_that_does_not_know_the_identity_says_so() {
    let mut server = Server::new(&server_context()).unwrap();
    let mut handshake = Handshake::start(&context(), &credential("node-2"), None, Duration::ZERO, None).unwrap();
    assert!(connect(&mut handshake, &mut server, Duration::ZERO).is_none(), "the alert is a hint at first");
    let deadline = handshake.deadline().unwrap();
    handshake.on_timer(deadline);
    assert_eq!(handshake.poll_send(), None, "no repetition");
    let failure = handshake.take_outcome().unwrap().unwrap_err();
    assert_eq!(failure, Failure::UnknownIdentity { alert: 115 });
}

#[test]
fn s39_p05_keys_and_identities_of_all_lengths_reach_the_server_byte_by_byte() {
    for (identity, key) in [
        (vec![0x01], KEY.to_vec()),
        (vec![0xFF; 128], (0..64).collect()),
        (b"not \xC3 utf-8".to_vec(), (100..132).collect()),
    ] {
        let psk = Psk::new(&identity, &key).unwrap();
        let mut server = Server::new(&ServerContext::psk(psk.clone()).unwrap()).unwrap();
        let mut handshake = Handshake::start(&context(), &Credential::Psk(psk), None, Duration::ZERO, None).unwrap();
        connect(&mut handshake, &mut server, Duration::ZERO).unwrap().unwrap();
    }
}

#[test]
fn s26_p12_p14_p20_p35_the_hello_of_the_default_holds_what_the_profile_names_and_nothing_else() {
    let datagram = begin(&context(), None).poll_send().unwrap();
    let hello = Hello::parse(&datagram);
    assert_eq!(hello.version, [0xFE, 0xFD]);
    assert_eq!(hello.suites, [0xC0A8]);
    assert_eq!(hello.compression, [0]);
    assert!(hello.session_id.is_empty() && hello.cookie.is_empty());
    let mut extensions = hello.extensions.clone();
    extensions.sort();
    assert_eq!(
        extensions,
        [(1, vec![1]), (13, vec![0, 2, 4, 3]), (23, vec![]), (65281, vec![0])],
        "13 is unconditional in OpenSSL, here at its shortest"
    );
    assert_eq!(datagram.len(), 91);
}

#[test]
fn s17_p36_p41_settings_show_in_the_hello() {
    for length in FragmentLength::ALL {
        let mut settings = Settings::new(Trust::Psk);
        settings.max_fragment_length = length;
        settings.extra_suites = ExtraSuites { ccm: true, gcm: true };
        settings.server_name = Some("lwm2m.example.org".to_owned());
        let context = ClientContext::new(settings).unwrap();
        let hello = Hello::parse(&begin(&context, None).poll_send().unwrap());
        assert_eq!(hello.suites, [0xC0A8, 0xC0A4, 0x00A8]);
        assert_eq!(hello.extension_codes(), [0, 1, 13, 23, 65281]);
        let (session, _) = pair(&context);
        assert_eq!(session.negotiated_fragment_length(), Some(length));
        assert_eq!(session.max_payload(), length.bytes().min(1_200 - 29));
    }
}

#[test]
fn p34_randoms_of_ten_thousand_hellos_differ() {
    let context = context();
    let randoms: std::collections::BTreeSet<_> =
        (0..10_000).map(|_| Hello::parse(&begin(&context, None).poll_send().unwrap()).random).collect();
    assert_eq!(randoms.len(), 10_000);
}

#[test]
fn p07_the_explicit_nonce_is_epoch_and_sequence_number() {
    let (mut session, mut server) = pair(&context());
    for _ in 0..3 {
        let datagram = session.seal(b"payload").unwrap();
        let [(header, body)] = &records(&datagram)[..] else { panic!("{datagram:?}") };
        assert_eq!(header[3..11], body[..8]);
        assert_eq!(header[3..5], [0, 1]);
        assert_eq!(datagram.len(), 7 + 29, "RFC 7925 Appendix B");
        assert_eq!(server.open(&datagram), [b"payload"]);
    }
}

#[test]
fn s27_no_application_data_before_the_servers_finished() {
    let mut server = Server::new(&server_context()).unwrap();
    let mut handshake = begin(&context(), None);
    let mut kinds = Vec::new();
    let mut finished = false;
    while !finished {
        while let Some(datagram) = handshake.poll_send() {
            kinds.extend(records(&datagram).iter().map(|(header, _)| header[0]));
            server.open(&datagram);
        }
        while let Some(datagram) = server.poll_send() {
            handshake.on_datagram(Duration::ZERO, &datagram);
        }
        finished = handshake.take_outcome().is_some();
    }
    assert!(!kinds.contains(&23), "{kinds:?}");
}

#[test]
fn close_notify_of_the_server_ends_the_session_but_not_its_resumption() {
    let (mut session, mut server) = pair(&context());
    let datagram = server.close().unwrap();
    assert_eq!(session.open(Duration::ZERO, &datagram), [Event::Closed(Closed::ByAlert { code: 0 })]);
    assert!(!session.is_open() && session.export(&[0; 32]).is_some());
    assert_eq!(session.seal(b"late"), Err(SealError::Closed));
    assert_eq!(session.open(Duration::ZERO, &datagram), [], "nothing comes after the end");
}

#[test]
fn a_lost_last_flight_of_a_resumption_is_repeated_when_the_server_asks() {
    let shared = server_context();
    let mut server = Server::new(&shared).unwrap();
    let mut session = connect(&mut begin(&context(), None), &mut server, Duration::ZERO).unwrap().unwrap();
    let bytes = session.export(&[0; 32]).unwrap();
    server.open(&session.close().unwrap());

    let mut server = Server::new(&shared).unwrap();
    let resume = ExportedSession::import(&bytes, &[0; 32]).unwrap();
    let mut clock = Clock::default();
    let mut handshake = begin(&context(), Some(&resume));
    server.open(&handshake.poll_send().unwrap());
    while let Some(datagram) = server.poll_send() {
        handshake.on_datagram(clock.now, &datagram);
    }
    let mut session = handshake.take_outcome().unwrap().unwrap();
    assert!(session.resumed());
    let lost = handshake.poll_send().unwrap();

    // More than the server's longest timer.
    clock.advance(Duration::from_secs(5_000));
    let mut answers = 0;
    for _ in 0..3 {
        server.on_timer();
        while let Some(datagram) = server.poll_send() {
            assert_eq!(session.open(clock.now, &datagram), []);
        }
        while let Some(datagram) = session.poll_send() {
            let numbers = |datagram: &[u8]| {
                records(datagram).iter().map(|(header, _)| header[3..11].to_vec()).collect::<Vec<_>>()
            };
            assert!(numbers(&datagram).iter().all(|number| !numbers(&lost).contains(number)), "P-32");
            answers += 1;
            server.open(&datagram);
        }
        clock.advance(Duration::from_secs(5_000));
    }
    assert_eq!(answers, 1, "asked once, answered once");
    assert_eq!((session.counters().answered, session.counters().forged), (1, 0));
    assert_eq!(server.open(&session.seal(b"arrived").unwrap()), [b"arrived"]);
}

#[test]
fn a_server_that_repeats_its_finished_for_ever_is_answered_ten_times() {
    let shared = server_context();
    let mut server = Server::new(&shared).unwrap();
    let mut session = connect(&mut begin(&context(), None), &mut server, Duration::ZERO).unwrap().unwrap();
    let bytes = session.export(&[0; 32]).unwrap();
    server.open(&session.close().unwrap());
    let mut server = Server::new(&shared).unwrap();
    let mut clock = Clock::default();
    let mut handshake = begin(&context(), Some(&ExportedSession::import(&bytes, &[0; 32]).unwrap()));
    server.open(&handshake.poll_send().unwrap());
    while let Some(datagram) = server.poll_send() {
        handshake.on_datagram(clock.now, &datagram);
    }
    let mut session = handshake.take_outcome().unwrap().unwrap();
    let (mut asked, mut answers) = (0, 0);
    for _ in 0..12 {
        clock.advance(Duration::from_secs(5_000));
        server.on_timer();
        while let Some(datagram) = server.poll_send() {
            asked += usize::from(records(&datagram).iter().any(|(header, _)| header[4] == 1));
            assert_eq!(session.open(clock.now, &datagram), []);
        }
        while session.poll_send().is_some() {
            answers += 1;
        }
    }
    assert_eq!((asked, answers), (12, 10));
    assert_eq!((session.counters().answered, session.counters().forged), (10, 0));
    assert!(session.is_open());
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_not_lost() {
    let mut server = Server::new(&server_context()).unwrap();
    let mut handshake = begin(&context(), None);
    loop {
        while let Some(datagram) = handshake.poll_send() {
            server.open(&datagram);
        }
        let mut flight = Vec::new();
        while let Some(datagram) = server.poll_send() {
            flight.extend(datagram);
        }
        if let Some(datagram) = server.seal(b"early") {
            flight.extend(datagram);
        }
        handshake.on_datagram(Duration::ZERO, &flight);
        if let Some(outcome) = handshake.take_outcome() {
            let mut session = outcome.unwrap();
            assert_eq!(session.take_early(Duration::ZERO), [Event::Data(b"early".to_vec())]);
            assert_eq!(session.take_early(Duration::ZERO), []);
            return;
        }
    }
}

#[test]
fn data_that_overtakes_the_servers_finished_hurts_nothing() {
    let mut server = Server::new(&server_context()).unwrap();
    let mut handshake = begin(&context(), None);
    let mut last = None;
    for _ in 0..10 {
        while let Some(datagram) = handshake.poll_send() {
            server.open(&datagram);
        }
        while let Some(datagram) = server.poll_send() {
            if records(&datagram).iter().any(|(header, _)| header[4] == 1) {
                last = Some(datagram);
            } else {
                handshake.on_datagram(Duration::ZERO, &datagram);
            }
        }
    }
    let early = server.seal(b"early").unwrap();
    for _ in 0..100 {
        handshake.on_datagram(Duration::ZERO, &early);
    }
    handshake.on_datagram(Duration::ZERO, &last.unwrap());
    let mut session = handshake.take_outcome().unwrap().unwrap();
    assert_eq!(session.take_early(Duration::ZERO), [], "the server's CoAP repeats it");
    assert_eq!(session.open(Duration::ZERO, &early), [Event::Data(b"early".to_vec())]);
    assert_eq!(server.open(&session.seal(b"late").unwrap()), [b"late"]);
}

#[test]
fn s21_an_export_is_bound_to_its_context_and_damage_is_seen() {
    let (session, _server) = pair(&context());
    let bytes = session.export(&[7; 32]).unwrap();
    ExportedSession::import(&bytes, &[7; 32]).unwrap();
    assert_eq!(ExportedSession::import(&bytes, &[8; 32]).unwrap_err(), ImportError::OtherContext);
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        let error = ExportedSession::import(&damaged, &[7; 32]).unwrap_err();
        assert!(matches!(error, ImportError::Damaged | ImportError::Version), "byte {at}: {error}");
        assert_eq!(ExportedSession::import(&bytes[..at], &[7; 32]).unwrap_err(), ImportError::Damaged);
    }
}

#[test]
fn a_session_that_the_server_lost_or_of_another_fragment_length_costs_a_full_handshake() {
    let shared = server_context();
    let mut server = Server::new(&shared).unwrap();
    let session = connect(&mut begin(&context(), None), &mut server, Duration::ZERO).unwrap().unwrap();
    let bytes = session.export(&[0; 32]).unwrap();
    let resume = ExportedSession::import(&bytes, &[0; 32]).unwrap();
    // A server that lost its memory.
    let mut other = Server::new(&server_context()).unwrap();
    let session = connect(&mut begin(&context(), Some(&resume)), &mut other, Duration::ZERO).unwrap().unwrap();
    assert!(!session.resumed() && session.is_open());
    // The settings were changed.
    let mut settings = Settings::new(Trust::Psk);
    settings.max_fragment_length = FragmentLength::B1024;
    let changed = ClientContext::new(settings).unwrap();
    let mut server = Server::new(&shared).unwrap();
    let session = connect(&mut begin(&changed, Some(&resume)), &mut server, Duration::ZERO).unwrap().unwrap();
    assert!(!session.resumed());
    assert_eq!(session.negotiated_fragment_length(), Some(FragmentLength::B1024));
}

#[test]
fn payloads_that_do_not_fit_are_refused_and_the_session_lives() {
    let (mut session, mut server) = pair(&context());
    assert_eq!(session.seal(&[0; 513]), Err(SealError::TooLong { bytes: 513, max: 512 }));
    assert_eq!(session.seal(&[]), Err(SealError::Empty));
    assert_eq!(server.open(&session.seal(&[1; 512]).unwrap()), [vec![1; 512]]);
    assert_eq!(session.counters().sealed, 1);
}

#[test]
fn a_credential_of_another_mode_is_refused() {
    let key = crate::ca::key_pem(&crate::ca::p256());
    let credential = Credential::Rpk(lpwad_dtls::RpkKey::new(&key).unwrap());
    let failure = Handshake::start(&context(), &credential, None, Duration::ZERO, None).unwrap_err();
    assert!(matches!(failure, Failure::Local(_)));
}

#[test]
fn traffic_is_counted() {
    let mut server = Server::new(&server_context()).unwrap();
    let mut handshake = begin(&context(), None);
    let mut session = connect(&mut handshake, &mut server, Duration::ZERO).unwrap().unwrap();
    let traffic = handshake.traffic();
    assert_eq!((traffic.datagrams_out, traffic.datagrams_in), (2, 2));
    assert!((150..400).contains(&traffic.bytes_out) && (150..400).contains(&traffic.bytes_in), "{traffic:?}");
    let answer = server.seal(b"four").unwrap();
    session.open(Duration::ZERO, &answer);
    session.seal(b"seven..").unwrap();
    let traffic = session.traffic();
    assert_eq!((traffic.bytes_out, traffic.bytes_in), (36, 33));
    assert!(messages(&answer).is_empty());
}
