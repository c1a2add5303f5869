//! Which role may do what, as the code says it and the docs repeat it.

use std::collections::BTreeSet;

use verdict_admin::every_request;
use verdict_config::settings::Role;

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
    let told: BTreeSet<&str> = every_request().iter().map(|request| request.name()).collect();
    assert_eq!(variants.count(), told.len());
}

#[test]
fn what_writes_is_not_for_viewers() {
    for request in every_request() {
        assert!(!request.writes() || request.needs() > Role::Viewer, "{}", request.name());
    }
}
