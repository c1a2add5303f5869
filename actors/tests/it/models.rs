//! Models that answer, fail and panic, inside decisions.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use verdict_actors::inference::{ModelLoader, ScoreError, Scorer};
use verdict_config::definition::Outcome;
use verdict_config::model::{
    ColumnKind, ModelColumn, ModelFile, ModelManifest, ModelObject, ModelOutput, ModelRow,
    ModelTask, ModelValue, content_hash,
};
use verdict_config::{Code, ObjectKind};
use verdict_consensus::{Author, Change, ChangeSet};
use verdict_decisions::ExplainOptions;
use verdict_neural::Contribution;

use crate::support::{Node, decide, json_of, node, propose, put, request, until};

/// The probability of `bad` is the amount in thousandths; an amount of 13 panics.
struct TestModel(ModelManifest);

fn manifest(name: &str) -> ModelManifest {
    let column = ModelColumn { name: "amount".into(), kind: ColumnKind::Number };
    ModelManifest {
        format: 1,
        name: name.into(),
        version: "1".into(),
        task: ModelTask::Classification,
        network: "tabular_mlp".into(),
        labels: vec!["good".into(), "bad".into()],
        positive_label: Some("bad".into()),
        columns: vec![column],
        temperature: 1.0,
        ood_threshold: None,
        metrics: IndexMap::new(),
        training_data_sha256: None,
        seed: 0,
        parent: None,
        licence: None,
        reference_profile: None,
    }
}

impl Scorer for TestModel {
    fn manifest(&self) -> &ModelManifest {
        &self.0
    }

    fn predict(&self, rows: &[ModelRow]) -> Result<Vec<ModelOutput>, ScoreError> {
        let score = |row: &ModelRow| {
            let ModelValue::Number(amount) = row[0] else { return 0.5 };
            assert!((amount - 13.0).abs() > 0.1, "deliberate");
            #[expect(clippy::cast_possible_truncation)]
            {
                (amount / 1_000.0) as f32
            }
        };
        let output = |row: &ModelRow| {
            let bad = score(row);
            ModelOutput { scores: vec![1.0 - bad, bad], ood_distance: None, kernel: "test".into() }
        };
        Ok(rows.iter().map(output).collect())
    }

    fn explain(&self, _: &ModelRow, _: usize, _: usize) -> Result<Vec<Contribution>, ScoreError> {
        Ok(vec![Contribution { column: "amount".into(), feature: "x".into(), value: 1.0 }])
    }

    fn bytes(&self) -> usize {
        1_000
    }
}

/// Loads a test model under every hash but one.
pub struct TestLoader;

impl ModelLoader for TestLoader {
    fn load(&self, hash: &str) -> Result<Arc<dyn Scorer>, ScoreError> {
        if hash == model_object("absent").content_hash {
            let detail = "no such folder".to_owned();
            return Err(ScoreError { code: Code::ModelNotFound, detail });
        }
        Ok(Arc::new(TestModel(manifest("risk"))))
    }
}

pub fn model_object(name: &str) -> ModelObject {
    let sha256 = verdict_config::model::sha256_hex(name.as_bytes());
    let files = vec![ModelFile { path: "model.json".into(), sha256, size: 1 }];
    let content_hash = content_hash(&files);
    ModelObject { manifest: manifest(name), files, content_hash }
}

fn model(name: &str) -> Change {
    put(ObjectKind::Model, name, &serde_json::to_value(model_object(name)).unwrap())
}

fn flow(on_failure: &Json) -> Change {
    let body = json!({
        "flow": "scored",
        "fields": {"amount": {"type": "float"}},
        "models": {"risk": {"model": "risk", "points_per_logit": 100.0}},
        "rules": ["scored_rules"],
        "on_failure": on_failure
    });
    put(ObjectKind::Flow, "scored", &body)
}

fn rules() -> Change {
    let body = json!({
        "rule_set": "scored_rules",
        "flow": "scored",
        "rules": [{"id": "late", "when": "scores.risk > 0.9", "then": {"outcome": "decline"}}]
    });
    put(ObjectKind::RuleSet, "scored_rules", &body)
}

async fn scored(on_failure: Json) -> Node {
    let changes = vec![model("risk"), flow(&on_failure), rules()];
    node(Some(Arc::new(TestLoader)), changes).await
}

async fn outcome_of(node: &Node, amount: f64) -> (Outcome, Json) {
    let answer = decide(&node.handle, "scored", request(json!({"amount": amount}))).await.unwrap();
    (answer.outcome, json_of(&answer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scores_become_facts_of_late_rules_and_replay_with_bits() {
    let node = scored(json!({})).await;
    assert_eq!(outcome_of(&node, 100.0).await.0, Outcome::Approve);
    let (outcome, json) = outcome_of(&node, 950.0).await;
    assert_eq!(outcome, Outcome::Decline);
    let id = json["decision_id"].as_str().unwrap();
    let replayed = node.handle.replay(id, true).await.unwrap().replayed;
    assert!(replayed.equal, "{replayed:?}");
    assert_eq!(replayed.scores.len(), 1);
    let explained = node.handle.explain(id, ExplainOptions::default()).await.unwrap();
    assert_eq!(explained.models[0].label.as_deref(), Some("bad"));
    assert_eq!(explained.models[0].contributions[0].column, "amount");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_model_costs_one_request_and_follows_the_policy() {
    let node = scored(json!({"model": "rules_only"})).await;
    let (outcome, json) = outcome_of(&node, 13.0).await;
    assert_eq!(outcome, Outcome::Approve);
    assert!(!json["degraded"].as_array().unwrap().is_empty(), "{json}");
    assert_eq!(outcome_of(&node, 950.0).await.0, Outcome::Decline);
    until("the counted restart", || node.handle.tree().restarts_total() == 1).await;
    let node = scored(json!({"model": "review"})).await;
    assert_eq!(outcome_of(&node, 13.0).await.0, Outcome::Review);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_this_node_cannot_load_is_refused_with_its_name() {
    let node = scored(json!({})).await;
    let error = propose(&node.handle, "absent", vec![model("absent")]).await.unwrap_err();
    let fault = &error.faults()[0];
    assert_eq!(
        (fault.code, fault.path.as_str()),
        (Code::ModelNotFound, "model/absent.content_hash")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_are_swapped_out_leave_no_memory_behind() {
    let node = scored(json!({})).await;
    for number in 0..20 {
        let mut object = model_object(&format!("v{number}"));
        object.manifest.name = "risk".into();
        let body = serde_json::to_value(&object).unwrap();
        let change = put(ObjectKind::Model, "risk", &body);
        propose(&node.handle, &format!("swap-{number}"), vec![change]).await.unwrap();
        outcome_of(&node, 100.0).await;
        // The version before goes once the new one serves, which is a moment later.
        let resident = || node.handle.status().inference.resident_bytes;
        until("the version before to go", || resident() <= 2_000).await;
    }
}

/// Panics as often as it is told, then loads.
struct TrapLoader(std::sync::atomic::AtomicU32);

impl ModelLoader for TrapLoader {
    fn load(&self, hash: &str) -> Result<Arc<dyn Scorer>, ScoreError> {
        use std::sync::atomic::Ordering::SeqCst;
        let left = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "deliberate");
        TestLoader.load(hash)
    }
}

/// A panic between a commit and the swap: the last good state serves on, the revision that was
/// agreed is tried again, and then it is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_before_the_swap_is_tried_again() {
    let loader = Arc::new(TrapLoader(2.into()));
    let node = node(Some(loader), crate::support::payment()).await;
    let before = node.handle.serving().revision;
    // As from another node: nobody here has loaded the model for a check.
    let changes = vec![model("risk"), flow(&json!({})), rules()];
    let set = ChangeSet::new("scored", "a test", changes);
    let agreed = node.handle.log().propose(set, Author::named("test")).await.unwrap().revision;
    let pay = decide(&node.handle, "payment", request(json!({"card": "a", "amount": "1"})));
    let decided = json_of(&pay.await.unwrap());
    assert!(decided["revision"].as_u64().unwrap() >= before);
    until("the revision is served", || node.handle.serving().revision == agreed).await;
    assert!(node.handle.tree().restarts_total() > 0, "it did panic");
    let scored = decide(&node.handle, "scored", request(json!({"amount": 500.0}))).await.unwrap();
    assert_eq!(json_of(&scored)["degraded"], json!([]));
    assert!(node.handle.publisher().faults.is_empty());
}

/// A panic while a model gets its final name costs the one who gave it an answer, and no more: what is
/// served serves on, and the same model is taken at the next try.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_at_the_renaming_of_a_model_costs_one_try() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let node = node(Some(Arc::new(TestLoader)), crate::support::payment()).await;
    let left = Arc::new(AtomicUsize::new(2));
    let trap = Arc::clone(&left);
    node.handle.blobs().set_probe(Arc::new(move |step| {
        let springs =
            trap.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(springs.is_err(), "deliberate, at {step:?}");
    }));
    let bytes = serde_json::to_vec(&manifest("risk")).unwrap();
    let files = std::collections::BTreeMap::from([("model.json".to_owned(), bytes)]);
    for _ in 0..2 {
        let refused = node.handle.stage_model(files.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal);
        assert!(node.handle.blobs().hashes().unwrap().is_empty());
        let pay = decide(&node.handle, "payment", request(json!({"card": "a", "amount": "1"})));
        assert_eq!(json_of(&pay.await.unwrap())["outcome"], "approve");
    }
    let staged = node.handle.stage_model(files).await.unwrap();
    assert_eq!(node.handle.describe_model(staged.content_hash).await.unwrap(), staged.files);
}
