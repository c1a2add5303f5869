//! Models of the score: points, facts for rules, shadows, and choices by flags.

use serde_json::{Value as Json, json};
use verdict_config::definition::Outcome;
use verdict_decisions::ModelFailure;

use super::support::{World, fields, rule};

fn scored(model: Json) -> World {
    let models = json!({"risk": {"model": model, "points_per_logit": 100.0, "reason": "MODEL"}});
    World::new(json!({"flow": "test", "fields": fields(), "rules": ["risk"], "models": models}))
        .rules("risk", json!([
            {"id": "sure", "category": "fraud", "when": "scores.risk >= 0.99", "then": {"outcome": "decline"}},
            {"id": "listed", "category": "sanctions", "when": "country == \"XX\"", "then": {"outcome": "block"}},
        ]))
        .risk_model("risk", 0.9)
        .risk_model("next", 0.999)
}

#[test]
fn a_probability_gives_points_and_a_fact() {
    let world = scored(json!("risk"));
    let answer = world.answer_to(json!({"text": "x"}));
    assert_eq!(
        answer["risk"],
        json!({"score": 220, "level": "low", "categories": [], "source": "models"})
    );
    assert_eq!(answer["reasons"][0]["code"], json!("MODEL"));
    assert_eq!(answer["reasons"][0]["source"], json!("model:risk@7"));
    assert_eq!(answer["reasons"][0]["points"], json!(220));
    assert_eq!(answer["models"][0]["score"], json!(0.9));
    assert_eq!(answer["models"][0]["points"], json!(220));
    // A late rule reads the score, and the model's points are limited.
    let sure = scored(json!("next")).answer_to(json!({"text": "x"}));
    assert_eq!(sure["outcome"], json!("decline"));
    assert_eq!(sure["risk"]["score"], json!(400));
    assert_eq!(sure["rules"]["hits"], json!(["sure"]));
}

#[test]
fn a_flag_chooses_the_model() {
    for (value, score, models) in [
        (json!("risk"), 220, json!(["risk@7"])),
        (json!("next"), 400, json!(["next@7"])),
        (json!("none"), 0, json!([])),
        (json!({"model": "risk"}), 220, json!(["risk@7"])),
        (
            json!({"ensemble": {"method": "weighted_average", "members": [{"model": "risk"}, {"model": "next"}]}}),
            293,
            json!(["risk@7", "next@7"]),
        ),
    ] {
        let world = scored(json!({"flag": "risk-model"})).flag("risk-model", value.clone());
        let answer = world.answer_to(json!({"text": "x"}));
        assert_eq!(answer["risk"]["score"], json!(score), "{value}");
        let used: Vec<&Json> =
            answer["models"].as_array().unwrap().iter().map(|used| &used["model"]).collect();
        assert_eq!(json!(used), models, "{value}");
        assert_eq!(answer["flags"], json!({"risk-model": "this"}), "{value}");
        assert_eq!(answer["degraded"], json!([]), "{value}");
    }
}

#[test]
fn a_flag_splits_by_unit_and_reads_the_input() {
    let body = json!({"state": "ENABLED", "variants": {"old": "risk", "new": "next"}, "defaultVariant": "old",
        "targeting": {"if": [{"==": [{"var": "country"}, "DE"]}, "new",
            {"if": [{"==": [{"var": "targetingKey"}, "unit-7"]}, "new", "old"]}]}});
    let world = scored(json!({"flag": "risk-model"}))
        .flag_body("risk-model", body)
        .with("unit", json!("card"));
    for (input, variant) in [
        (json!({"text": "x", "country": "DE"}), "new"),
        (json!({"text": "x", "country": "FR"}), "old"),
        (json!({"text": "x", "card": "unit-7"}), "new"),
    ] {
        assert_eq!(
            world.answer_to(input.clone())["flags"]["risk-model"],
            json!(variant),
            "{input}"
        );
    }
    let mut request = super::support::request(json!({"text": "x", "card": "other"}));
    request.unit = Some("unit-7".to_owned());
    let decision = world.decide_request(request).decision;
    assert_eq!(decision.flags[0].1.as_deref(), Some("new"));
}

#[test]
fn what_a_flag_says_that_is_no_choice_follows_the_failure_policy() {
    for value in [json!(7), json!({"modle": "risk"}), json!("nobody")] {
        let world = scored(json!({"flag": "risk-model"})).flag("risk-model", value.clone());
        let answer = world.answer_to(json!({"text": "x"}));
        assert_eq!(answer["outcome"], json!("review"), "{value}");
        let degraded = answer["degraded"].as_array().unwrap();
        assert!(degraded[0].as_str().unwrap().starts_with("model_absent:"), "{value} {degraded:?}");
        assert_eq!(degraded[1], json!("without_model:scores.risk"), "{value}");
    }
    // An absent flag chooses nothing either.
    let answer = scored(json!({"flag": "risk-model"})).answer_to(json!({"text": "x"}));
    assert_eq!(answer["outcome"], json!("review"));
    assert_eq!(answer["flags"], json!({}));
}

#[test]
fn shadows_are_told_and_do_not_count() {
    let world = scored(json!({"model": "risk", "shadow": ["next"]}));
    let answer = world.answer_to(json!({"text": "x"}));
    assert_eq!(answer["outcome"], json!("approve"));
    assert_eq!(answer["risk"]["score"], json!(220));
    let shadow = &answer["shadow"][0];
    assert_eq!(shadow["model"], json!("next@7"));
    assert_eq!(shadow["score"], json!(0.999));
    assert_eq!(shadow["outcome"], json!("decline"), "its late rule would have hit");
    assert_eq!(answer["cost_units"].as_u64().unwrap() / 1_000, 2);

    let failing = scored(json!({"model": "risk", "shadow": ["next"]}))
        .fails("next", ModelFailure::Overloaded);
    let answer = failing.answer_to(json!({"text": "x"}));
    assert_eq!((&answer["outcome"], &answer["degraded"]), (&json!("approve"), &json!([])));
    assert_eq!(answer["shadow"][0]["failure"], json!("overloaded"));
    assert_eq!(answer["shadow"][0]["outcome"], json!(null));
}

#[test]
fn where_rules_settled_models_run_in_shadow() {
    let world = scored(json!("risk"));
    let answer = world.answer_to(json!({"text": "x", "country": "XX"}));
    assert_eq!(answer["outcome"], json!("block"));
    assert_eq!(answer["models"], json!([]));
    assert_eq!(answer["risk"]["score"], json!(0));
    assert_eq!(answer["shadow"][0]["model"], json!("risk@7"));
    assert_eq!(answer["shadow"][0]["score"], json!(0.9));
    assert_eq!(answer["shadow"][0]["outcome"], json!("block"));
}

#[test]
fn one_model_is_asked_once_whatever_it_is_for() {
    let models = json!({
        "a": {"model": {"model": "risk", "shadow": ["next"]}},
        "b": {"model": {"ensemble": {"method": "voting", "members": [{"model": "risk"}, {"model": "next"}]}}},
    });
    let world = World::new(json!({"flow": "test", "fields": fields(), "models": models}))
        .risk_model("risk", 0.9)
        .risk_model("next", 0.999);
    let mut session = world.begin(&world.compile(), super::support::request(json!({"text": "x"})));
    session.run_rules(&mut verdict_rules::Scratch::default());
    let calls = session.model_calls();
    assert_eq!(calls.len(), 2);
    assert!(session.model_calls().is_empty(), "nothing more until the answers are here");
}

#[test]
fn anomaly_models_score_numbers() {
    let models = json!({"odd": {"model": "forest", "points_per_logit": 50.0}});
    let world = World::new(json!({"flow": "test", "fields": fields(), "models": models}))
        .anomaly_model("forest", 0.8);
    let answer = world.answer_to(json!({"amount": "12.50"}));
    assert_eq!(answer["risk"]["score"], json!(69));
    assert_eq!(answer["reasons"][0]["code"], json!("MODEL_ODD"));
}

#[test]
fn answers_that_are_no_probabilities_are_failures() {
    for scores in
        [vec![0.5f32], vec![f32::NAN, 0.5], vec![0.5, 1.5], vec![f32::INFINITY, 0.0], vec![]]
    {
        let world = scored(json!("risk")).answer("risk", &scores, None);
        let decision = world.decide(json!({"text": "x"})).decision;
        assert_eq!(decision.outcome, Outcome::Review, "{scores:?}");
        assert_eq!(decision.degraded[0].as_ref(), "model_failed:risk@7", "{scores:?}");
    }
}

#[test]
fn rules_before_models_see_no_score() {
    let models = json!({"risk": {"model": "risk"}});
    let world = World::new(
        json!({"flow": "test", "fields": fields(), "rules": ["risk"], "models": models}),
    )
    .rules(
        "risk",
        json!([
            rule("early", "fraud", json!({"points": 10})),
            {"id": "late", "when": "scores.risk > 0.5 && amount > 1", "then": {"points": 5}},
        ]),
    )
    .risk_model("risk", 0.9);
    let answer = world.answer_to(json!({"text": "x", "amount": 5}));
    assert_eq!(answer["risk"]["score"], json!(15));
    assert_eq!(answer["risk"]["source"], json!("rules"));
    let failed =
        world.fails("risk", ModelFailure::TimedOut).answer_to(json!({"text": "x", "amount": 5}));
    assert_eq!(
        failed["rules"]["unknown"],
        json!([{"id": "late", "missing": ["scores.risk"], "cause": "missing"}])
    );
    assert_eq!(failed["degraded"], json!(["model_timed_out:risk@7", "without_model:scores.risk"]));
}
