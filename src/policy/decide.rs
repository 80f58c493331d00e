//! The decision: from path, claims, evidence, facts and clock to NoSec, DTLS or no session, with the rules that led there
//! (LwM2M 1.1 §7.1.1; requirements S-03 to S-05). A pure function; whatever is missing or not known means DTLS.

use super::analyses::Analyses;
use super::analysis::{Analysis, ClockNeed, Fallback, IdentityBinding, South};
use super::date::Day;
use super::evidence::Evidence;
use super::facts::Facts;
use super::rule::Rule;
use super::segment::Medium;
use super::table::{Cell, Dates, Outcome, table};
use crate::config::{DtlsMode, Security, Server};
use serde::Serialize;

/// Most files that may speak of one node.
const MAX_FILES: usize = 16;

const SOUTH_UNANALYSED: &str = "south side unanalysed: no threat analysis says what protects the way from node to gateway \
                                (rule TA09 in docs/threat-analysis.md)";

/// What is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Endpoint name.
    pub endpoint: &'a str,
    /// Its server.
    pub server: &'a Server,
    /// Kind of its credential for DTLS.
    pub credential: Option<DtlsMode>,
    /// What is seen.
    pub facts: &'a Facts,
    /// Today; `None`: the clock is not trusted.
    pub today: Option<Day>,
    /// NoSec was lost before, and why; nobody has reviewed or rearmed since.
    pub latched: Option<&'a str>,
}

/// How a session may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In clear, or with DTLS.
    Nosec,
    /// With DTLS only, by this credential.
    Dtls(DtlsMode),
    /// Not at all.
    Refuse,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Nosec => "nosec",
            Verdict::Dtls(mode) => mode.verdict(),
            Verdict::Refuse => "refuse",
        }
    }

    /// Whether a clear session is permitted.
    #[must_use]
    pub fn permits_nosec(self) -> bool {
        self == Verdict::Nosec
    }
}

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Something that stands in the way of NoSec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objection {
    /// By which rule.
    pub rule: Rule,
    /// What, for people.
    pub why: String,
}

/// An analysis that speaks of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spoken {
    /// Its id.
    pub id: String,
    /// SHA-256 of its file, hex.
    pub sha256: String,
    /// Day of its review.
    pub reviewed: Day,
    /// Its last day.
    pub expires: Day,
    /// Its table.
    pub table: Vec<Cell>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What may be.
    pub verdict: Verdict,
    /// The rules that led there: the one that decided first, then the one that gave the outcome.
    pub rules: Vec<Rule>,
    /// Why, for people.
    pub reason: String,
    /// All that stands in the way of NoSec, the deciding one first.
    pub objections: Vec<Objection>,
    /// Standing warnings.
    pub warnings: Vec<String>,
    /// The analyses that speak of the node, by id.
    pub analyses: Vec<Spoken>,
    /// The next day after which something that counted does not any more.
    pub next_expiry: Option<Day>,
    /// NoSec opens only where DTLS in reserve was tried (rule TA13).
    pub needs_reserve: bool,
}

impl Decision {
    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rules.first().copied().unwrap_or(Rule::Ta03)
    }

    /// Ids of the analyses.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.analyses.iter().map(|spoken| spoken.id.as_str()).collect()
    }
}

/// Decides. The order of the files does not matter.
#[must_use]
pub fn decide(case: &Case, analyses: &Analyses) -> Decision {
    let mut objections = Vec::new();
    let mut object = |rule, why: String| objections.push(Objection { rule, why });
    if case.server.security == Security::Dtls {
        object(Rule::Ta10, "security = \"dtls\" is configured, which always wins".into());
    }
    for invalid in &analyses.invalid {
        object(
            Rule::Ta01,
            format!("an analysis is invalid, and could have spoken of this node: {}", invalid.problem()),
        );
    }
    let mut spoken: Vec<&Analysis> = match &case.server.uri {
        None => {
            object(Rule::Ta11, "the server has no uri for NoSec".into());
            Vec::new()
        }
        Some(uri) => analyses.valid.iter().filter(|analysis| analysis.concerns(case.endpoint, uri)).collect(),
    };
    spoken.sort_by(|a, b| (&a.id, &a.sha256, &a.file).cmp(&(&b.id, &b.sha256, &b.file)));
    if spoken.len() > MAX_FILES {
        object(Rule::Ta03, format!("more than {MAX_FILES} analyses speak of this node"));
    }
    let mut warnings = Vec::new();
    if let (true, Some(uri)) = (spoken.is_empty(), &case.server.uri) {
        object(Rule::Ta03, format!("no threat analysis speaks of this node and {uri}"));
        // Without a uri none could speak, and nobody has asked for NoSec.
        warnings.push(SOUTH_UNANALYSED.to_string());
    }
    let mut refused = None;
    let mut decision_analyses = Vec::new();
    let mut next_expiry: Option<Day> = None;
    let mut needs_reserve = false;
    for analysis in spoken.into_iter().take(MAX_FILES) {
        let view = View::of(analysis, case);
        objections.extend(view.objections);
        for warning in view.warnings {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        refused = refused.or(view.refused);
        needs_reserve |= analysis.fallback == Fallback::Required;
        next_expiry = next_expiry.into_iter().chain(expiries(analysis, case.today)).min();
        decision_analyses.push(Spoken {
            id: analysis.id.clone(),
            sha256: analysis.sha256.clone(),
            reviewed: analysis.reviewed,
            expires: analysis.expires,
            table: view.table,
        });
    }
    if let Some(why) = case.latched {
        let why = format!("NoSec was lost ({why}); a new review or `lpwad policy rearm` restores it");
        objections.push(Objection { rule: Rule::Ta15, why });
    }
    let (verdict, rules, reason) = conclude(case, refused, &objections);
    Decision { verdict, rules, reason, objections, warnings, analyses: decision_analyses, next_expiry, needs_reserve }
}

fn conclude(case: &Case, refused: Option<String>, objections: &[Objection]) -> (Verdict, Vec<Rule>, String) {
    if let Some(why) = refused {
        return (Verdict::Refuse, vec![Rule::Ta09], why);
    }
    let Some(first) = objections.first() else {
        return (Verdict::Nosec, vec![Rule::Ta10], "every obligation is discharged or accepted".into());
    };
    let problem = match (&case.server.secure_uri, case.credential) {
        (Some(_), Some(mode)) if case.today.is_none() && case.server.dates_count(mode) => {
            let why = "certificates have dates, and the clock is wrong, or earlier than it once was (if it is right now: \
                       `lpwad policy rearm`)";
            return (Verdict::Refuse, vec![first.rule, Rule::Ta12], format!("{}; and {why}", first.why));
        }
        (Some(_), Some(mode)) => {
            let reason = format!("{}; so DTLS", first.why);
            return (Verdict::Dtls(mode), vec![first.rule, Rule::Ta12], reason);
        }
        (None, Some(_)) => "the server has no secure_uri for DTLS",
        (Some(_), None) => "the node has no credential for DTLS",
        (None, None) => "the server has no secure_uri and the node no credential for DTLS",
    };
    let mut rules = vec![first.rule];
    if first.rule != Rule::Ta13 {
        rules.push(Rule::Ta13);
    }
    (Verdict::Refuse, rules, format!("{}; and {problem}", first.why))
}

/// What one analysis says.
struct View {
    objections: Vec<Objection>,
    warnings: Vec<String>,
    refused: Option<String>,
    table: Vec<Cell>,
}

impl View {
    fn of(analysis: &Analysis, case: &Case) -> View {
        let loopback = case.server.uri.as_ref().is_some_and(crate::config::ServerUri::is_loopback_literal);
        let mut objections = Vec::new();
        let mut object =
            |rule, why: String| objections.push(Objection { rule, why: format!("{}: {why}", analysis.id) });
        let dates = Dates::On(trusted_day(analysis, case));
        // An expiry is named as such, also where the evidence for the clock has expired with it.
        let today = case.today.map_or(dates, |today| Dates::On(Some(today)));
        let problem = |dates: Dates| dates.problem(analysis.reviewed, analysis.expires);
        if let Some(why) = problem(today).or_else(|| problem(dates)) {
            let hint =
                if today == Dates::On(None) || problem(today).is_none() { clock_hint(analysis, case) } else { "" };
            object(Rule::Ta02, format!("{why}{hint}"));
        }
        scope(analysis, case.facts, &mut object);
        let cells = table(analysis, case.facts, loopback, dates);
        let open = |cell: &&Cell| matches!(cell.outcome, Outcome::Open { .. });
        let exposed =
            |cell: &Cell| format!("south exposed: {}, {} against {}", cell.segment, cell.property, cell.attacker);
        let mut warnings: Vec<String> = Vec::new();
        for cell in cells.iter().filter(open) {
            let Outcome::Open { rule, why } = &cell.outcome else { continue };
            if cell.south {
                warnings.push(format!("{} ({why})", exposed(cell)));
            }
            // A fact or piece of evidence that fails names its own rule, also in the south.
            let rule = if cell.south && *rule == Rule::Ta05 { Rule::Ta09 } else { *rule };
            object(rule, format!("{} lacks {} against {}: {why}", cell.segment, cell.property, cell.attacker));
        }
        identity_and_route(analysis, case, loopback, &mut object);
        if analysis.fallback == Fallback::Required && (case.server.secure_uri.is_none() || case.credential.is_none()) {
            let why =
                "NoSec needs DTLS in reserve, a secure_uri and a credential, or fallback = \"off\" in the analysis";
            object(Rule::Ta13, why.into());
        }
        // Expiry only tightens to DTLS: what is refused does not depend on dates.
        let undated = match analysis.south {
            South::Refuse => table(analysis, case.facts, loopback, Dates::Ignored),
            South::Warn => Vec::new(),
        };
        let refused = undated
            .iter()
            .find(|cell| cell.south && matches!(cell.outcome, Outcome::Open { .. }))
            .map(|cell| format!("{}: {}, and south = \"refuse\"", analysis.id, exposed(cell)));
        View { objections, warnings, refused, table: cells }
    }
}

/// Today, if the clock is trusted as this analysis asks for (rule TA02).
fn trusted_day(analysis: &Analysis, case: &Case) -> Option<Day> {
    let attested = || {
        let evidence = analysis.needs.clock_evidence.as_ref().and_then(|name| analysis.evidence.get(name))?;
        let Evidence::Attested { kind, date, expires, .. } = evidence else { return None };
        let counts = *kind != super::evidence::EvidenceKind::Assumption;
        (counts && Dates::On(case.today).problem(*date, *expires).is_none()).then_some(())
    };
    let trusted = match analysis.needs.clock {
        ClockNeed::Synchronised => case.facts.clock_synchronised == Some(true),
        ClockNeed::Attested => case.facts.clock_synchronised == Some(true) || attested().is_some(),
    };
    case.today.filter(|_| trusted)
}

/// What is wrong with a clock that is not trusted, and what to do.
fn clock_hint(analysis: &Analysis, case: &Case) -> &'static str {
    match (case.today, analysis.needs.clock) {
        (None, _) => {
            ": it is earlier than this version of lpwad, or than a day that it showed before; set it, and if it is right \
             now: `lpwad policy rearm`"
        }
        (Some(_), ClockNeed::Synchronised) => {
            ": nothing is known to keep it in step; let systemd-timesyncd or chrony do it, or say in the file why it is \
             right: needs.clock = \"attested\" with clock_evidence"
        }
        (Some(_), ClockNeed::Attested) => {
            ": nothing is known to keep it in step, and clock_evidence does not hold today"
        }
    }
}

/// Rule TA03 for live values; one that is known and another one is a contradiction (rule TA07).
fn scope(analysis: &Analysis, facts: &Facts, object: &mut impl FnMut(Rule, String)) {
    let cellular = facts.cellular.clone().unwrap_or_default();
    let mut text = |name: &str, wanted: &[String], live: Option<&String>| match live {
        _ if wanted.is_empty() => {}
        None => object(Rule::Ta03, format!("scope.{name}: the live value is not known")),
        Some(live) if !wanted.contains(live) => object(Rule::Ta07, format!("scope.{name}: {live} is not in it")),
        Some(_) => {}
    };
    text("plmn", &analysis.scope.plmn, cellular.plmn.as_ref());
    text("rat", &analysis.scope.rat, cellular.rat.as_ref());
    match (analysis.scope.roaming, cellular.roaming) {
        (None | Some(true), _) | (Some(false), Some(false)) => {}
        (Some(false), None) => object(Rule::Ta03, "scope.roaming: the live value is not known".into()),
        (Some(false), Some(true)) => object(Rule::Ta07, "scope.roaming: our modem is in a foreign network".into()),
    }
}

/// Rules TA10 (identity) and TA11 (route).
fn identity_and_route(analysis: &Analysis, case: &Case, loopback: bool, object: &mut impl FnMut(Rule, String)) {
    match analysis.needs.identity_binding {
        IdentityBinding::None => {
            object(Rule::Ta10, "needs.identity_binding is none: the server could not tell endpoints apart".into());
        }
        IdentityBinding::SourcePort => {}
        IdentityBinding::SourceAddress => {
            object(Rule::Ta11, "this version gives endpoints no source address of their own".into());
        }
        IdentityBinding::LoopbackSingleTenant if loopback => {}
        IdentityBinding::LoopbackSingleTenant => {
            object(Rule::Ta11, "identity_binding is loopback-single-tenant, and the server is not on this host".into());
        }
    }
    let first_north = analysis.segments.get(analysis.south_segments).map(|segment| segment.medium);
    if loopback != (first_north == Some(Medium::Loopback)) {
        let why = if loopback {
            "is on this host, and the path says it is not"
        } else {
            "is not on this host, and the path says it is"
        };
        object(Rule::Ta11, format!("the server's address {why}"));
    }
    let bearer = if loopback { Some("lo") } else { case.facts.bearer.as_deref() };
    match (&analysis.scope.bearer, bearer) {
        (None, _) if loopback => {}
        (None, _) => object(Rule::Ta11, "scope.bearer does not say by which interface the server is reached".into()),
        (Some(wanted), Some(bearer)) if wanted == bearer => {}
        (Some(wanted), Some(bearer)) => {
            object(Rule::Ta11, format!("the route to the server is by {bearer}, not by {wanted}"))
        }
        (Some(wanted), None) => {
            object(Rule::Ta11, format!("no route leads to the server by an interface that is up, such as {wanted}"));
        }
    }
}

/// The next day after which something that counts in an analysis does not any more: itself, evidence that is used, or an
/// accepted risk; of what has not expired yet.
#[must_use]
pub fn next_expiry(analysis: &Analysis, today: Day) -> Option<Day> {
    expiries(analysis, Some(today)).min()
}

/// The last days that are not over yet.
fn expiries(analysis: &Analysis, today: Option<Day>) -> impl Iterator<Item = Day> {
    let evidence = analysis.evidence_in_use().into_values().filter_map(Evidence::expires);
    let accepts = analysis.accepts.iter().map(|accept| accept.expires);
    evidence.chain(accepts).chain([analysis.expires]).filter(move |day| today.is_none_or(|today| *day >= today))
}
