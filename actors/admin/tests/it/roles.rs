//! Which role may do what, as the code says it and the docs repeat it.

use serde_json::json;
use verdict_admin::Request;
use verdict_config::settings::Role;

/// One request of every command.
fn every_request() -> Vec<Request> {
    let object = json!({ "kind": "flag", "name": "f" });
    let change = json!({ "request_id": "r", "why": "w", "changes": [] });
    let rollback = json!({ "request_id": "r", "why": "w", "to_revision": 1 });
    let with = |name: &str, members: serde_json::Value| {
        let mut json = members;
        json["command"] = json!(name);
        json
    };
    let all = [
        with("status", json!({})),
        with("members", json!({})),
        with("history", json!({})),
        with("diff", json!({ "from": 1 })),
        with("objects", json!({ "kind": "flag" })),
        with("object", object),
        with("explain", json!({ "id": "d" })),
        with("actors", json!({})),
        with("blobs", json!({})),
        with("change", change),
        with("rollback", rollback),
        with("refusals", json!({})),
        with("log_level", json!({})),
        with("token", json!({ "valid_s": 1, "voter": true })),
        with("promote", json!({ "node_id": 1 })),
        with("remove", json!({ "node_id": 1 })),
        with("replace", json!({ "node_id": 1 })),
        with("retire", json!({ "node_id": 1 })),
        with("drain", json!({})),
        with("certify", json!({ "name": "n" })),
        with("renew", json!({})),
        with("authority", json!({})),
        with("rotate", json!({ "step": "install", "request_id": "r", "why": "w" })),
    ];
    let read = |json| serde_json::from_value(json).expect("a request");
    all.into_iter().map(read).collect()
}

fn table() -> String {
    let mut text = String::from("| command | route |");
    for role in Role::ALL {
        text.push_str(&format!(" {role} |"));
    }
    text.push_str("\n|---|---|---|---|---|---|---|\n");
    for request in every_request() {
        let route = request.route();
        let path = route.path.split('?').next().unwrap_or_default();
        text.push_str(&format!("| {} | `{} {path}` |", request.name(), route.method));
        for role in Role::ALL {
            text.push_str(if role >= request.needs() { " yes |" } else { " |" });
        }
        text.push('\n');
    }
    text
}

/// With `WRITE_ROLES=1` the docs are written anew.
#[test]
fn the_roles_of_commands_stand_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/admin.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let (head, rest) = docs.split_once("_stand_in_the_docs` -->\n").unwrap();
    let (found, tail) = rest.split_once("<!-- end of roles -->").unwrap();
    if std::env::var_os("WRITE_ROLES").is_some() {
        let written =
            format!("{head}_stand_in_the_docs` -->\n{}<!-- end of roles -->{tail}", table());
        std::fs::write(path, written).unwrap();
        return;
    }
    assert_eq!(found, table(), "run this test with WRITE_ROLES=1");
}

#[test]
fn every_command_is_among_them() {
    let source = include_str!("../../src/request.rs");
    let names = source.split_once("pub const fn name(").expect("names").1;
    let names = names.split("pub const fn needs(").next().unwrap_or_default();
    let variants = names.lines().filter(|line| line.contains(" => \"") && line.contains("Self::"));
    assert_eq!(variants.count(), every_request().len());
}

#[test]
fn what_writes_is_not_for_viewers() {
    for request in every_request() {
        assert!(!request.writes() || request.needs() > Role::Viewer, "{}", request.name());
    }
}
