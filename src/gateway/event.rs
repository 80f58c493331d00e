//! Events: what the journal and `lpwad run --json` show. Names are stable; they go into the field `LPWAD_EVENT`.

use crate::session::Reason;
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
    /// The OpenSSL that is linked gets no corrections any more.
    LibraryUnsupported = "library-unsupported", Warn;
    /// A node's credential, or how its server is known, cannot be used: no DTLS session can open.
    CredentialUnusable = "credential-unusable", Warn;
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
    /// This system cannot do all of the sandbox of plugins; they run with the rest of it.
    SandboxIncomplete = "sandbox-incomplete", Warn;
    /// A plugin said nothing in time: no `hello`, no `ready`, or no line; it is started again.
    PluginSilent = "plugin-silent", Warn;
    /// A plugin wrote too many lines that are no messages; it is started again.
    PluginGarbage = "plugin-garbage", Warn;
    /// A plugin wrote a line that does not end; it is started again.
    PluginLineTooLong = "plugin-line-too-long", Warn;
    /// A plugin wrote too many lines in a second; it is started again.
    PluginFlood = "plugin-flood", Warn;
    /// A plugin speaks another protocol or version, or is of another kind; it is started again.
    PluginIncompatible = "plugin-incompatible", Warn;
    /// What a plugin says that its radio can do cannot be; it is started again.
    PluginSheetRefused = "plugin-sheet-refused", Warn;
    /// A plugin's process ended by itself, or could not be started; it is started again.
    PluginEnded = "plugin-ended", Warn;
    /// A plugin did not read what it was told; it is started again.
    PluginNotReading = "plugin-not-reading", Warn;
    /// A plugin writes more to standard error than is logged; said once a run.
    PluginLogFlood = "plugin-log-flood", Warn;
    /// A radio's clock went another way than time does; said ten times a minute.
    RadioClockJumped = "radio-clock-jumped", Warn;
    /// A radio told the end of a transmission that nobody waits for, any more or at all; said ten times a minute.
    TxdoneUnexpected = "txdone-unexpected", Warn;
    /// A radio did not tell what became of a transmission.
    TxdoneMissing = "txdone-missing", Warn;
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
    /// The policy decided how the sessions of nodes to a server open.
    PolicyVerdict = "policy-verdict", Info;
    /// No session opens to a server.
    PolicyRefused = "policy-refused", Warn;
    /// A threat analysis is not valid, or could have been written by others: no clear session opens anew.
    AnalysisInvalid = "analysis-invalid", Error;
    /// A threat analysis, or evidence or an accepted risk in it, is about to expire: said 30, 7 and 1 days before.
    AnalysisExpires = "analysis-expires", Warn;
    /// Leave for clear sessions was lost while they were used; it comes back by a new review or `lpwad policy rearm` only.
    PolicyLatched = "policy-latched", Warn;
    /// DTLS in reserve could not be opened: NoSec is not used yet, or goes on and would leave the node dark if it were lost.
    ReserveFailed = "reserve-failed", Warn;
    /// Somebody has rearmed the policy.
    PolicyRearmed = "policy-rearmed", Info;
    /// A file of facts, or their directory, is not believed or cannot be read; said once until that changes.
    FactFileRefused = "fact-file-refused", Warn;
    /// A radio's serial port can be reached by others than root, lpwad and its plugin; said once until that changes.
    PortExposed = "port-exposed", Info;
    /// A DTLS session is open.
    SessionOpened = "session-opened", Info;
    /// A session could not be opened for a reason of this host: no socket, no address of the server's name.
    SessionFailed = "session-failed", Warn;
    /// The node has no credential that DTLS could use.
    DtlsNoCredential = "dtls-no-credential", Warn;
    /// The server did not answer the handshake.
    DtlsNoAnswer = "dtls-no-answer", Warn;
    /// The server fell silent when keys were used: probably the pre-shared key is wrong.
    DtlsWrongKey = "dtls-wrong-key", Warn;
    /// The server does not know the identity of the pre-shared key.
    DtlsUnknownIdentity = "dtls-unknown-identity", Warn;
    /// The server's raw public key is not the configured one.
    DtlsWrongServerKey = "dtls-wrong-server-key", Error;
    /// The server's certificate bears another name.
    DtlsWrongName = "dtls-wrong-name", Error;
    /// The server's certificate is not valid today.
    DtlsCertificateExpired = "dtls-certificate-expired", Warn;
    /// The server's certificate is not accepted.
    DtlsCertificateRefused = "dtls-certificate-refused", Error;
    /// The server does not accept the node's credential.
    DtlsCredentialRefused = "dtls-credential-refused", Warn;
    /// Certificates have dates, and the clock of this host is not trusted.
    DtlsClockUnknown = "dtls-clock-unknown", Warn;
    /// Server and profile have no cipher suite in common.
    DtlsNoCommonSuite = "dtls-no-common-suite", Warn;
    /// The server does not speak DTLS 1.2.
    DtlsVersion = "dtls-version", Warn;
    /// The server broke a rule of the handshake.
    DtlsProtocol = "dtls-protocol", Warn;
    /// The server refused with another alert.
    DtlsAlert = "dtls-alert", Warn;
    /// The server closed the session, or its certificate has expired since; it is opened again when the node speaks.
    DtlsEnded = "dtls-ended", Info;
    /// Too many forged records came; the session is renewed.
    DtlsForged = "dtls-forged", Warn;
    /// The node's credential was changed; the session under the old one is closed.
    DtlsKeyChanged = "dtls-key-changed", Info;
    /// A session was put aside to make room; it is resumed when the node speaks.
    DtlsParked = "dtls-parked", Debug;
    /// A server has been told by Send what it missed of a node.
    BacklogDelivered = "backlog-delivered", Info;
    /// A server refused a Send; what it missed is kept within the bounds and tried again after a Register, or an hour later and then less often. Said once until it takes one.
    BacklogRefused = "backlog-refused", Warn;
    /// Readings that a server missed can never be sent: the profile does not have their resources, or they are too large for a message and the server takes no blocks.
    BacklogUnsendable = "backlog-unsendable", Warn;
    /// What servers missed is too much or too old: the oldest uplinks go. Said once until nothing waits.
    BacklogFull = "backlog-full", Warn;
    /// A record of the store cannot be used.
    RecordDamaged = "record-damaged", Warn;
    /// The store cannot be written, said once; until it recovers nothing that needs it leaves.
    StoreFailed = "store-failed", Error;
    /// The store can be written again.
    StoreRecovered = "store-recovered", Info;
}

impl Kind {
    /// What is said when a session could not be opened, or has ended.
    #[must_use]
    pub fn of_down(reason: Reason) -> Kind {
        match reason {
            Reason::Socket | Reason::Unresolved => Kind::SessionFailed,
            Reason::NoCredential => Kind::DtlsNoCredential,
            Reason::NoAnswer => Kind::DtlsNoAnswer,
            Reason::WrongKey => Kind::DtlsWrongKey,
            Reason::UnknownIdentity => Kind::DtlsUnknownIdentity,
            Reason::WrongServerKey => Kind::DtlsWrongServerKey,
            Reason::WrongName => Kind::DtlsWrongName,
            Reason::CertificateExpired => Kind::DtlsCertificateExpired,
            Reason::CertificateRefused => Kind::DtlsCertificateRefused,
            Reason::CredentialRefused => Kind::DtlsCredentialRefused,
            Reason::ClockUnknown => Kind::DtlsClockUnknown,
            Reason::NoCommonSuite => Kind::DtlsNoCommonSuite,
            Reason::Version => Kind::DtlsVersion,
            Reason::Protocol => Kind::DtlsProtocol,
            Reason::Alert => Kind::DtlsAlert,
            Reason::Ended => Kind::DtlsEnded,
            Reason::Forged => Kind::DtlsForged,
            Reason::KeyChanged => Kind::DtlsKeyChanged,
            Reason::Parked => Kind::DtlsParked,
        }
    }
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

    /// Whether a field of this class may be in an event of this level.
    #[must_use]
    pub fn may_be_said_at(self, level: Level) -> bool {
        self != Class::Payload || level >= Level::Debug
    }
}

/// The class of a field. One that has none is taken for payload, so that it cannot be said aloud by mistake.
#[must_use]
pub fn class_of(field: &str) -> Class {
    FIELDS.iter().find(|(name, _)| *name == field).map_or(Class::Payload, |(_, class)| *class)
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
    ("days", Class::Operational),
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
    ("hint", Class::Operational),
    ("latches", Class::Operational),
    ("location", Class::Identifying),
    ("jump_ms", Class::Operational),
    ("max_dbm_eirp", Class::Operational),
    ("missing", Class::Operational),
    ("nodes", Class::Operational),
    ("operation", Class::Operational),
    ("path", Class::Operational),
    ("problem", Class::Operational),
    ("radios", Class::Operational),
    ("readings", Class::Operational),
    ("reason", Class::Operational),
    ("record", Class::Operational),
    ("removed", Class::Operational),
    ("resumed", Class::Operational),
    ("retry_in_ms", Class::Operational),
    ("retry_in_s", Class::Operational),
    ("rssi_dbm", Class::Operational),
    ("rule", Class::Operational),
    ("sha256", Class::Operational),
    ("snr_db", Class::Operational),
    ("suite", Class::Operational),
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

    /// The same with one more field, unless its class forbids it in an event as loud as this one.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Event {
        if class_of(name).may_be_said_at(self.kind.level()) {
            self.fields.push((name, value.to_string()));
        }
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
    fn payload_is_never_said_above_debug() {
        // No field is payload yet; one without a class stands for it.
        assert_eq!(class_of("frame"), Class::Payload);
        for kind in Kind::ALL {
            let event = Event::new(*kind).with("frame", "0167011b").with("endpoint", "urn:x");
            let said = [event.to_text(), event.to_json().to_string()].iter().all(|text| text.contains("0167011b"));
            assert_eq!(said, kind.level() >= Level::Debug, "{}", kind.name());
            assert_eq!(event.fields.iter().any(|(name, _)| *name == "frame"), said, "the journal gets the same fields");
            assert!(event.to_text().contains("urn:x"), "identifying fields are in the log");
        }
    }

    #[test]
    fn names_differ_and_text_quotes_what_could_mislead() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        let event = Event::new(Kind::RadioLost).radio("roof").with("reason", "gone\nnode=x");
        assert_eq!(event.to_text(), r#"radio-lost radio=roof reason="gone\nnode=x""#);
        assert_eq!(event.to_json()["event"], "radio-lost");
    }
}
