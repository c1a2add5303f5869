//! Evaluation and publication of rule sets, beside peers over the same rules and records.
//!
//! `cargo bench -p verdict-rules --bench rules`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(missing_docs)]

#[path = "rules/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::Value as Json;
use verdict_config::{Facts, TimestampMs};
use verdict_rules::{
    CompiledRuleSet, DerivedFacts, Environment, Evaluation, EvaluationInput, Phase, RuleLimits,
    RuleMask, Scratch, compile,
};
use workload::Workload;

const SEED: u64 = 20_260_101;
const RECORDS: usize = 16;

fn publish(workload: &Workload) -> CompiledRuleSet {
    let derived = DerivedFacts::default();
    let tables = BTreeMap::new();
    let environment = Environment {
        schema: &workload.schema,
        derived: &derived,
        lists: &workload.lists,
        tables: &tables,
        limits: RuleLimits { cost_units_max: u64::MAX, ..RuleLimits::default() },
    };
    compile(&workload.definition, &environment).expect("the workload compiles")
}

fn with_input<T>(facts: &Facts, then: impl FnOnce(&EvaluationInput<'_>) -> T) -> T {
    let none = RuleMask::none();
    then(&EvaluationInput {
        facts,
        derived: &[],
        windows: &[],
        as_of: TimestampMs(1_767_225_600_000),
        disabled: &none,
        snoozed: &none,
        cost_units_limit: u64::MAX,
    })
}

type Evaluate = fn(&CompiledRuleSet, Phase, &EvaluationInput<'_>, &mut Scratch) -> Evaluation;

fn own(criterion: &mut Criterion, name: &str, workload: &Workload, evaluate: Evaluate) {
    let set = publish(workload);
    let facts: Vec<Facts> = workload.records.iter().map(|record| workload.facts(record)).collect();
    let mut scratch = Scratch::new();
    let rules = set.rules().len();
    for facts in &facts {
        let found = with_input(facts, |input| evaluate(&set, Phase::Early, input, &mut scratch));
        assert_eq!(found.hits.len(), rules / 20, "5 % of rules hit");
        assert_eq!(found.unknown.len(), rules / 10, "10 % of rules are unknown");
    }
    let mut at = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            at = (at + 1) % RECORDS;
            with_input(&facts[at], |input| {
                black_box(evaluate(&set, Phase::Early, input, &mut scratch))
            })
        });
    });
}

fn cel(criterion: &mut Criterion, workload: &Workload) {
    let programs: Vec<cel::Program> =
        workload.cel.iter().map(|text| cel::Program::compile(text).expect("compiles")).collect();
    let contexts: Vec<cel::Context<'_, '_>> = workload
        .records
        .iter()
        .map(|record| {
            let mut context = cel::Context::default();
            for (name, value) in record.as_object().expect("an object") {
                let value: cel::Value = match value {
                    Json::Bool(value) => (*value).into(),
                    Json::Number(number) if number.is_i64() || number.is_u64() => {
                        number.as_i64().expect("an int").into()
                    }
                    Json::Number(number) => number.as_f64().expect("a float").into(),
                    Json::String(text) => text.as_str().into(),
                    Json::Array(items) => {
                        let texts = items.iter().map(|item| item.as_str().expect("a text").into());
                        cel::Value::List(std::sync::Arc::new(texts.collect()))
                    }
                    Json::Null | Json::Object(_) => cel::Value::Null,
                };
                context.add_variable_from_value(name.as_str(), value);
            }
            context
        })
        .collect();
    let hits = |context: &cel::Context<'_, '_>| {
        let execute = |program: &cel::Program| program.execute(context);
        programs
            .iter()
            .filter(|program| matches!(execute(program), Ok(cel::Value::Bool(true))))
            .count()
    };
    contexts.iter().for_each(|context| assert_eq!(hits(context), programs.len() / 20));
    let mut at = 0;
    criterion.bench_function("1000_rules/cel", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % RECORDS;
            black_box(hits(&contexts[at]))
        });
    });
}

fn datalogic(criterion: &mut Criterion, workload: &Workload) {
    let engine = datalogic_rs::Engine::new();
    let programs: Vec<datalogic_rs::Logic> =
        workload.logic.iter().map(|rule| engine.compile(rule).expect("compiles")).collect();
    let records: Vec<datalogic_rs::datavalue::OwnedDataValue> = workload
        .records
        .iter()
        .map(|record| {
            datalogic_rs::datavalue::OwnedDataValue::from_json(&record.to_string()).expect("JSON")
        })
        .collect();
    let mut arena = datalogic_rs::bumpalo::Bump::new();
    let mut at = 0;
    let mut hits = 0;
    criterion.bench_function("1000_rules/datalogic-rs", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % RECORDS;
            hits = 0;
            {
                // One conversion of the record for all rules, which is what its API is fastest with.
                let data: &datalogic_rs::DataValue<'_> = arena.alloc(records[at].to_arena(&arena));
                for program in &programs {
                    let result = engine.evaluate(program, data, &arena);
                    hits += usize::from(result.is_ok_and(|value| value.as_bool() == Some(true)));
                }
            }
            arena.reset();
            black_box(hits)
        });
    });
    // A missing fact is null to it and compares like a number, so some unknown rules hit as well. A
    // filter on the command line may have left it out.
    assert!(at == 0 || hits >= programs.len() / 20);
}

fn benches(criterion: &mut Criterion) {
    let thousand = Workload::new(1_000, RECORDS, SEED);
    own(criterion, "1000_rules/verdict", &thousand, CompiledRuleSet::evaluate);
    own(
        criterion,
        "1000_rules/verdict_no_index",
        &thousand,
        CompiledRuleSet::evaluate_without_index,
    );
    cel(criterion, &thousand);
    datalogic(criterion, &thousand);
    let ten_thousand = Workload::new(10_000, RECORDS, SEED);
    own(criterion, "10000_rules/verdict", &ten_thousand, CompiledRuleSet::evaluate);
    let mut slow = criterion.benchmark_group("publish");
    slow.sample_size(10);
    slow.bench_function("1000_rules", |bencher| bencher.iter(|| black_box(publish(&thousand))));
    slow.finish();
}

criterion_group!(group, benches);
criterion_main!(group);
