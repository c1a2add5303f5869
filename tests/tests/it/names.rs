//! Names that are disguised or cannot be compared never slip past a list of sanctions.

use serde_json::{Value as Json, json};

use crate::process::Node;

const FILES: &[(&str, &str)] = &[
    (
        "flows/onboarding.yaml",
        r#"flow: onboarding
unit: name
fields:
  name: { type: string, need: required, max_chars: 400 }
  owners: { type: set, max_items: 16, max_chars: 200 }
rules: [sanctions]
score: { base: 100, levels: { medium: 300, high: 600, critical: 850 } }
"#,
    ),
    (
        "rules/sanctions.yaml",
        r#"rule_set: sanctions
flow: onboarding
rules:
  - id: name_sanctioned
    category: sanctions
    severity: critical
    when: name_match("sanctioned", name) >= 0.70
    unknown: review
    then: { points: 700, outcome: decline, reason: SANCTIONED }
  - id: owner_sanctioned
    category: sanctions
    severity: critical
    when: has(owners) && name_match("sanctioned", owners) >= 0.70
    unknown: review
    then: { points: 700, outcome: decline, reason: OWNER_SANCTIONED }
"#,
    ),
    ("lists/sanctioned.csv", "value\nRami Makhlouf\nJSC ARGUMENT\n"),
];

/// The reason of a code.
fn reason<'a>(answer: &'a Json, code: &str) -> &'a Json {
    let reasons = answer["reasons"].as_array().expect("reasons");
    let found = reasons.iter().find(|reason| reason["code"] == code);
    found.unwrap_or_else(|| panic!("no {code} in {answer}"))
}

#[test]
fn no_disguise_and_no_script_slips_past_a_list() {
    let node = Node::start(FILES);
    let decide = |input: Json| {
        let answer = node.post("/v1/decisions/onboarding", &json!({ "input": input }));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    for name in [
        "",
        "...",
        "محمد العبيدي",
        "Արամ Պետրոսյան",
        "გიორგი მაისურაძე",
        "山田太郎",
        "RamiMakhlouf",
        "JSCARGUMENT",
        "ARGUMENTJSC",
        "Ra\u{200b}mi Makh\u{200b}louf",
        "R a m i M a k h l o u f",
        "one two three four five six seven eight nine ten eleven twelve Rami Makhlouf",
        &format!("{} Rami Makhlouf", "word ".repeat(40)),
    ] {
        let answer = decide(json!({ "name": name }));
        assert_ne!(answer["outcome"], "approve", "{name:?}: {answer}");
        let evidence = &reason(&answer, "SANCTIONED")["evidence"];
        for key in ["entry", "score", "explanation"] {
            assert!(!evidence[key].is_null(), "{name:?}: {evidence}");
        }
    }
    let answer = decide(json!({ "name": "Maria Lopez", "owners": ["Ana Silva"] }));
    assert_eq!(answer["outcome"], "approve", "{answer}");
    let answer = decide(json!({ "name": "Maria Lopez", "owners": ["Ana Silva", "MakhloufRami"] }));
    assert_eq!(answer["outcome"], "decline", "{answer}");
    let evidence = &reason(&answer, "OWNER_SANCTIONED")["evidence"];
    assert_eq!((&evidence["field"], &evidence["item"]), (&json!("owners"), &json!("MakhloufRami")));
    assert_eq!(evidence["entry"], "Rami Makhlouf");
    let answer = decide(json!({ "name": "Maria Lopez", "owners": ["Ana Silva", "山田太郎"] }));
    assert_eq!(answer["outcome"], "review", "{answer}");
}
