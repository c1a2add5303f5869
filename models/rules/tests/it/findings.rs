//! Static findings.

use serde_json::{Value as Json, json};
use verdict_rules::FindingKind;

use crate::harness::World;

fn found(rules: Json) -> Vec<(FindingKind, String, Option<String>)> {
    let set = World::new().compile(rules).unwrap();
    set.findings().iter().map(|f| (f.kind, f.rule.clone(), f.other.clone())).collect()
}

#[test]
fn dead_and_constant_rules() {
    for (when, expected) in [
        ("count > 5 && count < 3", Some(FindingKind::Dead)),
        ("count > 5 && count < 6", Some(FindingKind::Dead)),
        ("amount > 5 && amount < 6", None),
        ("amount > 5 && amount <= 5", Some(FindingKind::Dead)),
        ("amount >= 5 && amount <= 5", None),
        ("country == \"GB\" && country == \"US\"", Some(FindingKind::Dead)),
        ("country == \"GB\" && country in [\"GB\", \"US\"]", None),
        ("country in [\"GB\"] && country != \"GB\"", Some(FindingKind::Dead)),
        ("active && !active", Some(FindingKind::Dead)),
        ("has(amount) && !has(amount)", Some(FindingKind::Dead)),
        ("!has(amount) && amount > 5", Some(FindingKind::Dead)),
        ("keywords(\"gambling\", name) && !keywords(\"gambling\", name)", Some(FindingKind::Dead)),
        ("false && active", Some(FindingKind::Dead)),
        ("count in []", Some(FindingKind::Dead)),
        ("(count > 5 && count < 3) || active", None),
        ("true", Some(FindingKind::Always)),
        ("active || true", Some(FindingKind::Always)),
        ("\"a\" in tags && \"b\" in tags", None),
    ] {
        let kinds: Vec<_> = found(json!([{ "id": "r", "when": when }]))
            .into_iter()
            .map(|(kind, ..)| kind)
            .collect();
        assert_eq!(kinds, expected.into_iter().collect::<Vec<_>>(), "{when}");
    }
}

#[test]
fn shadowed_and_contradictory_pairs() {
    let pair = |a: Json, b: Json| {
        let mut rules = [a, b];
        for (rule, id) in rules.iter_mut().zip(["a", "b"]) {
            rule["id"] = json!(id);
        }
        found(json!(rules))
    };
    let told =
        |kind, rule: &str, other: &str| vec![(kind, rule.to_owned(), Some(other.to_owned()))];
    let review = json!({ "outcome": "review" });
    assert_eq!(
        pair(
            json!({ "when": "count > 10 && active", "then": review }),
            json!({ "when": "count > 5", "then": { "outcome": "decline" } })
        ),
        told(FindingKind::Shadowed, "a", "b")
    );
    assert_eq!(
        pair(
            json!({ "when": "country == \"GB\"", "then": { "outcome": "block" } }),
            json!({ "when": "country in [\"GB\", \"US\"]", "then": { "allow": true } })
        ),
        told(FindingKind::Contradictory, "a", "b")
    );
    assert_eq!(
        pair(
            json!({ "when": "country == \"GB\"", "then": { "outcome": "block" }, "category": "sanctions" }),
            json!({ "when": "country in [\"GB\", \"US\"]", "then": { "allow": true } })
        ),
        [],
        "an allow never reaches sanctions"
    );
    assert_eq!(
        pair(
            json!({ "when": "active && count > 5", "then": { "points": 5 } }),
            json!({ "when": "5 < count && active", "then": { "points": 5 } })
        ),
        told(FindingKind::Shadowed, "b", "a")
    );
    assert_eq!(
        pair(
            json!({ "when": "count > 10", "then": { "points": 50 } }),
            json!({ "when": "count > 5", "then": { "points": 50 } })
        ),
        [],
        "points add up"
    );
    assert_eq!(
        pair(
            json!({ "when": "count > 10", "then": review }),
            json!({ "when": "count > 20", "then": review })
        ),
        told(FindingKind::Shadowed, "b", "a")
    );
    assert_eq!(
        pair(
            json!({ "when": "count > 10", "then": { "label": "x" } }),
            json!({ "when": "count > 10", "then": { "label": "y" } })
        )
        .len(),
        2
    );
}

#[test]
fn a_literal_with_capitals_is_never_in_lower_case() {
    let world = World::new();
    let set = world
        .compile(json!([
            { "id": "a", "when": "lower(country) == \"GB\" || name.lower() in [\"x\", \"\u{c9}a\"]" },
            { "id": "b", "when": "lower(country) == \"gb\" && country != \"GB\"" },
        ]))
        .unwrap();
    let found: Vec<_> = set
        .findings()
        .iter()
        .filter(|finding| finding.kind == FindingKind::NeverEqual)
        .map(|finding| (finding.path.as_str(), finding.message.as_str()))
        .collect();
    let expected = [
        ("rules[0].when", "no text in lower case is \"GB\": write \"gb\""),
        ("rules[0].when", "no text in lower case is \"\u{c9}a\": write \"\u{e9}a\""),
    ];
    assert_eq!(found, expected);
}
