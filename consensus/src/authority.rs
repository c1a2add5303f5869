//! Who may change what: one pure function for every way in.
//!
//! HTTP asks it, and so does whatever else takes commands. Drafts and publishing are an editor's;
//! what moves traffic between versions that are already there is a releaser's, and so is going back;
//! who may enter and who belongs to the cluster is an operator's alone.

mod duty;
mod scope;

pub use duty::{DUTY_MEMBERS, node_author, node_may_change, node_may_change_members};
pub use scope::{OutOfScope, Scope};

use verdict_config::ObjectKind;
use verdict_config::settings::Role;

use crate::command::ChangeSet;

/// The weakest role that may change anything.
pub const CHANGES_FROM: Role = Role::Editor;
/// The weakest role that may roll anything back.
pub const ROLLS_BACK_FROM: Role = Role::Releaser;

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub enum Action<'set> {
    /// To apply changes.
    Change(&'set ChangeSet),
    /// To restore an older state by changes that were planned.
    Rollback(&'set ChangeSet),
}

/// Why something is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} needs the role {needs}")]
pub struct Denied {
    /// The role that would be enough.
    pub needs: Role,
    /// What needs it: the first change that the role falls short of, or the action itself.
    pub what: String,
}

/// The role that a change of a kind needs.
#[must_use]
pub const fn role_to_change(kind: ObjectKind) -> Role {
    match kind {
        ObjectKind::Alias | ObjectKind::Rollout => Role::Releaser,
        ObjectKind::Key | ObjectKind::Member => Role::Operator,
        ObjectKind::Flag
        | ObjectKind::Segment
        | ObjectKind::List
        | ObjectKind::Table
        | ObjectKind::RuleSet
        | ObjectKind::Flow
        | ObjectKind::Model
        | ObjectKind::Experiment
        | ObjectKind::Setting => Role::Editor,
    }
}

/// Whether a role is enough for an action.
///
/// # Errors
/// The role that it needs, and for what.
pub fn allowed(role: Role, action: Action<'_>) -> Result<(), Denied> {
    let (set, least, verb) = match action {
        Action::Change(set) => (set, CHANGES_FROM, "change"),
        Action::Rollback(set) => (set, ROLLS_BACK_FROM, "roll back"),
    };
    if role < least {
        return Err(Denied { needs: least, what: format!("To {verb} the catalogue") });
    }
    for change in &set.changes {
        let needs = role_to_change(change.kind).max(least);
        if role < needs {
            let what = format!("To {verb} {}/{}", change.kind, change.name);
            return Err(Denied { needs, what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Change, Op};

    fn set_of(kinds: &[ObjectKind]) -> ChangeSet {
        let changes = kinds.iter().map(|kind| Change {
            kind: *kind,
            name: "x".to_owned(),
            op: Op::Delete,
            expected_revision: None,
            body: None,
            stored: None,
        });
        ChangeSet::new("r".to_owned(), String::new(), changes.collect())
    }

    /// The weakest role that may do it, and that every stronger one may as well.
    fn check(action: Action<'_>, weakest: Role) {
        for role in Role::ALL {
            let answer = allowed(role, action);
            assert_eq!(answer.is_ok(), role >= weakest, "{role} {action:?}: {answer:?}");
            if let Err(denied) = answer {
                assert!(denied.needs > role && denied.needs <= weakest, "{denied:?}");
            }
        }
    }

    #[test]
    fn every_kind_has_its_role_and_a_set_needs_its_strongest() {
        for kind in ObjectKind::ALL {
            let strict = match kind {
                ObjectKind::Key | ObjectKind::Member => Role::Operator,
                ObjectKind::Alias | ObjectKind::Rollout => Role::Releaser,
                _ => Role::Editor,
            };
            check(Action::Change(&set_of(&[kind])), strict);
            check(Action::Change(&set_of(&[ObjectKind::List, kind])), strict);
            check(Action::Rollback(&set_of(&[kind])), strict.max(Role::Releaser));
            check(Action::Rollback(&set_of(&[ObjectKind::List, kind])), strict.max(Role::Releaser));
        }
        check(Action::Change(&set_of(&[])), Role::Editor);
        check(Action::Rollback(&set_of(&[])), Role::Releaser);
    }
}
