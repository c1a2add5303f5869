//! Generated expressions against two oracles: `cel` where it has an answer, and a naive evaluator of
//! Kleene's logic that knows nothing of compilation, atoms or indexes.

#[path = "oracle/expression.rs"]
mod expression;

use std::sync::Arc;

use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;
use verdict_config::{Facts, Fault, Value};
use verdict_rules::parse_expression;

use crate::harness::{Given, World, evaluate, truth};
use expression::{Bool, Record, bool_expression, record};

fn facts_of(world: &World, record: &Record) -> Facts {
    let mut facts = Facts { slots: vec![None; world.schema.fields().len()] };
    let mut put = |name: &str, value: Option<Value>| {
        facts.slots[world.schema.slot(name).unwrap() as usize] = value;
    };
    put("count", record.count.map(Value::Int));
    put("limit", record.limit.map(Value::Int));
    put("amount", record.amount.map(Value::Decimal));
    put("average", record.average.map(Value::Decimal));
    put("ratio", record.ratio.map(Value::Float));
    put("active", record.active.map(Value::Bool));
    put("verified", record.verified.map(Value::Bool));
    put("country", record.country.as_deref().map(|text| Value::Text(text.into())));
    put("card_id", record.card_id.as_deref().map(|text| Value::Text(text.into())));
    put("tags", record.tags.clone().map(Value::set));
    facts
}

/// The facts as one CEL map, so that `has()` and absent keys mean what they mean there.
fn cel_context(record: &Record) -> cel::Context<'static, 'static> {
    use cel::objects::Key;
    let mut facts: std::collections::HashMap<Key, cel::Value> = Default::default();
    let mut put = |name: &str, value: Option<cel::Value>| {
        if let Some(value) = value {
            facts.insert(name.into(), value);
        }
    };
    put("count", record.count.map(cel::Value::Int));
    put("limit", record.limit.map(cel::Value::Int));
    put("ratio", record.ratio.map(cel::Value::Float));
    put("active", record.active.map(cel::Value::Bool));
    put("verified", record.verified.map(cel::Value::Bool));
    put("country", record.country.as_deref().map(cel::Value::from));
    put("card_id", record.card_id.as_deref().map(cel::Value::from));
    let tags = record.tags.as_ref().map(|tags| {
        cel::Value::List(Arc::new(tags.iter().map(|tag| tag.as_str().into()).collect()))
    });
    put("tags", tags);
    let mut context = cel::Context::default();
    let facts = cel::objects::Map { map: Arc::new(facts) };
    context.add_variable_from_value("f", cel::Value::Map(facts));
    context
}

fn check_against_cel(expression: &Bool, record: &Record) -> Result<(), TestCaseError> {
    let world = World::new();
    let text = expression.render("");
    let set = match world.one(&text) {
        Ok(set) => set,
        Err(faults) if faults.iter().all(never_has_a_value) => return Ok(()),
        Err(faults) => return Err(TestCaseError::fail(format!("{text}: {faults:?}"))),
    };
    let own = truth(&set, &facts_of(&world, record), &Given::default());
    let program = cel::Program::compile(&expression.render("f."))
        .map_err(|error| TestCaseError::fail(format!("cel: {text}: {error}")))?;
    let answer = program.execute(&cel_context(record));
    match (own.as_str(), answer) {
        ("true", Ok(cel::Value::Bool(answer))) => prop_assert!(answer, "{}", text),
        ("false", Ok(cel::Value::Bool(answer))) => prop_assert!(!answer, "{}", text),
        // Its floats divide by zero and overflow to infinity; ours are unknown then, and that may
        // stand behind an absent fact, which is told first. The naive evaluator knows.
        (_, Ok(cel::Value::Bool(_))) if expression.evaluate(record).is_none() => {}
        (own, Ok(answer)) => {
            return Err(TestCaseError::fail(format!("{text}: {own}, cel {answer:?}")));
        }
        // It gives up at an absent fact where Kleene's logic may still know the answer: the naive
        // evaluator judges those.
        (_, Err(_)) => {}
    }
    Ok(())
}

/// Literals that divide by zero or overflow are refused when a rule is published.
fn never_has_a_value(fault: &Fault) -> bool {
    fault.message.contains("this never has a value") || fault.message.contains("is beyond what")
}

fn check_against_naive(expressions: &[Bool], record: &Record) -> Result<(), TestCaseError> {
    let world = World::new();
    let refused = |expression: &&Bool| {
        let faults = world.one(&expression.render("")).err().unwrap_or_default();
        !faults.is_empty() && faults.iter().all(never_has_a_value)
    };
    let expressions: Vec<&Bool> = expressions.iter().filter(|one| !refused(one)).collect();
    let rules: Vec<_> = expressions
        .iter()
        .enumerate()
        .map(|(at, expression)| json!({ "id": format!("r{at}"), "when": expression.render("") }))
        .collect();
    let set =
        world.compile(rules.into()).map_err(|faults| TestCaseError::fail(format!("{faults:?}")))?;
    // With and without the index, which the harness compares too.
    let evaluation = evaluate(&set, &facts_of(&world, record), &Given::default());
    for (rule, expression) in (0u32..).zip(&expressions) {
        let hit = evaluation.hits.iter().any(|hit| hit.rule == rule);
        let unknown = evaluation.unknown.iter().any(|unknown| unknown.rule == rule);
        let own = if unknown { None } else { Some(hit) };
        prop_assert_eq!(own, expression.evaluate(record), "{}", expression.render(""));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn cel_gives_the_same_answers(
        expression in bool_expression(false),
        record in record(false),
    ) {
        check_against_cel(&expression, &record)?;
    }

    #[test]
    fn cel_gives_the_same_answers_where_facts_are_absent(
        expression in bool_expression(false),
        record in record(true),
    ) {
        check_against_cel(&expression, &record)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_naive_evaluator_gives_the_same_hits_and_unknowns(
        expressions in prop::collection::vec(bool_expression(true), 1..40),
        record in record(true),
    ) {
        check_against_naive(&expressions, &record)?;
    }
}

/// Texts that look like expressions, for the most part.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "count",
        "amount",
        "ratio",
        "active",
        "country",
        "tags",
        "opened_at",
        "scores.risk",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "!",
        "-",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "in",
        "+",
        "*",
        "/",
        "%",
        "?",
        ":",
        "has(",
        "size(",
        "keywords(\"gambling\",",
        "listed(",
        "lower(",
        "window_count(\"1h\",",
        "name_match(\"sanctioned\",",
        "true",
        "false",
        "1",
        "0",
        "1.5",
        "1e308",
        "9223372036854775807",
        "\"a\"",
        "'",
        "r\"\\d\"",
        "`",
        "\u{e9}",
        "\\",
        "//",
        "\n",
        "0x",
        "duration(\"1h\")",
        "timestamp(\"2026-01-01\")",
        "lookup(\"mcc\",\"mcc\",",
        "matches(",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

fn survives(text: &str, record: &Record) {
    let world = World::new();
    if let Ok(node) = parse_expression(text) {
        let printed = node.to_string();
        let again = parse_expression(&printed).unwrap_or_else(|e| panic!("{printed}: {e}"));
        assert_eq!(again.to_string(), printed, "{text}");
    }
    if let Ok(set) = world.one(text) {
        let facts = facts_of(&world, record);
        evaluate(&set, &facts, &Given::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_soup(text in soup(), record in record(true)) {
        survives(&text, &record);
    }

    #[test]
    fn nothing_panics_on_any_text(text in any::<String>(), record in record(true)) {
        survives(&text, &record);
    }

    #[test]
    fn printing_and_parsing_are_inverse(expression in bool_expression(true)) {
        survives(&expression.render(""), &Record::default());
    }
}

#[test]
fn numbers_at_the_edge_do_not_panic() {
    let world = World::new();
    let edge = Record {
        count: Some(i64::MIN),
        limit: Some(-1),
        amount: Some(Decimal::MAX),
        average: Some(Decimal::MIN),
        ratio: Some(f64::MIN_POSITIVE),
        ..Record::default()
    };
    for when in [
        "count / limit > 0",
        "count % limit == 0",
        "-count > 0",
        "count - 1 < 0",
        "amount + amount > 0",
        "amount * average < 0",
        "amount / 0.0000001 > 1",
        "-amount < 0",
        "ratio / 1e308 == 0.0",
        "int(amount) > 0",
        "decimal(ratio) > 0",
        "double(amount) > 0",
    ] {
        let set = world.one(when).unwrap();
        truth(&set, &facts_of(&world, &edge), &Given::default());
    }
}
