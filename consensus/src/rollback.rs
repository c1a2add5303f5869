//! Rollback: an older state restored by a forward change that names what it restores.

use std::collections::BTreeSet;

use verdict_config::definition::{
    ClusterAuthority, MemberStanding, PendingRotation, is_join_token,
};
use verdict_config::{Code, Fault, ObjectId};

use crate::catalogue::Catalogue;
use crate::command::{CHANGES_MAX, Change, ChangeSet, Op, Restores};
use crate::error::ChangeRefused;

/// Why no rollback brings an object back, if so. What a rotation of the authority removed stays removed,
/// and its private key is gone; a one-time token would be good again; who the members are, no
/// catalogue changes.
fn not_restored(id: &ObjectId) -> Option<&'static str> {
    if ClusterAuthority::is_object(id) {
        Some("is changed by a rotation of the authority alone")
    } else if is_join_token(id) {
        Some("is a one-time token: make a new one")
    } else if PendingRotation::is_object(id) {
        Some("follows the removal of a voter")
    } else if MemberStanding::is_object(id) {
        Some("is what a node is in the cluster: promote, remove or replace the member")
    } else {
        None
    }
}

/// The change set that brings the objects named (all, if none is) back to what they were at
/// `to_revision`. What follows the cluster is never among them: its authorities, one-time tokens, and what
/// its nodes are. Each change expects the revision that the plan saw, so that of two rollbacks, or of a
/// rollback and an edit that race, only one takes effect.
///
/// # Errors
/// [`ChangeRefused::NotRetained`]; [`ChangeRefused::Invalid`] when there is nothing to restore, an
/// object named exists at neither revision, or more than a change set's limit would change.
pub fn plan_rollback(
    catalogue: &Catalogue,
    request_id: impl Into<String>,
    why: impl Into<String>,
    to_revision: u64,
    objects: &[ObjectId],
) -> Result<ChangeSet, ChangeRefused> {
    let (request_id, why) = (request_id.into(), why.into());
    let restores = Restores { to_revision, objects: objects.to_vec() };
    // A retry is answered by what was done, not planned against what that made.
    let done = catalogue.changes_of_request(&request_id);
    if !done.is_empty() {
        let set = ChangeSet::new(request_id, why, done);
        return Ok(ChangeSet { restores: Some(restores), ..set });
    }
    let older = catalogue.at_revision(to_revision)?;
    let mut candidates: BTreeSet<&ObjectId> = objects.iter().collect();
    if objects.is_empty() {
        let now = catalogue.objects().map(|object| &object.id);
        candidates = now.chain(older.objects().map(|object| &object.id)).collect();
        candidates.retain(|id| not_restored(id).is_none());
    }
    let mut changes = Vec::new();
    let mut faults = Vec::new();
    for id in candidates {
        if let Some(reason) = not_restored(id) {
            let message = format!("{id} {reason}");
            faults.push(Fault::new(Code::InvalidValue, "objects", message));
            continue;
        }
        let (now, then) = (catalogue.get(id), older.get(id));
        let (op, body) = match (now, then) {
            (None, None) => {
                let message = format!("{id} exists neither now nor at revision {to_revision}");
                faults.push(Fault::new(Code::UnknownReference, "objects", message));
                continue;
            }
            (Some(now), Some(then)) if now.hash == then.hash => continue,
            (_, Some(then)) => (Op::Put, Some(then.body.to_vec())),
            (Some(_), None) => (Op::Delete, None),
        };
        changes.push(Change {
            kind: id.kind,
            name: id.name.as_str().to_owned(),
            op,
            expected_revision: Some(now.map_or(0, |now| now.revision)),
            body,
            stored: None,
        });
    }
    if faults.is_empty() && changes.is_empty() {
        let message = format!("nothing differs from revision {to_revision}");
        faults.push(Fault::new(Code::InvalidValue, "to_revision", message));
    }
    if changes.len() > CHANGES_MAX {
        let message =
            format!("{} objects differ; name at most {CHANGES_MAX} of them", changes.len());
        faults.push(Fault::new(Code::LimitExceeded, "objects", message));
    }
    if !faults.is_empty() {
        return Err(ChangeRefused::Invalid(faults));
    }
    let set = ChangeSet::new(request_id, why, changes);
    Ok(ChangeSet { restores: Some(restores), ..set })
}
