//! Flags: evaluation and loading, beside another JsonLogic engine with flagd's operators.
//!
//! The peer (`datalogic-rs`) evaluates only the rule: our figures include finding the flag, the
//! gates, the variant and its metadata. Contexts are made once, as for many flags of one request;
//! what making one costs is measured by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::{EvaluationContext, FlagSet, FlagSources, ofrep, parse_file};

const AT: TimestampMs = TimestampMs(1_700_000_000_000);

fn sure<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Four conditions, as the targeting of a shop has them.
fn targeting() -> Json {
    json!({"if": [
        {"and": [
            {"in": [{"var": "country"}, ["NL", "BE", "LU"]]},
            {">=": [{"var": "amount"}, 100]},
            {"ends_with": [{"var": "email"}, "@example.org"]},
            {"sem_ver": [{"var": "app.version"}, ">=", "2.1.0"]}
        ]},
        "on",
        "off"
    ]})
}

fn fractional() -> Json {
    json!({"fractional": [
        {"var": "email"}, ["red", 10], ["blue", 20], ["green", 30], ["grey", 40]
    ]})
}

fn flag(targeting: Option<Json>, more: Json) -> Json {
    let mut flag = json!({
        "state": "ENABLED",
        "variants": {"on": "1", "off": "0", "red": "r", "blue": "b", "green": "g", "grey": "y"},
        "defaultVariant": "off",
        "metadata": {"team": "payments"}
    });
    if let (Some(fields), Some(targeting)) = (flag.as_object_mut(), targeting) {
        fields.insert("targeting".to_owned(), targeting);
    }
    if let (Some(fields), Json::Object(more)) = (flag.as_object_mut(), more) {
        fields.extend(more);
    }
    flag
}

fn attributes() -> Json {
    json!({
        "targetingKey": "user-4711",
        "country": "BE",
        "amount": 250.5,
        "email": "someone@example.org",
        "app": {"version": "2.3.1", "name": "shop"},
        "plan": "gold"
    })
}

fn many(count: usize) -> Json {
    let flags: serde_json::Map<String, Json> = (0..count)
        .map(|index| {
            let targeting = match index % 4 {
                0 => None,
                1 | 2 => Some(targeting()),
                _ => Some(fractional()),
            };
            (format!("team-{}.flag-{index}", index % 17), flag(targeting, json!({})))
        })
        .collect();
    json!({"$schema": "https://flagd.dev/schema/v0/flagd.json", "flags": flags})
}

fn compiled(flags: &BTreeMap<String, Json>) -> FlagSet {
    let none = BTreeMap::new();
    sure(FlagSet::compile(&FlagSources::new(flags, &none, &none)))
}

fn evaluation(criterion: &mut Criterion) {
    let rollout = json!({"rollout": {"variant": "on", "percent": 12.5}});
    let mut flags = BTreeMap::from([
        ("static".to_owned(), flag(None, json!({}))),
        ("targeting".to_owned(), flag(Some(targeting()), json!({}))),
        ("fractional".to_owned(), flag(Some(fractional()), json!({}))),
        ("fractional-v3".to_owned(), flag(Some(fractional()), json!({"hashVersion": "v3"}))),
        ("rollout".to_owned(), flag(None, rollout)),
    ]);
    // Among many others, as in a catalogue.
    for (key, body) in many(10_000)["flags"].as_object().into_iter().flatten() {
        flags.insert(key.clone(), body.clone());
    }
    let set = compiled(&flags);
    let context = sure(EvaluationContext::from_json(attributes()));
    let mut group = criterion.benchmark_group("evaluate");
    for key in ["static", "targeting", "fractional", "fractional-v3", "rollout"] {
        group.bench_function(key, |bencher| {
            bencher.iter(|| black_box(set.evaluate(black_box(key), black_box(&context), AT)));
        });
    }
    group.bench_function("context", |bencher| {
        bencher.iter_batched(attributes, EvaluationContext::from_json, BatchSize::SmallInput);
    });
    group.bench_function("ofrep targeting", |bencher| {
        let body = json!({ "context": attributes() }).to_string();
        bencher.iter(|| {
            let context = sure(ofrep::parse_request(black_box(body.as_bytes())));
            ofrep::evaluate_one(&set, "targeting", &context, (AT, false))
        });
    });
    group.finish();
    peer(criterion);
}

fn peer(criterion: &mut Criterion) {
    let engine = datalogic_rs::Engine::new();
    let data = sure(datalogic_rs::ParsedData::from_json(&attributes().to_string()));
    let mut group = criterion.benchmark_group("datalogic-rs");
    for (name, rule) in [("targeting", targeting()), ("fractional", fractional())] {
        let compiled = sure(engine.compile(rule.to_string().as_str()));
        let mut session = engine.session();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                session.reset();
                let result = session.eval_borrowed(&compiled, black_box(&data));
                result.is_ok_and(|value| !value.is_null())
            });
        });
    }
    group.finish();
}

fn loading(criterion: &mut Criterion) {
    let text = many(10_000).to_string();
    let file = sure(parse_file(text.as_bytes()));
    let flags: BTreeMap<String, Json> = file.flags.into_iter().collect();
    let mut group = criterion.benchmark_group("load 10,000 flags");
    group.sample_size(20);
    group.bench_function("read and check the text", |bencher| {
        bencher.iter(|| parse_file(black_box(text.as_bytes())).is_ok());
    });
    group.bench_function("compile", |bencher| bencher.iter(|| compiled(black_box(&flags))));
    group.bench_function("text to set", |bencher| {
        bencher.iter(|| {
            let file = sure(parse_file(black_box(text.as_bytes())));
            let flags: BTreeMap<String, Json> = file.flags.into_iter().collect();
            compiled(&flags)
        });
    });
    group.finish();
    let set = compiled(&flags);
    let context = sure(EvaluationContext::from_json(attributes()));
    criterion.bench_function("ofrep bulk of 10,000 flags", |bencher| {
        bencher.iter(|| ofrep::evaluate_all(&set, &context, AT, &ofrep::BulkOptions::default()));
    });
}

criterion_group!(benches, evaluation, loading);
criterion_main!(benches);
