use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn entry(value: &str, qualifiers: &[(&str, &str)], expires: Option<i64>) -> ListEntry {
    ListEntry {
        value: value.into(),
        expires: expires.map(TimestampMs),
        comment: None,
        qualifiers: qualifiers.iter().map(|(key, text)| ((*key).into(), (*text).into())).collect(),
    }
}

fn list(entries: Vec<ListEntry>) -> NameList {
    NameList::build(&ListDefinition { entries }).unwrap()
}

fn names(values: &[&str]) -> NameList {
    list(values.iter().map(|value| entry(value, &[], None)).collect())
}

fn query(name: &str) -> NameQuery<'_> {
    NameQuery { name, ..NameQuery::default() }
}

fn score(list: &NameList, query: &NameQuery<'_>) -> f64 {
    let mut scratch = NameScratch::default();
    let score = list.score(query, TimestampMs(0), &mut scratch);
    let found = list.find(query, TimestampMs(0), &mut scratch);
    assert_eq!(found.as_ref().map_or(0.0, |found| found.score), score);
    if let Some(found) = found {
        assert_eq!(found.parts.last().map(|part| part.score), Some(found.score));
    }
    score
}

#[test]
fn spellings_of_one_name_match_and_other_names_do_not() {
    let check = |entry: &str, given: &str, low: f64, high: f64| {
        let found = score(&names(&[entry]), &query(given));
        assert!((low..=high).contains(&found), "{entry:?} and {given:?}: {found:.3}");
    };
    check("Ivan Petrov", "Ivan Petrov", 1.0, 1.0);
    check("Ivan Petrov", "PETROV, Ivan", 1.0, 1.0);
    check("Ivan Petrov", "Иван Петров", 1.0, 1.0);
    check("Ivan Petrov", "Ivan Petrow", 0.85, 0.95);
    check("Ivan Petrov", "Ivn Petrov", 0.85, 0.97);
    check("Ivan Petrov", "Ivan Sergeyevich Petrov", 0.85, 0.95);
    check("Ivan Petrov", "I. Petrov", 0.75, 0.92);
    check("Ivan Petrov", "Ivan Pavlov", 0.0, 0.65);
    check("Ivan Petrov", "Petrov", 0.0, 0.69);
    check("Ivan Petrov", "Maria Lopez", 0.0, 0.3);
    check("Mohammed Al-Rashid", "Muhammad Alrashid", 0.70, 0.97);
    check("Jürgen Müller", "Jurgen Muller", 1.0, 1.0);
    check("Zenith Trading LLC", "Zenith Trading Company Limited", 1.0, 1.0);
    check("Zenith Trading LLC", "Apex Trading LLC", 0.0, 0.6);
    check("Zenith Trading LLC", "Zenith Trading and Logistics Group", 0.8, 0.95);
    check("Orlov Shipping", "Orlova Shipping", 0.85, 0.99);
    check("Global Trading", "Global Coffee Trading", 0.0, 0.69);
}

#[test]
fn qualifiers_raise_and_lower() {
    let one = list(vec![entry(
        "Ivan Petrov",
        &[
            ("country", "RU; BY"),
            ("identifier", "P-123 456"),
            ("aliases", "The Carpenter;Vanya Petrow"),
        ],
        None,
    )]);
    let base = score(&one, &query("Ivan Petrof"));
    let with = |country: Option<&'static str>, identifier: Option<&'static str>| {
        score(&one, &NameQuery { name: "Ivan Petrof", country, identifier })
    };
    assert!(with(Some("by"), None) > base && with(Some("by"), None) < 1.0);
    assert!(with(Some("FR"), None) < base);
    assert!(with(None, Some("999")) < base);
    assert_eq!(with(Some("FR"), Some("p123456")), 1.0);
    assert_eq!(with(Some(" "), Some("-")), base);
    assert_eq!(
        score(&one, &NameQuery { name: "Nobody", country: None, identifier: Some("P123456") }),
        1.0
    );
    assert_eq!(score(&one, &query("Carpenter")), 1.0);
}

#[test]
fn scores_are_explained() {
    let one = list(vec![
        entry("Someone Else", &[], None),
        entry("Ivan Petrov", &[("country", "RU"), ("aliases", "Vanya Petrow")], None),
    ]);
    let query = NameQuery { name: "Vania Petrow", country: Some("FR"), identifier: Some("1") };
    let found = one.find(&query, TimestampMs(0), &mut NameScratch::default()).unwrap();
    assert_eq!(
        (found.entry, found.value.as_ref(), found.spelling.as_ref()),
        (1, "Ivan Petrov", "Vanya Petrow")
    );
    let kinds: Vec<_> = found.parts.iter().map(|part| part.kind).collect();
    assert_eq!(kinds, ["tokens", "alias", "country"]);
    assert_eq!(
        found.parts[0].detail,
        "vania ~ vanya 0.80, petrow = petrow (tokens 0.91, sorted 0.92)"
    );
    assert_eq!(found.parts[2].detail, "FR is not of RU");
}

#[test]
fn expired_entries_do_not_count() {
    let one = list(vec![
        entry("Ivan Petrov", &[("identifier", "1")], Some(1_000)),
        entry("Ivan Petrovich", &[], None),
    ]);
    let mut scratch = NameScratch::default();
    let mut found = |as_of: i64| {
        let query = NameQuery { name: "Ivan Petrov", country: None, identifier: Some("1") };
        one.find(&query, TimestampMs(as_of), &mut scratch).map(|found| found.entry)
    };
    assert_eq!(found(999), Some(0));
    assert_eq!(found(1_000), Some(1));
}

#[test]
fn names_every_fault() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let entries = vec![
        entry("ok", &[("aliases", "fine; --")], None),
        entry(" . ", &[], None),
        entry(&long, &[], None),
    ];
    let faults = NameList::build(&ListDefinition { entries }).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["entries[0].qualifiers.aliases", "entries[1].value", "entries[2].value"]);
    assert_eq!(names(&[]).len(), 0);
    assert_eq!(score(&names(&[]), &query("anyone")), 0.0);
}

/// Invented names out of syllables: many share tokens.
fn long_list(count: usize) -> Vec<String> {
    let syllables = ["ka", "ro", "mi", "len", "tov", "sar", "bel", "dun", "ish", "ova"];
    let word = |mut seed: usize, parts: usize| {
        let mut word = String::new();
        for _ in 0..parts {
            word.push_str(syllables[seed % 10]);
            seed /= 10;
        }
        word
    };
    (0..count)
        .map(|index| format!("{} {}", word(index * 7 % 97, 2), word(index * 7_919, 4)))
        .collect()
}

#[test]
fn long_lists_are_searched_with_bounded_work() {
    let values = long_list(20_000);
    let list = names(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let mut scratch = NameScratch::default();
    for index in (0..values.len()).step_by(1_511) {
        let found = list.find(&query(&values[index]), TimestampMs(0), &mut scratch).unwrap();
        assert_eq!(found.score, 1.0, "{}", values[index]);
        assert!(scratch.candidates.chosen().len() <= CANDIDATES_MAX);
        // One letter lost from the telling token.
        let mut typo = values[index].clone();
        typo.remove(typo.len() - 3);
        assert!(list.score(&query(&typo), TimestampMs(0), &mut scratch) > 0.85, "{typo}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(70),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_survived_and_scores_are_in_range(
        values in proptest::collection::vec("\\PC{1,20}", 0..6),
        name in any::<String>(), country in any::<String>(), identifier in any::<String>(),
    ) {
        let entries = values.iter().map(|value| {
            entry(value, &[("country", &country), ("aliases", &identifier)], None)
        });
        if let Ok(list) = NameList::build(&ListDefinition { entries: entries.collect() }) {
            let query = NameQuery { name: &name, country: Some(&country), identifier: Some(&identifier) };
            prop_assert!((0.0..=1.0).contains(&score(&list, &query)));
        }
    }

    #[test]
    fn every_name_finds_itself(values in proptest::collection::vec("[a-z]{1,6}( [a-z]{1,6}){0,3}", 1..30)) {
        let list = names(&values.iter().map(String::as_str).collect::<Vec<_>>());
        for value in &values {
            prop_assert!((score(&list, &query(value)) - 1.0).abs() < 1e-9, "{}", value);
        }
    }
}
