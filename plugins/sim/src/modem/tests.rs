use super::*;
use crate::air::TxOnAir;

struct Bench {
    modem: Modem,
    now: Duration,
    sent: Vec<(Duration, TxOnAir)>,
    missed: Vec<String>,
    text: String,
}

impl Bench {
    fn new() -> Self {
        let modem = Modem::new(ModemConfig::default());
        Bench { modem, now: Duration::from_secs(1), sent: Vec::new(), missed: Vec::new(), text: String::new() }
    }

    fn paused() -> Self {
        let mut bench = Bench::new();
        assert_eq!(bench.ask("mac pause"), "4294967245\r\n");
        for setting in ["sf sf7", "wdt 0"] {
            assert_eq!(bench.ask(&format!("radio set {setting}")), "ok\r\n");
        }
        bench
    }

    /// Runs for `time`, at every deadline and never in between.
    fn run(&mut self, time: Duration) -> String {
        let end = self.now + time;
        while let Some(due) = self.modem.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.modem.tick(self.now);
            self.drain();
        }
        self.now = end;
        std::mem::take(&mut self.text)
    }

    fn drain(&mut self) {
        while let Some(output) = self.modem.poll() {
            match output {
                ModemOutput::ToHost(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                ModemOutput::Transmit(frame) => self.sent.push((self.now, frame)),
                ModemOutput::Missed(reason) => self.missed.push(reason),
                ModemOutput::Line { .. } => {}
            }
        }
    }

    fn type_in(&mut self, bytes: &str) {
        self.modem.handle_host_bytes(self.now, bytes.as_bytes());
    }

    fn ask(&mut self, command: &str) -> String {
        self.type_in(&format!("{command}\r\n"));
        self.run(Duration::from_millis(150))
    }

    fn heard(&mut self, frame: TxOnAir) {
        let start = self.now;
        let end = start + frame.airtime();
        self.run(frame.airtime());
        let heard = Heard { frame, rssi_dbm: -97, snr_db: -3, start, end };
        self.modem.handle_air(end, &heard);
        self.drain();
    }
}

fn frame() -> TxOnAir {
    TxOnAir::uplink(Modulation { freq_hz: 868_100_000, sf: 7, bw_hz: 125_000 }, 14, vec![0x40, 0xAB, 0x0C])
}

#[test]
fn answers_are_byte_exact() {
    let mut bench = Bench::new();
    for (command, answer) in [
        ("sys get ver", "RN2483 1.0.5 Oct 31 2018 15:06:52"),
        ("radio get freq", "868100000"),
        ("radio get sf", "sf12"),
        ("radio get wdt", "15000"),
        ("radio get snr", "-128"),
        ("radio rx 0", "busy"),
        ("radio tx 00", "busy"),
        ("mac pause", "4294967245"),
        ("radio set freq 868300000", "ok"),
        ("radio get freq", "868300000"),
        ("radio set freq 868300000.0", "invalid_param"),
        ("radio set freq 915000000", "invalid_param"),
        ("radio set freq +868300000", "invalid_param"),
        ("radio set sf sf6", "invalid_param"),
        ("radio set sf 7", "invalid_param"),
        ("radio set sync 34", "ok"),
        ("radio get sync", "34"),
        ("radio set pwr 16", "invalid_param"),
        ("radio set pwr -3", "ok"),
        ("radio set bw 126", "invalid_param"),
        ("radio set iqi on", "ok"),
        ("radio get iqi", "on"),
        ("radio set crc maybe", "invalid_param"),
        ("radio tx", "invalid_param"),
        ("radio tx 0", "invalid_param"),
        ("radio tx zz", "invalid_param"),
        ("RADIO GET SF", "invalid_param"),
        ("", "invalid_param"),
        ("radio rxstop", "ok"),
        ("radio rx 0", "ok"),
        ("radio rx 0", "busy"),
        ("radio tx 00", "busy"),
        ("radio rxstop", "ok"),
        ("sys reset", "RN2483 1.0.5 Oct 31 2018 15:06:52"),
        ("radio get freq", "868100000"),
    ] {
        assert_eq!(bench.ask(command), format!("{answer}\r\n"), "{command}");
    }
    let long = format!("radio tx {}", "00".repeat(256));
    assert_eq!(bench.ask(&long), "invalid_param\r\n");
}

#[test]
fn bytes_take_their_time_on_the_line() {
    let mut bench = Bench::new();
    bench.type_in("radio get wdt\r\n");
    // 15 bytes in, 1 ms to think, 7 bytes out, 10 bits each at 57600 baud.
    let expected = Duration::from_micros((15 + 7) * 10 * 1_000_000 / 57_600) + Duration::from_millis(1);
    assert_eq!(bench.run(expected - Duration::from_micros(50)), "15000\r");
    assert_eq!(bench.run(Duration::from_micros(100)), "\n");
}

#[test]
fn a_frame_is_reported_with_two_spaces_and_ends_the_reception() {
    let mut bench = Bench::paused();
    assert_eq!(bench.ask("radio rx 0"), "ok\r\n");
    bench.heard(frame());
    assert_eq!(bench.run(Duration::from_millis(50)), "radio_rx  40AB0C\r\n");
    assert_eq!(bench.ask("radio get snr"), "-3\r\n");
    assert_eq!(bench.ask("radio get rssi"), "-97\r\n");
    bench.heard(frame());
    assert_eq!(bench.run(Duration::from_millis(50)), "", "not armed again");
    assert_eq!(bench.missed, ["the modem is not receiving"]);
}

#[test]
fn it_hears_its_own_channel_only() {
    let good = frame();
    for wrong in [
        TxOnAir { on: Modulation { freq_hz: 868_300_000, ..good.on }, ..good.clone() },
        TxOnAir { on: Modulation { sf: 8, ..good.on }, ..good.clone() },
    ] {
        let mut bench = Bench::paused();
        bench.ask("radio rx 0");
        bench.heard(wrong);
        assert_eq!(bench.run(Duration::from_millis(50)), "");
        assert_eq!(bench.missed, ["the modem listens on 868100000 Hz SF7BW125"]);
        bench.heard(good.clone());
        assert_eq!(bench.run(Duration::from_millis(50)), "radio_rx  40AB0C\r\n", "still armed");
    }
}

#[test]
fn a_frame_that_began_before_the_reception_is_not_heard() {
    let mut bench = Bench::paused();
    bench.type_in("radio rx 0\r\n");
    let start = bench.now;
    bench.run(Duration::from_millis(40));
    let heard = Heard { frame: frame(), rssi_dbm: -97, snr_db: -3, start, end: bench.now };
    // The command needs 2 ms on the line, three symbols of SF7 are 3 ms: this one is still caught.
    bench.modem.handle_air(bench.now, &heard);
    assert_eq!(bench.run(Duration::from_millis(50)), "radio_rx  40AB0C\r\n");
    bench.ask("radio rx 0");
    let early = Heard { start: bench.now - Duration::from_secs(1), end: bench.now, ..heard };
    bench.modem.handle_air(bench.now, &early);
    assert_eq!(bench.run(Duration::from_millis(50)), "");
}

#[test]
fn transmission_starts_after_its_line_end_with_the_settings_of_that_moment() {
    let mut bench = Bench::paused();
    bench.ask("radio set iqi on");
    bench.ask("radio set crc off");
    bench.ask("radio set pwr 14");
    bench.type_in("radio tx 60AA");
    assert_eq!(bench.run(Duration::from_millis(500)), "");
    assert_eq!(bench.sent, []);
    let due = bench.now;
    bench.type_in("\r\n");
    assert_eq!(bench.run(Duration::from_millis(20)), "ok\r\n");
    let (at, sent) = bench.sent.remove(0);
    assert_eq!(sent, TxOnAir::downlink(frame().on, 14, vec![0x60, 0xAA]));
    assert_eq!(at - due, Duration::from_nanos(2 * (10_000_000_000 / 57_600)) + ModemConfig::default().tx_latency);
    assert_eq!(bench.ask("radio tx 00"), "busyradio_tx_ok\r\n".replace("busy", "busy\r\n"));
}

#[test]
fn the_watchdog_ends_reception_and_transmission_with_radio_err() {
    let mut bench = Bench::paused();
    bench.ask("radio set wdt 1000");
    assert_eq!(bench.ask("radio rx 0"), "ok\r\n");
    assert_eq!(bench.run(Duration::from_millis(900)), "radio_err\r\n");
    bench.ask("radio set sf sf12");
    bench.type_in(&format!("radio tx {}\r\n", "00".repeat(40)));
    assert_eq!(bench.run(Duration::from_millis(1_200)), "ok\r\nradio_err\r\n");
    bench.ask("radio set sf sf7");
    assert_eq!(bench.ask("radio rx 5"), "ok\r\nradio_err\r\n", "a window of five symbols");
}

#[test]
fn race_brings_the_frame_before_the_ok_of_rxstop() {
    let mut bench = Bench::paused();
    bench.ask("radio rx 0");
    bench.modem.race_at_next_rxstop(vec![0x40, 1]);
    assert_eq!(bench.ask("radio rxstop"), "radio_rx  4001\r\nok\r\n");
    assert_eq!(bench.ask("radio rxstop"), "ok\r\n");
}

#[test]
fn at_another_speed_both_sides_read_garbage() {
    let mut bench = Bench::new();
    bench.modem.set_host_baud(bench.now, 9_600);
    let answer = bench.ask("sys get ver");
    assert!(!answer.contains("RN2483") && !answer.contains("invalid_param"), "{answer:?}");
    bench.modem.reboot(bench.now);
    let banner = bench.run(Duration::from_millis(200));
    assert!(!banner.is_empty() && !banner.contains("RN2483"), "{banner:?}");
}

#[test]
fn mute_reboot_and_noise() {
    let mut bench = Bench::paused();
    bench.modem.set_muted(true);
    assert_eq!(bench.ask("sys get ver"), "");
    bench.modem.set_muted(false);
    assert_eq!(bench.ask("sys get vdd"), "3312\r\n");
    bench.modem.reboot(bench.now);
    assert_eq!(bench.run(Duration::from_millis(200)), format!("{VERSION_LINE}\r\n"));
    assert_eq!(bench.ask("radio rx 0"), "busy\r\n", "the pause is forgotten");
    bench.modem.emit_noise(bench.now, 5_000);
    assert!(bench.run(Duration::from_secs(1)).len() >= 1_000);
}

#[test]
fn any_bytes_are_survived() {
    let mut bench = Bench::new();
    let mut rng = Rng::new(1, 1);
    for _ in 0..200 {
        let bytes: Vec<u8> =
            (0..rng.below(300)).map(|_| if rng.below(10) == 0 { b'\n' } else { rng.next() as u8 }).collect();
        bench.modem.handle_host_bytes(bench.now, &bytes);
        bench.run(Duration::from_millis(20));
    }
    bench.run(Duration::from_secs(10));
    bench.type_in("\r\n");
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.ask("sys get vdd"), "3312\r\n");
}
