//! The rotation of the certificate authority that the removal of a voter begins.
//!
//! A voter has the authority's private key, and keeps its copy when it is removed. So the entry that
//! removes a voter also says which authorities have to go: the object `member/rotation`. The leader
//! takes one step after another until none of them is trusted; each step waits until every member has
//! followed the one before. The next leader goes on from what the catalogue says.

use std::time::Duration;

use tokio::time::Instant;
use verdict_admin::RotationStep;
use verdict_config::definition::{
    ClusterAuthority, JOIN_TOKEN_PREFIX, PendingRotation, ROTATION_NAME,
};
use verdict_config::{ObjectId, ObjectKind, ObjectName, TimestampMs};
use verdict_consensus::{Author, Catalogue, Change, ChangeSet, Log, TRUST_VERSION};

use super::super::token::KeptToken;
use super::super::{Cluster, ClusterError};
use super::{WantedStep, authority_object, using};

/// For how long after `install` the next step waits for nodes that may join by a token of before.
const TOKENS_WAITED_FOR: Duration = Duration::from_secs(120);
/// For how long after `use` the old authority is trusted still: key files that are in use follow.
const KEYS_WAITED_FOR: Duration = Duration::from_secs(5);
/// The author of the steps. The leader alone takes them: the list of what nodes may change without a
/// person has none of them, so a step that another node forwards is refused.
const AUTHOR: &str = "duty:authority";

/// What comes next in a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Step(RotationStep),
    /// None of the authorities that have to go is trusted any more.
    Done,
}

fn next(pending: &PendingRotation, now: &ClusterAuthority) -> Next {
    let goes = |sha256: &String| pending.replaces.contains(sha256);
    match now.trusted.as_slice() {
        [_] if goes(&now.issues) => Next::Step(RotationStep::Install),
        [_] => Next::Done,
        // One that a removed voter was given before it was used is of no use.
        [.., last] if using(now).is_ok() && goes(&last.sha256) => Next::Step(RotationStep::Abandon),
        _ if using(now).is_ok() => Next::Step(RotationStep::Use),
        _ => Next::Step(RotationStep::Remove),
    }
}

/// Whether a node may be about to join by a token of before the new authority was installed: once that
/// one signs, the token is of no use. So the step waits for a moment.
fn has_open_tokens(catalogue: &Catalogue, now: TimestampMs) -> bool {
    let installed = authority_object(catalogue).map_or(0, |(revision, _)| revision);
    let objects = catalogue.of_kind(ObjectKind::Member);
    let mut tokens =
        objects.filter(|object| object.id.name.as_str().starts_with(JOIN_TOKEN_PREFIX));
    let is_good = |token: KeptToken| token.used_by.is_none() && now < token.expires;
    tokens.any(|object| object.revision < installed && object.parse().is_ok_and(is_good))
}

/// How long the step before has been taken, as this leader has seen it: its revision, and since when.
pub(in crate::cluster) type SeenStep = Option<(u64, Instant)>;

/// The rotation that is pending in a catalogue, and the revision that said so.
fn pending_object(catalogue: &Catalogue) -> Option<(u64, PendingRotation)> {
    let kind = ObjectKind::Member;
    let name = ObjectName::new(kind, ROTATION_NAME).ok()?;
    let object = catalogue.get(&ObjectId { kind, name })?;
    Some((object.revision, object.parse().ok()?))
}

impl Cluster {
    /// The rotation that is pending, and the revision that said so. One of the cluster before a
    /// restore is nothing.
    pub(crate) fn pending_rotation(&self, catalogue: &Catalogue) -> Option<(u64, PendingRotation)> {
        let found = pending_object(catalogue);
        found.filter(|(_, pending)| pending.cluster_id == self.cluster_id())
    }

    /// The rotation that is pending now.
    pub(crate) fn rotation_now(&self) -> Option<PendingRotation> {
        self.pending_rotation(&self.log().catalogue()).map(|(_, pending)| pending)
    }

    /// The change that begins a rotation because voters are removed; none where it has begun, or
    /// where the operator provides the certificates.
    pub(in crate::cluster) fn begin_rotation(
        &self,
        catalogue: &Catalogue,
        removed: &[u64],
    ) -> Result<Option<Change>, ClusterError> {
        if removed.is_empty() || self.log().command_version() < TRUST_VERSION {
            return Ok(None);
        }
        if self.is_given() {
            tracing::warn!(
                ?removed,
                "a voter is removed whose certificate the operator provides: the log refuses it; \
                 revoke it where it was made"
            );
            return Ok(None);
        }
        let revision = pending_object(catalogue).map_or(0, |(revision, _)| revision);
        let found = self.pending_rotation(catalogue).map(|(_, pending)| pending);
        let mut pending = found.unwrap_or_else(|| PendingRotation::new(self.cluster_id()));
        if removed.iter().all(|node_id| pending.nodes.contains(node_id)) {
            return Ok(None);
        }
        let (_, now) = self.authorities_now(catalogue)?;
        pending.add(removed, now.trusted.into_iter().map(|authority| authority.sha256));
        let body = serde_json::to_string(&pending).unwrap_or_default();
        Ok(Some(Change::put(ObjectKind::Member, ROTATION_NAME, body).expecting(revision)))
    }

    /// Takes the next step of the rotation that is pending, if any; as leader.
    ///
    /// # Errors
    /// A member has not followed the step before, or another change came first.
    pub(in crate::cluster) async fn drive_rotation(
        &self,
        catalogue: &Catalogue,
        seen: &mut SeenStep,
    ) -> Result<(), ClusterError> {
        let Some((revision, pending)) = self.pending_rotation(catalogue) else { return Ok(()) };
        let since = seen.filter(|(known, _)| *known == revision).map(|(_, since)| since);
        let since = since.unwrap_or_else(Instant::now);
        *seen = Some((revision, since));
        let taken_for = since.elapsed();
        let (_, now) = self.authorities_now(catalogue)?;
        let nodes: Vec<String> = pending.nodes.iter().map(u64::to_string).collect();
        let why = format!("node {} was a voter and had the authority's key", nodes.join(", "));
        let own = |change: Change| change.expecting(revision);
        let set = match next(&pending, &now) {
            Next::Done => {
                let done = own(Change::delete(ObjectKind::Member, ROTATION_NAME));
                ChangeSet::new(format!("rotation-{revision}-done"), why, vec![done])
            }
            Next::Step(RotationStep::Use)
                if taken_for < TOKENS_WAITED_FOR
                    && has_open_tokens(catalogue, crate::http::now()) =>
            {
                return Ok(());
            }
            Next::Step(RotationStep::Remove) if taken_for < KEYS_WAITED_FOR => return Ok(()),
            Next::Step(step) => {
                let request_id = format!("rotation-{revision}-{}", step.as_str());
                let wanted = WantedStep { step, request_id, why, dry_run: false };
                let mut set = self.plan_step(wanted).await?;
                // A voter that is removed meanwhile may have been given the new key: then this step
                // is refused, and another authority is made.
                let body = serde_json::to_string(&pending).unwrap_or_default();
                set.changes.push(own(Change::put(ObjectKind::Member, ROTATION_NAME, body)));
                set
            }
        };
        let request_id = set.request_id.clone();
        self.log().propose(set, Author::named(AUTHOR)).await?;
        tracing::warn!(request_id, "the rotation that a removal began has taken a step");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use verdict_config::definition::TrustedAuthority;

    use super::*;

    fn authorities(names: &[&str], issues: usize) -> ClusterAuthority {
        let trusted: Vec<_> =
            names.iter().map(|name| TrustedAuthority::new(name.as_bytes(), None)).collect();
        let issues = trusted[issues].sha256.clone();
        ClusterAuthority { cluster_id: "c".to_owned(), issues, trusted }
    }

    #[test]
    fn steps_go_on_until_nothing_that_a_removed_voter_had_is_trusted() {
        let pending = |names: &[&str]| {
            let mut pending = PendingRotation::new("c");
            let known = authorities(names, 0);
            pending.add(&[3], known.trusted.into_iter().map(|authority| authority.sha256));
            pending
        };
        let check = |replaces: &[&str], trusted: &[&str], issues, expected| {
            assert_eq!(next(&pending(replaces), &authorities(trusted, issues)), expected);
        };
        use RotationStep as S;
        check(&["old"], &["old"], 0, Next::Step(S::Install));
        check(&["old"], &["old", "new"], 0, Next::Step(S::Use));
        check(&["old"], &["old", "new"], 1, Next::Step(S::Remove));
        check(&["old"], &["new"], 0, Next::Done);
        // The operator's own rotation was under way, and the removed voter had both keys.
        check(&["old", "next"], &["old", "next"], 0, Next::Step(S::Abandon));
        check(&["old", "next"], &["old", "next"], 1, Next::Step(S::Remove));
        check(&["old", "next"], &["next"], 0, Next::Step(S::Install));
        check(&["old", "next"], &["next", "new"], 0, Next::Step(S::Use));
    }
}
