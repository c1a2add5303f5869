//! The journal: append, read, search and open, beside plain writes of the same bytes.
//!
//! `cargo bench -p verdict-actors --bench journal`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use verdict_actors::journal::{
    Clock, DecisionId, Journal, JournalOptions, NewRecord, NewWindowEvent, SearchQuery,
};
use verdict_config::definition::Outcome;
use verdict_config::{FieldType, TimestampMs, Value};
use verdict_rules::{WindowFunction, WindowRead};

/// About what a decision of the demo's payment flow records.
const OPEN_BYTES: usize = 900;
const SENSITIVE: &[u8] = &[7; 120];

#[allow(clippy::disallowed_methods, reason = "of a measurement")]
fn clock() -> Clock {
    Arc::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        TimestampMs(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    })
}

fn windows() -> [WindowRead; 3] {
    let read = |function: WindowFunction, text: &str| WindowRead {
        function,
        window_ms: 86_400_000,
        key_field: 0,
        value_field: (function != WindowFunction::Count).then_some(1),
        result: FieldType::Int,
        text: text.to_owned(),
    };
    [
        read(WindowFunction::Count, r#"window_count("24h", card)"#),
        read(WindowFunction::Sum, r#"window_sum("24h", card, amount)"#),
        read(WindowFunction::Distinct, r#"window_distinct("24h", card, country)"#),
    ]
}

fn append(
    journal: &Journal,
    open: &[u8],
    unit: Option<&str>,
    windows: &[WindowRead],
) -> DecisionId {
    let id = journal.next_id();
    let (key, amount) = (Value::Text(format!("card-{}", id.0 % 1_000).into()), Value::Int(5));
    let at = id.at();
    let events: Vec<_> = windows
        .iter()
        .map(|read| NewWindowEvent {
            read,
            series: journal.series("payment", read, &key),
            value: Some(&amount),
            at,
        })
        .collect();
    let reasons: [Arc<str>; 2] = ["VELOCITY".into(), "NEW_DEVICE".into()];
    let record = NewRecord {
        id,
        at,
        flow: "payment",
        outcome: if id.0.is_multiple_of(50) { Outcome::Review } else { Outcome::Approve },
        reasons: &reasons,
        test: false,
        request: None,
        unit,
        open,
        sensitive: unit.map(|_| SENSITIVE),
        window_events: &events,
    };
    journal.append(record).unwrap();
    id
}

fn open(folder: &std::path::Path) -> Journal {
    // The disk of a bench machine may be slow: what is measured here is the way to the file.
    let options = JournalOptions { unsynced_bytes_max: 1 << 32, ..JournalOptions::default() };
    Journal::open(folder, options, 1, clock()).unwrap().0
}

fn appends(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let payload = vec![7u8; OPEN_BYTES];
    let mut group = criterion.benchmark_group("append");
    let mut file = std::fs::File::create(folder.path().join("plain")).unwrap();
    group.bench_function("peer: one write() of the same bytes", |bencher| {
        bencher.iter(|| file.write_all(black_box(&payload)).unwrap());
    });
    let journal = open(&folder.path().join("journal"));
    group.bench_function("open part", |bencher| {
        bencher.iter(|| append(&journal, &payload, None, &[]));
    });
    let windows = windows();
    group.bench_function("open part, 3 windows", |bencher| {
        bencher.iter(|| append(&journal, &payload, None, &windows));
    });
    group.bench_function("open part, 3 windows, sensitive part", |bencher| {
        bencher.iter(|| append(&journal, &payload, Some("unit"), &windows));
    });
    let mut number = 0u64;
    group.bench_function("open part, sensitive part of a new unit", |bencher| {
        bencher.iter(|| {
            number += 1;
            append(&journal, &payload, Some(&format!("unit-{number}")), &[])
        });
    });
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let payload = vec![7u8; OPEN_BYTES];
    let windows = windows();
    let journal = open(folder.path());
    let ids: Vec<DecisionId> =
        (0..300_000).map(|_| append(&journal, &payload, Some("unit"), &windows)).collect();
    let mut group = criterion.benchmark_group("read");
    let mut at = 0;
    let mut next = || {
        at = (at + 7_919) % ids.len();
        ids[at]
    };
    group.bench_function("get", |bencher| {
        bencher.iter(|| journal.get(next()).unwrap().unwrap());
    });
    group.bench_function("get of an absent id", |bencher| {
        bencher.iter(|| journal.get(DecisionId(next().0 ^ 1)).unwrap());
    });
    group.bench_function("reserve a new request id", |bencher| {
        let mut number = 0u64;
        bencher.iter(|| {
            number += 1;
            journal.reserve("payment", &number.to_string(), &[0; 32]).unwrap()
        });
    });
    let key = Value::Text("card-7".into());
    group.bench_function("read a window", |bencher| {
        bencher.iter(|| journal.read_window("payment", &windows[1], &key, ids[0].at()));
    });
    group.bench_function("search: first 50", |bencher| {
        bencher.iter(|| journal.search(&SearchQuery::default()).unwrap());
    });
    let rare = SearchQuery { outcome: Some(Outcome::Block), ..SearchQuery::default() };
    group.sample_size(10);
    group.bench_function("search: no hit in 300,000 records", |bencher| {
        bencher.iter(|| journal.search(&rare).unwrap());
    });
    group.finish();
    drop(journal);
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("300,000 records, drained", |bencher| {
        bencher.iter_batched(|| (), |()| open(folder.path()), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(journal, appends, reads);
criterion_main!(journal);
