//! Ensembles in a flow: classification and score, whole and with members that fail.

use serde_json::{Value as Json, json};
use verdict_decisions::ModelFailure;

use super::support::{World, fields};

fn world(method: &str) -> World {
    let ensemble = json!({"ensemble": {"method": method, "members": [
        {"model": "a", "weight": 1.0}, {"model": "b", "weight": 3.0}]}});
    let classify = json!({"scheme": "test", "model": ensemble, "alternatives": 1});
    World::new(json!({"flow": "test", "fields": fields(), "classify": classify,
        "on_failure": {"model": "rules_only"}}))
    .model("a", &["x", "y"], &[0.9, 0.1])
    .model("b", &["y", "x"], &[0.6, 0.4])
}

fn check(world: &World, label: &str, confidence: f64, source: &str) {
    let answer = world.answer_to(json!({"text": "t"}));
    let class = &answer["classification"];
    assert_eq!(class["label"], json!(label), "{class}");
    let got = class["confidence"].as_f64().unwrap();
    assert!((got - confidence).abs() < 2e-6, "{class}");
    assert_eq!(class["source"], json!(source), "{class}");
}

#[test]
fn methods_combine_labels() {
    check(&world("weighted_average"), "x", 0.525, "ensemble:weighted_average(a@7,b@7)");
    check(&world("voting"), "y", 0.75, "ensemble:voting(a@7,b@7)");
    check(&world("best_single"), "x", 0.9, "ensemble:best_single(a@7,b@7)");
    let (x, y) = (0.9 * 0.4f64.powi(3), 0.1 * 0.6f64.powi(3));
    check(&world("stacking"), "x", x / (x + y), "ensemble:stacking(a@7,b@7)");
}

#[test]
fn the_members_that_answered_decide() {
    let one = world("weighted_average").fails("a", ModelFailure::Overloaded);
    check(&one, "y", 0.6, "ensemble:weighted_average(b@7)");
    let answer = one.answer_to(json!({"text": "t"}));
    assert_eq!(answer["degraded"], json!(["model_overloaded:a@7"]));
    assert_eq!(answer["outcome"], json!("approve"));
    assert_eq!(answer["models"][0]["failure"], json!("overloaded"));

    let none = world("voting").fails("a", ModelFailure::Failed).fails("b", ModelFailure::TimedOut);
    let answer = none.answer_to(json!({"text": "t"}));
    assert_eq!(answer["classification"], json!(null));
    assert_eq!(
        answer["degraded"],
        json!(["model_failed:a@7", "model_timed_out:b@7", "without_model:classify"])
    );
}

#[test]
fn scores_combine_probabilities() {
    let risk = |method: &str| -> Json {
        let ensemble = json!({"ensemble": {"method": method, "members": [
            {"model": "a", "weight": 1.0}, {"model": "forest", "weight": 1.0}]}});
        let models = json!({"risk": {"model": ensemble, "points_per_logit": 100.0}});
        World::new(json!({"flow": "test", "fields": fields(), "models": models}))
            .risk_model("a", 0.9)
            .anomaly_model("forest", 0.6)
            .answer_to(json!({"text": "t", "amount": 1}))
    };
    for (method, score) in
        [("weighted_average", 110), ("best_single", 220), ("voting", 400), ("stacking", 260)]
    {
        let answer = risk(method);
        assert_eq!(answer["risk"]["score"], json!(score), "{method} {answer}");
        assert_eq!(answer["models"][0]["points"], json!(null), "points are the ensemble's");
    }
}
