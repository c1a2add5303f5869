//! Flags: compiled together, shared while none of them changes.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use verdict_config::flags::{FlagSet, FlagSources};
use verdict_config::{Fault, ObjectId, ObjectKind, ObjectName, TimestampMs};

use super::flows::hash_named;
use super::{Compiler, id_of};
use crate::catalogue::ObjectFinding;
use crate::catalogue::objects::TypedBody;

/// The settings that hold what a flag file has beside its flags.
const FLAG_FILE: &str = "flag-file.";

/// A flow's compilation reads which flags exist, and nothing else of them.
pub(super) fn flag_keys_hash(flags: &FlagSet) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for key in flags.keys() {
        hasher.update((key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
    }
    hasher.finalize().into()
}

/// The owner of a fault that names none.
fn unnamed() -> ObjectId {
    match ObjectName::new(ObjectKind::Setting, "catalogue") {
        Ok(name) => ObjectId { kind: ObjectKind::Setting, name },
        Err(_) => unreachable!("a plain name"),
    }
}

impl Compiler<'_> {
    pub(super) fn compile_flags(&mut self) {
        let mut hasher = Sha256::new();
        for (id, object) in &self.typed {
            let is_file = id.kind == ObjectKind::Setting && id.name.as_str().starts_with(FLAG_FILE);
            if is_file || matches!(id.kind, ObjectKind::Flag | ObjectKind::Segment) {
                hash_named(&mut hasher, id.kind.as_str(), id.name.as_str(), &object.hash);
            }
        }
        self.flags_hash = hasher.finalize().into();
        let before = self.previous.filter(|state| state.flags_hash == self.flags_hash);
        if let Some(before) = before {
            let flags = Arc::clone(&before.flags);
            self.report_flags(&flags);
            self.flags = Some(flags);
            return;
        }
        let mut sources = FlagSources::default();
        for (id, object) in &self.typed {
            let TypedBody::Json(json) = &object.body else { continue };
            let name = id.name.as_str();
            match (id.kind, name.strip_prefix(FLAG_FILE)) {
                (ObjectKind::Flag, _) => drop(sources.flags.insert(name, json)),
                (ObjectKind::Segment, _) => drop(sources.segments.insert(name, json)),
                (ObjectKind::Setting, Some(stem)) => drop(sources.files.insert(stem, json)),
                _ => {}
            }
        }
        match FlagSet::compile(&sources) {
            Ok(flags) => {
                self.report_flags(&flags);
                self.flags = Some(Arc::new(flags));
            }
            Err(faults) => {
                for fault in faults {
                    let (object, fault) = self.owner_of_flag_fault(fault);
                    self.fault(&object, fault);
                }
            }
        }
    }

    /// What is strange about flags but works, and flags that have outlived their `expires`.
    fn report_flags(&mut self, flags: &FlagSet) {
        if !self.options.check {
            return;
        }
        for warning in flags.warnings() {
            let (object, Fault { path, message, .. }) = self.owner_of_flag_fault(warning.clone());
            let message = if path.is_empty() {
                format!("{object}: {message}")
            } else {
                format!("{object}: {path} {message}")
            };
            let kind = "flag".to_owned();
            self.report.findings.push(ObjectFinding { object, kind, path, message });
        }
        for key in flags.expired(TimestampMs(self.objects.at_ms)) {
            let Some(object) = id_of(ObjectKind::Flag, key) else { continue };
            let message =
                format!("{object}: its `expires` has passed; remove it, or give it more time");
            let (kind, path) = ("expired".to_owned(), "expires".to_owned());
            self.report.findings.push(ObjectFinding { object, kind, path, message });
        }
    }

    /// Faults of a flag set stand under the path `KIND/NAME`; names may hold dots themselves.
    fn owner_of_flag_fault(&self, fault: Fault) -> (ObjectId, Fault) {
        let rest_of = |id: &ObjectId| {
            let rest = fault.path.strip_prefix(&id.to_string())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| rest.to_owned())
        };
        let owner = self
            .typed
            .keys()
            .filter_map(|id| Some((id, rest_of(id)?)))
            .max_by_key(|(id, _)| id.name.as_str().len());
        match owner {
            Some((id, rest)) => {
                let path = rest.trim_start_matches('.').to_owned();
                (id.clone(), Fault { path, ..fault })
            }
            None => (unnamed(), fault),
        }
    }
}
