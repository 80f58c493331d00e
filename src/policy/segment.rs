//! The path of a reading from node to server, piece by piece, and who stands beside each piece.

use super::named::named;
use std::collections::BTreeSet;

/// Name of the node at the beginning of every path.
pub const NODE: &str = "node";
/// Name of this program's host, once in every path.
pub const AGENT: &str = "agent";
/// Name of the server at the end of every path.
pub const SERVER: &str = "server";

named! {
    /// What a segment is made of.
    pub enum Medium {
        /// Air.
        Radio = "radio",
        /// A serial line or USB.
        Serial = "serial",
        /// An IP network.
        Ip = "ip",
        /// The inside of an operator's network.
        Operator = "operator",
        /// The inside of one host.
        Loopback = "loopback",
    }
}

named! {
    /// Somebody who would listen, change or pretend.
    pub enum Attacker {
        /// Listens to the air.
        RadioPassive = "radio-passive",
        /// Sends as well.
        RadioActive = "radio-active",
        /// Works at the operator, or has broken into it.
        OperatorInsider = "operator-insider",
        /// Has hands on the cable or the box.
        Physical = "physical",
        /// Another user or program of a host.
        HostUser = "host-user",
        /// Is in the same network.
        Lan = "lan",
        /// Is anywhere.
        Internet = "internet",
    }
}

named! {
    /// What a link must give.
    pub enum Property {
        /// Nobody changes it unnoticed.
        Integrity = "integrity",
        /// Nothing old is taken for new.
        Replay = "replay",
        /// It comes from whom it names.
        Authentication = "authentication",
        /// Nobody else reads it.
        Confidentiality = "confidentiality",
    }
}

/// A piece of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub id: String,
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What it is made of.
    pub medium: Medium,
    /// Who stands beside it: at least [`Medium::floor`].
    pub attackers: BTreeSet<Attacker>,
    /// An IP segment that is a wire of the operator's own, with nobody else's traffic: the internet does not reach it.
    pub own_wire: bool,
}

impl Medium {
    /// Who is always beside such a segment. `internet` beside IP can be lifted by an own wire or a private APN.
    #[must_use]
    pub fn floor(self) -> &'static [Attacker] {
        match self {
            Medium::Radio => &[Attacker::RadioPassive, Attacker::RadioActive],
            Medium::Serial => &[Attacker::Physical, Attacker::HostUser],
            Medium::Ip => &[Attacker::Lan],
            Medium::Operator => &[Attacker::OperatorInsider],
            Medium::Loopback => &[Attacker::HostUser],
        }
    }
}
