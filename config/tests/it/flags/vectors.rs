//! The vectors of flagd's schema and of JsonLogic.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use verdict_config::flags::{Logic, file_text, join_file, parse_file, split_file, validate_flag};

use super::told;

fn vectors() -> Option<PathBuf> {
    let data = std::env::var_os("VERDICT_TESTDATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let vectors = data.join("vectors");
    if vectors.is_dir() {
        return Some(vectors);
    }
    eprintln!("skipped: no test data at {}", vectors.display());
    None
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", folder.display());
    files
}

/// Files of flags are read as such; files of targeting are the targeting of a flag.
fn faults_of(path: &Path) -> Vec<String> {
    let text = std::fs::read(path).unwrap();
    if path.components().any(|part| part.as_os_str() == "targeting") {
        let targeting: Json = serde_json::from_slice(&text).unwrap();
        let flag = json!({"state": "ENABLED", "variants": {"on": true}, "targeting": targeting});
        let file = json!({"flags": {"tested": flag}}).to_string();
        let faults = told(&validate_flag("tested", &flag));
        let of_file = parse_file(file.as_bytes()).err().unwrap_or_default();
        assert_eq!(faults.len(), of_file.len(), "{path:?}: {of_file:?}");
        return faults;
    }
    parse_file(&text).err().map(|faults| told(&faults)).unwrap_or_default()
}

#[test]
fn every_vector_is_accepted_or_refused_as_its_folder_says() {
    let Some(vectors) = vectors() else { return };
    let schema = vectors.join("flagd_schema");
    let mut checked = 0;
    for folder in ["flagd", "flags", "targeting"] {
        for path in json_files(&schema.join(folder).join("positive")) {
            assert_eq!(faults_of(&path), Vec::<String>::new(), "{}", path.display());
            checked += 1;
        }
        let negative = schema.join(folder).join("negative");
        if negative.is_dir() {
            for path in json_files(&negative) {
                assert_ne!(faults_of(&path), Vec::<String>::new(), "{}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 34, "only {checked} vectors");
    assert_eq!(faults_of(&schema.join("minimal.json")), Vec::<String>::new());
    // Its deliberate mistakes, which lead to the variant `fail`, are told with their places.
    let starts_ends = "flags.starts-ends-flag.targeting.if[2].if[2].if[0].ends_with[1]";
    let versions = "flags.equal-greater-lesser-version-flag\
                    .targeting.if[2].if[2].if[2].if[0].sem_ver[2]";
    assert_eq!(
        faults_of(&schema.join("full.json")),
        [format!("VD0301 {versions}"), format!("VD0301 {starts_ends}")]
    );
}

#[test]
fn files_come_back_as_they_were() {
    let Some(vectors) = vectors() else { return };
    let schema = vectors.join("flagd_schema");
    for folder in ["flagd", "flags"] {
        for path in json_files(&schema.join(folder).join("positive")) {
            let document: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let file = split_file(document.clone()).unwrap();
            let flags: Vec<_> = file.flags.iter().map(|(key, body)| (key.as_str(), body)).collect();
            // As text, so that the order of keys counts.
            let joined = join_file(&file.setting, &flags);
            assert_eq!(file_text(&joined), file_text(&document), "{}", path.display());
        }
    }
}

#[test]
fn every_jsonlogic_vector_gives_its_result() {
    let Some(vectors) = vectors() else { return };
    let text = std::fs::read(vectors.join("jsonlogic_compatible.json")).unwrap();
    let cases: Vec<Json> = serde_json::from_slice(&text).unwrap();
    let mut checked = 0;
    for case in cases.iter().filter(|case| case.is_object()) {
        let logic = Logic::compile(&case["rule"]).unwrap();
        let result = logic.apply(&case["data"]).unwrap();
        assert!(same(&result, &case["result"]), "{}: {result} for {case}", case["description"]);
        checked += 1;
    }
    assert_eq!(checked, 278);
}

/// Equal, numbers by their value.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}
