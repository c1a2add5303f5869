//! What the audit says of the members: who asked for which change, and that it never stays untrue.
//!
//! ```text
//!  asked ─> plan, by the leader ─> entry: standing-N, by whoever asked ─> change of the members
//!             └ refused: nothing      └ nothing came of it: an entry that says so
//! ```
//!
//! Members are the consensus' own, whose entries have no author; so an entry of the catalogue goes
//! ahead of each change, once everything that could refuse it was asked. Who leads compares the two,
//! and what does not agree for long (a node died between them, an older program made the change)
//! gets an entry by the leader. Standings of another cluster, in one that began from its backup, go.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use verdict_config::definition::{JOIN_TOKEN_PREFIX, MemberStanding, PendingRotation, Standing};
use verdict_config::{ObjectId, ObjectKind, ObjectName};
use verdict_consensus::authority::DUTY_MEMBERS;
use verdict_consensus::command::CHANGES_MAX;
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, Log, MemberCommand, MemberPlan, Members,
};

use super::token::KeptToken;
use super::{Cluster, ClusterError};

/// How long an entry and the members may disagree: longer than a change takes.
pub(super) const AGREE_WITHIN: Duration = Duration::from_secs(30);
/// Nodes that the reason of a correction names.
const NAMED_MAX: usize = 8;

/// Who asks for a change of the members, and why.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) author: Author,
    pub(crate) why: String,
    /// Makes a retry harmless.
    pub(crate) request_id: Option<String>,
}

impl Asked {
    /// What a node does by itself for the members.
    pub(super) fn by_duty(why: String) -> Self {
        Self { author: Author::named(DUTY_MEMBERS), why, request_id: None }
    }
}

/// What is to be said of the nodes that a change is about.
fn wanted(command: &MemberCommand, cluster_id: &str) -> Vec<MemberStanding> {
    let of = |node_id, standing| MemberStanding::new(cluster_id, node_id, standing);
    match *command {
        MemberCommand::Promote { node_id } => vec![of(node_id, Standing::Voter)],
        MemberCommand::Remove { node_id } => vec![of(node_id, Standing::Removed)],
        MemberCommand::Replace { node_id, by } => vec![
            MemberStanding { replaced_by: Some(by), ..of(node_id, Standing::Removed) },
            MemberStanding { in_place_of: Some(node_id), ..of(by, Standing::Voter) },
        ],
        // A newcomer's stands in the entry that uses its token up; the others change no standing.
        MemberCommand::Allocate { .. }
        | MemberCommand::AddLearner { .. }
        | MemberCommand::SetAttributes { .. }
        | MemberCommand::RaiseVersion { .. } => Vec::new(),
    }
}

/// What is said of a node, and the revision of the object that says so; 0 without one.
fn said(catalogue: &Catalogue, node_id: u64) -> (u64, Option<MemberStanding>) {
    let kind = ObjectKind::Member;
    let name = ObjectName::new(kind, MemberStanding::name_of(node_id)).ok();
    match name.and_then(|name| catalogue.get(&ObjectId { kind, name })) {
        Some(object) => (object.revision, serde_json::from_slice(&object.body).ok()),
        None => (0, None),
    }
}

/// A put of what a node is; of two at once, one comes first.
pub(super) fn put(catalogue: &Catalogue, standing: &MemberStanding) -> Change {
    let body = serde_json::to_string(standing).unwrap_or_default();
    let name = MemberStanding::name_of(standing.node_id);
    let (revision, _) = said(catalogue, standing.node_id);
    Change::put(ObjectKind::Member, name, body).expecting(revision)
}

/// The voters that a planned change removes.
fn removed_voters(planned: Option<&MemberPlan>) -> Vec<u64> {
    let Some(plan) = planned else { return Vec::new() };
    let stays = |node_id| plan.after.iter().any(|member| member.node_id == node_id);
    let before = plan.before.iter().filter(|member| member.voter && !stays(member.node_id));
    before.map(|member| member.node_id).collect()
}

/// The changes that say what is wanted and not said yet.
fn entry(catalogue: &Catalogue, wanted: &[MemberStanding]) -> Vec<Change> {
    let news = wanted
        .iter()
        .filter(|standing| said(catalogue, standing.node_id).1.as_ref() != Some(standing));
    news.map(|standing| put(catalogue, standing)).collect()
}

/// A standing that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Untrue {
    name: String,
    node_id: u64,
    /// The revision that said it.
    revision: u64,
    /// What the node is; none where the object is about another cluster.
    is: Option<MemberStanding>,
}

/// The standings that are not so.
fn untrue(catalogue: &Catalogue, members: &Members, cluster_id: &str) -> Vec<Untrue> {
    let objects = catalogue.of_kind(ObjectKind::Member);
    let found =
        objects.filter(|object| MemberStanding::is_object(&object.id)).filter_map(|object| {
            let said: MemberStanding = serde_json::from_slice(&object.body).ok()?;
            let untrue = |is| Untrue {
                name: object.id.name.as_str().to_owned(),
                node_id: said.node_id,
                revision: object.revision,
                is,
            };
            if said.cluster_id != cluster_id {
                return Some(untrue(None));
            }
            let member = members.get(said.node_id);
            let is = member.map_or(Standing::Removed, |member| Standing::of_member(member.voter));
            let is_so = said.standing == is;
            (!is_so).then(|| untrue(Some(MemberStanding::new(cluster_id, said.node_id, is))))
        });
    found.collect()
}

/// Standings that are not so, since when.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<(u64, u64), Instant>);

impl Doubts {
    /// Those that have to be corrected: of another cluster, or untrue for so long.
    fn due(&mut self, untrue: Vec<Untrue>, now: Instant, grace: Duration) -> Vec<Untrue> {
        let key = |one: &Untrue| (one.node_id, one.revision);
        self.0.retain(|known, _| untrue.iter().any(|one| key(one) == *known));
        let is_due = |one: &Untrue| {
            let since = *self.0.entry(key(one)).or_insert(now);
            one.is.is_none() || now.saturating_duration_since(since) >= grace
        };
        untrue.into_iter().filter(is_due).collect()
    }
}

/// The changes that put standings right, and the reason that they give.
fn correction(untrue: &[Untrue]) -> (Vec<Change>, String) {
    let change = |one: &Untrue| {
        let change = match &one.is {
            Some(is) => {
                let body = serde_json::to_string(is).unwrap_or_default();
                Change::put(ObjectKind::Member, one.name.as_str(), body)
            }
            None => Change::delete(ObjectKind::Member, one.name.as_str()),
        };
        change.expecting(one.revision)
    };
    let reason = |one: &Untrue| match &one.is {
        Some(is) => {
            let standing = match is.standing {
                Standing::Learner => "a learner",
                Standing::Voter => "a voter",
                Standing::Removed => "no member",
            };
            format!("node {} is {standing}, not what revision {} says", one.node_id, one.revision)
        }
        None => format!("node {} is of the cluster before this one", one.node_id),
    };
    let shown = untrue.len().min(CHANGES_MAX);
    let mut why: Vec<String> = untrue.iter().take(NAMED_MAX).map(reason).collect();
    if shown > NAMED_MAX {
        why.push(format!("and {} more", shown - NAMED_MAX));
    }
    (untrue.iter().take(shown).map(change).collect(), why.join("; "))
}

/// The token that a node joined with, by its object's name.
fn token_of(catalogue: &Catalogue, node_id: u64) -> Option<String> {
    let used = |body: &[u8]| {
        let token: KeptToken = serde_json::from_slice(body).ok()?;
        token.used_by.map(|(used_by, _)| used_by)
    };
    let mut objects = catalogue.of_kind(ObjectKind::Member);
    let token = objects.find(|object| {
        object.id.name.as_str().starts_with(JOIN_TOKEN_PREFIX)
            && used(&object.body) == Some(node_id)
    });
    token.map(|object| object.id.name.as_str().to_owned())
}

/// Who made a token, as long as the history has it.
fn issuer(catalogue: &Catalogue, token: &str) -> Option<Author> {
    let made = catalogue.history_entries().find(|entry| {
        let object = &entry.object;
        object.kind == ObjectKind::Member && object.name.as_str() == token && entry.before.is_none()
    })?;
    Some(made.head.author.clone())
}

/// The duty that makes a node that joined what its token says. Its author is the duty, because the
/// person who made the token proved nothing about this change; the reason names the person.
pub(super) fn asked_by_token(catalogue: &Catalogue, node_id: u64, what: &str) -> Asked {
    let issuer = token_of(catalogue, node_id).and_then(|token| issuer(catalogue, &token));
    let token = issuer.map_or("a token".to_owned(), |author| format!("a token of {}", author.name));
    Asked::by_duty(format!("{what}: it joined by {token} and has caught up"))
}

impl Cluster {
    /// What a change would make of the members.
    ///
    /// # Errors
    /// As the change would be refused; a leader whose program does not say.
    pub(crate) async fn plan_members(
        &self,
        command: MemberCommand,
    ) -> Result<MemberPlan, ClusterError> {
        let older = || {
            let detail = "the node that leads runs an older program, which cannot say";
            ClusterError::refused(detail)
        };
        self.log().plan_members(command).await?.ok_or_else(older)
    }

    /// Changes a member's standing: its entry in the audit first, then the change.
    ///
    /// # Errors
    /// As the change is refused, before or after its entry; no leader.
    pub(super) async fn change_standing(
        &self,
        command: MemberCommand,
        asked: &Asked,
    ) -> Result<(), ClusterError> {
        let planned = self.log().plan_members(command.clone()).await?;
        if planned.as_ref().is_some_and(MemberPlan::is_done) {
            return Ok(());
        }
        // Voters sign.
        if let MemberCommand::Promote { node_id } | MemberCommand::Replace { by: node_id, .. } =
            command
        {
            self.give_authority(node_id).await?;
        }
        if planned.is_none() {
            // A leader of before there were plans refuses by itself: only what it did is told.
            self.change(command.clone(), asked.author.proof.as_ref()).await?;
            return self.record(&command, &[], asked).await.map(|_| ());
        }
        let removed = removed_voters(planned.as_ref());
        let recorded = self.record(&command, &removed, asked).await?;
        match (self.change(command, asked.author.proof.as_ref()).await, recorded) {
            // Whoever tries again goes on with this entry; else the leader corrects it.
            (Err(error), Some(revision)) if !error.retryable => {
                self.take_back(revision, &error, asked).await;
                Err(error)
            }
            (done, _) => done,
        }
    }

    /// Says in the audit what a change makes of its nodes: the revision, or none where that is said.
    async fn record(
        &self,
        command: &MemberCommand,
        removed: &[u64],
        asked: &Asked,
    ) -> Result<Option<u64>, ClusterError> {
        let catalogue = self.log().linearizable().await?;
        let mut changes = entry(&catalogue, &wanted(command, &self.cluster_id()));
        // Whoever voted has the authority's key: with it goes the authority.
        changes.extend(self.begin_rotation(&catalogue, removed)?);
        if changes.is_empty() {
            return Ok(None);
        }
        // A request whose entry was taken back makes another one when it is made again. A name that
        // belongs to something else is refused by the log.
        let usable = |id: &String| {
            let done = catalogue.changes_of_request(id);
            let of_members = |change: &Change| {
                MemberStanding::is_named(change.kind, &change.name)
                    || PendingRotation::is_named(change.kind, &change.name)
            };
            done.is_empty() || !done.iter().all(of_members)
        };
        let request_id = asked.request_id.clone().filter(usable);
        let request_id = request_id.unwrap_or_else(|| ulid::Ulid::generate().to_string());
        let set = ChangeSet::new(request_id, asked.why.clone(), changes);
        Ok(Some(self.log().propose(set, asked.author.clone()).await?.revision))
    }

    /// Says that nothing came of an entry.
    async fn take_back(&self, revision: u64, error: &ClusterError, asked: &Asked) {
        let taken = async {
            let catalogue = self.log().linearizable().await?;
            let mut untrue = untrue(&catalogue, &self.log().members(), &self.cluster_id());
            // What others said meanwhile may be under way.
            untrue.retain(|one| one.revision == revision);
            let (changes, _) = correction(&untrue);
            let why = format!("not done for {}: {error}", asked.author.name);
            self.correct(changes, why).await
        };
        if let Err(error) = taken.await {
            tracing::warn!(%error, "that a change of the members was not made is told later");
        }
    }

    async fn correct(&self, changes: Vec<Change>, why: String) -> Result<(), ClusterError> {
        if changes.is_empty() {
            return Ok(());
        }
        let set = ChangeSet::new(ulid::Ulid::generate().to_string(), why, changes);
        self.log().propose(set, Author::named(DUTY_MEMBERS)).await?;
        Ok(())
    }

    /// Corrects what the audit says of the members, where that was not so for `grace`; as leader.
    pub(super) async fn correct_standings(
        &self,
        doubts: &mut Doubts,
        grace: Duration,
    ) -> Result<(), ClusterError> {
        let members = self.log().members();
        if members.changing {
            return Ok(());
        }
        let untrue = untrue(&self.log().catalogue(), &members, &self.cluster_id());
        let due = doubts.due(untrue, Instant::now(), grace);
        let (changes, why) = correction(&due);
        self.correct(changes, why).await
    }
}

#[cfg(test)]
mod tests;
