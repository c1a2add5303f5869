use super::*;

#[test]
fn words_of_yaml_1_1_are_strings_and_places_are_known() {
    let text = "a: NO\nb:\n  - on\n  - {c: 1.5, d: true}\ne: ~\nf: 16\ng: \"1\"\n";
    let YamlText { json, marks, .. } = read("x.yaml", text).unwrap();
    let expected = serde_json::json!({
        "a": "NO", "b": ["on", {"c": 1.5, "d": true}], "e": null, "f": 16, "g": "1"
    });
    assert_eq!(json, expected);
    assert_eq!(place(&marks, "b[1].d"), Some((4, 17)));
    assert_eq!(place(&marks, "b[0]"), Some((3, 5)));
    assert_eq!(place(&marks, "b[1].nothing.there"), Some((4, 5)));
}

#[test]
fn faults_of_syntax_name_their_place() {
    for (text, line) in [("a: 1\na: 2\n", 2), ("a: [1\nb: 2\n", 2), ("a: \"x\n", 2)] {
        let fault = &read("x.yaml", text).unwrap_err()[0];
        assert_eq!(fault.code, Code::InvalidSyntax, "{text:?}");
        assert!(fault.line.is_some_and(|found| found <= line), "{text:?}: {fault}");
    }
}

#[test]
fn what_yaml_would_lose_is_refused() {
    let check = |text: &str, place: (u32, u32), part: &str| {
        let faults = read("x.yaml", text).expect_err(text);
        let fault = &faults[0];
        assert!(fault.message.contains(part), "{text:?}: {fault}");
        assert_eq!((fault.line, fault.column), (Some(place.0), Some(place.1)), "{text:?}: {fault}");
        for word in ["mapping value", "scalar", "anchor_id", "Policy", "eof", "i32", "struct"] {
            assert!(!fault.message.contains(word), "{fault}");
        }
    };
    check("when: ! vip\n", (1, 7), "'! vip'");
    check("when: !not vip\n", (1, 7), "begins a YAML tag");
    check("when: !!str 5\n", (1, 7), "begins a YAML tag");
    check("when: !<tag:x> vip\n", (1, 7), "begins a YAML tag");
    check("a:\n  - !x {b: 1}\n", (2, 5), "begins a YAML tag");
    check("!x a: 1\n", (1, 1), "begins a YAML tag");
    check("when: &vip amount > 5\n", (1, 12), "begins an anchor");
    check("when: *vip\n", (1, 7), "begins an alias");
    check("when: # amount > 5\ntable: t\n", (1, 5), "`when`: the value is missing");
    check("a:\n  - \n  - 1\n", (2, 5), "the value is missing");
    check("a: {b, c: 1}\n", (1, 6), "the value is missing");
    check("a: 1\nb: 2\na: 3\n", (3, 1), "first in line 1");
    check("a: 1\n---\na: 2\n", (2, 1), "second document");
    check("%YAML 1.1\n---\na: yes\n", (1, 1), "directive");
    check("mcc: 0742\n", (1, 6), "begins with a zero");
    check("a: 0x10\n", (1, 4), "in decimal digits");
    check("a: 0o17\n", (1, 4), "in decimal digits");
    check("a: 1_000\n", (1, 4), "in decimal digits");
    check("a: .inf\n", (1, 4), "finite");
    check("a: 1e999\n", (1, 4), "more digits");
    check("a: 1.123456789012345678\n", (1, 4), "put it in quotes");
    check("a: 123456789012345678901\n", (1, 4), "put it in quotes");
    check("a: >5\nb: 1\n", (1, 1), "there is none");
    check("? [a, b]\n: 1\n", (1, 3), "a key must be a text");
    check(": 1\n", (1, 1), "no key");
    check("", (1, 1), "empty");
    check("# only a comment\n", (1, 1), "empty");
    check("<<: 5\na: 1\n", (1, 1), "takes the keys of a mapping");
    check("a: &x [*x]\n", (1, 8), "inside of what it names");
}

#[test]
fn texts_that_only_look_special_stay_texts() {
    let check = |text: &str, expected: serde_json::Value| {
        assert_eq!(read("x.yaml", &format!("a: {text}\n")).unwrap().json["a"], expected, "{text}");
    };
    check("12:30", "12:30".into());
    check("2026-01-01", "2026-01-01".into());
    check("1,000", "1,000".into());
    check("1.2.3", "1.2.3".into());
    check("10k", "10k".into());
    check("yes", "yes".into());
    check("\"! vip\"", "! vip".into());
    check("a == \"#1\" # note", "a == \"#1\"".into());
    check("-amount > 5", "-amount > 5".into());
    check(".5", 0.5.into());
    check("+5", 5.into());
    check("1e3", 1000.0.into());
    check("0.10", 0.1.into());
    check("18446744073709551615", 18_446_744_073_709_551_615_u64.into());
    check("\u{661}\u{660}", "\u{661}\u{660}".into());
}

#[test]
fn aliases_and_merge_keys_are_resolved_within_bounds() {
    let text = "base: &b {x: 1, y: 2}\na:\n  <<: *b\n  y: 3\nc: *b\nd: {<<: [{z: 1}, *b]}\n";
    let json = read("x.yaml", text).unwrap().json;
    let expected = serde_json::json!({
        "base": {"x": 1, "y": 2}, "a": {"y": 3, "x": 1}, "c": {"x": 1, "y": 2},
        "d": {"z": 1, "x": 1, "y": 2},
    });
    assert_eq!(json, expected);
    let mut text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..10 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
    }
    let faults = read("x.yaml", &text).unwrap_err();
    assert!(faults[0].message.contains("too many or too deep"), "{}", faults[0]);
    let deep = format!("a: {}1{}\n", "[".repeat(150), "]".repeat(150));
    assert!(read("x.yaml", &deep).is_err());
}

#[test]
fn a_comment_that_may_belong_to_the_value_is_a_finding() {
    let remarks = |text: &str| read("x.yaml", text).unwrap().remarks.len();
    assert_eq!(remarks("a: see #12\nb: x # note\nc: y #\n"), 1);
    assert_eq!(remarks("a: 'see #12'\nb: a#b\n"), 0);
}

#[test]
fn what_the_writer_writes_is_read_again() {
    let texts = [
        "",
        "~",
        "null",
        "Null",
        "0742",
        "0x10",
        "0b1",
        "0o7",
        "1_000",
        "! vip",
        "!x",
        "&a",
        "*a",
        "# x",
        "a #b",
        "a: b",
        "a:",
        "- a",
        "-",
        "? a",
        "?",
        "'",
        "\"",
        "'a' b",
        "%x",
        "@x",
        "`x",
        "1e3",
        "12:30",
        "yes",
        "on",
        "true",
        "TRUE",
        "<<",
        "=",
        " lead",
        "trail ",
        "two\nlines\n",
        "\n",
        "tab\tin",
        "\ttab",
        "\u{feff}x",
        "\u{85}",
        "---",
        "...",
        "--- x",
        "1.123456789012345678",
        ".inf",
        "|",
        ">",
        ">5",
        "[",
        "{a}",
        ",",
        "1,000",
        "+5",
        ".5",
        "5.",
        "2026-01-01",
        "\\",
        "\u{1}",
        "\r",
        "a\r\nb",
        "18446744073709551616",
        "-0",
        "00",
        "é\u{2028}x",
    ];
    for text in texts {
        let object = serde_json::json!({ "a": text, "b": [text, { text: text }] });
        let written = serde_saphyr::to_string(&object).unwrap();
        let read = read("x.yaml", &written).map(|found| found.json);
        assert_eq!(read, Ok(object), "{text:?} is written as {written}");
    }
}
