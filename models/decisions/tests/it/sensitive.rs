//! Sensitive fields: never in the answer, and in the record only in the part that is encrypted.

use serde_json::{Value as Json, json};
use verdict_config::Value;
use verdict_decisions::explain::{ExplainOptions, explain};
use verdict_decisions::record::DecisionRecord;
use verdict_decisions::replay::{ReplayError, ReplayOptions, replay};
use verdict_rules::Scratch;

use super::support::{World, fields};

const SECRETS: [&str; 4] = ["zarkov", "4111", "7777", "bronstein"];

fn world() -> World {
    let mut flow = json!({"flow": "test", "unit": "card", "fields": fields(), "rules": ["risk"]});
    for field in ["name", "card", "amount"] {
        flow["fields"][field]["sensitive"] = json!(true);
    }
    World::new(flow)
        .list("words", &["bronstein"])
        .list("sanctioned", &["Zarkov Bronstein"])
        .rules("risk", json!([
            {"id": "word", "when": "keywords(\"words\", name)", "then": {"points": 10}},
            {"id": "like", "category": "sanctions", "when": "name_match(\"sanctioned\", name) >= 0.7", "then": {"outcome": "block"}},
            {"id": "big", "when": "amount > 100.5 && country == \"DE\"", "then": {"points": 10}},
            {"id": "sum", "when": "window_sum(\"24h\", card, amount) > 1", "then": {"points": 1}},
            {"id": "count", "when": "window_count(\"24h\", card) > 1", "then": {"points": 1}},
        ]))
        .window("window_sum(\"24h\", card, amount)", Value::Decimal(77_777.into()))
        .window("window_count(\"24h\", card)", Value::Int(3))
}

fn input() -> Json {
    json!({"name": "Zarkov Bronstein", "card": "4111", "amount": "7777.25", "country": "DE"})
}

fn has_secret(bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    SECRETS.into_iter().find(|secret| text.contains(secret))
}

#[test]
fn neither_the_answer_nor_the_open_part_tells_a_secret() {
    let decided = world().decide(input());
    assert_eq!(decided.unit.as_deref(), Some("4111"));
    let sealed = decided.seal(1, false).unwrap();
    assert_eq!(has_secret(&sealed.answer), None, "{}", String::from_utf8_lossy(&sealed.answer));
    let open = sealed.record.encode_open().unwrap();
    assert_eq!(has_secret(&open), None);
    let sensitive = sealed.record.encode_sensitive().unwrap().unwrap();
    assert_eq!(has_secret(&sensitive), Some("zarkov"));
    let answer: Json = serde_json::from_slice(&sealed.answer).unwrap();
    assert_eq!(answer["rules"]["hits"], json!(["big", "count", "like", "sum", "word"]));
    let text = String::from_utf8_lossy(&sealed.answer);
    assert!(text.contains("[redacted]"));
    let back = DecisionRecord::decode(&open, Some(&sensitive)).unwrap();
    assert_eq!(back, sealed.record);
}

#[test]
fn an_erased_unit_cannot_be_replayed_or_explained() {
    let world = world();
    let sealed = world.decide(input()).seal(1, false).unwrap();
    let open = sealed.record.encode_open().unwrap();
    let erased = DecisionRecord::decode(&open, None).unwrap();
    assert!(erased.is_erased());
    let flow = world.compile();
    let mut scratch = Scratch::default();
    let error = replay(&erased, &flow, ReplayOptions::default(), &mut scratch).unwrap_err();
    assert_eq!((&error, error.code().as_str()), (&ReplayError::UnitErased, "VD0406"));
    let error = explain(&erased, &flow, ExplainOptions::default(), &mut scratch).unwrap_err();
    assert_eq!(error, ReplayError::UnitErased);
    // Windows count on with what is still known.
    let events = flow.window_events(&erased);
    assert!(events.is_empty(), "both windows are keyed by the card");
}

#[test]
fn explanations_show_secrets_only_to_those_who_may_see_them() {
    let world = world();
    let sealed = world.decide(input()).seal(1, false).unwrap();
    let flow = world.compile();
    let text = |may_see_sensitive: bool| {
        let options = ExplainOptions { may_see_sensitive };
        let explanation = explain(&sealed.record, &flow, options, &mut Scratch::default()).unwrap();
        serde_json::to_vec(&explanation).unwrap()
    };
    assert_eq!(has_secret(&text(false)), None, "{}", String::from_utf8_lossy(&text(false)));
    let shown = String::from_utf8(text(true)).unwrap().to_lowercase();
    for secret in SECRETS {
        assert!(shown.contains(secret), "{secret}");
    }
}

#[test]
fn what_tells_nothing_sensitive_has_no_second_part() {
    let sealed = world().decide(json!({"country": "DE"})).seal(1, false).unwrap();
    assert_eq!(sealed.record.sensitive, None);
    assert!(!sealed.record.open.has_sensitive);
    assert!(
        !DecisionRecord::decode(&sealed.record.encode_open().unwrap(), None).unwrap().is_erased()
    );
}
