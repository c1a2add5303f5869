//! Windows: counted once, bounded, and the same after a restart.

use verdict_actors::journal::{Journal, NewRecord, NewWindowEvent};
use verdict_config::definition::Outcome;
use verdict_config::{TimestampMs, Value};
use verdict_rules::WindowFunction;

use super::support::{Bench, FLOW, Given, counted, read};

#[tokio::test]
async fn counts_by_key_and_window_but_no_tests() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    assert_eq!(counted(&journal, "c1", bench.at()), 0);
    for _ in 0..3 {
        bench.append(&journal, Given { key: "c1", ..Given::default() });
    }
    bench.append(&journal, Given { key: "c2", ..Given::default() });
    bench.append(&journal, Given { key: "c1", test: true, ..Given::default() });
    bench.append(&journal, Given { key: "c1", flow: "other", ..Given::default() });
    assert_eq!(counted(&journal, "c1", bench.at()), 3);
    assert_eq!(counted(&journal, "c2", bench.at()), 1);
    assert_eq!(counted(&journal, "c1", TimestampMs(bench.at().0 + 7_200_000)), 0);
    // Phase 2: from the checkpoint alone, then with records behind it.
    journal.drain().await;
    let (journal, report) = bench.open();
    assert_eq!(report.window_series, 3);
    assert_eq!(counted(&journal, "c1", bench.at()), 3);
    bench.append(&journal, Given { key: "c1", ..Given::default() });
    assert_eq!(counted(&journal, "c1", bench.at()), 4);
}

#[tokio::test]
async fn checkpoints_and_records_add_up_across_segments() {
    let bench = Bench::with(|options| options.segment_bytes = 4_096);
    let mut expected = [0i64; 8];
    for round in 0..5usize {
        let (journal, report) = bench.open();
        assert_eq!(report.damage, []);
        for number in 0..200 {
            let key = (number * 7 + round) % expected.len();
            bench.append(&journal, Given { key: &format!("c{key}"), ..Given::default() });
            expected[key] += 1;
        }
        let found: Vec<i64> =
            (0..8).map(|key| counted(&journal, &format!("c{key}"), bench.at())).collect();
        assert_eq!(found, expected, "round {round}");
        if round % 2 == 0 {
            journal.drain().await;
        }
    }
    // Without its checkpoint, everything is counted again.
    std::fs::remove_file(bench.path().join("windows.checkpoint")).unwrap();
    let (journal, _) = bench.open();
    let total: i64 = (0..8).map(|key| counted(&journal, &format!("c{key}"), bench.at())).sum();
    assert_eq!(total, 1_000);
}

#[test]
fn amounts_and_values_survive_as_they_are() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let functions = [WindowFunction::Sum, WindowFunction::Max, WindowFunction::Distinct];
    let reads = functions.map(|function| read(function, "24h"));
    let key = Value::Text("c".into());
    for amount in [5, 7, 5] {
        let amount = Value::Int(amount);
        let event = |read| NewWindowEvent {
            read,
            series: journal.series(FLOW, read, &key),
            value: Some(&amount),
            at: bench.at(),
        };
        let events: Vec<_> = reads.iter().map(event).collect();
        let record = NewRecord {
            id: journal.next_id(),
            at: bench.at(),
            flow: FLOW,
            outcome: Outcome::Approve,
            reasons: &[],
            test: false,
            request: None,
            unit: None,
            open: b"",
            sensitive: None,
            window_events: &events,
        };
        journal.append(record).unwrap();
    }
    let answers = |journal: &Journal| {
        reads
            .each_ref()
            .map(|read| journal.read_window(FLOW, read, &key, bench.at()).unwrap().value)
    };
    // Sum and maximum share a series, and are not counted twice for it.
    let expected = [17, 7, 2].map(|number| Ok(Value::Int(number)));
    assert_eq!(answers(&journal), expected);
    assert_eq!(journal.status().window_series, 2);
    drop(journal);
    assert_eq!(answers(&bench.open().0), expected);
}

#[test]
fn series_are_bounded_and_the_longest_inactive_go() {
    let bench = Bench::with(|options| options.window_series_max = 640);
    let (journal, _) = bench.open();
    for number in 0..5_000 {
        bench.append(&journal, Given { key: &format!("c{number}"), ..Given::default() });
        bench.pass(10);
    }
    let status = journal.status();
    assert!(status.window_series <= 640, "{status:?}");
    assert!(status.window_series_evicted >= 4_000, "{status:?}");
    assert_eq!(counted(&journal, "c4999", bench.at()), 1);
    assert_eq!(counted(&journal, "c0", bench.at()), 0);
}

#[test]
fn times_far_ahead_are_not_counted() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    bench.append(&journal, Given { key: "c", ..Given::default() });
    let (now, key, window) = (bench.at(), Value::Text("c".into()), super::support::count("1h"));
    let event = NewWindowEvent {
        read: &window,
        series: journal.series(FLOW, &window, &key),
        value: None,
        at: TimestampMs(now.0 + 600_000),
    };
    let record = NewRecord {
        id: journal.next_id(),
        at: now,
        flow: FLOW,
        outcome: Outcome::Approve,
        reasons: &[],
        test: false,
        request: None,
        unit: None,
        open: b"",
        sensitive: None,
        window_events: std::slice::from_ref(&event),
    };
    journal.append(record).unwrap();
    assert_eq!(journal.status().window_events_refused, 1);
    assert_eq!(counted(&journal, "c", TimestampMs(now.0 + 600_000)), 1);
}
