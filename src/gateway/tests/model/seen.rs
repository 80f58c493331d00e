//! The world of the model, and the rules told a second time, without the policy's code.

use super::*;
use crate::policy::date::Day;
use crate::policy::facts::Seen as Probed;
use crate::policy::facts::{Cellular, Facts};
use crate::policy::protection::Probe;

/// LoRaWAN in the south; in the north a tunnel that is looked at, and behind it a piece that a letter speaks for.
pub(super) const FIRST: &str = r#"
schema = 1
id = "TA-1"
reviewed = 2026-11-02
expires = 2027-05-02
approved_by = ["j.doe"]
segments = [
  { id = "air", from = "node", to = "agent", medium = "radio", attackers = ["radio-passive", "radio-active"] },
  { id = "tunnel", from = "agent", to = "vpn", medium = "ip", attackers = ["lan", "internet"] },
  { id = "site", from = "vpn", to = "server", medium = "ip", own_wire = true, attackers = ["lan"] },
]
protections = [
  { kind = "lorawan-mac", from = "node", to = "agent", claims = ["integrity", "replay", "authentication"], evidence = ["lorawan"] },
  { kind = "wireguard", from = "agent", to = "vpn", claims = ["all"], evidence = ["wg"] },
  { kind = "ipsec", from = "vpn", to = "server", claims = ["all"], evidence = ["letter"] },
]
[scope]
endpoints = ["*"]
server = "coap://10.9.0.10:5683"
bearer = "wg0"
roaming = false
[needs]
confidentiality = false
identity_binding = "source-port"
[evidence]
lorawan = { type = "live", probe = "lorawan" }
wg = { type = "live", probe = "wireguard", peer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", max_age_s = 180 }
letter = { type = "operator-letter", ref = "VPN-1", date = 2026-10-01, expires = 2027-02-01 }
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Date {
    BeforeReview,
    Valid,
    LetterExpired,
    Expired,
}

impl Date {
    pub(super) const ALL: [Date; 4] = [Date::BeforeReview, Date::Valid, Date::LetterExpired, Date::Expired];

    pub(super) fn day(self) -> Day {
        let text = match self {
            Date::BeforeReview => "2026-11-01",
            Date::Valid => "2026-12-20",
            Date::LetterExpired => "2027-03-01",
            Date::Expired => "2027-07-01",
        };
        text.parse().unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Clock {
    /// Told, and kept in step.
    InStep,
    /// Told, and nothing keeps it in step.
    Adrift,
    /// Not told: earlier than this release.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bearer {
    Right,
    Other,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tunnel {
    Good,
    Stale,
    Bad,
    Absent,
}

/// What stands in the directory of analyses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum File {
    First,
    /// A later review, with a letter that holds longer.
    Again,
    Broken,
    Absent,
}

impl File {
    pub(super) const ALL: [File; 4] = [File::First, File::Again, File::Broken, File::Absent];

    pub(super) fn analyses(self) -> Analyses {
        let text = match self {
            File::First => FIRST.to_string(),
            File::Again => FIRST.replace("2026-11-02", "2026-12-10").replace("2027-02-01", "2027-10-01"),
            File::Broken => FIRST.replace("[scope]", "[scope"),
            File::Absent => return Analyses::default(),
        };
        let mut analyses = Analyses::default();
        analyses.add(std::path::Path::new("model.toml"), &text);
        assert_eq!(analyses.invalid.is_empty(), self != File::Broken, "{:?}", analyses.invalid);
        analyses
    }

    /// The day of the review that it carries.
    pub(super) fn review(self) -> Option<Review> {
        match self {
            File::First => Some(Review::First),
            File::Again => Some(Review::Second),
            File::Broken | File::Absent => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Review {
    First,
    Second,
}

impl Review {
    /// Whether analysis and letter hold on a day.
    pub(super) fn holds(self, date: Date) -> bool {
        match self {
            Review::First => date == Date::Valid,
            Review::Second => date == Date::Valid || date == Date::LetterExpired,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Bearer(Bearer),
    Tunnel(Tunnel),
    Roaming(Option<bool>),
    Clock(Clock),
    Date(Date),
    Load(File),
    Restart,
    Rearm,
}

impl Action {
    /// Whether it happens by itself, and nobody did it.
    pub(super) fn is_live(self) -> bool {
        !matches!(self, Action::Load(_) | Action::Restart | Action::Rearm)
    }
}

/// The world, and what somebody who watches it knows: the second telling of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) bearer: Bearer,
    pub(super) tunnel: Tunnel,
    pub(super) roaming: Option<bool>,
    pub(super) clock: Clock,
    pub(super) date: Date,
    pub(super) file: File,
    /// The latest day that was told since the last rearm.
    pub(super) latest: Option<Date>,
    /// The review by which NoSec runs on while the file is broken.
    pub(super) runs_on: Option<Review>,
    /// Reviews by which NoSec was lost, and nobody has rearmed since.
    pub(super) lost: BTreeSet<Review>,
    /// By what NoSec came back a moment ago, after it was lost.
    pub(super) regained: Option<Regained>,
    /// Whether the node may speak in clear.
    pub(super) clear: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Regained {
    Rearm,
    Review,
}

impl Seen {
    pub(super) fn is_told(&self) -> bool {
        self.clock != Clock::Silent
    }

    /// The review that speaks of the node.
    pub(super) fn review(&self) -> Option<Review> {
        if self.file == File::Broken { self.runs_on } else { self.file.review() }
    }

    /// Every condition of NoSec but the one that it was not lost.
    pub(super) fn all_is_well(&self) -> bool {
        self.bearer == Bearer::Right
            && self.tunnel == Tunnel::Good
            && self.roaming == Some(false)
            && self.clock == Clock::InStep
            && self.latest.is_none_or(|latest| self.date >= latest)
            && self.review().is_some_and(|review| review.holds(self.date))
    }

    pub(super) fn is_lost(&self) -> bool {
        self.review().is_some_and(|review| self.lost.contains(&review))
    }

    pub(super) fn wrong(&self) -> usize {
        let wrong = [
            self.bearer != Bearer::Right,
            self.tunnel != Tunnel::Good,
            self.roaming != Some(false),
            self.clock != Clock::InStep,
            self.date != Date::Valid,
        ];
        wrong.into_iter().filter(|wrong| *wrong).count()
    }

    /// What an action makes of the world.
    pub(super) fn after(&self, action: Action) -> Seen {
        let mut next = Seen { regained: None, ..self.clone() };
        match action {
            Action::Bearer(bearer) => next.bearer = bearer,
            Action::Tunnel(tunnel) => next.tunnel = tunnel,
            Action::Roaming(roaming) => next.roaming = roaming,
            Action::Clock(clock) => next.clock = clock,
            Action::Date(date) => next.date = date,
            Action::Load(file) => {
                if file != File::Broken {
                    next.runs_on = None;
                } else if self.file != File::Broken {
                    next.runs_on = self.file.review().filter(|_| self.clear);
                }
                next.file = file;
            }
            Action::Restart => next.runs_on = None,
            Action::Rearm => {
                next.lost.clear();
                next.latest = None;
            }
        }
        if next.is_told() {
            next.latest = next.latest.max(Some(next.date));
        }
        next
    }

    /// Takes in what the gateway permits now; `before` is the moment before the action.
    pub(super) fn watch(&mut self, before: &Seen, action: Action, clear: bool) {
        self.clear = clear;
        let (was, is) = (before.clear, clear);
        if action.is_live() && was && !is {
            self.lost.extend(self.review());
        }
        self.regained = match action {
            Action::Rearm if before.is_lost() && is => Some(Regained::Rearm),
            Action::Load(File::Again) if before.is_lost() && is => Some(Regained::Review),
            _ => None,
        };
    }

    /// What the shell tells of this host. The only place that knows how facts look.
    pub(super) fn facts(&self, wiring: Wiring) -> HostFacts {
        let bearer = match self.bearer {
            Bearer::Right => Some("wg0"),
            _ if wiring == Wiring::BearerNotLookedAt => Some("wg0"),
            Bearer::Other => Some("eth0"),
            Bearer::None => None,
        };
        let probed = |good, age_s| Probed {
            probe: Probe::Wireguard,
            peer: Some("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".into()),
            interface: Some("wg0".into()),
            good,
            age_s,
        };
        let seen = match self.tunnel {
            Tunnel::Good => vec![probed(true, 180)],
            Tunnel::Stale => vec![probed(true, 181)],
            Tunnel::Bad => vec![probed(false, 1)],
            Tunnel::Absent => Vec::new(),
        };
        let facts = Facts { clock_synchronised: Some(self.clock != Clock::Adrift), seen, ..Facts::default() };
        let address = std::net::IpAddr::from([10, 9, 0, 10]);
        HostFacts { facts, bearers: bearer.map(|name| (address, name.to_string())).into_iter().collect() }
    }

    /// What the modem says.
    pub(super) fn cellular(&self) -> Option<Cellular> {
        self.roaming.map(|roaming| Cellular { roaming: Some(roaming), ..Cellular::default() })
    }

    pub(super) fn now(&self, wiring: Wiring) -> Now {
        let told = self.is_told() || wiring == Wiring::ClockAlwaysBelieved;
        Now { mono: S(1), unix_ms: told.then(|| u64::from(self.date.day().0) * 86_400_000 + 43_200_000) }
    }
}
