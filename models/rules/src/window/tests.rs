use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const MINUTE: i64 = 60_000;

fn span(window_ms: i64) -> WindowSpan {
    WindowSpan::new(window_ms.cast_unsigned()).unwrap()
}

fn at(ms: i64) -> TimestampMs {
    TimestampMs(ms)
}

fn decimal(text: &str) -> Value {
    Value::Decimal(text.parse().unwrap())
}

#[test]
fn buckets_are_a_sixtieth_rounded_up_and_aligned_to_the_epoch() {
    let check = |window_ms: i64, bucket_ms: i64| {
        assert_eq!(span(window_ms).bucket_ms(), bucket_ms, "{window_ms} ms");
    };
    check(1, 1);
    check(60, 1);
    check(61, 2);
    check(60 * MINUTE, MINUTE);
    check(24 * 60 * MINUTE, 24 * MINUTE);
    assert!(WindowSpan::new(0).is_none() && WindowSpan::new(WINDOW_MS_MAX + 1).is_none());
    let hour = span(60 * MINUTE);
    assert_eq!(hour.bucket_of(at(0)), 0);
    assert_eq!(hour.bucket_of(at(-1)), -1);
    let check = |as_of: i64, event: i64, expected: bool| {
        assert_eq!(hour.holds(at(as_of), at(event)), expected, "{event} at {as_of}");
    };
    check(100 * MINUTE, 41 * MINUTE, true);
    check(100 * MINUTE, 41 * MINUTE - 1, false);
    check(100 * MINUTE, 101 * MINUTE - 1, true);
    check(100 * MINUTE, 101 * MINUTE, false);
    check(i64::MIN, i64::MIN, true);
    check(i64::MAX, i64::MIN, false);
}

#[test]
fn functions_answer_in_the_type_asked_for() {
    let hour = span(60 * MINUTE);
    let values = [decimal("10.10"), Value::Int(5), Value::Float(0.2)];
    let check =
        |function: WindowFunction, result: FieldType, expected: Result<Value, WindowUnknown>| {
            let events = values.iter().map(|value| (at(0), Some(value)));
            let reading = aggregate(hour, events, function, result, at(MINUTE));
            assert_eq!(reading.value, expected, "{function:?} as {result:?}");
            assert!(reading.exact && reading.complete);
        };
    check(WindowFunction::Count, FieldType::Int, Ok(Value::Int(3)));
    check(WindowFunction::Sum, FieldType::Decimal, Ok(decimal("15.3")));
    check(WindowFunction::Sum, FieldType::Float, Ok(Value::Float(15.3)));
    check(WindowFunction::Min, FieldType::Decimal, Ok(decimal("0.2")));
    check(WindowFunction::Max, FieldType::Decimal, Ok(decimal("10.1")));
    check(WindowFunction::Mean, FieldType::Decimal, Ok(decimal("5.1")));
    check(WindowFunction::Distinct, FieldType::Int, Ok(Value::Int(3)));
    check(WindowFunction::Sum, FieldType::Symbol, Err(WindowUnknown::NotKept));
}

#[test]
fn nothing_and_too_much_are_unknown_with_a_cause() {
    let hour = span(60 * MINUTE);
    let check = |values: &[Value], function, result, expected: Result<Value, WindowUnknown>| {
        let events = values.iter().map(|value| (at(0), Some(value)));
        assert_eq!(aggregate(hour, events, function, result, at(0)).value, expected, "{values:?}");
    };
    use FieldType::{Decimal, Float, Int};
    use WindowFunction::{Count, Distinct, Max, Mean, Min, Sum};
    check(&[], Count, Int, Ok(Value::Int(0)));
    check(&[], Sum, Decimal, Ok(decimal("0")));
    check(&[], Distinct, Int, Ok(Value::Int(0)));
    for function in [Min, Max, Mean] {
        check(&[], function, Decimal, Err(WindowUnknown::Empty));
    }
    let huge = decimal("79228162514264337593543950335");
    check(std::slice::from_ref(&huge), Sum, Decimal, Err(WindowUnknown::Overflow));
    check(&[huge, Value::Int(1)], Count, Int, Ok(Value::Int(2)));
    check(&[Value::Float(1e300)], Max, Float, Err(WindowUnknown::Overflow));
    check(&[Value::Int(i64::MAX), Value::Int(1)], Sum, Int, Err(WindowUnknown::Overflow));
    check(&[Value::Int(i64::MAX), Value::Int(1)], Sum, Decimal, Ok(decimal("9223372036854775808")));
    check(&[Value::Int(i64::MIN)], Min, Int, Ok(Value::Int(i64::MIN)));
    // Kept to twelve decimals, rounded half to even.
    check(&[decimal("0.0000000000005")], Sum, Decimal, Ok(decimal("0")));
    check(&[decimal("0.0000000000015")], Sum, Decimal, Ok(decimal("0.000000000002")));
}

#[test]
fn late_events_count_within_the_window_and_are_dropped_beyond() {
    let mut series = WindowSeries::new(span(60 * MINUTE), WindowMeasure::Events);
    assert_eq!(series.add(at(100 * MINUTE), None), Added::Counted);
    assert_eq!(series.add(at(41 * MINUTE), None), Added::Counted);
    assert_eq!(series.add(at(41 * MINUTE - 1), None), Added::TooOld);
    let read = |series: &WindowSeries, minute: i64| {
        series.read(WindowFunction::Count, FieldType::Int, at(minute * MINUTE))
    };
    assert_eq!(read(&series, 100).value, Ok(Value::Int(2)));
    assert!(read(&series, 100).complete);
    assert!(!read(&series, 99).complete, "an event of minute 40 is missing from it");
    assert_eq!(read(&series, 101).value, Ok(Value::Int(1)));
    assert_eq!(read(&series, 40).value, Ok(Value::Int(0)));
    // A newer event pushes the old ones out.
    series.add(at(159 * MINUTE), None);
    assert_eq!(series.buckets().len(), 2);
    series.add(at(160 * MINUTE), None);
    assert_eq!(series.buckets().len(), 2);
    assert!(!read(&series, 159).complete && read(&series, 160).complete);
    assert!(!series.is_over(at(219 * MINUTE)) && series.is_over(at(220 * MINUTE)));
}

#[test]
fn events_without_a_value_are_told() {
    let mut amounts = WindowSeries::new(span(MINUTE), WindowMeasure::Amounts);
    assert_eq!(amounts.add(at(0), None), Added::NoValue);
    assert_eq!(amounts.add(at(0), Some(&Value::Text("9".into()))), Added::NoValue);
    assert_eq!(amounts.add(at(0), Some(&Value::Int(9))), Added::Counted);
    let mut values = WindowSeries::new(span(MINUTE), WindowMeasure::Values);
    assert_eq!(values.add(at(0), None), Added::NoValue);
    assert_eq!(values.buckets().len(), 0);
    let sum = values.read(WindowFunction::Sum, FieldType::Decimal, at(0));
    assert_eq!(sum.value, Err(WindowUnknown::NotKept));
}

#[test]
fn many_values_are_estimated_and_it_is_said() {
    let hour = span(60 * MINUTE);
    for count in [64u32, 65, 1_000, 50_000] {
        let mut series = WindowSeries::new(hour, WindowMeasure::Values);
        for value in 0..count {
            let value = Value::Text(format!("card {value}").into());
            series.add(at(0), Some(&value));
            series.add(at(1), Some(&value));
        }
        let reading = series.read(WindowFunction::Distinct, FieldType::Int, at(0));
        assert_eq!(reading.exact, count <= 64);
        let Ok(Value::Int(estimate)) = reading.value else { panic!("{reading:?}") };
        let error = (estimate as f64 / f64::from(count) - 1.0).abs();
        assert!(error < 0.10, "{count} values, estimated {estimate}");
    }
    // Spread over buckets that are exact each, the whole is exact.
    let mut series = WindowSeries::new(hour, WindowMeasure::Values);
    for minute in 0..60 {
        for value in 0..60 {
            series.add(at(minute * MINUTE), Some(&Value::Int(minute * 30 + value)));
        }
    }
    let reading = series.read(WindowFunction::Distinct, FieldType::Int, at(59 * MINUTE));
    assert_eq!((reading.value, reading.exact), (Ok(Value::Int(59 * 30 + 60)), true));
}

#[test]
fn equal_values_are_one_however_they_are_written() {
    let check = |one: Value, other: Value, distinct: i64| {
        let events = [(at(0), Some(&one)), (at(0), Some(&other))];
        let reading =
            aggregate(span(MINUTE), events, WindowFunction::Distinct, FieldType::Int, at(0));
        assert_eq!(reading.value, Ok(Value::Int(distinct)), "{one:?} {other:?}");
    };
    check(decimal("1.50"), decimal("1.5"), 1);
    check(Value::Float(0.0), Value::Float(-0.0), 1);
    check(Value::set(["b", "a"]), Value::set(["a", "b", "a"]), 1);
    check(Value::set(["ab", "c"]), Value::set(["a", "bc"]), 2);
    check(Value::Text("a".into()), Value::Text("A".into()), 2);
    check(Value::Bool(true), Value::Bool(false), 2);
    check(Value::Time(at(1)), Value::Int(1), 2);
}

#[test]
fn damaged_encodings_are_refused() {
    let mut series = WindowSeries::new(span(60 * MINUTE), WindowMeasure::Amounts);
    series.add(at(0), Some(&Value::Int(1)));
    series.add(at(5 * MINUTE), Some(&Value::Int(2)));
    let good = serde_json::to_value(&series).unwrap();
    assert_eq!(serde_json::from_value::<WindowSeries>(good.clone()).unwrap(), series);
    let check = |pointer: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect(pointer) = value;
        assert!(serde_json::from_value::<WindowSeries>(bad).is_err(), "{pointer}");
    };
    check("/span", 0.into());
    check("/measure", "events".into());
    check("/buckets/0/0", 60.into());
    check("/buckets/0/0", 0.into());
    check("/buckets/1/0", 1.into());
    check("/buckets/0/1/Amounts/beyond", 9.into());
    check("/buckets/0/1/Amounts/count", 0.into());
}

/// An event list quantised the same way, and nothing else in common.
fn naive(events: &[(i64, i64)], window_ms: i64, as_of: i64) -> Vec<i64> {
    let width = (window_ms + 59) / 60;
    let last = as_of.div_euclid(width);
    let inside = events.iter().filter(|(at, _)| {
        let bucket = at.div_euclid(width);
        bucket > last - 60 && bucket <= last
    });
    inside.map(|(_, value)| *value).collect()
}

fn events() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec((-500i64..4_000, -50i64..50), 0..60)
}

fn filled(window_ms: i64, measure: WindowMeasure, events: &[(i64, i64)]) -> WindowSeries {
    let mut series = WindowSeries::new(span(window_ms), measure);
    for (ms, value) in events {
        series.add(at(*ms), Some(&Value::Int(*value)));
    }
    series
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(60),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn reads_what_a_list_of_events_holds(
        events in events(), window_ms in 1i64..3_000, as_of in -500i64..4_500,
    ) {
        let inside = naive(&events, window_ms, as_of);
        let int = |value: usize| Ok(Value::Int(i64::try_from(value).unwrap()));
        let some = |value: Option<i64>| value.map(Value::Int).ok_or(WindowUnknown::Empty);
        let expected = [
            (WindowFunction::Count, int(inside.len())),
            (WindowFunction::Sum, Ok(Value::Int(inside.iter().sum()))),
            (WindowFunction::Min, some(inside.iter().min().copied())),
            (WindowFunction::Max, some(inside.iter().max().copied())),
            (WindowFunction::Distinct, int(inside.iter().collect::<BTreeSet<_>>().len())),
        ];
        for (function, expected) in expected {
            // Whether by a list or by a series that is read in time.
            let values: Vec<_> =
                events.iter().map(|(ms, value)| (at(*ms), Value::Int(*value))).collect();
            let listed = values.iter().map(|(at, value)| (*at, Some(value)));
            let whole = aggregate(span(window_ms), listed, function, FieldType::Int, at(as_of));
            prop_assert_eq!(&whole.value, &expected, "{:?}", function);
            let series = filled(window_ms, WindowMeasure::of(function), &events);
            let reading = series.read(function, FieldType::Int, at(as_of));
            prop_assert!(series.buckets().len() <= 60);
            if reading.complete {
                prop_assert_eq!(&reading.value, &expected, "{:?}", function);
            }
        }
    }

    #[test]
    fn merging_is_associative_and_commutative(
        events in events(), window_ms in 1i64..3_000, cuts in (0usize..60, 0usize..60),
    ) {
        for measure in [WindowMeasure::Events, WindowMeasure::Amounts, WindowMeasure::Values] {
            let low = cuts.0.min(cuts.1).min(events.len());
            let high = cuts.0.max(cuts.1).min(events.len());
            let [a, b, c] = [&events[..low], &events[low..high], &events[high..]]
                .map(|part| filled(window_ms, measure, part));
            let merged = |parts: &[&WindowSeries]| {
                let mut whole = WindowSeries::new(span(window_ms), measure);
                parts.iter().for_each(|part| whole.merge(part).unwrap());
                whole
            };
            let ab = merged(&[&a, &b]);
            let bc = merged(&[&b, &c]);
            prop_assert_eq!(merged(&[&ab, &c]), merged(&[&a, &bc]));
            prop_assert_eq!(merged(&[&a, &b, &c]), merged(&[&c, &b, &a]));
            // What one series that saw everything keeps, the merged one keeps.
            let whole = filled(window_ms, measure, &events);
            let together = merged(&[&a, &b, &c]);
            prop_assert_eq!(
                whole.buckets().collect::<Vec<_>>(), together.buckets().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn distinct_merges_like_sets(
        parts in proptest::collection::vec((0i64..400, 0i64..120), 3..4),
    ) {
        let [a, b, c] = [0, 1, 2].map(|index: usize| {
            let (from, count) = parts[index];
            let mut distinct = Distinct::default();
            (from..from + count).for_each(|value| distinct.add(&Value::Int(value)));
            distinct
        });
        let merged = |one: &Distinct, other: &Distinct| {
            let mut one = one.clone();
            one.merge(other);
            one
        };
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn encodings_come_back(events in events(), window_ms in 1i64..3_000) {
        for measure in [WindowMeasure::Events, WindowMeasure::Amounts, WindowMeasure::Values] {
            let series = filled(window_ms, measure, &events);
            let text = serde_json::to_string(&series).unwrap();
            prop_assert_eq!(serde_json::from_str::<WindowSeries>(&text).unwrap(), series);
        }
    }
}
