use std::collections::BTreeMap;

use verdict_config::definition::Outcome;
use verdict_config::schema::Need;

use super::*;

mod properties;

/// Lines of cells parted by `|`, the first of them the header.
fn table(text: &str) -> TableDefinition {
    let mut lines = text
        .lines()
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    TableDefinition { columns: lines.next().unwrap_or_default(), rows: lines.collect() }
}

fn fields() -> BTreeMap<&'static str, (u32, Field)> {
    let field = |field_type: FieldType, symbols: Option<&[&str]>, min: Option<f64>| Field {
        field_type,
        need: Need::Optional,
        sensitive: false,
        max_chars: None,
        max_items: None,
        min,
        max: None,
        symbols: symbols.map(|symbols| symbols.iter().map(|text| (*text).to_owned()).collect()),
        description: None,
    };
    BTreeMap::from([
        ("country", (0, field(FieldType::Symbol, None, None))),
        ("amount", (1, field(FieldType::Decimal, None, Some(0.0)))),
        ("count", (2, field(FieldType::Int, None, None))),
        ("vip", (3, field(FieldType::Bool, None, None))),
        ("tags", (4, field(FieldType::Set, None, None))),
        ("at", (5, field(FieldType::Time, None, None))),
        ("share", (6, field(FieldType::Float, None, None))),
        ("channel", (7, field(FieldType::Symbol, Some(&["web", "phone"]), None))),
    ])
}

fn compile(text: &str, hit_policy: HitPolicy, base: &Effect) -> Result<DecisionTable, Faults> {
    let fields = fields();
    let resolve = |name: &str| {
        fields.get(name).map(|(slot, field)| ColumnTarget {
            slot: *slot,
            field_type: field.field_type,
            field: Some(field),
        })
    };
    DecisionTable::compile(&table(text), &TableContext { resolve: &resolve, hit_policy, base })
}

type Given = [Option<Value>; 8];

fn given(values: &[(&str, Value)]) -> Given {
    let fields = fields();
    let mut given = Given::default();
    for (name, value) in values {
        given[fields[name].0 as usize] = Some(value.clone());
    }
    given
}

fn evaluate(table: &DecisionTable, given: &Given) -> TableAnswer {
    table.evaluate(|slot| given[slot as usize].as_ref())
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn decimal(value: &str) -> Value {
    Value::Decimal(value.parse().unwrap())
}

#[test]
fn cells_are_read_in_the_type_of_their_field() {
    let check = |column: &str, cell: &str, value: Value, expected: bool| {
        let table = compile(&format!("{column}\n{cell}"), HitPolicy::First, &Effect::default());
        let answer = evaluate(&table.unwrap(), &given(&[(column, value.clone())]));
        assert_eq!(!answer.rows.is_empty(), expected, "{cell} on {value:?}");
        assert_eq!(answer.unknown, None);
    };
    check("country", "GB", text("GB"), true);
    check("country", "GB", text("gb"), false);
    check("country", "GB, FR", text("FR"), true);
    check("country", "not(GB, FR)", text("FR"), false);
    check("country", "not(GB, FR)", text("DE"), true);
    check("country", "NO", text("NO"), true);
    check("country", "\"a, b\"", text("a, b"), true);
    check("country", "\"say \\\"x\\\"\"", text("say \"x\""), true);
    check("country", "\"unknown\"", text("unknown"), true);
    check("country", "unknown", text("unknown"), false);
    check("country", "not(unknown)", text("x"), true);
    check("country", "-", text("x"), true);
    check("country", " ", text("x"), true);
    check("amount", "100", decimal("100.00"), true);
    check("amount", "< 100", decimal("99.99"), true);
    check("amount", "<= 100", decimal("100"), true);
    check("amount", "> 100", decimal("100"), false);
    check("amount", ">=100.5", decimal("100.5"), true);
    check("amount", "[1..5]", decimal("5"), true);
    check("amount", "[1..5)", decimal("5"), false);
    check("amount", "(1..5]", decimal("1"), false);
    check("amount", "]1..5[", decimal("1.01"), true);
    check("amount", "[1.5..2.5], > 10", decimal("11"), true);
    check("amount", "not(< 10, > 20)", decimal("15"), true);
    check("amount", "not(< 10, > 20)", decimal("9"), false);
    check("amount", "-5", decimal("-5"), true);
    check("amount", "1e3", decimal("1000"), true);
    check("count", "> 2.5", Value::Int(3), true);
    check("count", "3", Value::Int(3), true);
    check("vip", "true", Value::Bool(true), true);
    check("vip", "not(true)", Value::Bool(true), false);
    check("vip", "true, false", Value::Bool(false), true);
    check("tags", "a", Value::set(["a", "b"]), true);
    check("tags", "a, z", Value::set(["b"]), false);
    check("tags", "not(a, z)", Value::set(["b", "z"]), false);
    check("tags", "not(a)", Value::set::<_, &str>([]), true);
    check(
        "at",
        ">= 2026-01-01",
        Value::Time(verdict_config::TimestampMs::parse("2026-02-01").unwrap()),
        true,
    );
    check("share", "0.1", Value::Float(0.1), true);
    check("share", "> 0", Value::Float(-0.0), false);
    check("share", "[0..1]", Value::Float(-0.0), true);
    // A value of another type than the schema says fits nothing.
    check("vip", "true", Value::Int(1), false);
    check("country", "not(GB)", Value::Int(1), false);
    check("amount", "> 0", text("x"), false);
}

#[test]
fn faults_name_row_and_column_and_say_what_to_do() {
    let check = |text: &str, path: &str, words: &str| {
        let faults = compile(text, HitPolicy::First, &Effect::default()).unwrap_err();
        let found = faults.iter().any(|fault| fault.path == path && fault.message.contains(words));
        assert!(found, "{path} {words:?} not in {faults:?}");
    };
    check(
        "amount\n1\nmuch",
        "rows[1].columns[amount]",
        "row 2, column amount: \"much\" is no number",
    );
    check("amount\n1,000,", "rows[0].columns[amount]", "remove the comma");
    check("amount\n[5..1]", "rows[0].columns[amount]", "exchange its ends");
    check("amount\n(5..5]", "rows[0].columns[amount]", "exchange its ends");
    check("amount\n[1,5]", "rows[0].columns[amount]", "is no interval");
    check("amount\nnot(1", "rows[0].columns[amount]", "closing parenthesis");
    check("share\nnan", "rows[0].columns[share]", "is no number");
    check("vip\nyes", "rows[0].columns[vip]", "write true, false");
    check("country\n< GB", "rows[0].columns[country]", "compares or excludes");
    check("country\n\"GB", "rows[0].columns[country]", "not closed");
    check("country\nGB, -", "rows[0].columns[country]", "any value");
    check("channel\nfax", "rows[0].columns[channel]", "web, phone");
    check("at\n31.12.2026", "rows[0].columns[at]", "is no time");
    check("colour\nred", "columns[colour]", "no field or derived fact");
    check("country|country\nGB|FR", "columns[country]", "named twice");
    check("country|then.pints\nGB|1", "columns[then.pints]", "points, outcome");
    check("country|then.points\nGB|1001", "rows[0].columns[then.points]", "between -1000 and 1000");
    check("country|then.outcome\nGB|maybe", "rows[0].columns[then.outcome]", "approve, challenge");
    check("country|then.reason\nGB|no code", "rows[0].columns[then.reason]", "capitals");
    check("country|then.confidence\nGB|2", "rows[0].columns[then.confidence]", "between 0 and 1");
    check("country|amount\nGB", "rows[0]", "1 cells for 2 columns");
    check("then.points\n1", "columns", "no condition");
    check("", "columns", "no condition");
    // All of them, not only the first.
    let faults = compile("amount|vip\nx|y\n1|z", HitPolicy::First, &Effect::default()).unwrap_err();
    assert_eq!(faults.len(), 3);
}

#[test]
fn hit_policies_choose_and_count() {
    let text = "country|amount|then.points|then.outcome|then.reason\n\
        GB|-|10|-|HOME\n\
        GB|> 100|30|review|LARGE\n\
        GB|> 1000|20|decline|HUGE\n\
        FR|-|5|-|AWAY\n\
        FR|> 100|5|-|AWAY";
    let base = Effect { points: Some(7), ..Effect::default() };
    let check = |policy: HitPolicy,
                 country: &str,
                 amount: &str,
                 rows: &[u32],
                 points: Option<i32>,
                 unknown: Option<TableUnknown>| {
        let table = compile(text, policy, &base).unwrap();
        let given = given(&[("country", self::text(country)), ("amount", decimal(amount))]);
        let answer = evaluate(&table, &given);
        assert_eq!(
            (answer.rows.as_slice(), answer.points, answer.unknown),
            (rows, points, unknown),
            "{policy:?}"
        );
    };
    use HitPolicy::*;
    check(Unique, "GB", "1", &[0], None, None);
    check(Unique, "GB", "500", &[], None, Some(TableUnknown::Conflict(0, 1)));
    check(Unique, "DE", "1", &[], None, None);
    check(Any, "FR", "500", &[3], None, None);
    check(Any, "GB", "500", &[], None, Some(TableUnknown::Conflict(0, 1)));
    check(Priority, "GB", "5000", &[2], None, None);
    check(Priority, "GB", "500", &[1], None, None);
    check(First, "GB", "5000", &[0], None, None);
    check(RuleOrder, "GB", "5000", &[0, 1, 2], None, None);
    check(OutputOrder, "GB", "5000", &[2, 1, 0], None, None);
    check(Collect, "GB", "5000", &[0, 1, 2], None, None);
    check(CollectSum, "GB", "5000", &[0, 1, 2], Some(60), None);
    check(CollectMin, "GB", "5000", &[0, 1, 2], Some(10), None);
    check(CollectMax, "GB", "5000", &[0, 1, 2], Some(30), None);
    check(CollectCount, "GB", "5000", &[0, 1, 2], Some(21), None);
    check(CollectSum, "DE", "5000", &[], None, None);
    let table = compile(text, CollectSum, &base).unwrap();
    let answer =
        evaluate(&table, &given(&[("country", self::text("GB")), ("amount", decimal("5000"))]));
    let effects = table.answer_effects(&answer);
    assert_eq!(effects.len(), 1);
    assert_eq!(
        (effects[0].points, effects[0].outcome, effects[0].reason.as_deref()),
        (Some(60), Some(Outcome::Decline), Some("HOME"))
    );
}

#[test]
fn rows_take_from_the_rule_what_they_do_not_say() {
    let base = Effect {
        points: Some(7),
        reason: Some("BASE".into()),
        floor: Some(3),
        ..Effect::default()
    };
    let table = compile(
        "country|then.points|then.reason|# why\nGB|1||x\nFR||OWN|y",
        HitPolicy::First,
        &base,
    )
    .unwrap();
    let of = |row: u32| {
        let effect = table.effect(row).unwrap();
        (effect.points, effect.reason.as_deref(), effect.floor)
    };
    assert_eq!(of(0), (Some(1), Some("BASE"), Some(3)));
    assert_eq!(of(1), (Some(7), Some("OWN"), Some(3)));
    assert_eq!((table.slots(), table.row_count()), (&[0u32][..], 2));
    assert!(table.effect(2).is_none());
}

#[test]
fn missing_values_are_unknown_only_where_they_matter() {
    let check =
        |text: &str, policy: HitPolicy, values: &[(&str, Value)], rows: &[u32], missing: &[u32]| {
            let answer =
                evaluate(&compile(text, policy, &Effect::default()).unwrap(), &given(values));
            let slots = match answer.unknown {
                Some(TableUnknown::Missing(slots)) => slots.to_vec(),
                other => {
                    assert_eq!(other, None);
                    Vec::new()
                }
            };
            assert_eq!(
                (answer.rows.as_slice(), slots.as_slice()),
                (rows, missing),
                "{text} {policy:?} {values:?}"
            );
        };
    use HitPolicy::*;
    let text = "country|amount|then.points\nKP|-|400\n-|> 100|50\n-|-|1";
    // The first row decides whatever the amount; the second hides the third.
    check(text, First, &[("country", self::text("KP"))], &[0], &[]);
    check(text, First, &[("country", self::text("GB"))], &[], &[1]);
    check(text, First, &[("amount", decimal("5"))], &[], &[0]);
    check(text, First, &[], &[], &[0, 1]);
    check(text, Collect, &[("country", self::text("GB"))], &[2], &[1]);
    check(text, CollectSum, &[("country", self::text("GB"))], &[], &[1]);
    check(text, CollectMax, &[("country", self::text("KP"))], &[0, 2], &[]);
    // What an unknown row would say is said already.
    check("country|then.points\nKP|5\n-|5", First, &[], &[1], &[]);
    check("country|then.points\nKP|5\n-|5", Any, &[], &[1], &[]);
    // A false cell settles a row whose other value is missing.
    check("country|amount\nKP|> 100", Unique, &[("country", self::text("GB"))], &[], &[]);
    // A column with `unknown` has missing values in hand.
    let text = "country|then.points\nunknown|9\nnot(GB)|5\nGB|1\n";
    check(text, Unique, &[], &[0], &[]);
    check(text, Unique, &[("country", self::text("GB"))], &[2], &[]);
    check("country\nnot(unknown)", First, &[], &[], &[]);
    check("country\nunknown, GB", First, &[], &[0], &[]);
    // Bands: a missing amount is unknown, and says so.
    check("amount\n< 10\n[10..20)\n>= 20", Unique, &[], &[], &[1]);
}

#[test]
fn findings_tell_gaps_overlaps_and_rows_never_reached() {
    let check = |text: &str, policy: HitPolicy, expected: &[&str]| {
        let table = compile(text, policy, &Effect::default()).unwrap();
        let messages: Vec<_> =
            table.findings().into_iter().map(|finding| finding.message).collect();
        assert_eq!(messages, expected, "{text}");
    };
    use HitPolicy::*;
    check("amount\n< 10\n[10..20)\n>= 20", Unique, &[]);
    check("amount\n< 10\n> 10", Unique, &["no row matches amount 10"]);
    check("count\n[0..4]\n[5..9]\n< 0, > 9", Unique, &[]);
    check("count\n[0..4]\n[6..9]\n< 0, > 9", Unique, &["no row matches count (4..6)"]);
    // The field has a minimum of 0: nothing is missing below.
    check("amount\n[0..5]\n> 5", Unique, &[]);
    check("vip\ntrue", Unique, &["no row matches vip false"]);
    check("channel\nweb\nphone", Unique, &[]);
    check("channel\nweb", Unique, &["no row matches channel \"phone\""]);
    check(
        "country|vip\nGB|-\nnot(GB)|true",
        Unique,
        &["no row matches country any other text with vip false"],
    );
    check(
        "country|amount\nGB|-\n-|> 5\n-|<= 5",
        Unique,
        &[
            "rows 1 and 2 can match together, but the policy is unique",
            "rows 1 and 3 can match together, but the policy is unique",
        ],
    );
    check("country|then.points\nGB|1\n-|1", Any, &[]);
    check(
        "country|then.points\nGB|1\n-|2",
        Any,
        &["rows 1 and 2 can match together and say different things"],
    );
    check(
        "country|amount\n-|> 5\nGB|> 7\n-|-",
        First,
        &["row 2 is never reached: other rows win over it always"],
    );
    check("vip\ntrue\nfalse\n-", First, &["row 3 is never reached: other rows win over it always"]);
    check("vip|then.points\n-|1\ntrue|5", Priority, &[]);
    check(
        "vip|then.points\ntrue|1\n-|5",
        Priority,
        &["row 1 is never reached: other rows win over it always"],
    );
    check(
        "country\nunknown\n-",
        Unique,
        &["rows 1 and 2 can match together, but the policy is unique"],
    );
    check("country\nunknown\nnot(unknown)", Unique, &[]);
    check(
        "tags\na",
        Unique,
        &["gaps and overlaps were not looked for: the column tags is a set or too large"],
    );
}

#[test]
fn rows_and_cells_in_doubt_are_found() {
    use TableFindingKind::{Ambiguous, Suspect};
    let check = |text: &str, expected: &[(TableFindingKind, u32, Option<&str>)]| {
        for policy in [HitPolicy::First, HitPolicy::Collect, HitPolicy::Priority] {
            let table = compile(text, policy, &Effect::default()).unwrap();
            let findings = table.findings();
            let found: Vec<_> = findings
                .iter()
                .filter(|finding| matches!(finding.kind, Ambiguous | Suspect))
                .map(|finding| (finding.kind, finding.rows[0], finding.column.as_deref()))
                .collect();
            assert_eq!(found, expected, "{text} {policy:?} {findings:?}");
        }
    };
    // Rows that say nothing match everybody.
    check("country|then.points\nGB|10\n|", &[(Ambiguous, 1, None)]);
    check("country|then.points\n  |  \nGB|10", &[(Ambiguous, 0, None)]);
    check("country|vip|then.points|#\n||| why\nGB|-|1|", &[(Ambiguous, 0, None)]);
    check("country|then.points\n-|-\nGB|10", &[(Ambiguous, 0, None)]);
    check("country|then.points\n|5\nGB|10", &[(Suspect, 0, None)]);
    check("country|then.points\nGB|10\n|5", &[]);
    check("country|then.points\nGB|10\n-|-", &[]);
    check("country|vip\nGB|\n|true", &[]);
    // Numbers that are read differently.
    for cell in [
        "> 1,000",
        "1,000",
        "100,200,300",
        "1.000,5",
        "> 2,5",
        "1, 000",
        "[1.000..2.000]",
        "> 1_000",
        "007",
        "not(1,000)",
    ] {
        check(&format!("count\n{cell}"), &[(Ambiguous, 0, Some("count"))]);
    }
    for cell in ["1,5", "1.25, 2,5", "0.12345678901234567890123456789", "> 1_000.5"] {
        check(&format!("amount\n{cell}"), &[(Ambiguous, 0, Some("amount"))]);
    }
    for cell in ["1, 2, 3", "1,2,3", "5411,5812", "> 1000", "[0..10)", "not(0, 5)", "-5", "1e3"] {
        check(&format!("count\n{cell}"), &[]);
    }
    for cell in ["0.5", "1.000", "> 2.5, 1", "(0.5..1.50]", "unknown"] {
        check(&format!("amount\n{cell}"), &[]);
    }
    // Texts that look like a name of a field or a missing value.
    check("country\ncountry", &[(Suspect, 0, Some("country"))]);
    check("country\nnot(channel)", &[(Suspect, 0, Some("country"))]);
    check("country\nGB, NULL", &[(Suspect, 0, Some("country"))]);
    check("country\n\"channel\"", &[]);
    check("country\nunknown", &[]);
}

#[test]
fn a_row_that_alone_handles_missing_values_has_a_meaning() {
    let never = |text: &str| {
        let table = compile(text, HitPolicy::First, &Effect::default()).unwrap();
        let findings = table.findings().into_iter();
        let never = findings.filter(|finding| finding.kind == TableFindingKind::NeverReached);
        never.map(|finding| finding.rows[0]).collect::<Vec<_>>()
    };
    assert_eq!(never("amount|then.points\n< 5|200\n-|100\nunknown|100"), [0u32; 0]);
    assert_eq!(never("amount|then.points\nunknown|1\n-|100\nunknown|100"), [2]);
    assert_eq!(never("amount|then.points\n-|100\n> 5|100"), [1]);
}

#[test]
fn large_tables_are_analysed_within_bounds() {
    let mut rows = String::from("country|count|amount|then.points");
    for index in 0..3_000 {
        rows.push_str(&format!("\nC{index}, D{}|> {index}|< {}|1", index / 2, index * 3));
    }
    let table = compile(&rows, HitPolicy::Unique, &Effect::default()).unwrap();
    assert!(!table.findings().is_empty());
    let answer = evaluate(
        &table,
        &given(&[
            ("country", text("C2999")),
            ("count", Value::Int(3_000)),
            ("amount", decimal("1")),
        ]),
    );
    assert_eq!(answer.rows.as_slice(), [2_999]);
}
