use super::*;

const SET_UP: &str = include_str!("../../../tests/transcripts/lora_e5_set_up_and_receive.txt");

type Bench = crate::dialect::bench::Bench<LoraE5>;

impl Bench {
    fn new() -> Self {
        Bench::start(LoraE5::new, 9_600)
    }

    /// A module that has been set up.
    fn ready() -> Self {
        let mut bench = Bench::new();
        let set_up: String = SET_UP.lines().take_while(|line| *line != ".").map(|line| format!("{line}\n")).collect();
        bench.play(&set_up);
        bench
    }

    /// Answers by `answer` until there is a report.
    fn report(&mut self, answer: impl Fn(&Bench, &str) -> Option<&'static str>) -> String {
        for _ in 0..200 {
            self.until(|bench| !bench.written.is_empty() || !bench.reports.is_empty());
            if let Some(report) = self.reports.pop_front() {
                return report;
            }
            let Some((_, written)) = self.written.pop_front() else { break };
            if let Some(text) = answer(self, written.trim_end()) {
                self.answer(text);
            }
        }
        String::new()
    }
}

#[test]
fn set_up_and_receive() {
    let mut bench = Bench::new();
    bench.play(SET_UP);
    assert_eq!((bench.modem.counters()["garbage_lines"], bench.modem.counters()["set_ups"]), (2, 1));
}

#[test]
fn transmit() {
    let mut bench = Bench::ready();
    bench.play(include_str!("../../../tests/transcripts/lora_e5_transmit.txt"));
    assert_eq!((bench.modem.counters()["tx_sent"], bench.modem.counters()["rx_races"]), (2, 1));
}

#[test]
fn a_silent_modem_a_noisy_one_a_foreign_one_and_a_wrong_speed_are_different_faults() {
    let silent = Bench::new().report(|_, _| None);
    assert!(silent.starts_with("fault modem is silent though the port is there"), "{silent}");
    let garbage = Bench::new().report(|_, _| Some("\u{1}\r\n"));
    assert!(garbage.starts_with("fault modem sends only garbage"), "{garbage}");
    let foreign = Bench::new().report(|_, _| Some("invalid_param\r\n"));
    assert_eq!(foreign, "fault not a modem of this dialect: it says \"invalid_param\"");
    let speed = Bench::new().report(|bench, text| (bench.baud == 115_200 && text == "AT").then_some("+AT: OK\r\n"));
    assert!(speed.contains("set baud = 115200"), "{speed}");
}

#[test]
fn a_modem_that_falls_silent_later_ends_as_silent_and_the_frame_is_answered() {
    let mut bench = Bench::ready();
    bench.request(7, Duration::from_secs(2), 868_100_000, 7, 14.0, vec![0x60]);
    assert_eq!(bench.report(|_, _| None), "txdone 7 failed");
    let fault = bench.report(|_, _| None);
    assert!(fault.starts_with("fault modem is silent though the port is there"), "{fault}");
}
