//! Which variants of a flag can come out at all.

use serde_json::{Value as Json, json};

use super::compile;

fn check(more: Json, expected: &[&str]) {
    let mut flag = json!({
        "state": "ENABLED",
        "variants": {"a": 1, "b": 2, "c": 3, "d": 4},
        "defaultVariant": "a"
    });
    flag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let set = compile(json!({"flag": flag}));
    let reach = set.variant_reach("flag");
    assert_eq!(reach.len(), 4, "{more}");
    let reachable: Vec<&str> =
        reach.iter().filter(|variant| variant.reachable).map(|variant| variant.name).collect();
    assert_eq!(reachable, expected, "{more}");
}

#[test]
fn the_default_and_what_targeting_names() {
    let nl = json!({"==": [{"var": "country"}, "NL"]});
    check(json!({}), &["a"]);
    check(json!({"defaultVariant": null}), &[]);
    check(json!({"state": "DISABLED"}), &[]);
    check(json!({"off": "c", "targeting": {"if": [nl, "b", null]}}), &["c"]);
    check(json!({"targeting": {"if": [nl, "b", null]}}), &["a", "b"]);
    check(json!({"targeting": {"if": [nl, "b"]}}), &["a", "b"]);
    check(json!({"targeting": {"if": [nl, "b", "c"]}}), &["b", "c"]);
    check(json!({"targeting": {"if": [false, "b", nl, "c", "d"]}}), &["c", "d"]);
    check(json!({"targeting": {"if": [true, "b", nl, "c", "d"]}}), &["b"]);
    check(json!({"targeting": {"or": [{"if": [nl, "b", null]}, "d"]}}), &["a", "b", "d"]);
    check(json!({"targeting": {"if": [true, "d"]}}), &["d"]);
    check(json!({"targeting": nl}), &[]);
    check(json!({"targeting": {"var": "wanted"}}), &["a", "b", "c", "d"]);
    check(json!({"targeting": {"cat": ["", "b"]}}), &["a", "b", "c", "d"]);
}

#[test]
fn splits_rollouts_and_experiments_by_their_weights() {
    let split = json!({"fractional": [["b", 10], ["c", 0]]});
    check(json!({"targeting": split}), &["a", "b"]);
    check(
        json!({"targeting": {"fractional": [["b", {"var": "weight"}], ["c"]]}}),
        &["a", "b", "c"],
    );
    check(json!({"rollout": {"variant": "b", "percent": 1}}), &["a", "b"]);
    check(json!({"rollout": {"variant": "b", "percent": 0}}), &["a"]);
    let experiment = |share: i32| {
        json!({"experiment": {"key": "e", "share": share, "arms": [
            {"variant": "b", "weight": 1}, {"variant": "c", "weight": 0},
            {"variant": "d", "weight": 3}]}})
    };
    check(experiment(5), &["a", "b", "d"]);
    check(experiment(0), &["a"]);
    let mut always = experiment(5);
    always["targeting"] = json!({"if": [{"var": "x"}, "c", "d"]});
    check(always, &["c", "d"]);
}

#[test]
fn schedules_and_what_keeps_contexts_out() {
    let window = |then: Json| {
        let mut window = json!({"from": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"});
        window.as_object_mut().unwrap().extend(then.as_object().unwrap().clone());
        json!({"schedule": [window], "targeting": {"if": [{"var": "y"}, "b", "b"]}})
    };
    check(window(json!({"variant": "c"})), &["b", "c"]);
    check(window(json!({"targeting": {"if": [{"var": "x"}, "d", null]}})), &["a", "b", "d"]);
    check(json!({"regions": ["eu"], "targeting": {"if": [{"var": "y"}, "b", "b"]}}), &["a", "b"]);
}
