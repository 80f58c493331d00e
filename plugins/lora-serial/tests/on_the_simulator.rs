//! The plugin's binary on a simulated modem: what the daemon would see. Real time, because a serial port has no other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use lpwad_link::message::{Rx, Status, TxDone, TxStatus};
use lpwad_link::{FromPlugin, hex};
use lpwad_sim::modem::{Language, ModemConfig};
use lpwad_sim::{nodes_file, shell};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Downlinks to try before a test gives up on a loaded machine.
const MAX_TRIES: u64 = 5;

/// An ABP node, so that no network server is needed to make it talk.
const NODES: &str = "[[node]]\ndev_eui = \"70b3d57ed0001235\"\ndev_addr = \"26011bda\"\n\
    nwk_s_key = \"01010101010101010101010101010101\"\napp_s_key = \"02020202020202020202020202020202\"\n\
    single_channel = true\nrssi_dbm = -97\nsnr_db = 5\nrx_tolerance_ms = 200\n";

/// The simulator in a thread.
struct Simulator {
    commands: UnixStream,
    events: Receiver<Value>,
    link: PathBuf,
    _directory: tempfile::TempDir,
}

impl Simulator {
    fn start(baud: u32) -> Self {
        Simulator::speaking(Language::Rn2483, baud)
    }

    fn speaking(language: Language, baud: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("modem");
        let (commands, input) = UnixStream::pair().unwrap();
        let (mut output, events) = UnixStream::pair().unwrap();
        let options = shell::Options {
            link: link.clone(),
            modem: ModemConfig { language, baud, ..ModemConfig::default() },
            seed: 1,
            nodes: nodes_file::parse(NODES).unwrap(),
            record: None,
            exit_on_eof: true,
        };
        std::thread::spawn(move || shell::run(options, OwnedFd::from(input), None, &mut output));
        let simulator = Simulator {
            commands,
            events: lines(events, |line| serde_json::from_str(line).unwrap()),
            link,
            _directory: directory,
        };
        simulator.wait_for("ready");
        simulator
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    fn wait_for(&self, name: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event {name:?}"));
            if event["event"] == name {
                return event;
            }
        }
    }
}

/// The plugin as a child process.
struct Plugin {
    child: Child,
    messages: Receiver<FromPlugin>,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Plugin {
    fn start(device: &std::path::Path, more: &str) -> Self {
        Plugin::speaking("rn2483", device, more)
    }

    fn speaking(dialect: &str, device: &std::path::Path, more: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lora-serial"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let messages = lines(child.stdout.take().unwrap(), |line| FromPlugin::parse(line.as_bytes()).unwrap());
        let mut plugin = Plugin { child, messages };
        plugin.tell(r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0"}}"#);
        let device = device.display();
        plugin.tell(&format!(
            r#"{{"configure":{{"radio":"roof","settings":{{"device":"{device}","dialect":"{dialect}"{more}}},"status_period_s":1}}}}"#
        ));
        plugin.wait_for(|message| matches!(message, FromPlugin::Hello(_)).then_some(()));
        plugin
    }

    fn ready(device: &std::path::Path) -> Self {
        let mut plugin = Plugin::start(device, "");
        plugin.wait_for(|message| matches!(message, FromPlugin::Ready(_)).then_some(()));
        plugin
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn wait_for<T>(&mut self, wanted: impl Fn(&FromPlugin) -> Option<T>) -> T {
        let mut seen = Vec::new();
        loop {
            let Ok(message) = self.messages.recv_timeout(PATIENCE) else { panic!("not seen among {seen:?}") };
            if let Some(found) = wanted(&message) {
                return found;
            }
            seen.push(message);
        }
    }

    fn rx(&mut self) -> Rx {
        self.wait_for(|message| if let FromPlugin::Rx(rx) = message { Some(rx.clone()) } else { None })
    }

    fn txdone(&mut self) -> TxDone {
        self.wait_for(|message| if let FromPlugin::Txdone(done) = message { Some(done.clone()) } else { None })
    }

    fn counter(&mut self, name: &str, at_least: u64) {
        self.wait_for(|message| match message {
            FromPlugin::Status(status) => status.counters.get(name)?.as_u64().filter(|value| *value >= at_least),
            _ => None,
        });
    }

    /// The fault that it ends with.
    fn fault(mut self) -> String {
        let fault = self.wait_for(|message| match message {
            FromPlugin::Status(Status { fault, .. }) => fault.clone(),
            _ => None,
        });
        assert!(!self.child.wait().unwrap().success(), "a fault is no success");
        fault
    }
}

/// A thread that reads lines.
fn lines<T: Send + 'static>(
    from: impl std::io::Read + Send + 'static,
    parse: impl Fn(&str) -> T + Send + 'static,
) -> Receiver<T> {
    let (sender, receiver) = sync_channel(10_000);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(parse(&line)).is_err() {
                return;
            }
        }
    });
    receiver
}

const UPLINK: &str = "uplink 70b3d57ed0001235 5 0102";

#[test]
fn it_receives_and_sends_at_the_time_asked_for() {
    let mut simulator = Simulator::start(57_600);
    let mut plugin = Plugin::start(&simulator.link, "");
    let ready =
        plugin.wait_for(|message| if let FromPlugin::Ready(ready) = message { Some(ready.clone()) } else { None });
    assert_eq!((ready.channels, ready.freq_hz, ready.timed_tx, ready.inverted_iq), (1, Some(868_100_000), true, true));
    assert!(ready.model.starts_with("RN2483 1.0.5"));

    // A loaded test machine may wake the plugin too late. Then it must say so and must not have sent: the next frame on
    // the air is the next uplink.
    let sent = (0..MAX_TRIES).any(|attempt| {
        simulator.tell(UPLINK);
        let up = simulator.wait_for("air");
        assert_eq!(up["dir"], "up", "nothing is on the air after `late`");
        let rx = plugin.rx();
        assert_eq!(hex::encode(&rx.data), up["data"]);
        assert_eq!((rx.rssi_dbm, rx.snr_db, rx.freq_hz), (Some(-97), Some(5.0), 868_100_000));

        let (id, at_us) = (attempt, rx.at_us.wrapping_add(1_000_000));
        plugin.tell(&format!(
            r#"{{"tx":{{"id":{id},"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","dbm_eirp":12.5,"iq_inverted":true,"data":"60aabb"}}}}"#
        ));
        let done = plugin.txdone();
        assert_eq!(done.id, id);
        if done.status == TxStatus::Late {
            return false;
        }
        assert_eq!(done.status, TxStatus::Sent);
        let down = simulator.wait_for("air");
        assert_eq!((down["dir"].as_str(), down["data"].as_str()), (Some("down"), Some("60aabb")));
        assert_eq!((down["iq_inverted"].as_bool(), down["crc"].as_bool()), (Some(true), Some(false)));
        assert_eq!((down["power_dbm"].as_i64(), down["sync_word"].as_u64()), (Some(12), Some(0x34)));
        // One second between the end of the uplink and the start of the downlink. The bound has room for the simulator,
        // which is late on a loaded machine too; what it really was is in the test's output.
        let error_us = down["start_us"].as_i64().unwrap() - up["end_us"].as_i64().unwrap() - 1_000_000;
        println!("window error {error_us} us, margin {:?} ms", done.tx_margin_ms);
        assert!(error_us.abs() < 50_000, "{error_us} us");
        true
    });
    assert!(sent, "late {MAX_TRIES} times");

    simulator.tell(UPLINK);
    assert_eq!(simulator.wait_for("air")["dir"], "up");
    assert_eq!(plugin.rx().data.len(), 15, "it listens again");
}

#[test]
fn a_second_program_on_the_port_is_refused_and_the_holder_is_named() {
    let simulator = Simulator::start(57_600);
    let first = Plugin::ready(&simulator.link);
    let fault = Plugin::start(&simulator.link, "").fault();
    assert!(fault.contains("is in use by lora-serial"), "{fault}");
    assert!(fault.contains(&format!("(pid {})", first.child.id())), "{fault}");
}

#[test]
fn a_wrong_baud_rate_is_named_with_the_right_one() {
    let simulator = Simulator::start(57_600);
    let fault = Plugin::start(&simulator.link, r#","baud":9600"#).fault();
    assert_eq!(fault, "wrong baud rate: modem answers at 57600 baud, the settings say 9600; set baud = 57600");
}

#[test]
fn a_silent_modem_and_a_missing_port_are_different_faults() {
    let mut simulator = Simulator::start(57_600);
    simulator.tell("mute");
    let fault = Plugin::start(&simulator.link, "").fault();
    assert!(fault.starts_with("modem is silent though the port is there"), "{fault}");
    let fault = Plugin::start(&simulator.link.with_extension("gone"), "").fault();
    assert!(fault.contains("is not there: is the modem plugged in?"), "{fault}");
}

#[test]
fn an_unplugged_port_is_a_fault_and_a_new_plugin_works_after_it_is_back() {
    let mut simulator = Simulator::start(57_600);
    let plugin = Plugin::ready(&simulator.link);
    simulator.tell("unplug");
    let fault = plugin.fault();
    assert!(fault.contains("is gone"), "{fault}");
    simulator.tell("replug");
    simulator.wait_for("ready");
    let mut plugin = Plugin::ready(&simulator.link);
    simulator.tell(UPLINK);
    plugin.rx();
}

#[test]
fn noise_reboot_and_a_race_at_rxstop_are_survived() {
    let mut simulator = Simulator::start(57_600);
    let mut plugin = Plugin::ready(&simulator.link);
    simulator.tell("garbage");
    simulator.tell("reboot");
    plugin.counter("reboots", 1);
    simulator.tell("race 40da1b0126000000");
    simulator.tell(UPLINK);
    let rx = plugin.rx();
    let at_us = rx.at_us.wrapping_add(1_000_000);
    plugin.tell(&format!(
        r#"{{"tx":{{"id":8,"at_us":{at_us},"freq_hz":869525000,"dr":"SF9BW125","dbm_eirp":14.0,"iq_inverted":true,"data":"60"}}}}"#
    ));
    assert_eq!(hex::encode(&plugin.rx().data), "40da1b0126000000", "the frame of the race");
    let status = plugin.txdone().status;
    assert!(matches!(status, TxStatus::Sent | TxStatus::Late), "{status:?}; late only on a loaded machine");
    plugin.counter("rx_races", 1);
}

#[test]
fn it_stops_when_told_and_when_the_daemon_goes_away() {
    let simulator = Simulator::start(57_600);
    let mut plugin = Plugin::ready(&simulator.link);
    plugin.tell(r#"{"stop":{}}"#);
    assert!(plugin.child.wait().unwrap().success());
    let mut plugin = Plugin::ready(&simulator.link);
    drop(plugin.child.stdin.take());
    assert!(plugin.child.wait().unwrap().success());
}

#[test]
fn mistakes_of_the_daemon_are_named() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-serial"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(
        input,
        "{{\"unknown\":{{}}}}\nnot json\n{{\"hello\":{{\"protocol\":\"lpwad-link\",\"version\":\"2.0.0\"}}}}"
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("major version 2") && !output.status.success(), "{text}");
    let fault = Plugin::start(std::path::Path::new("/dev/null"), r#","colour":1"#).fault();
    assert!(fault.contains("colour"), "{fault}");
}

#[test]
fn a_lora_e5_receives_and_sends() {
    let mut simulator = Simulator::speaking(Language::LoraE5, Language::LoraE5.baud());
    let mut plugin = Plugin::speaking("lora-e5", &simulator.link, "");
    let model = plugin
        .wait_for(|message| if let FromPlugin::Ready(ready) = message { Some(ready.model.clone()) } else { None });
    assert_eq!(model, "LoRa-E5 4.0.11");
    let sent = (0..MAX_TRIES).any(|id| {
        simulator.tell(UPLINK);
        let up = simulator.wait_for("air");
        let rx = plugin.rx();
        assert_eq!(hex::encode(&rx.data), up["data"]);
        assert_eq!((rx.rssi_dbm, rx.snr_db), (Some(-97), Some(5.0)));
        let at_us = rx.at_us.wrapping_add(2_000_000);
        plugin.tell(&format!(
            r#"{{"tx":{{"id":{id},"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","dbm_eirp":12.5,"iq_inverted":true,"data":"60aabb"}}}}"#
        ));
        let done = plugin.txdone();
        if done.status == TxStatus::Late {
            return false;
        }
        assert_eq!(done.status, TxStatus::Sent, "{:?}", done.detail);
        let down = simulator.wait_for("air");
        assert_eq!((down["dir"].as_str(), down["data"].as_str()), (Some("down"), Some("60aabb")));
        assert_eq!((down["iq_inverted"].as_bool(), down["crc"].as_bool()), (Some(true), Some(false)));
        assert_eq!((down["power_dbm"].as_i64(), down["sync_word"].as_u64()), (Some(12), Some(0x34)));
        let error_us = down["start_us"].as_i64().unwrap() - up["end_us"].as_i64().unwrap() - 2_000_000;
        println!("window error {error_us} us, margin {:?} ms", done.tx_margin_ms);
        assert!(error_us.abs() < 50_000, "{error_us} us");
        true
    });
    assert!(sent, "late {MAX_TRIES} times");
    simulator.tell(UPLINK);
    plugin.rx();
}

#[test]
fn a_silent_lora_e5_and_a_lost_port_are_different_faults_and_a_new_plugin_works_after_it_is_back() {
    let mut simulator = Simulator::speaking(Language::LoraE5, Language::LoraE5.baud());
    let ready = |simulator: &Simulator| {
        let mut plugin = Plugin::speaking("lora-e5", &simulator.link, "");
        plugin.wait_for(|message| matches!(message, FromPlugin::Ready(_)).then_some(()));
        plugin
    };
    let plugin = ready(&simulator);
    simulator.tell("unplug");
    let fault = plugin.fault();
    assert!(fault.contains("is gone"), "{fault}");
    simulator.tell("replug");
    simulator.wait_for("ready");
    let mut plugin = ready(&simulator);
    simulator.tell(UPLINK);
    plugin.rx();
    drop(plugin);
    simulator.tell("mute");
    let fault = Plugin::speaking("lora-e5", &simulator.link, "").fault();
    assert!(fault.starts_with("modem is silent though the port is there"), "{fault}");
}
