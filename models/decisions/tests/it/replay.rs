//! Replay: equal to the bit, and honest about what is not.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use verdict_config::model::ModelOutput;
use verdict_config::{EvaluationVersion, Value};
use verdict_decisions::record::DecisionRecord;
use verdict_decisions::replay::{
    RecomputedOutput, ReplayError, ReplayOptions, ScoreMode, ScoreStatus, replay, replay_calls,
};
use verdict_decisions::{CompiledFlow, ModelFailure};
use verdict_rules::Scratch;

use super::support::{World, fields, request};

fn world() -> World {
    let flow = json!({"flow": "test", "unit": "card", "fields": fields(), "rules": ["risk"],
        "classify": {"scheme": "s", "model": {"flag": "industry"}},
        "models": {"risk": {"model": {"model": "risk", "shadow": ["next"]}, "points_per_logit": 100.0}},
        "on_failure": {"model": "fallback_model", "fallback_model": "next"}});
    World::new(flow)
        .rules("risk", json!([
            {"id": "many", "when": "window_count(\"1h\", card) >= 5", "then": {"points": 100}},
            {"id": "late", "when": "scores.risk > 0.5 && classification.label == \"x\"", "then": {"points": 1}},
        ]))
        .model("industry", &["x", "y"], &[0.8, 0.2])
        .risk_model("risk", 0.9)
        .risk_model("next", 0.7)
        .flag("industry", json!({"model": "industry"}))
        .window("window_count(\"1h\", card)", Value::Int(7))
}

fn record_of(world: &World) -> DecisionRecord {
    let mut request = request(json!({"text": "t", "card": "c", "amount": 3.5}));
    request.request_id = Some("r".to_owned());
    world.decide_request(request).seal(38, true).unwrap().record
}

fn replayed(record: &DecisionRecord, flow: &Arc<CompiledFlow>) -> Vec<(String, Json)> {
    let replayed = replay(record, flow, ReplayOptions::default(), &mut Scratch::default()).unwrap();
    assert_eq!(replayed.equal, replayed.differences.is_empty());
    assert_eq!(replayed.score_mode, ScoreMode::Recorded);
    replayed.differences.into_iter().map(|found| (found.path, found.replayed)).collect()
}

#[test]
fn a_replay_is_equal() {
    for world in [
        world(),
        world().fails("risk", ModelFailure::TimedOut),
        world().fails("risk", ModelFailure::TimedOut).fails("next", ModelFailure::Failed),
        world().flag("industry", json!("none")),
        world().with("switches", json!({"flow": "industry"})).flag("industry", json!(false)),
        world().with("cost_units_max", json!(1_500)),
    ] {
        assert_eq!(replayed(&record_of(&world), &world.compile()), []);
    }
}

#[test]
fn flags_and_windows_of_today_do_not_matter() {
    let record = record_of(&world());
    let today = world().flag("industry", json!("none"));
    assert_eq!(replayed(&record, &today.compile()), []);
}

#[test]
fn a_changed_record_is_found_out() {
    let world = world();
    let flow = world.compile();
    let mut record = record_of(&world);
    record.open.windows[0] = Some((&Value::Int(1)).into());
    let differences = replayed(&record, &flow);
    assert!(differences.contains(&("risk.score".to_owned(), json!(221))), "{differences:?}");
    assert!(differences.iter().any(|(path, _)| path == "rules.hits[1]"), "{differences:?}");

    let mut record = record_of(&world);
    record.open.answer = String::from_utf8(record.open.answer)
        .unwrap()
        .replace("\"outcome\":\"approve\"", "\"outcome\":\"block\"")
        .into_bytes();
    assert_eq!(replayed(&record, &flow)[0], ("outcome".to_owned(), json!("approve")));
}

#[test]
fn another_flow_is_refused() {
    let record = record_of(&world());
    let other = world().with("description", json!("changed")).compile();
    let error =
        replay(&record, &other, ReplayOptions::default(), &mut Scratch::default()).unwrap_err();
    assert_eq!((&error, error.code().as_str()), (&ReplayError::WrongFlow, "VD0407"));
}

#[test]
fn recomputed_scores_are_compared_on_their_own() {
    let world = world();
    let flow = world.compile();
    let record = record_of(&world);
    let calls = replay_calls(&record, &flow, &mut Scratch::default()).unwrap();
    assert_eq!(calls.len(), 3);
    let check = |off: f32, kernel: &str, status: ScoreStatus, equal: bool| {
        let recomputed: Vec<RecomputedOutput> = calls
            .iter()
            .map(|call| {
                let mut output: ModelOutput = world.answers[call.model.as_ref()].clone().unwrap();
                output.scores[0] += off;
                output.kernel = kernel.to_owned();
                RecomputedOutput { call: call.call, output: Ok(output) }
            })
            .collect();
        let options = ReplayOptions { recomputed: Some(&recomputed), tolerance: Some(1e-3) };
        let replayed = replay(&record, &flow, options, &mut Scratch::default()).unwrap();
        assert_eq!(replayed.score_mode, ScoreMode::Recomputed);
        assert!(replayed.differences.is_empty(), "the logic is replayed with recorded scores");
        assert!(
            replayed.scores.iter().all(|score| score.status == status),
            "{:?}",
            replayed.scores
        );
        assert_eq!(replayed.equal, equal);
    };
    check(0.0, "test", ScoreStatus::BitEqual, true);
    check(5e-4, "other", ScoreStatus::WithinTolerance, true);
    check(5e-3, "other", ScoreStatus::Different, false);
    let failed = [RecomputedOutput { call: 0, output: Err(ModelFailure::Failed) }];
    let options = ReplayOptions { recomputed: Some(&failed), tolerance: None };
    let replayed = replay(&record, &flow, options, &mut Scratch::default()).unwrap();
    assert_eq!(replayed.scores[0].status, ScoreStatus::Unavailable);
}

#[test]
fn records_that_contradict_themselves_are_damaged() {
    let world = world();
    let flow = world.compile();
    let check = |change: fn(&mut DecisionRecord)| {
        let mut record = record_of(&world);
        change(&mut record);
        let result = replay(&record, &flow, ReplayOptions::default(), &mut Scratch::default());
        assert!(matches!(result, Err(ReplayError::Damaged(_))), "{result:?}");
    };
    check(|record| record.open.windows.clear());
    check(|record| record.open.input = b"[]".to_vec());
    check(|record| record.open.snoozed = vec![(9, 9)]);
    check(|record| record.open.snoozed = vec![(0, 9)]);
    check(|record| record.open.answer = b"{".to_vec());
    check(|record| record.open.flags[0].value = Some("{".into()));
}

#[test]
fn a_replay_says_by_which_version_rules_evaluated() {
    let world = world();
    let mut record = record_of(&world);
    let flow = world.compile();
    let replay_of = |record: &DecisionRecord| {
        replay(record, &flow, ReplayOptions::default(), &mut Scratch::default()).unwrap()
    };
    let same = replay_of(&record);
    assert!(!same.evaluation_changed);
    assert_eq!((same.evaluation.recorded, same.evaluation.replayed), (2, 2));
    // A record of a program that evaluates by a version that this one does not know.
    record.open.evaluation = 9;
    assert_eq!(record.open.replay_evaluation(), EvaluationVersion::CURRENT);
    let other = replay_of(&record);
    assert!(other.evaluation_changed);
    assert_eq!((other.evaluation.recorded, other.evaluation.replayed), (9, 2));
    record.open.evaluation = 1;
    assert_eq!(record.open.replay_evaluation(), EvaluationVersion::V1);
}
