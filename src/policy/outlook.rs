//! What a valid file says that does not hold today: for whoever checks it, before a decision meets it.

use super::analysis::Analysis;
use super::date::Day;
use super::evidence::Evidence;
use super::table::Dates;

/// Dates of a file that do not hold on a day, one sentence each. `today`: as far as the clock of this machine says.
#[must_use]
pub fn outlook(analysis: &Analysis, today: Option<Day>) -> Vec<String> {
    let Some(today) = today else {
        return vec!["the clock of this machine is not set, so its dates were not looked at".into()];
    };
    let dates = Dates::On(Some(today));
    let mut found = Vec::new();
    if today < analysis.reviewed {
        found.push(format!("reviewed is in the future: it permits nothing before {}", analysis.reviewed));
    }
    if today > analysis.expires {
        found.push(format!("it expired on {}: it permits nothing until it is reviewed", analysis.expires));
    }
    for (name, evidence) in analysis.evidence_in_use() {
        if let Evidence::Attested { date, expires, .. } = evidence
            && let Some(why) = dates.problem(*date, *expires)
        {
            found.push(format!("evidence {name} does not count today: it {why}"));
        }
    }
    for accept in &analysis.accepts {
        if let Some(why) = dates.problem(Day(0), accept.expires) {
            let segment = analysis.segments.get(accept.segment).map_or("", |segment| segment.id.as_str());
            found.push(format!("what is accepted of {} on {segment} does not count today: it {why}", accept.attacker));
        }
    }
    found
}
