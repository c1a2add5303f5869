//! Flags: compiled together, from the set before and what changed since.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use verdict_config::flags::{FlagSet, FlagSource, FlagUpdate};
use verdict_config::{Code, Fault, ObjectId, ObjectKind, ObjectName, TimestampMs};

use super::{Compiler, id_of};
use crate::catalogue::ObjectFinding;

/// The settings that hold what a flag file has beside its flags.
const FLAG_FILE: &str = "flag-file.";

/// Which part of a flag set an object is, and its name there.
fn source_of(id: &ObjectId) -> Option<(FlagSource, &str)> {
    let name = id.name.as_str();
    match id.kind {
        ObjectKind::Flag => Some((FlagSource::Flag, name)),
        ObjectKind::Segment => Some((FlagSource::Segment, name)),
        ObjectKind::Setting => Some((FlagSource::File, name.strip_prefix(FLAG_FILE)?)),
        ObjectKind::List
        | ObjectKind::Table
        | ObjectKind::RuleSet
        | ObjectKind::Flow
        | ObjectKind::Model
        | ObjectKind::Alias
        | ObjectKind::Experiment
        | ObjectKind::Rollout
        | ObjectKind::Key
        | ObjectKind::Member => None,
    }
}

/// Whether a flag set is compiled from an object.
pub(super) fn is_for_flags(id: &ObjectId) -> bool {
    source_of(id).is_some()
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
        let before = self.previous.map(|state| Arc::clone(&state.flags)).unwrap_or_default();
        let mut changed = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        for object in &self.changed {
            let (old, new) = (object.before, object.after);
            let same = old.zip(new).is_some_and(|(old, new)| old.hash == new.hash);
            if let Some((source, name)) = source_of(object.key).filter(|_| !same) {
                changed[source as usize].insert(name);
            }
        }
        if changed.iter().all(BTreeSet::is_empty) && self.previous.is_some() {
            self.report_flags(&before);
            self.flags = Some(before);
            return;
        }
        let unread = RefCell::new(Vec::new());
        let objects = &self.objects.objects;
        let body = |source: FlagSource, name: &str| {
            let id = match source {
                FlagSource::Flag => id_of(ObjectKind::Flag, name),
                FlagSource::Segment => id_of(ObjectKind::Segment, name),
                FlagSource::File => id_of(ObjectKind::Setting, &format!("{FLAG_FILE}{name}")),
            }?;
            match objects.get(&id)?.json() {
                Ok(json) => Some(Cow::Owned(json)),
                Err(error) => {
                    let fault = Fault::new(Code::InvalidSyntax, "", error.to_string());
                    unread.borrow_mut().push((id, fault));
                    None
                }
            }
        };
        let [flags, segments, files] = changed;
        let updated = before.update(&FlagUpdate { flags, segments, files, body: &body });
        for (id, fault) in unread.into_inner() {
            self.fault(&id, fault);
        }
        match updated {
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
            self.report.findings.push(ObjectFinding::new(object, "flag", path, message));
        }
        for key in flags.expired(TimestampMs(self.objects.at_ms)) {
            let Some(object) = id_of(ObjectKind::Flag, key) else { continue };
            let message =
                format!("{object}: its `expires` has passed; remove it, or give it more time");
            let finding = ObjectFinding::new(object, "expired", "expires".to_owned(), message);
            self.report.findings.push(finding);
        }
    }

    /// Faults of a flag set stand under the path `KIND/NAME`; names may hold dots themselves, and
    /// the longest name that is there is meant.
    fn owner_of_flag_fault(&self, fault: Fault) -> (ObjectId, Fault) {
        let owner = fault.path.split_once('/').and_then(|(kind, rest)| {
            let kind: ObjectKind = kind.parse().ok()?;
            let ends: Vec<usize> = rest.match_indices(['.', '[']).map(|(end, _)| end).collect();
            std::iter::once(rest.len()).chain(ends.into_iter().rev()).find_map(|end| {
                let (name, path) = rest.split_at_checked(end)?;
                let id = id_of(kind, name).filter(|id| self.objects.objects.contains(id))?;
                Some((id, path.trim_start_matches('.').to_owned()))
            })
        });
        match owner {
            Some((id, path)) => (id, Fault { path, ..fault }),
            None => (unnamed(), fault),
        }
    }
}
