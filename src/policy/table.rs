//! The table of a decision: segment × attacker × property, and what became of each (rules TA04 to TA08).

use super::analysis::Analysis;
use super::date::Day;
use super::evidence::{Evidence, EvidenceKind};
use super::facts::{Activation, Facts, Seen};
use super::protection::{Kind, Probe, Protection};
use super::rule::Rule;
use super::segment::{Attacker, Medium, Property};
use serde::Serialize;
use std::collections::BTreeSet;

/// Which dates hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// Those of this day; `None`: the clock is not trusted, and every date counts as passed.
    On(Option<Day>),
    /// All.
    Ignored,
}

impl Dates {
    /// Why a time from one day to another does not hold; `None`: it does.
    #[must_use]
    pub fn problem(self, from: Day, to: Day) -> Option<String> {
        match self {
            Dates::Ignored => None,
            Dates::On(None) => Some("the clock is not trusted".into()),
            Dates::On(Some(today)) if today < from => Some(format!("begins on {from}")),
            Dates::On(Some(today)) if today > to => Some(format!("expired on {to}")),
            Dates::On(Some(_)) => None,
        }
    }
}

/// What became of an obligation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A protection gives it.
    DischargedBy {
        /// Which.
        kind: Kind,
        /// Somebody says so, and nobody looks.
        attested_not_observed: bool,
    },
    /// Somebody accepts that it is missing.
    AcceptedBy {
        /// Who.
        by: Vec<String>,
        /// Why.
        why: String,
    },
    /// It is missing.
    Open {
        /// By which rule.
        rule: Rule,
        /// Why.
        why: String,
    },
}

/// A cell of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Segment.
    pub segment: String,
    /// Whether it is south of the agent.
    pub south: bool,
    /// Against whom.
    pub attacker: Attacker,
    /// What is needed.
    pub property: Property,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What stands in the way of a protection, or whether it is only attested.
type Standing = Result<Attested, (Rule, String)>;

/// Whether nobody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attested(bool);

/// The table of an analysis. `loopback`: the server's address is a literal of this host.
#[must_use]
pub fn table(analysis: &Analysis, facts: &Facts, loopback: bool, dates: Dates) -> Vec<Cell> {
    let standings: Vec<Standing> =
        analysis.protections.iter().map(|one| standing(analysis, one, facts, loopback, dates)).collect();
    let needed = analysis.needed();
    let mut cells = Vec::new();
    for (index, segment) in analysis.segments.iter().enumerate() {
        for attacker in attackers(analysis, index, &standings) {
            for property in &needed {
                cells.push(Cell {
                    segment: segment.id.clone(),
                    south: index < analysis.south_segments,
                    attacker,
                    property: *property,
                    outcome: outcome(analysis, &standings, index, attacker, *property, dates),
                });
            }
        }
    }
    cells
}

/// Those listed, those that the medium has at least, and the internet where only an unproven private APN keeps it out.
fn attackers(analysis: &Analysis, index: usize, standings: &[Standing]) -> BTreeSet<Attacker> {
    let Some(segment) = analysis.segments.get(index) else { return BTreeSet::new() };
    let mut attackers = segment.attackers.clone();
    attackers.extend(segment.medium.floor());
    let kept_out = segment.own_wire
        || analysis
            .protections
            .iter()
            .zip(standings)
            .any(|(one, standing)| one.kind == Kind::PrivateApn && one.spans(index) && standing.is_ok());
    if segment.medium == Medium::Ip && !kept_out {
        attackers.insert(Attacker::Internet);
    }
    attackers
}

fn outcome(
    analysis: &Analysis,
    standings: &[Standing],
    index: usize,
    attacker: Attacker,
    property: Property,
    dates: Dates,
) -> Outcome {
    let mut open = (Rule::Ta05, "no protection spans the segment and works against this".to_string());
    let mut attested = None;
    for (one, standing) in analysis.protections.iter().zip(standings) {
        let gives = one.kind.cap().contains(&property) && one.claims.contains(&property);
        if !one.spans(index) || !one.kind.works_against(attacker) || !gives {
            continue;
        }
        match standing {
            Ok(Attested(false)) => return Outcome::DischargedBy { kind: one.kind, attested_not_observed: false },
            Ok(Attested(true)) => {
                attested = attested.or(Some(Outcome::DischargedBy { kind: one.kind, attested_not_observed: true }));
            }
            Err((rule, why)) => open = (*rule, format!("{}: {why}", one.kind)),
        }
    }
    if let Some(outcome) = attested {
        return outcome;
    }
    let accepts = analysis.accepts.iter().filter(|accept| {
        accept.segment == index && accept.attacker == attacker && accept.properties.contains(&property)
    });
    let mut lapsed = None;
    for accept in accepts {
        match dates.problem(Day(0), accept.expires) {
            None => return Outcome::AcceptedBy { by: accept.by.clone(), why: accept.why.clone() },
            Some(_) if dates == Dates::On(None) => {
                lapsed = Some("accepted, but dates do not count while the clock is not trusted".to_string());
            }
            Some(why) => lapsed = Some(format!("accepted, but that {why}")),
        }
    }
    let (rule, why) = open;
    let why = match lapsed {
        // That nothing protects is what was accepted.
        Some(lapsed) if rule == Rule::Ta05 => lapsed,
        Some(lapsed) => format!("{why}; {lapsed}"),
        None => why,
    };
    Outcome::Open { rule, why }
}

/// Rules TA06 and TA07 for one protection.
fn standing(analysis: &Analysis, one: &Protection, facts: &Facts, loopback: bool, dates: Dates) -> Standing {
    if let Some(why) = contradiction(analysis, one, facts) {
        return Err((Rule::Ta07, why));
    }
    let mut problem = "it has no evidence".to_string();
    for name in &one.evidence {
        let held = match analysis.evidence.get(name) {
            None => Err((Rule::Ta06, format!("there is no evidence {name}"))),
            Some(Evidence::Live { probe, .. }) if one.kind.probe() != Some(*probe) => {
                Err((Rule::Ta06, format!("{name} looks at something else")))
            }
            Some(Evidence::Live { probe, peer, max_age_s }) => {
                live(analysis, *probe, peer.as_deref(), *max_age_s, facts, loopback).map(|()| Attested(false))
            }
            Some(Evidence::Attested { .. }) if one.kind.probe().is_some() => {
                Err((Rule::Ta06, format!("it can be looked at, and {name} is not live")))
            }
            Some(Evidence::Attested { kind: EvidenceKind::Assumption, .. }) => {
                Err((Rule::Ta06, format!("{name} is an assumption, which never counts")))
            }
            Some(Evidence::Attested { date, expires, .. }) => match dates.problem(*date, *expires) {
                None => Ok(Attested(true)),
                Some(why) => Err((Rule::Ta06, format!("{name}: {why}"))),
            },
        };
        match held {
            Ok(attested) => return Ok(attested),
            Err((Rule::Ta07, why)) => return Err((Rule::Ta07, why)),
            Err((_, why)) => problem = why,
        }
    }
    Err((Rule::Ta06, problem))
}

fn live(
    analysis: &Analysis,
    probe: Probe,
    peer: Option<&str>,
    max_age_s: u32,
    facts: &Facts,
    loopback: bool,
) -> Result<(), (Rule, String)> {
    match probe {
        Probe::Loopback if loopback => Ok(()),
        Probe::Loopback => Err((Rule::Ta07, "the server's address is not a literal of this host".into())),
        // What contradicts was looked at before; here it must be known.
        Probe::Lorawan => match (facts.activation, facts.counters_checked) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err((Rule::Ta06, "nothing is known of the node's activation".into())),
        },
        Probe::TtyOwner | Probe::Wireguard => {
            // Of several the worst holds. No age stands in the text: it would be another decision with each look.
            let bearer = analysis.scope.bearer.as_ref();
            // A handshake says nothing of what leaves by another interface.
            let is_of_bearer =
                |seen: &Seen| probe != Probe::Wireguard || bearer.is_some() && seen.interface.as_ref() == bearer;
            let of_peer = |seen: &Seen| seen.probe == probe && seen.peer.as_deref() == peer;
            let matching = || facts.seen.iter().filter(|seen| of_peer(seen) && is_of_bearer(seen));
            if matching().any(|seen| !seen.good) {
                return Err((Rule::Ta07, format!("{probe} is not as it should be")));
            }
            match matching().map(|seen| seen.age_s).max() {
                None => Err((Rule::Ta06, format!("no fact of {probe}"))),
                Some(age_s) if age_s > max_age_s => {
                    Err((Rule::Ta06, format!("the fact of {probe} is older than {max_age_s} s")))
                }
                Some(_) => Ok(()),
            }
        }
    }
}

/// What is seen that voids a protection.
fn contradiction(analysis: &Analysis, one: &Protection, facts: &Facts) -> Option<String> {
    if one.kind.probe() == Some(Probe::Lorawan) {
        if facts.counters_checked == Some(false) {
            return Some("the node's frame counter may begin anew, so old frames can be replayed".into());
        }
        let tested = one.evidence.iter().any(|name| {
            analysis.evidence.get(name).is_some_and(|evidence| evidence.kind() == EvidenceKind::TestReport)
        });
        let in_writing = analysis.scope.activation.contains(&Activation::Abp) && tested;
        if facts.activation == Some(Activation::Abp) && !in_writing {
            return Some(
                "the node has fixed session keys (ABP): scope.activation and a test-report must say that it keeps its \
                 counters"
                    .into(),
            );
        }
    }
    if !one.kind.is_cellular() || !touches_our_modem(analysis, one) {
        return None;
    }
    let cellular = facts.cellular.as_ref()?;
    if cellular.roaming == Some(true) {
        return Some("our modem is in a foreign network".into());
    }
    if cellular.rat.as_deref() == Some("gsm") {
        return Some("our modem uses GSM".into());
    }
    if cellular.user_plane == Some(true) && one.kind == Kind::NasCp {
        return Some("data goes by the user plane".into());
    }
    (cellular.ciphering_off == Some(true)).then(|| "our modem says that ciphering is off".into())
}

/// Whether a protection spans air that our own modem uses: the other end of a serial line of the agent. Air of a node is
/// attested, never seen.
fn touches_our_modem(analysis: &Analysis, one: &Protection) -> bool {
    let beside = [analysis.south_segments.checked_sub(1), Some(analysis.south_segments)];
    let modems: Vec<&str> = beside
        .into_iter()
        .flatten()
        .filter_map(|index| analysis.segments.get(index))
        .filter(|segment| segment.medium == Medium::Serial)
        .map(|segment| if segment.to == super::segment::AGENT { segment.from.as_str() } else { segment.to.as_str() })
        .collect();
    analysis.segments.iter().enumerate().any(|(index, segment)| {
        one.spans(index)
            && segment.medium == Medium::Radio
            && modems.iter().any(|modem| segment.from == *modem || segment.to == *modem)
    })
}
