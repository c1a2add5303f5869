//! A catalogue folder read, changed and written back.

use std::collections::BTreeMap;

use serde_json::json;
use verdict_config::catalogue::{plan_files, read_files, write_files};
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};

const RULES: &str = r#"# a comment that a save keeps
rule_set: risk
flow: onboarding
rules:
  - id: words
    category: prohibited
    severity: high
    when: keywords("gambling", description) && country != "NO"
    unknown: review
    then: { points: 300, outcome: review, reason: KW_GAMBLING }
    tests:
      - given: { description: "online sports betting", country: NO }
        expect: { hit: false }
"#;

const FLOW: &str = r#"flow: onboarding
unit: name
fields:
  name: { type: string, need: required, max_chars: 300 }
  description: { type: string, need: expected }
  country: { type: symbol }
rules: [risk]
classify: { scheme: naics2022, model: { flag: industry-model }, delta: 0.10 }
score: { base: 0, levels: { medium: 300, high: 600, critical: 850 } }
record: durable
"#;

const FLAGS: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "industry-model": {
      "state": "ENABLED",
      "variants": { "on": "industry", "off": "none" },
      "defaultVariant": "on"
    }
  }
}
"#;

fn folder() -> BTreeMap<String, Vec<u8>> {
    [
        ("rules/risk.yaml", RULES),
        ("flows/onboarding.yaml", FLOW),
        ("flags/models.flagd.json", FLAGS),
        ("lists/gambling.csv", "value,comment\nsports betting,plain\ncasino,\n"),
        ("tables/codes.csv", "label,mcc\n72,5812\n"),
        ("README.md", "not an object"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .collect()
}

fn id(kind: ObjectKind, name: &str) -> ObjectId {
    ObjectId { kind, name: ObjectName::new(kind, name).unwrap() }
}

#[test]
fn a_folder_becomes_objects_and_the_same_folder_again() {
    let text = read_files(&folder()).unwrap();
    let rules = &text.objects[&id(ObjectKind::RuleSet, "risk")].body;
    assert_eq!(rules["rules"][0]["tests"][0]["given"]["country"], json!("NO"));
    assert_eq!(text.objects[&id(ObjectKind::Flag, "industry-model")].body["state"], "ENABLED");

    let objects: BTreeMap<_, _> =
        text.objects.iter().map(|(id, object)| (id.clone(), object.body.clone())).collect();
    let again = read_files(&write_files(&objects).unwrap()).unwrap();
    assert!(again.objects.keys().eq(text.objects.keys()), "{:?}", again.objects.keys());
    // What was written means the same, so that a second export plans nothing.
    let objects_again: BTreeMap<_, _> =
        again.objects.iter().map(|(id, object)| (id.clone(), object.body.clone())).collect();
    assert_eq!(plan_files(&text, &objects).unwrap(), Default::default());
    assert_eq!(plan_files(&text, &objects_again).unwrap(), Default::default());
}

#[test]
fn a_change_touches_only_its_own_file() {
    let text = read_files(&folder()).unwrap();
    let mut objects: BTreeMap<_, _> =
        text.objects.iter().map(|(id, object)| (id.clone(), object.body.clone())).collect();
    objects.get_mut(&id(ObjectKind::Flag, "industry-model")).unwrap()["state"] = json!("DISABLED");
    objects.remove(&id(ObjectKind::Table, "codes"));
    let plan = plan_files(&text, &objects).unwrap();
    assert_eq!(plan.writes.keys().collect::<Vec<_>>(), ["flags/models.flagd.json"]);
    assert_eq!(plan.deletes.iter().collect::<Vec<_>>(), ["tables/codes.csv"]);
}

#[test]
fn every_fault_of_every_file_is_placed() {
    let mut files = folder();
    let broken_rules =
        RULES.replace("severity: high", "severity: highest").replace("points: 300", "points: 3000");
    files.insert("rules/risk.yaml".to_owned(), broken_rules.into_bytes());
    files.insert(
        "flows/onboarding.yaml".to_owned(),
        FLOW.replace("need: expected", "neeed: x").into_bytes(),
    );
    files.insert("lists/gambling.csv".to_owned(), b"value,expires\nx,soon\n".to_vec());
    files.insert("lists/other.txt".to_owned(), b"x".to_vec());
    let faults = read_files(&files).unwrap_err();
    let places: Vec<_> = faults
        .iter()
        .map(|fault| (fault.file.as_deref().unwrap(), fault.line.unwrap(), fault.code))
        .collect();
    let expected = [
        ("flows/onboarding.yaml", 5, Code::UnknownKey),
        ("lists/gambling.csv", 2, Code::InvalidValue),
        ("lists/other.txt", 1, Code::InvalidName),
        ("rules/risk.yaml", 7, Code::InvalidValue),
    ];
    assert_eq!(places, expected, "{faults:#?}");
}
