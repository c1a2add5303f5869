//! Flags that switch the flow, its stages and its rules; snoozes.

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_decisions::{ExplainOptions, ReplayOptions, Snooze, explain, replay};
use verdict_rules::Scratch;

use super::support::{NOW, World, fields, request, rule};

fn world(switch: &str) -> World {
    let classify =
        json!({"scheme": "s", "rules": ["words"], "model": "industry", "accept_from": 0.99});
    let models = json!({"risk": {"model": {"model": "risk", "shadow": ["next"]}, "points_per_logit": 100.0}});
    let mut flow = json!({"flow": "test", "fields": fields(), "rules": ["risk"], "classify": classify,
        "models": models, "switches": {switch: "switch"}});
    flow["fields"]["name"]["need"] = json!("expected");
    World::new(flow)
        .rules("risk", json!([rule("r", "fraud", json!({"points": 10}))]))
        .rules(
            "words",
            json!([{"id": "w", "when": "amount > 1", "then": {"label": "x", "confidence": 0.6}}]),
        )
        .model("industry", &["x", "y"], &[0.2, 0.8])
        .risk_model("risk", 0.9)
        .risk_model("next", 0.9)
}

fn input() -> Json {
    json!({"text": "t", "amount": 5})
}

#[test]
fn every_stage_is_switched_by_its_flag() {
    let on = world("rules").flag("switch", json!(true)).answer_to(input());
    assert_eq!(on["degraded"], json!([]));
    for (switch, pointer, value, degraded) in [
        ("rules", "/risk/score", json!(220), json!(["rules_off"])),
        ("classify_rules", "/rules/sets", json!(["risk@12"]), json!(["classify_rules_off"])),
        (
            "classify_model",
            "/classification/source",
            json!("rule:w"),
            json!(["classify_model_off"]),
        ),
        ("models", "/risk/score", json!(10), json!(["models_off"])),
        ("score", "/risk/score", json!(null), json!(["score_off"])),
        ("abstain", "/abstained", json!([]), json!(["abstain_off"])),
        ("shadow", "/shadow", json!([]), json!([])),
        ("flow", "/risk", json!(null), json!(["flow_off"])),
    ] {
        let off = world(switch).flag("switch", json!(false)).answer_to(input());
        assert_ne!(on.pointer(pointer), Some(&value), "{switch}");
        assert_eq!(off.pointer(pointer), Some(&value), "{switch}");
        assert_eq!(off["degraded"], degraded, "{switch}");
        // An absent flag, and one of another type, switch nothing off.
        for world in [world(switch), world(switch).flag("switch", json!("off"))] {
            let answer = world.answer_to(input());
            assert_eq!(answer.pointer(pointer), on.pointer(pointer), "{switch}");
        }
    }
}

#[test]
fn a_flow_that_is_off_answers_what_it_abstains_with() {
    let off = world("flow").flag("switch", json!(false)).answer_to(input());
    assert_eq!(off["outcome"], json!("review"));
    assert_eq!(off["flags"], json!({"switch": "this"}));
    assert_eq!(off["rules"]["set"], json!(null));
    assert_eq!(off["cost_units"], json!(0));
}

#[test]
fn flags_switch_single_rules() {
    let rules = json!([
        {"id": "a", "flag": "rule-a", "when": "amount > 1", "then": {"points": 10}},
        {"id": "b", "when": "amount > 1", "then": {"points": 100}},
    ]);
    let world = || {
        World::new(json!({"flow": "test", "fields": fields(), "rules": ["risk"]}))
            .rules("risk", rules.clone())
    };
    let input = json!({"amount": 5});
    assert_eq!(world().answer_to(input.clone())["risk"]["score"], json!(110));
    let on = world().flag("rule-a", json!(true)).answer_to(input.clone());
    assert_eq!(on["risk"]["score"], json!(110));
    let off = world().flag("rule-a", json!(false)).answer_to(input);
    assert_eq!(off["risk"]["score"], json!(100));
    assert_eq!(off["rules"]["hits"], json!(["b"]));
}

#[test]
fn snoozed_rules_have_no_effect_and_are_named() {
    let flow = json!({"flow": "test", "unit": "card", "fields": fields(), "rules": ["risk"]});
    let rules = json!([
        rule("a", "fraud", json!({"outcome": "decline", "points": 50})),
        rule("s", "sanctions", json!({"outcome": "challenge"})),
    ]);
    let later = TimestampMs(NOW.0 + 1_000);
    let entries = json!([
        {"value": "c1", "expires": later.to_string(), "qualifiers": {"rule": "a"}},
        {"value": "c1", "expires": later.to_string(), "qualifiers": {"rule": "s"}},
        {"value": "c2", "expires": NOW.to_string(), "qualifiers": {"rule": "a"}},
    ]);
    let world = World::new(flow).rules("risk", rules).list_entries("snooze.test", entries);
    let snoozed = world.answer_to(json!({"amount": 5, "card": "c1"}));
    assert_eq!(snoozed["outcome"], json!("challenge"), "sanctions cannot be snoozed");
    assert_eq!(snoozed["risk"]["score"], json!(0));
    assert_eq!(snoozed["rules"]["snoozed"], json!(["a"]));
    assert_eq!(snoozed["rules"]["hits"], json!(["s"]));
    for card in ["c2", "c3"] {
        let answer = world.answer_to(json!({"amount": 5, "card": card}));
        assert_eq!(answer["outcome"], json!("decline"), "{card}");
        assert_eq!(answer["rules"]["snoozed"], json!([]), "{card}");
    }
    assert_eq!(world.compile().findings().len(), 1, "the sanctions snooze is a finding");

    let mut world = world;
    world.snoozes = vec![
        Snooze { rule: "a".into(), key: "c3".into(), expires: later, comment: None },
        Snooze { rule: "s".into(), key: "c3".into(), expires: later, comment: None },
    ];
    let answer = world.answer_to(json!({"amount": 5, "card": "c3"}));
    assert_eq!(answer["rules"]["snoozed"], json!(["a"]));
    let mut past = request(json!({"amount": 5, "card": "c3"}));
    past.as_of = Some(later);
    assert!(world.decide_request(past).decision.rules.snoozed.is_empty());
}

#[test]
fn objects_snooze_a_rule_for_the_unit_they_have_the_hash_of() {
    let flow = json!({"flow": "test", "unit": "card", "fields": fields(), "rules": ["risk"]});
    let rules = json!([
        rule("a", "fraud", json!({"outcome": "decline", "points": 50})),
        rule("s", "sanctions", json!({"outcome": "challenge"})),
    ]);
    let later = TimestampMs(NOW.0 + 1_000);
    let world = World::new(flow).rules("risk", rules);
    let before = *world.compile().content_hash();
    let world = world
        .snooze("snooze-1", "a", "c1", later)
        .snooze("snooze-2", "a", "c2", NOW)
        .snooze("snooze-3", "s", "c1", later)
        .snooze("snooze-4", "gone", "c1", later);
    let flow = world.compile();
    assert_ne!(*flow.content_hash(), before);
    let mut findings: Vec<_> = flow.findings().iter().map(|found| found.path.as_str()).collect();
    findings.sort_unstable();
    assert_eq!(findings, ["setting/snooze-3.rule", "setting/snooze-4.rule"]);

    let sealed = world.decide(json!({"amount": 5, "card": "c1"})).seal(38, false).unwrap();
    let answer: Json = serde_json::from_slice(&sealed.answer).unwrap();
    assert_eq!(answer["outcome"], json!("challenge"), "sanctions cannot be snoozed");
    assert_eq!(answer["rules"]["snoozed"], json!(["a"]));
    assert_eq!(answer["rules"]["hits"], json!(["s"]));
    for other in [json!({"amount": 5, "card": "c2"}), json!({"amount": 5})] {
        let answer = world.answer_to(other);
        assert_eq!(answer["outcome"], json!("decline"));
        assert_eq!(answer["rules"]["snoozed"], json!([]));
    }
    let mut past = request(json!({"amount": 5, "card": "c1"}));
    past.as_of = Some(later);
    assert!(world.decide_request(past).decision.rules.snoozed.is_empty());

    // The record says it, and so a replay and an explanation come to the same.
    let record = sealed.record;
    assert_eq!(record.open.snoozed, [(0, 0)]);
    let mut scratch = Scratch::default();
    let replayed = replay(&record, &flow, ReplayOptions::default(), &mut scratch).unwrap();
    assert!(replayed.equal, "{:?}", replayed.differences);
    let explained = explain(&record, &flow, ExplainOptions::default(), &mut scratch).unwrap();
    let hits: Vec<_> = explained.hits.iter().map(|hit| (&*hit.id, &hit.snoozed_by[..])).collect();
    assert_eq!(hits, [("a", &["snooze-1".into()][..]), ("s", &[][..])]);
}
