//! Checks that take minutes of real time, most of it idle: `cargo xtask slow` runs them, side by side.

use crate::capture::Capture;
use crate::dtls::session_of;
use crate::harness::Leshan;
use crate::record::{CLIENT_HELLO, CLIENT_KEY_EXCHANGE, Record, handshakes, nothing_sealed_twice};
use crate::relay::Relay;
use crate::site::{Process, Site, endpoint, uplink};
use std::net::UdpSocket;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

const KEY: &str = "6e8d1f0b47c2a93550de7b1c98f4e2a7";
const OTHER_KEY: &str = "b1407ce95a8f23d6c80e97412bd5f36a";
/// How late, or early, a datagram may be.
const TOLERANCE: Duration = Duration::from_millis(300);

/// A site whose node speaks to a port by DTLS with the timers of the default; with its modem and gateway.
fn speaking_to(port: u16, seed: u64) -> (Site, Process, Process) {
    let site = Site::new(1, "");
    site.configure_secure(1, port, "");
    site.add_keys(0, &format!("psk_identity = \"slow\"\npsk = \"{KEY}\"\n"));
    let mut modem = site.modem(seed);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    (site, modem, gateway)
}

/// The records are at 0, 9, 27 and 63 s, counted from the first.
fn on_schedule(records: &[&Record]) {
    let times: Vec<Duration> = records.iter().map(|record| record.time - records[0].time).collect();
    let near = |(time, due): (&Duration, u64)| time.abs_diff(Duration::from_secs(due)) <= TOLERANCE;
    assert!(times.len() == 4 && times.iter().zip([0, 9, 27, 63]).all(near), "{times:?}");
}

/// Waits for an event although there is nothing to be said for two minutes.
fn wait_long(gateway: &mut Process, event: &str) {
    let comes = (0..45).any(|_| gateway.comes_since(0, |line| line["event"] == event));
    assert!(comes, "no {event}: {:?}", gateway.seen());
}

#[test]
#[ignore = "135 s: cargo xtask slow"]
fn s_24_p_30_a_black_hole_gets_hellos_at_0_9_27_and_63_s_and_is_named_after_135_s() {
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port();
    let capture = Capture::start(port);
    let (site, _modem, mut gateway) = speaking_to(port, 66);
    wait_long(&mut gateway, "dtls-no-answer");
    assert_eq!(session_of(&site)["session_fault"]["reason"], "no-answer");
    let records = capture.stop().records();
    assert!(records.iter().all(|record| record.to_server));
    on_schedule(&handshakes(&records, CLIENT_HELLO));
    let hellos: Vec<_> = records.iter().filter_map(|record| record.hello()).collect();
    assert!(hellos.iter().all(|hello| *hello == hellos[0]), "the same hello each time");
    nothing_sealed_twice(&records);
}

#[test]
#[ignore = "135 s: cargo xtask slow"]
fn s_24_p_16_p_32_with_a_wrong_key_the_flight_is_repeated_on_the_same_schedule_and_then_the_key_is_doubted() {
    let mut leshan = Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0"]);
    leshan.permit_psk(&endpoint(0), "slow", OTHER_KEY);
    let port = leshan.coaps_port.unwrap();
    let capture = Capture::start(port);
    let (_site, _modem, mut gateway) = speaking_to(port, 67);
    wait_long(&mut gateway, "dtls-wrong-key");
    let records = capture.stop().records();
    let flights = handshakes(&records, CLIENT_KEY_EXCHANGE);
    on_schedule(&flights);
    assert!(flights.iter().all(|record| record.handshake == flights[0].handshake), "the same message");
    assert!(flights.is_sorted_by(|a, b| a.sequence < b.sequence), "in new records");
    nothing_sealed_twice(&records);
}

#[test]
#[ignore = "30 s: cargo xtask slow"]
fn s_25_a_server_that_takes_6_s_for_each_flight_is_waited_for_and_nothing_is_repeated() {
    let mut leshan = Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0"]);
    leshan.permit_psk(&endpoint(0), "slow", KEY);
    let relay = Relay::to(leshan.coaps_port.unwrap());
    let (_never, waits) = sync_channel::<()>(0);
    relay.change(move |datagram| {
        // HelloVerifyRequest, ServerHello, ChangeCipherSpec: what each flight of the server begins with.
        let begins = (datagram[0] == 22 && [3, 2].contains(&datagram[13])) || datagram[0] == 20;
        if begins {
            assert_eq!(waits.recv_timeout(Duration::from_secs(6)), Err(RecvTimeoutError::Timeout));
        }
        vec![datagram]
    });
    let capture = Capture::start(relay.port);
    let (_site, _modem, mut gateway) = speaking_to(relay.port, 68);
    assert!((0..15).any(|_| gateway.comes_since(0, |line| line["event"] == "session-opened")));
    let records = capture.stop().records();
    nothing_sealed_twice(&records);
    let sent = [CLIENT_HELLO, CLIENT_KEY_EXCHANGE].map(|kind| handshakes(&records, kind).len());
    assert_eq!(sent, [2, 1], "a hello, one with the cookie, one flight of keys");
    let lasted = records.last().unwrap().time - handshakes(&records, CLIENT_HELLO)[0].time;
    assert!(lasted >= Duration::from_secs(18), "{lasted:?}");
}
