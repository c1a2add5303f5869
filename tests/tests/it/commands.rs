//! Commands as people and scripts start them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::fixture::FILES;
use crate::process::{KEY, Node, VERDICT, VIEWER_KEY, write_files};

fn run(folder: &Path, key: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(VERDICT);
    command.args(arguments).current_dir(folder).env("VERDICT_API_KEY", key);
    command.output().expect("the command runs")
}

fn json(output: &Output) -> Json {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

const ODD_FLAGS: &str = r#"{
  "flags": {
    "old": {
      "state": "ENABLED",
      "variants": { "on": true },
      "defaultVariant": "on",
      "expires": "2020-01-01T00:00:00Z"
    },
    "odd": {
      "state": "ENABLED",
      "variants": { "on": true },
      "colour": "red",
      "defaultVariant": "on"
    }
  }
}
"#;

#[test]
fn check_tells_what_is_strange_about_flags_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path(), FILES);
    write_files(folder.path(), &[("flags/odd.flagd.json", ODD_FLAGS)]);
    let output = run(folder.path(), "", &["check", ".", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let find = |kind: &str| {
        let findings = report["findings"].as_array().expect("findings");
        let found = findings.iter().find(|finding| finding["kind"] == kind);
        found.unwrap_or_else(|| panic!("{kind}: {report}"))
    };
    let (odd, old) = (find("flag"), find("expired"));
    assert_eq!(odd["object"]["name"], "odd");
    assert_eq!((odd["path"].as_str(), odd["line"].as_u64()), (Some("colour"), Some(12)));
    assert_eq!(old["object"]["name"], "old");
    assert_eq!(old["file"], "flags/odd.flagd.json");
    assert_eq!((old["path"].as_str(), old["line"].as_u64()), (Some("expires"), Some(7)));

    let output = run(folder.path(), "", &["check", "."]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("flags/odd.flagd.json:12:"), "{text}");
    assert!(text.contains("flags/odd.flagd.json:7:"), "{text}");
}

#[test]
fn a_refused_upload_says_why_it_is_refused() {
    let node = Node::start(FILES);
    let catalogue = node.folder.join("more");
    let words: String = (0..100_000).map(|n| format!("a rather long entry number {n}\n")).collect();
    write_files(&catalogue, &[("lists/large.csv", &format!("value\n{words}"))]);
    let url = format!("http://{}", node.address);
    let output = run(&node.folder, VIEWER_KEY, &["apply", "more", "--url", &url]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("editor"), "{text}");
    let output = run(&node.folder, KEY, &["apply", "more", "--url", &url, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(json(&output)["applied"][0]["name"], "large");
}

#[test]
fn an_export_is_whole_and_applies_to_nothing_new() {
    let node = Node::start(FILES);
    let url = format!("http://{}", node.address);
    let output = run(&node.folder, KEY, &["export", "copy", "--url", &url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let flow = std::fs::read_to_string(node.folder.join("copy/flows/payment.yaml")).expect("flow");
    // What the first line tells editors to read is there.
    let schema = flow.lines().next().and_then(|line| line.split_once("$schema=../"));
    let (_, schema) = schema.unwrap_or_else(|| panic!("no schema is named: {flow}"));
    let schema = std::fs::read(node.folder.join("copy").join(schema)).expect("the schema");
    serde_json::from_slice::<Json>(&schema).expect("the schema is JSON");
    let output = run(&node.folder, KEY, &["apply", "copy", "--url", &url, "--json"]);
    assert_eq!(json(&output)["applied"], serde_json::json!([]), "{output:?}");
}

#[test]
fn results_are_json_where_json_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), "", &["man", "--out", "pages", "--json"]);
    assert_eq!(json(&output)["dir"], "pages");
    let output = run(folder.path(), "", &["check-config", "--config", "none.toml", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(json(&output)["faults"].as_array().map(Vec::len), Some(1), "{output:?}");
}
