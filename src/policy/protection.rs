//! What protects segments. The catalogue caps what a kind may claim and against whom it works: a file cannot claim more.

use super::named::named;
use super::segment::{Attacker, Medium, Property};
use std::collections::BTreeSet;

named! {
    /// Kinds of protection.
    pub enum Kind {
        /// Data over the control plane of NB-IoT or LTE-M, from device to core (TS 33.401 §8).
        NasCp = "nas-cp",
        /// Ciphering of the user plane of LTE, from device to base station: no integrity (TS 33.401 §5.3).
        AsUp = "as-up",
        /// LoRaWAN's message integrity code and counters, from node to network server (TS001-1.0.4 §4.4).
        LorawanMac = "lorawan-mac",
        /// LoRaWAN's encryption of payloads, from node to application server (TS001-1.0.4 §4.3.3).
        LorawanApp = "lorawan-app",
        /// BEST to the home network (TS 33.163).
        BestHse = "best-hse",
        /// BEST to the application server (TS 33.163).
        BestEas = "best-eas",
        /// An IPsec tunnel.
        Ipsec = "ipsec",
        /// A WireGuard tunnel.
        Wireguard = "wireguard",
        /// An outer DTLS that is not lpwad's.
        Dtls = "dtls",
        /// An outer TLS.
        Tls = "tls",
        /// Datagrams do not leave the host.
        Loopback = "loopback",
        /// Walls and locks.
        Physical = "physical",
        /// Rights of the operating system.
        OsAccess = "os-access",
        /// A private APN: it protects nothing, and keeps the internet out.
        PrivateApn = "private-apn",
        /// The operator lets no device use another's source address.
        ApnAntispoof = "apn-antispoof",
        /// A short message.
        Sms = "sms",
        /// Packet forwarder's UDP.
        Gwmp = "gwmp",
        /// A serial line as such.
        Serial = "serial",
    }
}

named! {
    /// What can be looked at while lpwad runs.
    pub enum Probe {
        /// How the node was activated, and that its counters are checked: the LoRaWAN network is in lpwad.
        Lorawan = "lorawan",
        /// The server's address is a literal of this host.
        Loopback = "loopback",
        /// Who may open the serial port, and that nobody else has.
        TtyOwner = "tty-owner",
        /// Age of the last handshake of a WireGuard tunnel.
        Wireguard = "wireguard",
    }
}

use Property::{Authentication, Confidentiality, Integrity, Replay};

impl Kind {
    /// What it may claim. In a file `all` stands for all four, where a kind may claim them.
    #[must_use]
    pub fn cap(self) -> &'static [Property] {
        match self {
            Kind::AsUp => &[Authentication, Confidentiality],
            Kind::LorawanMac => &[Integrity, Replay, Authentication],
            Kind::LorawanApp => &[Confidentiality],
            Kind::ApnAntispoof => &[Authentication],
            Kind::PrivateApn | Kind::Sms | Kind::Gwmp | Kind::Serial => &[],
            Kind::NasCp
            | Kind::BestHse
            | Kind::BestEas
            | Kind::Ipsec
            | Kind::Wireguard
            | Kind::Dtls
            | Kind::Tls
            | Kind::Loopback
            | Kind::Physical
            | Kind::OsAccess => Property::ALL,
        }
    }

    /// Whether it works against this attacker.
    #[must_use]
    pub fn works_against(self, attacker: Attacker) -> bool {
        use Attacker::{HostUser, Internet, Lan, OperatorInsider, Physical, RadioActive, RadioPassive};
        match self {
            Kind::NasCp | Kind::AsUp => matches!(attacker, RadioPassive | RadioActive),
            // Who runs the network server has its keys.
            Kind::LorawanMac | Kind::LorawanApp => attacker != OperatorInsider,
            Kind::BestHse | Kind::BestEas | Kind::Ipsec | Kind::Wireguard | Kind::Dtls | Kind::Tls => true,
            Kind::Loopback => attacker != HostUser,
            Kind::Physical => attacker == Physical,
            Kind::OsAccess => attacker == HostUser,
            Kind::ApnAntispoof => matches!(attacker, Lan | Internet),
            Kind::PrivateApn | Kind::Sms | Kind::Gwmp | Kind::Serial => false,
        }
    }

    /// What must be seen live for it to count; `None`: it can only be attested.
    #[must_use]
    pub fn probe(self) -> Option<Probe> {
        match self {
            Kind::LorawanMac | Kind::LorawanApp => Some(Probe::Lorawan),
            Kind::Loopback => Some(Probe::Loopback),
            Kind::OsAccess => Some(Probe::TtyOwner),
            Kind::Wireguard => Some(Probe::Wireguard),
            _ => None,
        }
    }

    /// Whether it protects the link over the air (LwM2M 1.1 §7.1.1: "link-layer security").
    #[must_use]
    pub fn is_link_layer(self) -> bool {
        matches!(self, Kind::NasCp | Kind::AsUp | Kind::LorawanMac | Kind::LorawanApp | Kind::BestHse | Kind::BestEas)
    }

    /// Whether it stands or falls with what the cellular modem says.
    #[must_use]
    pub fn is_cellular(self) -> bool {
        matches!(self, Kind::NasCp | Kind::AsUp)
    }

    /// The only medium on which it can be, if there is only one.
    #[must_use]
    pub fn medium(self) -> Option<Medium> {
        (self == Kind::Loopback).then_some(Medium::Loopback)
    }
}

/// A protection: a span of the path, and what it gives there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// What it is.
    pub kind: Kind,
    /// First segment of its span, counted from 0.
    pub first: usize,
    /// Last segment of its span.
    pub last: usize,
    /// What it is said to give; never more than [`Kind::cap`].
    pub claims: BTreeSet<Property>,
    /// Names of the evidence for it.
    pub evidence: Vec<String>,
}

impl Protection {
    /// Whether its span contains the whole of a segment.
    #[must_use]
    pub fn spans(&self, segment: usize) -> bool {
        (self.first..=self.last).contains(&segment)
    }
}
