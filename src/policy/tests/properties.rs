//! What must hold whatever the file says: taking something away never gives NoSec, adding an attacker never does, and the
//! order of files and entries does not matter.

use super::*;
use crate::policy::evidence::{Evidence, EvidenceKind};
use crate::policy::protection::{Kind, Protection};
use crate::policy::segment::{Attacker, Property};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// A site that may or may not be NoSec, bent at random from the worked examples.
#[derive(Clone, Debug)]
struct World {
    analyses: Vec<Analysis>,
    facts: Facts,
    today: Option<Day>,
    backhaul: bool,
    reserve: bool,
}

impl World {
    fn verdict(&self) -> Verdict {
        let (uri, secure) = match self.backhaul {
            true => ("coap://10.9.0.10:5683", "coaps://10.9.0.10:5684"),
            false => ("coap://127.0.0.1:5683", "coaps://127.0.0.1:5684"),
        };
        let server = server(uri, self.reserve.then_some(secure));
        let case = Case {
            endpoint: ENDPOINT,
            server: &server,
            credential: self.reserve.then_some(DtlsMode::Psk),
            facts: &self.facts,
            today: self.today,
            latched: None,
        };
        decide(&case, &Analyses { valid: self.analyses.clone(), invalid: Vec::new() }).verdict
    }
}

fn protection() -> impl Strategy<Value = Protection> {
    let claims = subsequence(Property::ALL, 0..=4);
    let evidence = subsequence(vec!["lorawan", "letter", "cabinet", "tty", "here"], 0..=3);
    (select(Kind::ALL), 0usize..6, 0usize..6, claims, evidence).prop_map(|(kind, a, b, claims, evidence)| Protection {
        kind,
        first: a.min(b),
        last: a.max(b),
        claims: claims.into_iter().collect(),
        evidence: evidence.into_iter().map(str::to_string).collect(),
    })
}

/// Each world is one of the examples with some of its protections, some more, and some of its facts.
fn world() -> impl Strategy<Value = World> {
    let base = any::<bool>();
    let more = proptest::collection::vec(protection(), 0..3);
    let kept = proptest::collection::vec(proptest::bool::weighted(0.9), 8);
    let known = proptest::collection::vec(proptest::bool::weighted(0.9), 6);
    let today = prop_oneof![8 => Just(Some(day("2026-12-01"))), 1 => Just(None), 1 => Just(Some(day("2027-06-01")))];
    (base, more, kept, known, today, proptest::bool::weighted(0.9)).prop_map(
        |(base, more, kept, known, today, reserve)| {
            let text = if base { BACKHAUL.to_string() } else { local("2027-05-02") };
            let mut analysis = Analysis::parse(Path::new("x.toml"), &text).unwrap();
            let mut keep = kept.iter();
            analysis.protections.retain(|_| *keep.next().unwrap());
            analysis.protections.extend(more);
            let mut facts = if base { backhaul().facts } else { facts() };
            let [activation, counters, clock, bearer, cellular, seen] = known.try_into().unwrap();
            facts.activation = facts.activation.filter(|_| activation);
            facts.counters_checked = facts.counters_checked.filter(|_| counters);
            facts.clock_synchronised = facts.clock_synchronised.filter(|_| clock);
            facts.bearer = facts.bearer.filter(|_| bearer);
            facts.cellular = facts.cellular.filter(|_| cellular);
            facts.seen.retain(|_| seen);
            World { analyses: vec![analysis], facts, today, backhaul: base, reserve }
        },
    )
}

/// Every world that has one thing less.
fn less(world: &World) -> Vec<(String, World)> {
    let mut all = Vec::new();
    let mut with = |what: String, change: &dyn Fn(&mut World)| {
        let mut less = world.clone();
        change(&mut less);
        all.push((what, less));
    };
    let analysis = &world.analyses[0];
    for n in 0..analysis.protections.len() {
        with(format!("protection {n}"), &|world| drop(world.analyses[0].protections.remove(n)));
        for e in 0..analysis.protections[n].evidence.len() {
            with(format!("evidence {e} of {n}"), &|world| {
                drop(world.analyses[0].protections[n].evidence.remove(e));
            });
        }
        for claim in &analysis.protections[n].claims {
            with(format!("claim {claim} of {n}"), &|world| {
                world.analyses[0].protections[n].claims.remove(claim);
            });
        }
    }
    for name in analysis.evidence.keys() {
        with(format!("evidence {name}"), &|world| drop(world.analyses[0].evidence.remove(name)));
        with(format!("date of {name}"), &|world| {
            if let Some(Evidence::Attested { expires, .. }) = world.analyses[0].evidence.get_mut(name) {
                *expires = Day(0);
            }
        });
        with(format!("word of {name}"), &|world| {
            if let Some(Evidence::Attested { kind, .. }) = world.analyses[0].evidence.get_mut(name) {
                *kind = EvidenceKind::Assumption;
            }
        });
    }
    for n in 0..analysis.accepts.len() {
        with(format!("accept {n}"), &|world| drop(world.analyses[0].accepts.remove(n)));
    }
    with("activation".into(), &|world| world.facts.activation = None);
    with("counters".into(), &|world| world.facts.counters_checked = None);
    with("clock".into(), &|world| world.facts.clock_synchronised = None);
    with("today".into(), &|world| world.today = None);
    with("bearer".into(), &|world| world.facts.bearer = None);
    with("cellular".into(), &|world| world.facts.cellular = None);
    with("seen".into(), &|world| world.facts.seen.clear());
    with("reserve".into(), &|world| world.reserve = false);
    with("the analysis".into(), &|world| world.analyses.clear());
    with("its validity".into(), &|world| world.analyses[0].expires = Day(0));
    for segment in 0..analysis.segments.len() {
        for attacker in Attacker::ALL {
            // More attackers are less safety.
            with(format!("no {attacker} at {segment}"), &|world| {
                world.analyses[0].segments[segment].attackers.insert(*attacker);
            });
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s_03_taking_anything_away_or_adding_an_attacker_never_gives_nosec(world in world()) {
        if !world.verdict().permits_nosec() {
            for (what, less) in less(&world) {
                prop_assert!(!less.verdict().permits_nosec(), "without {}: {:?}", what, world);
            }
        }
    }

    #[test]
    fn s_03_the_order_of_files_and_entries_does_not_matter(
        first in world(), second in world(), swap in any::<bool>(), turn in 0usize..8,
    ) {
        let mut both = first.clone();
        both.analyses.extend(second.analyses.iter().cloned().map(|mut other| {
            other.id = "TA-9".into();
            other.scope.server = first.analyses[0].scope.server.clone();
            other
        }));
        let mut other = both.clone();
        other.analyses.reverse();
        for analysis in &mut other.analyses {
            let turn = turn % analysis.protections.len().max(1);
            analysis.protections.rotate_left(turn);
            if swap {
                analysis.protections.reverse();
                analysis.accepts.reverse();
            }
        }
        prop_assert_eq!(both.verdict(), other.verdict());
        // With a second file there is never more than with the first alone.
        if both.verdict().permits_nosec() {
            prop_assert!(first.verdict().permits_nosec());
        }
    }
}

#[test]
fn the_worlds_of_the_properties_are_of_both_kinds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = world();
    let permitted =
        (0..400).filter(|_| strategy.new_tree(&mut runner).unwrap().current().verdict().permits_nosec()).count();
    assert!((40..=360).contains(&permitted), "{permitted} of 400");
}

#[test]
fn no_subset_of_the_protections_but_the_whole_gives_nosec() {
    let whole = Analysis::parse(Path::new("x.toml"), BACKHAUL).unwrap();
    let count = whole.protections.len();
    for mask in 0u32..1 << count {
        let mut analysis = whole.clone();
        let mut n = 0;
        analysis.protections.retain(|_| {
            n += 1;
            mask & (1 << (n - 1)) != 0
        });
        let world = World {
            analyses: vec![analysis],
            facts: backhaul().facts,
            today: Some(day("2026-12-01")),
            backhaul: true,
            reserve: true,
        };
        assert_eq!(world.verdict().permits_nosec(), mask == (1 << count) - 1, "{mask:b}");
    }
}
