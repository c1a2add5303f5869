//! A catalogue folder on the disk: reading its files, and what differs from a catalogue.

mod batches;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use verdict_config::catalogue::{CatalogueText, editor_schemas, read_body};
use verdict_config::{ObjectId, ObjectKind};
use verdict_consensus::Change;

pub use batches::batches;

/// The most files that a catalogue folder may have.
const FILES_MAX: usize = 20_000;
/// The deepest folder below it.
const DEPTH_MAX: usize = 8;

/// Why a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error("{}: {}", .path.display(), crate::reasons::io(.source))]
    Io {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// There is too much in it.
    #[error(
        "{} holds more than {FILES_MAX} files, or folders nest deeper than {DEPTH_MAX}: is it a \
         catalogue folder?",
        .0.display()
    )]
    TooMuch(PathBuf),
}

/// Reads every file below the folder's own sub-folders, by path relative to it with `/`.
///
/// # Errors
/// [`FolderError`].
pub fn read_dir(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, FolderError> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![(folder.to_owned(), 0usize)];
    while let Some((current, depth)) = waiting.pop() {
        let failed = |source| FolderError::Io { path: current.clone(), source };
        for entry in std::fs::read_dir(&current).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Editors' and version control's own files are nobody's catalogue.
            if name.starts_with('.') || name.ends_with('~') || name.ends_with(".partial") {
                continue;
            }
            if path.is_dir() {
                if depth == DEPTH_MAX {
                    return Err(FolderError::TooMuch(folder.to_owned()));
                }
                waiting.push((path, depth + 1));
                continue;
            }
            if files.len() == FILES_MAX {
                return Err(FolderError::TooMuch(folder.to_owned()));
            }
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            let relative = relative.to_string_lossy().replace('\\', "/");
            match std::fs::read(&path) {
                Ok(bytes) => {
                    files.insert(relative, bytes);
                }
                // It was there when the folder was listed: an editor replaced or removed it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(FolderError::Io { path, source }),
            }
        }
    }
    Ok(files)
}

/// Writes the JSON Schemas that the files' `yaml-language-server` lines name; one that is there
/// already stays untouched.
///
/// # Errors
/// [`FolderError`].
pub fn write_schemas(folder: &Path) -> Result<(), FolderError> {
    for (name, schema) in editor_schemas() {
        let path = folder.join("schemas").join(name);
        let text = format!("{schema:#}\n");
        if std::fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            continue;
        }
        crate::folder_sync::write(&path, text.as_bytes())?;
    }
    Ok(())
}

/// The bytes of one model's folder out of the files of a catalogue folder.
#[must_use]
pub fn model_files(files: &BTreeMap<String, Vec<u8>>, name: &str) -> BTreeMap<String, Vec<u8>> {
    let prefix = format!("models/{name}/");
    files
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?.to_owned(), bytes.clone())))
        .collect()
}

/// Whether objects of a kind have files.
#[must_use]
pub const fn has_files(kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::Flag
        | ObjectKind::Segment
        | ObjectKind::List
        | ObjectKind::Table
        | ObjectKind::RuleSet
        | ObjectKind::Flow
        | ObjectKind::Model
        | ObjectKind::Alias
        | ObjectKind::Setting => true,
        ObjectKind::Experiment | ObjectKind::Rollout | ObjectKind::Key | ObjectKind::Member => {
            false
        }
    }
}

/// Whether two bodies of an object mean the same, however they are written.
#[must_use]
pub fn same_meaning(id: &ObjectId, a: &Json, b: &Json) -> bool {
    let typed = |json| read_body(id.kind, id.name.as_str(), json).ok();
    a == b || typed(a).is_some_and(|a| Some(a) == typed(b))
}

/// An object of a catalogue that is compared with a folder.
#[derive(Debug, Clone)]
pub struct Present {
    /// The revision of its last change.
    pub revision: u64,
    /// Its body.
    pub body: Json,
}

/// The changes that bring a catalogue to what a folder says: puts of what differs, and, with
/// `prune`, deletes of what the folder does not have.
///
/// # Errors
/// Bodies that do not serialize, which no body that was read does.
pub fn changes(
    desired: &CatalogueText,
    present: &BTreeMap<ObjectId, Present>,
    prune: bool,
) -> Result<Vec<Change>, serde_json::Error> {
    let mut changes = Vec::new();
    for (id, object) in &desired.objects {
        let found = present.get(id);
        if found.is_some_and(|found| same_meaning(id, &found.body, &object.body)) {
            continue;
        }
        let body = serde_json::to_vec(&object.body)?;
        let expected = found.map_or(0, |found| found.revision);
        changes.push(Change::put(id.kind, id.name.as_str(), body).expecting(expected));
    }
    if prune {
        let gone = present
            .iter()
            .filter(|(id, _)| has_files(id.kind) && !desired.objects.contains_key(*id));
        changes.extend(gone.map(|(id, found)| {
            Change::delete(id.kind, id.name.as_str()).expecting(found.revision)
        }));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use verdict_config::ObjectName;
    use verdict_config::catalogue::read_files;
    use verdict_consensus::Op;

    fn id(kind: ObjectKind, name: &str) -> ObjectId {
        ObjectId { kind, name: ObjectName::new(kind, name).unwrap() }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("lists/a.csv", "value\nx\n"),
            ("lists/b.csv", "value\ny\n"),
            ("lists/.b.csv.swp", "rubbish"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let text = read_files(&read_dir(folder.path()).unwrap()).unwrap();
        let a = id(ObjectKind::List, "a");
        let mut present = BTreeMap::new();
        present.insert(a.clone(), Present { revision: 3, body: text.objects[&a].body.clone() });
        let gone = Present { revision: 2, body: Json::Null };
        present.insert(id(ObjectKind::List, "c"), gone.clone());
        present.insert(id(ObjectKind::Key, "shop"), gone);
        let shown = |prune| {
            let changes = changes(&text, &present, prune).unwrap();
            let shown = |change: Change| (change.op, change.name, change.expected_revision);
            changes.into_iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(shown(false), [(Op::Put, "b".to_owned(), Some(0))]);
        let both = [(Op::Put, "b".to_owned(), Some(0)), (Op::Delete, "c".to_owned(), Some(2))];
        assert_eq!(shown(true), both);
    }
}
