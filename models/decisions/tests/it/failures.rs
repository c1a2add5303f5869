//! Failure policies: what follows from failed models and rules, and that the answer says so.

use serde_json::json;
use verdict_config::Code;
use verdict_decisions::{ModelFailure, RulesFailure};

use super::support::{World, fields, request, rule};

fn world(on_failure: serde_json::Value) -> World {
    let models = json!({"risk": {"model": "risk", "points_per_logit": 100.0}});
    World::new(json!({"flow": "test", "fields": fields(), "rules": ["risk"], "models": models,
        "on_failure": on_failure}))
    .rules("risk", json!([rule("r", "fraud", json!({"points": 10}))]))
    .risk_model("risk", 0.9)
    .risk_model("small", 0.75)
}

#[test]
fn failed_models_follow_the_policy() {
    let input = || json!({"text": "x", "amount": 5});
    let failed = |policy| world(policy).fails("risk", ModelFailure::Overloaded);
    let answer = failed(json!({"model": "rules_only"})).answer_to(input());
    assert_eq!((&answer["outcome"], &answer["risk"]["score"]), (&json!("approve"), &json!(10)));
    assert_eq!(answer["degraded"], json!(["model_overloaded:risk@7", "without_model:scores.risk"]));

    let answer = failed(json!({})).answer_to(input());
    assert_eq!((&answer["outcome"], &answer["risk"]["score"]), (&json!("review"), &json!(10)));

    let policy = json!({"model": "fallback_model", "fallback_model": "small"});
    let answer = failed(policy.clone()).answer_to(input());
    assert_eq!((&answer["outcome"], &answer["risk"]["score"]), (&json!("approve"), &json!(120)));
    assert_eq!(answer["degraded"], json!(["model_overloaded:risk@7", "fallback_model:small@7"]));
    assert_eq!(answer["models"][1]["role"], json!("fallback"));
    assert_eq!(answer["models"][1]["points"], json!(110));

    let answer = failed(policy).fails("small", ModelFailure::Failed).answer_to(input());
    assert_eq!((&answer["outcome"], &answer["risk"]["score"]), (&json!("review"), &json!(10)));
    assert_eq!(
        answer["degraded"],
        json!(["model_overloaded:risk@7", "model_failed:small@7", "without_model:scores.risk"])
    );
}

#[test]
fn a_model_that_never_answers_failed() {
    let world = world(json!({}));
    let mut session = world.begin(&world.compile(), request(json!({"text": "x"})));
    session.run_rules(&mut verdict_rules::Scratch::default());
    assert_eq!(session.model_calls().len(), 1);
    let decision = session.conclude(&mut verdict_rules::Scratch::default()).decision;
    assert_eq!(decision.degraded[0].as_ref(), "model_failed:risk@7");
}

#[test]
fn failed_rules_are_refused_or_reviewed() {
    for (failure, code) in
        [(RulesFailure::Failed, Code::Internal), (RulesFailure::Overloaded, Code::Overloaded)]
    {
        let world = world(json!({}));
        let mut session = world.begin(&world.compile(), request(json!({"amount": 5})));
        let refused = session.set_rules(Err(failure)).unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(refused.is_retryable(), failure == RulesFailure::Overloaded);
    }
    let mut world = world(json!({"rules": "review"}));
    world.rules_failure = Some(RulesFailure::Overloaded);
    let answer = world.answer_to(json!({"text": "x", "amount": 5}));
    assert_eq!(answer["outcome"], json!("review"));
    assert_eq!(answer["degraded"], json!(["rules_overloaded"]));
    assert_eq!(answer["rules"]["set"], json!(null));
    assert_eq!(answer["risk"]["score"], json!(220), "models go on");
}

#[test]
fn nothing_brought_is_a_decision_all_the_same() {
    let world = world(json!({"rules": "review"}));
    let session = world.begin(&world.compile(), request(json!({"amount": 5})));
    let decision = session.conclude(&mut verdict_rules::Scratch::default()).decision;
    assert_eq!(decision.outcome, verdict_config::definition::Outcome::Review);
    assert_eq!(decision.degraded[0].as_ref(), "rules_failed");
}
