//! The answer's JSON as a whole: every member, in order, never absent.

use serde_json::{Value as Json, json};

use super::support::{World, fields, request};

fn onboarding() -> World {
    let mut flow = json!({
        "flow": "merchant_onboarding", "unit": "card", "fields": fields(), "rules": ["merchant_risk"],
        "classify": {"scheme": "naics2022", "model": {"flag": "industry-model"}, "alternatives": 1,
            "codes": {"table": "naics_mcc", "key": "naics", "columns": {"mcc": "mcc", "sic": "sic"}}},
        "models": {"risk": {"model": {"model": "risk", "shadow": ["next"]}}},
    });
    flow["fields"]["age_days"]["need"] = json!("optional");
    World::new(flow)
        .list("gambling", &["sports betting", "casino"])
        .table("naics_mcc", json!(["naics", "mcc", "sic"]), json!([["722511", "5812", ""], ["1", "2", "3"]]))
        .rules("merchant_risk", json!([
            {"id": "r_17", "category": "prohibited", "severity": "high", "when": "keywords(\"gambling\", text)",
             "then": {"points": 300, "outcome": "review", "reason": "KW_GAMBLING"}},
            {"id": "r_88", "category": "fraud", "when": "age_days < 30", "then": {"points": 50}},
        ]))
        .model("industry", &["722511", "713210"], &[0.97, 0.03])
        .risk_model("risk", 0.41)
        .risk_model("next", 0.1)
        .flag("industry-model", json!("industry"))
}

#[test]
fn an_answer_has_every_member() {
    let answer = onboarding().answer_to(json!({"text": "Sports  Betting for all"}));
    let expected = json!({
        "decision_id": "01KDECISION",
        "flow": "merchant_onboarding",
        "outcome": "review",
        "classification": {"label": "722511", "scheme": "naics2022", "confidence": 0.97,
            "source": "model:industry@7", "alternatives": [{"label": "713210", "confidence": 0.03}],
            "codes": {"mcc": "5812"}},
        "risk": {"score": 300, "level": "medium", "categories": ["prohibited"], "source": "rules"},
        "reasons": [{"code": "KW_GAMBLING", "source": "rule:r_17", "points": 300, "outcome": "review",
            "unknown": false,
            "evidence": {"field": "text", "list": "gambling", "terms": ["sports betting"], "entry": null,
                "score": null, "explanation": null, "table": null, "row": null, "values": null, "also": []}}],
        "abstained": [],
        "experiment": null,
        "flags": {"industry-model": "this"},
        "rules": {"set": "merchant_risk@12", "sets": ["merchant_risk@12"], "hits": ["r_17"],
            "unknown": [{"id": "r_88", "missing": ["age_days"], "cause": "missing"}],
            "snoozed": [], "suppressed": [], "truncated": false},
        "models": [
            {"stage": "classify", "model": "industry@7", "role": "primary", "score": 0.97, "label": "722511",
             "points": null, "failure": null, "detail": null},
            {"stage": "scores.risk", "model": "risk@7", "role": "primary", "score": 0.41, "label": null,
             "points": null, "failure": null, "detail": null}],
        "shadow": [{"model": "next@7", "stage": "scores.risk", "score": 0.1, "label": null,
            "outcome": "review", "failure": null, "detail": null}],
        "missing": [],
        "as_of": "2026-01-15T12:00:00Z",
        "test": false,
        "request_id": null,
        "revision": 1234,
        "stale": false,
        "degraded": [],
        "cost_units": answer["cost_units"],
        "took_us": 38,
        "windows": null,
    });
    assert_eq!(answer, expected);
    let keys = |json: &Json| -> Vec<String> { json.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&answer), keys(&expected), "members keep their order");
}

#[test]
fn a_request_tells_its_id_its_time_and_that_it_is_a_test() {
    let mut request = request(json!({}));
    request.request_id = Some("req-1".to_owned());
    request.test = true;
    request.as_of = Some(verdict_config::TimestampMs::parse("2025-06-01").unwrap());
    let decision = onboarding().decide_request(request).decision;
    assert_eq!(decision.request_id.as_deref(), Some("req-1"));
    assert_eq!(decision.as_of.to_string(), "2025-06-01T00:00:00Z");
    assert!(decision.test);
}

#[test]
fn labels_without_codes_have_none() {
    let answer = onboarding().answer("industry", &[0.1, 0.9], None).answer_to(json!({"text": "x"}));
    assert_eq!(answer["classification"]["label"], json!("713210"));
    assert_eq!(answer["classification"]["codes"], json!(null));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let rules: Vec<Json> = (0..300)
        .map(|number| json!({"id": format!("r{number:03}"), "when": "amount > 1", "then": {"points": 1}}))
        .collect();
    let world = World::new(json!({"flow": "test", "fields": fields(), "rules": ["risk"]}))
        .rules("risk", json!(rules));
    let answer = world.answer_to(json!({"amount": 5}));
    assert_eq!(answer["risk"]["score"], json!(300), "what is counted is not cut");
    assert_eq!(answer["rules"]["hits"].as_array().unwrap().len(), 200);
    assert_eq!(answer["reasons"].as_array().unwrap().len(), 200);
    assert_eq!(answer["rules"]["truncated"], json!(true));
}

#[test]
fn faults_of_an_input_are_all_named() {
    let world = onboarding();
    let options = verdict_decisions::BeginOptions {
        request: request(json!({"amount": "many", "age_days": 1.5, "colour": 1})),
        flags: &world.flags,
        region: None,
        id: "x".into(),
        received_at: super::support::NOW,
        revision: 1,
        snoozes: &[],
    };
    let rejected = world.compile().begin(options).unwrap_err();
    assert_eq!(rejected.code(), verdict_config::Code::InputInvalid);
    let paths: Vec<&str> = rejected.faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["input.amount", "input.age_days", "input.colour"]);
}

#[test]
fn decimals_of_a_body_are_exact_in_rules_and_records_or_refused() {
    let exact = "amount == 12345678901234567.89";
    let world = World::new(json!({"flow": "test", "fields": fields(), "rules": ["risk"]}))
        .rules("risk", json!([{"id": "exact", "when": exact, "then": {"points": 7}}]));
    let check = |number: &str, hit: bool| {
        let body = format!(r#"{{"input": {{"amount": {number}}}}}"#);
        let request = verdict_decisions::request::parse_body(body.as_bytes()).unwrap();
        let sealed = world.decide_request(request).seal(1, false).unwrap();
        let answer: Json = serde_json::from_slice(&sealed.answer).unwrap();
        assert_eq!(answer["risk"]["score"], json!(if hit { 7 } else { 0 }), "{number}");
        let open = sealed.record.encode_open().unwrap();
        let record = verdict_decisions::DecisionRecord::decode(&open, None).unwrap();
        let replayed = verdict_decisions::replay::replay(
            &record,
            &world.compile(),
            verdict_decisions::replay::ReplayOptions::default(),
            &mut verdict_rules::Scratch::default(),
        );
        assert!(replayed.unwrap().equal, "{number}");
    };
    check("12345678901234567.89", true);
    check("12345678901234567.88", false);
    check("12345678901234567.9", false);
    check("\"12345678901234567.89\"", true);
    check("1234567890123456789e-2", true);

    for number in ["\"1.00000000000000000000000000001\"", "1e-30", "\"1,000\"", "\"1_000\""] {
        let body = format!(r#"{{"input": {{"amount": {number}}}}}"#);
        let request = verdict_decisions::request::parse_body(body.as_bytes()).unwrap();
        let options = verdict_decisions::BeginOptions {
            request,
            flags: &world.flags,
            region: None,
            id: "x".into(),
            received_at: super::support::NOW,
            revision: 1,
            snoozes: &[],
        };
        let rejected = world.compile().begin(options).unwrap_err();
        assert_eq!(rejected.faults[0].path, "input.amount", "{number}");
    }
}
