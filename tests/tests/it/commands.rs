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

/// A catalogue whose rule set names a flow that is not there.
const FAULTY: &[(&str, &str)] = &[("rules/a.yaml", "rule_set: a\nflow: none\nrules: []\n")];

#[test]
fn each_command_prints_one_document_also_where_it_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(&folder.path().join("good"), FILES);
    write_files(&folder.path().join("faulty"), FAULTY);
    write_files(folder.path(), &[("rows.csv", "card,amount\nc,1\n"), ("open.csv", "a,b\n1,\"2\n")]);
    let check = |code: i32, arguments: &[&str]| {
        let output = run(folder.path(), "", &[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        json(&output)
    };
    check(0, &["check", "good"]);
    check(3, &["check", "faulty"]);
    check(0, &["test", "good"]);
    let tested = check(3, &["test", "faulty"]);
    assert_eq!(tested["faults"].as_array().map(Vec::len), Some(1), "{tested}");
    check(0, &["completions", "bash"]);
    check(0, &["man"]);
    check(0, &["openapi"]);
    check(0, &["decide", "--catalogue", "good", "--flow", "payment", "--data", "rows.csv"]);
    check(2, &["decide", "--flow", "payment"]);
    check(2, &["no-such-command"]);
    check(1, &["decide", "--catalogue", "good", "--flow", "none", "--data", "rows.csv"]);
    check(1, &["eval", "--model", "none", "--data", "rows.csv", "--label", "a"]);
    check(1, &["status", "--node", "127.0.0.1:1"]);
    check(1, &["explain", "01K0V3Z6J8Q2M5X4T7B9C1D3E5", "--url", "http://127.0.0.1:1"]);
    let faults = check(3, &["train", "--data", "open.csv", "--label", "b", "--out", "m"]);
    assert_eq!(faults["faults"][0]["line"], 2, "{faults}");
}

#[test]
fn decide_names_what_it_does_not_read_and_refuses_where_it_reads_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(&folder.path().join("catalogue"), FILES);
    let decide = |text: &str| {
        write_files(folder.path(), &[("rows.csv", text)]);
        let arguments = [
            "decide",
            "--catalogue",
            "catalogue",
            "--flow",
            "payment",
            "--data",
            "rows.csv",
            "--json",
        ];
        run(folder.path(), "", &arguments)
    };
    let refused = decide("Amount,Card\n1,c\n");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = json(&refused)["error"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("`Amount` (did you mean `amount`?)"), "{text}");
    let refused = decide("amount;card\n1;c\n");
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(
        json(&refused)["faults"][0]["message"].as_str().is_some_and(|m| m.contains("semicolons"))
    );
    let decided = decide("amount, card , Note,colour\n1, c ,x,red\n");
    assert_eq!(decided.status.code(), Some(0), "{decided:?}");
    let report = json(&decided);
    assert_eq!(report["columns"]["read"], serde_json::json!(["amount", "card"]), "{report}");
    assert_eq!(report["columns"]["unread"], serde_json::json!(["Note", "colour"]), "{report}");
    let absent = serde_json::json!(["note", "holder", "country"]);
    assert_eq!(report["columns"]["fields_without_column"], absent, "{report}");
    let text = String::from_utf8_lossy(&decided.stderr);
    assert!(text.contains("`Note` (did you mean `note`?)"), "{text}");
}

#[test]
fn decide_keeps_the_columns_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(&folder.path().join("catalogue"), FILES);
    let rows = "card,amount,predicted,score,outcome\nc,1,mine,7,kept\n";
    write_files(folder.path(), &[("rows.csv", rows)]);
    let arguments = [
        "decide",
        "--catalogue",
        "catalogue",
        "--flow",
        "payment",
        "--data",
        "rows.csv",
        "--out",
        "out.csv",
    ];
    let output = run(folder.path(), "", &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = std::fs::read_to_string(folder.path().join("out.csv")).expect("the decisions");
    let head =
        "card,amount,predicted,score,outcome,verdict_predicted,verdict_score,verdict_outcome,";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("\nc,1,mine,7,kept,approve,"), "{text}");
}

#[test]
fn training_for_a_flow_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rows = String::from("Annual Income (k$),scores,plain,label\n");
    for number in 0..40 {
        rows.push_str(&format!("{number},{number},{number},{}\n", number % 2));
    }
    write_files(folder.path(), &[("data.csv", &rows), ("taken", "a file")]);
    let check = |feature: &str, flow: &str, out: &str, part: &str| {
        let arguments = [
            "train",
            "--data",
            "data.csv",
            "--label",
            "label",
            "--features",
            feature,
            "--out",
            out,
            "--catalogue",
            "catalogue",
            "--flow",
            flow,
            "--json",
        ];
        let output = run(folder.path(), "", &arguments);
        assert_ne!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(part), "{text}");
        json(&output);
        let names = std::fs::read_dir(folder.path()).expect("the folder");
        assert_eq!(names.count(), 2, "something was written: {text}");
    };
    check("Annual Income (k$)", "f", "model", "annual_income_k");
    check("scores", "f", "model", "scores");
    check("plain", "Not A Name", "model", "name");
    check("plain", "f", "taken/model", "taken");
}
