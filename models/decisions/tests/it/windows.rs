//! Windows: what is asked for, what comes back in which type, and what a decision adds.

use serde_json::json;
use verdict_config::Value;
use verdict_rules::Scratch;

use super::support::{NOW, World, fields, request};

fn world() -> World {
    World::new(json!({"flow": "test", "fields": fields(), "rules": ["velocity", "more"]}))
        .rules("velocity", json!([
            {"id": "many", "when": "window_count(\"1h\", card) >= 5", "then": {"points": 100}},
            {"id": "much", "when": "window_sum(\"24h\", card, amount) + amount > 1000", "then": {"points": 10}},
        ]))
        .rules("more", json!([
            {"id": "more", "when": "window_count(\"1h\", card) >= 10", "then": {"points": 1}},
            {"id": "spread", "when": "window_distinct(\"24h\", country, card) > 2", "then": {"points": 1000}},
        ]))
}

const COUNT: &str = "window_count(\"1h\", card)";
const SUM: &str = "window_sum(\"24h\", card, amount)";

#[test]
fn windows_of_all_sets_are_asked_for_once() {
    let world = world();
    let flow = world.compile();
    let texts: Vec<&str> = flow.windows().iter().map(|read| read.text.as_str()).collect();
    assert_eq!(texts, [COUNT, SUM, "window_distinct(\"24h\", country, card)"]);
    let session = world.begin(&flow, request(json!({"card": "c1", "amount": 5})));
    let asked: Vec<(&str, &Value)> = session
        .window_queries()
        .iter()
        .map(|query| (query.read.text.as_str(), &query.key))
        .collect();
    let key = Value::Text("c1".into());
    assert_eq!(asked, [(COUNT, &key), (SUM, &key)], "the country is unknown");
}

#[test]
fn values_count_and_what_is_missing_is_unknown() {
    let world = world().window(COUNT, Value::Int(7)).window(SUM, Value::Decimal(996.into()));
    let input = json!({"card": "c1", "amount": 5});
    let answer = world.answer_to(input.clone());
    assert_eq!(answer["risk"]["score"], json!(110));
    assert_eq!(answer["rules"]["unknown"][0]["id"], json!("spread"));
    assert_eq!(answer["reasons"][0]["evidence"]["values"], json!({COUNT: 7}));

    // Not brought at all: every window is unknown, and the answer says so.
    let mut session = world.begin(&world.compile(), request(input));
    session.run_rules(&mut Scratch::default());
    let decision = session.conclude(&mut Scratch::default()).decision;
    assert_eq!(decision.degraded[0].as_ref(), "windows_unavailable");
    assert_eq!(decision.rules.unknown.len(), 4);
}

#[test]
fn a_decision_is_counted_once_and_a_test_never() {
    let world = world();
    let decided = world.decide(json!({"card": "c1", "amount": "5.50", "country": "DE"}));
    let events: Vec<(&str, Option<&Value>)> = decided
        .window_events
        .iter()
        .map(|event| (event.read.function.as_str(), event.value.as_ref()))
        .collect();
    let amount = Value::Decimal("5.50".parse().unwrap());
    let card = Value::Text("c1".into());
    assert_eq!(
        events,
        [("window_count", None), ("window_sum", Some(&amount)), ("window_distinct", Some(&card))]
    );
    assert!(decided.window_events.iter().all(|event| event.at == NOW));
    // A journal that only has the record counts the same.
    assert_eq!(world.compile().window_events(&decided.record), decided.window_events);

    let mut test = request(json!({"card": "c1", "amount": 5}));
    test.test = true;
    let decided = world.decide_request(test);
    assert!(decided.window_events.is_empty() && decided.decision.test);
    assert!(world.compile().window_events(&decided.record).is_empty());
}
