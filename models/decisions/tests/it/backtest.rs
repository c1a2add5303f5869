//! Backtests: what a new version of a flow would have changed.

use serde_json::json;
use verdict_config::Value;
use verdict_config::definition::Outcome;
use verdict_decisions::backtest::compare;
use verdict_decisions::record::DecisionRecord;
use verdict_rules::Scratch;

use super::support::{World, fields};

fn world(limit: u32, extra: &str) -> World {
    let flow = json!({"flow": "test", "fields": fields(), "rules": ["risk"],
        "models": {"risk": {"model": "risk"}}});
    World::new(flow)
        .rules("risk", json!([
            {"id": "big", "when": format!("amount > {limit}.0{extra}"), "then": {"outcome": "decline"}},
            {"id": "many", "when": "window_count(\"1h\", card) > 3 && scores.risk > 0.5", "then": {"outcome": "review"}},
        ]))
        .risk_model("risk", 0.9)
        .window("window_count(\"1h\", card)", Value::Int(5))
}

fn records(world: &World) -> Vec<DecisionRecord> {
    [5, 50, 500]
        .into_iter()
        .map(|amount| {
            let input = json!({"amount": amount, "card": "c", "text": "t"});
            world.decide(input).seal(1, false).unwrap().record
        })
        .collect()
}

#[test]
fn changes_of_outcome_are_counted() {
    let old = world(100, "");
    let records = records(&old);
    let outcomes: Vec<Outcome> = records.iter().map(|record| record.open.outcome).collect();
    assert_eq!(outcomes, [Outcome::Review, Outcome::Review, Outcome::Decline]);
    let mut scratch = Scratch::default();
    let same = compare(&records, &old.compile(), &old.compile(), &mut scratch);
    assert_eq!((same.compared, same.unchanged, same.changes.len()), (3, 3, 0));
    assert_eq!((same.windows_unknown, same.models_unknown), (0, 0));

    let stricter = world(10, "").compile();
    let report = compare(&records, &old.compile(), &stricter, &mut scratch);
    assert_eq!((report.compared, report.unchanged), (3, 2));
    let change = &report.changes[0];
    assert_eq!((change.from, change.to, change.count), (Outcome::Review, Outcome::Decline, 1));
    assert_eq!(change.examples.len(), 1);
}

#[test]
fn what_was_not_recorded_is_told() {
    let old = world(100, "");
    let records = records(&old);
    let mut scratch = Scratch::default();
    let more = world(100, " && window_count(\"5m\", card) > 1").compile();
    assert_eq!(compare(&records, &old.compile(), &more, &mut scratch).windows_unknown, 3);
    let other =
        world(100, "").risk_model("new", 0.9).with("models", json!({"risk": {"model": "new"}}));
    let report = compare(&records, &old.compile(), &other.compile(), &mut scratch);
    assert_eq!(report.models_unknown, 3);
    let mut narrow = world(100, "");
    narrow.flow["fields"]["amount"]["max"] = json!(100);
    let report = compare(&records, &old.compile(), &narrow.compile(), &mut scratch);
    assert_eq!((report.compared, report.refused), (2, 1));
    let report = compare(&records, &other.compile(), &old.compile(), &mut scratch);
    assert_eq!(report.damaged, 3, "records of another version than the one that is said");
}
