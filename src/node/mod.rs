//! A node: its identity, its LwM2M client, its session and what we owe it.

pub mod identity;
pub mod mailbox;

use crate::config;
use crate::config::{DtlsMode, Profile};
use crate::session::{Session, Way};
use crate::store::record::{PendingWrite, ProxyRecord, ValuesRecord};
use core::time::Duration;
use lpwad_lorawan::{DataRate, DevEui, Uplink};
use lpwad_lwm2m::{Client, ClientConfig, Path, Reading, Registry, Snapshot, Value};
use mailbox::Mailbox;
use std::sync::Arc;

/// Our private object: what no OMA object has. Its ids stand in `crates/lwm2m/objects/30412.toml`.
pub const NODE_OBJECT: u16 = 30_412;
const LAST_HEARD: Path = Path::resource(NODE_OBJECT, 0, 0);
const PENDING_DOWNLINKS: Path = Path::resource(NODE_OBJECT, 0, 1);
const DROPPED_DOWNLINKS: Path = Path::resource(NODE_OBJECT, 0, 2);

/// The last authenticated uplink.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// When, on the gateway's monotonic clock.
    pub mono: Duration,
    /// When, in ms since 1970, if the clock was trusted.
    pub unix_ms: Option<u64>,
    /// Its counter.
    pub fcnt: u32,
    /// Its data rate.
    pub dr: DataRate,
    /// Signal strength in dBm.
    pub rssi_dbm: Option<i16>,
    /// Signal to noise ratio in dB.
    pub snr_db: Option<f32>,
}

/// A node and its proxy.
#[derive(Debug)]
pub struct Node {
    /// DevEUI.
    pub dev_eui: DevEui,
    /// Endpoint name towards the server.
    pub endpoint: String,
    /// Device profile.
    pub profile: Arc<Profile>,
    /// Index of its server.
    pub server: usize,
    /// The proxy's LwM2M client.
    pub client: Client,
    /// Kind of its credential for DTLS, if it has one.
    pub dtls: Option<DtlsMode>,
    /// The proxy's session.
    pub session: Session,
    /// What we owe the node.
    pub mailbox: Mailbox,
    /// The last uplink since the start.
    pub heard: Option<Heard>,
    /// When it was last heard, also before the start, in ms since 1970.
    pub last_heard_unix_ms: Option<u64>,
    /// Uplinks since the start.
    pub uplinks: u64,
    /// The node spoke, and its client was not told yet.
    pub spoke: bool,
    /// Whether the operator was told that no session may open.
    pub told_refused: bool,
    /// State of the client as last to be stored.
    pub snapshot: Option<Snapshot>,
    /// It is no longer configured; its proxy says goodbye until then at the latest.
    pub leaves: Option<Duration>,
}

/// What the store had of a node.
#[derive(Debug, Default)]
pub struct Restored {
    /// Registration and port.
    pub proxy: Option<ProxyRecord>,
    /// Values.
    pub values: Option<ValuesRecord>,
    /// Writes, and how many were dropped so far.
    pub mailbox: Option<(u64, Vec<PendingWrite>)>,
}

impl Node {
    /// A node as configured and as it was before the restart. `unix_ms` tells the age of its values; without it they
    /// count as stale. `storing`: what its server misses
    /// is kept. Its writes are not put back here: only the gateway gives out ids.
    #[must_use]
    pub fn new(
        config: &config::Node,
        server: &config::Server,
        registry: &Arc<Registry>,
        restored: Restored,
        seed: u64,
        unix_ms: Option<u64>,
        storing: bool,
    ) -> Node {
        let profile = config.profile.clone();
        let endpoint = identity::endpoint(config.dev_eui, config.endpoint.as_deref());
        let lifetime_s = profile.registration_lifetime_s();
        let proxy = restored.proxy.filter(|proxy| proxy.server == server.name && proxy.endpoint == endpoint);
        let snapshot = proxy.as_ref().and_then(|proxy| proxy.snapshot.clone());
        let last_way = if proxy.as_ref().is_some_and(|proxy| proxy.dtls) { Way::Dtls } else { Way::Clear };
        let session = Session::new(proxy.and_then(|proxy| proxy.local_port), last_way);
        let client_config = ClientConfig {
            endpoint: endpoint.clone(),
            lifetime_s,
            queue_mode: !server.reachable,
            default_pmin_s: 0,
            default_pmax_s: 0,
            short_server_id: 1,
            storing,
            max_block: 1024,
            stale_after: Some(Duration::from_secs(u64::from(profile.stale_after_s.unwrap_or(lifetime_s)))),
            seed,
        };
        let mut client = Client::new(client_config, registry.clone(), snapshot.clone());
        for (object, instance) in [(1, 0), (3, 0), (3412, 0), (NODE_OBJECT, 0)] {
            client.add_instance(object, instance);
        }
        for path in &profile.objects {
            client.add_instance(path.object, path.instance);
        }
        for path in profile.actuator.iter().map(|actuator| actuator.path).chain(profile.command.iter().map(|c| c.path))
        {
            client.add_resource(path);
        }
        for (resource, text) in [(0, &profile.device.manufacturer), (1, &profile.device.model)] {
            if !text.is_empty() {
                client.set_static(Path::resource(3, 0, resource), Value::String(text.clone()));
            }
        }
        client.set_static(Path::resource(3, 0, 2), Value::String(config.dev_eui.to_string()));
        client.set_static(Path::resource_instance(3, 0, 11, 0), Value::Integer(0));
        client.set_static(Path::resource(3, 0, 16), Value::String("U".into()));
        client.set_static(Path::resource(3412, 0, 1), Value::String("LoRaWAN".into()));
        client.set_static(Path::resource(3412, 0, 6), Value::String(config.dev_eui.to_string()));
        let mut mailbox = Mailbox::default();
        mailbox.dropped = restored.mailbox.map_or(0, |(dropped, _)| dropped);
        let mut node = Node {
            dev_eui: config.dev_eui,
            endpoint,
            profile,
            server: config.server,
            client,
            dtls: config.dtls_mode(),
            session,
            mailbox,
            heard: None,
            last_heard_unix_ms: None,
            uplinks: 0,
            spoke: false,
            told_refused: false,
            snapshot,
            leaves: None,
        };
        if let Some(values) = restored.values {
            node.restore_values(&values, unix_ms);
        }
        node.show_mailbox();
        node
    }

    fn restore_values(&mut self, values: &ValuesRecord, unix_ms: Option<u64>) {
        for reading in &values.readings {
            let age_ms = unix_ms.zip(reading.at_unix_ms).and_then(|(now, at)| now.checked_sub(at));
            self.client.restore_value(reading, age_ms.map_or(Duration::MAX, Duration::from_millis));
        }
        self.last_heard_unix_ms = values.last_heard_unix_ms;
        if let Some(at) = values.last_heard_unix_ms {
            self.client.set_static(LAST_HEARD, Value::Time((at / 1000) as i64));
        }
    }

    /// Notes an authenticated uplink; gives the readings about the link itself.
    pub fn hear(&mut self, mono: Duration, unix_ms: Option<u64>, uplink: &Uplink) -> Vec<Reading> {
        self.heard = Some(Heard {
            mono,
            unix_ms,
            fcnt: uplink.fcnt,
            dr: uplink.dr,
            rssi_dbm: uplink.rssi_dbm,
            snr_db: uplink.snr_db,
        });
        self.uplinks += 1;
        self.spoke = true;
        if let Some(at) = unix_ms {
            self.last_heard_unix_ms = unix_ms;
            self.client.set_static(LAST_HEARD, Value::Time((at / 1000) as i64));
        }
        let link = |resource, value| Reading { path: Path::resource(3412, 0, resource), value, at_unix_ms: unix_ms };
        let snr = uplink.snr_db.map(|snr| link(18, Value::Float(f64::from(snr))));
        let rssi = uplink.rssi_dbm.map(|rssi| link(20, Value::Float(f64::from(rssi))));
        let frequency = link(12, Value::Float(f64::from(uplink.freq_hz)));
        snr.into_iter().chain(rssi).chain([frequency]).collect()
    }

    /// What the store keeps of its values: all that came from the node.
    #[must_use]
    pub fn values_record(&self) -> ValuesRecord {
        let kept = |path: &Path| !matches!(path.object, 1 | 3 | NODE_OBJECT);
        let readings = self
            .client
            .values()
            .filter(|(path, _, at)| kept(path) && at.is_some())
            .map(|(path, value, at_unix_ms)| Reading { path, value: value.clone(), at_unix_ms })
            .collect();
        ValuesRecord { last_heard_unix_ms: self.last_heard_unix_ms, readings }
    }

    /// Shows the mailbox's state in our private object.
    pub fn show_mailbox(&mut self) {
        self.client.set_static(PENDING_DOWNLINKS, Value::Integer(self.mailbox.items().len() as i64));
        self.client.set_static(DROPPED_DOWNLINKS, Value::Integer(self.mailbox.dropped as i64));
    }

    /// Whether the proxy waits for the answer to its De-register.
    #[must_use]
    pub fn is_deregistering(&self) -> bool {
        self.session.is_open() && matches!(self.client.state(), lpwad_lwm2m::State::Deregistering)
    }

    /// When the node has something to do by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        if self.leaves.is_some() {
            return self.client.deadline().into_iter().chain(self.leaves).min();
        }
        self.client.deadline().into_iter().chain(self.mailbox.deadline()).min()
    }
}
