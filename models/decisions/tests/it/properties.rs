//! Properties over generated flows, inputs and failures.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use verdict_config::Value;
use verdict_decisions::replay::{ReplayOptions, replay};
use verdict_decisions::{ModelFailure, RulesFailure};
use verdict_rules::Scratch;

use super::support::{World, fields};

const CONDITIONS: [&str; 12] = [
    "amount > 10.0",
    "amount <= 10.0 || country == \"DE\"",
    "country in [\"DE\", \"FR\"]",
    "!(age_days < 30)",
    "contains(text, \"a\")",
    "keywords(\"words\", text)",
    "window_count(\"1h\", card) > 2",
    "window_sum(\"24h\", card, amount) > 100.0",
    "name_match(\"names\", name) >= 0.8",
    "scores.risk > 0.5",
    "classification.label == \"x\"",
    "amount / 0 > 1",
];

fn rules() -> impl Strategy<Value = Vec<Json>> {
    let category = prop::sample::select(vec![
        "illegal",
        "prohibited",
        "high_risk",
        "tbml",
        "sanctions",
        "fraud",
    ]);
    let unknown = prop::sample::select(vec!["no_match", "match", "review", "decline"]);
    let outcome = prop::option::of(prop::sample::select(vec![
        "approve",
        "challenge",
        "review",
        "decline",
        "block",
    ]));
    let effect = (
        prop::option::of(-300..300),
        prop::option::of(0..400),
        prop::option::of(400..1000),
        outcome,
        any::<bool>(),
    );
    let rule = (0..CONDITIONS.len(), category, unknown, effect, any::<bool>());
    prop::collection::vec(rule, 0..12).prop_map(|rules| {
        rules
            .into_iter()
            .enumerate()
            .map(|(position, (condition, category, unknown, (points, floor, cap, outcome, allow), flag))| {
                let early = condition < 9 || condition == 11;
                let mut rule = json!({"id": format!("r{position}"), "category": category, "unknown": unknown,
                    "when": CONDITIONS[condition],
                    "then": {"points": points, "floor": floor, "cap": cap, "outcome": outcome,
                        "allow": allow && early && position % 4 == 0}});
                if flag {
                    rule["flag"] = json!("some-rules");
                }
                rule
            })
            .collect()
    })
}

fn input() -> impl Strategy<Value = Json> {
    let texts = prop::sample::select(vec!["a word", "", "bet on it", "\u{1F600} zürich", "Zarkov"]);
    let present = prop::collection::vec(any::<bool>(), 6);
    (texts, 0..200_000i64, prop::sample::select(vec!["DE", "FR", "XX"]), 0..100i64, present)
        .prop_map(|(text, cents, country, age, present)| {
            let all = [
                ("text", json!(text)),
                ("name", json!(text)),
                ("country", json!(country)),
                ("amount", json!(format!("{}.{:02}", cents / 100, cents % 100))),
                ("age_days", json!(age)),
                ("card", json!("c")),
            ];
            let kept = all.into_iter().zip(present).filter(|(_, present)| *present);
            Json::Object(
                kept.map(|((name, value), _)| (name.to_owned(), value)).collect::<Map<_, _>>(),
            )
        })
}

#[derive(Debug, Clone)]
struct Around {
    risk: Result<f32, ModelFailure>,
    label: Result<f32, ModelFailure>,
    windows: bool,
    rules_fail: bool,
    switch: Option<&'static str>,
    policy: &'static str,
    budget: Option<u64>,
}

fn around() -> impl Strategy<Value = Around> {
    let failure = || {
        prop_oneof![
            3 => (0.0f32..=1.0).prop_map(Ok),
            1 => prop::sample::select(vec![ModelFailure::Absent, ModelFailure::Overloaded, ModelFailure::TimedOut]).prop_map(Err),
        ]
    };
    let switch = prop::option::weighted(
        0.3,
        prop::sample::select(vec![
            "flow",
            "rules",
            "classify_rules",
            "classify_model",
            "models",
            "score",
            "abstain",
            "shadow",
        ]),
    );
    let policy = prop::sample::select(vec!["rules_only", "review", "fallback_model"]);
    let budget = prop::option::weighted(0.2, 0u64..4_000);
    (failure(), failure(), any::<bool>(), prop::bool::weighted(0.1), switch, policy, budget)
        .prop_map(|(risk, label, windows, rules_fail, switch, policy, budget)| Around {
            risk,
            label,
            windows,
            rules_fail,
            switch,
            policy,
            budget,
        })
}

fn world(rules: &[Json], around: &Around) -> World {
    let switches = around.switch.map_or(json!({}), |switch| json!({switch: "off"}));
    let mut flow = json!({"flow": "test", "unit": "card", "fields": fields(), "rules": ["risk"],
        "classify": {"scheme": "s", "rules": ["words"], "model": {"flag": "industry"}, "delta": 0.1,
            "min_confidence": 0.3},
        "models": {"risk": {"model": {"model": "risk", "shadow": ["next"]}, "points_per_logit": 50.0}},
        "on_failure": {"model": around.policy, "fallback_model": "next", "rules": "review"},
        "switches": switches,
        "score": {"segments": [{"name": "s", "when": "country == \"DE\" && scores.risk > 0.2",
            "levels": {"medium": 10, "high": 200, "critical": 500}}]}});
    flow["fields"]["age_days"]["need"] = json!("expected");
    if let Some(budget) = around.budget {
        flow["cost_units_max"] = json!(budget);
    }
    let mut world = World::new(flow)
        .list("words", &["bet", "word"])
        .list("names", &["Zarkov", "Bronstein"])
        .rules("risk", json!(rules))
        .rules("words", json!([
            {"id": "w1", "when": "contains(text, \"word\")", "then": {"label": "x", "confidence": 0.95}},
            {"id": "w2", "when": "country == \"DE\"", "then": {"label": "y", "confidence": 0.7}},
        ]))
        .model("industry", &["x", "y"], &[0.5, 0.5])
        .risk_model("risk", 0.5)
        .risk_model("next", 0.6)
        .flag("industry", json!("industry"))
        .flag("some-rules", json!(around.budget.is_none()))
        .flag("off", json!(false));
    world = match around.risk {
        Ok(p) => world.answer("risk", &[1.0 - p, p], Some(p * 3.0)),
        Err(failure) => world.fails("risk", failure),
    };
    world = match around.label {
        Ok(p) => world.answer("industry", &[1.0 - p, p], None),
        Err(failure) => world.fails("industry", failure),
    };
    if around.windows {
        world = world
            .window("window_count(\"1h\", card)", Value::Int(3))
            .window("window_sum(\"24h\", card, amount)", Value::Decimal(150.into()));
    }
    if around.rules_fail {
        world.rules_failure = Some(RulesFailure::Failed);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rules_never_matters(rules in rules(), input in input(), around in around(), seed in any::<u64>()) {
        // The budget stops rules in order, so a spent budget is the one place where order shows.
        let around = Around { budget: None, ..around };
        let mut shuffled = rules.clone();
        let mut state = seed;
        for position in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let other = usize::try_from(state >> 33).unwrap() % (position + 1);
            shuffled.swap(position, other);
        }
        let mut one = world(&rules, &around).answer_to(input.clone());
        let mut two = world(&shuffled, &around).answer_to(input);
        // What evaluation costs depends on how the index was laid out.
        one["cost_units"] = json!(0);
        two["cost_units"] = json!(0);
        prop_assert_eq!(one, two);
    }

    #[test]
    fn a_replay_equals_the_decision(rules in rules(), input in input(), around in around()) {
        let world = world(&rules, &around);
        let sealed = world.decide(input).seal(7, false).unwrap();
        let open = sealed.record.encode_open().unwrap();
        let sensitive = sealed.record.encode_sensitive().unwrap();
        let record = verdict_decisions::DecisionRecord::decode(&open, sensitive.as_deref()).unwrap();
        let replayed = replay(&record, &world.compile(), ReplayOptions::default(), &mut Scratch::default()).unwrap();
        prop_assert!(replayed.equal, "{:?}", replayed.differences);
        let options = verdict_decisions::ExplainOptions { may_see_sensitive: true };
        let explained = verdict_decisions::explain(&record, &world.compile(), options, &mut Scratch::default()).unwrap();
        prop_assert_eq!(explained.outcome, record.open.outcome);
        if let Some(gravest) = explained.outcomes.iter().filter(|part| !part.suppressed).map(|part| part.outcome).max() {
            prop_assert_eq!(gravest, record.open.outcome);
        }
    }

    #[test]
    fn bytes_never_panic_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = verdict_decisions::request::parse_body(&bytes);
        let _ = verdict_decisions::request::parse_batch(&bytes, 3);
        let _ = verdict_decisions::request::parse_lines(&bytes, 3);
        let _ = verdict_decisions::DecisionRecord::decode(&bytes, Some(&bytes));
    }
}
