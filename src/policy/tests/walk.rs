//! A bounded model, walked whole: three segments, three attackers, four properties, five kinds of protection with every
//! span. What `decide` says is held against the rule told a second time, from tables of its own.

use super::*;
use crate::policy::protection::{Kind, Protection};
use crate::policy::segment::Attacker;

/// Kinds with their evidence, and what this model knows of them: claims, then attackers that they work against, in the
/// order integrity, replay, authentication, confidentiality and radio-active, host-user, lan.
const KINDS: [(Kind, &str, [bool; 4], [bool; 3]); 5] = [
    (Kind::LorawanMac, "lorawan", [true, true, true, false], [true, true, true]),
    (Kind::LorawanApp, "lorawan", [false, false, false, true], [true, true, true]),
    (Kind::Ipsec, "letter", [true, true, true, true], [true, true, true]),
    (Kind::OsAccess, "tty", [true, true, true, true], [false, true, false]),
    (Kind::AsUp, "letter", [false, false, true, true], [true, false, false]),
];
const ATTACKERS: [Attacker; 3] = [Attacker::RadioActive, Attacker::HostUser, Attacker::Lan];
/// Nothing, and the spans of three segments.
const SPANS: [Option<(usize, usize)>; 7] =
    [None, Some((0, 0)), Some((1, 1)), Some((2, 2)), Some((0, 1)), Some((1, 2)), Some((0, 2))];
/// Which of the three attackers stand beside which segment: beside the first the air, beside the second the cable, beside
/// the third the wire; and more.
const PLACES: [[[bool; 3]; 3]; 6] = [
    [[true, false, false], [false, true, false], [false, false, true]],
    [[true, true, false], [false, true, false], [false, false, true]],
    [[true, false, false], [true, true, true], [false, false, true]],
    [[true, false, false], [false, true, true], [false, true, true]],
    [[true, true, true], [false, true, false], [true, true, true]],
    [[true, true, true], [true, true, true], [true, true, true]],
];

/// Air, serial line, own wire. The floor of each medium is what the model has of it.
fn skeleton() -> Analysis {
    let text = lan().replace("[scope]", "[scope]\nbearer = \"eth1\"").replace("[evidence]", "[evidence]\ntty = { type = \"live\", probe = \"tty-owner\" }\nletter = { type = \"operator-letter\", ref = \"x\", date = 2026-11-01, expires = 2027-11-01 }");
    Analysis::parse(Path::new("walk.toml"), &text).unwrap()
}

#[test]
fn s_05_the_whole_of_a_bounded_model_is_walked() {
    let server = server("coap://192.168.1.20:5683", Some("coaps://192.168.1.20:5684"));
    let facts = Facts {
        bearer: Some("eth1".into()),
        seen: vec![Seen { probe: Probe::TtyOwner, peer: None, interface: None, good: true, age_s: 1 }],
        ..facts()
    };
    let case = Case {
        endpoint: ENDPOINT,
        server: &server,
        credential: Some(DtlsMode::Psk),
        facts: &facts,
        today: Some(day("2026-12-01")),
        latched: None,
    };
    let mut analyses = Analyses { valid: vec![skeleton()], invalid: Vec::new() };
    let (mut walked, mut permitted) = (0u64, 0u64);
    for places in PLACES {
        for confidentiality in [true, false] {
            for choice in 0..7usize.pow(5) {
                let spans: [Option<(usize, usize)>; 5] =
                    std::array::from_fn(|n| SPANS[choice / 7usize.pow(n as u32) % 7]);
                prepare(&mut analyses.valid[0], &places, confidentiality, &spans);
                let got = decide(&case, &analyses).verdict.permits_nosec();
                let want = expected(&places, confidentiality, &spans);
                assert_eq!(got, want, "{places:?} {confidentiality} {spans:?}");
                walked += 1;
                permitted += u64::from(got);
            }
        }
    }
    println!("walked {walked} models, {permitted} of them permit NoSec");
    assert_eq!(walked, 6 * 2 * 16_807);
    assert_eq!(permitted, 63_108);
}

fn prepare(
    analysis: &mut Analysis,
    places: &[[bool; 3]; 3],
    confidentiality: bool,
    spans: &[Option<(usize, usize)>; 5],
) {
    analysis.needs.confidentiality = confidentiality;
    for (segment, beside) in analysis.segments.iter_mut().zip(places) {
        segment.attackers =
            ATTACKERS.into_iter().zip(beside).filter(|(_, there)| **there).map(|(one, _)| one).collect();
    }
    analysis.protections.clear();
    for ((kind, evidence, ..), span) in KINDS.iter().zip(spans) {
        let Some((first, last)) = *span else { continue };
        let claims = kind.cap().iter().copied().collect();
        analysis.protections.push(Protection { kind: *kind, first, last, claims, evidence: vec![(*evidence).into()] });
    }
}

/// The rule of the walk: on each segment, against each attacker beside it and those that its medium always has, each
/// property is given by a kind that spans the segment.
fn expected(places: &[[bool; 3]; 3], confidentiality: bool, spans: &[Option<(usize, usize)>; 5]) -> bool {
    let given = |segment: usize, property: usize, works: &dyn Fn(usize) -> bool| {
        (0..5).any(|kind| {
            spans[kind].is_some_and(|(first, last)| first <= segment && segment <= last)
                && KINDS[kind].2[property]
                && works(kind)
        })
    };
    let needed = if confidentiality { 4 } else { 3 };
    (0..3).all(|segment| {
        (0..needed).all(|property| {
            let beside = (0..3)
                .filter(|attacker| places[segment][*attacker])
                .all(|attacker| given(segment, property, &|kind| KINDS[kind].3[attacker]));
            // A passive listener in the air is kept out by what keeps out an active one. Hands on the cable are not kept out
            // by rights of the operating system or by the ciphering of another link.
            let always = match segment {
                0 => given(segment, property, &|kind| KINDS[kind].3[0]),
                1 => given(segment, property, &|kind| kind < 3),
                _ => true,
            };
            beside && always
        })
    })
}
