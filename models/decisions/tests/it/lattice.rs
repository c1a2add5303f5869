//! Points, floors, caps, levels, and the outcome as the maximum of what asks for one.

use serde_json::{Value as Json, json};
use verdict_config::definition::{Level, Outcome};

use super::support::{World, flow, rule};

struct Expected {
    outcome: Outcome,
    score: i32,
    level: Level,
}

const fn expected(outcome: Outcome, score: i32, level: Level) -> Expected {
    Expected { outcome, score, level }
}

fn check(rules: &[(&str, Json)], expected: &Expected) {
    let written: Vec<Json> = rules
        .iter()
        .enumerate()
        .map(|(position, (category, then))| rule(&format!("r{position}"), category, then.clone()))
        .collect();
    let mut orders = vec![written.clone()];
    orders.push(written.into_iter().rev().collect());
    for order in orders {
        let world = World::new(flow()).rules("risk", json!(order));
        let decision = world.decide(json!({"amount": 5})).decision;
        let risk = decision.risk.unwrap();
        assert_eq!(decision.outcome, expected.outcome, "{order:?}");
        assert_eq!(risk.score, Some(expected.score), "{order:?}");
        assert_eq!(risk.level, Some(expected.level), "{order:?}");
        assert!(decision.abstained.is_empty(), "{order:?}");
    }
}

#[test]
fn the_outcome_is_the_maximum() {
    let asks = |outcome: &str| ("fraud", json!({"outcome": outcome}));
    check(&[], &expected(Outcome::Approve, 0, Level::Low));
    check(&[asks("approve")], &expected(Outcome::Approve, 0, Level::Low));
    check(&[asks("challenge"), asks("approve")], &expected(Outcome::Challenge, 0, Level::Low));
    check(&[asks("review"), asks("challenge")], &expected(Outcome::Review, 0, Level::Low));
    check(&[asks("decline"), asks("review")], &expected(Outcome::Decline, 0, Level::Low));
    check(&[asks("block"), asks("decline")], &expected(Outcome::Block, 0, Level::Low));
}

#[test]
fn points_make_a_level_and_the_level_asks_too() {
    let points = |points: i32| ("fraud", json!({"points": points}));
    check(&[points(299)], &expected(Outcome::Approve, 299, Level::Low));
    check(&[points(200), points(100)], &expected(Outcome::Approve, 300, Level::Medium));
    check(&[points(700), points(-100)], &expected(Outcome::Review, 600, Level::High));
    check(&[points(500), points(500)], &expected(Outcome::Decline, 1_000, Level::Critical));
    check(&[points(-500)], &expected(Outcome::Approve, 0, Level::Low));
    let both = ("fraud", json!({"points": 650, "outcome": "challenge"}));
    check(&[both], &expected(Outcome::Review, 650, Level::High));
}

#[test]
fn floors_win_over_caps() {
    let floor = |floor: i32| ("fraud", json!({"floor": floor}));
    let cap = |cap: i32| ("fraud", json!({"cap": cap}));
    let points = |points: i32| ("fraud", json!({"points": points}));
    check(&[floor(600)], &expected(Outcome::Review, 600, Level::High));
    check(&[points(1_000), cap(250)], &expected(Outcome::Approve, 250, Level::Low));
    check(&[points(1_000), cap(250), floor(400)], &expected(Outcome::Approve, 400, Level::Medium));
}

#[test]
fn an_allow_suppresses_block_and_decline_but_never_sanctions() {
    let allow = || ("fraud", json!({"allow": true}));
    let block = |category: &'static str| (category, json!({"outcome": "block"}));
    let low = |outcome| expected(outcome, 0, Level::Low);
    for category in ["fraud", "illegal", "prohibited", "high_risk", "tbml"] {
        check(&[allow(), block(category)], &low(Outcome::Approve));
    }
    check(&[allow(), block("sanctions")], &low(Outcome::Block));
    check(&[allow(), ("fraud", json!({"outcome": "decline"}))], &low(Outcome::Approve));
    check(&[allow(), ("fraud", json!({"outcome": "review"}))], &low(Outcome::Review));
    check(&[allow(), ("fraud", json!({"outcome": "challenge"}))], &low(Outcome::Challenge));
    // Only outcomes of rules are suppressed: points stay, and so does what their level asks for.
    let points = ("fraud", json!({"points": 900, "outcome": "block"}));
    check(&[allow(), points], &expected(Outcome::Decline, 900, Level::Critical));
}

#[test]
fn suppressed_rules_are_named_and_uncertain_allows_do_not_count() {
    let world = World::new(flow()).rules(
        "risk",
        json!([
            rule("allowed", "fraud", json!({"allow": true})),
            rule("blocked", "fraud", json!({"outcome": "block"}))
        ]),
    );
    let answer = world.answer_to(json!({"amount": 5}));
    assert_eq!(answer["rules"]["hits"], json!(["allowed", "blocked"]));
    assert_eq!(answer["rules"]["suppressed"], json!(["blocked"]));

    let unsure = World::new(flow()).rules(
        "risk",
        json!([
            {"id": "allowed", "when": "age_days > 100", "unknown": "match", "then": {"allow": true}},
            rule("blocked", "fraud", json!({"outcome": "block"})),
        ]),
    );
    assert_eq!(unsure.decide(json!({"amount": 5})).decision.outcome, Outcome::Block);
    let sure = unsure.decide(json!({"amount": 5, "age_days": 200})).decision;
    assert_eq!(sure.outcome, Outcome::Approve);
}

#[test]
fn names_like_those_of_a_sanctions_list_block_only_when_they_are_very_like() {
    let sanctions = |then: Json| {
        World::new(flow()).list("sanctioned", &["Zarkov Bronstein Holdings"]).rules(
            "risk",
            json!([{"id": "named", "category": "sanctions",
                    "when": "name_match(\"sanctioned\", name) >= 0.70", "then": then}]),
        )
    };
    let exact = json!({"name": "Zarkov Bronstein Holdings"});
    let near = json!({"name": "Zarkow Bronstien Holding"});
    let other = json!({"name": "Corner Bakery"});
    for (then, for_exact, for_near) in [
        (json!({"outcome": "block"}), Outcome::Block, Outcome::Decline),
        (json!({"outcome": "decline"}), Outcome::Decline, Outcome::Decline),
        (json!({"outcome": "review"}), Outcome::Review, Outcome::Review),
        (json!({"outcome": "approve"}), Outcome::Approve, Outcome::Review),
        (json!({}), Outcome::Block, Outcome::Review),
    ] {
        let world = sanctions(then.clone());
        let decision = world.decide(exact.clone()).decision;
        assert_eq!(decision.outcome, for_exact, "{then}");
        let decision = world.decide(near.clone()).decision;
        assert_eq!(decision.outcome, for_near, "{then} {:?}", decision.reasons);
        assert_eq!(world.decide(other.clone()).decision.outcome, Outcome::Approve, "{then}");
    }
}

#[test]
fn what_unknown_means_is_said_by_the_rule() {
    for (policy, outcome, score) in [
        ("no_match", Outcome::Approve, 0),
        ("match", Outcome::Decline, 100),
        ("review", Outcome::Review, 0),
        ("decline", Outcome::Decline, 0),
    ] {
        let rules = json!([{"id": "young", "category": "fraud", "when": "age_days < 5",
            "unknown": policy, "then": {"points": 100, "outcome": "decline"}}]);
        let world = World::new(flow()).rules("risk", rules);
        let answer = world.answer_to(json!({"amount": 5}));
        assert_eq!(answer["outcome"], json!(outcome), "{policy}");
        assert_eq!(answer["risk"]["score"], json!(score), "{policy}");
        assert_eq!(
            answer["rules"]["unknown"],
            json!([{"id": "young", "missing": ["age_days"], "cause": "missing"}]),
            "{policy}"
        );
    }
}

#[test]
fn segments_have_their_own_thresholds() {
    let score = json!({
        "base": 100,
        "levels": {"medium": 300, "high": 600, "critical": 850},
        "segments": [
            {"name": "big", "when": "amount > 1000", "levels": {"medium": 50, "high": 90, "critical": 850}},
            {"name": "abroad", "when": "country != \"DE\"", "levels": {"medium": 90, "high": 600, "critical": 850}},
        ],
    });
    let world = World::new(flow()).with("score", score).rules("risk", json!([]));
    for (input, level) in [
        (json!({"amount": 5, "country": "DE"}), "low"),
        (json!({"amount": 5, "country": "FR"}), "medium"),
        (json!({"amount": 5000, "country": "FR"}), "high"),
        (json!({"amount": 5}), "low"),
        (json!({}), "low"),
    ] {
        assert_eq!(world.answer_to(input.clone())["risk"]["level"], json!(level), "{input}");
    }
}

#[test]
fn levels_ask_for_what_the_flow_says() {
    let score = json!({"outcomes": {"medium": "challenge", "critical": "block"}});
    let rules = |points: i32| json!([rule("r", "fraud", json!({"points": points}))]);
    for (points, outcome) in [(0, "approve"), (300, "challenge"), (600, "approve"), (900, "block")]
    {
        let world = World::new(flow()).with("score", score.clone()).rules("risk", rules(points));
        assert_eq!(world.answer_to(json!({"amount": 5}))["outcome"], json!(outcome), "{points}");
    }
}
