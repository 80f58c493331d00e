//! Events: what the journal and `lpwad run --json` show. Names are stable; they go into the field `LPWAD_EVENT`.

use log::Level;
use lpwad_lorawan::DevEui;

macro_rules! events {
    ($(#[doc = $doc:literal] $kind:ident = $name:literal, $level:ident;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $doc] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// Stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Kind::$kind => $doc,)* }
            }

            /// How loud it is.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Kind::$kind => Level::$level,)* }
            }
        }
    };
}

events! {
    /// The gateway runs.
    Started = "started", Info;
    /// The gateway ends.
    Stopping = "stopping", Info;
    /// The configuration was read again and holds now.
    Reloaded = "reloaded", Info;
    /// The configuration was read again and cannot be used; the former one holds.
    ReloadFailed = "reload-failed", Error;
    /// A radio works; nodes can be heard.
    RadioReady = "radio-ready", Info;
    /// A radio does not work; it is started again.
    RadioLost = "radio-lost", Warn;
    /// A radio's plugin reports a fault; said ten times a minute.
    RadioFault = "radio-fault", Warn;
    /// A radio's fault is over.
    RadioRecovered = "radio-recovered", Info;
    /// A frame was not accepted; of each reason ten a minute are said, and the next one says how many were not.
    FrameDropped = "frame-dropped", Info;
    /// A node asked to join and gets an answer.
    NodeJoining = "node-joining", Info;
    /// A node speaks under the keys of its join.
    NodeJoined = "node-joined", Info;
    /// A node sent something.
    Uplink = "uplink", Info;
    /// A node sent a frame again.
    UplinkRepeated = "uplink-repeated", Debug;
    /// Not all of a payload was understood.
    PayloadNotUnderstood = "payload-not-understood", Warn;
    /// A frame is handed to a radio.
    Transmit = "transmit", Debug;
    /// A frame for a node was not on air.
    TransmitFailed = "transmit-failed", Warn;
    /// A server wrote a resource; the write waits for the node.
    WriteAccepted = "write-accepted", Info;
    /// A server's write or execute was refused.
    WriteRefused = "write-refused", Warn;
    /// A write was on air.
    DownlinkSent = "downlink-sent", Info;
    /// A node acknowledged a write.
    DownlinkAcked = "downlink-acked", Info;
    /// A write was given up.
    DownlinkDropped = "downlink-dropped", Warn;
    /// A proxy is registered.
    Registered = "registered", Info;
    /// A proxy's registration was renewed.
    Updated = "updated", Debug;
    /// A proxy could not register or renew.
    RegistrationFailed = "registration-failed", Warn;
    /// A proxy said goodbye.
    Deregistered = "deregistered", Info;
    /// A node was silent for a registration lifetime.
    RegistrationLapsed = "registration-lapsed", Info;
    /// A server observes a path.
    Observed = "observed", Info;
    /// An observation ended.
    ObservationEnded = "observation-ended", Info;
    /// A server was notified.
    Notified = "notified", Info;
    /// A server's request was answered.
    Served = "served", Debug;
    /// The policy decided how the sessions to a server open.
    PolicyVerdict = "policy-verdict", Info;
    /// No session opens to a server.
    PolicyRefused = "policy-refused", Warn;
    /// A session's socket could not be opened.
    SessionFailed = "session-failed", Warn;
    /// A server has been told by Send what it missed of a node.
    BacklogDelivered = "backlog-delivered", Info;
    /// A server does not take Send; what it missed is kept until the node registers anew, within the bounds.
    BacklogRefused = "backlog-refused", Warn;
    /// What servers missed is too much or too old: the oldest uplinks go. Said once until nothing waits.
    BacklogFull = "backlog-full", Warn;
    /// A record of the store cannot be used.
    RecordDamaged = "record-damaged", Warn;
    /// The store cannot be written, said once; until it recovers nothing that needs it leaves.
    StoreFailed = "store-failed", Error;
    /// The store can be written again.
    StoreRecovered = "store-recovered", Info;
}

/// How much an event says of people and things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// How the gateway works; may be shown to anybody.
    Operational,
    /// Names a device, an address or a place; may be personal data where a device belongs to a person.
    Identifying,
    /// What a node or a server said. Never above debug. Keys are in no class: they are never said.
    Payload,
}

impl Class {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Operational => "operational",
            Class::Identifying => "identifying",
            Class::Payload => "payload",
        }
    }
}

/// The class of each field, by name, beside `node` (identifying), `radio` and `server` (operational). No field has the
/// class payload yet: nothing of what nodes and servers say is said.
pub const FIELDS: &[(&str, Class)] = &[
    ("added", Class::Operational),
    ("after_restart", Class::Operational),
    ("airtime_ms", Class::Operational),
    ("analysis", Class::Operational),
    ("by", Class::Operational),
    ("bytes", Class::Operational),
    ("changed", Class::Operational),
    ("confirmable", Class::Operational),
    ("dev_addr", Class::Identifying),
    ("dev_nonce", Class::Operational),
    ("downlink", Class::Operational),
    ("dr", Class::Operational),
    ("endpoint", Class::Identifying),
    ("error", Class::Operational),
    ("fault", Class::Operational),
    ("fcnt", Class::Operational),
    ("fport", Class::Operational),
    ("freq_hz", Class::Operational),
    ("from", Class::Identifying),
    ("location", Class::Identifying),
    ("max_dbm_eirp", Class::Operational),
    ("nodes", Class::Operational),
    ("operation", Class::Operational),
    ("path", Class::Operational),
    ("problem", Class::Operational),
    ("radios", Class::Operational),
    ("readings", Class::Operational),
    ("reason", Class::Operational),
    ("removed", Class::Operational),
    ("retry_in_ms", Class::Operational),
    ("retry_in_s", Class::Operational),
    ("rssi_dbm", Class::Operational),
    ("snr_db", Class::Operational),
    ("suppressed", Class::Operational),
    ("table", Class::Operational),
    ("tx_margin_ms", Class::Operational),
    ("uplinks", Class::Operational),
    ("verdict", Class::Operational),
];

/// An event with what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// Node that it is about.
    pub node: Option<DevEui>,
    /// Radio that it is about.
    pub radio: Option<String>,
    /// Server that it is about.
    pub server: Option<String>,
    /// More, by name.
    pub fields: Vec<(&'static str, String)>,
}

impl Event {
    /// An event about nothing in particular.
    #[must_use]
    pub fn new(kind: Kind) -> Event {
        Event { kind, node: None, radio: None, server: None, fields: Vec::new() }
    }

    /// The same with its node.
    #[must_use]
    pub fn node(mut self, node: DevEui) -> Event {
        self.node = Some(node);
        self
    }

    /// The same with its radio.
    #[must_use]
    pub fn radio(mut self, radio: &str) -> Event {
        self.radio = Some(radio.to_string());
        self
    }

    /// The same with its server.
    #[must_use]
    pub fn server(mut self, server: &str) -> Event {
        self.server = Some(server.to_string());
        self
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Event {
        self.fields.push((name, value.to_string()));
        self
    }

    /// One line for people, without the time.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.kind.name().to_string();
        let about = [
            ("node", self.node.map(|node| node.to_string())),
            ("radio", self.radio.clone()),
            ("server", self.server.clone()),
        ];
        let about = about.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let fields = self.fields.iter().map(|(name, value)| (*name, value.clone()));
        for (name, value) in about.chain(fields) {
            let quoted = value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"' || c.is_control());
            let value = if quoted { format!("{value:?}") } else { value };
            text.push_str(&format!(" {name}={value}"));
        }
        text
    }

    /// One JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        let mut put = |name: &str, value: String| object.insert(name.to_string(), value.into());
        put("event", self.kind.name().into());
        if let Some(node) = self.node {
            put("node", node.to_string());
        }
        if let Some(radio) = &self.radio {
            put("radio", radio.clone());
        }
        if let Some(server) = &self.server {
            put("server", server.clone());
        }
        for (name, value) in &self.fields {
            put(name, value.clone());
        }
        object.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_text_quotes_what_could_mislead() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        let event = Event::new(Kind::RadioLost).radio("roof").with("reason", "gone\nnode=x");
        assert_eq!(event.to_text(), r#"radio-lost radio=roof reason="gone\nnode=x""#);
        assert_eq!(event.to_json()["event"], "radio-lost");
    }
}
