use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use verdict_config::definition::ListEntry;

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

fn found(list: &NameList, query: &NameQuery<'_>) -> NameScore {
    let mut scratch = NameScratch::default();
    let score = list.score(query, TimestampMs(0), &mut scratch);
    let found = list.find(query, TimestampMs(0), &mut scratch);
    assert_eq!(found.as_ref().map_or(0.0, |found| found.score), score.score);
    if let Some(found) = found {
        assert_eq!(found.parts.last().map(|part| part.score), Some(found.score));
    }
    score
}

fn score(list: &NameList, query: &NameQuery<'_>) -> f64 {
    found(list, query).score
}

/// The entries around the one that is looked for.
const OTHERS: [&str; 6] =
    ["Maria Lopez", "Zenith Trading LLC", "Hafez Suleiman", "Boris Orlov", "Ana Silva", "Kim Chol"];

fn among(entry: &str) -> NameList {
    names(&[&[entry], &OTHERS[..]].concat())
}

#[test]
fn spellings_of_one_name_match_and_other_names_do_not() {
    let check = |entry: &str, given: &str, low: f64, high: f64| {
        let found = score(&among(entry), &query(given));
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
    check("Ivan Petrov", "Pedro Gomez", 0.0, 0.3);
    check("Mohammed Al-Rashid", "Muhammad Alrashid", 0.70, 0.97);
    check("Jürgen Müller", "Jurgen Muller", 1.0, 1.0);
    check("Zenith Shipping LLC", "Zenith Shipping Company Limited", 1.0, 1.0);
    check("Zenith Shipping LLC", "Apex Shipping LLC", 0.0, 0.6);
    check("Zenith Shipping LLC", "Zenith Shipping and Logistics Group", 0.8, 0.97);
    check("Orlov Shipping", "Orlova Shipping", 0.85, 0.99);
    check("Global Trading", "Global Coffee Trading", 0.0, 0.69);
    check("First Maritime Bank", "1st Maritime Bank", 1.0, 1.0);
    check("Brigade 44", "Brigade Forty-Four", 1.0, 1.0);
    check("Nord Handel Aktiengesellschaft", "Nord Handel AG", 1.0, 1.0);
    check("Nord Handel A.G.", "Nord Handel", 1.0, 1.0);
    // A patronymic or a given name that differs is another person, however long the names are.
    check("Shamil Rashidovich Umarov", "Shamil Khasanovich Umarov", 0.0, 0.69);
    check("Abd al-Rahman Khalid al-Tamimi", "Abd al-Rahman Khalid al-Qahtani", 0.0, 0.69);
}

#[test]
fn joined_and_split_words_match() {
    for (entry, given) in [
        ("Rami Makhlouf", "RamiMakhlouf"),
        ("Rami Makhlouf", "MakhloufRami"),
        ("Rami Makhlouf", "RamiMakhluf"),
        ("Rami Makhlouf", "Rami Makh louf"),
        ("Rami Makhlouf", "Ra mi Ma kh lo uf"),
        ("RamiMakhlouf", "Makhlouf Rami"),
        ("JSC ARGUMENT", "JSCARGUMENT"),
        ("JSC ARGUMENT", "ARGUMENTJSC"),
        ("JSC ARGUMENT", "ARGUMENT JSC"),
        ("ARGUMENT", "J.S.C. ARGUMENT"),
        ("Sergey Viktorovich Orlenko", "OrlenkoSergeyViktorovich"),
        ("Nordhandel Group", "Nord Handel Group"),
        ("Van der Berg Metals", "Vanderberg Metals"),
        ("L.X.C Aviation", "LXC Aviation"),
    ] {
        let found = score(&among(entry), &query(given));
        assert!(found >= MATCH_FROM, "{entry:?} and {given:?}: {found:.3}");
    }
    for (entry, given) in [("A.B.C. Company", "C.B.D. Company"), ("Rami Makhlouf", "RamiSuleiman")]
    {
        let found = score(&among(entry), &query(given));
        assert!(found < MATCH_FROM, "{entry:?} and {given:?}: {found:.3}");
    }
}

#[test]
fn a_disguised_name_matches() {
    let list = among("Rami Makhlouf");
    for given in [
        "Ra\u{200b}mi Makh\u{200b}louf",
        "R a m i M a k h l o u f",
        "R.a.m.i M-a-k-h-l-o-u-f",
        "R.a.m.i. Makhlouf",
        "R\u{ad}ami Makh\u{ad}louf",
        "Ra\u{34f}mi Makh\u{2060}louf",
        "\u{202e}Rami Makhlouf\u{202c}",
        "\u{feff}Rami\u{180e} Makhlouf\u{fe0f}",
        "Ra\u{e0061}mi Makhlouf",
        "R\u{301}a\u{302}m\u{303}i\u{304} Makhlouf",
        "Ｒａｍｉ Ｍａｋｈｌｏｕｆ",
        "𝓡𝓪𝓶𝓲 𝕄𝕒𝕜𝕙𝕝𝕠𝕦𝕗",
        "Ⓡⓐⓜⓘ Makhlouf",
        "Rаmi Mаkhlоuf",
        "Ramі Маkhlouf",
        "Rαmi Mαkhlουf",
        "R4mi M4khl0uf",
        "Rami Makh1ouf",
        "R@mi Makhlouf",
        "Rami Rami Makhlouf Makhlouf",
        "Rami Makhlouf Rami Makhlouf",
        "Mr. Rami Makhlouf",
        "one two three four five six seven eight nine ten eleven twelve Rami Makhlouf",
        "Rami Makhlouf alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu RamiMakhlouf",
        "R 😀 a 😀 m 😀 i Makhlouf",
        "rami\tmakhlouf\r\n",
        "Rami_Makhlouf",
        "Rami/Makhlouf",
    ] {
        let found = found(&list, &query(given));
        assert!(found.score >= MATCH_FROM, "{given:?}: {found:?}");
        assert_eq!(found.gap, None, "{given:?}");
    }
    // A Latin letter in a Cyrillic name.
    let found = score(&among("Иван Петров"), &query("Ивaн Пeтpoв"));
    assert!(found >= 0.95, "{found}");
}

#[test]
fn names_that_cannot_be_compared_have_a_gap() {
    let latin = among("Rami Makhlouf");
    let gap = |list: &NameList, name: &str| found(list, &query(name)).gap;
    for empty in ["", "   ", "...", "\u{200b}", "—", "😀"] {
        assert_eq!(gap(&latin, empty), Some(NameGap::Empty), "{empty:?}");
    }
    for read in [
        "محمد العبيدي",
        "דוד כהן",
        "山田太郎",
        "ヤマダ タロウ",
        "김철수",
        "ประยุทธ์ จันทร์",
        "राजेश शर्मा",
        "Արամ Պետրոսյան",
        "გიორგი მაისურაძე",
        "ហ៊ុន សែន",
    ] {
        assert_eq!(gap(&latin, read), Some(NameGap::Script), "{read:?}");
    }
    for folded in ["Иван Сидоров", "Νίκος Παππάς", "Đặng Văn"] {
        assert_eq!(gap(&latin, folded), None, "{folded:?}");
    }
    // The score of a read name is a lower bound, and a folded one is exact.
    assert!(score(&among("Barack Obama"), &query("バラク・オバマ")) >= MATCH_FROM);
    assert!(score(&among("Barak Obama"), &query("Բարակ Օբամա")) >= 0.9);
    assert!(score(&among("Barak Obama"), &query("ბარაკ ობამა")) >= 0.9);
    // Entries in the same script can be compared, and an alias is enough.
    let both = list(vec![entry("Rami Makhlouf", &[("aliases", "رامي مخلوف")], None)]);
    assert_eq!(gap(&both, "محمد العبيدي"), None);
    assert_eq!(found(&both, &query("رامي مخلوف")), NameScore { score: 1.0, gap: None });
    assert_eq!(gap(&both, "山田太郎"), Some(NameGap::Script));
    // A list in another script cannot be compared with Latin names, and says so when it is compiled.
    let arabic = names(&["رامي مخلوف"]);
    assert_eq!(gap(&arabic, "Rami Makhlouf"), Some(NameGap::Script));
    assert_eq!(arabic.findings().len(), 1);
    assert!(latin.findings().is_empty() && both.findings().is_empty());
    assert_eq!(gap(&names(&["رامي مخلوف", "Maria Lopez"]), "Rami Makhlouf"), None);
    // Expired entries need no comparison.
    let expired = list(vec![entry("Rami Makhlouf", &[], Some(0))]);
    assert_eq!(gap(&expired, "山田太郎"), None);
    assert_eq!(gap(&names(&[]), ""), None);
    // An identifier that is equal is certain.
    let known = list(vec![entry("Rami Makhlouf", &[("identifier", "P1")], None)]);
    let asked = NameQuery { name: "...", country: None, identifier: Some("P-1") };
    assert_eq!(found(&known, &asked), NameScore { score: 1.0, gap: None });
}

#[test]
fn a_name_that_is_cut_has_a_gap_unless_it_is_found() {
    let list = among("Rami Makhlouf");
    let words: Vec<String> = (0..60).map(|number| format!("word{number}x")).collect();
    let behind = format!("{} Rami Makhlouf", words.join(" "));
    assert_eq!(found(&list, &query(&behind)).gap, Some(NameGap::Cut));
    let before = found(&list, &query(&format!("Rami Makhlouf {}", words.join(" "))));
    assert!(before.score >= MATCH_FROM, "{before:?}");
    assert_eq!(found(&list, &query(&"x".repeat(3_000))).gap, Some(NameGap::Cut));
    assert_eq!(found(&list, &query(&"x ".repeat(3_000))).gap, Some(NameGap::Cut));
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
    let query = NameQuery { name: "Vania S. Petrow", country: Some("FR"), identifier: Some("1") };
    let found = one.find(&query, TimestampMs(0), &mut NameScratch::default()).unwrap();
    assert_eq!(
        (found.entry, found.value.as_ref(), found.spelling.as_ref()),
        (1, "Ivan Petrov", "Vanya Petrow")
    );
    let kinds: Vec<_> = found.parts.iter().map(|part| part.kind).collect();
    assert_eq!(kinds, ["words", "alias", "country"]);
    assert_eq!(found.parts[0].detail, "vania ~ vanya 0.94, petrow = petrow; only in the query: s");
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
    assert!(names(&[]).is_empty());
    assert_eq!(score(&names(&[]), &query("anyone")), 0.0);
}

#[test]
fn the_first_version_scores_as_before() {
    let definition = ListDefinition { entries: vec![entry("Rami Makhlouf", &[], None)] };
    let list = NameList::build_for(&definition, EvaluationVersion::V1).unwrap();
    let mut scratch = NameScratch::default();
    for (name, expected) in
        [("RamiMakhlouf", 0.0), ("", 0.0), ("山田太郎", 0.0), ("Rami Makhlouf", 1.0)]
    {
        let found = list.score(&query(name), TimestampMs(0), &mut scratch);
        assert_eq!(found, NameScore { score: expected, gap: None }, "{name}");
    }
}

/// Invented names out of syllables: many share words.
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
        // One letter lost from the telling word.
        let mut typo = values[index].clone();
        typo.remove(typo.len() - 3);
        assert!(list.score(&query(&typo), TimestampMs(0), &mut scratch).score > 0.85, "{typo}");
        // Joined, in both orders.
        let (one, other) = values[index].split_once(' ').unwrap();
        for joined in [format!("{one}{other}"), format!("{other}{one}")] {
            let found = list.score(&query(&joined), TimestampMs(0), &mut scratch).score;
            assert!(found >= 0.95, "{joined}: {found}");
        }
    }
}

#[test]
fn what_is_charged_is_what_was_done_and_too_much_is_told() {
    let values = long_list(2_000);
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    let name = "Abd al-Rahman ibn Khalid ibn Yusuf al-Tamimi al-Makki";
    values.extend([name; 48]);
    let list = names(&values);
    let mut scratch = NameScratch::default();
    let mut charged = |list: &NameList, name: &str| {
        let found = list.score(&query(name), TimestampMs(0), &mut scratch);
        let spent = list.spent_units(&scratch);
        assert!(spent <= list.cost_units(name.len() as u64), "{name}: {spent}");
        (found.gap, spent)
    };
    // Ordinary names are far from the bounds, long ones and those of many entries too.
    for ordinary in [name, "Abd al-Rahman ibn Khaled ibn Yousef al-Tamimy al-Maki", "Karo Mitov"] {
        let (gap, spent) = charged(&list, ordinary);
        assert_eq!(gap, None, "{ordinary}: {spent}");
        assert!(spent < 400_000, "{ordinary}: {spent}");
    }
    // Words that are all like each other need a comparison letter by letter each.
    let word = |at: usize, letter: &str| {
        let mut word = "abcdef".repeat(10);
        word.replace_range(at..=at, letter);
        word
    };
    let values: Vec<String> =
        (0..48).map(|at| [word(at, "x"), word(at + 3, "y"), word(at + 7, "z")].join(" ")).collect();
    let list = names(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let asked: Vec<String> = (0..24).map(|at| word(at, "g")).collect();
    assert_eq!(charged(&list, &asked.join(" ")).0, Some(NameGap::Cut));
}

/// Characters that show nothing.
const INVISIBLE: [char; 8] =
    ['\u{200b}', '\u{ad}', '\u{34f}', '\u{2060}', '\u{200f}', '\u{feff}', '\u{fe0f}', '\u{e0041}'];

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

    #[test]
    fn invisible_characters_change_nothing(
        value in "[A-Za-z]{2,8}( [A-Za-z]{2,8}){0,3}",
        name in "[A-Za-z]{2,8}( [A-Za-z]{2,8}){0,3}",
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..INVISIBLE.len()), 0..12),
    ) {
        let list = names(&[&value]);
        let mut hidden: Vec<char> = name.chars().collect();
        for (place, which) in places {
            hidden.insert(place.index(hidden.len() + 1), INVISIBLE[which]);
        }
        let hidden: String = hidden.into_iter().collect();
        prop_assert_eq!(found(&list, &query(&name)), found(&list, &query(&hidden)), "{:?}", hidden);
    }

    #[test]
    fn spaces_hide_nobody(words in proptest::collection::vec("[a-z]{3,8}", 2..4), cut in 1usize..4) {
        let name = words.join(" ");
        let list = names(&[&name]);
        let joined = words.concat();
        let pieces: Vec<String> =
            joined.as_bytes().chunks(cut).map(|piece| String::from_utf8_lossy(piece).into()).collect();
        for hidden in [joined.clone(), pieces.join(" "), pieces.join(". ")] {
            let found = score(&list, &query(&hidden));
            prop_assert!(found >= MATCH_FROM, "{} in {}: {}", hidden, name, found);
        }
    }

    #[test]
    fn words_around_a_name_hide_nobody(
        front in proptest::collection::vec("[b-z]{4,9}", 0..12),
        behind in proptest::collection::vec("[b-z]{4,9}", 0..12),
    ) {
        let list = among("Rami Makhlouf");
        let name = format!("{} Rami Makhlouf {}", front.join(" "), behind.join(" "));
        let found = found(&list, &query(&name));
        prop_assert!(found.score >= MATCH_FROM || found.gap.is_some(), "{}: {:?}", name, found);
    }
}
