use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use verdict_config::definition::ListEntry;

use super::*;

fn list(values: &[&str]) -> ListDefinition {
    let entries = values.iter().map(|value| entry(value, None)).collect();
    ListDefinition { entries }
}

fn entry(value: &str, expires: Option<i64>) -> ListEntry {
    ListEntry {
        value: value.into(),
        expires: expires.map(TimestampMs),
        comment: None,
        qualifiers: Default::default(),
    }
}

fn found(values: &[&str], text: &str) -> Vec<String> {
    let definition = list(values);
    let matcher = KeywordMatcher::build(&[(0, &definition)]).unwrap();
    let hits = matcher.scan(text, TimestampMs(0), &mut KeywordScratch::default());
    let terms: Vec<_> = matcher.terms(&hits, 0).map(|term| term.to_string()).collect();
    assert_eq!(hits.contains(0), !terms.is_empty());
    assert_eq!(hits.is_empty(), terms.is_empty());
    terms
}

fn terms<'m>(matcher: &'m KeywordMatcher, hits: &'m KeywordHits, list: u32) -> Vec<&'m str> {
    matcher.terms(hits, list).map(|term| &**term).collect()
}

#[test]
fn finds_whole_words_and_phrases() {
    let check = |values: &[&str], text: &str, expected: &[&str]| {
        assert_eq!(found(values, text), expected, "{values:?} in {text:?}");
    };
    check(&["casino"], "Best CASINO in town", &["casino"]);
    check(&["casino"], "Best casinos in town", &[]);
    check(&["casino"], "microcasino", &[]);
    check(&["casino"], "casino", &["casino"]);
    check(&["casino"], "(casino)", &["casino"]);
    check(&["casino"], "on-line-casino", &["casino"]);
    check(&["casino"], "casino4you", &[]);
    check(&["casino"], "cas\u{200b}ino", &["casino"]);
    check(&["sports betting"], "Sports\n  Betting!", &["sports betting"]);
    check(&["sports-betting"], "sports betting", &["sports-betting"]);
    check(&["sports betting"], "sports, betting", &[]);
    check(&["bet"], "alphabet bet, beta", &["bet"]);
    check(&["c++"], "we teach c++14", &["c++"]);
    check(&[".onion"], "abc.onion site", &[".onion"]);
    check(&["café"], "CAFE BAR", &["café"]);
    check(&["cafe"], "un café", &["cafe"]);
    check(&["оружие"], "Продаем ОРУЖИЕ.", &["оружие"]);
    check(&["оружие"], "оружием", &[]);
    check(&["赌博"], "在线赌博网站", &["赌博"]);
    check(&["casino"], "casino赌场", &["casino"]);
    check(&["แบบ"], "กแบบข", &["แบบ"]);
    check(&["x"], "", &[]);
    check(&[], "anything", &[]);
}

#[test]
fn overlapping_entries_are_all_found_and_evidence_is_bounded() {
    let terms = found(
        &["new york", "york stock", "new york stock exchange", "exchange"],
        "New York Stock Exchange",
    );
    assert_eq!(terms, ["new york", "york stock", "new york stock exchange", "exchange"]);
    let many = ["a", "b", "c", "d", "e", "f"];
    assert_eq!(found(&many, "f e d c b a a b"), ["f", "e", "d", "c"]);
    assert_eq!(found(&["a", "b"], "a a a b a"), ["a", "b"]);
}

#[test]
fn terms_come_in_the_order_of_their_ends_whatever_finds_them() {
    let terms = found(
        &["b", "a b", "a b c", "+b", "a", "赌 a", "a longer word than eight"],
        "赌 a b+b a b c",
    );
    assert_eq!(terms, ["赌 a", "a", "a b", "b"]);
    let terms = found(&["b c", "+ a b c", "a b c", "c"], "+ a b c");
    assert_eq!(terms, ["+ a b c", "a b c", "b c", "c"]);
    let nested = ["extraordinarily", "extraordinarily long", "extraordinarily long word"];
    assert_eq!(found(&nested, "extraordinarily long wordy"), &nested[..2]);
}

#[test]
fn lists_are_told_apart_and_share_entries() {
    let (one, two, three) = (list(&["gun", "both"]), list(&["both"]), list(&["none"]));
    let matcher = KeywordMatcher::build(&[(70, &one), (3, &two), (1, &three)]).unwrap();
    assert_eq!(matcher.len(), 3);
    let mut scratch = KeywordScratch::default();
    let hits = matcher.scan("both", TimestampMs(0), &mut scratch);
    assert!(hits.contains(70) && hits.contains(3) && !hits.contains(1) && !hits.contains(9_999));
    assert_eq!(hits.words(), [1 << 3, 1 << 6]);
    assert_eq!(terms(&matcher, &hits, 3), ["both"]);
    // The scratch and the hits of one scan leave nothing behind for the next.
    let mut reused = hits;
    matcher.scan_into("a gun", TimestampMs(0), &mut scratch, &mut reused);
    assert!(reused.contains(70) && !reused.contains(3));
    assert_eq!(terms(&matcher, &reused, 70), ["gun"]);
    matcher.scan_into("nothing", TimestampMs(0), &mut scratch, &mut reused);
    assert!(reused.is_empty() && !reused.contains(70));
}

#[test]
fn entries_expire_at_the_time_of_the_decision() {
    let definition = ListDefinition {
        entries: vec![entry("word", Some(1_000)), entry("twice", Some(5)), entry("Twice", None)],
    };
    let matcher = KeywordMatcher::build(&[(0, &definition)]).unwrap();
    let mut scratch = KeywordScratch::default();
    let mut check = |text: &str, as_of: i64, expected: bool| {
        let hits = matcher.scan(text, TimestampMs(as_of), &mut scratch);
        assert_eq!(hits.contains(0), expected, "{text} at {as_of}");
    };
    check("a word", 999, true);
    check("a word", 1_000, false);
    check("twice", 1_000, true);
}

#[test]
fn names_every_fault() {
    let long = "x".repeat(KEYWORD_BYTES_MAX + 1);
    let definition = list(&["ok", " - ", &long, "\u{200b}"]);
    let faults =
        KeywordMatcher::build(&[(4, &definition), (LIST_IDS_MAX, &definition)]).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "lists[4].entries[1].value",
            "lists[4].entries[2].value",
            "lists[4].entries[3].value",
            "lists[65536]"
        ]
    );
}

#[test]
fn the_compact_automaton_finds_the_same() {
    let values: Vec<String> =
        (0..20_000).map(|index| format!("#entry {:x}", index * 7_919)).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let definition = list(&values);
    let matcher = KeywordMatcher::build(&[(0, &definition)]).unwrap();
    assert!(matches!(matcher.automaton, Engine::Compact(_)));
    let mut scratch = KeywordScratch::default();
    for value in values.iter().step_by(997) {
        let hits = matcher.scan(&format!("an {value}!"), TimestampMs(0), &mut scratch);
        assert_eq!(terms(&matcher, &hits, 0), [*value]);
        assert!(matcher.scan(&format!("{value}z"), TimestampMs(0), &mut scratch).is_empty());
    }
}

/// Character by character, with nothing shared with the matcher but the normal form: the terms found,
/// by where they end, longer ones first.
fn naive(values: &[String], text: &str) -> Vec<String> {
    let text: Vec<char> = normalise(text).chars().collect();
    let mut places = Vec::new();
    for value in values {
        let normal: Vec<char> = normalise(value).chars().collect();
        for start in (0..text.len()).filter(|start| text[*start..].starts_with(&normal)) {
            let end = start + normal.len();
            let joined =
                |left: usize, right: usize| is_word_char(text[left]) && is_word_char(text[right]);
            if (start == 0 || !joined(start - 1, start))
                && (end == text.len() || !joined(end - 1, end))
            {
                places.push((end, start, value.trim().to_owned()));
            }
        }
    }
    // Of entries with one normal form the first speaks: the order is kept where places are the same.
    places.sort_by_key(|(end, start, _)| (*end, *start));
    places.dedup_by_key(|(end, start, _)| (*end, *start));
    let mut terms: Vec<String> = Vec::new();
    for (_, _, term) in places {
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    terms.truncate(TERMS_MAX);
    terms
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn finds_what_a_naive_search_finds(
        values in proptest::collection::vec("[abé赌 .\\-]{1,4}", 1..8),
        text in "[abABéÉ赌 .,\\-1\u{200b}]{0,90}",
    ) {
        let values: Vec<String> =
            values.into_iter().filter(|value| !normalise(value).is_empty()).collect();
        let borrowed: Vec<&str> = values.iter().map(String::as_str).collect();
        prop_assert_eq!(found(&borrowed, &text), naive(&values, &text));
    }

    #[test]
    fn long_words_and_phrases_are_found_too(
        values in proptest::collection::vec("([ab]{1,2}|abcdefgh|abcdefghi|[+赌])( ([ab]|abcdefghi?|[+]a)){0,3}", 1..8),
        text in "( ?([ab]{1,2}|abcdefghi?|[+赌é])){0,30}",
    ) {
        let borrowed: Vec<&str> = values.iter().map(String::as_str).collect();
        prop_assert_eq!(found(&borrowed, &text), naive(&values, &text));
    }

    #[test]
    fn any_text_is_survived(values in proptest::collection::vec(any::<String>(), 0..4), text in any::<String>()) {
        let definition = list(&values.iter().map(String::as_str).collect::<Vec<_>>());
        if let Ok(matcher) = KeywordMatcher::build(&[(0, &definition)]) {
            let _ = matcher.scan(&text, TimestampMs(i64::MIN), &mut KeywordScratch::default());
        }
    }
}
