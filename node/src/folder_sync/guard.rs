//! The guard against a save that deletes most objects of a kind.
//!
//! A folder that is renamed (`mv flags flag`), moved or not mounted looks like a save that deletes
//! everything in it. Such a save is refused until a person asks for it by a command.

use std::collections::BTreeMap;

use verdict_config::catalogue::CatalogueText;
use verdict_config::{Code, Fault, Faults, ObjectKind};
use verdict_consensus::{Catalogue, Change, Op};

use crate::catalogue_dir::has_files;

/// A save may always delete fewer objects of a kind than this.
const DELETES_FROM: usize = 3;

/// The faults of a save that deletes more than half of the objects of a kind.
pub(super) fn refuse_mass_deletes(
    changes: &[Change],
    text: &CatalogueText,
    catalogue: &Catalogue,
) -> Faults {
    let mut deletes: BTreeMap<ObjectKind, Vec<&str>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.op == Op::Delete) {
        deletes.entry(change.kind).or_default().push(&change.name);
    }
    let mut faults = Faults::new();
    for (kind, names) in deletes {
        let has = catalogue.objects().filter(|object| object.id.kind == kind).count();
        if !has_files(kind) || names.len() < DELETES_FROM || names.len() * 2 <= has {
            continue;
        }
        let shown: Vec<&str> = names.iter().take(5).copied().collect();
        let more = if names.len() > shown.len() { ", ..." } else { "" };
        let message = format!(
            "the folder no longer has {} of the {has} objects of kind {kind} ({}{more}), and they \
             would be deleted: put the files back, or delete the objects on purpose with `verdict \
             apply DIR --prune`",
            names.len(),
            shown.join(", "),
        );
        faults.push(Fault::new(Code::ChangeInvalid, "", message));
    }
    if !faults.is_empty() {
        // A renamed folder is most often why.
        faults.extend(text.remarks.iter().filter(|fault| fault.code == Code::FileUnread).cloned());
    }
    faults
}
