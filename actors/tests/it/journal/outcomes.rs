//! Outcomes: written once, durable when they are acknowledged.

use verdict_actors::journal::{JournalError, NewOutcome, OutcomeState, OutcomeTarget};

use super::support::{Bench, Given};

fn outcome(id: &str, body: &str) -> NewOutcome {
    NewOutcome { id: id.to_owned(), decision: None, unit: None, body: body.as_bytes().to_vec() }
}

#[tokio::test]
async fn an_id_counts_once() {
    let bench = Bench::with(|options| options.segment_bytes = 1_024);
    let (journal, _) = bench.open();
    let (id, _) = bench.append(&journal, Given::default());
    let of_decision = |name: &str, body| NewOutcome { decision: Some(id), ..outcome(name, body) };
    let of_unit =
        |name: &str, body| NewOutcome { unit: Some("u".to_owned()), ..outcome(name, body) };
    let batch = vec![of_decision("o1", "fraud"), of_unit("o2", "paid"), of_decision("o1", "fraud")];
    let states = journal.record_outcomes(batch).await.unwrap();
    assert_eq!(states, [OutcomeState::Recorded, OutcomeState::Recorded, OutcomeState::Repeated]);
    for _ in 0..50 {
        bench.append(&journal, Given::default());
    }
    for restarted in [false, true] {
        let journal = if restarted {
            journal.drain().await;
            bench.open().0
        } else {
            journal.clone()
        };
        let batch = vec![of_decision("o1", "fraud"), of_decision("o1", "other")];
        let states = journal.record_outcomes(batch).await.unwrap();
        assert_eq!(states, [OutcomeState::Repeated, OutcomeState::Conflict]);
        let found = journal.outcomes_of(OutcomeTarget::Decision(id)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].body.as_slice()), ("o1", &b"fraud"[..]));
        let found = journal.outcomes_of(OutcomeTarget::Unit("u")).unwrap();
        assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["o2"]);
        assert_eq!(journal.outcomes_of(OutcomeTarget::Unit("v")).unwrap(), []);
        if restarted {
            return;
        }
    }
}

#[tokio::test]
async fn too_large_a_one_refuses_the_batch() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let large = NewOutcome { body: vec![0; 70_000], ..outcome("large", "") };
    let refused = journal.record_outcomes(vec![outcome("small", "x"), large]).await;
    assert!(matches!(refused, Err(JournalError::TooLarge { bytes: 70_000, .. })));
    assert_eq!(journal.status().outcomes, 0);
}
