//! Changing the cluster's authority: install, use, remove. Each step is one change of one object.
//!
//! ```text
//!  install   a voter makes an authority, hands its key to the voters    trusted: old, new   signs: old
//!  use       every member trusts both, every voter has the key          trusted: old, new   signs: new
//!  remove    every member has a certificate of the new one              trusted: new        signs: new
//!  abandon   in place of `use`: the new one never signed anything       trusted: old        signs: old
//! ```
//!
//! A step is refused while a member has not followed the one before: a node that trusts only the old
//! authority could not learn of the new one from members that the new one certified.

mod pending;

pub(super) use pending::SeenStep;

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value as Json, json};
use verdict_admin::RotationStep;
use verdict_config::definition::{AUTHORITY_NAME, ClusterAuthority, Endorsement, TrustedAuthority};
use verdict_config::model::sha256_hex;
use verdict_config::{Code, ObjectKind};
use verdict_consensus::peers::{
    Authority, AuthorityState, NodeAnswer, NodeRequest, Secret, SpareAuthority,
};
use verdict_consensus::{Catalogue, Change, ChangeSet, Log, Members};

use super::authority::authority_object;
use super::{Cluster, ClusterError};

/// What each member said of itself; none for one that cannot be reached.
type States = BTreeMap<u64, Option<AuthorityState>>;

/// A step that somebody asks for.
pub(crate) struct WantedStep {
    pub(crate) step: RotationStep,
    pub(crate) request_id: String,
    pub(crate) why: String,
    /// Nothing is made or handed over.
    pub(crate) dry_run: bool,
}

fn refused(detail: impl Into<String>) -> ClusterError {
    ClusterError { code: Code::AuthorityRefused, detail: detail.into(), retryable: false }
}

/// The authorities after the last one was taken into use.
fn using(now: &ClusterAuthority) -> Result<ClusterAuthority, ClusterError> {
    match now.trusted.last() {
        Some(last) if last.sha256 != now.issues => {
            Ok(ClusterAuthority { issues: last.sha256.clone(), ..now.clone() })
        }
        _ => Err(refused("the newest authority signs already: install another first")),
    }
}

/// The authorities after those that do not sign were removed.
fn removing(now: &ClusterAuthority) -> Result<ClusterAuthority, ClusterError> {
    if now.trusted.len() < 2 {
        return Err(refused("there is one authority: nothing is to be removed"));
    }
    if using(now).is_ok() {
        return Err(refused("the new authority does not sign yet: use it first, or abandon it"));
    }
    Ok(only_signing(now))
}

/// The authorities after one that never signed was given up.
fn abandoning(now: &ClusterAuthority) -> Result<ClusterAuthority, ClusterError> {
    if using(now).is_err() {
        return Err(refused("no authority waits to be used"));
    }
    Ok(only_signing(now))
}

fn only_signing(now: &ClusterAuthority) -> ClusterAuthority {
    let mut next = now.clone();
    next.trusted.retain(|authority| authority.sha256 == now.issues);
    next
}

/// Who is not ready for a new authority to sign, in a sentence each.
fn not_ready_to_use(members: &Members, states: &States, next: &str) -> Vec<String> {
    let lacks = |list: &[String]| !list.iter().any(|sha256| sha256 == next);
    let faults = states.iter().filter_map(|(node_id, state)| match state {
        None => Some(unreached(*node_id)),
        Some(state) if lacks(&state.trusts) => {
            Some(format!("node {node_id} does not trust the new authority yet"))
        }
        Some(state)
            if lacks(&state.keys) && members.get(*node_id).is_some_and(|member| member.voter) =>
        {
            Some(format!("node {node_id} votes and has no key of the new authority yet"))
        }
        Some(_) => None,
    });
    faults.collect()
}

/// Who still needs the authority that is to go, in a sentence each.
fn not_ready_to_remove(states: &States, issues: &str) -> Vec<String> {
    let faults = states.iter().filter_map(|(node_id, state)| match state {
        None => Some(unreached(*node_id)),
        Some(state) if state.certified_by != issues => {
            Some(format!("node {node_id} has no certificate of the new authority yet"))
        }
        Some(_) => None,
    });
    faults.collect()
}

fn unreached(node_id: u64) -> String {
    format!("node {node_id} cannot be reached, or its program is older")
}

fn all_ready(faults: Vec<String>) -> Result<(), ClusterError> {
    if faults.is_empty() {
        return Ok(());
    }
    let advice = "try again when that has changed, or remove members that are gone for good";
    Err(refused(format!("{}: {advice}", faults.join("; "))))
}

impl Cluster {
    /// The change set of a step, checked against every member and, for `install`, with the new key
    /// on the disks of a majority of the voters.
    ///
    /// # Errors
    /// [`Code::AuthorityRefused`] that says who is not ready; [`Code::NotAVoter`]; no leader.
    pub(crate) async fn plan_step(&self, wanted: WantedStep) -> Result<ChangeSet, ClusterError> {
        let WantedStep { step, request_id, why, dry_run } = wanted;
        let catalogue = self.log().linearizable().await?;
        let done = catalogue.changes_of_request(&request_id);
        if !done.is_empty() {
            // A retry is answered by what was done.
            return Ok(ChangeSet::new(request_id, why, done));
        }
        let (revision, now) = self.authorities_now(&catalogue)?;
        let next = match step {
            RotationStep::Install => self.install(&now, dry_run).await?,
            RotationStep::Use => {
                let next = using(&now)?;
                let states = self.authority_states().await;
                all_ready(not_ready_to_use(&self.log().members(), &states, &next.issues))?;
                next
            }
            RotationStep::Remove => {
                let next = removing(&now)?;
                all_ready(not_ready_to_remove(&self.authority_states().await, &next.issues))?;
                next
            }
            RotationStep::Abandon => abandoning(&now)?,
        };
        let body = serde_json::to_string(&next).unwrap_or_default();
        let mut change = Change::put(ObjectKind::Member, AUTHORITY_NAME, body);
        // Of two steps at once, one comes first.
        change.expected_revision = Some(revision);
        Ok(ChangeSet::new(request_id, why, vec![change]))
    }

    /// The authorities as they are, and the revision of the object that says so; 0 without one.
    fn authorities_now(
        &self,
        catalogue: &Catalogue,
    ) -> Result<(u64, ClusterAuthority), ClusterError> {
        if let Some(agreed) = self.agreed(catalogue) {
            return Ok(agreed);
        }
        let revision = authority_object(catalogue).map_or(0, |(revision, _)| revision);
        let parts = self.identity_parts();
        let first = parts.authorities.first().ok_or_else(|| refused("this node trusts nobody"))?;
        let first = TrustedAuthority::new(first, None);
        let (cluster_id, issues) = (parts.cluster_id, first.sha256.clone());
        Ok((revision, ClusterAuthority { cluster_id, issues, trusted: vec![first] }))
    }

    /// Makes an authority, signed by the one that signs now. Its key is on this node's disk and on
    /// those of a majority of the voters before anybody is asked to trust it.
    async fn install(
        &self,
        now: &ClusterAuthority,
        dry_run: bool,
    ) -> Result<ClusterAuthority, ClusterError> {
        if now.trusted.len() > 1 {
            return Err(refused("an authority was installed already: use, remove or abandon it"));
        }
        let not_here = || ClusterError {
            code: Code::NotAVoter,
            detail: format!("node {} has no key of the authority: ask a voter", self.node_id()),
            retryable: true,
        };
        let signs = self.authority().filter(|_| self.is_voter()).ok_or_else(not_here)?;
        let unmade = |error: verdict_consensus::peers::AuthorityError| refused(error.to_string());
        let new = Authority::generate(&self.cluster_id(), crate::http::now()).map_err(unmade)?;
        let signature = hex::encode(signs.endorse(new.certificate()).map_err(unmade)?);
        if !dry_run {
            let spare = SpareAuthority {
                certificate: new.certificate().to_vec(),
                key_pem: new.key_pem(),
                pending: true,
            };
            self.change_identity(|kept| Some(kept.with_spare(spare)))?;
            self.hand_out(&new).await?;
        }
        let endorsed = Endorsement { by: sha256_hex(signs.certificate()), signature };
        let mut next = now.clone();
        next.trusted.push(TrustedAuthority::new(new.certificate(), Some(endorsed)));
        Ok(next)
    }

    async fn hand_out(&self, new: &Authority) -> Result<(), ClusterError> {
        let voters = self.log().members().members.into_iter().filter(|member| member.voter);
        let voters: Vec<u64> = voters.map(|member| member.node_id).collect();
        let request = NodeRequest::KeepNextAuthority {
            certificate: new.certificate().to_vec(),
            key_pem: Secret(new.key_pem()),
        };
        let others = voters.iter().copied().filter(|node_id| *node_id != self.node_id());
        let handed = join_all(others.map(|node_id| self.ask(node_id, &request))).await;
        let kept = 1 + handed.iter().filter(|answer| answer.is_ok()).count();
        if kept > voters.len() / 2 {
            return Ok(());
        }
        let code = Code::PeerUnreachable;
        let detail =
            format!("{kept} of {} voters keep the new key: a majority has to", voters.len());
        Err(ClusterError { code, detail, retryable: true })
    }

    /// How far every member is.
    async fn authority_states(&self) -> States {
        let members = self.log().members().members.into_iter();
        let asked = members.map(|member| async move {
            let node_id = member.node_id;
            if node_id == self.node_id() {
                return (node_id, Some(self.authority_state()));
            }
            match self.ask_for(node_id, &NodeRequest::AuthorityState).await {
                Ok(NodeAnswer::AuthorityState(state)) => (node_id, Some(state)),
                _ => (node_id, None),
            }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// The authorities, how far each member is, and which step comes next.
    ///
    /// # Errors
    /// A node that trusts nobody.
    pub(crate) async fn show_authority(&self) -> Result<Json, ClusterError> {
        let (revision, now) = self.authorities_now(&self.log().catalogue())?;
        let members = self.log().members();
        let states = self.authority_states().await;
        let (next, waiting) = if using(&now).is_ok() {
            let next = now.trusted.last().map(|last| last.sha256.clone()).unwrap_or_default();
            ("use", not_ready_to_use(&members, &states, &next))
        } else if now.trusted.len() > 1 {
            ("remove", not_ready_to_remove(&states, &now.issues))
        } else {
            ("install", Vec::new())
        };
        let member = |(node_id, state): (&u64, &Option<AuthorityState>)| {
            let voter = members.get(*node_id).is_some_and(|member| member.voter);
            let told = state.as_ref();
            json!({
                "node_id": node_id,
                "voter": voter,
                "reached": told.is_some(),
                "trusts": told.map(|state| &state.trusts),
                "certified_by": told.map(|state| &state.certified_by),
                "keys": told.map(|state| &state.keys),
            })
        };
        Ok(json!({
            "cluster_id": now.cluster_id,
            "revision": revision,
            "issues": now.issues,
            "trusted": now.trusted,
            "next": next,
            "waits_for": waiting,
            "pending": self.pending_rotation(&self.log().catalogue()).map(|(_, pending)| pending),
            "members": states.iter().map(member).collect::<Vec<_>>(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use verdict_consensus::{Member, NodeAttributes};

    use super::*;

    fn authorities(count: usize, issues: usize) -> ClusterAuthority {
        let trusted: Vec<_> =
            (0..count).map(|number| TrustedAuthority::new(&[number as u8], None)).collect();
        let issues = trusted[issues].sha256.clone();
        ClusterAuthority { cluster_id: "c".to_owned(), issues, trusted }
    }

    #[test]
    fn steps_follow_each_other() {
        let (alone, installed, used) = (authorities(1, 0), authorities(2, 0), authorities(2, 1));
        let check = |step: fn(&ClusterAuthority) -> Result<ClusterAuthority, ClusterError>,
                     from: &ClusterAuthority,
                     to: Option<&ClusterAuthority>| {
            assert_eq!(step(from).ok().as_ref(), to);
        };
        check(using, &alone, None);
        check(using, &installed, Some(&used));
        // Once more is no way back to the old one.
        check(using, &used, None);
        check(removing, &alone, None);
        check(removing, &installed, None);
        let mut removed = used.clone();
        removed.trusted.remove(0);
        check(removing, &used, Some(&removed));
        check(abandoning, &alone, None);
        check(abandoning, &installed, Some(&alone));
        check(abandoning, &used, None);
    }

    #[test]
    fn who_is_not_ready_is_named() {
        let member = |node_id, voter| {
            let attributes = NodeAttributes::default();
            Member { node_id, voter, attributes }
        };
        let members = vec![member(1, true), member(2, true), member(3, false)];
        let members = Members { members, ..Members::default() };
        let state = |trusts: &[&str], by: &str, keys: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
            Some(AuthorityState {
                trusts: texts(trusts),
                certified_by: by.to_owned(),
                keys: texts(keys),
            })
        };
        let check = |states: [Option<AuthorityState>; 3], using: &[u64], removing: &[u64]| {
            let states: States = (1..).zip(states).collect();
            let named = |faults: Vec<String>| -> Vec<u64> {
                let id = |fault: &String| fault.split(' ').nth(1).unwrap().parse().unwrap();
                faults.iter().map(id).collect()
            };
            assert_eq!(named(not_ready_to_use(&members, &states, "new")), using);
            assert_eq!(named(not_ready_to_remove(&states, "new")), removing);
        };
        let (both, new) = (&["old", "new"][..], &["new"][..]);
        let ready = || state(both, "old", both);
        check([ready(), ready(), state(both, "old", &[])], &[], &[1, 2, 3]);
        check(
            [ready(), state(both, "new", &["old"]), state(&["old"], "old", &[])],
            &[2, 3],
            &[1, 3],
        );
        check([ready(), None, state(new, "new", &[])], &[2], &[1, 2]);
    }
}
