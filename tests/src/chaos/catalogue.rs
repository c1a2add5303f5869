//! The objects that the load changes, so made that an answer shows which versions it came from.
//!
//! An epoch is one change set over two flags, a rule set and a list. Every decision names the flag's
//! variant and the rule's reason: `e17` with `E17`, or it mixed two revisions.

use serde_json::{Value as Json, json};

/// Objects of an epoch, as a rollback names them.
pub const EPOCH_OBJECTS: [(&str, &str); 4] =
    [("flag", "epoch"), ("flag", "epoch-twin"), ("rule_set", "epoch_rules"), ("list", "blocked")];
/// The flow that decides.
pub const FLOW: &str = "pay";
/// The flags beside those of the epoch, by number.
pub const FLAGS: u64 = 6;
/// The settings, by number.
pub const SETTINGS: u64 = 6;
/// The cards that decisions are about.
pub const CARDS: u64 = 12;

fn put(kind: &str, name: impl Into<String>, body: Json) -> Json {
    json!({ "kind": kind, "name": name.into(), "op": "put", "body": body })
}

fn flag(variant: &str, value: Json) -> Json {
    json!({ "state": "ENABLED", "variants": { variant: value }, "defaultVariant": variant })
}

/// The changes of an epoch.
#[must_use]
pub fn epoch(number: u64) -> Vec<Json> {
    let variant = format!("e{number}");
    let card = format!("card-{}", number % CARDS);
    let rules = json!({
        "rule_set": "epoch_rules",
        "flow": FLOW,
        "rules": [
            { "id": "epoch", "category": "fraud", "severity": "low", "when": "amount >= 0",
              "then": { "points": 1 + number % 50, "reason": format!("E{number}") } },
            { "id": "blocked", "category": "fraud", "severity": "high",
              "when": "listed(\"blocked\", card)",
              "then": { "points": 100 + number % 300, "outcome": "review", "reason": "BLOCKED" } },
            { "id": "busy", "category": "fraud", "severity": "medium",
              "when": format!("window_count(\"1h\", card) > {}", number % 7),
              "then": { "points": 20, "reason": "BUSY" } },
        ],
    });
    vec![
        put("flag", "epoch", flag(&variant, json!(true))),
        put("flag", "epoch-twin", flag(&variant, json!(number))),
        put("rule_set", "epoch_rules", rules),
        put("list", "blocked", json!({ "entries": [{ "value": card }] })),
    ]
}

/// The first change set: the flow and the first epoch.
#[must_use]
pub fn first() -> Vec<Json> {
    let flow = json!({
        "flow": FLOW,
        "unit": "card",
        "fields": {
            "amount": { "type": "int" },
            "card": { "type": "string", "need": "optional" },
        },
        "rules": ["epoch_rules"],
        "switches": { "rules": "epoch" },
    });
    let mut changes = epoch(0);
    changes.push(put("flow", FLOW, flow));
    changes
}

/// A change of one small object: the `number`-th of a client.
#[must_use]
pub fn small(object: u64, client: &str, number: u64) -> Json {
    if object < FLAGS {
        let variant = format!("{client}-{number}");
        put("flag", format!("f{object}"), flag(&variant, json!(variant)))
    } else {
        let body = json!({ "by": client, "number": number });
        put("setting", format!("s{}", object - FLAGS), body)
    }
}

/// The number of the epoch that a decision's flag tells.
#[must_use]
pub fn epoch_of_flags(decision: &Json) -> Option<u64> {
    decision["flags"]["epoch"].as_str()?.strip_prefix('e')?.parse().ok()
}

/// The number of the epoch that a decision's rule tells.
#[must_use]
pub fn epoch_of_rules(decision: &Json) -> Option<u64> {
    let reasons = decision["reasons"].as_array()?;
    let code = |reason: &Json| reason["code"].as_str()?.strip_prefix('E')?.parse().ok();
    reasons.iter().find_map(code)
}
