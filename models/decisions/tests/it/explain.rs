//! Explanations: what every rule read, and what decided.

use serde_json::{Value as Json, json};
use verdict_decisions::ModelFailure;
use verdict_decisions::explain::{ExplainOptions, explain};
use verdict_rules::Scratch;

use super::support::{World, fields};

fn explained(world: &World, input: Json) -> Json {
    let record = world.decide(input).seal(1, false).unwrap().record;
    let explanation =
        explain(&record, &world.compile(), ExplainOptions::default(), &mut Scratch::default());
    serde_json::to_value(explanation.unwrap()).unwrap()
}

fn world() -> World {
    let flow = json!({"flow": "test", "fields": fields(), "rules": ["risk"],
        "classify": {"scheme": "s", "rules": ["words"], "model": "industry"},
        "models": {"risk": {"model": "risk", "points_per_logit": 100.0}},
        "score": {"base": 5, "segments": [{"name": "small", "when": "amount < 10",
            "levels": {"medium": 1, "high": 2, "critical": 900}}]}});
    World::new(flow)
        .rules("risk", json!([
            {"id": "hit", "category": "fraud", "severity": "low", "when": "amount > 1", "then": {"points": 10, "outcome": "decline"}},
            {"id": "miss", "when": "amount > 1 && country == \"XX\"", "then": {"points": 10}},
            {"id": "unknown", "when": "age_days < 5", "then": {"points": 10}},
            {"id": "off", "flag": "off", "when": "amount > 1", "then": {"points": 10}},
            {"id": "allow", "when": "country == \"DE\"", "then": {"allow": true}},
            {"id": "late", "when": "scores.risk > 0.5", "then": {"cap": 500}},
        ]))
        .rules("words", json!([{"id": "w", "when": "contains(text, \"w\")", "then": {"label": "x", "confidence": 0.6}}]))
        .model("industry", &["x", "y"], &[0.2, 0.8])
        .risk_model("risk", 0.9)
        .flag("off", json!(false))
}

#[test]
fn every_rule_says_why() {
    let explanation = explained(&world(), json!({"amount": 5, "country": "DE", "text": "w"}));
    let ids = |verdict: &str| -> Vec<String> {
        let rules = explanation[verdict].as_array().unwrap();
        rules.iter().map(|rule| rule["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("hits"), ["allow", "hit", "late", "w"]);
    assert_eq!(ids("misses"), ["miss"]);
    assert_eq!(ids("unknown"), ["unknown"]);
    assert_eq!(ids("disabled"), ["off"]);
    assert_eq!(explanation["hits"][1]["reads"], json!([{"name": "amount", "value": "5"}]));
    assert_eq!(explanation["hits"][2]["phase"], json!("late"));
    assert_eq!(explanation["misses"][0]["failing"]["text"], json!("country == \"XX\""));
    assert_eq!(explanation["misses"][0]["failing"]["column"], json!(15));
    assert_eq!(explanation["unknown"][0]["causes"][0]["cause"], json!("missing"));
    assert_eq!(explanation["hits"][0]["set"], json!("risk@12"));
}

#[test]
fn the_sum_and_the_lattice_are_shown() {
    let explanation = explained(&world(), json!({"amount": 5, "country": "DE", "text": "w"}));
    let points = &explanation["points"];
    assert_eq!(
        (&points["base"], &points["sum"], &points["cap"]),
        (&json!(5), &json!(235), &json!(500))
    );
    assert_eq!(points["segment"], json!("small"));
    assert_eq!(points["score"], json!(235));
    assert_eq!(points["level"], json!("high"));
    let parts: Vec<&Json> =
        points["parts"].as_array().unwrap().iter().map(|part| &part["source"]).collect();
    assert_eq!(json!(parts), json!(["rule:hit", "rule:late", "model:risk@7"]));
    assert_eq!(
        explanation["outcomes"],
        json!([
            {"source": "rule:hit", "outcome": "decline", "suppressed": true},
            {"source": "level:high", "outcome": "review", "suppressed": false},
            {"source": "abstain:rule_model_conflict", "outcome": "review", "suppressed": false},
        ])
    );
    assert_eq!(explanation["outcome"], json!("review"));
    assert_eq!(explanation["derived"][0]["name"], json!("scores.risk"));
    assert_eq!(explanation["derived"][1]["value"], json!("y"));
}

#[test]
fn stages_say_what_became_of_them() {
    let statuses = |world: &World, input: Json| -> Vec<(String, String)> {
        let explanation = explained(world, input);
        let stages = explanation["stages"].as_array().unwrap().clone();
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        stages.iter().map(|stage| (text(&stage["stage"]), text(&stage["status"]))).collect()
    };
    let check = |world: &World, input: Json, expected: &[(&str, &str)]| {
        let got = statuses(world, input);
        let got: Vec<(&str, &str)> = got.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(got, expected);
    };
    check(
        &world(),
        json!({"amount": 5, "text": "w"}),
        &[
            ("validate", "ran"),
            ("rules", "ran"),
            ("classify_rules", "ran"),
            ("classify", "ran"),
            ("scores.risk", "ran"),
            ("score", "ran"),
            ("abstain", "ran"),
        ],
    );
    let failing =
        world().fails("risk", ModelFailure::Failed).with("switches", json!({"abstain": "off"}));
    check(
        &failing,
        json!({"amount": 5}),
        &[
            ("validate", "ran"),
            ("rules", "ran"),
            ("classify_rules", "ran"),
            ("classify", "ran"),
            ("scores.risk", "failed"),
            ("score", "ran"),
            ("abstain", "off"),
        ],
    );
    let block = world()
        .rules("risk", json!([{"id": "b", "when": "amount > 1", "then": {"outcome": "block"}}]));
    check(
        &block,
        json!({"amount": 5}),
        &[
            ("validate", "ran"),
            ("rules", "settled"),
            ("classify_rules", "ran"),
            ("classify", "not_needed"),
            ("scores.risk", "not_needed"),
            ("score", "ran"),
            ("abstain", "not_needed"),
        ],
    );
    let off = world().with("switches", json!({"flow": "off"}));
    check(&off, json!({"amount": 5}), &[("validate", "ran"), ("flow", "off")]);
}
