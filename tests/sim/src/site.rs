//! The site: two servers on this host, one radio, nodes of which every tenth is personalised.

use lpwad::config::{self, Config, Profile, Security, Server};
use lpwad::policy::analyses::Analyses;
use lpwad::policy::draft::Draft;
use lpwad_lorawan::{Activation, DevEui, JoinEui, Key, Region};
use lpwad_sim::node::{self, Eui, NodeConfig, Uplink};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Addresses of the servers. The nodes of the second one sleep (queue mode).
pub const SERVERS: [&str; 2] = ["127.0.0.1:5683", "127.0.0.1:5684"];
/// Names of the servers.
pub const NAMES: [&str; 2] = ["east", "west"];
/// Time between two uplinks of a node.
pub const INTERVAL: Duration = Duration::from_secs(3600);
/// Path that servers write to.
pub const WRITTEN: &str = "/3306/0/5850";
/// Path of the temperature.
pub const TEMPERATURE: &str = "/3303/1/5700";

/// Number of the server with this name.
#[must_use]
pub fn server(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The DevEUI of node `n`.
#[must_use]
pub fn dev_eui(n: usize) -> [u8; 8] {
    (0x70b3_d57e_d000_0000 + n as u64).to_be_bytes()
}

/// Its endpoint name.
#[must_use]
pub fn endpoint(n: usize) -> String {
    lpwad::node::identity::endpoint(DevEui(dev_eui(n)), None)
}

/// Its number.
#[must_use]
pub fn number(dev_eui: [u8; 8]) -> usize {
    (u64::from_be_bytes(dev_eui) & 0xff_ffff) as usize
}

/// Whether it is activated by personalisation.
#[must_use]
pub fn is_personalised(n: usize) -> bool {
    n % 10 == 9
}

/// Its AppKey, or as `1` and `2` its session keys.
#[must_use]
pub fn key(n: usize, which: u8) -> [u8; 16] {
    let mut key = [which; 16];
    key[..8].copy_from_slice(&dev_eui(n));
    key
}

/// Address of a personalised node, most significant byte first.
#[must_use]
pub fn dev_addr(n: usize) -> [u8; 4] {
    // NwkID 1, so that it does not meet the addresses that the network gives out (NetID 0).
    (0x0200_0000 + n as u32).to_be_bytes()
}

/// An LPP payload of a temperature in tenths of a degree (channel 1) and a humidity (channel 2).
#[must_use]
pub fn payload(tenths: i16) -> Vec<u8> {
    let [high, low] = tenths.to_be_bytes();
    vec![1, 0x67, high, low, 2, 0x68, 0x91]
}

/// The temperature of a payload.
#[must_use]
pub fn temperature(payload: &[u8]) -> Option<f64> {
    match payload {
        [1, 0x67, high, low, ..] => Some(f64::from(i16::from_be_bytes([*high, *low])) / 10.0),
        _ => None,
    }
}

/// The virtual nodes.
#[must_use]
pub fn nodes(count: usize) -> Vec<NodeConfig> {
    (0..count)
        .map(|n| NodeConfig {
            dev_eui: Eui(dev_eui(n)),
            activation: if is_personalised(n) {
                node::Activation::Abp {
                    dev_addr: dev_addr(n),
                    nwk_s_key: node::Key(key(n, 1)),
                    app_s_key: node::Key(key(n, 2)),
                    fcnt_up: 0,
                }
            } else {
                node::Activation::Otaa { join_eui: Eui([0; 8]), app_key: node::Key(key(n, 0)) }
            },
            sf: 7,
            interval: Some(INTERVAL),
            // No temperature twice in a week.
            uplinks: (0..200)
                .map(|turn| Uplink {
                    fport: 1,
                    payload: payload(200 + turn + (n % 50) as i16),
                    confirmed: turn % 4 == 3,
                })
                .collect(),
            start_delay: Duration::from_millis(1000 + INTERVAL.as_millis() as u64 * n as u64 / count as u64),
            join_retry: Duration::from_secs(30),
            rx_tolerance: Duration::from_millis(50),
            pinned_hz: None,
            rssi_dbm: -60 - (n % 50) as i16,
            snr_db: 8,
        })
        .collect()
}

/// Whether node `n` can do DTLS where its server's verdict asks for it.
#[must_use]
pub fn has_credential(n: usize) -> bool {
    n % 4 < 2
}

/// Endpoints of the nodes with a credential, which need DTLS in reserve, and of those without, by their last digit.
const KINDS: [(&[&str], bool); 2] = [
    (&["*0", "*1", "*4", "*5", "*8", "*9", "*c", "*d"], true),
    (&["*2", "*3", "*6", "*7", "*a", "*b", "*e", "*f"], false),
];

/// Analyses that speak of a server: one for each of its kinds of nodes.
pub const ANALYSES_OF_A_SERVER: usize = KINDS.len();

fn credential(n: usize) -> Arc<config::Credential> {
    let key = config::Secret::new(zeroize::Zeroizing::new(key(n, 3).to_vec()));
    Arc::new(config::Credential::Psk { identity: endpoint(n).into_bytes(), key })
}

/// What the operator did to the nodes of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Edited {
    /// Nodes that are not in it.
    pub left_out: BTreeSet<usize>,
    /// Nodes of which a LoRaWAN key is wrong.
    pub mistyped: BTreeSet<usize>,
}

/// The configuration of the gateway. `backlog_bytes` is what it keeps at most of what servers miss.
#[must_use]
pub fn config(count: usize, edited: &Edited, backlog_bytes: usize) -> Config {
    let lorawan_key = |n: usize, which| {
        let mut key = key(n, which);
        key[15] ^= u8::from(edited.mistyped.contains(&n));
        Key::new(key)
    };
    let text =
        include_str!("../../../profiles/cayenne-lpp.toml").replace("expect_uplink_s = 900", "expect_uplink_s = 3600");
    let profile =
        Arc::new(Profile::parse(Path::new("cayenne-lpp.toml"), &text).expect("the profile of the repository"));
    let server = |(name, address): (&str, &str), reachable| Server {
        name: name.into(),
        uri: format!("coap://{address}").parse().ok(),
        secure_uri: format!("coaps://{name}.example").parse().ok(),
        security: Security::Auto,
        reachable,
        dtls: lpwad::config::Dtls::default(),
    };
    Config {
        state_dir: None,
        control_socket: None,
        plugin_dirs: Vec::new(),
        analysis_dir: "threat-analysis.d".into(),
        analysis_signers: None,
        facts_dir: "facts".into(),
        rx1_delay_s: 5,
        dtls_live_sessions: config::DTLS_LIVE_SESSIONS,
        backlog: config::Backlog { max_bytes: backlog_bytes, ..config::Backlog::default() },
        radios: vec![config::Radio {
            name: "roof".into(),
            plugin: "simulated".into(),
            region: Region::Eu868,
            settings: serde_json::Map::new(),
        }],
        servers: vec![server((NAMES[0], SERVERS[0]), true), server((NAMES[1], SERVERS[1]), false)],
        nodes: (0..count)
            .filter(|n| !edited.left_out.contains(n))
            .map(|n| config::Node {
                dev_eui: DevEui(dev_eui(n)),
                profile: profile.clone(),
                activation: if is_personalised(n) {
                    Activation::Abp {
                        dev_addr: lpwad_link::hex::encode(&dev_addr(n)).parse().expect("8 digits"),
                        nwk_s_key: lorawan_key(n, 1),
                        app_s_key: Key::new(key(n, 2)),
                        relaxed_counter: false,
                    }
                } else {
                    Activation::Otaa { join_eui: Some(JoinEui([0; 8])), app_key: lorawan_key(n, 0) }
                },
                server: n % 2,
                endpoint: None,
                credential: has_credential(n).then(|| credential(n)),
            })
            .collect(),
        warnings: Vec::new(),
    }
}

/// What the operator's directory of threat analyses holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Folder {
    /// Whether there is an analysis for each server.
    pub named: [bool; 2],
    /// Whether there is a file that does not parse.
    pub broken: bool,
}

/// Last valid day of the analyses: 2027-06-01.
const LAST_DAY_MS: u64 = 1_811_808_000_000;
/// The daemon trusts no clock before this (`src/io/clock.rs`).
pub const NOT_BEFORE_UNIX_MS: u64 = 1_795_478_400_000;

impl Folder {
    /// Everything there and well.
    pub const WHOLE: Folder = Folder { named: [true, true], broken: false };

    /// The files as the gateway reads them.
    #[must_use]
    pub fn analyses(self) -> Analyses {
        let mut analyses = Analyses::default();
        for (address, _) in SERVERS.iter().zip(self.named).filter(|(_, named)| *named) {
            for (endpoints, needs_reserve) in KINDS {
                let draft = Draft {
                    id: &format!("TA-{address}-{needs_reserve}"),
                    title: "simulated",
                    server: &format!("coap://{address}"),
                    endpoints,
                    reviewed: "2026-11-24".parse().expect("a date"),
                    expires: "2027-06-01".parse().expect("a date"),
                    by: "the simulation",
                    clock: Some("simulated"),
                    abp: Some("simulated"),
                    accept: Some("no other users on this host"),
                    needs_reserve,
                };
                analyses.add(Path::new("ta.toml"), &draft.text());
            }
        }
        if self.broken {
            analyses.add(Path::new("broken.toml"), "schema = ");
        }
        analyses
    }

    /// Whether a clear datagram to server `index` is permitted: the rule of LwM2M 1.1 §7.1.1 for this site, told a second
    /// time and from other data than the product's. `before`: what there was before a file was broken, if the gateway has
    /// seen it since its start.
    #[must_use]
    pub fn permits(self, before: Option<Folder>, index: usize, unix_ms: u64) -> bool {
        let in_time = (NOT_BEFORE_UNIX_MS..LAST_DAY_MS + 86_400_000).contains(&unix_ms);
        let held = if self.broken { before.map_or([false; 2], |before| before.named) } else { self.named };
        in_time && held.get(index).copied().unwrap_or(false)
    }
}
