//! The tests that stand in a flow, and what they reach.

use serde_json::{Value as Json, json};
use verdict_decisions::{FlowTestReport, NoModels};

use super::support::{World, fields};

fn world(tests: Json) -> World {
    let models = json!({"risk": {"model": {"flag": "risk-model"}, "label": "bad",
        "points_per_logit": 100.0, "reason": "MODEL"}});
    let body = json!({"state": "ENABLED", "variants": {"on": "risk", "off": "none"},
        "defaultVariant": "on"});
    World::new(json!({"flow": "test", "fields": fields(), "rules": ["risk"], "models": models,
        "on_failure": {"model": "rules_only"}, "tests": tests}))
    .rules(
        "risk",
        json!([
            {"id": "busy", "when": "window_count(\"1h\", card) >= 6", "then": {"points": 300, "reason": "BUSY"}},
            {"id": "listed", "when": "country == \"XX\"", "then": {"outcome": "block", "reason": "LISTED"}},
        ]),
    )
    .risk_model("risk", 0.9)
    .flag_body("risk-model", body)
}

fn run(world: &World) -> FlowTestReport {
    world.compile().run_tests(&world.flags, &NoModels)
}

fn failures(test: Json) -> String {
    run(&world(json!([test]))).results[0].failures.join("; ")
}

#[test]
fn a_test_passes_where_everything_comes_out_as_it_says() {
    let window = r#"window_count( "60m", card)"#;
    let tests = json!([
        {"description": "A busy card", "input": {"card": "c", "text": "x"},
         "windows": {window: 6}, "models": {"risk": 0.9},
         "expect": {"outcome": "approve", "level": "medium", "score": 520, "reasons": ["MODEL", "BUSY"]}},
        {"input": {"card": "c"}, "models": {"risk": {"good": 0.9, "bad": 0.1}},
         "expect": {"score": 0}},
        {"input": {"text": "x"}, "models": {"risk": "timed_out"},
         "expect": {"degraded": ["model_timed_out:risk@7", "without_model:scores.risk"]}},
        {"input": {}, "flags": {"risk-model": "off"}, "expect": {"outcome": "approve", "reasons": []}},
    ]);
    let report = run(&world(tests));
    for result in &report.results {
        assert_eq!(result.failures, Vec::<String>::new(), "{}", result.path);
    }
    assert_eq!((report.passed(), report.models_ran), (4, true));
}

#[test]
fn a_failure_names_the_difference_and_shows_description_and_input() {
    let test = json!({"description": "Embargo", "input": {"country": "XX", "text": "x"},
        "models": {"risk": 0.5}, "expect": {"outcome": "decline", "reasons": ["OTHER"]}});
    let faults = run(&world(json!([test]))).faults();
    assert_eq!((faults.len(), faults[0].path.as_str()), (1, "tests[0]"));
    assert_eq!(faults[0].code.as_str(), "VD0207");
    for part in
        ["\"Embargo\"", "expected outcome decline, got block", "[OTHER]", "\"country\":\"XX\""]
    {
        assert!(faults[0].message.contains(part), "{part}: {}", faults[0].message);
    }
}

#[test]
fn what_a_test_says_wrong_is_its_failure() {
    let with = |key: &str, value: Json| {
        let mut test = json!({"input": {"card": "c"}, "models": {"risk": 0.5}, "expect": {}});
        test[key] = value;
        failures(test)
    };
    for (key, value, part) in [
        ("input", json!({"amount": "much"}), "amount"),
        ("windows", json!({"window_count(\"2h\", card)": 1}), "no such window"),
        ("windows", json!({"window_count(\"1h\", card)": "x"}), "windows.window_count"),
        ("models", json!({"nobody": 0.5}), "no such model"),
        ("models", json!({"risk": 1.5}), "0 to 1"),
        ("models", json!({"risk": {"worse": 1}}), "no label \"worse\""),
        ("models", json!({"risk": "gone"}), "no failure"),
        ("models", json!({}), "cannot be run"),
        ("flags", json!({"risk-model": "new"}), "no variant"),
        ("flags", json!({"other": "on"}), "no such flag"),
        ("expect", json!({"degraded": ["windows_partial"]}), "degraded"),
    ] {
        let found = with(key, value.clone());
        assert!(found.contains(part), "{key} {value}: {found:?}");
    }
    // Nothing may be degraded in silence.
    let test = json!({"input": {"text": "x"}, "models": {"risk": "failed"}, "expect": {}});
    assert!(failures(test).contains("degraded"));
}

#[test]
fn a_kill_switch_makes_no_test_fail() {
    let body = json!({"state": "ENABLED", "variants": {"on": "risk", "off": "none"},
        "defaultVariant": "on", "off": "off"});
    let test =
        json!({"input": {"text": "x"}, "models": {"risk": 0.9}, "expect": {"reasons": ["MODEL"]}});
    let killed = world(json!([test])).flag_body("risk-model", body);
    assert_eq!(run(&killed).passed(), 1);
}

#[test]
fn what_no_test_reaches_is_named() {
    let test = json!({"input": {"card": "c", "text": "x"}, "windows": {"window_count(\"1h\", card)": 7},
        "models": {"risk": 0.5}, "expect": {}});
    let world = world(json!([test]));
    let missed = world.compile().coverable(&world.flags).without(&run(&world).reached);
    let rules: Vec<&str> = missed.rules.iter().map(|(_, rule)| rule.as_str()).collect();
    assert_eq!(rules, ["listed"]);
    assert!(missed.variants.is_empty(), "nothing can choose `off`: {:?}", missed.variants);
    assert!(missed.stages.is_empty());
}

#[test]
fn tests_are_bounded_and_no_part_of_the_hash() {
    let test = json!({"input": {}, "models": {"risk": 0.5}, "expect": {}});
    let many = world(json!(vec![test.clone(); 201])).try_compile().unwrap_err();
    assert_eq!(many.objects[0].faults[0].path, "tests");
    let long = json!({"input": {"text": "x".repeat(300_000)}, "expect": {}});
    assert!(world(json!([long])).try_compile().is_err());
    let (without, with) = (world(json!([])).compile(), world(json!([test])).compile());
    assert_eq!(without.content_hash(), with.content_hash());
}
