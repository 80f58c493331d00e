//! Everything that can wake the gateway, in any order: a sequence of steps.
//!
//! A step is a byte, a length and as many bytes. Nodes, disk and server answer as they should where a step says so, so
//! that what lies behind a registration is reached; else they do anything.
use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use cmac::{Cmac, Mac};
use lpwad::config::{self, Config, DtlsMode, Profile, Security as Wanted, Server};
use lpwad::gateway::Gateway;
use lpwad::gateway::control::Request;
use lpwad::gateway::event::{Event, Kind};
use lpwad::gateway::input::{Down, Dtls, Facts, HostFacts, Input, NodeId, Now, RadioIndex, Reason, Security, Up};
use lpwad::gateway::output::{Output, Target};
use lpwad::policy::analyses::Analyses;
use lpwad::policy::draft::Draft;
use lpwad::store::{Batch, Loaded};
use lpwad_lorawan::{Activation, DevEui, Key, Region};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use zeroize::Zeroizing;

const RADIO: RadioIndex = RadioIndex(0);
const KEY: [u8; 16] = [7; 16];
const ADDRESS: [u8; 4] = [4, 3, 2, 1];
const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Outputs that one input may cause.
const MAX_OUTPUTS: usize = 2_000;
/// Datagrams that may wait for the disk: for the batch on its way, and for the next.
const MAX_HELD: u64 = 2 * 4096;
/// Kinds of steps.
const STEPS: u8 = 30;

static PROFILE: LazyLock<Arc<Profile>> = LazyLock::new(|| {
    let text = include_str!("../../../profiles/cayenne-lpp.toml");
    Arc::new(Profile::parse(Path::new("cayenne-lpp.toml"), text).expect("the profile of the repository"))
});

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    kinds_said(data);
}

/// Runs the target on an input; gives the kinds of events that the gateway said.
pub fn kinds_said(data: &[u8]) -> BTreeSet<&'static str> {
    let mut site = Site::new();
    let mut rest = data;
    while let [step, len, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        site.step(*step, bytes);
        rest = behind;
    }
    site.input(Input::Request(1, Request::Status));
    // Whatever came: it comes to rest, and can be stopped.
    site.pass(Duration::from_secs(600));
    site.input(Input::Stop);
    site.pass(Duration::from_secs(10));
    assert!(site.stopped, "a stop that never ends");
    site.said
}

/// Kinds of inputs.
const KINDS: usize = 18;

/// Number of an input's kind. With a new one this does not compile: give it a number here and a step that gives it.
fn kind(input: &Input) -> usize {
    match input {
        Input::PluginStarted(..) => 0,
        Input::PluginLine(..) => 1,
        Input::PluginExited(..) => 2,
        Input::Up(..) => 3,
        Input::Down(..) => 4,
        Input::Rehearsed(..) => 5,
        Input::PluginNotReading(..) => 6,
        Input::Noticed(_) => 7,
        Input::Datagram(..) => 8,
        Input::Committed(_) => 9,
        Input::CommitFailed(..) => 10,
        Input::Request(..) => 11,
        Input::Reload(..) => 12,
        Input::Facts(_) => 13,
        Input::Bearers(_) => 14,
        Input::ReloadFailed(_) => 15,
        Input::Tick => 16,
        Input::Stop => 17,
    }
}

/// Takes each kind of step with some numbers; gives the kinds of inputs that the gateway did not get.
#[must_use]
pub fn kinds_not_given() -> Vec<usize> {
    let mut site = Site::new();
    for step in (0..STEPS).flat_map(|step| (0..8).map(move |number| (step, number))) {
        site.step(step.0, &[step.1]);
    }
    site.pass(Duration::from_secs(600));
    site.input(Input::Stop);
    (0..KINDS).filter(|kind| !site.given.contains(kind)).collect()
}

#[derive(Clone, Copy)]
enum Wish {
    Rehearsal,
    Clear,
    Dtls,
}

struct Site {
    gateway: Gateway,
    now: Duration,
    unix_ms: Option<u64>,
    analysed: bool,
    with_nodes: bool,
    disk: Loaded,
    batch: Option<Batch>,
    /// The last datagram of each open session.
    sockets: BTreeMap<NodeId, Vec<u8>>,
    dtls: BTreeSet<NodeId>,
    /// What the gateway wants of sessions, and nobody has answered yet.
    wanted: VecDeque<(NodeId, Wish)>,
    /// Kinds of events that were said.
    said: BTreeSet<&'static str>,
    runs: u64,
    radio_wanted: bool,
    fcnt: u16,
    sent: Vec<u64>,
    /// Data frames by address and counter, over power cuts: none may go out twice with other bytes.
    on_air: BTreeMap<[u8; 6], Vec<u8>>,
    /// Kinds of inputs that were given.
    given: BTreeSet<usize>,
    stopped: bool,
}

impl Site {
    fn new() -> Site {
        let mut site = Site::start(Loaded::default(), true, Some(START_UNIX_MS));
        site.start_plugin();
        site
    }

    fn start_plugin(&mut self) {
        self.input(Input::PluginStarted(RADIO, self.runs));
        self.line(br#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","plugin":"x","kind":"lora-phy"}}"#);
        self.line(br#"{"ready":{"max_dbm_eirp":14.0,"clock":"us32","channels":8,"timed_tx":true,"inverted_iq":true,"min_lead_ms":50}}"#);
    }

    fn start(disk: Loaded, analysed: bool, unix_ms: Option<u64>) -> Site {
        let now = Duration::from_secs(1);
        let gateway =
            Gateway::new(Now { mono: now, unix_ms }, &config(true), analyses(analysed), HostFacts::default(), &disk, 3);
        let mut site = Site {
            gateway,
            now,
            unix_ms,
            analysed,
            with_nodes: true,
            disk,
            batch: None,
            sockets: BTreeMap::new(),
            dtls: BTreeSet::new(),
            wanted: VecDeque::new(),
            said: BTreeSet::new(),
            // The start of the first one is among the outputs.
            runs: 0,
            radio_wanted: false,
            fcnt: 0,
            sent: Vec::new(),
            on_air: BTreeMap::new(),
            given: BTreeSet::new(),
            stopped: false,
        };
        site.drain();
        site
    }

    fn step(&mut self, step: u8, bytes: &[u8]) {
        let number = bytes.first().copied().unwrap_or(0);
        let node = NodeId(u32::from(number & 3));
        match step % STEPS {
            0 => self.line(bytes),
            1 => self.hear(bytes.to_vec()),
            2 => {
                self.fcnt = self.fcnt.wrapping_add(1 + u16::from(number >> 6));
                let frame = uplink(self.fcnt, bytes.get(1..).unwrap_or_default());
                self.hear(frame);
            }
            3 => {
                let status = ["sent", "late", "collision", "busy", "failed"][usize::from(number) % 5];
                let id = self.sent.pop().unwrap_or_else(|| u64::from(number));
                self.line(format!(r#"{{"txdone":{{"id":{id},"status":"{status}"}}}}"#).as_bytes());
            }
            4 => self.input(Input::Datagram(node, bytes.to_vec())),
            5 => {
                // The server answers what was sent last with the code and payload of this step.
                let ids: Vec<NodeId> = self.sockets.keys().copied().collect();
                for id in ids {
                    let last = self.sockets.get(&id).cloned().unwrap_or_default();
                    // A notification is acknowledged.
                    if last.len() >= 4 && last[1] >= 0x40 {
                        self.input(Input::Datagram(id, vec![0x60, 0, last[2], last[3]]));
                    } else if last.len() >= 4 {
                        let token = usize::from(last[0] & 15).min(8).min(last.len() - 4);
                        let head = [0x60 | token as u8, if number == 0 { 0x41 } else { number }, last[2], last[3]];
                        let rest = if bytes.len() > 1 { &bytes[1..] } else { &[0x82, b'r', b'd', 0x01, b'a'][..] };
                        self.input(Input::Datagram(id, [&head[..], &last[4..4 + token], rest].concat()));
                    }
                }
            }
            6 => self.end_batch(true),
            7 => self.end_batch(false),
            8 => self.pass(Duration::from_millis(u64::from(number) * 100)),
            9 => self.pass(Duration::from_secs(u64::from(number) * 60)),
            10 => {
                self.unix_ms = match number % 5 {
                    0 => None,
                    1 => Some(2_147_483_648_000),
                    2 => Some(u64::MAX - 10_000_000_000),
                    3 => Some(START_UNIX_MS - 86_400_000),
                    _ => Some(START_UNIX_MS + u64::from(number) * 3_600_000),
                };
            }
            11 => self.input(Input::PluginExited(RADIO, self.runs, "x".into())),
            12 => self.input(Input::PluginLine(RADIO, u64::from(number), Err(lpwad_link::Oversize))),
            13 => {
                let reason = Reason::ALL[usize::from(number) % Reason::ALL.len()];
                if self.sockets.remove(&node).is_some() {
                    self.dtls.remove(&node);
                }
                self.input(Input::Down(node, Down::new(reason, "x")));
            }
            14 => {
                let security = if number & 1 == 0 { Security::Clear } else { dtls(number) };
                self.up(node, Up { local_port: 4000 + u16::from(number), security });
            }
            15 => {
                let request = match number % 3 {
                    0 => Request::Status,
                    1 => Request::NodeList,
                    _ => Request::NodeShow { node: String::from_utf8_lossy(bytes).into_owned() },
                };
                self.input(Input::Request(1, request));
            }
            16 => {
                self.analysed = number & 1 == 0;
                self.with_nodes = number & 2 == 0;
                self.input(Input::Reload(Box::new(config(self.with_nodes)), analyses(self.analysed)));
            }
            // Reports of batches that are not on their way.
            17 | 18 if self.batch.as_ref().is_some_and(|batch| batch.ticket == u64::from(number)) => {}
            17 => self.input(Input::Committed(u64::from(number))),
            18 => self.input(Input::CommitFailed(u64::from(number), "x".into())),
            // A rehearsal ends, whether it was asked for or not.
            19 => {
                let down = (number & 4 == 0).then(|| Down::new(Reason::NoAnswer, ""));
                self.input(Input::Rehearsed(node, down));
            }
            // The power goes; only the disk is left, and what was on air.
            20 => {
                let (disk, fcnt) = (std::mem::take(&mut self.disk), self.fcnt);
                let (on_air, given) = (std::mem::take(&mut self.on_air), std::mem::take(&mut self.given));
                let said = std::mem::take(&mut self.said);
                *self = Site::start(disk, self.analysed, self.unix_ms);
                (self.fcnt, self.on_air) = (fcnt, on_air);
                self.given.extend(given);
                self.said.extend(said);
                self.input(Input::PluginStarted(RADIO, 1));
            }
            21 => {
                let flag = |bit: u8| (number & bit != 0).then_some(number & bit << 1 != 0);
                let bearer = (number & 0x40 != 0).then(|| String::from_utf8_lossy(bytes).into_owned());
                self.input(Input::Facts(Facts {
                    counters_checked: flag(1),
                    clock_synchronised: flag(4),
                    bearer,
                    ..Facts::default()
                }));
            }
            22 => {
                let address = if number & 1 == 0 { "127.0.0.1" } else { "192.0.2.1" };
                let up = (number & 2 == 0).then(|| (address.parse().expect("an address"), "lo".to_string()));
                self.input(Input::Bearers(up.into_iter().collect()));
            }
            23 => self.input(Input::Noticed(Event::new(Kind::ALL[usize::from(number) % Kind::ALL.len()]))),
            24 => self.input(Input::PluginNotReading(RADIO, if number & 1 == 0 { self.runs } else { number.into() })),
            25 => self.input(Input::ReloadFailed(String::from_utf8_lossy(bytes).into_owned())),
            26 => {
                let request = match number % 4 {
                    0 => Request::PolicyExplain { node: String::from_utf8_lossy(bytes).into_owned() },
                    1 => Request::PolicyList,
                    2 => Request::PolicyRearm,
                    _ => Request::PolicyRecords { number: Some(number.into()) },
                };
                self.input(Input::Request(2, request));
            }
            // The radio starts, sessions open, and rehearsals succeed, as they are asked for.
            27 => {
                if std::mem::take(&mut self.radio_wanted) {
                    self.start_plugin();
                }
                for (node, wish) in std::mem::take(&mut self.wanted) {
                    match wish {
                        Wish::Rehearsal => self.input(Input::Rehearsed(node, None)),
                        Wish::Clear => self.up(node, Up { local_port: 4000, security: Security::Clear }),
                        Wish::Dtls => self.up(node, Up { local_port: 4000, security: dtls(number) }),
                    }
                }
            }
            28 => self.hear(join_request(number)),
            // The server reads, observes or writes, as a server does.
            _ => {
                let node = NodeId(u32::from(number >> 6 & 1));
                let head = |method| [0x41, method, 0x55, number, number];
                let request = match number % 3 {
                    // Observe is option 6, Uri-Path 11 (RFC 7641 §2, RFC 7252 §5.10).
                    0 => [&head(1)[..], &[0x60, 0x54], b"3303", &[0x01], b"1", &[0x04], b"5700"].concat(),
                    1 => [&head(1)[..], &[0xb4], b"3303", &[0x01], b"1", &[0x04], b"5700"].concat(),
                    _ => [&head(3)[..], &[0xb4], b"3306", &[0x01], b"0", &[0x04], b"5850", b"\xff1"].concat(),
                };
                self.input(Input::Datagram(node, request));
            }
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        self.input(Input::PluginLine(RADIO, self.runs, Ok(bytes.to_vec())));
    }

    fn hear(&mut self, frame: Vec<u8>) {
        let (at_us, data) = (self.now.as_micros() as u32, lpwad_link::hex::encode(&frame));
        let line = format!(
            r#"{{"rx":{{"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","rssi_dbm":-80,"snr_db":7.5,"data":"{data}"}}}}"#
        );
        self.line(line.as_bytes());
    }

    fn end_batch(&mut self, works: bool) {
        let Some(batch) = self.batch.take() else { return };
        if works {
            self.disk.apply(&batch);
            self.input(Input::Committed(batch.ticket));
        } else {
            self.input(Input::CommitFailed(batch.ticket, "disk full".into()));
        }
    }

    /// Lets time pass, deadline by deadline; the disk works meanwhile.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut still = 0;
        while let Some(due) = self.gateway.deadline().filter(|due| *due <= until) {
            still = if due > self.now { 0 } else { still + 1 };
            assert!(still < 200, "a deadline that never passes");
            self.elapse(due);
            self.input(Input::Tick);
            self.end_batch(true);
        }
        self.elapse(until);
    }

    /// A data frame (LoRaWAN 1.0.4 §4) that is on air: a counter twice would be a key stream twice.
    fn transmitted(&mut self, frame: Vec<u8>) {
        let [0x60 | 0xa0, a, b, c, d, _, low, high, ..] = frame[..] else { return };
        let before = self.on_air.entry([a, b, c, d, low, high]).or_insert_with(|| frame.clone());
        assert_eq!(*before, frame, "a downlink counter is used twice");
    }

    fn elapse(&mut self, until: Duration) {
        let gone = until.saturating_sub(self.now);
        self.now = self.now.max(until);
        self.unix_ms = self.unix_ms.map(|ms| ms.saturating_add(gone.as_millis() as u64));
    }

    /// A session opens, whether it was asked for or not.
    fn up(&mut self, session: NodeId, up: Up) {
        self.sockets.insert(session, Vec::new());
        if up.security == Security::Clear {
            self.dtls.remove(&session);
        } else {
            self.dtls.insert(session);
        }
        self.input(Input::Up(session, up));
    }

    /// Whether a clear session is.
    fn permitted(&self) -> bool {
        self.analysed && self.unix_ms.is_some_and(|ms| ms < 1_811_894_400_000)
    }

    fn input(&mut self, input: Input) {
        self.given.insert(kind(&input));
        self.gateway.handle(Now { mono: self.now, unix_ms: self.unix_ms }, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.gateway.poll() {
            outputs += 1;
            assert!(outputs < MAX_OUTPUTS, "one input causes outputs without end");
            match output {
                Output::StartPlugin(_) => (self.runs, self.radio_wanted) = (self.runs + 1, true),
                Output::WritePlugin(_, line) => {
                    let line: serde_json::Value = serde_json::from_str(&line).expect("lines to plugins are JSON");
                    self.sent.extend(line["tx"]["id"].as_u64());
                    if let Some(data) = line["tx"]["data"].as_str() {
                        self.transmitted(lpwad_link::hex::decode(data).expect("frames are hex"));
                    }
                }
                Output::Open { session, to, .. } => {
                    let clear = matches!(to, Target::Clear { .. });
                    assert!(!clear || self.permitted(), "a clear session without a verdict");
                    self.sockets.remove(&session);
                    self.dtls.remove(&session);
                    self.wanted.push_back((session, if clear { Wish::Clear } else { Wish::Dtls }));
                }
                Output::Send(session, bytes) => {
                    assert!(self.dtls.contains(&session) || self.permitted(), "a clear datagram without a verdict");
                    self.sockets.insert(session, bytes);
                }
                Output::Close(session) => {
                    self.wanted.retain(|(of, _)| *of != session);
                    self.sockets.remove(&session);
                    self.dtls.remove(&session);
                }
                Output::Commit(batch) => {
                    assert!(self.batch.replace(batch).is_none(), "two batches on their way");
                }
                Output::Stopped => self.stopped = true,
                Output::Rehearse { session, .. } => self.wanted.push_back((session, Wish::Rehearsal)),
                Output::Event(event) => _ = self.said.insert(event.kind.name()),
                Output::KillPlugin(_) => {}
                Output::Reply(_, answer) => {
                    let held = answer["store"]["datagrams_held"].as_u64().unwrap_or(0);
                    assert!(held <= MAX_HELD, "{held} datagrams wait for the disk");
                }
            }
        }
    }
}

fn dtls(number: u8) -> Security {
    let max_datagram = [16, 512, 1024, 16_384][usize::from(number >> 6)];
    Security::Dtls(Dtls { mode: DtlsMode::Psk, suite: "x".into(), resumed: number & 2 == 0, max_datagram })
}

/// A site of two nodes, or of none.
#[must_use]
pub fn config(with_nodes: bool) -> Config {
    let node = |n, activation| config::Node {
        dev_eui: DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, n]),
        profile: PROFILE.clone(),
        activation,
        server: 0,
        endpoint: None,
        credential: (n == 1).then(|| {
            let key = config::Secret::new(Zeroizing::new(vec![9; 16]));
            Arc::new(config::Credential::Psk { identity: b"id".to_vec(), key })
        }),
    };
    let personalised = Activation::Abp {
        dev_addr: "01020304".parse().expect("8 digits"),
        nwk_s_key: Key::new(KEY),
        app_s_key: Key::new(KEY),
        relaxed_counter: false,
    };
    let joins = Activation::Otaa { join_eui: None, app_key: Key::new(KEY) };
    Config {
        state_dir: None,
        control_socket: None,
        plugin_dirs: Vec::new(),
        analysis_dir: "threat-analysis.d".into(),
        analysis_signers: None,
        facts_dir: "facts".into(),
        rx1_delay_s: 5,
        dtls_live_sessions: config::DTLS_LIVE_SESSIONS,
        backlog: lpwad::config::Backlog { max_bytes: 64 * 1024, ..lpwad::config::Backlog::default() },
        radios: vec![config::Radio {
            name: "roof".into(),
            plugin: "x".into(),
            region: Region::Eu868,
            settings: serde_json::Map::new(),
        }],
        servers: vec![Server {
            name: "site".into(),
            uri: "coap://127.0.0.1:5683".parse().ok(),
            secure_uri: "coaps://127.0.0.1:5684".parse().ok(),
            security: Wanted::Auto,
            reachable: true,
            dtls: lpwad::config::Dtls::default(),
        }],
        nodes: if with_nodes { vec![node(1, personalised), node(2, joins)] } else { Vec::new() },
        warnings: Vec::new(),
    }
}

fn analyses(named: bool) -> Analyses {
    let mut analyses = Analyses::default();
    // The node with a credential needs DTLS in reserve.
    for (id, endpoint, needs_reserve) in [("T1", "*1", true), ("T2", "*2", false)].into_iter().filter(|_| named) {
        let draft = Draft {
            id,
            title: "",
            server: "coap://127.0.0.1:5683",
            endpoints: &[endpoint],
            reviewed: "2026-11-24".parse().expect("a date"),
            expires: "2027-06-01".parse().expect("a date"),
            by: "fuzz",
            clock: Some("fuzz"),
            abp: Some("fuzz"),
            accept: Some("no other users on this host"),
            needs_reserve,
        };
        analyses.add(Path::new("t.toml"), &draft.text());
    }
    assert!(analyses.invalid.is_empty(), "{:?}", analyses.invalid);
    analyses
}

/// A join request of the other node, with this DevNonce (LoRaWAN 1.0.4 §6.2.4).
fn join_request(dev_nonce: u8) -> Vec<u8> {
    let dev_eui = [2, 0, 0, 0xd0, 0x7e, 0xd5, 0xb3, 0x70];
    let mut frame = [&[0][..], &[1; 8], &dev_eui, &[dev_nonce, 0]].concat();
    let mut mac = <Cmac<Aes128> as Mac>::new_from_slice(&KEY).expect("16 bytes");
    mac.update(&frame);
    frame.extend_from_slice(&mac.finalize().into_bytes()[..4]);
    frame
}

/// An unconfirmed uplink of the personalised node on FPort 1, enciphered and with its MIC (LoRaWAN 1.0.4 §4.3.3, §4.4).
fn uplink(fcnt: u16, payload: &[u8]) -> Vec<u8> {
    let [low, high] = fcnt.to_le_bytes();
    let mut payload = payload[..payload.len().min(50)].to_vec();
    for (number, piece) in (1..).zip(payload.chunks_mut(16)) {
        let [a, b, c, d] = ADDRESS;
        let mut block = [1, 0, 0, 0, 0, 0, a, b, c, d, low, high, 0, 0, 0, number].into();
        Aes128::new(&KEY.into()).encrypt_block(&mut block);
        piece.iter_mut().zip(block).for_each(|(byte, key)| *byte ^= key);
    }
    let mut frame = [&[0x40][..], &ADDRESS, &[0, low, high, 1], &payload].concat();
    let mut mac = <Cmac<Aes128> as Mac>::new_from_slice(&KEY).expect("16 bytes");
    mac.update(&[0x49, 0, 0, 0, 0, 0]);
    mac.update(&ADDRESS);
    mac.update(&[low, high, 0, 0, 0, frame.len() as u8]);
    mac.update(&frame);
    frame.extend_from_slice(&mac.finalize().into_bytes()[..4]);
    frame
}
