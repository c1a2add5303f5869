//! The seam to [`crate::flags`]: flagd files as objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::flags::file::{FLAG_FILE_SETTING_PREFIX, stem_of_setting};
use crate::flags::{file_text, join_file, parse_file, parse_strict, relax_document};
use crate::model::sha256_hex;
use crate::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName};

pub use crate::flags::{validate_flag, validate_segment};

/// The ending of a flag file's name.
pub const FLAG_FILE_ENDING: &str = ".flagd.json";

/// Marks flags that flagd's schema refuses and flagd serves, in the files of a catalogue folder, as
/// [`relax_document`] does; for a node whose setting `flags.strict` is false. Files that are right, or
/// cannot be read, stay as they are.
pub fn relax_flag_files(files: &mut BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        if !path.starts_with("flags/") || !path.ends_with(FLAG_FILE_ENDING) {
            continue;
        }
        let Ok(mut document) = parse_strict(bytes) else { continue };
        if relax_document(&mut document).is_changed {
            *bytes = file_text(&document).into_bytes();
        }
    }
}

/// The file that takes flags of no file.
const OTHER_FLAGS_STEM: &str = "flags";

/// The longest name of a file without its ending, in bytes.
const STEM_BYTES_MAX: usize = 200;
/// How much of a file's name the name of its setting keeps where it cannot keep all.
const KEPT_CHARS: usize = 40;

/// The name of the setting of a flag file. A file may have any name and an object may not: where the
/// file's own does not fit, the name is made of what fits and a hash of the whole.
fn setting_name(stem: &str) -> String {
    let plain = format!("{FLAG_FILE_SETTING_PREFIX}{stem}");
    if ObjectName::new(ObjectKind::Setting, &plain).is_ok() {
        return plain;
    }
    let fitting = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
        _ => '-',
    };
    let kept: String = stem.chars().take(KEPT_CHARS).map(fitting).collect();
    let hash = sha256_hex(stem.as_bytes());
    format!("{FLAG_FILE_SETTING_PREFIX}{kept}-{}", &hash[..8])
}

/// The name of the file that a setting stands for. A setting that came another way may name anything;
/// only a name that leads to this very setting is taken.
fn stem_of<'s>(name: &'s str, setting: &'s Json) -> Option<&'s str> {
    let given = setting.get("file").and_then(Json::as_str);
    let fits = |stem: &&str| {
        stem.len() <= STEM_BYTES_MAX
            && !stem.starts_with('.')
            && !stem.contains(|c: char| c == '/' || c == '\\' || c.is_control())
            && setting_name(stem) == name
    };
    given.filter(fits).or_else(|| stem_of_setting(name))
}

pub fn split_file(stem: &str, bytes: &[u8]) -> Result<Vec<(ObjectId, Json)>, Faults> {
    let mut file = parse_file(bytes)?;
    let setting = setting_name(stem);
    if stem.len() > STEM_BYTES_MAX {
        let message = format!("the file's name is longer than {STEM_BYTES_MAX} bytes; shorten it");
        return Err(vec![Fault::new(Code::InvalidName, "", message)]);
    }
    if stem_of_setting(&setting) != Some(stem)
        && let Json::Object(fields) = &mut file.setting
    {
        fields.insert("file".to_owned(), stem.into());
    }
    let mut faults = Faults::new();
    let mut objects = Vec::with_capacity(file.flags.len() + 1);
    let named = std::iter::once((ObjectKind::Setting, setting, file.setting))
        .chain(file.flags.into_iter().map(|(key, body)| (ObjectKind::Flag, key, body)));
    for (kind, name, body) in named {
        match ObjectName::new(kind, name) {
            Ok(name) => objects.push((ObjectId { kind, name }, body)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(objects) } else { Err(faults) }
}

/// The texts of all flag files, and the objects that stand in them.
pub fn join_files(
    objects: &BTreeMap<ObjectId, Json>,
) -> (BTreeMap<String, Vec<u8>>, BTreeSet<ObjectId>) {
    let mut unplaced: BTreeMap<&str, &Json> = BTreeMap::new();
    let mut settings: BTreeMap<&str, &Json> = BTreeMap::new();
    let mut joined = BTreeSet::new();
    for (id, body) in objects {
        let name = id.name.as_str();
        match (id.kind, stem_of_setting(name).and_then(|_| stem_of(name, body))) {
            (ObjectKind::Flag, _) => {
                unplaced.insert(name, body);
            }
            (ObjectKind::Setting, Some(stem)) => {
                settings.insert(stem, body);
            }
            _ => continue,
        }
        joined.insert(id.clone());
    }
    let mut placed: BTreeMap<&str, Vec<(&str, &Json)>> = BTreeMap::new();
    for (stem, setting) in &settings {
        let listed = setting["document"]["flags"].as_array().into_iter().flatten();
        let flags = listed.filter_map(|key| unplaced.remove_entry(key.as_str()?)).collect();
        placed.insert(stem, flags);
    }
    if !unplaced.is_empty() {
        placed.entry(OTHER_FLAGS_STEM).or_default().extend(unplaced);
    }
    let no_setting = json!({"form": "object", "document": {"flags": []}});
    let files = placed
        .into_iter()
        .map(|(stem, flags)| {
            let setting = settings.get(stem).copied().unwrap_or(&no_setting);
            let text = file_text(&join_file(setting, &flags));
            (format!("flags/{stem}.flagd.json"), text.into_bytes())
        })
        .collect();
    (files, joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_return_to_their_files_and_new_ones_get_one() {
        let text = r#"{
  "$schema": "https://flagd.dev/schema/v0/flagd.json",
  "flags": [
    {
      "key": "b",
      "state": "ENABLED",
      "variants": {
        "on": 1.0
      }
    },
    {
      "key": "a",
      "state": "DISABLED",
      "variants": {
        "on": true
      }
    }
  ],
  "metadata": {
    "flagSetId": "x"
  }
}
"#;
        let mut objects: BTreeMap<_, _> =
            split_file("pay", text.as_bytes()).unwrap().into_iter().collect();
        let (files, joined) = join_files(&objects);
        assert_eq!(files["flags/pay.flagd.json"], text.as_bytes());
        assert_eq!(joined.len(), 3);

        let name = ObjectName::new(ObjectKind::Flag, "new").unwrap();
        let body = json!({"state": "ENABLED", "variants": {"on": true}});
        objects.insert(ObjectId { kind: ObjectKind::Flag, name }, body);
        let (files, _) = join_files(&objects);
        assert_eq!(files["flags/pay.flagd.json"], text.as_bytes());
        let other = split_file("flags", &files["flags/flags.flagd.json"]).unwrap();
        assert_eq!(other.len(), 2);
    }

    #[test]
    fn a_flag_file_may_have_any_name() {
        let text = b"{\n  \"flags\": {\n    \"a\": {\n      \"state\": \"ENABLED\",\n      \"variants\": {\n        \"on\": true\n      }\n    }\n  }\n}\n";
        let long = "x".repeat(150);
        let mut names = BTreeSet::new();
        for stem in
            ["allFlags", "AllFlags", "allflags", "my flags (2)", "\u{e4}\u{4e2d}", "_x", &long]
        {
            let objects: BTreeMap<_, _> = split_file(stem, text).unwrap().into_iter().collect();
            let setting = objects.keys().find(|id| id.kind == ObjectKind::Setting).unwrap();
            assert!(names.insert(setting.name.as_str().to_owned()), "{stem}");
            let (files, _) = join_files(&objects);
            let path = format!("flags/{stem}.flagd.json");
            assert_eq!(files.keys().collect::<Vec<_>>(), [&path]);
            assert_eq!(files[&path], text);
        }
        assert!(split_file(&"x".repeat(201), text).is_err());
    }

    #[test]
    fn a_setting_names_no_file_but_its_own() {
        for file in ["../../etc/passwd", "other", "a/b", ".hidden"] {
            let name = ObjectName::new(ObjectKind::Setting, "flag-file.pay").unwrap();
            let body = json!({"form": "object", "document": {"flags": []}, "file": file});
            let objects = BTreeMap::from([(ObjectId { kind: ObjectKind::Setting, name }, body)]);
            let (files, _) = join_files(&objects);
            assert_eq!(files.keys().collect::<Vec<_>>(), ["flags/pay.flagd.json"], "{file}");
        }
    }

    #[test]
    fn faults_carry_paths_of_the_file() {
        let faults: Vec<Fault> = split_file("x", br#"{"flags": {"a": {}}}"#).unwrap_err();
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["flags.a.state", "flags.a.variants"]);
    }
}
