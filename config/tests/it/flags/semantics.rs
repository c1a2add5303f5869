//! What a flag resolves to, and why.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::{ErrorCode, EvaluationContext, FlagSet, Reason, validate_flag};

use super::{compile, compile_with, context, told};

/// `reason variant`, or `reason code` of an error.
fn resolved(set: &FlagSet, key: &str, context: &EvaluationContext<'_>, at: i64) -> String {
    let resolution = set.evaluate(key, context, TimestampMs(at));
    assert_eq!(resolution.value.is_some(), resolution.variant.is_some());
    assert_eq!(resolution.error.is_some(), resolution.reason == Reason::Error);
    match resolution.error {
        Some(error) => format!("{} {}", resolution.reason, error.code.as_str()),
        None => format!("{} {}", resolution.reason, resolution.variant.unwrap_or("-")),
    }
}

fn on_off(more: Json) -> Json {
    let mut flag = json!({
        "state": "ENABLED",
        "variants": {"on": true, "off": false},
        "defaultVariant": "off"
    });
    flag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    flag
}

#[test]
fn reasons_are_flagds() {
    let is_nl = json!({"if": [{"==": [{"var": "country"}, "NL"]}, "on", null]});
    let no_default = json!({"state": "ENABLED", "variants": {"on": true}});
    let set = compile(json!({
        "static": on_off(json!({})),
        "empty": on_off(json!({"targeting": {}})),
        "targeted": on_off(json!({"targeting": is_nl})),
        "disabled": on_off(json!({"state": "DISABLED", "targeting": is_nl})),
        "no-default": no_default,
        "null-default": on_off(json!({"defaultVariant": null, "targeting": is_nl})),
        "bools": {"state": "ENABLED", "variants": {"true": 1, "false": 0}, "defaultVariant": "false",
                  "targeting": {"==": [{"var": "country"}, "NL"]}},
        "numbers": {"state": "ENABLED", "variants": {"1": "one", "2": "two"},
                    "targeting": {"+": [{"var": "n"}, 1]}},
        "wrong": on_off(json!({"targeting": {"if": [true, "nowhere"]}})),
        "list": on_off(json!({"targeting": {"merge": ["on"]}})),
        "off": on_off(json!({"off": "off", "targeting": is_nl, "defaultVariant": "on"})),
        "dangling": on_off(json!({"targeting": {"if": [{"$ref": "nobody"}, "on"]}})),
    }));
    let cases = [
        ("static", "NL", "STATIC off"),
        ("empty", "NL", "STATIC off"),
        ("targeted", "NL", "TARGETING_MATCH on"),
        ("targeted", "DE", "DEFAULT off"),
        ("disabled", "NL", "DISABLED -"),
        ("no-default", "NL", "DEFAULT -"),
        ("null-default", "NL", "TARGETING_MATCH on"),
        ("null-default", "DE", "DEFAULT -"),
        ("bools", "NL", "TARGETING_MATCH true"),
        ("bools", "DE", "TARGETING_MATCH false"),
        ("numbers", "NL", "TARGETING_MATCH 2"),
        ("wrong", "NL", "ERROR GENERAL"),
        ("list", "NL", "ERROR GENERAL"),
        ("off", "NL", "STATIC off"),
        ("dangling", "NL", "ERROR PARSE_ERROR"),
        ("missing", "NL", "ERROR FLAG_NOT_FOUND"),
    ];
    for (key, country, expected) in cases {
        let context = context(json!({"targetingKey": "u", "country": country, "n": 1}));
        assert_eq!(resolved(&set, key, &context, 0), expected, "{key} for {country}");
    }
    assert_eq!(
        set.evaluate("missing", &context(json!({})), TimestampMs(0)).error.unwrap().code,
        ErrorCode::FlagNotFound
    );
    let warned = told(&set.warnings());
    assert_eq!(
        warned,
        ["VD0107 flag/dangling.targeting", "VD0107 flag/wrong.targeting"],
        "{:?}",
        set.warnings()
    );
}

/// The result of one rule for a context.
fn targeting(rule: Json, attributes: Json) -> Json {
    let set = compile(json!({"f": {
        "state": "ENABLED",
        "variants": {"true": "T", "false": "F", "a": "a", "b": "b", "1700000000": "now", "f": "key"},
        "targeting": rule
    }}));
    let at = TimestampMs(1_700_000_000_999);
    let resolution = set.evaluate("f", &context(attributes), at);
    assert!(resolution.error.is_none(), "{:?}", resolution.error);
    resolution.value.cloned().unwrap_or_default()
}

#[test]
fn flagds_operators_give_null_on_errors() {
    let long = "x".repeat(100);
    let cases = [
        (json!({"starts_with": [{"var": "e"}, "ab"]}), json!({"e": "abc"}), json!("T")),
        (json!({"starts_with": [{"var": "e"}, "bc"]}), json!({"e": "abc"}), json!("F")),
        (json!({"starts_with": [{"var": "e"}, "1"]}), json!({"e": 12}), json!(null)),
        (json!({"starts_with": [{"var": "e"}, "1"]}), json!({}), json!(null)),
        (json!({"ends_with": [{"var": "e"}, "bc"]}), json!({"e": "abc"}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, ">=", "1.2.3"]}), json!({"v": "v1.10.0"}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, "<", "2.0.0"]}), json!({"v": "2.0.0-rc.1"}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, "=", "1.2.0"]}), json!({"v": "1.2"}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, "=", "1.0.0"]}), json!({"v": 1}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, "=", "1.0.0"]}), json!({"v": "1.0.0+b7"}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, "^", "1.9.9"]}), json!({"v": "1.0.0"}), json!("T")),
        (json!({"sem_ver": [{"var": "v"}, "~", "1.9.9"]}), json!({"v": "1.0.0"}), json!("F")),
        (json!({"sem_ver": [{"var": "v"}, "!=", "1.0.0"]}), json!({"v": "1.0.0.0"}), json!(null)),
        (json!({"sem_ver": [{"var": "v"}, "=", "1.0.0"]}), json!({"v": long}), json!(null)),
        (
            json!({"if": [{"==": [{"var": "$flagd.timestamp"}, 1_700_000_000]}, "a", "b"]}),
            json!({}),
            json!("a"),
        ),
        (json!({"var": "$flagd.timestamp"}), json!({}), json!("now")),
        (json!({"var": "$flagd.flagKey"}), json!({"$flagd": {"flagKey": "a"}}), json!("key")),
        (json!({"cat": [{"var": "targetingKey"}]}), json!({"targetingKey": "a"}), json!("a")),
        (json!({"fractional": [["a", 1]]}), json!({"targetingKey": "u"}), json!("a")),
        (json!({"fractional": [["a", 1]]}), json!({}), json!(null)),
        (
            json!({"fractional": [{"var": "k"}, ["a", 1]]}),
            json!({"targetingKey": "u"}),
            json!(null),
        ),
        (json!({"fractional": [["a", 0]]}), json!({"targetingKey": "u"}), json!(null)),
        (
            json!({"fractional": [["a", {"var": "w"}]]}),
            json!({"targetingKey": "u", "w": -5}),
            json!(null),
        ),
        (
            json!({"fractional": [["a", {"var": "w"}], ["b", 1]]}),
            json!({"targetingKey": "u", "w": -5}),
            json!("b"),
        ),
        (
            json!({"fractional": [["a", {"var": "w"}]]}),
            json!({"targetingKey": "u", "w": "1"}),
            json!(null),
        ),
        (
            json!({"fractional": [["a", {"var": "w"}]]}),
            json!({"targetingKey": "u", "w": 2.5}),
            json!(null),
        ),
        (
            json!({"fractional": [["a", {"var": "w"}]]}),
            json!({"targetingKey": "u", "w": 2_147_483_648_i64}),
            json!(null),
        ),
        (json!({"fractional": [[true, 1]]}), json!({"targetingKey": "u"}), json!("T")),
        (json!({"fractional": [[null, 1]]}), json!({"targetingKey": "u"}), json!(null)),
        (
            json!({"fractional": [[{"fractional": [["b", 1]]}, 1]]}),
            json!({"targetingKey": "u"}),
            json!("b"),
        ),
    ];
    for (rule, attributes, expected) in cases {
        assert_eq!(targeting(rule.clone(), attributes.clone()), expected, "{rule} {attributes}");
    }
}

#[test]
fn jsonlogic_behaves_as_its_reference_where_vectors_are_silent() {
    let apply = |rule: Json, data: Json| {
        verdict_config::flags::Logic::compile(&rule).unwrap().apply(&data).unwrap()
    };
    let cases = [
        (json!({"<": [{"var": "gone"}, 5]}), json!({}), json!(true)),
        (json!({"<": ["b", "a"]}), json!(null), json!(false)),
        (json!({"<": ["x", 1]}), json!(null), json!(false)),
        (json!({"+": ["3.5kg", 1]}), json!(null), json!(null)),
        (json!({"+": [null, true, "2.5"]}), json!(null), json!(3.5)),
        (json!({"/": [1, 0]}), json!(null), json!(null)),
        (json!({"cat": [1.0, null, [1, null, 2], true]}), json!(null), json!("11,,2true")),
        (json!({"==": [[1, 2], "1,2"]}), json!(null), json!(true)),
        (json!({"==": [null, 0]}), json!(null), json!(false)),
        (json!({"==": ["", 0]}), json!(null), json!(true)),
        (json!({"==": ["inf", "inf"]}), json!(null), json!(true)),
        (json!({"max": ["3", 2]}), json!(null), json!(3)),
        (json!({"in": [2, "123"]}), json!(null), json!(true)),
        (json!({"in": ["2", [1, 2]]}), json!(null), json!(false)),
        (json!({"substr": ["żółw", 1, 2]}), json!(null), json!("ół")),
        (json!({"var": ["a.b", "d"]}), json!({"a": {"b": null}}), json!("d")),
        (
            json!({"reduce": [[1, 2], {"var": ""}, 0]}),
            json!(null),
            json!({"current": 2, "accumulator": {"current": 1, "accumulator": 0}}),
        ),
        (
            json!({"in": [{"var": "c"}, ["a","b","c","d","e","f","g","h","i","j"]]}),
            json!({"c": "j"}),
            json!(true),
        ),
        (
            json!({"in": [{"var": "c"}, ["a","b","c","d","e","f","g","h","i","1"]]}),
            json!({"c": 1}),
            json!(false),
        ),
        (json!({"-": [9_007_199_254_740_993_i64]}), json!(null), json!(-9_007_199_254_740_992_i64)),
        (
            json!({"var": "big"}),
            json!({"big": 9_007_199_254_740_993_i64}),
            json!(9_007_199_254_740_993_i64),
        ),
    ];
    for (rule, data, expected) in cases {
        assert_eq!(apply(rule.clone(), data.clone()), expected, "{rule} {data}");
    }
}

#[test]
fn work_and_depth_are_bounded() {
    let deep = (0..70).fold(json!("on"), |rule, _| json!({"!": [rule]}));
    let faults = validate_flag("deep", &on_off(json!({"targeting": deep})));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].path.starts_with("targeting.!"), "{}", faults[0].path);

    let items: Vec<u32> = (0..1_000).collect();
    let quadratic = json!({"map": [items, {"map": [items, {"*": [{"var": ""}, 2]}]}]});
    let doubling =
        json!({"reduce": [items, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "x"]});
    let nesting = json!({"reduce": [items, {"merge": [[{"var": "accumulator"}]]}, 0]});
    let objects = json!({"reduce": [items, {"var": ""}, 0]});
    let set = compile(json!({
        "quadratic": on_off(json!({"targeting": quadratic})),
        "doubling": on_off(json!({"targeting": doubling})),
        "nesting": on_off(json!({"targeting": nesting})),
        "objects": on_off(json!({"targeting": objects})),
    }));
    for key in ["quadratic", "doubling", "nesting", "objects"] {
        assert_eq!(resolved(&set, key, &context(json!({})), 0), "ERROR GENERAL", "{key}");
    }
}

#[test]
fn references_find_the_files_evaluators_and_then_segments() {
    let flags = json!({
        "mine": on_off(json!({"targeting": {"if": [{"$ref": "staff"}, "on", null]}})),
        "other": on_off(json!({"targeting": {"if": [{"$ref": "staff"}, "on", null]}})),
    });
    let segments = json!({"staff": {"==": [{"var": "team"}, "segment"]}});
    let files = BTreeMap::from([(
        "a".to_owned(),
        json!({"form": "object", "document": {
            "flags": ["mine"], "$evaluators": {"staff": {"==": [{"var": "team"}, "file"]}}
        }}),
    )]);
    let set = compile_with(&flags, &segments, &files).unwrap();
    for (key, team, expected) in [
        ("mine", "file", "TARGETING_MATCH on"),
        ("mine", "segment", "DEFAULT off"),
        ("other", "file", "DEFAULT off"),
        ("other", "segment", "TARGETING_MATCH on"),
    ] {
        let context = context(json!({"team": team}));
        assert_eq!(resolved(&set, key, &context, 0), expected, "{key} {team}");
    }
    // Where there is something it could have meant, a reference to nothing is a fault; and
    // references do not nest.
    let flags = json!({"f": on_off(json!({"targeting": {"if": [{"$ref": "stuff"}, "on"]}}))});
    let faults = compile_with(&flags, &segments, &BTreeMap::new()).unwrap_err();
    assert_eq!(told(&faults), ["VD0107 flag/f.targeting"]);
    let nested = json!({"a": {"!": [{"$ref": "b"}]}, "b": {"var": "x"}});
    let faults = compile_with(&json!({}), &nested, &BTreeMap::new()).unwrap_err();
    assert_eq!(told(&faults), ["VD0301 segment/a.![0].$ref"]);
}

#[test]
fn segments_regions_and_schedules_gate_a_flag() {
    let segments = json!({
        "beta": {"in": [{"var": "plan"}, ["beta", "both"]]},
        "staff": {"in": [{"var": "plan"}, ["staff", "both"]]}
    });
    let on = json!({"if": [true, "on"]});
    let flags = json!({
        "any": on_off(json!({"segments": ["beta", "staff"], "targeting": on})),
        "all": on_off(json!({"segments": {"all": ["beta", "staff"]}, "targeting": on})),
        "none": on_off(json!({"segments": {"none": ["beta"]}, "targeting": on})),
        "mixed": on_off(json!({"segments": {"any": ["beta"], "none": ["staff"]}, "targeting": on})),
        "region": on_off(json!({"regions": ["eu"], "targeting": on})),
        "schedule": on_off(json!({"schedule": [
            {"from": "2026-01-01", "until": "2026-01-02", "variant": "on"},
            {"from": "2026-01-01T12:00:00Z", "until": "2026-01-03", "targeting": {"if": [{"var": "x"}, "on", null]}},
        ], "targeting": {"if": [{"var": "y"}, "on", null]}})),
    });
    let set = compile_with(&flags, &segments, &BTreeMap::new()).unwrap();
    let plan = |plan: &str| context(json!({"plan": plan}));
    for (key, who, expected) in [
        ("any", "beta", "TARGETING_MATCH on"),
        ("any", "staff", "TARGETING_MATCH on"),
        ("any", "free", "DEFAULT off"),
        ("all", "both", "TARGETING_MATCH on"),
        ("all", "beta", "DEFAULT off"),
        ("none", "beta", "DEFAULT off"),
        ("none", "free", "TARGETING_MATCH on"),
        ("mixed", "beta", "TARGETING_MATCH on"),
        ("mixed", "both", "DEFAULT off"),
    ] {
        assert_eq!(resolved(&set, key, &plan(who), 0), expected, "{key} {who}");
    }
    for (region, expected) in
        [(Some("eu"), "TARGETING_MATCH on"), (Some("us"), "DEFAULT off"), (None, "DEFAULT off")]
    {
        let context = context(json!({})).in_region(region);
        assert_eq!(resolved(&set, "region", &context, 0), expected, "{region:?}");
    }
    for (at, attributes, expected) in [
        ("2025-12-31T23:59:59.999Z", json!({"y": 1}), "TARGETING_MATCH on"),
        ("2025-12-31T23:59:59.999Z", json!({"x": 1}), "DEFAULT off"),
        ("2026-01-01", json!({}), "TARGETING_MATCH on"),
        ("2026-01-01T23:59:59.999Z", json!({}), "TARGETING_MATCH on"),
        ("2026-01-02", json!({"y": 1}), "DEFAULT off"),
        ("2026-01-02", json!({"x": 1}), "TARGETING_MATCH on"),
        ("2026-01-03", json!({"x": 1}), "DEFAULT off"),
    ] {
        let at = TimestampMs::parse(at).unwrap();
        assert_eq!(
            resolved(&set, "schedule", &context(attributes.clone()), at.0),
            expected,
            "{at}"
        );
    }
    assert!(set.flag_reads_time("schedule") && !set.flag_reads_time("any"));
}

#[test]
fn prerequisites_must_hold_and_may_not_form_circles() {
    let on = json!({"if": [true, "on"]});
    let flags = json!({
        "base": on_off(json!({"targeting": {"if": [{"var": "go"}, "on", null]}})),
        "level": {"state": "ENABLED", "variants": {"low": 1, "high": 2.0}, "defaultVariant": "high"},
        "needs": on_off(json!({"prerequisites": [{"flag": "base", "variant": "on"}], "targeting": on})),
        "value": on_off(json!({"prerequisites": [{"flag": "level", "value": 2}], "targeting": on})),
        "chain": on_off(json!({"prerequisites": [{"flag": "needs", "value": true}], "targeting": on})),
        "dead": on_off(json!({"state": "DISABLED"})),
        "never": on_off(json!({"prerequisites": [{"flag": "dead", "variant": "off"}], "targeting": on})),
    });
    let set = compile(flags);
    for (key, go, expected) in [
        ("needs", true, "TARGETING_MATCH on"),
        ("needs", false, "DEFAULT off"),
        ("chain", true, "TARGETING_MATCH on"),
        ("chain", false, "DEFAULT off"),
        ("value", false, "TARGETING_MATCH on"),
        ("never", true, "DEFAULT off"),
    ] {
        assert_eq!(resolved(&set, key, &context(json!({"go": go})), 0), expected, "{key} {go}");
    }

    let after = |flag: &str| on_off(json!({"prerequisites": [{"flag": flag, "variant": "on"}]}));
    let refused =
        |flags: Json| told(&compile_with(&flags, &Json::Null, &BTreeMap::new()).unwrap_err());
    assert_eq!(
        refused(json!({"a": after("b"), "b": after("c"), "c": after("a"), "d": on_off(json!({}))})),
        [
            "VD0301 flag/a.prerequisites",
            "VD0301 flag/b.prerequisites",
            "VD0301 flag/c.prerequisites"
        ]
    );
    assert_eq!(refused(json!({"a": after("a")})), ["VD0301 flag/a.prerequisites"]);
    assert_eq!(refused(json!({"a": after("gone")})), ["VD0107 flag/a.prerequisites[0]"]);
    let wrong = on_off(json!({"prerequisites": [{"flag": "b", "variant": "purple"}]}));
    assert_eq!(
        refused(json!({"a": wrong, "b": on_off(json!({}))})),
        ["VD0107 flag/a.prerequisites[0]"]
    );
    let chain: serde_json::Map<String, Json> = (0..10)
        .map(|i| {
            (
                format!("f{i}"),
                if i == 0 { on_off(json!({})) } else { after(&format!("f{}", i - 1)) },
            )
        })
        .collect();
    assert_eq!(
        refused(Json::Object(chain)),
        ["VD0301 flag/f8.prerequisites", "VD0301 flag/f9.prerequisites"]
    );
}

#[test]
fn time_is_known_to_be_read() {
    let now = json!({"if": [{">": [{"var": "$flagd.timestamp"}, 5]}, "on"]});
    let flags = json!({
        "plain": on_off(json!({"targeting": {"if": [{"var": "a"}, "on"]}})),
        "now": on_off(json!({"targeting": now})),
        "after": on_off(json!({"prerequisites": [{"flag": "now", "variant": "on"}]})),
        "shared": on_off(json!({"targeting": {"if": [{"$ref": "late"}, "on"]}})),
        "gated": on_off(json!({"segments": ["late"]})),
        "computed": on_off(json!({"targeting": {"if": [{"var": [{"var": "a"}]}, "on"]}})),
    });
    let segments = json!({"late": {">": [{"var": "$flagd.timestamp"}, 5]}});
    let set = compile_with(&flags, &segments, &BTreeMap::new()).unwrap();
    let reading: Vec<&str> = set.keys().filter(|key| set.flag_reads_time(key)).collect();
    assert_eq!(reading, ["after", "computed", "gated", "now", "shared"]);
    assert!(set.reads_time());
    let plain = compile(json!({"plain": on_off(json!({}))}));
    assert!(!plain.reads_time());
}

#[test]
fn faults_name_what_is_wrong_and_where() {
    let cases = [
        (json!([]), vec!["VD0301 "]),
        (json!({}), vec!["VD0105 state", "VD0105 variants"]),
        (
            json!({"state": "ENABLED", "variants": {"a": null, "b": [1]}}),
            vec!["VD0301 variants.a", "VD0301 variants.b"],
        ),
        (on_off(json!({"defaultVariant": "nope"})), vec!["VD0107 defaultVariant"]),
        (on_off(json!({"defaultVariant": true})), vec!["VD0301 defaultVariant"]),
        (on_off(json!({"key": "other"})), vec!["VD0301 key"]),
        (on_off(json!({"metadata": {"a": {}}})), vec!["VD0301 metadata.a"]),
        (on_off(json!({"hashVersion": "v4"})), vec!["VD0301 hashVersion"]),
        (on_off(json!({"off": "purple"})), vec!["VD0107 off"]),
        (on_off(json!({"owner": ""})), vec!["VD0301 owner"]),
        (on_off(json!({"expires": "soon"})), vec!["VD0301 expires"]),
        (on_off(json!({"segments": []})), vec!["VD0301 segments"]),
        (on_off(json!({"prerequisites": [{"flag": "x"}]})), vec!["VD0301 prerequisites[0]"]),
        (
            on_off(
                json!({"schedule": [{"variant": "on"}, {"from": "2026-01-02", "until": "2026-01-01", "variant": "on"}]}),
            ),
            vec!["VD0301 schedule[0]", "VD0301 schedule[1]"],
        ),
        (
            on_off(json!({"schedule": [{"from": "2026-01-01", "targeting": {"nope": 1}}]})),
            vec!["VD0301 schedule[0].targeting.nope"],
        ),
        (on_off(json!({"rollout": {"variant": "on", "percent": 0.0001}})), vec!["VD0301 rollout"]),
        (on_off(json!({"rollout": {"variant": "on", "percent": 101}})), vec!["VD0301 rollout"]),
        (
            on_off(json!({"rollout": {"variant": "x", "percent": 1}})),
            vec!["VD0107 rollout.variant"],
        ),
        (
            on_off(json!({"experiment": {"key": "e", "arms": [{"variant": "on", "weight": 0}]}})),
            vec!["VD0301 experiment.arms", "VD0301 experiment.arms"],
        ),
        (
            on_off(json!({"experiment": {"key": "e", "arms": [
            {"variant": "on", "weight": 1}, {"variant": "on", "weight": 1}]}})),
            vec!["VD0106 experiment.arms[1]"],
        ),
        (
            on_off(json!({"targeting": {"fractional": [["on", 2_147_483_647], ["off", 1]]}})),
            vec!["VD0301 targeting.fractional"],
        ),
        (
            on_off(json!({"targeting": {"and": [{"var": "$flagd.nope"}, {"is": 1}]}})),
            vec!["VD0301 targeting.and[0].var", "VD0301 targeting.and[1].is"],
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(told(&validate_flag("f", &body)), expected, "{body}");
    }
    assert_eq!(told(&validate_flag("", &on_off(json!({})))), ["VD0101 name"]);
}
