//! `node.example.toml` is complete and says the truth.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;
use verdict_config::settings::Settings;
use verdict_node::settings::{Sources, load};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../node.example.toml");

fn leaves(json: &Json) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (section, members) in json.as_object().unwrap() {
        match members.as_object() {
            Some(members) => names.extend(members.keys().map(|key| format!("{section}.{key}"))),
            None => {
                names.insert(section.clone());
            }
        }
    }
    names
}

/// The schema's own members, so that a setting that is skipped when empty is not forgotten.
fn schema_leaves() -> BTreeSet<String> {
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let mut names = BTreeSet::new();
    for (section, member) in schema["properties"].as_object().unwrap() {
        let target = member["$ref"].as_str().or_else(|| member["allOf"][0]["$ref"].as_str());
        let Some(target) = target else {
            names.insert(section.clone());
            continue;
        };
        let definition = schema.pointer(target.trim_start_matches('#')).unwrap();
        let members = definition["properties"].as_object().unwrap();
        names.extend(members.keys().map(|key| format!("{section}.{key}")));
    }
    names
}

#[test]
fn the_example_names_every_setting_with_its_default() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let written: Json = figment::Figment::new()
        .merge(<figment::providers::Toml as figment::providers::Format>::string(&text))
        .extract()
        .unwrap();
    let mut expected = schema_leaves();
    assert!(expected.remove("keys"), "keys are shown as a comment");
    assert_eq!(leaves(&written), expected);
    let loaded = load(Sources { file: Some(Path::new(EXAMPLE)), ..Sources::default() }).unwrap();
    assert_eq!(loaded, Settings::default());
}

#[test]
fn the_key_of_the_example_can_be_used() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let block: String = text
        .lines()
        .skip_while(|line| *line != "# [[keys]]")
        .map(|line| format!("{}\n", line.trim_start_matches("# ")))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, block).unwrap();
    let loaded = load(Sources { file: Some(&file), ..Sources::default() }).unwrap();
    assert_eq!(loaded.keys[0].name, "shop");
}
