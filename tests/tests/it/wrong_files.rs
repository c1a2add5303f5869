//! Catalogue files that lost their meaning in silence, as people save them: `check` refuses them with
//! file, line and column, and a node serves on.

use std::process::Command;

use crate::fixture::FILES;
use crate::process::{Node, VERDICT, eventually, write_files};

/// What `check` says about the fixture with one more file.
fn check(path: &str, text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path(), FILES);
    write_files(folder.path(), &[(path, text)]);
    let output = Command::new(VERDICT)
        .args(["check", "."])
        .current_dir(folder.path())
        .output()
        .expect("the command runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn rules(when: &str) -> String {
    format!(
        "rule_set: payment\nflow: payment\nrules:\n  - id: one\n    {when}\n    then: {{ points: 1 }}\n"
    )
}

fn with_table(name: &str) -> String {
    format!(
        "rule_set: payment\nflow: payment\nrules:\n  - id: one\n    table: {{ name: {name}, \
         hit_policy: first }}\n"
    )
}

#[test]
fn files_that_would_lose_their_meaning_are_refused_with_their_place() {
    let refused = |path: &str, text: &str, place: &str, part: &str| {
        let (passed, said) = check(path, text);
        assert!(!passed, "{text}: {said}");
        assert!(said.contains(&format!("{path}:{place}")), "{text}: {said}");
        assert!(said.contains(part), "{text}: {said}");
    };
    let yaml = "rules/payment.yaml";
    refused(yaml, &rules("when: ! vip"), "5:11", "begins a YAML tag");
    refused(yaml, &rules("when: # amount > 5"), "5:", "the value is missing");
    refused(yaml, &rules("when: amount > 5\n    when: amount > 6"), "6:5", "written twice");
    let list = "lists/bad_words.csv";
    refused(list, "value,Aliases\nx,y\n", "1:7", "did you mean `aliases`?");
    refused(list, "value,expiry\nx,2020-01-01\n", "1:7", "did you mean `expires`?");
    refused(list, "value,comment\nx,\"open\ny,\nz,\n", "2:3", "never closed");
    refused(list, "value;comment\nx;y\n", "1:1", "semicolons");
    refused(list, "value,comment\nx,y,z\n", "2:1", "3 cells, the header has 2");
}

#[test]
fn faults_and_findings_of_a_table_name_its_own_line() {
    let table = |text: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        write_files(folder.path(), FILES);
        let rules = with_table("bands");
        write_files(folder.path(), &[("rules/payment.yaml", &rules), ("tables/bands.csv", text)]);
        let output = Command::new(VERDICT)
            .args(["check", "."])
            .current_dir(folder.path())
            .output()
            .expect("the command runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (passed, said) = table("country,then.points\nGB,10\n,\n");
    assert!(!passed && said.contains("tables/bands.csv:3:1"), "{said}");
    let (passed, said) = table("amount,then.points\n\"> 1,000\",10\n");
    assert!(!passed && said.contains("tables/bands.csv:2:1"), "{said}");
    let (passed, said) = table("country,then.points\nGB,10\nFR,many\n");
    assert!(!passed && said.contains("tables/bands.csv:3:4"), "{said}");
    let (passed, said) = table("country,then.points\namount,10\n-,5\n");
    assert!(passed && said.contains("tables/bands.csv:2:1: table_suspect"), "{said}");
}

#[test]
fn a_file_that_nothing_reads_is_a_finding() {
    let (passed, said) = check("rule/more.yaml", "rule_set: more\n");
    assert!(passed && said.contains("move the file to rules/more.yaml"), "{said}");
}

fn flags(names: impl Iterator<Item = String>) -> String {
    let flag = r#"{"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}"#;
    let flags: Vec<String> = names.map(|name| format!("\"{name}\": {flag}")).collect();
    format!("{{\"flags\": {{{}}}}}", flags.join(","))
}

#[test]
fn a_renamed_folder_deletes_nothing() {
    let four = flags((0..4).map(|number| format!("four-{number}")));
    let files: Vec<(&str, &str)> =
        FILES.iter().copied().chain([("flags/four.flagd.json", four.as_str())]).collect();
    let node = Node::start(&files);
    let catalogue = node.folder.join("catalogue");
    std::fs::rename(catalogue.join("flags"), catalogue.join("flag")).unwrap();
    eventually(|| node.log(), |log| log.contains("would be deleted") && log.contains("flags/"));
    assert_eq!(node.get("/v1/objects/flag/four-0").status, 200);
    std::fs::rename(catalogue.join("flag"), catalogue.join("flags")).unwrap();
    std::fs::write(
        catalogue.join("lists/bad_words.csv"),
        "value\ncasino\nunregistered arms\nraffle\n",
    )
    .unwrap();
    eventually(|| node.get("/v1/objects/list/bad_words").text, |text| text.contains("raffle"));
    assert_eq!(node.get("/v1/objects/flag/four-0").status, 200);
}

#[test]
fn a_folder_of_more_objects_than_a_change_set_holds_is_applied() {
    let many = flags((0..1_050).map(|number| format!("many-{number}")));
    let files: Vec<(&str, &str)> =
        FILES.iter().copied().chain([("flags/many.flagd.json", many.as_str())]).collect();
    let node = Node::start(&files);
    for name in ["many-0", "many-1049"] {
        assert_eq!(node.get(&format!("/v1/objects/flag/{name}")).status, 200, "{name}");
    }
}
