//! Bodies and commands that tests share.

use serde_json::{Value as Json, json};
use verdict_config::{ObjectId, ObjectKind, ObjectName, TimestampMs};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeRefused, ChangeSet, Command, DefinitionValidator, Propose,
    Transition, apply,
};

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

pub fn id(kind: ObjectKind, name: &str) -> ObjectId {
    ObjectId { kind, name: ObjectName::new(kind, name).unwrap() }
}

pub fn put(kind: ObjectKind, name: &str, body: &Json) -> Change {
    Change::put(kind, name, body.to_string())
}

pub fn setting(name: &str, value: i64) -> Change {
    put(ObjectKind::Setting, name, &json!({ "value": value }))
}

pub fn command(set: ChangeSet, at: i64) -> Command {
    let change_set = set.normalised().unwrap();
    Command::Propose(Propose { change_set, author: Author::named("ann"), at: TimestampMs(at) })
}

pub fn run(
    catalogue: &Catalogue,
    request_id: &str,
    changes: Vec<Change>,
) -> Result<Transition, ChangeRefused> {
    let set = ChangeSet::new(request_id, "test", changes);
    apply(catalogue, &command(set, 1_000), catalogue.revision() + 1, &DefinitionValidator)
}

/// The catalogue after a change set that must be accepted.
pub fn after(catalogue: &Catalogue, request_id: &str, changes: Vec<Change>) -> Catalogue {
    run(catalogue, request_id, changes).unwrap().catalogue
}

pub fn body(catalogue: &Catalogue, kind: ObjectKind, name: &str) -> Option<Json> {
    catalogue.get(&id(kind, name)).map(|object| object.json().unwrap())
}

pub fn flow(name: &str, fields: &Json, rules: &[&str]) -> Change {
    let body = json!({ "flow": name, "fields": fields, "rules": rules });
    put(ObjectKind::Flow, name, &body)
}

pub fn rule_set(name: &str, flow: &str, when: &str) -> Change {
    let rules = json!([{ "id": "r", "when": when, "then": { "points": 1 } }]);
    put(ObjectKind::RuleSet, name, &json!({ "rule_set": name, "flow": flow, "rules": rules }))
}
