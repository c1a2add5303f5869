//! What to write and delete so that a folder says what the catalogue says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::body::{Body, read_body};
use super::files::{CatalogueText, file_of, write_files};
use crate::{Faults, ObjectId, ObjectKind, ObjectName};

/// The difference between a folder and the catalogue, in files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePlan {
    /// Files to write, with their new text.
    pub writes: BTreeMap<String, Vec<u8>>,
    /// Files to delete.
    pub deletes: BTreeSet<String>,
    /// Model folders to fill from the blob store: name and content hash.
    pub models: BTreeMap<ObjectName, String>,
    /// Model folders to delete, `models/NAME`.
    pub model_deletes: BTreeSet<String>,
}

/// Plans the writes that bring `folder` to `objects`. A file whose objects mean the same as before
/// is left as it is, comments and layout included.
///
/// # Errors
/// A fault for each body that is none of its kind.
pub fn plan_files(
    folder: &CatalogueText,
    objects: &BTreeMap<ObjectId, Json>,
) -> Result<FilePlan, Faults> {
    let mut plan = FilePlan::default();
    let mut desired = write_files(objects)?;
    for (id, body) in objects.iter().filter(|(id, _)| is_alone(id)) {
        let written = file_of(id).and_then(|file| desired.remove(&file).map(|text| (file, text)));
        let present = folder.objects.get(id);
        if present.is_some_and(|present| same(id, &present.body, body)) {
            continue;
        }
        if id.kind == ObjectKind::Model {
            if let Ok(Body::Model(model)) = read_body(id.kind, id.name.as_str(), body) {
                plan.models.insert(id.name.clone(), model.content_hash.clone());
            }
        } else if let Some((file, text)) = written {
            let file = present.map_or(file, |present| present.file.clone());
            plan.writes.insert(file, text);
        }
    }
    for (id, present) in folder.objects.iter().filter(|(id, _)| is_alone(id)) {
        if !objects.contains_key(id) {
            match id.kind {
                ObjectKind::Model => plan.model_deletes.insert(present.file.clone()),
                _ => plan.deletes.insert(present.file.clone()),
            };
        }
    }
    plan_shared(folder, desired, &mut plan)?;
    Ok(plan)
}

/// Whether an object has a file of its own; flags and what stands beside them share theirs.
fn is_alone(id: &ObjectId) -> bool {
    id.kind != ObjectKind::Flag && !id.name.as_str().starts_with("flag-file.")
}

fn same(id: &ObjectId, a: &Json, b: &Json) -> bool {
    let typed = |json| read_body(id.kind, id.name.as_str(), json).ok();
    a == b || typed(a).is_some_and(|a| Some(a) == typed(b))
}

/// Flag files: all objects of a file are compared at once.
fn plan_shared(
    folder: &CatalogueText,
    desired: BTreeMap<String, Vec<u8>>,
    plan: &mut FilePlan,
) -> Result<(), Faults> {
    let by_file = |text: &CatalogueText| {
        let mut files: BTreeMap<String, BTreeMap<ObjectId, Json>> = BTreeMap::new();
        for object in text.objects.values().filter(|object| !is_alone(&object.id)) {
            let file = files.entry(object.file.clone()).or_default();
            file.insert(object.id.clone(), object.body.clone());
        }
        files
    };
    let present = by_file(folder);
    let wanted = by_file(&super::files::read_files(&desired)?);
    for (file, text) in desired {
        if present.get(&file) != wanted.get(&file) {
            plan.writes.insert(file, text);
        }
    }
    plan.deletes.extend(present.into_keys().filter(|file| !wanted.contains_key(file)));
    Ok(())
}
