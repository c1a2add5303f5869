//! What makes a flow not compile, and what is only suspicious.

use serde_json::{Value as Json, json};

use super::support::{World, fields, flow, rule};

fn check(world: &World, expected: &[(&str, &str)]) {
    let faults = match world.try_compile() {
        Ok(_) => Vec::new(),
        Err(error) => error.into_faults(),
    };
    let got: Vec<(&str, &str)> =
        faults.iter().map(|fault| (fault.path.as_str(), fault.code.as_str())).collect();
    assert_eq!(got, expected, "{faults:#?}");
}

fn plain() -> World {
    World::new(flow()).rules("risk", json!([rule("r", "fraud", json!({"points": 1}))]))
}

#[test]
fn a_plain_flow_compiles() {
    check(&plain(), &[]);
    assert!(plain().compile().findings().is_empty());
}

#[test]
fn names_that_name_nothing_are_faults() {
    check(&plain().with("rules", json!(["risk", "other"])), &[("flow/test.rules[1]", "VD0107")]);
    check(&plain().with("rules", json!(["risk", "risk"])), &[("flow/test.rules[1]", "VD0106")]);
    check(&plain().with("unit", json!("nobody")), &[("flow/test.unit", "VD0107")]);
    check(&plain().with("unit", json!("amount")), &[("flow/test.unit", "VD0104")]);
    check(
        &plain().with("models", json!({"m": {"model": "nobody"}})),
        &[("flow/test.models.m.model", "VD0107")],
    );
    let codes = |table: &str, key: &str, column: &str| {
        json!({"scheme": "s", "model": "none",
            "codes": {"table": table, "key": key, "columns": {"mcc": column}}})
    };
    let world =
        |codes: Json| plain().table("t", json!(["a", "b"]), json!([])).with("classify", codes);
    check(&world(codes("t", "a", "b")), &[]);
    check(&world(codes("u", "a", "b")), &[("flow/test.classify.codes.table", "VD0107")]);
    check(
        &world(codes("t", "x", "y")),
        &[
            ("flow/test.classify.codes.key", "VD0107"),
            ("flow/test.classify.codes.columns.mcc", "VD0107"),
        ],
    );
    check(
        &plain().with("on_failure", json!({"model": "fallback_model"})),
        &[("flow/test.on_failure.fallback_model", "VD0105")],
    );
    check(
        &plain().with("on_failure", json!({"model": "fallback_model", "fallback_model": "x"})),
        &[("flow/test.on_failure.fallback_model", "VD0107")],
    );
}

#[test]
fn models_must_fit_the_fields() {
    let use_model = |name: &str| json!({"m": {"model": name}});
    let world = || plain().risk_model("good", 0.5).anomaly_model("forest", 0.5);
    check(&world().with("models", use_model("good")), &[]);
    check(&world().with("models", use_model("forest")), &[]);
    let mut other = world().with("models", use_model("good"));
    other.flow["fields"]["text"]["type"] = json!("int");
    check(&other, &[("flow/test.models.m.model", "VD0503")]);
    let mut absent = world().with("models", use_model("forest"));
    absent.flow["fields"].as_object_mut().unwrap().shift_remove("amount");
    absent.rule_sets.clear();
    check(&absent.with("rules", json!([])), &[("flow/test.models.m.model", "VD0503")]);
    check(
        &world().with("models", json!({"m": {"model": "good", "label": "worse"}})),
        &[("flow/test.models.m.label", "VD0104")],
    );
    check(
        &world().with("classify", json!({"scheme": "s", "model": "forest"})),
        &[("flow/test.classify.model", "VD0104")],
    );
    let members: Vec<Json> = (0..9).map(|_| json!({"model": "good"})).collect();
    let ensemble = json!({"m": {"model": {"ensemble": {"method": "voting", "members": members}}}});
    check(&world().with("models", ensemble), &[("flow/test.models.m.model", "VD0104")]);
}

#[test]
fn numbers_out_of_range_are_faults() {
    for (levels, fault) in [
        (json!({"medium": 1, "high": 2, "critical": 3}), None),
        (json!({"medium": 600, "high": 300, "critical": 850}), Some("flow/test.score.levels")),
        (
            json!({"medium": -1, "high": 300, "critical": 850}),
            Some("flow/test.score.levels.medium"),
        ),
        (
            json!({"medium": 1, "high": 2, "critical": 1001}),
            Some("flow/test.score.levels.critical"),
        ),
    ] {
        let expected: Vec<(&str, &str)> = fault.iter().map(|path| (*path, "VD0104")).collect();
        check(&plain().with("score", json!({"levels": levels})), &expected);
    }
    check(&plain().with("score", json!({"base": 1001})), &[("flow/test.score.base", "VD0104")]);
    check(
        &plain().with(
            "classify",
            json!({"scheme": "s", "model": "none", "accept_from": 1.5, "delta": -0.1}),
        ),
        &[("flow/test.classify.accept_from", "VD0104"), ("flow/test.classify.delta", "VD0104")],
    );
    check(&plain().with("classify", json!({"scheme": "s"})), &[("flow/test.classify", "VD0105")]);
    let mut world = plain();
    world.flow["fields"]["amount"]["min"] = json!(5);
    world.flow["fields"]["amount"]["max"] = json!(1);
    world.flow["fields"]["country"]["min"] = json!(1);
    check(
        &world,
        &[("flow/test.fields.country.min", "VD0104"), ("flow/test.fields.amount", "VD0104")],
    );
    check(
        &plain().with("flow", json!("Not A Name")),
        &[("flow/Not A Name.flow", "VD0101"), ("flow/Not A Name.rules[0]", "VD0104")],
    );
}

#[test]
fn segments_are_conditions() {
    let segments = |when: &str| json!({"segments": [{"name": "s", "when": when, "levels": {"medium": 1, "high": 2, "critical": 3}}]});
    check(&plain().with("score", segments("amount > 5")), &[]);
    let error = plain().with("score", segments("amunt > 5")).try_compile().unwrap_err();
    let fault = &error.objects[0].faults[0];
    assert_eq!((fault.path.as_str(), fault.code.as_str()), ("score.segments[0].when", "VD0203"));
    let mut twice = segments("amount > 5");
    let copy = twice["segments"][0].clone();
    twice["segments"].as_array_mut().unwrap().push(copy);
    check(&plain().with("score", twice), &[("flow/test.score.segments[1].name", "VD0106")]);
}

#[test]
fn rules_are_compiled_against_the_flow() {
    let of = |rules: Json| World::new(flow()).rules("risk", rules);
    let faults = of(json!([{"id": "r", "when": "nobody > 1"}])).try_compile().unwrap_err();
    assert_eq!(faults.objects[0].name, "risk");
    assert_eq!(faults.objects[0].faults[0].code.as_str(), "VD0203");
    let model = json!({"risk": {"model": "risk"}});
    let late = |rules: Json| of(rules).risk_model("risk", 0.5).with("models", model.clone());
    check(&late(json!([{"id": "r", "when": "scores.risk > 0.5"}])), &[]);
    check(
        &late(json!([{"id": "r", "when": "scores.risk > 0.5", "then": {"allow": true}}])),
        &[("rule_set/risk.rules[0].when", "VD0104")],
    );
    let classify = json!({"scheme": "s", "rules": ["risk"]});
    check(
        &late(json!([{"id": "r", "when": "scores.risk > 0.5", "then": {"label": "x"}}]))
            .with("classify", classify),
        &[("rule_set/risk.rules[0].when", "VD0104")],
    );
    let mut other = plain();
    other.flow["flow"] = json!("another");
    check(&other, &[("flow/another.rules[0]", "VD0104")]);
}

#[test]
fn rules_of_two_sets_may_share_an_id() {
    let world = World::new(flow())
        .with("rules", json!(["risk", "more"]))
        .rules(
            "risk",
            json!([rule("r", "fraud", json!({"points": 1})), rule("a", "fraud", json!({}))]),
        )
        .rules("more", json!([rule("r", "fraud", json!({"points": 2}))]));
    let answer = world.answer_to(json!({"amount": 5}));
    assert_eq!(answer["rules"]["hits"], json!(["a", "more/r", "risk/r"]));
    assert_eq!(answer["rules"]["sets"], json!(["risk@12", "more@12"]));
    assert_eq!(answer["reasons"][0]["source"], json!("rule:more/r"));
}

#[test]
fn suspicions_are_findings() {
    let findings = |world: World| -> Vec<String> {
        world.compile().findings().iter().map(|finding| finding.path.clone()).collect()
    };
    assert_eq!(findings(plain().with("switches", json!({"flow": "nobody"}))), ["flags"]);
    assert_eq!(findings(plain().with("cost_units_max", json!(1))), ["cost_units_max"]);
    let outcomes = json!({"outcomes": {"medium": "review", "high": "approve"}});
    assert_eq!(
        findings(plain().with("score", outcomes)),
        ["score.outcomes.high", "score.outcomes.critical"]
    );
    let mut odd = plain();
    odd.flow["fields"]["Subject Line"] = json!({"type": "string"});
    assert_eq!(findings(odd), ["fields.Subject Line"]);
    let classify = plain()
        .with("rules", json!([]))
        .with("classify", json!({"scheme": "s", "rules": ["risk"]}));
    assert_eq!(findings(classify), ["rule_set/risk.rules[0].then"]);
}

#[test]
fn snoozes_need_an_end_and_a_rule() {
    let entries = json!([{"value": "u"}, {"value": "u", "expires": "2026-01-01"}]);
    let world = plain().list_entries("snooze.test", entries);
    check(
        &world,
        &[
            ("list/snooze.test.entries[0].expires", "VD0105"),
            ("list/snooze.test.entries[1].rule", "VD0105"),
        ],
    );
}

#[test]
fn the_hash_is_that_of_everything_the_flow_was_compiled_against() {
    let hash = |world: &World| *world.compile().content_hash();
    let base = || plain().risk_model("risk", 0.5).list("words", &["a"]);
    assert_eq!(hash(&base()), hash(&base()));
    let rules = base().rules("risk", json!([rule("r", "fraud", json!({"points": 2}))]));
    assert_ne!(hash(&base()), hash(&rules));
    assert_ne!(hash(&base()), hash(&base().with("description", json!("new"))));
    assert_ne!(hash(&base()), hash(&base().risk_model("other", 0.5)));
    assert_eq!(hash(&base()), hash(&base().flag("f", json!(true))));
    let _ = fields();
}
