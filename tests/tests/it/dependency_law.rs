//! Who may depend on whom (ARCHITECTURE.md, "Layers"), over what cargo itself reports.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;

/// Runtime dependencies of each crate that are ours, by the law.
const LAW: &[(&str, &[&str])] = &[
    ("verdict-config", &[]),
    ("verdict-rules", &["verdict-config"]),
    ("verdict-stats", &["verdict-config"]),
    ("verdict-neural", &["verdict-config", "verdict-stats"]),
    ("verdict-decisions", &["verdict-config", "verdict-rules", "verdict-stats"]),
    ("verdict-consensus", &["verdict-config"]),
    ("verdict-admin", &["verdict-config", "verdict-consensus"]),
    (
        "verdict-actors",
        &[
            "verdict-config",
            "verdict-rules",
            "verdict-stats",
            "verdict-neural",
            "verdict-decisions",
            "verdict-consensus",
        ],
    ),
    (
        "verdict-node",
        &[
            "verdict-config",
            "verdict-rules",
            "verdict-stats",
            "verdict-neural",
            "verdict-decisions",
            "verdict-consensus",
            "verdict-actors",
            "verdict-admin",
        ],
    ),
];

/// Libraries that only some crates may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("burn", &["verdict-neural"]),
    ("sled", &["verdict-consensus"]),
    ("openraft", &["verdict-consensus"]),
    ("ractor", &["verdict-actors", "verdict-admin", "verdict-node", "verdict-tests"]),
    ("axum", &["verdict-node", "verdict-tests"]),
    (
        "tokio",
        &["verdict-consensus", "verdict-actors", "verdict-admin", "verdict-node", "verdict-tests"],
    ),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let runtime = package["dependencies"].as_array().expect("dependencies").iter();
        let names = runtime
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
        found.insert(package["name"].as_str().expect("name").to_owned(), names.collect());
    }
    found
}

#[test]
fn crates_depend_only_downwards() {
    let found = dependencies();
    for (name, allowed) in LAW {
        let ours = found[*name].iter().filter(|dependency| dependency.starts_with("verdict-"));
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
    }
    let known: BTreeSet<&str> =
        LAW.iter().map(|(name, _)| *name).chain(["verdict-tests"]).collect();
    for name in found.keys() {
        assert!(known.contains(name.as_str()), "{name} is not in the law: add it");
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    let found = dependencies();
    for (library, rooms) in ROOMS {
        for (name, dependencies) in &found {
            let uses = dependencies.contains(*library);
            assert!(!uses || rooms.contains(&name.as_str()), "{name} must not use {library}");
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let workspace = std::fs::read_to_string(format!("{root}/Cargo.toml")).expect("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for folder in [
        "config",
        "models/rules",
        "models/stats",
        "models/neural",
        "models/decisions",
        "consensus",
        "actors",
        "node",
        "tests",
    ] {
        let manifest =
            std::fs::read_to_string(format!("{root}/{folder}/Cargo.toml")).expect("manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder} must inherit the lints");
    }
}
