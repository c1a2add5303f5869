//! Tables against naive readings of them.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::cell::{Cell, Ordered, Test};
use super::super::outputs;
use super::*;

/// Cell by cell and row by row, in three values.
fn cell_value(
    cell: &Cell,
    value: Option<&Value>,
    field_type: FieldType,
    handled: bool,
) -> Option<bool> {
    let Cell::Tests { negated, tests } = cell else { return Some(true) };
    let Some(value) = value else {
        let says = tests.contains(&Test::Unknown);
        return if handled { Some(says && !negated) } else { None };
    };
    let any = tests.iter().any(|test| match (test, value) {
        (Test::Bool(wanted), Value::Bool(value)) => wanted == value,
        (Test::Text(wanted), Value::Text(value)) => wanted == value,
        (Test::Text(wanted), Value::Set(items)) => items.contains(wanted),
        (Test::Range(range), value) => range.holds(&Ordered::of(value, field_type).unwrap()),
        _ => false,
    });
    Some(any != *negated)
}

/// What follows from a set of rows that match, nothing being unknown.
fn decided(
    policy: HitPolicy,
    base: &Effect,
    table: &DecisionTable,
    rows: &[u32],
) -> Result<Vec<Effect>, ()> {
    let effect = |row: &u32| table.effect(*row).unwrap().clone();
    let by_priority = |rows: &[u32]| {
        let mut rows = rows.to_vec();
        rows.sort_by(|one, other| {
            let (left, right) = (effect(one), effect(other));
            right
                .outcome
                .cmp(&left.outcome)
                .then(right.points.unwrap_or(0).cmp(&left.points.unwrap_or(0)))
                .then(one.cmp(other))
        });
        rows
    };
    let points =
        |rows: &[u32]| rows.iter().filter_map(|row| effect(row).points).collect::<Vec<_>>();
    let joined = |total: Option<i32>| {
        let effects: Vec<Effect> = rows.iter().map(effect).collect();
        outputs::join(effects.iter(), total).into_iter().collect()
    };
    Ok(match policy {
        HitPolicy::Unique if rows.len() > 1 => return Err(()),
        HitPolicy::Any if rows.iter().any(|row| effect(row) != effect(&rows[0])) => return Err(()),
        HitPolicy::Unique | HitPolicy::Any | HitPolicy::First => {
            rows.iter().take(1).map(effect).collect()
        }
        HitPolicy::Priority => by_priority(rows).iter().take(1).map(effect).collect(),
        HitPolicy::RuleOrder | HitPolicy::Collect => rows.iter().map(effect).collect(),
        HitPolicy::OutputOrder => by_priority(rows).iter().map(effect).collect(),
        HitPolicy::CollectSum => joined(Some(points(rows).iter().sum())),
        HitPolicy::CollectMin => joined(points(rows).into_iter().min()),
        HitPolicy::CollectMax => joined(points(rows).into_iter().max()),
        HitPolicy::CollectCount => joined(Some(rows.len() as i32 * base.points.unwrap_or(1))),
    })
}

fn policies() -> impl Strategy<Value = HitPolicy> {
    proptest::sample::select(vec![
        HitPolicy::Unique,
        HitPolicy::Any,
        HitPolicy::Priority,
        HitPolicy::First,
        HitPolicy::RuleOrder,
        HitPolicy::OutputOrder,
        HitPolicy::Collect,
        HitPolicy::CollectSum,
        HitPolicy::CollectMin,
        HitPolicy::CollectMax,
        HitPolicy::CollectCount,
    ])
}

fn rows() -> impl Strategy<Value = Vec<(usize, usize, usize, usize, usize)>> {
    proptest::collection::vec((0usize..8, 0usize..9, 0usize..5, 0usize..4, 0usize..3), 1..7)
}

const COUNTRIES: [&str; 8] = ["-", "-", "A", "B", "A, B", "not(A)", "unknown", "not(unknown)"];
const COUNTS: [&str; 9] = ["-", "1", "< 2", ">= 2", "[1..3)", "(0..2]", "not(1, 2)", "1, > 3", ""];
const TAGS: [&str; 5] = ["-", "x", "not(x)", "x, y", "not(x, y)"];
const POINTS: [&str; 4] = ["", "0", "5", "-5"];
const OUTCOMES: [&str; 3] = ["", "review", "decline"];

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(15),
        failure_persistence: None,
        cases: 2_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn answers_what_a_naive_reading_in_all_possible_worlds_answers(
        rows in rows(), policy in policies(), base_points in proptest::option::of(-1i32..3),
        country in proptest::option::of(0usize..3), count in proptest::option::of(-1i64..5),
        tags in proptest::option::of(0usize..4),
    ) {
        let mut lines = vec!["country|count|tags|then.points|then.outcome".to_owned()];
        lines.extend(rows.iter().map(|(country, count, tags, points, outcome)| {
            [COUNTRIES[*country], COUNTS[*count], TAGS[*tags], POINTS[*points], OUTCOMES[*outcome]].join("|")
        }));
        let base = Effect { points: base_points, ..Effect::default() };
        let table = compile(&lines.join("\n"), policy, &base).unwrap();
        let values = [
            country.map(|index| text(["A", "B", "C"][index])),
            count.map(Value::Int),
            tags.map(|index| Value::set([&["x"][..], &["y"], &["x", "y"], &[]][index].iter().copied())),
        ];
        let types = [FieldType::Symbol, FieldType::Int, FieldType::Set];
        let slots = [0usize, 2, 4];
        let mut given = Given::default();
        slots.iter().zip(&values).for_each(|(slot, value)| given[*slot] = value.clone());
        let cells: Vec<[Cell; 3]> = rows.iter().map(|(country, count, tags, ..)| {
            let parse = |text: &str, field_type| Cell::parse(text, field_type).unwrap();
            [parse(COUNTRIES[*country], types[0]), parse(COUNTS[*count], types[1]), parse(TAGS[*tags], types[2])]
        }).collect();
        let handled = [rows.iter().any(|row| row.0 >= 6), false, false];
        let row_value = |row: &[Cell; 3]| {
            let values: Vec<_> = (0..3)
                .map(|nth| cell_value(&row[nth], values[nth].as_ref(), types[nth], handled[nth]))
                .collect();
            if values.contains(&Some(false)) { Some(false) }
            else if values.contains(&None) { None } else { Some(true) }
        };
        let row_values: Vec<_> = cells.iter().map(row_value).collect();
        let of = |wanted: Option<bool>| -> Vec<u32> {
            (0u32..).zip(&row_values).filter(|(_, value)| **value == wanted).map(|(row, _)| row).collect()
        };
        let (matched, unknown) = (of(Some(true)), of(None));
        let worlds: Vec<_> = (0u32..1 << unknown.len()).map(|world| {
            let may = unknown.iter().enumerate().filter(|(nth, _)| world >> nth & 1 == 1);
            let mut rows: Vec<u32> = matched.iter().copied().chain(may.map(|(_, row)| *row)).collect();
            rows.sort_unstable();
            decided(policy, &base, &table, &rows)
        }).collect();
        let answer = evaluate(&table, &given);
        let effects = table.answer_effects(&answer).to_vec();
        if worlds.iter().all(|world| *world == worlds[0]) {
            match (&worlds[0], &answer.unknown) {
                (Ok(expected), None) => prop_assert_eq!(&effects, expected),
                (Err(()), Some(TableUnknown::Conflict(..))) => {}
                (world, unknown) => prop_assert!(false, "{:?} but {:?}", world, unknown),
            }
        } else {
            prop_assert!(matches!(answer.unknown, Some(TableUnknown::Missing(_) | TableUnknown::Conflict(..))), "{:?}", answer);
            let lists = matches!(policy, HitPolicy::RuleOrder | HitPolicy::OutputOrder | HitPolicy::Collect);
            prop_assert!(lists || effects.is_empty());
            if let Some(TableUnknown::Missing(slots)) = &answer.unknown {
                prop_assert!(!slots.is_empty());
                prop_assert!(slots.iter().all(|slot| given[*slot as usize].is_none()));
            }
        }
    }

    #[test]
    fn findings_agree_with_a_search_over_values(rows in rows(), policy in policies()) {
        let mut lines = vec!["country|count|then.points".to_owned()];
        lines.extend(rows.iter().map(|(country, count, _, points, _)| {
            [COUNTRIES[*country], COUNTS[*count], POINTS[*points]].join("|")
        }));
        let table = compile(&lines.join("\n"), policy, &Effect::default()).unwrap();
        let collecting = compile(&lines.join("\n"), HitPolicy::Collect, &Effect::default()).unwrap();
        let (mut gap, mut overlap) = (false, false);
        let mut reached = vec![false; rows.len()];
        let handled = rows.iter().any(|row| row.0 >= 6);
        for country in [Some("A"), Some("B"), Some("C"), None] {
            for count in -1..6 {
                if country.is_none() && !handled {
                    continue;
                }
                let mut given = Given::default();
                given[0] = country.map(text);
                given[2] = Some(Value::Int(count));
                let all = evaluate(&collecting, &given).rows;
                gap |= all.is_empty();
                overlap |= all.len() > 1;
                evaluate(&table, &given).rows.iter().for_each(|row| reached[*row as usize] = true);
            }
        }
        let findings = table.findings();
        let kinds: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
        prop_assert_eq!(kinds.contains(&TableFindingKind::Gap), gap);
        if policy == HitPolicy::Unique {
            prop_assert_eq!(kinds.contains(&TableFindingKind::Overlap), overlap);
        }
        if matches!(policy, HitPolicy::First | HitPolicy::Priority) {
            let never: Vec<u32> = findings.iter()
                .filter(|finding| finding.kind == TableFindingKind::NeverReached)
                .map(|finding| finding.rows[0]).collect();
            // Without its only reached `unknown`, a column would make other rows unknown.
            let handles = |row: usize| rows[row].0 >= 6;
            let handled_by_others = (0..rows.len()).any(|row| reached[row] && handles(row));
            let expected: Vec<u32> = (0..rows.len())
                .filter(|row| !reached[*row] && (!handles(*row) || handled_by_others))
                .map(|row| row as u32)
                .collect();
            prop_assert_eq!(never, expected);
        }
    }

    #[test]
    fn any_text_is_survived(columns in proptest::collection::vec(any::<String>(), 0..3), cell in any::<String>()) {
        for name in ["country", "amount", "share", "at", "tags", "vip", "then.points", "then.reason", "then.confidence"] {
            let mut names: Vec<String> = columns.clone();
            names.push(name.to_owned());
            let row = vec![cell.clone(); names.len()];
            let definition = TableDefinition { columns: names, rows: vec![row] };
            let resolve = |name: &str| fields().get(name).map(|(slot, field)| ColumnTarget {
                slot: *slot, field_type: field.field_type, field: None,
            });
            let context = TableContext { resolve: &resolve, hit_policy: HitPolicy::First, base: &Effect::default() };
            if let Ok(table) = DecisionTable::compile(&definition, &context) {
                let _ = (table.findings(), evaluate(&table, &Given::default()));
            }
        }
    }
}
