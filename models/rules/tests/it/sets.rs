//! Rule sets as wholes: policies, phases, masks, tables, cost, explanations, tests beside rules.

use serde_json::json;
use verdict_config::Value;
use verdict_config::definition::Outcome;
use verdict_rules::{Evidence, Phase, RuleMask, UnknownCause, Verdict};

use crate::harness::{Given, World, definition, evaluate, with_input};

#[test]
fn an_unknown_condition_counts_as_its_policy_says() {
    let world = World::new();
    let rule = |id: &str, policy: &str| {
        json!({ "id": id, "when": "amount > 5", "unknown": policy,
            "then": { "points": 50, "reason": "AMOUNT" } })
    };
    let set = world
        .compile(json!([
            rule("a", "no_match"),
            rule("b", "match"),
            rule("c", "review"),
            rule("d", "decline"),
        ]))
        .unwrap();
    let evaluation = evaluate(&set, &world.facts(json!({})), &Given::default());
    let hits: Vec<_> = evaluation
        .hits
        .iter()
        .map(|hit| (hit, set.effect(&evaluation, hit)))
        .map(|(hit, effect)| (hit.rule, hit.as_unknown, effect.points, effect.outcome))
        .collect();
    assert_eq!(
        hits,
        [
            (1, true, Some(50), None),
            (2, true, None, Some(Outcome::Review)),
            (3, true, None, Some(Outcome::Decline)),
        ]
    );
    let unknown: Vec<u32> = evaluation.unknown.iter().map(|unknown| unknown.rule).collect();
    assert_eq!(unknown, [0, 1, 2, 3]);
    let amount = world.schema.slot("amount").unwrap();
    assert_eq!(evaluation.unknown[0].cause, UnknownCause::Missing(amount));
    assert_eq!(evaluation.missing(&evaluation.unknown[0]), [amount]);
    let known = evaluate(&set, &world.facts(json!({ "amount": "6" })), &Given::default());
    assert!(known.unknown.is_empty());
    let points = |hit| set.effect(&known, hit).points;
    assert!(known.hits.iter().all(|hit| !hit.as_unknown && points(hit) == Some(50)));
}

#[test]
fn only_the_facts_that_would_decide_are_missing() {
    let world = World::new();
    let names = |when: &str, input| {
        let set = world.one(when).unwrap();
        let evaluation = evaluate(&set, &world.facts(input), &Given::default());
        let missing = evaluation.missing(&evaluation.unknown[0]);
        missing.iter().map(|slot| set.slot_name(*slot).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("amount > 1 && average > 1", json!({})), ["amount", "average"]);
    assert_eq!(names("amount > 1 && count > 1", json!({ "count": 2 })), ["amount"]);
    assert_eq!(
        names("(count == 1 && amount > 2) || ratio > 3", json!({ "count": 2 })),
        ["ratio"],
        "a part that is false whatever amount is does not ask for it"
    );
    assert_eq!(
        names("window_count(\"24h\", card_id) > 3", json!({})),
        ["window_count(\"24h\", card_id)"]
    );
}

#[test]
fn masks_switch_off_and_snooze() {
    let world = World::new();
    let set = world
        .compile(json!([
            { "id": "a", "when": "active || count > 5", "flag": "rule-a" },
            { "id": "b", "when": "active" },
        ]))
        .unwrap();
    assert_eq!(set.rules()[0].flag.as_deref(), Some("rule-a"));
    let facts = world.facts(json!({ "active": true, "count": 6 }));
    let given = Given { disabled: RuleMask::from_iter([0]), ..Given::default() };
    let hits = evaluate(&set, &facts, &given).hits;
    assert_eq!(hits.iter().map(|hit| hit.rule).collect::<Vec<_>>(), [1]);
    let given = Given { snoozed: RuleMask::from_iter([1]), ..Given::default() };
    let hits = evaluate(&set, &facts, &given).hits;
    assert_eq!(hits.iter().map(|hit| hit.snoozed).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn rules_that_read_derived_facts_run_late() {
    let world = World::new();
    let set = world
        .compile(json!([
            { "id": "early", "when": "active" },
            { "id": "late", "when": "active && scores.risk > 0.5" },
        ]))
        .unwrap();
    let phases: Vec<Phase> = set.rules().iter().map(|rule| rule.phase).collect();
    assert_eq!(phases, [Phase::Early, Phase::Late]);
    let facts = world.facts(json!({ "active": true }));
    let given = Given { derived: vec![Some(Value::Float(0.9))], ..Given::default() };
    let mut scratch = verdict_rules::Scratch::new();
    with_input(&facts, &given, |input| {
        for (phase, rule) in [(Phase::Early, 0), (Phase::Late, 1)] {
            let hits = set.evaluate(phase, input, &mut scratch).hits;
            assert_eq!(hits.iter().map(|hit| hit.rule).collect::<Vec<_>>(), [rule]);
        }
    });
}

#[test]
fn lists_and_names_leave_evidence() {
    let world = World::new();
    let set = world
        .compile(json!([
            { "id": "a", "when": "keywords(\"gambling\", description) && !listed(\"licensed\", card_id)" },
            { "id": "b", "when": "listed(\"licensed\", country)" },
            { "id": "c", "when": "name_match(\"sanctioned\", name) >= 0.70" },
        ]))
        .unwrap();
    let facts = world.facts(json!({
        "description": "Casino and sports betting", "card_id": "x", "country": "gb-1",
        "name": "Kelimat Zorvan",
    }));
    let evaluation = evaluate(&set, &facts, &Given::default());
    assert_eq!(evaluation.hits.len(), 3);
    let evidence = |at: usize| evaluation.evidence(&evaluation.hits[at]);
    match evidence(0) {
        [Evidence::Terms { field, list, terms, item: None }] => {
            assert_eq!(set.slot_name(*field), "description");
            assert_eq!(&**list, "gambling");
            let terms: Vec<&str> = terms.iter().map(|term| &**term).collect();
            assert_eq!(terms, ["casino", "sports betting"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(evidence(1), [Evidence::Listed { list, .. }] if &**list == "licensed"));
    match evidence(2) {
        [Evidence::Name { entry, score, .. }] => {
            assert_eq!(&**entry, "Zorvan Kelimat");
            assert!(*score >= 0.70);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_rule_hits_by_row() {
    let world = World::new();
    let set = world
        .compile(json!([
            { "id": "t", "when": "active", "table": { "name": "limits" }, "then": { "reason": "LIMIT" } },
        ]))
        .unwrap();
    let run = |input| evaluate(&set, &world.facts(input), &Given::default());
    let hit = run(json!({ "active": true, "country": "US", "amount": "6000" }));
    assert_eq!(hit.hits.len(), 1);
    let effect = set.effect(&hit, &hit.hits[0]);
    assert_eq!(effect.points, Some(200));
    assert_eq!(effect.reason.as_deref(), Some("LIMIT"));
    assert!(matches!(hit.evidence(&hit.hits[0]), [Evidence::Row { row: 2, .. }]));
    assert!(run(json!({ "active": true, "country": "US", "amount": "50" })).hits.is_empty());
    let unknown = run(json!({ "active": true, "country": "US" }));
    assert!(unknown.hits.is_empty() && unknown.unknown.len() == 1);
    let guard = run(json!({ "country": "US", "amount": "6000" }));
    assert!(guard.hits.is_empty() && guard.unknown.len() == 1, "the guard is unknown");
    let no_row = run(json!({ "country": "US", "amount": "1" }));
    assert!(no_row.unknown.is_empty(), "no row matches whatever the guard is");
    let off = run(json!({ "active": false, "country": "US", "amount": "6000" }));
    assert!(off.hits.is_empty() && off.unknown.is_empty());
}

#[test]
fn beyond_the_cost_limit_rules_are_unknown() {
    let world = World::new();
    let rules: Vec<_> = (0..50)
        .map(|n| json!({ "id": format!("r{n}"), "when": format!("count * {} > limit", n + 2) }))
        .collect();
    let set = world.compile(rules.into()).unwrap();
    let facts = world.facts(json!({ "count": 5, "limit": 1 }));
    let all = evaluate(&set, &facts, &Given::default());
    assert_eq!((all.hits.len(), all.exceeded), (50, false));
    let given = Given { cost_units_limit: Some(all.cost_units / 2), ..Given::default() };
    let some = evaluate(&set, &facts, &given);
    assert!(some.exceeded);
    assert_eq!(some.hits.len() + some.unknown.len(), 50);
    assert!(some.unknown.iter().all(|unknown| unknown.cause == UnknownCause::CostLimit));
    assert!(!some.hits.is_empty() && !some.unknown.is_empty());
}

#[test]
fn explanations_name_the_first_failing_clause() {
    let world = World::new();
    let set = world
        .compile(json!([
            { "id": "hit", "when": "active" },
            { "id": "miss", "when": "active && (count > 5 || country == \"US\") && amount > 1" },
            { "id": "unknown", "when": "active && amount / average > 2" },
            { "id": "off", "when": "active" },
            { "id": "table", "table": { "name": "limits" } },
        ]))
        .unwrap();
    let facts = world.facts(json!({ "active": true, "count": 5, "country": "GB", "amount": "7" }));
    let given = Given { disabled: RuleMask::from_iter([3]), ..Given::default() };
    let traces = with_input(&facts, &given, |input| set.explain(input));
    let verdicts: Vec<Verdict> = traces.iter().map(|trace| trace.verdict).collect();
    use Verdict::{Disabled, Hit, Miss, Unknown};
    assert_eq!(verdicts, [Hit, Miss, Unknown, Disabled, Miss]);
    let failing = traces[1].failing.as_ref().unwrap();
    assert_eq!(&*failing.text, "(count > 5 || country == \"US\")");
    assert_eq!(failing.column, 11);
    let reads: Vec<(&str, Option<&Value>)> =
        traces[1].reads.iter().map(|read| (&*read.name, read.value.as_ref())).collect();
    assert_eq!(reads[1], ("count", Some(&Value::Int(5))));
    assert_eq!(traces[2].causes[0].text, "average is absent");
    assert_eq!(&*traces[2].causes[0].clause.as_ref().unwrap().text, "amount / average > 2");
    assert!(traces[4].failing.as_ref().unwrap().text.contains("table limits"));
}

#[test]
fn tests_beside_rules_run_and_cover() {
    let world = World::new();
    let rules = json!([
        { "id": "a", "when": "window_count(\"1d\", card_id) > 3 && scores.risk > 0.5",
          "then": { "points": 10, "reason": "FAST" },
          "tests": [
            { "given": { "card_id": "c" }, "windows": { "window_count( '24h', card_id )": 4 },
              "facts": { "scores.risk": 0.6 }, "expect": { "hit": true, "points": 10, "reasons": ["FAST"] } },
            { "given": { "card_id": "c" }, "expect": { "hit": false, "unknown": true } },
            { "given": { "card": "c" }, "expect": { "hit": false } },
            { "given": {}, "expect": { "hit": true } },
          ] },
        { "id": "b", "when": "active", "unknown": "review", "then": { "outcome": "decline" },
          "tests": [ { "given": {}, "expect": { "hit": false, "outcome": "review" } } ] },
    ]);
    let set = world.compile(rules.clone()).unwrap();
    let report = set.run_tests(&definition(rules));
    let passed: Vec<bool> = report.results.iter().map(|result| result.passed()).collect();
    assert_eq!(passed, [true, true, false, false, true], "{:?}", report.results);
    assert!(report.results[2].failures[0].contains("did you mean \"card_id\"?"));
    assert!(report.results[3].failures[0].contains("expected hit true, got false"));
    assert!(report.results[3].failures[0].contains("is absent"));
    assert_eq!(report.never_hit, ["b"]);
    let faults = report.faults();
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].path, "rules[0].tests[2]");
}

#[test]
fn content_hashes_follow_content() {
    let mut world = World::new();
    let rules = json!([{ "id": "a", "when": "keywords(\"gambling\", name)" }]);
    let hash = |world: &World, rules: &serde_json::Value| {
        world.compile(rules.clone()).unwrap().content_hash().to_string()
    };
    let first = hash(&world, &rules);
    assert_eq!(first, hash(&world, &rules));
    assert_eq!(first.len(), 64);
    world.lists.insert("other".to_owned(), crate::harness::list(json!(["x"])));
    assert_eq!(first, hash(&world, &rules), "a list that is not read does not count");
    world.lists.insert("gambling".to_owned(), crate::harness::list(json!(["x"])));
    assert_ne!(first, hash(&world, &rules));
}
