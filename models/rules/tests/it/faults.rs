//! What is refused, where the fault is said to be, and what it advises.

use serde_json::json;
use verdict_config::{Code, EvaluationVersion};

use crate::harness::World;

fn check(when: &str, code: Code, message: &str) {
    let faults = World::new().one(when).err().unwrap_or_default();
    assert_eq!(faults.len(), 1, "{when}: {faults:?}");
    assert_eq!(faults[0].path, "rules[0].when", "{when}");
    assert_eq!(faults[0].code, code, "{when}: {}", faults[0].message);
    assert!(faults[0].message.contains(message), "{when}: {}", faults[0].message);
}

#[test]
fn syntax_faults_name_the_column() {
    for (when, message) in [
        ("", "column 1: expected a value"),
        ("amount >", "column 9: expected a value"),
        ("amount > 5 &", "column 12: found &; both is &&"),
        ("amount = 5", "column 8: found =; equality is =="),
        ("amount > 5)", "column 11: expected the end of the expression"),
        ("(amount > 5", "column 12: expected ), found the end"),
        ("country == \"GB", "column 12: a text has no end"),
        ("country == 'a\\q'", "column 14: unknown escape"),
        ("amount > 5u", "column 11: a number ends in a letter"),
        ("amount > 1e", "column 10: an exponent needs digits"),
        ("country == null", "column 12: there is no null"),
        ("tags[0] == \"a\"", "column 5: positions in brackets"),
        ("{\"a\": 1}", "column 1: maps are not part"),
        ("amount > 5 and count > 1", "column 12: found and; both is written &&"),
        ("country == \u{201c}GB\u{201d}", "column 12: found a typographic quote"),
        ("active &&\n  !", "line 2, column 4: expected a value"),
        ("\u{e9}", "column 1: found 'é'"),
        ("!-count > 5", "column 2: expected a value"),
        ("country.matches(\"(\")", "the pattern is not valid"),
        ("frobnicate(count)", "there is no function \"frobnicate\""),
        ("startswith(country, \"G\")", "did you mean \"startsWith\"?"),
    ] {
        check(when, Code::RuleSyntax, message);
    }
}

/// What people type who come from other languages.
#[test]
fn words_of_other_languages_get_a_hint() {
    for (when, message) in [
        ("amount > 5 AND count > 1", "column 12: found AND; both is written &&"),
        ("active or verified", "column 8: found or; either is written ||"),
        ("not active", "column 1: found not where a value belongs; the opposite"),
        ("NOT active", "found NOT; the opposite of a condition is written !(condition)"),
        ("active && not verified", "column 11: found not where a value belongs"),
        (
            "country not in [\"GB\"]",
            "column 9: found not; that a value is not in a list is written !(",
        ),
        ("country NOT IN (\"GB\", \"US\")", "written !(country in [\"GB\", \"US\"])"),
        ("country IN (\"GB\", \"US\")", "found IN; in is written in small letters"),
        ("country in (\"GB\", \"US\")", "column 12: a list stands in brackets"),
        ("amount <> 5", "column 8: found <>; inequality is written !="),
        ("amount => 5", "found =>; at least is written >="),
        ("amount =< 5", "found =<; at most is written <="),
        ("amount === 5", "found ===; equality is written =="),
        ("country !== \"GB\"", "found !==; inequality is written !="),
        ("amount between 1 and 5", "column 8: found between; a range is written"),
        ("name like \"a%\"", "column 6: found like; parts of a text are asked"),
        ("name contains \"a\"", "found contains; texts are asked with calls"),
        ("country is null", "column 9: found is; whether a field is present is written has(field)"),
        ("country is not null", "and absent !has(field)"),
        ("name =~ \"a\"", "found =~; a pattern is asked with"),
        ("country eq \"GB\"", "found eq; equality is written =="),
        ("if active then 1 else 2", "a choice is written condition ? value : other"),
        ("country == \u{201e}GB\u{201c}", "column 12: found a typographic quote"),
        ("count ** 2 > 4", "found **; there are no powers"),
        ("active\u{200b}", "column 7: found a character that shows nothing (U+200B)"),
        ("active\u{a0}&& verified", "column 7: found a space that is not a plain one (U+00A0)"),
        ("len(name) > 5", "there is no function \"len\"; write size(text)"),
        ("isnull(country)", "write !has(field)"),
        ("count(card_id) > 5", "write window_count(\"24h\", key)"),
        ("year(opened_at) > 2000", "write time.getFullYear()"),
        ("upper(country) == \"GB\"", "write text.lower()"),
    ] {
        check(when, Code::RuleSyntax, message);
    }
    check("active == True", Code::RuleUnknownField, "there is no field \"True\"; write true");
    check("country == NULL", Code::RuleUnknownField, "has(field) says whether a field is present");
    check("opened_at < now", Code::RuleUnknownField, "the time of the decision is as_of");
    check("!country in [\"GB\"]", Code::RuleType, "write !(value in [..])");
}

#[test]
fn time_zones_are_checked_when_a_rule_is_published() {
    check(
        "as_of.getHours(\"Berlin\") > 5",
        Code::UnknownReference,
        "did you mean \"Europe/Berlin\"?",
    );
    check("as_of.getHours(\"Europe/Berln\") > 5", Code::UnknownReference, "\"Europe/Berlin\"?");
    check("as_of.date(\"+25:00\") == \"\"", Code::UnknownReference, "is no offset from UTC");
    check("as_of.getHours(country) > 5", Code::RuleType, "expected a time zone in quotes");
    check("country.getMonth() > 5", Code::RuleType, "country is text, expected a time");
    check("as_of.getMonth(\"UTC\", 1) > 5", Code::RuleType, "getMonth does not take 3 arguments");
    check("as_of.getmonth() > 5", Code::RuleSyntax, "did you mean \"getMonth\"?");
    check("as_of.date() > 5", Code::RuleType, "as_of");
}

#[test]
fn the_first_version_of_evaluation_refuses_what_it_never_had() {
    let mut world = World::new();
    world.limits.evaluation = EvaluationVersion::V1;
    for when in [
        "as_of.getMonth() == 5",
        "as_of.getHours(\"Europe/Berlin\") > 5",
        "as_of.date() == \"2026-06-01\"",
    ] {
        let faults = world.one(when).unwrap_err();
        assert!(faults[0].message.contains("version 3 of the cluster"), "{when}: {faults:?}");
    }
    assert!(world.one("listed(\"licensed\", lower(country))").is_err());
    for when in ["as_of.getHours() > 5", "opened_at.getDayOfWeek() == 0"] {
        world.one(when).unwrap();
    }
}

#[test]
fn type_faults_say_what_would_be_right() {
    for (when, message) in [
        ("amount > \"5\"", "column 1: amount is decimal and \"5\" is text"),
        ("count > amount", "int(), decimal() and double() convert"),
        ("count > window_mean(\"24h\", card_id, amount)", "int(), decimal() and double() convert"),
        ("amount", "amount is decimal and not true or false"),
        ("amount && active", "column 1: amount is decimal"),
        ("tags", "is a set"),
        ("active > true", "true and false have no order"),
        ("opened_at > \"2026-01-01\"", "timestamp("),
        ("count + 1.5 > 2", "1.5 is no int"),
        ("count % 2.5 == 0", "2.5 is no int"),
        ("ratio % 2 == 0", "% takes ints"),
        ("country + \"x\" == \"y\"", "arithmetic takes numbers"),
        ("count in country", "in asks a list in brackets or a set"),
        ("count in tags", "sets hold texts, count is int"),
        ("country in [\"a\", 5]", "country is text and 5 is int"),
        ("count < 1 < 2", "use values of one type"),
        ("active ? 1 : \"x\" == \"x\"", "is int and"),
        ("count == 9223372036854775808", "beyond what a int can hold"),
        ("amount > 1e40", "beyond what a decimal can hold"),
        ("1 / 0 > 1", "this never has a value: division_by_zero"),
        ("country.matches(name)", "expected a pattern in quotes"),
        ("keywords(gambling, name)", "expected a list's name in quotes"),
        ("keywords(\"gambling\", count)", "count is int, expected a text"),
        ("has(1)", "has takes a field"),
        ("lower(count) == \"a\"", "expected a text"),
        ("size(count) > 1", "size takes a text or a set"),
        ("window_count(\"24h\")", "write window_count(\"24h\", key)"),
        ("window_sum(\"24h\", card_id, country) > 1", "country is symbol, expected a number"),
        ("window_count(\"91d\", card_id) > 1", "1 second to 90 days"),
        ("window_count(\"soon\", card_id) > 1", "is no duration"),
        ("window_count(\"1h\", classification.label) > 1", "not what stages derive"),
        ("as_of > timestamp(\"yesterday\")", "is no time"),
    ] {
        check(when, Code::RuleType, message);
    }
}

#[test]
fn names_that_do_not_exist_are_told_with_the_nearest() {
    check("ammount > 5", Code::RuleUnknownField, "did you mean \"amount\"?");
    check("score.risk > 0.5", Code::RuleUnknownField, "did you mean \"scores.risk\"?");
    check("zzz > 5", Code::RuleUnknownField, "there is no field \"zzz\"");
    check("keywords(\"gamblin\", name)", Code::UnknownReference, "did you mean \"gambling\"?");
    check("listed(\"nothing\", name)", Code::UnknownReference, "there is no list");
    check("name_match(\"x\", name) > 0.5", Code::UnknownReference, "there is no list");
    check(
        "lookup(\"mc\", \"mcc\", name) == \"1\"",
        Code::UnknownReference,
        "did you mean \"mcc\"?",
    );
    check("lookup(\"mcc\", \"sic\", name) == \"1\"", Code::UnknownReference, "there is no column");
}

#[test]
fn every_fault_of_every_rule_is_told() {
    let world = World::new();
    let faults = world
        .compile(json!([
            { "id": "a", "when": "ammount > 5 && cuont > 1 || active" },
            { "id": "a", "when": "amount >" },
            { "id": "B", "when": "active", "then": { "points": 1001, "reason": "lower" } },
            { "id": "c" },
            { "id": "d", "table": { "name": "limit" } },
        ]))
        .err()
        .unwrap_or_default();
    let told: Vec<(&str, Code)> = faults.iter().map(|f| (f.path.as_str(), f.code)).collect();
    for expected in [
        ("rules[0].when", Code::RuleUnknownField),
        ("rules[1].when", Code::RuleSyntax),
        ("rules[1].id", Code::DuplicateName),
        ("rules[2].id", Code::InvalidName),
        ("rules[2].then.points", Code::InvalidValue),
        ("rules[2].then.reason", Code::InvalidValue),
        ("rules[3].when", Code::MissingKey),
        ("rules[4].table.name", Code::UnknownReference),
    ] {
        assert!(told.contains(&expected), "{expected:?} in {told:?}");
    }
    assert_eq!(told.iter().filter(|one| one.0 == "rules[0].when").count(), 2);
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = format!("{}active{}", "(".repeat(8_000), ")".repeat(8_000));
    check(&deep, Code::RuleSyntax, "nested deeper than 48");
    let not = format!("{}active", "!".repeat(10_000));
    check(&not, Code::RuleSyntax, "nested deeper than 48");
    let sum = format!("{}1 > 0", "count + ".repeat(1_000));
    check(&sum, Code::RuleSyntax, "nested deeper than 48");
    let long = format!("active{}", " || active".repeat(1_500));
    assert!(World::new().one(&long).is_ok(), "a wide condition is not deep");
    let wide = format!("active{}", " || active".repeat(1_700));
    check(&wide, Code::RuleSyntax, "the limit is 16384");
    let items = format!("count in [{}1]", "1,".repeat(2_100));
    check(&items, Code::RuleSyntax, "more than 2048 parts");
}

#[test]
fn a_set_that_may_cost_too_much_is_refused() {
    let mut world = World::new();
    world.limits.cost_units_max = 1_000;
    let faults = world.one("lower(description).contains(\"x\")").err().unwrap_or_default();
    assert_eq!(faults[0].code, Code::RuleTooCostly);
    assert!(faults[0].message.contains("the limit is 1000"), "{}", faults[0].message);
    assert!(world.one("count > 1").is_ok());
}
