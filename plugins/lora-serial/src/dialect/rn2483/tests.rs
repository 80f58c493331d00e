#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::*;

const SET_UP: &str = include_str!("../../../tests/transcripts/set_up_and_receive.txt");
const VERSION: &str = "RN2483 1.0.5 Oct 31 2018 15:06:52";

type Bench = crate::dialect::bench::Bench<Rn2483>;

impl Bench {
    fn new() -> Self {
        Bench::start(Rn2483::new, 57_600)
    }

    /// A module that has been set up.
    fn ready() -> Self {
        let mut bench = Bench::new();
        let set_up: String = SET_UP.lines().take_while(|line| *line != ".").map(|line| format!("{line}\n")).collect();
        bench.play(&set_up);
        bench
    }

    /// Answers every command with `ok` (or what it needs), until it sees `command`.
    fn up_to(&mut self, command: &str) {
        for _ in 0..200 {
            self.until(|bench| !bench.written.is_empty());
            let (_, written) = self.written.pop_front().expect("something is written");
            match written.trim_end() {
                text if text == command => return,
                "z" => self.answer("invalid_param\r\n"),
                "sys reset" => self.answer(&format!("{VERSION}\r\n")),
                "mac pause" => self.answer("4294967245\r\n"),
                _ => self.answer("ok\r\n"),
            }
        }
        panic!("{command:?} was not written among 200 commands");
    }
}

#[test]
fn set_up_and_receive() {
    Bench::new().play(SET_UP);
}

#[test]
fn transmit() {
    Bench::ready().play(include_str!("../../../tests/transcripts/transmit.txt"));
}

#[test]
fn transmit_errors() {
    Bench::ready().play(include_str!("../../../tests/transcripts/transmit_errors.txt"));
}

#[test]
fn reboot() {
    let mut bench = Bench::ready();
    bench.play(include_str!("../../../tests/transcripts/reboot.txt"));
    assert_eq!(bench.modem.counters()["reboots"], 2);
}

#[test]
fn a_frame_is_stamped_with_its_end_on_air() {
    let mut bench = Bench::ready();
    let line = "radio_rx  40FF\r\n";
    bench.modem.handle_bytes(bench.now, line.as_bytes());
    let arrived = bench.now;
    bench.drain();
    bench.written.clear();
    bench.answer("7\r\n");
    bench.modem.handle_bytes(bench.now, b"-97\r\n");
    let frame = std::iter::from_fn(|| bench.modem.poll()).find_map(|output| match output {
        Output::Rx(frame) => Some(frame),
        _ => None,
    });
    let line_time = byte_time(57_600) * line.len() as u32;
    assert_eq!(frame.unwrap().at, arrived - line_time - Duration::from_millis(2));
}

#[test]
fn the_line_end_is_written_at_its_time() {
    let mut bench = Bench::ready();
    let at = bench.now + Duration::from_millis(1_000);
    bench.request(1, Duration::from_millis(1_000), 868_100_000, 7, 14.0, vec![0x60; 255]);
    bench.up_to(&format!("radio tx {}", "60".repeat(255)));
    bench.until(|bench| !bench.written.is_empty());
    let (written_at, end) = bench.written.pop_front().unwrap();
    assert_eq!(end, "\r\n");
    // Two bytes on the line and 2 ms in the module.
    assert_eq!(at - written_at, byte_time(57_600) * 2 + Duration::from_millis(2));
}

#[test]
fn every_refusal_of_a_setting_during_set_up_is_a_named_fault() {
    let settings = ["mod lora", "freq 868100000", "pwr 14", "sf sf7", "bw 125", "cr 4/5", "prlen 8", "crc on"];
    for setting in settings.into_iter().chain(["iqi off", "sync 34", "wdt 0"]) {
        let mut bench = Bench::new();
        let command = format!("radio set {setting}");
        bench.up_to(&command);
        bench.answer("invalid_param\r\n");
        assert_eq!(bench.reports, [format!("fault modem refuses {command:?}: invalid_param")]);
        assert_eq!(bench.modem.deadline(), None, "this is the end");
    }
}

#[test]
fn a_module_that_never_listens_is_given_up() {
    for answer in ["busy", "invalid_param", "radio_tx_ok", "17"] {
        let mut bench = Bench::new();
        for _ in 0..1_000 {
            if !bench.reports.is_empty() {
                break;
            }
            bench.up_to("radio rx 0");
            bench.answer(&format!("{answer}\r\n"));
            bench.until(|bench| !bench.written.is_empty() || !bench.reports.is_empty());
        }
        assert!(bench.reports[0].starts_with("fault modem refuses \"radio rx 0\""), "{answer}: {:?}", bench.reports);
    }
}

#[test]
fn a_mac_that_never_pauses_is_given_up() {
    let mut bench = Bench::new();
    for _ in 0..1_000 {
        bench.up_to("mac pause");
        bench.answer("0\r\n");
        bench.until(|bench| !bench.written.is_empty() || !bench.reports.is_empty());
        if !bench.reports.is_empty() {
            break;
        }
    }
    assert!(bench.reports[0].starts_with("fault modem refuses"), "{:?}", bench.reports);
}

#[test]
fn old_firmware_is_named() {
    let mut bench = Bench::new();
    bench.up_to("sys reset");
    bench.answer("RN2483 1.0.4 Oct 12 2017 14:59:25\r\n");
    let fault = "fault firmware RN2483 1.0.4 Oct 12 2017 14:59:25 is too old: 1.0.5 is needed at least";
    assert_eq!(bench.reports, [fault]);
}

#[test]
fn silence_garbage_and_another_dialect_are_told_apart() {
    for (bytes, part) in [
        ("", "modem is silent though the port is there"),
        ("\u{7f}\u{7f}\u{7f}", "only garbage at 57600 baud"),
        ("\u{7f}\u{7f}\r\n", "only garbage at 57600 baud"),
        ("+AT: ERROR\r\n", "not a modem of this dialect: it says \"+AT: ERROR\""),
    ] {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.until(|bench| !bench.written.is_empty() || !bench.reports.is_empty());
            bench.written.clear();
            if !bench.reports.is_empty() {
                break;
            }
            bench.answer(bytes);
        }
        assert!(bench.reports[0].contains(part), "{bytes:?}: {:?}", bench.reports);
        assert_eq!(bench.breaks, 2, "autobaud was tried");
        assert_eq!(bench.baud, 57_600, "the speed is put back");
        assert!(bench.now < Duration::from_secs(5 + 10), "within ten seconds");
    }
}

#[test]
fn autobaud_brings_a_module_at_another_speed_to_ours() {
    let mut bench = Bench::new();
    bench.until(|bench| bench.breaks == 1);
    bench.written.clear();
    bench.up_to("radio rx 0");
    bench.answer("ok\r\n");
    assert_eq!(bench.reports, [format!("ready {VERSION}")]);
}

#[test]
fn a_wrong_speed_is_named_with_the_right_one() {
    let mut bench = Bench::new();
    bench.until(|bench| bench.baud == 9_600);
    bench.written.clear();
    bench.answer("invalid_param\r\n");
    bench.answer(&format!("{VERSION}\r\n"));
    let fault = "fault wrong baud rate: modem answers at 9600 baud, the settings say 57600; set baud = 9600";
    assert_eq!(bench.reports, [fault]);
}

#[test]
fn a_module_that_falls_silent_is_set_up_again_and_then_given_up() {
    let mut bench = Bench::ready();
    bench.request(1, Duration::from_secs(11), 868_100_000, 7, 14.0, vec![0x60]);
    bench.until(|bench| !bench.reports.is_empty());
    assert_eq!(bench.reports.pop_front().unwrap(), "txdone 1 late", "it was busy with the set-up");
    bench.until(|bench| !bench.reports.is_empty());
    assert!(bench.reports[0].contains("silent") || bench.reports[0].contains("garbage"), "{:?}", bench.reports);
    assert_eq!(bench.modem.counters()["no_answers"], 1);
    bench.request(2, Duration::from_secs(1), 868_100_000, 7, 14.0, vec![0x60]);
    assert_eq!(bench.reports.pop_back().unwrap(), "txdone 2 failed");
}

#[test]
fn each_request_has_one_outcome_and_what_cannot_be_met_is_refused_at_once() {
    let mut bench = Bench::new();
    bench.request(1, Duration::from_secs(1), 868_100_000, 7, 14.0, vec![0x60]);
    assert_eq!(bench.reports.pop_back().unwrap(), "txdone 1 failed", "not ready");
    let mut bench = Bench::ready();
    let second = Duration::from_secs(1);
    bench.request(2, Duration::from_millis(10), 868_100_000, 7, 14.0, vec![0x60; 20]);
    assert_eq!(bench.reports.pop_back().unwrap(), "txdone 2 late");
    bench.request(3, second, 868_100_000, 7, 14.0, vec![]);
    assert_eq!(bench.reports.pop_back().unwrap(), "txdone 3 failed");
    bench.request(4, second, 868_100_000, 7, 14.0, vec![0x60; 20]);
    bench.request(5, second + Duration::from_millis(50), 868_100_000, 7, 14.0, vec![0x60; 20]);
    assert_eq!(bench.reports.pop_back().unwrap(), "txdone 5 collision");
    for id in 6..9 {
        bench.request(id, second * id as u32, 868_100_000, 7, 14.0, vec![0x60; 20]);
    }
    assert_eq!(bench.reports, [] as [String; 0]);
    bench.request(9, second * 20, 868_100_000, 7, 14.0, vec![0x60; 20]);
    assert_eq!(bench.reports.pop_back().unwrap(), "txdone 9 busy");
    for id in [4, 6, 7, 8] {
        bench.up_to("");
        bench.answer("ok\r\n");
        bench.answer("radio_tx_ok\r\n");
        assert_eq!(bench.reports.pop_back().unwrap(), format!("txdone {id} sent"));
    }
    assert_eq!(bench.modem.counters()["tx_sent"], 4);
}

#[test]
fn a_restart_of_the_module_ends_the_transmission_that_was_under_way() {
    let mut bench = Bench::ready();
    bench.request(1, Duration::from_secs(1), 868_100_000, 7, 14.0, vec![0x60]);
    bench.up_to("radio set crc off");
    bench.answer(&format!("{VERSION}\r\n"));
    assert_eq!(bench.reports, ["txdone 1 failed"]);
    bench.up_to("radio rx 0");
    bench.answer("ok\r\n");
    assert_eq!(bench.modem.counters()["reboots"], 1);
}

#[test]
fn a_loaded_line_is_spoiled_when_the_host_wakes_up_too_late() {
    let mut bench = Bench::ready();
    bench.request(1, Duration::from_secs(1), 868_100_000, 7, 14.0, vec![0x60]);
    bench.up_to("radio tx 60");
    // Nobody calls for a long time.
    bench.now += Duration::from_secs(2);
    bench.modem.tick(bench.now);
    bench.drain();
    assert_eq!(bench.reports, ["txdone 1 late"]);
    assert_eq!(bench.written.pop_front().unwrap().1, "z\r\n");
    bench.answer("invalid_param\r\n");
    bench.up_to("radio rx 0");
}

#[test]
fn any_bytes_are_survived() {
    let mut seed = 1u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16
    };
    let words =
        ["ok", "busy", "invalid_param", "radio_err", "radio_tx_ok", "radio_rx  40FF", "0", "-5", VERSION, "\u{7f}"];
    let mut bench = Bench::ready();
    for round in 0..20_000 {
        let text = words[random() as usize % words.len()];
        bench.answer(&format!("{text}{}", if random() % 5 == 0 { "" } else { "\r\n" }));
        if random() % 4 == 0 {
            bench.pass(Duration::from_millis(u64::from(random() % 500)));
        }
        if random() % 10 == 0 {
            bench.request(round, Duration::from_millis(u64::from(random() % 1_500)), 868_100_000, 7, 14.0, vec![0x60]);
        }
        let ended = bench.reports.iter().any(|report| report.starts_with("fault"));
        bench.written.clear();
        bench.reports.clear();
        if ended {
            bench = Bench::ready();
        }
    }
    assert!(bench.modem.queue.len() <= 4);
}

#[test]
fn a_modem_that_falls_silent_later_ends_as_silent() {
    let mut bench = Bench::ready();
    bench.until(|bench| !bench.reports.is_empty());
    let fault = bench.reports.pop_front().unwrap_or_default();
    assert!(fault.starts_with("fault modem is silent though the port is there"), "{fault}");
}
