//! Names that cannot be compared, and fields that are sets.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use verdict_config::{Code, EvaluationVersion};
use verdict_rules::{CompiledRuleSet, Evidence};

use super::harness::{Given, World, evaluate, list, schema, truth};

fn world() -> World {
    let mut world = World::new();
    world.schema = schema(json!({
        "name": { "type": "string", "need": "required", "max_chars": 400 },
        "country": { "type": "symbol" },
        "threshold": { "type": "float" },
        "directors": { "type": "set", "max_items": 8, "max_chars": 400 },
        "vip": { "type": "bool" },
    }));
    let people = list(json!([
        "Rami Makhlouf",
        "JSC ARGUMENT",
        { "value": "Ivan Petrov", "qualifiers": { "country": "RU" } },
    ]));
    world.lists.insert("people".to_owned(), people);
    world
}

fn run(world: &World, set: &CompiledRuleSet, input: Json) -> String {
    truth(set, &world.facts(input), &Given::default())
}

#[test]
fn a_name_that_cannot_be_compared_is_unknown_with_its_cause() {
    let world = world();
    let set = world.one("name_match(\"people\", name) >= 0.70").unwrap();
    for (name, expected) in [
        ("", "name_empty"),
        ("...", "name_empty"),
        ("محمد العبيدي", "name_script"),
        ("山田太郎", "name_script"),
        ("Արամ Պետրոսյան", "name_script"),
        ("გიორგი მაისურაძე", "name_script"),
        ("Ռամի Մախլուֆ", "true"),
        ("რამი მახლუფ", "true"),
        ("Рами Махлуф", "true"),
        ("RamiMakhlouf", "true"),
        ("JSCARGUMENT", "true"),
        ("ARGUMENTJSC", "true"),
        ("Ra\u{200b}mi Makh\u{200b}louf", "true"),
        ("R a m i M a k h l o u f", "true"),
        ("a1 b2 c3 d4 e5 f6 g7 h8 i9 j10 k11 l12 Rami Makhlouf", "true"),
        (&"word ".repeat(40), "name_cut"),
        (&"y".repeat(100), "name_cut"),
        ("Maria Lopez", "false"),
    ] {
        assert_eq!(run(&world, &set, json!({ "name": name })), expected, "{name:?}");
    }
}

#[test]
fn a_lower_bound_decides_what_it_can() {
    let world = world();
    let long = format!("Rami Makhlouf {}", "word ".repeat(40));
    for (when, expected) in [
        ("name_match(\"people\", name) >= 0.70", "true"),
        ("name_match(\"people\", name) > 0.99", "name_cut"),
        ("name_match(\"people\", name) < 0.70", "false"),
        ("name_match(\"people\", name) < 0.99", "name_cut"),
        ("0.70 <= name_match(\"people\", name)", "true"),
        ("0.99 < name_match(\"people\", name)", "name_cut"),
        ("name_match(\"people\", name) > 1.0", "false"),
        ("name_match(\"people\", name) <= 1.0", "true"),
        ("name_match(\"people\", name) == 0.5", "false"),
        ("name_match(\"people\", name) != 0.5", "true"),
        ("name_match(\"people\", name) == 0.99", "name_cut"),
        ("name_match(\"people\", name) >= threshold", "true"),
        ("name_match(\"people\", name) * 2.0 >= 1.0", "name_cut"),
        ("!(name_match(\"people\", name) >= 0.70)", "false"),
        ("name_match(\"people\", name) >= 0.70 && name_match(\"people\", name) < 0.95", "name_cut"),
        ("vip && name_match(\"people\", name) > 0.99", "false"),
        ("!vip || name_match(\"people\", name) > 0.99", "true"),
    ] {
        let set = world.one(when).unwrap();
        let input = json!({ "name": long, "threshold": 0.7, "vip": false });
        assert_eq!(run(&world, &set, input), expected, "{when}");
    }
}

#[test]
fn an_unknown_name_leaves_evidence() {
    let world = world();
    let set = world
        .compile(json!([{
            "id": "r", "when": "name_match(\"people\", name) >= 0.95", "unknown": "review",
            "then": { "points": 100 },
        }]))
        .unwrap();
    let evidence = |name: &str| {
        let evaluation = evaluate(&set, &world.facts(json!({ "name": name })), &Given::default());
        let [hit] = evaluation.hits[..] else { panic!("{name}: {evaluation:?}") };
        assert!(hit.as_unknown);
        match evaluation.evidence(&hit) {
            [Evidence::Name { entry, score, explanation, item: None, .. }] => {
                (entry.to_string(), *score, explanation.to_string())
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    let (entry, score, explanation) = evidence("...");
    assert_eq!((entry.as_str(), score), ("", 0.0));
    assert_eq!(explanation, "the name has no letter and no digit to compare");
    let (entry, score, explanation) = evidence(&format!("Rami Makhlouf {}", "word ".repeat(40)));
    assert_eq!(entry, "Rami Makhlouf");
    assert!((0.70..0.95).contains(&score), "{score}");
    assert!(explanation.contains("rami = rami") && explanation.ends_with("a lower bound"));
    let text = set.describe_cause(verdict_rules::UnknownCause::Name(
        0,
        verdict_rules::names::NameGap::Script,
    ));
    assert!(text.starts_with("name: the name's script"), "{text}");
}

#[test]
fn a_set_that_cost_less_by_the_version_before_stays_with_a_finding() {
    let world = world();
    let rule = json!([{ "id": "r", "when": "name_match(\"people\", name) >= 0.70" }]);
    let mut before = self::world();
    before.limits.evaluation = EvaluationVersion::V1;
    let cheap = before.compile(rule.clone()).unwrap().cost_units_max();
    let limited = |limit: u64| {
        let mut definition = super::harness::definition(rule.clone());
        definition.cost_units_max = Some(limit);
        verdict_rules::compile(&definition, &world.environment())
    };
    let set = limited(cheap).unwrap();
    assert!(set.cost_units_max() > cheap);
    let [finding] = set.findings() else { panic!("{:?}", set.findings()) };
    assert_eq!(finding.refusal.as_ref().map(|refusal| refusal.code), Some(Code::RuleTooCostly));
    assert_eq!(limited(cheap - 1).unwrap_err()[0].code, Code::RuleTooCostly);
}

#[test]
fn entries_that_latin_names_are_hardly_like_are_found() {
    let mut world = world();
    world.lists.insert("people".to_owned(), list(json!(["Maria Lopez", "山田太郎"])));
    let set = world.one("name_match(\"people\", name) >= 0.70").unwrap();
    let [finding] = set.findings() else { panic!("{:?}", set.findings()) };
    assert_eq!(finding.path, "lists.people.entries[1].value");
    assert!(finding.message.contains("is in Han script only"), "{}", finding.message);
}

#[test]
fn of_a_set_the_best_item_counts_and_the_evidence_names_it() {
    let world = world();
    let set = world
        .compile(json!([
            { "id": "n", "when": "name_match(\"people\", directors, country) >= 0.70" },
            { "id": "l", "when": "listed(\"people\", directors)" },
            { "id": "k", "when": "keywords(\"people\", directors)" },
        ]))
        .unwrap();
    let input = json!({
        "name": "x", "country": "RU", "directors": ["Ana Silva", "IVAN PETROV", "Iwan Petroff"],
    });
    let evaluation = evaluate(&set, &world.facts(input), &Given::default());
    assert_eq!(evaluation.hits.len(), 3);
    let item = |at: usize| match evaluation.evidence(&evaluation.hits[at]) {
        [
            Evidence::Name { field, item, .. }
            | Evidence::Listed { field, item, .. }
            | Evidence::Terms { field, item, .. },
        ] => {
            assert_eq!(set.slot_name(*field), "directors");
            item.as_ref().map(Arc::clone)
        }
        other => panic!("{other:?}"),
    };
    for at in 0..3 {
        assert_eq!(item(at).as_deref(), Some("IVAN PETROV"), "{at}");
    }
    assert!(
        set.cost_units_max()
            > 8 * world.one("name_match(\"people\", name) > 0.5").unwrap().cost_units_max() / 2
    );
}

#[test]
fn sets_have_three_values() {
    let world = world();
    let check = |when: &str, directors: Json, expected: &str| {
        let set = world.one(when).unwrap();
        let mut input = json!({ "name": "x" });
        if !directors.is_null() {
            input["directors"] = directors.clone();
        }
        assert_eq!(run(&world, &set, input), expected, "{when} {directors}");
    };
    let match_any = "name_match(\"people\", directors) >= 0.70";
    check(match_any, Json::Null, "missing");
    check(match_any, json!([]), "false");
    check(match_any, json!(["Ana Silva", "Maria Lopez"]), "false");
    check(match_any, json!(["Ana Silva", "RamiMakhlouf"]), "true");
    check(match_any, json!(["Ana Silva", "山田太郎"]), "name_script");
    check(match_any, json!(["Rami Makhlouf", "山田太郎"]), "true");
    check("name_match(\"people\", directors) < 0.70", json!(["山田太郎"]), "name_script");
    check("!listed(\"people\", directors)", json!([]), "true");
    check("listed(\"people\", directors)", Json::Null, "missing");
    check("listed(\"people\", directors)", json!(["x", "ivan petrov"]), "true");
    check("listed(\"people\", directors)", json!(["x"]), "false");
    check("keywords(\"people\", directors)", Json::Null, "missing");
    check("keywords(\"people\", directors)", json!(["about Ivan Petrov himself"]), "true");
    // A phrase does not reach from one item into the next.
    check("keywords(\"people\", directors)", json!(["ivan", "petrov"]), "false");
    check("!keywords(\"people\", directors)", json!(["nobody"]), "true");
}

#[test]
fn the_first_version_of_evaluation_keeps_its_answers_and_refuses_sets() {
    let mut world = world();
    world.limits.evaluation = EvaluationVersion::V1;
    let set = world
        .compile(json!([{
            "id": "r", "when": "name_match(\"people\", name) >= 0.70", "unknown": "review",
        }]))
        .unwrap();
    for (name, expected) in [
        ("", "false"),
        ("RamiMakhlouf", "false"),
        ("山田太郎", "false"),
        ("Makhlouf, Rami", "true"),
    ] {
        assert_eq!(run(&world, &set, json!({ "name": name })), expected, "{name:?}");
    }
    for when in [
        "name_match(\"people\", directors) > 0.5",
        "listed(\"people\", directors)",
        "keywords(\"people\", directors)",
    ] {
        let faults = world.one(when).unwrap_err();
        assert!(faults[0].message.contains("directors is a set, which needs version 3"), "{when}");
    }
}
