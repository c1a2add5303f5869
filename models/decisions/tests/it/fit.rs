//! Models that do not fit their flow: at compile time, by what flags can name, and in the answer.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use verdict_config::model::{ColumnKind, ModelColumn};

use super::support::{World, fields};

/// A flow whose `risk` is scored by what a flag says; `coded` reads the symbol `country` as a number,
/// `foreign` a column that the flow lacks, `classes` has no label `bad`.
fn world(model: Json) -> World {
    let models = json!({"risk": {"model": model, "label": "bad", "points_per_logit": 100.0}});
    let mut world = World::new(json!({"flow": "test", "fields": fields(), "models": models}))
        .risk_model("risk", 0.9)
        .risk_model("coded", 0.9)
        .risk_model("foreign", 0.9)
        .model("classes", &["one", "two"], &[0.5, 0.5]);
    for (name, column, kind) in
        [("coded", "country", ColumnKind::Number), ("foreign", "postcode", ColumnKind::Text)]
    {
        let mut interface = world.models[name].as_ref().clone();
        interface.columns.push(ModelColumn { name: column.to_owned(), kind });
        world.models.insert(name.to_owned(), Arc::new(interface));
    }
    world
}

fn by_flag(variants: Json, targeting: Json) -> World {
    let body = json!({"state": "ENABLED", "variants": variants, "defaultVariant": "on",
        "targeting": targeting});
    world(json!({"flag": "risk-model"})).flag_body("risk-model", body)
}

/// Counting or not, with the message, of each misfit.
fn misfits(world: &World) -> Vec<(bool, String)> {
    let misfits = world.compile().model_misfits(&world.flags);
    misfits.into_iter().map(|misfit| (misfit.counts, misfit.message)).collect()
}

#[test]
fn a_flag_that_can_name_a_model_that_does_not_fit_is_found() {
    let split = |name: &str| json!({"fractional": [["on", 99], [name, 1]]});
    let check = |value: &str, counts: bool, targeting: Json, words: &[&str]| {
        let world = by_flag(json!({"on": "risk", "next": value}), targeting);
        let found = misfits(&world);
        assert_eq!(found.len(), 1, "{value} {found:?}");
        assert_eq!(found[0].0, counts, "{found:?}");
        for word in ["risk-model", "\"next\""].iter().chain(words) {
            assert!(found[0].1.contains(word), "{word}: {found:?}");
        }
    };
    check("coded", true, split("next"), &["coded", "\"country\"", "a number", "symbol"]);
    check("foreign", true, split("next"), &["foreign", "\"postcode\""]);
    check("classes", true, split("next"), &["classes", "\"bad\""]);
    check("nobody", true, split("next"), &["there is no model nobody"]);
    check("coded", false, json!({}), &["nothing can choose"]);
    assert_eq!(misfits(&by_flag(json!({"on": "risk", "off": "none"}), json!({}))), []);
    let shadow = json!({"on": {"model": "risk", "shadow": ["coded"]}});
    let found = misfits(&by_flag(shadow, json!({})));
    assert_eq!(found.len(), 1);
    assert!(!found[0].0 && found[0].1.contains("shadow"), "{found:?}");
    let no_value = misfits(&by_flag(json!({"on": 7}), json!({})));
    assert!(no_value[0].0, "{no_value:?}");
}

#[test]
fn the_answer_says_what_does_not_fit_and_the_policy_runs() {
    let flagged = world(json!({"flag": "risk-model"})).flag("risk-model", json!("coded"));
    let answer = flagged.answer_to(json!({"text": "x", "country": "DE"}));
    assert_eq!(answer["outcome"], json!("review"), "the default policy");
    assert_eq!(answer["models"][0]["failure"], json!("unfit"));
    let detail = answer["models"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("\"country\""), "{detail}");
    assert_eq!(answer["degraded"], json!(["model_unfit:coded", "without_model:scores.risk"]));

    let policy = json!({"model": "fallback_model", "fallback_model": "risk"});
    let fallen = flagged.with("on_failure", policy).answer_to(json!({"text": "x"}));
    assert_eq!(fallen["degraded"], json!(["model_unfit:coded", "fallback_model:risk@7"]));
    assert_eq!(fallen["risk"]["score"], json!(220));
    assert_eq!(fallen["models"][1]["detail"], json!(null));

    let label = world(json!({"flag": "risk-model"})).flag("risk-model", json!("classes"));
    let answer = label.answer_to(json!({"text": "x"}));
    assert_eq!(answer["models"][0]["failure"], json!("unfit"));
    assert!(answer["models"][0]["detail"].as_str().unwrap().contains("\"bad\""));
}

#[test]
fn a_shadow_and_a_fallback_that_do_not_fit_are_findings() {
    let shadow = world(json!({"model": "risk", "shadow": ["coded", "classes"]}));
    let found = shadow.compile().findings().to_vec();
    assert_eq!(found.len(), 2, "{found:?}");
    let answer = shadow.answer_to(json!({"text": "x"}));
    assert_eq!((&answer["degraded"], &answer["risk"]["score"]), (&json!([]), &json!(220)));
    assert_eq!(answer["shadow"][0]["failure"], json!("unfit"));

    let policy = json!({"model": "fallback_model", "fallback_model": "foreign"});
    let fallback = world(json!("risk"))
        .with("on_failure", policy)
        .fails("risk", verdict_decisions::ModelFailure::Failed);
    let found = fallback.compile().findings().to_vec();
    assert!(found.iter().any(|finding| finding.message.contains("\"postcode\"")), "{found:?}");
    let answer = fallback.answer_to(json!({"text": "x"}));
    assert_eq!(answer["outcome"], json!("review"));
    let degraded =
        json!(["model_failed:risk@7", "model_unfit:foreign", "without_model:scores.risk"]);
    assert_eq!(answer["degraded"], degraded);

    let member = world(json!("coded")).try_compile().unwrap_err();
    assert_eq!(member.objects[0].faults[0].code.as_str(), "VD0503");
}
