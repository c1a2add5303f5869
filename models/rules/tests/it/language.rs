//! What each construct means, over known and unknown facts.

use serde_json::{Value as Json, json};
use verdict_config::Value;

use crate::harness::{Given, World, list, truth};

fn check_all(world: &World, input: &Json, table: &[(&str, &str)]) {
    let facts = world.facts(input.clone());
    for (when, expected) in table {
        let set = world.one(when).unwrap_or_else(|faults| panic!("{when}: {faults:?}"));
        assert_eq!(truth(&set, &facts, &Given::default()), *expected, "{when} over {input}");
    }
}

#[test]
fn comparisons_take_literals_in_the_type_of_the_field() {
    let world = World::new();
    let input = json!({ "count": 7, "amount": "100.50", "ratio": 0.5, "country": "GB" });
    check_all(
        &world,
        &input,
        &[
            ("count == 7", "true"),
            ("7 == count", "true"),
            ("count > 6.5", "true"),
            ("count >= 7.5", "false"),
            ("count < 7.5", "true"),
            ("count <= 6.9", "false"),
            ("count == 7.0", "true"),
            ("count == 7.5", "false"),
            ("count != 7.5", "true"),
            ("6.5 < count", "true"),
            ("count < 1e30", "true"),
            ("count > -1e30", "true"),
            ("count == 1e30", "false"),
            ("count in [1, 7.0, 8.5]", "true"),
            ("count in []", "false"),
            ("amount == 100.5", "true"),
            ("amount > 100", "true"),
            ("amount > 100.5", "false"),
            ("amount >= 100.5", "true"),
            ("amount in [1, 100.50]", "true"),
            ("ratio == 0.5", "true"),
            ("ratio < 1", "true"),
            ("country == \"GB\"", "true"),
            ("country != 'GB'", "false"),
            ("country in [\"US\", \"GB\"]", "true"),
            ("!(country in [\"US\", \"GB\"])", "false"),
            ("country < \"H\"", "true"),
            ("count == 0x7", "true"),
            ("count > -5", "true"),
            ("-count == -7", "true"),
        ],
    );
}

#[test]
fn arithmetic_is_checked() {
    let world = World::new();
    let input = json!({ "count": i64::MAX, "limit": 0, "amount": "10", "average": "4",
        "ratio": 1e308 });
    check_all(
        &world,
        &input,
        &[
            ("count + 1 > 0", "overflow"),
            ("count - 1 > 0", "true"),
            ("count * 2 > 0", "overflow"),
            ("count / limit > 0", "division_by_zero"),
            ("count % limit == 0", "division_by_zero"),
            ("count / 2 * 2 + 1 == count", "true"),
            ("amount / average == 2.5", "true"),
            ("amount > average * 2.5", "false"),
            ("amount >= average * 2.5", "true"),
            ("ratio * 10 > 0", "overflow"),
            ("ratio / 0.0 > 1", "division_by_zero"),
            ("decimal(count) > 1.5", "true"),
            ("double(count) > 1.5", "true"),
            ("int(ratio) > 1", "overflow"),
            ("int(amount) == 10", "true"),
            ("60 * 24 == 1440", "true"),
        ],
    );
}

#[test]
fn unknown_follows_kleene() {
    let world = World::new();
    let input = json!({ "count": 1, "active": true });
    check_all(
        &world,
        &input,
        &[
            ("amount > 5", "missing"),
            ("!(amount > 5)", "missing"),
            ("amount > 5 && count == 2", "false"),
            ("count == 2 && amount > 5", "false"),
            ("amount > 5 && count == 1", "missing"),
            ("amount > 5 || count == 1", "true"),
            ("count == 1 || amount > 5", "true"),
            ("amount > 5 || count == 2", "missing"),
            ("has(amount)", "false"),
            ("!has(amount)", "true"),
            ("has(amount) && amount > 5", "false"),
            ("has(amount) ? amount > 5 : count == 1", "true"),
            ("verified ? count == 1 : active", "true"),
            ("verified ? count == 1 : count == 2", "missing"),
            ("(verified ? 3 : 3) == 3", "true"),
            ("(verified ? 3 : 4) == 3", "missing"),
            ("verified", "missing"),
            ("verified == active", "missing"),
            ("active == true", "true"),
            ("active != true", "false"),
            ("verified && false", "false"),
            ("country in [\"GB\"]", "missing"),
            ("country in []", "missing"),
            ("\"a\" in tags", "missing"),
            ("description.contains(\"x\")", "missing"),
            ("keywords(\"gambling\", description)", "missing"),
            ("listed(\"licensed\", country)", "missing"),
            ("name_match(\"sanctioned\", name) > 0.7", "missing"),
            ("scores.risk > 0.5", "missing"),
            ("window_count(\"24h\", card_id) > 3", "missing"),
        ],
    );
}

#[test]
fn texts_sets_and_times() {
    let mut world = World::new();
    world.lists.insert("holidays".to_owned(), list(json!(["2026-06-01", "2026-12-25"])));
    let input = json!({
        "description": "Online Sports Betting \u{e9}", "tags": ["a", "b"],
        "opened_at": "2026-05-31T23:15:00Z", "country": "gb-1", "card_id": "713290",
    });
    check_all(
        &world,
        &input,
        &[
            ("description.contains(\"Sports\")", "true"),
            ("contains(description, \"sports\")", "false"),
            ("lower(description).contains(\"sports\")", "true"),
            ("description.startsWith(\"Online\")", "true"),
            ("description.endsWith(\"\u{e9}\")", "true"),
            ("size(description) == 23", "true"),
            ("description.matches(r\"(?i)sports\\s+bet\")", "true"),
            ("description.matches(\"^Sports\")", "false"),
            ("\"a\" in tags", "true"),
            ("\"c\" in tags", "false"),
            ("!(\"c\" in tags)", "true"),
            ("size(tags) == 2", "true"),
            ("country in tags", "false"),
            ("opened_at < timestamp(\"2026-06-01T00:00:00Z\")", "true"),
            ("as_of - opened_at < duration(\"24h\")", "true"),
            ("opened_at + duration(\"1h\") > as_of", "false"),
            ("getHours(opened_at) == 23", "true"),
            ("opened_at.getDayOfWeek() == 0", "true"),
            ("as_of.getDayOfWeek() == 1", "true"),
            ("opened_at.getHours(\"Europe/Berlin\") == 1", "true"),
            ("opened_at.getDayOfWeek(\"Europe/Berlin\") == 1", "true"),
            ("opened_at.getMinutes(\"Asia/Kolkata\") == 45", "true"),
            ("opened_at.getSeconds() == 0 && opened_at.getMilliseconds() == 0", "true"),
            ("opened_at.getDate() == 31 && opened_at.getDate(\"Europe/Berlin\") == 1", "true"),
            ("opened_at.getDayOfMonth() == 30 && opened_at.getDayOfYear() == 150", "true"),
            ("opened_at.getMonth() == 4 && opened_at.getMonth(\"+02:00\") == 5", "true"),
            ("opened_at.getFullYear() == 2026", "true"),
            ("opened_at.date() == \"2026-05-31\"", "true"),
            ("date(opened_at, \"Europe/Berlin\") == \"2026-06-01\"", "true"),
            ("as_of.date(\"Europe/Berlin\") in [\"2026-06-01\", \"2026-12-25\"]", "true"),
            ("listed(\"holidays\", as_of.date(\"Europe/Berlin\"))", "true"),
            ("listed(\"holidays\", opened_at.date())", "false"),
            ("!listed(\"holidays\", opened_at.date(\"Europe/Berlin\"))", "false"),
            ("listed(\"licensed\", lower(country))", "true"),
            ("(as_of - duration(\"1h\")).getHours() == 11", "true"),
            ("keywords(\"gambling\", description)", "true"),
            ("!keywords(\"gambling\", description)", "false"),
            ("listed(\"licensed\", country)", "true"),
            ("lookup(\"mcc\", \"mcc\", card_id) == \"7995\"", "true"),
            ("lookup(\"mcc\", \"mcc\", country) == \"7995\"", "no_row"),
        ],
    );
}

#[test]
fn expired_entries_do_not_count() {
    let world = World::new();
    check_all(&world, &json!({ "country": "GB-2" }), &[("listed(\"licensed\", country)", "false")]);
}

#[test]
fn windows_and_derived_facts_are_facts() {
    let world = World::new();
    let facts = world.facts(json!({ "amount": "30", "card_id": "c" }));
    let set = world
        .one("window_count(\"1h\", card_id) >= 3 && amount > 2 * window_mean(\"24h\", card_id, amount)")
        .unwrap();
    let texts: Vec<&str> = set.windows().iter().map(|window| window.text.as_str()).collect();
    assert_eq!(texts, ["window_count(\"1h\", card_id)", "window_mean(\"24h\", card_id, amount)"]);
    let decimal = |text: &str| Some(Value::Decimal(text.parse().unwrap()));
    let mut given =
        Given { windows: vec![Some(Value::Int(3)), decimal("14.99")], ..Given::default() };
    assert_eq!(truth(&set, &facts, &given), "true");
    given.windows[1] = decimal("15");
    assert_eq!(truth(&set, &facts, &given), "false");
    given.windows[1] = None;
    assert_eq!(truth(&set, &facts, &given), "missing");

    let set = world.one("scores.risk >= 0.5 && classification.label == \"72\"").unwrap();
    assert!(set.has_late());
    let given = Given {
        derived: vec![Some(Value::Float(0.5)), Some(Value::Text("72".into()))],
        ..Given::default()
    };
    assert_eq!(truth(&set, &facts, &given), "true");
    let given = Given { derived: vec![Some(Value::Float(f64::NAN)), None], ..Given::default() };
    assert_eq!(truth(&set, &facts, &given), "not_a_number");
}
