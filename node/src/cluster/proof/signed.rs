//! Comparison of what a node forwards with what an operator signed.

use verdict_admin::{ChangeRequest, MemberRequest, Request, RollbackRequest, RotateRequest};
use verdict_config::definition::{AUTHORITY_NAME, MemberStanding, PendingRotation};
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{Change, ChangeSet, Denied, Forwarded, MemberCommand, Op, plan_rollback};

use super::{Signed, invalid};
use crate::cluster::token::{KeptToken, object_name};

/// The clocks of two nodes may differ by so much, in milliseconds.
const SLACK_MS: i64 = 120_000;
/// How long a token for a replacement is good, in seconds.
const REPLACEMENT_VALID_S: u64 = 86_400;

/// The change set that an operator asked for.
fn asked_for(change: &ChangeRequest) -> ChangeSet {
    let changes = change.changes.iter().map(|change| Change {
        kind: change.kind,
        name: change.name.clone(),
        op: change.op,
        expected_revision: change.expected_revision,
        body: change.body.as_ref().map(|body| body.to_string().into_bytes()),
        stored: None,
    });
    ChangeSet::new(change.request_id.as_str(), change.why.as_str(), changes.collect())
}

/// Whether two change sets change the same objects in the same way.
fn same_changes(left: &ChangeSet, right: &ChangeSet) -> bool {
    let content = |change: &Change| {
        (change.kind, change.name.clone(), change.op, change.expected_revision, change.body.clone())
    };
    left.changes.iter().map(content).eq(right.changes.iter().map(content))
}

impl Signed {
    /// Whether the request says all of its change set. Else the node that took it fills in a part: a
    /// token's secret, a new authority's certificate.
    pub(super) const fn says_all(&self) -> bool {
        !matches!(self.request, Request::Token { .. } | Request::Replace(_) | Request::Rotate(_))
    }

    /// Checks that a change set is what was signed.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`] that says what is not.
    pub(super) fn covers_change(
        &self,
        forwarded: &Forwarded<'_>,
        set: &ChangeSet,
    ) -> Result<(), Denied> {
        match &self.request {
            Request::Change(change) => covers_set(change, set),
            Request::Rollback(rollback) => covers_rollback(rollback, forwarded, set),
            Request::Token { valid_s, voter, dry_run: false, .. } => covers_token(
                set,
                |token| token.voter == *voter && token.replaces.is_none(),
                *valid_s,
            ),
            Request::Replace(MemberRequest { node_id, dry_run: false, .. }) => {
                let replaces = Some(*node_id);
                covers_token(set, |token| token.replaces == replaces, REPLACEMENT_VALID_S)
            }
            Request::Promote(asked) | Request::Remove(asked) | Request::Retire(asked)
                if !asked.dry_run =>
            {
                covers_standing(asked, set)
            }
            Request::Rotate(asked) if !asked.dry_run => covers_rotation(asked, forwarded, set),
            other => Err(invalid(format!("the signed request {} changes nothing", other.name()))),
        }
    }

    /// Checks that a change of the members is what was signed.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`].
    pub(super) fn covers_members(&self, command: &MemberCommand) -> Result<(), Denied> {
        let covered = match (&self.request, command) {
            (Request::Promote(asked), MemberCommand::Promote { node_id })
            | (
                Request::Remove(asked) | Request::Retire(asked),
                MemberCommand::Remove { node_id },
            ) => asked.node_id == *node_id && !asked.dry_run,
            // Where the operator gives certificates, a token names the node that it is for.
            (Request::Token { dry_run, .. }, MemberCommand::Allocate { .. }) => !dry_run,
            (Request::Replace(asked), MemberCommand::Allocate { .. }) => !asked.dry_run,
            _ => false,
        };
        if covered {
            return Ok(());
        }
        Err(invalid("the signed request asks for another change of the members"))
    }
}

fn covers_set(change: &ChangeRequest, set: &ChangeSet) -> Result<(), Denied> {
    let of_cluster = |change: &Change| {
        MemberStanding::is_named(change.kind, &change.name)
            || (change.kind == ObjectKind::Member && change.name == AUTHORITY_NAME)
    };
    if set.changes.iter().any(of_cluster) {
        return Err(invalid("the change touches an object that only follows the cluster"));
    }
    let asked = asked_for(change).normalised();
    let asked = asked.map_err(|_| invalid("the signed change set is not valid"))?;
    let same = !change.dry_run
        && set.restores.is_none()
        && set.request_id == asked.request_id
        && set.why == asked.why
        && same_changes(set, &asked);
    if same { Ok(()) } else { Err(invalid("the change set is not the one that was signed")) }
}

fn covers_rollback(
    rollback: &RollbackRequest,
    forwarded: &Forwarded<'_>,
    set: &ChangeSet,
) -> Result<(), Denied> {
    let mut objects = Vec::with_capacity(rollback.objects.len());
    for object in &rollback.objects {
        let name = ObjectName::new(object.kind, object.name.as_str());
        let name = name.map_err(|fault| invalid(fault.message))?;
        objects.push(ObjectId { kind: object.kind, name });
    }
    let RollbackRequest { request_id, why, to_revision, dry_run, .. } = rollback;
    let planned =
        plan_rollback(forwarded.catalogue, request_id.clone(), why.clone(), *to_revision, &objects);
    let planned = planned.map_err(|refused| Denied::new(refused.code(), refused.to_string()))?;
    let planned = planned.normalised();
    let planned = planned.map_err(|_| invalid("the rollback cannot be planned"))?;
    let same = !dry_run
        && set.restores == planned.restores
        && set.request_id == planned.request_id
        && set.why == planned.why;
    if !same {
        return Err(invalid("the rollback is not the one that was signed"));
    }
    if !same_changes(set, &planned) {
        let detail = "the objects changed while the rollback was planned, or it is another one";
        return Err(Denied::new(Code::ChangeConflict, detail));
    }
    Ok(())
}

/// The one change of a set, if it puts an object of the kind member.
fn put_of_member(set: &ChangeSet) -> Option<(&str, &[u8])> {
    match set.changes.as_slice() {
        [change] if change.kind == ObjectKind::Member && change.op == Op::Put => {
            Some((change.name.as_str(), change.body.as_deref()?))
        }
        _ => None,
    }
}

fn covers_token(
    set: &ChangeSet,
    is_asked: impl Fn(&KeptToken) -> bool,
    valid_s: u64,
) -> Result<(), Denied> {
    let token = put_of_member(set).filter(|(name, _)| name.starts_with(&object_name("")));
    let token = token.and_then(|(_, body)| serde_json::from_slice::<KeptToken>(body).ok());
    let valid_ms = i64::try_from(valid_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let latest = crate::http::now().0.saturating_add(valid_ms).saturating_add(SLACK_MS);
    let same = token.is_some_and(|token| {
        is_asked(&token) && token.used_by.is_none() && token.expires.0 <= latest
    });
    if same && set.restores.is_none() {
        return Ok(());
    }
    Err(invalid("the token is not the one that was asked for"))
}

fn covers_standing(asked: &MemberRequest, set: &ChangeSet) -> Result<(), Denied> {
    let name = MemberStanding::name_of(asked.node_id);
    // The removal of a voter begins a rotation in the same change set.
    let of_node = |change: &Change| {
        change.kind == ObjectKind::Member && change.op == Op::Put && change.name == name
    };
    let rotates = |change: &Change| PendingRotation::is_named(change.kind, &change.name);
    let covered = set.changes.iter().any(of_node)
        && set.changes.iter().all(|change| of_node(change) || rotates(change))
        && set.restores.is_none();
    if covered {
        return Ok(());
    }
    Err(invalid(format!("the signed request is about node {}", asked.node_id)))
}

fn covers_rotation(
    asked: &RotateRequest,
    forwarded: &Forwarded<'_>,
    set: &ChangeSet,
) -> Result<(), Denied> {
    let voter = forwarded.members.get(forwarded.from).is_some_and(|member| member.voter);
    let same = put_of_member(set).is_some_and(|(name, _)| name == AUTHORITY_NAME)
        && set.request_id == asked.request_id
        && set.restores.is_none();
    if !voter {
        return Err(invalid("a learner takes no step of a rotation: ask a voter"));
    }
    if same { Ok(()) } else { Err(invalid("the signed request is another step of a rotation")) }
}
