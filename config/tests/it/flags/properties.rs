//! Properties of splits, and that nothing panics.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::{
    EvaluationContext, FlagSet, Logic, Reason, check_flag, join_file, ofrep, parse_file, split_file,
};

use super::{compile, compile_with, context};

const AT: TimestampMs = TimestampMs(1_700_000_000_000);

fn variant_of(set: &FlagSet, user: usize) -> (Option<String>, Reason) {
    let context = context(json!({"targetingKey": format!("user-{user}")}));
    let resolution = set.evaluate("f", &context, AT);
    (resolution.variant.map(str::to_owned), resolution.reason)
}

fn rollout(percent: f64) -> FlagSet {
    compile(json!({"f": {"state": "ENABLED", "variants": {"on": true, "off": false},
        "defaultVariant": "off", "rollout": {"variant": "on", "percent": percent}}}))
}

#[test]
fn a_ramp_only_adds_users_and_reaches_its_share() {
    const USERS: usize = 40_000;
    let mut before = vec![false; USERS];
    for percent in [0.0, 0.001, 0.05, 0.5, 1.0, 5.0, 25.0, 50.0, 99.999, 100.0] {
        let set = rollout(percent);
        let mut count = 0_u32;
        for (user, was_in) in before.iter_mut().enumerate() {
            let (variant, reason) = variant_of(&set, user);
            let is_in = variant.as_deref() == Some("on");
            assert_eq!(reason, if is_in { Reason::Split } else { Reason::Default });
            assert!(is_in || !*was_in, "user {user} left at {percent} percent");
            *was_in = is_in;
            count += u32::from(is_in);
        }
        let share = percent / 100.0;
        let expected = share * USERS as f64;
        let five_sigma = 5.0 * (expected * (1.0 - share)).sqrt();
        assert!((f64::from(count) - expected).abs() <= five_sigma + 1e-9, "{count} at {percent}");
    }
}

#[test]
fn a_larger_share_moves_nobody_between_arms() {
    let experiment = |share: f64| {
        compile(json!({"f": {"state": "ENABLED", "variants": {"a": 1, "b": 2, "off": 0},
            "defaultVariant": "off",
            "experiment": {"key": "exp", "share": share, "arms": [
                {"variant": "a", "weight": 1, "arm": "control"}, {"variant": "b", "weight": 2}]}}}))
    };
    let mut before: Vec<Option<String>> = vec![None; 5_000];
    let mut in_arms = BTreeMap::new();
    for share in [1.0, 10.0, 50.0, 100.0] {
        let set = experiment(share);
        in_arms.clear();
        for (user, was) in before.iter_mut().enumerate() {
            let context = context(json!({"targetingKey": format!("user-{user}")}));
            let resolution = set.evaluate("f", &context, AT);
            let arm = resolution.assignment.map(|assignment| {
                assert_eq!((assignment.experiment, resolution.reason), ("exp", Reason::Split));
                assignment.arm.to_owned()
            });
            assert!(was.is_none() || *was == arm, "user {user} moved at {share}");
            if let Some(arm) = &arm {
                *in_arms.entry(arm.clone()).or_insert(0) += 1;
            }
            *was = arm;
        }
    }
    // 5,000 users, a third and two thirds, five standard deviations of 33.
    assert!((1_500..=1_833).contains(&in_arms["control"]), "{in_arms:?}");
    assert_eq!(in_arms["control"] + in_arms["b"], 5_000);
}

#[test]
fn growing_the_first_bucket_moves_users_only_into_it() {
    let split = |on: u32, version: &str| {
        compile(json!({"f": {"state": "ENABLED", "variants": {"on": true, "off": false},
            "hashVersion": version,
            "targeting": {"fractional": [["on", on], ["off", 100_000 - on]]}}}))
    };
    for version in ["v1", "v2", "v3"] {
        let mut before = vec![false; 3_000];
        for on in [10, 1_000, 25_000, 100_000] {
            let set = split(on, version);
            for (user, was) in before.iter_mut().enumerate() {
                let is = variant_of(&set, user).0.as_deref() == Some("on");
                assert!(is || !*was, "{version}: user {user} left at {on}");
                *was = is;
            }
        }
    }
}

#[test]
fn units_are_split_by_the_attribute_that_is_named() {
    let set = compile(json!({"f": {"state": "ENABLED", "variants": {"on": true, "off": false},
        "defaultVariant": "off",
        "rollout": {"variant": "on", "percent": 50, "by": "shop.id", "salt": "s"}}}));
    let given = |json: Json| {
        let resolution = set.evaluate("f", &context(json), AT);
        (resolution.variant == Some("on"), resolution.reason)
    };
    let mut count = 0;
    for shop in 0..200 {
        let one = given(json!({"targetingKey": "a", "shop": {"id": shop}}));
        assert_eq!(one, given(json!({"targetingKey": "b", "shop": {"id": shop.to_string()}})));
        count += u32::from(one.0);
    }
    assert!((60..=140).contains(&count), "{count}");
    assert_eq!(given(json!({"targetingKey": "a"})), (false, Reason::Default));
}

/// Any JSON, small, with many of the words that mean something here.
fn any_json() -> impl Strategy<Value = Json> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "a",
            "on",
            "off",
            "",
            "$flagd.timestamp",
            "$flagd",
            "targetingKey",
            "1.2.3",
            "v1",
            "=",
            "ENABLED",
            "x.0",
            "staff",
            "2026-01-01",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-3_i64..200).prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        word.clone().prop_map(Json::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "var",
            "missing",
            "missing_some",
            "if",
            "?:",
            "==",
            "===",
            "!=",
            "!==",
            "!",
            "!!",
            "or",
            "and",
            "<",
            "<=",
            ">",
            ">=",
            "+",
            "-",
            "*",
            "/",
            "%",
            "min",
            "max",
            "in",
            "cat",
            "substr",
            "merge",
            "map",
            "filter",
            "all",
            "some",
            "none",
            "reduce",
            "starts_with",
            "ends_with",
            "sem_ver",
            "fractional",
            "$ref",
            "state",
            "variants",
            "defaultVariant",
            "targeting",
            "metadata",
            "segments",
            "prerequisites",
            "experiment",
            "rollout",
            "hashVersion",
            "schedule",
            "regions",
            "off",
            "percent",
            "arms",
            "flags",
            "$evaluators",
        ])
        .prop_map(str::to_owned),
        word,
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            (key.clone(), inner.clone()).prop_map(|(key, value)| json!({ key: value })),
            (key.clone(), prop::collection::vec(inner.clone(), 0..4))
                .prop_map(|(key, items)| json!({ key: items })),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn rules_of_any_json_never_panic(rule in any_json(), data in any_json()) {
        if let Ok(logic) = Logic::compile(&rule) {
            let first = logic.apply(&data);
            prop_assert_eq!(first, logic.apply(&data));
        }
    }

    #[test]
    fn flags_of_any_json_never_panic(
        targeting in any_json(),
        body in any_json(),
        attributes in any_json(),
        version in prop::sample::select(vec!["v1", "v2", "v3"]),
    ) {
        let _ = check_flag("f", &body);
        let flag = json!({"state": "ENABLED", "variants": {"on": true, "off": false},
            "defaultVariant": "off", "targeting": targeting, "hashVersion": version});
        let flags = json!({"f": flag, "g": body});
        let segments = json!({"staff": {"var": "a"}});
        for flags in [json!({"f": flags["f"]}), flags] {
            let Ok(set) = compile_with(&flags, &segments, &BTreeMap::new()) else { continue };
            let context = EvaluationContext::from_json(attributes.clone())
                .unwrap_or_else(|_| EvaluationContext::empty());
            for key in ["f", "g"] {
                let answer = ofrep::evaluate_one(&set, key, &context, (AT, false));
                prop_assert!(serde_json::from_str::<Json>(&answer.body).is_ok(), "{}", answer.body);
                let reach = set.variant_reach(key);
                let given = set.evaluate(key, &context, AT).variant.map(str::to_owned);
                let reachable =
                    |name: &String| reach.iter().any(|one| one.name == name && one.reachable);
                prop_assert!(given.as_ref().is_none_or(reachable), "{given:?} of {reach:?}");
            }
        }
    }

    #[test]
    fn files_of_any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_file(&bytes);
    }

    #[test]
    fn documents_come_back_whole(mut document in any_json(), flags in any_json()) {
        if let Json::Object(fields) = &mut document {
            fields.insert("flags".to_owned(), flags);
        }
        if let Ok(file) = split_file(document.clone()) {
            let flags: Vec<_> = file.flags.iter().map(|(key, body)| (key.as_str(), body)).collect();
            let joined = join_file(&file.setting, &flags);
            prop_assert_eq!(joined.to_string(), document.to_string());
            let _ = parse_file(document.to_string().as_bytes());
        }
    }
}
