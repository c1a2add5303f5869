//! kill -9 at any moment loses nothing that was answered; SIGTERM cuts nothing off.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use serde_json::{Value as Json, json};

use crate::fixture::FILES;
use crate::process::{Node, eventually, write_files};

fn payment(card: &str, request_id: &str) -> Json {
    json!({"input": {"card": card, "amount": 10}, "request_id": request_id})
}

/// What a writer was told before the node died.
#[derive(Default)]
struct Told {
    decisions: Vec<String>,
    outcomes: Vec<(String, String)>,
}

/// Sends decisions and outcomes for one card until the node does not answer any more.
fn write_until_dead(node: &Node, card: &str, round: usize) -> Told {
    let mut told = Told::default();
    for turn in 0.. {
        let body = payment(card, &format!("{card}-{round}-{turn}"));
        let Ok(answer) = node.try_post("/v1/decisions/payment", &body) else { break };
        if answer.status != 200 {
            break;
        }
        let id = answer.json()["decision_id"].as_str().expect("an id").to_owned();
        told.decisions.push(id.clone());
        let outcome = format!("o-{card}-{round}-{turn}");
        let body = json!({"outcomes": [{"id": outcome, "decision_id": id, "metric": "chargeback",
                                        "value": 1, "at": "2026-01-01T00:00:00Z"}]});
        match node.try_post("/v1/outcomes", &body) {
            Ok(answer) if answer.status / 100 == 2 => told.outcomes.push((id, outcome)),
            _ => break,
        }
    }
    told
}

#[test]
fn kill_9_loses_no_answered_decision_outcome_or_window_count() {
    let temporary = tempfile::tempdir().unwrap();
    write_files(&temporary.path().join("catalogue"), FILES);
    let mut all = Told::default();
    let mut random = rand::rng();
    for round in 0..8 {
        let mut node = Node::start_in(temporary.path());
        let enough = random.random_range(5..60);
        let started = AtomicBool::new(false);
        let told = std::thread::scope(|scope| {
            let pid = node.pid();
            let (node, started) = (&node, &started);
            let killer = scope.spawn(move || {
                // The moment of death is random in requests, not in time.
                eventually(|| started.load(Ordering::SeqCst), |started| *started);
                let probe = node.count_decisions();
                eventually(|| node.count_decisions(), |count| *count >= probe + enough);
                assert!(
                    std::process::Command::new("kill")
                        .args(["-9", &pid.to_string()])
                        .status()
                        .unwrap()
                        .success()
                );
            });
            started.store(true, Ordering::SeqCst);
            let told = write_until_dead(node, "card-1", round);
            killer.join().unwrap();
            told
        });
        node.kill();
        all.decisions.extend(told.decisions);
        all.outcomes.extend(told.outcomes);
    }
    let node = Node::start_in(temporary.path());
    for id in &all.decisions {
        let answer = node.get(&format!("/v1/decisions/{id}"));
        assert_eq!(answer.status, 200, "decision {id} was answered and is gone: {answer:?}");
    }
    for (decision, outcome) in &all.outcomes {
        let body = node.get(&format!("/v1/decisions/{decision}"));
        assert!(body.text.contains(outcome), "outcome {outcome} was acknowledged and is gone");
    }
    // The window counts at least what was answered; one more may have died before its answer.
    let answer = node.post("/v1/decisions/payment", &payment("card-1", "last"));
    let id = answer.json()["decision_id"].as_str().unwrap().to_owned();
    let explained = node.get(&format!("/v1/decisions/{id}")).json();
    let count = window_value(&explained).expect("the explanation tells the window's value");
    let answered = all.decisions.len() as u64;
    assert!((answered..=answered + 8).contains(&count), "{count} counted, {answered} answered");
}

/// The first window value in an explanation, wherever it stands.
fn window_value(json: &Json) -> Option<u64> {
    match json {
        Json::Object(object) => {
            let is_window = object
                .values()
                .any(|value| value.as_str().is_some_and(|text| text.starts_with("window_count")));
            let value = object.get("value").and_then(Json::as_u64);
            value.filter(|_| is_window).or_else(|| object.values().find_map(window_value))
        }
        Json::Array(items) => items.iter().find_map(window_value),
        _ => None,
    }
}

#[test]
fn a_retry_gets_the_first_decision_also_after_a_restart() {
    let temporary = tempfile::tempdir().unwrap();
    write_files(&temporary.path().join("catalogue"), FILES);
    let mut node = Node::start_in(temporary.path());
    let first = node.post("/v1/decisions/payment", &payment("c", "r-1")).json();
    let again = node.post("/v1/decisions/payment", &payment("c", "r-1")).json();
    assert_eq!(first["decision_id"], again["decision_id"]);
    let other = node.post("/v1/decisions/payment", &payment("d", "r-1"));
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("VD0405")));
    node.kill();
    let node = Node::start_in(temporary.path());
    let again = node.post("/v1/decisions/payment", &payment("c", "r-1")).json();
    assert_eq!(first["decision_id"], again["decision_id"]);
    assert_eq!(first["outcome"], again["outcome"]);
}

#[test]
fn sigterm_answers_what_was_accepted_and_ends_cleanly() {
    let temporary = tempfile::tempdir().unwrap();
    write_files(&temporary.path().join("catalogue"), FILES);
    let mut node = Node::start_in(temporary.path());
    let answered = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let node = &node;
                scope.spawn(move || {
                    let mut ids = BTreeSet::new();
                    for turn in 0.. {
                        let body = payment(&format!("c{writer}"), &format!("{writer}-{turn}"));
                        match node.try_post("/v1/decisions/payment", &body) {
                            Ok(answer) if answer.status == 200 => {
                                ids.insert(
                                    answer.json()["decision_id"].as_str().unwrap().to_owned(),
                                );
                            }
                            // Told to go elsewhere, or the listener is closed: not cut off.
                            Ok(answer) => {
                                assert_eq!(answer.status, 503, "{answer:?}");
                                break;
                            }
                            Err(error) => {
                                let text = error.to_string();
                                assert!(
                                    is_refused(&error),
                                    "an accepted request was cut off: {text}"
                                );
                                break;
                            }
                        }
                    }
                    ids
                })
            })
            .collect();
        eventually(|| node.count_decisions(), |count| *count > 50);
        let done = std::process::Command::new("kill")
            .args(["-TERM", &node.pid().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert_eq!(node.wait(), Some(0));
    let node = Node::start_in(temporary.path());
    for id in answered {
        assert_eq!(node.get(&format!("/v1/decisions/{id}")).status, 200);
    }
}

/// Whether the connection was refused or closed between requests, before a request was accepted.
fn is_refused(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::BrokenPipe
        ),
        ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

#[test]
fn an_erased_unit_is_unreadable_also_on_disk() {
    let temporary = tempfile::tempdir().unwrap();
    write_files(&temporary.path().join("catalogue"), FILES);
    let mut node = Node::start_in(temporary.path());
    let secret = "Wilhelmina Unmistakable";
    let body = json!({"input": {"card": "erase-me", "amount": 10, "holder": secret}});
    let id = node.post("/v1/decisions/payment", &body).json()["decision_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = node.get(&format!("/v1/decisions/{id}"));
    assert_eq!(shown.status, 200);
    let replayed = node.post(&format!("/v1/decisions/{id}:replay"), &json!({}));
    assert_eq!(replayed.status, 200, "{replayed:?}");
    let erased = node.delete("/v1/units/erase-me");
    assert_eq!(erased.status / 100, 2, "{erased:?}");
    let gone = node.post(&format!("/v1/decisions/{id}:replay"), &json!({}));
    assert_eq!((gone.status, gone.json()["code"].as_str()), (410, Some("VD0406")), "{gone:?}");
    node.terminate();
    for entry in walk(&temporary.path().join("data")) {
        let bytes = std::fs::read(&entry).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{entry:?} holds the sensitive field in the clear");
    }
    let node = Node::start_in(temporary.path());
    let gone = node.post(&format!("/v1/decisions/{id}:replay"), &json!({}));
    assert_eq!(gone.status, 410, "{gone:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
