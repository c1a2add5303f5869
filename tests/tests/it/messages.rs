//! The table of messages, `docs/codes.md`: each code once, with its title, an example of a message and
//! the advice.
//!
//! Many messages are provoked here, by a node or by a command, and must not show the words of a library.
//! The rest need a fault of the disk, of a clock or of other nodes. A code without a row fails the test.
//! `WRITE_CODES=1` writes the table anew, with the messages that were provoked.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};
use verdict_config::Code;

use crate::fixture::FILES;
use crate::process::{KEY, Node, VERDICT, VIEWER_KEY, write_files};

/// Messages by code, as they were provoked.
type Messages = BTreeMap<String, String>;

/// Notes the first message of each code: of a problem its faults, else its detail.
fn note(messages: &mut Messages, problem: &Json) {
    let mut put = |code: &Json, path: &Json, message: &Json| {
        let (Some(code), Some(message)) = (code.as_str(), message.as_str()) else { return };
        let path = path.as_str().unwrap_or_default();
        let text = if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        messages.entry(code.to_owned()).or_insert(text);
    };
    for fault in problem["faults"].as_array().into_iter().flatten() {
        put(&fault["code"], &fault["path"], &fault["message"]);
    }
    put(&problem["code"], &Json::Null, &problem["detail"]);
}

/// A catalogue whose texts cannot be read, one fault a file.
const UNREADABLE: &[(&str, &str)] = &[
    ("rules/Bad Name.yaml", "rule_set: bad\nflow: f\nrules: []\n"),
    ("rules/syntax.yaml", "rule_set: [syntax\n"),
    ("rules/key.yaml", "rule_set: key\nflow: payment\nruels: []\n"),
    ("rules/missing.yaml", "rule_set: missing\nrules: []\n"),
    (
        "rules/value.yaml",
        "rule_set: value\nflow: payment\nrules: [{ id: a, severity: grave, when: 'true' }]\n",
    ),
    (
        "flags/one.flagd.json",
        r#"{"flags": {"same": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}"#,
    ),
    (
        "flags/two.flagd.json",
        r#"{"flags": {"same": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}"#,
    ),
];

/// A catalogue that can be read and not compiled.
const UNFIT: &[(&str, &str)] = &[
    (
        "flows/payment.yaml",
        "flow: payment\nfields:\n  amount: { type: int }\n  country: { type: symbol }\nrules: [risk, gone]\n",
    ),
    (
        "rules/risk.yaml",
        "rule_set: risk\nflow: payment\nrules:\n\
         \x20 - { id: syntax, severity: low, when: 'amount >', then: { points: 1, reason: A } }\n\
         \x20 - { id: type, severity: low, when: 'amount == \"x\"', then: { points: 1, reason: A } }\n\
         \x20 - { id: field, severity: low, when: 'amonut > 1', then: { points: 1, reason: A } }\n",
    ),
    (
        "flags/odd.flagd.json",
        r#"{"flags": {"odd": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "of"}}}"#,
    ),
    (
        "rules/table.yaml",
        "rule_set: table\nflow: payment\nrules:\n\
         \x20 - { id: by_table, severity: low, table: bands, then: { reason: A } }\n",
    ),
    ("tables/bands.csv", "amount,then.points\n\">= many\",10\n"),
];

/// A catalogue with a test that fails.
const RED: &[(&str, &str)] = &[
    ("flows/payment.yaml", "flow: payment\nfields:\n  amount: { type: int }\nrules: [risk]\n"),
    (
        "rules/risk.yaml",
        "rule_set: risk\nflow: payment\nrules:\n\
         \x20 - id: large\n\
         \x20   severity: low\n\
         \x20   when: amount > 5000 && amount < 9000\n\
         \x20   then: { points: 1, reason: LARGE }\n\
         \x20   tests:\n\
         \x20     - { description: just above, given: { amount: 5000 }, expect: { hit: true } }\n",
    ),
];

fn command(folder: &Path, arguments: &[&str]) -> Json {
    let output = Command::new(VERDICT).args(arguments).arg("--json").current_dir(folder).output();
    let output = output.expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&printed)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
}

fn by_commands(messages: &mut Messages) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, files) in [("unreadable", UNREADABLE), ("unfit", UNFIT), ("red", RED)] {
        write_files(&folder.path().join(name), files);
        note(messages, &command(folder.path(), &["check", name]));
    }
    let here = folder.path();
    write_files(
        here,
        &[
            ("data.csv", "amount,label\n1,\n2,b\n"),
            ("node.toml", "[http]\nadress = \"127.0.0.1:7700\"\n"),
            ("model/model.json", "{}"),
        ],
    );
    note(
        messages,
        &command(here, &["train", "--data", "data.csv", "--label", "label", "--out", "m"]),
    );
    note(messages, &command(here, &["check-config", "--config", "node.toml"]));
}

/// Sends what a node refuses.
fn by_node(messages: &mut Messages) {
    let node = Node::start(FILES);
    let mut post = |path: &str, body: &Json| {
        let answer = node.post(path, body);
        note(messages, &answer.json());
        answer.json()
    };
    let decide = "/v1/decisions/payment";
    post(decide, &json!({ "input": { "amount": "much" } }));
    post("/v1/decisions/none", &json!({ "input": {} }));
    post(decide, &json!({ "input": { "card": "a", "amount": 1 }, "request_id": "once" }));
    post(decide, &json!({ "input": { "card": "b", "amount": 1 }, "request_id": "once" }));
    post("/v1/outcomes", &json!({ "outcomes": [{ "id": "1" }] }));
    post("/v1/nothing", &json!({}));
    let flag = json!({ "state": "ENABLED", "variants": { "on": true }, "defaultVariant": "on" });
    let change = |name: &str, why: &str, revision: Option<u64>| {
        json!({ "request_id": name, "why": why, "changes": [
            { "kind": "flag", "name": "greeting", "op": "put", "body": flag, "expected_revision": revision },
        ] })
    };
    post("/v1/changes", &change("c1", "", None));
    post("/v1/changes", &change("c2", "a conflict", Some(99)));
    post("/v1/changes", &change("c3", &"long ".repeat(200), None));
    post("/v1/rollback", &json!({ "request_id": "r1", "why": "too far", "to_revision": 99 }));
    for path in
        ["/v1/decisions/01K0V3Z6J8Q2M5X4T7B9C1D3E5", "/v1/models/none", "/v1/objects/list/none"]
    {
        note(messages, &node.get(path).json());
    }
    type Attempt<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let requests: [Attempt<'_>; 6] = [
        ("GET", "/v1/status", &[("X-API-Key", "wrong")], ""),
        ("POST", "/v1/changes", &[("X-API-Key", VIEWER_KEY)], "{}"),
        ("POST", decide, &[("X-API-Key", KEY)], "{\"input\": "),
        ("DELETE", decide, &[("X-API-Key", KEY)], ""),
        ("POST", decide, &[("X-API-Key", KEY), ("Content-Type", "text/plain")], "{}"),
        ("GET", "/v1/status", &[("X-API-Key", KEY), ("X-Verdict-Min-Revision", "99")], ""),
    ];
    for (method, path, headers, body) in requests {
        note(messages, &node.request(method, path, headers, body.as_bytes()).json());
    }
    let large = vec![b' '; 3 << 20];
    let answer = node.request("POST", decide, &[("X-API-Key", KEY)], &large);
    note(messages, &answer.json());
}

/// The rows of the table: code, title, message, advice.
fn rows(text: &str) -> BTreeMap<&str, (&str, &str, &str)> {
    text.lines()
        .filter(|line| line.starts_with("| VD"))
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
            Some((cells.next()?, (cells.next()?, cells.next()?, cells.next()?)))
        })
        .collect()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

#[test]
fn the_table_of_messages_has_each_code_once_and_says_what_people_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let file = file.join("docs/codes.md");
    let text = std::fs::read_to_string(&file).expect("docs/codes.md");
    let written = rows(&text);
    let mut messages = Messages::new();
    by_commands(&mut messages);
    by_node(&mut messages);
    for (code, message) in &messages {
        for word in ["os error", "expected struct", "Error(", "StringRecord", "invalid type", "EOF"]
        {
            assert!(!message.contains(word), "{code} shows the words of a library: {message}");
        }
    }
    let mut table = String::new();
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let (title, advice) = (cell(code.title()), cell(code.advice()));
        let row = written.get(code.as_str());
        let says_same =
            row.is_some_and(|(t, m, a)| (*t, *a) == (&*title, &*advice) && !m.is_empty());
        if !says_same {
            wrong.push(code.as_str());
        }
        let example = row.map(|(_, message, _)| (*message).to_owned());
        let message = messages.get(code.as_str()).map(|message| cell(message)).or(example);
        let message = message.unwrap_or_default();
        table.push_str(&format!("| {code} | {title} | {message} | {advice} |\n"));
    }
    if std::env::var_os("WRITE_CODES").is_some() {
        let head = text.split("| VD").next().expect("a head");
        std::fs::write(&file, format!("{head}{table}")).expect("docs/codes.md");
    }
    assert_eq!(written.len(), Code::ALL.len(), "docs/codes.md has other codes, or lacks some");
    assert!(wrong.is_empty(), "rows of docs/codes.md differ or are absent: {}", wrong.join(", "));
    assert!(messages.len() >= 15, "only {} codes were provoked: {messages:#?}", messages.len());
}
