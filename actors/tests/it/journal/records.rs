//! Records, ids and requests.

use verdict_actors::journal::{DecisionId, JournalError, Reservation, Sensitive};
use verdict_config::definition::Outcome;
use verdict_config::{Code, TimestampMs};

use sha2::{Digest, Sha256};

use super::support::{Bench, FLOW, Given, START_MS};

#[test]
fn an_id_says_when_and_where() {
    let id = DecisionId::new(TimestampMs(START_MS), 0xbeef, 42);
    assert_eq!((id.at(), id.node()), (TimestampMs(START_MS), 0xbeef));
    let text = id.to_string();
    assert_eq!(text.len(), 26);
    assert_eq!(text.parse(), Ok(id));
    for wrong in ["", "x", &text.to_lowercase(), &text[1..], &format!("{text}0"), "ÄÖÜ"] {
        let fault = wrong.parse::<DecisionId>().unwrap_err();
        assert_eq!(fault.code, Code::DecisionNotFound, "{wrong}");
    }
}

#[tokio::test]
async fn what_was_written_is_read_now_and_after_a_restart() {
    let bench = Bench::new();
    let (journal, report) = bench.open();
    assert_eq!(report.records_read, 0);
    let given = || Given {
        outcome: Outcome::Review,
        unit: Some("unit-1"),
        open: b"what may be seen",
        sensitive: Some(b"what may not"),
        ..Given::default()
    };
    let (id, appended) = bench.append(&journal, given());
    journal.synced(appended).await.unwrap();
    journal.settled().await.unwrap();
    assert_eq!(journal.status().unsynced_bytes, 0);
    assert_eq!(id.node(), 7);
    let (plain, _) = bench.append(&journal, Given::default());
    let check = |journal: &verdict_actors::journal::Journal| {
        let record = journal.get(id).unwrap().unwrap();
        assert_eq!(
            (record.flow.as_str(), record.outcome, record.test),
            (FLOW, Outcome::Review, false)
        );
        assert_eq!(record.open, b"what may be seen");
        assert_eq!(record.sensitive, Sensitive::Plain(b"what may not".to_vec()));
        assert_eq!(journal.get(plain).unwrap().unwrap().sensitive, Sensitive::None);
        assert!(journal.contains(id).unwrap());
        let absent = DecisionId(id.0 ^ 1);
        assert_eq!(journal.get(absent), Ok(None));
        assert!(!journal.contains(absent).unwrap());
    };
    check(&journal);
    journal.drain().await;
    assert_eq!(bench.try_append(&journal, Given::default()).unwrap_err(), JournalError::Closed);
    let (journal, report) = bench.open();
    assert_eq!((report.records_read, report.torn_bytes, report.damage), (2, 0, vec![]));
    check(&journal);
    // What is sensitive stands nowhere in the clear.
    let segment = std::fs::read(super::support::last_file(bench.path(), "segment", ".vj")).unwrap();
    let stands = |text: &[u8]| segment.windows(text.len()).any(|window| window == text);
    assert!(stands(b"what may be seen") && !stands(b"what may not") && !stands(b"unit-1"));
}

#[tokio::test]
async fn a_request_id_is_decided_once_for_a_day() {
    let bench = Bench::with(|options| options.segment_bytes = 2_048);
    let (journal, _) = bench.open();
    let (body, other_body) = ([1; 32], [2; 32]);
    let Reservation::New(guard) = journal.reserve(FLOW, "r1", &body).unwrap() else { panic!() };
    // While it is being decided, a retry waits; another flow's id is another id.
    let Reservation::InFlight { same_body: true, mut ended } =
        journal.reserve(FLOW, "r1", &body).unwrap()
    else {
        panic!()
    };
    assert!(matches!(journal.reserve("other", "r1", &body).unwrap(), Reservation::New(_)));
    assert!(ended.has_changed().is_ok());
    let (id, _) = bench.append(&journal, Given { request: Some(guard), ..Given::default() });
    assert!(ended.changed().await.is_err());
    let check =
        |journal: &verdict_actors::journal::Journal, body: &[u8; 32], expected: bool| match journal
            .reserve(FLOW, "r1", body)
            .unwrap()
        {
            Reservation::Known { id: known, same_body } => {
                assert_eq!((known, same_body), (id, expected));
            }
            other => panic!("{other:?}"),
        };
    check(&journal, &body, true);
    check(&journal, &other_body, false);
    // Neither the body's hash nor a hash of it stands in the file: who reads it can try no bodies.
    let segment = std::fs::read(super::support::last_file(bench.path(), "segment", ".vj")).unwrap();
    let stands = |bytes: &[u8]| segment.windows(bytes.len()).any(|window| window == bytes);
    assert!(!stands(&body) && !stands(&Sha256::digest(body)[..16]));
    // A request that came to nothing gives its id back.
    let Reservation::New(guard) = journal.reserve(FLOW, "r2", &body).unwrap() else { panic!() };
    drop(guard);
    assert!(matches!(journal.reserve(FLOW, "r2", &body).unwrap(), Reservation::New(_)));
    // In a sealed segment, and after a restart.
    for _ in 0..100 {
        bench.append(&journal, Given { open: &[0; 100], ..Given::default() });
    }
    check(&journal, &body, true);
    journal.drain().await;
    let (journal, report) = bench.open();
    assert!(report.segments > 3, "{report:?}");
    check(&journal, &body, true);
    // A day later it is forgotten.
    bench.pass(super::support::DAY_MS + 1);
    assert!(matches!(journal.reserve(FLOW, "r1", &body).unwrap(), Reservation::New(_)));
}

#[test]
fn one_process_at_a_time_and_no_newer_format() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    assert_eq!(bench.try_open().err().map(|error| error.code()), Some(Code::StateLocked));
    drop(journal);
    drop(bench.open());
    std::fs::write(bench.path().join("format"), "verdict journal 2\n").unwrap();
    assert_eq!(bench.try_open().err().map(|error| error.code()), Some(Code::StateVersion));
}

#[test]
fn a_refused_write_is_final() {
    let bench = Bench::with(|options| options.segment_bytes = 1_024);
    let (journal, _) = bench.open();
    // The next segment lies on a full disk.
    let next = bench.path().join("segment-0000000002.vj");
    std::os::unix::fs::symlink("/dev/full", &next).unwrap();
    let (first, _) = bench.append(&journal, Given { open: &[1; 900], ..Given::default() });
    let refused = bench.try_append(&journal, Given { open: &[2; 900], ..Given::default() });
    assert_eq!(refused.unwrap_err().code(), Code::StorageFailed);
    std::fs::remove_file(&next).unwrap();
    let refused = bench.try_append(&journal, Given::default()).unwrap_err();
    assert_eq!((refused.code(), refused.is_retryable()), (Code::StorageFailed, false));
    assert!(journal.status().failed.is_some());
    assert!(journal.contains(first).unwrap());
    drop(journal);
    let (journal, _) = bench.open();
    assert!(journal.contains(first).unwrap());
    bench.append(&journal, Given::default());
}
