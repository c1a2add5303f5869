//! Guards of a flow while its catalogue changes: models that fit, tests that pass, windows whose
//! age is known.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use verdict_actors::RuntimeError;
use verdict_actors::inference::ModelLoader;
use verdict_config::model::{ColumnKind, ModelColumn};
use verdict_config::{Code, Fault, ObjectKind};
use verdict_consensus::Change;

use crate::models::{TestLoader, model_object};
use crate::support::{Node, decide, json_of, node, open, propose, put, request, until};

fn loader() -> Option<Arc<dyn ModelLoader>> {
    Some(Arc::new(TestLoader))
}

/// A model over `amount`, and over a column that is given.
fn model(name: &str, column: Option<(&str, ColumnKind)>) -> Change {
    let mut object = model_object(name);
    if let Some((name, kind)) = column {
        object.manifest.columns.push(ModelColumn { name: name.into(), kind });
    }
    put(ObjectKind::Model, name, &serde_json::to_value(&object).unwrap())
}

fn alias(name: &str, model: &str) -> Change {
    put(ObjectKind::Alias, name, &json!({ "model": model }))
}

fn flag(variants: &Json, rollout: Option<&str>) -> Change {
    let mut body = json!({"state": "ENABLED", "variants": variants, "defaultVariant": "on"});
    if let Some(variant) = rollout {
        body["rollout"] = json!({"variant": variant, "percent": 0.001});
    }
    put(ObjectKind::Flag, "risk-model", &body)
}

fn flow() -> Change {
    let body = json!({
        "flow": "scored",
        "fields": {"amount": {"type": "float"}, "mcc": {"type": "symbol"}},
        "models": {"risk": {"model": {"flag": "risk-model"}, "label": "bad"}},
        "on_failure": {"model": "rules_only"},
    });
    put(ObjectKind::Flow, "scored", &body)
}

async fn scored() -> Node {
    let first = vec![
        model("risk", None),
        model("coded", Some(("mcc", ColumnKind::Number))),
        model("foreign", Some(("postcode", ColumnKind::Text))),
        alias("champion", "risk"),
        flag(&json!({"on": "risk", "next": "champion"}), Some("next")),
        flow(),
    ];
    node(loader(), first).await
}

fn refused(result: Result<impl std::fmt::Debug, RuntimeError>) -> Vec<Fault> {
    let error = result.unwrap_err();
    let faults = error.faults();
    assert!(!faults.is_empty(), "{error:?}");
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_a_flag_can_return_and_that_does_not_fit_is_refused() {
    let node = scored().await;
    let handle = &node.handle;
    let variants = json!({"on": "risk", "next": "coded"});
    let misfit = |faults: &[Fault], words: &[&str]| {
        let all = format!("{faults:?}");
        assert!(faults.iter().any(|fault| fault.code == Code::ModelInput), "{all}");
        for word in ["risk-model", "next"].iter().chain(words) {
            assert!(all.contains(word), "{word}: {all}");
        }
    };
    // The flag changes.
    let changed = propose(handle, "flag", vec![flag(&variants, Some("next"))]).await;
    misfit(&refused(changed), &["coded", "mcc"]);
    // Nothing can choose the variant: a finding, and then no rollout to it.
    propose(handle, "unused", vec![flag(&variants, None)]).await.unwrap();
    let changed = propose(handle, "rollout", vec![flag(&variants, Some("next"))]).await;
    misfit(&refused(changed), &["coded", "mcc"]);
    let champion = json!({"on": "risk", "next": "champion"});
    propose(handle, "back", vec![flag(&champion, Some("next"))]).await.unwrap();
    // The alias moves, and the model under it changes.
    let moved = propose(handle, "alias", vec![alias("champion", "foreign")]).await;
    misfit(&refused(moved), &["postcode"]);
    let changed = propose(handle, "model", vec![model("risk", Some(("mcc", ColumnKind::Number)))]);
    misfit(&refused(changed.await), &["mcc"]);
    // What fits goes through.
    propose(handle, "fits", vec![alias("champion", "risk")]).await.unwrap();
    let answer = decide(handle, "scored", request(json!({"amount": 100.0}))).await.unwrap();
    assert_eq!(json_of(&answer)["degraded"], json!([]));
}

fn tested(outcome: &str, models: Json) -> Change {
    let body = json!({
        "flow": "scored",
        "fields": {"amount": {"type": "float"}, "mcc": {"type": "symbol"}},
        "models": {"risk": {"model": {"flag": "risk-model"}, "label": "bad", "points_per_logit": 200.0,
            "points_max": 1000}},
        "tests": [{"description": "A large amount", "input": {"amount": 990}, "models": models,
            "expect": {"outcome": outcome, "level": "critical"}}],
    });
    put(ObjectKind::Flow, "scored", &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_red_test_of_a_flow_blocks_its_publication() {
    let node = scored().await;
    let handle = &node.handle;
    let unclear = refused(propose(handle, "red", vec![tested("approve", json!({}))]).await);
    assert_eq!(unclear[0].code, Code::FlowTestFailed);
    for part in ["A large amount", "expected outcome approve, got decline", "990"] {
        assert!(unclear[0].message.contains(part), "{part}: {}", unclear[0].message);
    }
    // The real model gives 0.99; an answer that the test gives goes before it.
    let proposed = propose(handle, "green", vec![tested("decline", json!({}))]).await.unwrap();
    assert_eq!((proposed.check.tests_run(), proposed.check.tests_failed()), (1, 0));
    let given = tested("decline", json!({"risk": 0.01}));
    assert_eq!(refused(propose(handle, "given", vec![given]).await)[0].code, Code::FlowTestFailed);
    // A kill switch is for emergencies: it is not held back by a test, and holds back no change.
    let mut killed = flag(&json!({"on": "risk", "off": "none"}), None);
    let mut body: Json = serde_json::from_slice(killed.body.as_deref().unwrap()).unwrap();
    body["off"] = json!("off");
    killed = put(ObjectKind::Flag, "risk-model", &body);
    propose(handle, "kill", vec![killed]).await.unwrap();
    propose(handle, "again", vec![tested("decline", json!({"risk": 0.99}))]).await.unwrap();
}

fn velocity(windows: &[&str]) -> Vec<Change> {
    let flow = json!({
        "flow": "cards",
        "fields": {"card": {"type": "symbol"}, "amount": {"type": "decimal"}},
        "rules": ["velocity"],
    });
    let rule = |(at, window): (usize, &&str)| json!({"id": format!("r{at}"), "when": format!("{window} > 1000000"), "then": {"points": 1}});
    let rules: Vec<Json> = windows.iter().enumerate().map(rule).collect();
    let set = json!({"rule_set": "velocity", "flow": "cards", "rules": rules});
    vec![put(ObjectKind::Flow, "cards", &flow), put(ObjectKind::RuleSet, "velocity", &set)]
}

const COUNT: &str = "window_count(\"1h\", card)";
const SUM: &str = "window_sum(\"1h\", card, amount)";
const MAX: &str = "window_max(\"1h\", card, amount)";

async fn windows_of(handle: &verdict_actors::Handle, ahead_ms: i64) -> (Json, Json) {
    let mut request = request(json!({"card": "c1", "amount": 5}));
    if ahead_ms > 0 {
        let now = json_of(&decide(handle, "cards", request.clone()).await.unwrap());
        let now: verdict_config::TimestampMs =
            serde_json::from_value(now["as_of"].clone()).unwrap();
        request.as_of = Some(verdict_config::TimestampMs(now.0 + ahead_ms));
    }
    let answer = json_of(&decide(handle, "cards", request).await.unwrap());
    (answer["degraded"].clone(), answer["windows"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_a_change_adds_is_partial_until_it_is_as_old_as_it_is_long() {
    let node = node(None, velocity(&[COUNT])).await;
    let complete = (json!([]), json!({"lag_ms": 0, "partial": false}));
    let partial = (json!(["windows_partial"]), json!({"lag_ms": 0, "partial": true}));
    for _ in 0..3 {
        assert_eq!(windows_of(&node.handle, 0).await, complete, "a flow begins with its windows");
    }
    let added = propose(&node.handle, "sum", velocity(&[COUNT, SUM])).await.unwrap();
    let findings = &added.check.findings;
    assert!(findings.iter().any(|found| found.kind == "windows_partial"), "{findings:?}");
    assert_eq!(windows_of(&node.handle, 0).await, partial);
    let recorded = decide(&node.handle, "cards", request(json!({"card": "c1"}))).await.unwrap();
    let replayed = node.handle.replay(&recorded.decision_id, false).await.unwrap().replayed;
    assert!(replayed.equal, "{:?}", replayed.differences);
    assert_eq!(windows_of(&node.handle, 3_600_001).await, complete, "an hour later");
    // The largest is answered from what the sum counts: it is as old.
    let shared = propose(&node.handle, "max", velocity(&[COUNT, SUM, MAX])).await.unwrap();
    assert!(shared.check.findings.iter().all(|found| found.kind != "windows_partial"));
    // A restart forgets nothing, and makes nothing young.
    node.handle.drain(std::time::Duration::from_secs(5)).await;
    let folder = node.folder;
    drop(node.handle);
    let handle = open(folder.path(), None).await;
    assert_eq!(windows_of(&handle, 0).await, partial);
    assert_eq!(windows_of(&handle, 3_600_001).await, complete);
    propose(&handle, "less", velocity(&[COUNT])).await.unwrap();
    assert_eq!(windows_of(&handle, 0).await, complete);
    propose(&handle, "more", velocity(&[COUNT, MAX])).await.unwrap();
    assert_eq!(windows_of(&handle, 0).await, partial, "it did not count meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_a_folder_without_ages_are_complete() {
    let node = node(None, velocity(&[COUNT, SUM])).await;
    windows_of(&node.handle, 0).await;
    node.handle.drain(std::time::Duration::from_secs(5)).await;
    let folder = node.folder;
    drop(node.handle);
    // As a program before leaves it.
    std::fs::remove_file(folder.path().join("journal/windows.since")).unwrap();
    let handle = open(folder.path(), None).await;
    assert_eq!(windows_of(&handle, 0).await.0, json!([]));
    handle.drain(std::time::Duration::from_secs(5)).await;
    drop(handle);
    std::fs::write(folder.path().join("journal/windows.since"), "{").unwrap();
    let handle = open(folder.path(), None).await;
    assert_eq!(windows_of(&handle, 0).await.0, json!(["windows_partial"]), "lost, so young");
    until("the file to be written again", || {
        std::fs::read_to_string(folder.path().join("journal/windows.since"))
            .is_ok_and(|text| text.contains("cards"))
    })
    .await;
}
