//! The examples of `config/threat-analysis.d`, and the schema for editors, are what the code says.

use super::*;
use crate::policy::evidence::EvidenceKind;
use crate::policy::protection::Kind;
use crate::policy::segment::{Attacker, Medium, Property};
use serde_json::Value;

const EXAMPLES: [(&str, &str, &str, Option<Rule>); 5] = [
    (
        "lorawan-local",
        include_str!("../../../config/threat-analysis.d/lorawan-local.toml.example"),
        "coap://127.0.0.1:5683",
        Some(Rule::Ta10),
    ),
    (
        "lorawan-lan",
        include_str!("../../../config/threat-analysis.d/lorawan-lan.toml.example"),
        "coap://192.168.1.20:5683",
        Some(Rule::Ta05),
    ),
    (
        "lorawan-wireguard",
        include_str!("../../../config/threat-analysis.d/lorawan-wireguard.toml.example"),
        "coap://10.9.0.10:5683",
        Some(Rule::Ta06),
    ),
    (
        "cellular-backhaul",
        include_str!("../../../config/threat-analysis.d/cellular-backhaul.toml.example"),
        "coap://10.9.0.10:5683",
        // The values of the modem that its scope asks for are not known.
        Some(Rule::Ta03),
    ),
    // Its endpoints are no LoRaWAN nodes.
    (
        "nbiot-nodes",
        include_str!("../../../config/threat-analysis.d/nbiot-nodes.toml.example"),
        "coap://127.0.0.1:5683",
        None,
    ),
];

/// Public key of a WireGuard peer.
const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

/// An example as somebody leaves it who has put in what it asks for.
fn filled_in(text: &str) -> String {
    text.replace("public key of the peer", KEY)
}

#[test]
fn an_example_with_a_key_that_is_none_is_refused_by_line() {
    let (_, text, ..) = EXAMPLES.into_iter().find(|(one, ..)| *one == "lorawan-wireguard").unwrap();
    let bad = filled_in(text).replace(KEY, "public key of the peer");
    let errors = Analysis::parse(Path::new("x.toml"), &bad).unwrap_err().to_string();
    assert!(errors.starts_with("x.toml:34: evidence.wg: peer is not the public key of a WireGuard peer"), "{errors}");
    assert!(errors.contains("hint: `wg show`") && errors.lines().count() == 2, "{errors}");
    for bad in [&KEY[1..], &KEY.replace("g=", "h="), &format!("{KEY}\\n"), ""] {
        assert!(Analysis::parse(Path::new("x"), &filled_in(text).replace(KEY, bad)).is_err(), "{bad}");
    }
}

#[test]
fn examples_are_valid_and_decided_as_they_say() {
    for (name, text, uri, rule) in EXAMPLES {
        let text = &filled_in(text);
        let analysis = Analysis::parse(Path::new(name), text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(analysis.scope.server, uri.parse().unwrap(), "{name}");
        let site = Site { server: server(uri, Some("coaps://192.168.1.20")), ..Site::local() };
        let decision = site.decide(&[text]);
        match rule {
            Some(rule) => assert_eq!(decision.rule(), rule, "{name}: {}", decision.reason),
            None => assert!(decision.analyses.is_empty(), "{name}"),
        }
    }
}

#[test]
fn with_all_that_they_ask_for_the_examples_of_real_tunnels_would_permit_nosec() {
    for (name, bearer) in [("lorawan-wireguard", "wg0"), ("cellular-backhaul", "wwan0")] {
        let (_, text, uri, _) = EXAMPLES.into_iter().find(|(one, ..)| *one == name).unwrap();
        let text = &filled_in(text);
        let mut site = Site { server: server(uri, Some("coaps://10.9.0.10:5684")), ..backhaul() };
        site.facts.bearer = Some(bearer.into());
        site.facts.seen.push(handshake(Some("wg0"), true));
        assert_eq!(site.decide(&[text]).rule(), Rule::Ta10, "{name}");
        site.facts.seen.clear();
        assert_eq!(site.decide(&[text]).rule(), Rule::Ta06, "{name}: silent");
    }
}

fn handshake(interface: Option<&str>, good: bool) -> Seen {
    let (peer, interface) = (Some(KEY.into()), interface.map(str::to_string));
    Seen { probe: Probe::Wireguard, peer, interface, good, age_s: 5 }
}

#[test]
fn s_05_only_a_handshake_on_the_bearer_speaks_for_a_tunnel() {
    let (_, text, uri, _) = EXAMPLES.into_iter().find(|(one, ..)| *one == "lorawan-wireguard").unwrap();
    let text = &filled_in(text);
    let with = |facts: &[(Option<&str>, bool)], text: &str| {
        let mut site = Site { server: server(uri, Some("coaps://10.9.0.10:5684")), ..backhaul() };
        site.facts.bearer = Some("wg0".into());
        site.facts.seen.extend(facts.iter().map(|(interface, good)| handshake(*interface, *good)));
        site.decide(&[text]).rules
    };
    assert_eq!(with(&[(Some("wg0"), true)], text), [Rule::Ta10]);
    for other in [Some("wg1"), Some(""), None] {
        assert_eq!(with(&[(other, true)], text), [Rule::Ta06, Rule::Ta12], "{other:?}");
        assert_eq!(with(&[(other, false), (Some("wg0"), true)], text), [Rule::Ta10], "{other:?}");
        assert_eq!(with(&[(other, true), (Some("wg0"), false)], text), [Rule::Ta07, Rule::Ta12], "{other:?}");
        let no_bearer = text.replace("bearer = \"wg0\"", "");
        assert_eq!(with(&[(other, true)], &no_bearer)[0], Rule::Ta06, "{other:?}");
    }
}

#[test]
fn the_schema_has_the_names_of_the_code() {
    let schema: Value = serde_json::from_str(include_str!("../../../config/threat-analysis.d/schema.json")).unwrap();
    let names = |at: &str| -> Vec<String> {
        let list = schema.pointer(at).unwrap_or_else(|| panic!("{at}")).as_array().unwrap();
        list.iter().map(|name| name.as_str().unwrap().to_string()).collect()
    };
    let of = |all: &mut dyn Iterator<Item = &'static str>| all.map(str::to_string).collect::<Vec<_>>();
    let entry = |list: &str, key: &str| format!("/properties/{list}/items/properties/{key}");
    assert_eq!(names(&(entry("segments", "medium") + "/enum")), of(&mut Medium::ALL.iter().map(|one| one.name())));
    let attackers = of(&mut Attacker::ALL.iter().map(|one| one.name()));
    assert_eq!(names(&(entry("segments", "attackers") + "/items/enum")), attackers);
    assert_eq!(names(&(entry("accept", "attacker") + "/enum")), attackers);
    assert_eq!(names(&(entry("protections", "kind") + "/enum")), of(&mut Kind::ALL.iter().map(|one| one.name())));
    let properties = of(&mut Property::ALL.iter().map(|one| one.name()).chain(["all"]));
    assert_eq!(names(&(entry("protections", "claims") + "/items/enum")), properties);
    assert_eq!(names(&(entry("accept", "property") + "/enum")), properties);
    let evidence = "/properties/evidence/additionalProperties/properties";
    assert_eq!(names(&format!("{evidence}/type/enum")), of(&mut EvidenceKind::ALL.iter().map(|one| one.name())));
    assert_eq!(names(&format!("{evidence}/probe/enum")), of(&mut Probe::ALL.iter().map(|one| one.name())));
    // Its keys are those that the file may have: each unknown one is refused with the list of known ones.
    let error =
        Analysis::parse(Path::new("x"), &format!("wrong = 1\n{}", local("2027-05-02"))).unwrap_err().to_string();
    for key in schema["properties"].as_object().unwrap().keys() {
        assert!(error.contains(&format!("`{key}`")), "{key}: {error}");
    }
}
