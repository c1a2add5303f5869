//! What a decision costs inside a node, without the node: parse, begin, rules, conclude, seal, encode.
//!
//! The flow is a payment without a model: 14 fields, 44 rules over words, lists, velocity windows and a
//! decision table's worth of conditions, three flags. The peer in the same run is what any node must
//! do at least: parse the body and write an answer of the same length back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value as Json, json};
use verdict_config::flags::{FlagSet, FlagSources};
use verdict_config::{TimestampMs, Value};
use verdict_decisions::request::parse_body;
use verdict_decisions::{BeginOptions, CompiledFlow, FlowParts, RuleSetPart, Sealed};
use verdict_rules::{RuleLimits, Scratch};

const RECEIVED_AT: TimestampMs = TimestampMs(1_768_478_400_000);

const BODY: &str = r#"{"input":{"payment_id":"p-129387","card":"c_8812739812","amount":"129.90",
"currency":"EUR","merchant":"m_1273","mcc":"5812","country":"DE","card_country":"FR","ip_country":"DE",
"device":"d_9912387","email_domain":"example.org","note":"thank you for the nice dinner and the wine",
"account_age_days":412,"is_recurring":false},"request_id":"6f1c1f6e-6a0b-4bb0-9d7c-1c3a0b7f0d11"}"#;

fn flow() -> (Arc<CompiledFlow>, FlagSet) {
    let field = |kind: &str| json!({"type": kind});
    let definition = json!({
        "flow": "payment", "unit": "card",
        "fields": {
            "payment_id": field("symbol"), "card": {"type": "symbol", "sensitive": true},
            "amount": field("decimal"), "currency": field("symbol"), "merchant": field("symbol"),
            "mcc": field("symbol"), "country": field("symbol"), "card_country": field("symbol"),
            "ip_country": field("symbol"), "device": field("symbol"), "email_domain": field("symbol"),
            "note": field("string"), "account_age_days": field("int"), "is_recurring": field("bool"),
        },
        "rules": ["payment_risk"],
        "switches": {"flow": "payment-on", "rules": "payment-rules"},
    });
    let mut rules = vec![
        json!({"id": "many", "category": "fraud", "when": "window_count(\"1h\", card) >= 5", "then": {"points": 200}}),
        json!({"id": "much", "category": "fraud", "when": "window_sum(\"24h\", card, amount) > 2000.0", "then": {"points": 150}}),
        json!({"id": "spread", "category": "fraud", "when": "window_distinct(\"24h\", card, merchant) > 8", "then": {"points": 150}}),
        json!({"id": "abroad", "category": "high_risk", "when": "country != card_country", "then": {"points": 60}}),
        json!({"id": "words", "category": "fraud", "when": "keywords(\"fraud_words\", note)", "then": {"points": 250}}),
        json!({"id": "young", "category": "fraud", "flag": "young-accounts", "when": "account_age_days < 7 && amount > 100.0", "then": {"points": 100}}),
        json!({"id": "listed", "category": "sanctions", "when": "listed(\"embargo\", country)", "then": {"outcome": "block"}}),
    ];
    for number in 0..37 {
        let when = format!(
            "mcc == \"{}\" && amount > {}.0 && !is_recurring",
            5_800 + number % 20,
            10 * number
        );
        rules.push(json!({"id": format!("mcc{number}"), "category": "high_risk", "when": when, "then": {"points": 10}}));
    }
    let set = json!({"rule_set": "payment_risk", "flow": "payment", "rules": rules});
    let list = |values: &[&str]| -> Json {
        let entries: Vec<Json> = values.iter().map(|value| json!({"value": value})).collect();
        json!({"entries": entries})
    };
    let part = RuleSetPart { definition: Arc::new(from_json(set)), revision: 3, compiled: None };
    let lists = BTreeMap::from([
        (
            "fraud_words".to_owned(),
            Arc::new(from_json(list(&["gift card", "wire now", "seed phrase"]))),
        ),
        ("embargo".to_owned(), Arc::new(from_json(list(&["XX", "YY", "ZZ"])))),
    ]);
    let flags = flags();
    let parts = FlowParts {
        rule_sets: &BTreeMap::from([("payment_risk".to_owned(), part)]),
        lists: &lists,
        snoozes: &BTreeMap::new(),
        tables: &BTreeMap::new(),
        models: &BTreeMap::new(),
        flags: &flags,
        limits: RuleLimits::default(),
    };
    match CompiledFlow::compile(&from_json(definition), &parts) {
        Ok(flow) => (Arc::new(flow), flags),
        Err(error) => panic!("{:?}", error.into_faults()),
    }
}

fn flags() -> FlagSet {
    let on =
        json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"});
    let split = json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on",
        "targeting": {"fractional": [{"var": "targetingKey"}, ["on", 90], ["off", 10]]}});
    let bodies = BTreeMap::from([
        ("payment-on".to_owned(), on.clone()),
        ("payment-rules".to_owned(), on),
        ("young-accounts".to_owned(), split),
    ]);
    let none = BTreeMap::new();
    match FlagSet::compile(&FlagSources::new(&bodies, &none, &none)) {
        Ok(flags) => flags,
        Err(faults) => panic!("{faults:?}"),
    }
}

fn from_json<T: serde::de::DeserializeOwned>(value: Json) -> T {
    match serde_json::from_value(value) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn decide(flow: &Arc<CompiledFlow>, flags: &FlagSet, scratch: &mut Scratch) -> Option<Sealed> {
    let request = parse_body(BODY.as_bytes()).ok()?;
    let options = BeginOptions {
        request,
        flags,
        region: None,
        id: "01KB0Q2W3E4R5T6Y7U8I9O0P1A".into(),
        received_at: RECEIVED_AT,
        revision: 1_234,
        snoozes: &[],
    };
    let mut session = flow.begin(options).ok()?;
    let windows = [Value::Int(3), Value::Decimal(812.into()), Value::Int(2)];
    session.set_windows(windows.into_iter().map(Some).collect(), 0);
    session.run_rules(scratch);
    if !session.model_calls().is_empty() {
        return None;
    }
    session.conclude(scratch).seal(25, false).ok()
}

fn bench(criterion: &mut Criterion) {
    let (flow, flags) = flow();
    let mut scratch = Scratch::default();
    let Some(sealed) = decide(&flow, &flags, &mut scratch) else {
        panic!("the bench's own request is refused");
    };
    let answer: Json = serde_json::from_slice(&sealed.answer).unwrap_or_default();
    assert_eq!(answer["risk"]["score"], json!(70), "{answer}");

    let mut group = criterion.benchmark_group("payment_without_model");
    group.bench_function("peer_parse_and_answer", |bencher| {
        bencher.iter(|| {
            let body: Json = serde_json::from_str(black_box(BODY)).unwrap_or_default();
            (body, serde_json::to_vec(&answer))
        });
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parse_body(black_box(BODY.as_bytes())));
    });
    group.bench_function("decide", |bencher| {
        bencher.iter(|| decide(black_box(&flow), &flags, &mut scratch));
    });
    group.bench_function("decide_and_encode", |bencher| {
        bencher.iter(|| {
            let sealed = decide(black_box(&flow), &flags, &mut scratch)?;
            Some((
                sealed.record.encode_open().ok()?,
                sealed.record.encode_sensitive().ok()?,
                sealed,
            ))
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
