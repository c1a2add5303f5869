//! A decision inside the node: a payment flow of 30 rules with windows and lists, no model, the
//! journal `async`. The limit is the issue's: p50 25 us, p99 100 us.

#![allow(clippy::print_stdout, reason = "a test or a benchmark fails by panicking, and prints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a benchmark")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::Criterion;
use serde_json::{Value as Json, json};
use verdict_actors::{DecideOptions, Handle, Proposal, Runtime, RuntimeOptions};
use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::{Author, Change, ChangeSet, LocalLog, LocalLogOptions};
use verdict_decisions::DecideRequest;

#[allow(clippy::disallowed_methods, reason = "of a measurement")]
fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(0))
}

fn flow() -> Json {
    let mut fields = serde_json::Map::new();
    for (name, kind) in [
        ("card", "symbol"),
        ("amount", "decimal"),
        ("country", "symbol"),
        ("merchant", "symbol"),
        ("device", "symbol"),
        ("note", "string"),
        ("age_days", "int"),
        ("distance_km", "float"),
    ] {
        fields.insert(name.into(), json!({"type": kind}));
    }
    json!({"flow": "payment", "unit": "card", "fields": fields, "rules": ["risk"]})
}

fn rules() -> Json {
    let mut rules = vec![
        json!({"id": "fast", "when": "window_count(\"1h\", card) > 100000", "then": {"outcome": "review"}}),
        json!({"id": "spent", "when": "window_sum(\"24h\", card, amount) > 100000000", "then": {"points": 300}}),
        json!({"id": "spread", "when": "window_distinct(\"24h\", device, card) > 50", "then": {"points": 200}}),
        json!({"id": "words", "when": "keywords(\"words\", note)", "then": {"points": 100}}),
        json!({"id": "countries", "when": "listed(\"countries\", country)", "then": {"points": 100}}),
    ];
    for number in 0..25 {
        let when = match number % 3 {
            0 => format!("amount > {} && age_days < 30", number * 100),
            1 => format!("distance_km > {}.5 && country != \"NL\"", number * 50),
            _ => format!("merchant == \"m{number}\""),
        };
        rules.push(json!({"id": format!("r{number}"), "when": when, "then": {"points": 5}}));
    }
    json!({"rule_set": "risk", "flow": "payment", "rules": rules})
}

fn list(values: impl Iterator<Item = String>) -> Json {
    json!({"entries": values.map(|value| json!({"value": value})).collect::<Vec<_>>()})
}

async fn start(folder: &std::path::Path) -> Handle {
    let (log, _) = LocalLog::open(&folder.join("log"), LocalLogOptions::new(now)).expect("a log");
    let options = RuntimeOptions::new(folder, Arc::new(log));
    let (handle, _) = Runtime::start(options).await.expect("a runtime");
    let put = |kind, name: &str, body: &Json| Change::put(kind, name, body.to_string());
    let changes = vec![
        put(ObjectKind::Flow, "payment", &flow()),
        put(ObjectKind::RuleSet, "risk", &rules()),
        put(ObjectKind::List, "words", &list((0..500).map(|n| format!("word{n}")))),
        put(ObjectKind::List, "countries", &list((0..50).map(|n| format!("C{n}")))),
    ];
    let change_set = ChangeSet::new("bench", "a bench", changes);
    let proposal = Proposal { change_set, author: Author::named("bench") };
    handle.propose(proposal).await.expect("a catalogue");
    handle
}

fn request(number: u64) -> DecideRequest {
    let Json::Object(input) = json!({
        "card": format!("card-{}", number % 5_000),
        "amount": format!("{}.25", number % 900),
        "country": "NL",
        "merchant": format!("m{}", number % 40),
        "device": format!("d{}", number % 7_000),
        "note": "two tickets for the museum and a word42 to remember",
        "age_days": 400,
        "distance_km": 3.5
    }) else {
        unreachable!("an object")
    };
    DecideRequest { input, ..DecideRequest::default() }
}

async fn decide(handle: &Handle, number: u64) -> Duration {
    let request = request(number);
    let options = DecideOptions::within(Duration::from_secs(10));
    let started = Instant::now();
    handle.decide("payment", request, options).await.expect("a decision");
    started.elapsed()
}

/// Times of `count` decisions, one after the other in a task of the runtime, as a handler runs.
fn times(runtime: &tokio::runtime::Runtime, handle: &Handle, count: u64) -> Vec<Duration> {
    let handle = handle.clone();
    let task = runtime.spawn(async move {
        let mut times = Vec::new();
        for number in 0..count {
            times.push(decide(&handle, number).await);
        }
        times
    });
    runtime.block_on(task).expect("no panic")
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let handle = runtime.block_on(start(folder.path()));
    times(&runtime, &handle, 20_000);
    let mut all = times(&runtime, &handle, 50_000);
    all.sort_unstable();
    let at = |thousandths: usize| all[(all.len() - 1) * thousandths / 1_000];
    eprintln!("decide: p50 {:?} p90 {:?} p99 {:?} p99.9 {:?}", at(500), at(900), at(990), at(999));
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("decide/payment", |bench| {
        bench.iter_custom(|count| times(&runtime, &handle, count).into_iter().sum());
    });
    criterion.final_summary();
    runtime.block_on(handle.drain(Duration::from_secs(10)));
}
