//! What a flag file has beside its flags.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::compile_shared;
use crate::flags::compiled::Metadata;
use crate::flags::definition::check_metadata;
use crate::flags::file::FileSetting;
use crate::flags::logic::References;
use crate::{Code, Fault, Faults};

/// What the flags of a file get from it.
#[derive(Debug, Default)]
pub(in crate::flags) struct CompiledFile {
    /// The keys of its flags. Where two files name a key, the first of them by stem counts.
    pub(in crate::flags) keys: BTreeSet<Arc<str>>,
    pub(in crate::flags) evaluators: References,
    pub(in crate::flags) metadata: Option<Arc<Metadata>>,
    /// SHA-256 of the setting in canonical form.
    pub(in crate::flags) hash: [u8; 32],
    /// `$evaluators` and metadata as written: what flags are compiled against.
    given: [Option<Json>; 2],
}

impl CompiledFile {
    /// Compiles a file's setting. What has faults is left out; `warnings` gets what is strange but works.
    pub(super) fn compile(setting: &Json, hash: [u8; 32], warnings: &mut Faults) -> (Self, Faults) {
        let setting = FileSetting::read(setting);
        let keys = setting.keys().map(Arc::from).collect();
        let mut faults = setting.faults;
        let mut evaluators = References::default();
        let part = |name| setting.document.and_then(|document| document.get(name));
        let strict = part("strict").and_then(Json::as_bool).unwrap_or(true);
        match part("$evaluators") {
            None => {}
            Some(Json::Object(rules)) => {
                for (name, rule) in rules {
                    let place = format!("$evaluators.{name}");
                    let below = |fault: Fault| fault.under(&place);
                    match compile_shared((name, rule), strict, &mut evaluators) {
                        Ok(found) => warnings.extend(found.into_iter().map(below)),
                        Err(found) => faults.extend(found.into_iter().map(below)),
                    }
                }
            }
            Some(_) => {
                let message = "must be an object of conditions by name";
                faults.push(Fault::new(Code::FlagInvalid, "$evaluators", message));
            }
        }
        let metadata = check_metadata(part("metadata"), "metadata", &mut faults);
        for key in ["flagSetId", "version"] {
            if metadata.and_then(|fields| fields.get(key)).is_some_and(|value| !value.is_string()) {
                let place = format!("metadata.{key}");
                faults.push(Fault::new(Code::FlagInvalid, place, "must be a string"));
            }
        }
        let metadata = metadata.cloned().and_then(Metadata::of);
        let given = [part("$evaluators").cloned(), part("metadata").cloned()];
        (Self { keys, evaluators, metadata, hash, given }, faults)
    }
}

/// The flags that a change of a file concerns: those that it no longer or newly names, and all of
/// them where what they get from it is another.
pub(super) fn concerned(
    before: Option<&CompiledFile>,
    after: Option<&CompiledFile>,
) -> BTreeSet<Arc<str>> {
    let nothing = CompiledFile::default();
    let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
    if before.given == after.given {
        before.keys.symmetric_difference(&after.keys).cloned().collect()
    } else {
        before.keys.union(&after.keys).cloned().collect()
    }
}
