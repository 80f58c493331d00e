//! The gateway in virtual time: one radio that speaks the link by hand, one ABP node whose frames are made with foreign
//! code (`lorawan` encoders), one server that is a few datagrams.

use super::event::Kind;
use super::input::{Down, Dtls, Facts, RadioIndex, Reason, Security as Secured, Up};
use super::output::Target;
use super::*;
use crate::config::{Config, Security, ServerUri};
use crate::policy::draft::Draft;
use lpwad_lorawan::{Activation, Key, Region};

mod backlog;
mod downlink;
mod dtls;
mod facts;
mod flood;
mod model;
mod policy;
mod reload;
mod reserve;
mod status;

const S: fn(u64) -> Duration = Duration::from_secs;
/// 2027-01-15, wall time at the start of every test.
const START_UNIX_MS: u64 = 1_800_000_000_000;
const DEV_EUI: DevEui = DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1]);
const NODE: NodeId = NodeId(0);
const RADIO: RadioIndex = RadioIndex(0);
const NWK: [u8; 16] = [1; 16];
const APP: [u8; 16] = [2; 16];

/// What comes of handshakes.
#[derive(Clone, Copy)]
enum Handshakes {
    Succeed {
        resumed: bool,
    },
    Fail(Reason),
    /// The test says it.
    Held,
}

/// What comes of batches.
#[derive(Clone, Copy)]
enum Store {
    Works,
    Fails,
    /// The test says it.
    Held,
}

fn dtls(resumed: bool) -> Secured {
    let suite = "TLS_PSK_WITH_AES_128_CCM_8".into();
    Secured::Dtls(Dtls { mode: config::DtlsMode::Psk, suite, resumed, max_datagram: 512 })
}

struct Rig {
    gateway: Gateway,
    now: Duration,
    unix: bool,
    outputs: Vec<Output>,
    /// The latest record of each key, as the disk has it.
    disk: Loaded,
    store: Store,
    handshakes: Handshakes,
    /// Whether clear ones can be opened.
    clear_sockets: bool,
    fcnt: u32,
    /// When the plugin gives its next sign of life.
    alive: Duration,
    /// What looks at the host tell with it; `None`: nobody looks but the test.
    looks: Option<Facts>,
}

fn config(confirmed: bool) -> Config {
    let text = include_str!("../../profiles/cayenne-lpp.toml")
        .replace("confirmed = true", &format!("confirmed = {confirmed}"));
    let profile = crate::config::Profile::parse(std::path::Path::new("p"), &text).unwrap();
    Config {
        state_dir: None,
        control_socket: None,
        plugin_dirs: Vec::new(),
        analysis_dir: "threat-analysis.d".into(),
        analysis_signers: None,
        facts_dir: "facts".into(),
        rx1_delay_s: 5,
        dtls_live_sessions: config::DTLS_LIVE_SESSIONS,
        backlog: crate::config::Backlog::default(),
        radios: vec![crate::config::Radio {
            name: "roof".into(),
            plugin: "x".into(),
            region: Region::Eu868,
            settings: serde_json::Map::new(),
        }],
        servers: vec![Server {
            name: "site".into(),
            uri: "coap://127.0.0.1:5683".parse::<ServerUri>().ok(),
            secure_uri: None,
            security: Security::Auto,
            reachable: true,
            dtls: config::Dtls::default(),
        }],
        nodes: vec![crate::config::Node {
            dev_eui: DEV_EUI,
            profile: Arc::new(profile),
            activation: Activation::Abp {
                dev_addr: "01020304".parse().unwrap(),
                nwk_s_key: Key::new(NWK),
                app_s_key: Key::new(APP),
                relaxed_counter: false,
            },
            server: 0,
            endpoint: None,
            credential: None,
        }],
        warnings: Vec::new(),
    }
}

/// An analysis of the node of [`config`], which has fixed session keys and no credential.
fn draft(expires: &str) -> Draft<'static> {
    Draft {
        id: "T",
        title: "Test",
        server: "coap://127.0.0.1:5683",
        endpoints: &["*"],
        reviewed: "2026-11-24".parse().unwrap(),
        expires: expires.parse().unwrap(),
        by: "j.doe",
        clock: Some("simulated"),
        abp: Some("simulated"),
        accept: Some("no other users on this host"),
        needs_reserve: false,
    }
}

fn analyses(expires: &str) -> Analyses {
    let text = draft(expires).text();
    let mut analyses = Analyses::default();
    analyses.add(std::path::Path::new("t.toml"), &text);
    assert!(analyses.invalid.is_empty(), "{:?}", analyses.invalid);
    analyses
}

impl Rig {
    fn new() -> Rig {
        Rig::with(analyses("2027-06-01"), Loaded::default(), true)
    }

    fn with(analyses: Analyses, disk: Loaded, confirmed: bool) -> Rig {
        let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
        Rig::of(now, &config(confirmed), analyses, disk)
    }

    fn of(now: Now, config: &Config, analyses: Analyses, disk: Loaded) -> Rig {
        let gateway = Gateway::new(now, config, analyses, HostFacts::default(), &disk, 7);
        let unix = now.unix_ms.is_some();
        let now = now.mono;
        let mut rig = Rig {
            gateway,
            now,
            unix,
            outputs: Vec::new(),
            disk,
            store: Store::Works,
            handshakes: Handshakes::Succeed { resumed: false },
            clear_sockets: true,
            fcnt: 0,
            alive: now + S(10),
            looks: None,
        };
        rig.drain();
        rig.input(Input::PluginStarted(RADIO, 1));
        rig.line(r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","plugin":"x","kind":"lora-phy"}}"#);
        rig.line(r#"{"ready":{"max_dbm_eirp":14.0,"clock":"us32","channels":8,"timed_tx":true,"inverted_iq":true,"min_lead_ms":50}}"#);
        rig
    }

    fn time(&self) -> Now {
        Now { mono: self.now, unix_ms: self.unix.then(|| START_UNIX_MS + self.now.as_millis() as u64) }
    }

    /// Gives an input and carries the outputs out: the disk answers at once, sockets open at port 4000, frames are sent.
    fn input(&mut self, input: Input) {
        self.gateway.handle(self.time(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.gateway.poll() {
            let more = match &output {
                Output::Commit(batch) => match self.store {
                    Store::Works => {
                        self.disk.apply(batch);
                        Some(Input::Committed(batch.ticket))
                    }
                    Store::Fails => Some(Input::CommitFailed(batch.ticket, "disk full".into())),
                    Store::Held => None,
                },
                Output::Rehearse { session, .. } => match self.handshakes {
                    Handshakes::Held => None,
                    Handshakes::Succeed { .. } => Some(Input::Rehearsed(*session, None)),
                    Handshakes::Fail(reason) => Some(Input::Rehearsed(*session, Some(Down::new(reason, "x")))),
                },
                Output::Open { session, to, local_port } => self.answer_open(*session, to, local_port.unwrap_or(4000)),
                _ => None,
            };
            self.outputs.push(output);
            if let Some(input) = more {
                self.gateway.handle(self.time(), input);
            }
        }
    }

    /// What the shell says to a session that is asked for; nothing, if a test says it itself.
    fn answer_open(&mut self, session: NodeId, to: &Target, local_port: u16) -> Option<Input> {
        let security = match (to, self.handshakes) {
            (Target::Clear { .. }, _) if !self.clear_sockets => {
                return Some(Input::Down(session, Down::new(Reason::Socket, "x")));
            }
            (Target::Clear { .. }, _) => Secured::Clear,
            (Target::Dtls { .. }, Handshakes::Held) => return None,
            (Target::Dtls { .. }, Handshakes::Fail(reason)) => {
                return Some(Input::Down(session, Down::new(reason, "x")));
            }
            (Target::Dtls { .. }, Handshakes::Succeed { resumed }) => dtls(resumed),
        };
        Some(Input::Up(session, Up { local_port, security }))
    }

    fn line(&mut self, line: &str) {
        self.input(Input::PluginLine(RADIO, 1, Ok(line.as_bytes().to_vec())));
    }

    /// Lets time pass; frames are sent when they are handed over, and the plugin gives signs of life.
    fn run_to(&mut self, until: Duration) {
        let mut turns = 0;
        loop {
            let next = self.gateway.deadline().unwrap_or(until).max(self.now).min(self.alive).min(until);
            turns += 1;
            assert!(turns < 100_000, "the gateway never comes to rest");
            self.now = next;
            self.input(Input::Tick);
            self.report_sent();
            if self.now >= self.alive {
                self.alive = self.now + S(10);
                self.line(r#"{"status":{}}"#);
                if let Some(facts) = self.looks.clone() {
                    self.input(Input::Facts(facts));
                }
            }
            if self.now >= until {
                return;
            }
        }
    }

    fn report_sent(&mut self) {
        for id in self.take_transmitted().into_iter().map(|(id, _)| id) {
            self.line(&format!(r#"{{"txdone":{{"id":{id},"status":"sent"}}}}"#));
        }
    }

    /// Frames handed to the radio since the last call: id and bytes.
    fn take_transmitted(&mut self) -> Vec<(u64, String)> {
        let mut frames = Vec::new();
        self.outputs.retain(|output| match output {
            Output::WritePlugin(_, line) if line.starts_with("{\"tx\"") => {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                frames.push((value["tx"]["id"].as_u64().unwrap(), value["tx"]["data"].as_str().unwrap().to_string()));
                false
            }
            _ => true,
        });
        frames
    }

    fn uplink(&mut self, payload: &str, ack: bool) {
        let mut creator = lorawan::creator::DataPayloadCreator::<_, lorawan::default_crypto::DefaultFactory>::new();
        let control = lorawan::parser::FCtrl::new(if ack { 0x20 } else { 0 }, true);
        creator.set_uplink(true).set_confirmed(false).set_f_port(1).set_dev_addr([4, 3, 2, 1]);
        creator.set_fctrl(&control).set_fcnt(self.fcnt);
        let payload = lpwad_link::hex::decode(payload).unwrap();
        let frame = creator.build(&payload, &[], &NWK.into(), &APP.into()).unwrap().to_vec();
        self.fcnt += 1;
        let at_us = self.now.as_micros() as u32;
        let data = lpwad_link::hex::encode(&frame);
        self.line(&format!(r#"{{"rx":{{"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","rssi_dbm":-80,"snr_db":7.5,"data":"{data}"}}}}"#));
    }

    fn sent(&self) -> Vec<&[u8]> {
        self.outputs
            .iter()
            .filter_map(|o| if let Output::Send(_, bytes) = o { Some(bytes.as_slice()) } else { None })
            .collect()
    }

    fn said(&self, kind: Kind) -> usize {
        self.outputs.iter().filter(|o| matches!(o, Output::Event(event) if event.kind == kind)).count()
    }

    /// Answers the Register that was sent last with 2.01 and the location /rd/a.
    fn accept(&mut self) {
        let register = self.sent().last().unwrap().to_vec();
        let (id, token) = (&register[2..4], &register[4..12]);
        let answer = [&[0x68, 0x41][..], id, token, &[0x82, b'r', b'd', 0x01, b'a']].concat();
        self.input(Input::Datagram(NODE, answer));
    }

    fn registered() -> Rig {
        let mut rig = Rig::new();
        rig.uplink("01670110", false);
        rig.accept();
        assert_eq!(rig.said(Kind::Registered), 1);
        rig.outputs.clear();
        rig
    }

    /// A confirmable PUT of "1" to /3306/0/5850 with this message id.
    fn write(&mut self, id: u8) {
        let put =
            [&[0x41, 0x03, 0x77, id, id, 0xb4][..], b"3306", &[0x01], b"0", &[0x04], b"5850", &[0xff], b"1"].concat();
        self.input(Input::Datagram(NODE, put));
    }

    /// Code of the last datagram.
    fn last_code(&self) -> u8 {
        self.sent().last().unwrap()[1]
    }
}

#[test]
fn presence_follows_the_node_no_datagram_before_its_first_word() {
    let mut rig = Rig::new();
    rig.run_to(S(3600));
    assert!(rig.sent().is_empty());
    rig.uplink("01670110", false);
    let register = rig.sent()[0];
    assert_eq!((register[0] & 0xf0, register[1]), (0x40, 0x02), "CON POST");
    rig.accept();
    rig.outputs.clear();
    rig.run_to(S(3600 + 86_400));
    assert!(rig.sent().is_empty(), "a silent node's registration runs out without a word");
    assert_eq!(rig.said(Kind::RegistrationLapsed), 1);
}

#[test]
fn an_acknowledgement_to_the_node_waits_for_the_disk() {
    let mut rig = Rig::registered();
    rig.store = Store::Fails;
    // A confirmed uplink would be acknowledged in RX1; the frame counter is not saved, so nothing may leave.
    rig.write(1);
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(8));
    let sent: Vec<_> = rig
        .outputs
        .iter()
        .filter(|o| matches!(o, Output::WritePlugin(_, line) if line.starts_with("{\"tx\"")))
        .collect();
    assert!(sent.is_empty(), "{sent:?}");
}

#[test]
fn when_the_verdict_is_withdrawn_nothing_more_leaves_in_clear() {
    let mut rig = Rig::with(analyses("2027-01-16"), Loaded::default(), true);
    rig.uplink("01670110", false);
    rig.accept();
    let observe = [&[0x41, 0x01, 0x78, 9, 9, 0x60, 0x54][..], b"3303", &[0x01], b"1", &[0x04], b"5700"].concat();
    rig.input(Input::Datagram(NODE, observe));
    assert_eq!(rig.last_code(), 0x45);
    rig.uplink("01670120", false);
    assert_eq!(rig.said(Kind::Notified), 1);
    // The analysis is valid to the end of its day, 2027-01-16.
    rig.outputs.clear();
    rig.run_to(S(2 * 86_400));
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Close(NODE))));
    rig.outputs.clear();
    for n in 0..3 {
        rig.uplink(&format!("0167012{n}"), false);
        rig.run_to(rig.now + S(3600));
    }
    rig.write(5);
    rig.input(Input::Stop);
    rig.run_to(rig.now + S(10));
    assert!(rig.sent().is_empty(), "no notification, no repetition, no De-register");
    assert!(!rig.outputs.iter().any(|o| matches!(o, Output::Open { .. })));
    assert!(rig.outputs.contains(&Output::Stopped));
}

#[test]
fn a_clock_that_loses_trust_closes_sessions() {
    let mut rig = Rig::registered();
    rig.unix = false;
    rig.uplink("01670111", false);
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Close(NODE))));
    assert!(rig.sent().is_empty());
    rig.unix = true;
    rig.outputs.clear();
    rig.uplink("01670112", false);
    let opened = |rig: &Rig| rig.outputs.iter().any(|o| matches!(o, Output::Open { .. }));
    assert!(!opened(&rig) && rig.said(Kind::PolicyLatched) == 0, "trusted again, and latched: said once");
    let list = |rig: &Rig| rig.gateway.answer_request(rig.time(), &control::Request::PolicyList);
    assert_eq!(list(&rig)["policy"]["latches"].as_array().unwrap().len(), 1);
    // Also over a restart.
    let now = rig.time();
    let mut rig = Rig::of(now, &config(true), analyses("2027-06-01"), rig.disk);
    rig.fcnt = 3;
    rig.uplink("01670113", false);
    assert!(!opened(&rig), "still latched");
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    assert!(rig.outputs.contains(&Output::Reply(1, serde_json::json!({ "latches": 1 }))));
    rig.uplink("01670114", false);
    assert!(opened(&rig), "rearmed");
    assert_eq!(list(&rig)["nosec"][0]["approved_by"][0], "j.doe");
}

#[test]
fn a_damaged_state_of_the_policy_latches_everything_until_somebody_rearms() {
    let mut rig = Rig::registered();
    let numbers: Vec<u64> = rig.disk.policy.keys().copied().collect();
    rig.disk.policy.insert(crate::store::POLICY_STATE, b"{\"latest\":".to_vec());
    let now = rig.time();
    let mut rig = Rig::of(now, &config(true), analyses("2027-06-01"), rig.disk);
    assert_eq!(rig.said(Kind::RecordDamaged), 1);
    rig.fcnt = 1;
    rig.uplink("01670111", false);
    let opened = |rig: &Rig| rig.outputs.iter().any(|o| matches!(o, Output::Open { .. }));
    assert!(!opened(&rig), "nobody knows whether it was lost before");
    assert!(rig.disk.policy.keys().last() > numbers.last(), "no record is written over");
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    rig.uplink("01670112", false);
    assert!(opened(&rig), "rearmed");
}

#[test]
fn a_stop_says_goodbye_and_ends_even_if_nobody_answers() {
    let mut rig = Rig::registered();
    rig.input(Input::Stop);
    assert_eq!(rig.last_code(), 0x04, "DELETE");
    assert!(!rig.outputs.contains(&Output::Stopped));
    rig.run_to(rig.now + S(6));
    assert!(rig.outputs.contains(&Output::Stopped));
}

#[test]
fn s_32_after_a_restart_the_proxy_updates_at_its_old_place_from_its_old_port() {
    let rig = Rig::registered();
    let mut rig = Rig::with(analyses("2027-06-01"), rig.disk, true);
    rig.run_to(S(600));
    assert!(rig.sent().is_empty(), "a restart does not speak for a silent node");
    rig.fcnt = 1;
    rig.uplink("01670111", false);
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Open { local_port: Some(4000), .. })));
    let update = rig.sent()[0].to_vec();
    let text = String::from_utf8_lossy(&update).into_owned();
    assert!(update[1] == 0x02 && text.contains("rd") && !text.contains("ep="), "Update, not Register");
    let unknown = [&[0x68, 0x84][..], &update[2..4], &update[4..12]].concat();
    rig.input(Input::Datagram(NODE, unknown));
    assert!(String::from_utf8_lossy(rig.sent().last().unwrap()).contains("ep="), "4.04 leads to Register");
}

#[test]
fn replayed_frames_after_a_restart_are_refused() {
    let mut rig = Rig::registered();
    rig.uplink("01670111", false);
    let mut rig = Rig::with(analyses("2027-06-01"), rig.disk, true);
    rig.fcnt = 0;
    rig.uplink("01670110", false);
    assert_eq!((rig.said(Kind::Uplink), rig.said(Kind::FrameDropped)), (0, 1));
    rig.uplink("01670111", false);
    assert_eq!((rig.said(Kind::Uplink), rig.said(Kind::UplinkRepeated)), (0, 1), "the newest one is a repetition");
}

#[test]
fn a_damaged_device_record_leaves_that_node_out_whatever_is_reloaded() {
    let mut rig = Rig::registered();
    rig.disk.records.insert((Table::Device, DEV_EUI.0), b"{\"v\":1,".to_vec());
    let mut rig = Rig::with(analyses("2027-06-01"), rig.disk, true);
    rig.fcnt = 1;
    let mut none = config(true);
    none.nodes.clear();
    for config in [config(true), config(true), none.clone(), config(true), none, config(true)] {
        rig.outputs.clear();
        let has_node = !config.nodes.is_empty();
        rig.input(Input::Reload(Box::new(config), analyses("2027-06-01")));
        assert_eq!(rig.said(Kind::RecordDamaged), usize::from(has_node), "said, and left as it is");
        rig.uplink("01670111", false);
        rig.run_to(rig.now + S(5));
        assert_eq!((rig.said(Kind::Uplink), rig.take_transmitted().len()), (0, 0));
    }
    assert_eq!(rig.disk.get(Table::Device, DEV_EUI), Some(&b"{\"v\":1,"[..]));
}

#[test]
fn a_damaged_device_record_leaves_that_node_out() {
    let mut rig = Rig::registered();
    rig.disk.records.insert((Table::Device, DEV_EUI.0), b"{\"v\":1,".to_vec());
    let mut rig = Rig::with(analyses("2027-06-01"), rig.disk, true);
    assert_eq!(rig.said(Kind::RecordDamaged), 1);
    rig.fcnt = 1;
    rig.uplink("01670111", false);
    assert_eq!(rig.said(Kind::Uplink), 0);
}
