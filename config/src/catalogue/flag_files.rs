//! The seam to [`crate::flags`]: flagd files as objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::flags::file::{FLAG_FILE_SETTING_PREFIX, stem_of_setting};
use crate::flags::{file_text, join_file, parse_file};
use crate::{Faults, ObjectId, ObjectKind, ObjectName};

pub use crate::flags::{validate_flag, validate_segment};

/// The file that takes flags of no file.
const OTHER_FLAGS_STEM: &str = "flags";

pub fn split_file(stem: &str, bytes: &[u8]) -> Result<Vec<(ObjectId, Json)>, Faults> {
    let file = parse_file(bytes)?;
    let mut faults = Faults::new();
    let mut objects = Vec::with_capacity(file.flags.len() + 1);
    let setting = format!("{FLAG_FILE_SETTING_PREFIX}{stem}");
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
        match (id.kind, stem_of_setting(name)) {
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
    use crate::Fault;

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
    fn faults_carry_paths_of_the_file() {
        let faults: Vec<Fault> = split_file("x", br#"{"flags": {"a": {}}}"#).unwrap_err();
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["flags.a.state", "flags.a.variants"]);
    }
}
