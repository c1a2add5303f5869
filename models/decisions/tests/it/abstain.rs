//! Every reason to abstain, and what does not make a flow abstain.

use serde_json::{Value as Json, json};
use verdict_config::definition::Outcome;
use verdict_decisions::decision::Abstention;

use super::support::{World, fields, rule};

fn classifier() -> World {
    let classify = json!({"scheme": "naics2022", "rules": ["industry"], "model": "industry",
        "accept_from": 0.9, "delta": 0.1, "min_confidence": 0.4});
    World::new(json!({"flow": "test", "fields": fields(), "classify": classify}))
        .rules("industry", json!([
            {"id": "bakery", "when": "contains(text, \"bakery\")", "then": {"label": "311811", "confidence": 0.97}},
            {"id": "cafe", "when": "contains(text, \"cafe\")", "then": {"label": "722515", "confidence": 0.7}},
            {"id": "coffee", "when": "contains(text, \"coffee\")", "then": {"label": "722515", "confidence": 0.92}},
        ]))
        .model("industry", &["311811", "722511", "722515"], &[0.1, 0.8, 0.1])
}

fn check(world: &World, input: Json, abstained: &[Abstention], label: &str, source: &str) {
    let decision = world.decide(input.clone()).decision;
    assert_eq!(decision.abstained, abstained, "{input}");
    let class = decision.classification.unwrap();
    assert_eq!((class.label.as_ref(), class.source.as_ref()), (label, source), "{input}");
    let outcome = if abstained.is_empty() { Outcome::Approve } else { Outcome::Review };
    assert_eq!(decision.outcome, outcome, "{input}");
}

#[test]
fn a_precise_rule_needs_no_model() {
    let world = classifier();
    check(&world, json!({"text": "a bakery"}), &[], "311811", "rule:bakery");
    let answer = world.answer_to(json!({"text": "a bakery"}));
    assert_eq!(answer["models"], json!([]));
    assert_eq!(answer["classification"]["confidence"], json!(0.97));
}

#[test]
fn rules_and_models_are_weighed() {
    let world = classifier();
    check(&world, json!({"text": "a place"}), &[], "722511", "model:industry@7");
    // Both sure of different labels.
    let conflict = [Abstention::RuleModelConflict];
    let near = [Abstention::Ambiguous, Abstention::RuleModelConflict];
    let strong = classifier().answer("industry", &[0.01, 0.95, 0.04], None);
    check(&strong, json!({"text": "a cafe"}), &conflict, "722511", "model:industry@7");
    let tie = classifier().answer("industry", &[0.2, 0.75, 0.05], None);
    check(&tie, json!({"text": "a cafe"}), &near, "722511", "model:industry@7");
    // The model agrees with the rule: the surer of the two is the source.
    let agree = classifier().answer("industry", &[0.1, 0.1, 0.8], None);
    check(&agree, json!({"text": "a cafe"}), &[], "722515", "model:industry@7");
    let less = classifier().answer("industry", &[0.2, 0.2, 0.6], None);
    check(&less, json!({"text": "a cafe"}), &[], "722515", "rule:cafe");
}

#[test]
fn two_labels_that_are_near_each_other_are_ambiguous() {
    let world = classifier().answer("industry", &[0.42, 0.48, 0.1], None);
    check(&world, json!({"text": "x"}), &[Abstention::Ambiguous], "722511", "model:industry@7");
    // Two rules, both beyond accept_from, but nearer than delta: the model is asked after all.
    let rules = classifier().answer("industry", &[0.99, 0.0, 0.01], None);
    check(
        &rules,
        json!({"text": "a bakery with coffee"}),
        &[Abstention::Ambiguous],
        "311811",
        "model:industry@7",
    );
}

#[test]
fn low_confidence_and_strange_inputs() {
    let low = classifier().answer("industry", &[0.2, 0.39, 0.2], None);
    check(&low, json!({"text": "x"}), &[Abstention::LowConfidence], "722511", "model:industry@7");
    let strange = classifier().answer("industry", &[0.0, 1.0, 0.0], Some(2.5));
    let abstained = [Abstention::OutOfDistribution];
    check(&strange, json!({"text": "x"}), &abstained, "722511", "model:industry@7");
    let border = classifier().answer("industry", &[0.0, 1.0, 0.0], Some(2.0));
    check(&border, json!({"text": "x"}), &[], "722511", "model:industry@7");
    let off = classifier().with("abstain", json!({"out_of_distribution": false})).answer(
        "industry",
        &[0.0, 1.0, 0.0],
        Some(2.5),
    );
    check(&off, json!({"text": "x"}), &[], "722511", "model:industry@7");
}

#[test]
fn expected_fields_that_are_absent_are_named() {
    let mut flow = json!({"flow": "test", "fields": fields(), "abstain": {"outcome": "challenge"}});
    flow["fields"]["text"]["need"] = json!("expected");
    let world = World::new(flow);
    let answer = world.answer_to(json!({"amount": 1}));
    assert_eq!(answer["abstained"], json!(["expected_unknown"]));
    assert_eq!(answer["missing"], json!(["text"]));
    assert_eq!(answer["outcome"], json!("challenge"));
    let answer = world.answer_to(json!({"text": "x"}));
    assert_eq!((&answer["abstained"], &answer["outcome"]), (&json!([]), &json!("approve")));
}

#[test]
fn a_spent_budget_leaves_models_out() {
    let models = json!({"risk": {"model": "risk", "points_per_logit": 100.0}});
    let world = World::new(json!({"flow": "test", "fields": fields(), "models": models}))
        .with("cost_units_max", json!(999))
        .risk_model("risk", 0.99);
    let answer = world.answer_to(json!({"text": "x"}));
    assert_eq!(answer["abstained"], json!(["cost_budget"]));
    assert_eq!(answer["outcome"], json!("review"));
    assert_eq!(answer["degraded"], json!(["model_skipped:risk"]));
    assert_eq!(answer["risk"]["score"], json!(0));
    let enough = world.with("cost_units_max", json!(1_000)).answer_to(json!({"text": "x"}));
    assert_eq!((&enough["abstained"], &enough["cost_units"]), (&json!([]), &json!(1_000)));
}

#[test]
fn a_settled_decision_does_not_abstain() {
    let mut flow = json!({"flow": "test", "fields": fields(), "rules": ["risk"]});
    flow["fields"]["text"]["need"] = json!("expected");
    let world = World::new(flow)
        .rules("risk", json!([rule("listed", "sanctions", json!({"outcome": "block"}))]));
    let answer = world.answer_to(json!({"amount": 5}));
    assert_eq!((&answer["abstained"], &answer["outcome"]), (&json!([]), &json!("block")));
    assert_eq!(answer["missing"], json!(["text"]));
}
