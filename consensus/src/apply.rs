//! The state machine: one catalogue and one command give the next catalogue, or a refusal.
//!
//! Pure, so that every node that applies the same commands holds the same catalogue. Nothing of a
//! refused change set stays, not even its time or its request id.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use verdict_config::{Code, Fault, Faults, ObjectId, OrderedMap, TimestampMs};

use crate::catalogue::{Catalogue, ChangeHead, HistoryEntry, Object, Request, Version};
use crate::command::{Author, Change, ChangeSet, Command, Op, Propose};
use crate::digest::ContentHash;
use crate::error::{ChangeRefused, Conflict, ShortHash, short_hash};
use crate::json::compact_json;
use crate::references;
use crate::validate::Validator;

/// One change that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedChange {
    /// The object.
    pub object: ObjectId,
    /// What was done.
    pub op: Op,
}

impl Serialize for AppliedChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut change = serializer.serialize_struct("AppliedChange", 3)?;
        change.serialize_field("kind", &self.object.kind)?;
        change.serialize_field("name", &self.object.name)?;
        change.serialize_field("op", &self.op)?;
        change.end()
    }
}

/// The answer to a change set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The revision it made.
    pub revision: u64,
    /// Its changes, in their order.
    pub applied: Vec<AppliedChange>,
    /// Whether this answers a retry: the change set was applied before.
    #[serde(skip)]
    pub repeated: bool,
}

/// The next catalogue, with the answer.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The catalogue after the command; the same as before for a retry.
    pub catalogue: Catalogue,
    /// What to tell the author.
    pub applied: Applied,
}

/// Applies a command that stands at `log_index`.
///
/// # Errors
/// The refusal; the catalogue given stays as it is.
pub fn apply(
    catalogue: &Catalogue,
    command: &Command,
    log_index: u64,
    validator: &dyn Validator,
) -> Result<Transition, ChangeRefused> {
    apply_at(catalogue, command, LogPosition { index: log_index, position: 0 }, validator)
}

/// Where a command stands in the log: several may share an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LogPosition {
    /// Index of the entry.
    pub index: u64,
    /// Place in the entry, from 0.
    pub position: u32,
}

/// As [`apply`], for a command that shares its entry with others.
///
/// # Errors
/// The refusal; the catalogue given stays as it is.
pub fn apply_at(
    catalogue: &Catalogue,
    command: &Command,
    place: LogPosition,
    validator: &dyn Validator,
) -> Result<Transition, ChangeRefused> {
    let mut next = catalogue.clone();
    let applied = apply_in_place(&mut next, command, place, validator)?;
    Ok(Transition { catalogue: next, applied })
}

/// As [`apply_at`], on the catalogue itself, which stays as it was when the command is refused.
/// Commands that follow each other on a catalogue that nobody else holds copy far less of it.
///
/// # Errors
/// The refusal.
pub(crate) fn apply_in_place(
    next: &mut Catalogue,
    command: &Command,
    place: LogPosition,
    validator: &dyn Validator,
) -> Result<Applied, ChangeRefused> {
    let Command::Propose(propose) = command;
    let set = &propose.change_set;
    // A leader's clock may run behind the one before it: time never goes back.
    let at = propose.at.max(next.at);
    if let Some(applied) = answer_retry(next, set, at)? {
        return Ok(applied);
    }
    let objects = check_form(set)?;
    check_expectations(next, set, &objects)?;
    let before = Before::of(next, &objects);
    next.revision = next.next_revision();
    next.at = at;
    put_objects(next, set, &objects);
    let checked = check_result(next, set, &objects, validator).and_then(|()| forget_requests(next));
    if let Err(refused) = checked {
        before.restore(next, &objects);
        return Err(refused);
    }
    remember(before.objects, next, Stamped { propose, place, at }, &objects);
    Ok(answer(next.revision, set, &objects))
}

/// What a refused command must leave as it was: only what it touches, so that change sets that follow
/// each other share no part of the catalogue with a copy and copy none of it.
struct Before {
    revision: u64,
    at: TimestampMs,
    /// The objects of the change set, in its order.
    objects: Vec<Option<Arc<Object>>>,
    /// Only where there are so many that a command may be refused for it.
    requests: Option<(OrderedMap<ShortHash, Request>, OrderedMap<u64, ShortHash>)>,
}

impl Before {
    fn of(catalogue: &Catalogue, objects: &[ObjectId]) -> Self {
        let many = catalogue.requests.len() as u64 >= catalogue.limits.requests_max;
        Self {
            revision: catalogue.revision,
            at: catalogue.at,
            objects: objects.iter().map(|id| catalogue.objects.get(id).cloned()).collect(),
            requests: many
                .then(|| (catalogue.requests.clone(), catalogue.requests_by_revision.clone())),
        }
    }

    fn restore(self, catalogue: &mut Catalogue, objects: &[ObjectId]) {
        catalogue.revision = self.revision;
        catalogue.at = self.at;
        for id in objects {
            references::forget(catalogue, id);
        }
        for (id, object) in objects.iter().zip(self.objects) {
            match object {
                Some(object) => references::put_back(catalogue, object),
                None => {
                    catalogue.objects.remove(id);
                }
            }
        }
        if let Some((requests, by_revision)) = self.requests {
            catalogue.requests = requests;
            catalogue.requests_by_revision = by_revision;
        }
    }
}

fn answer(revision: u64, set: &ChangeSet, objects: &[ObjectId]) -> Applied {
    let change = |(object, change): (&ObjectId, &Change)| AppliedChange {
        object: object.clone(),
        op: change.op,
    };
    let applied = objects.iter().zip(&set.changes).map(change).collect();
    Applied { revision, applied, repeated: false }
}

fn answer_retry(
    catalogue: &Catalogue,
    set: &ChangeSet,
    at: TimestampMs,
) -> Result<Option<Applied>, ChangeRefused> {
    let Some(request) = catalogue.requests.get(&short_hash(&set.request_id)) else {
        return Ok(None);
    };
    if cfg!(verdict_bug = "skip_dedup") {
        return Ok(None);
    }
    let request_id = set.request_id.clone();
    if at.0.saturating_sub(request.at.0) > catalogue.limits.request_age_ms_max {
        return Err(ChangeRefused::TooOld { request_id });
    }
    let revision = request.revision;
    if request.digest != set.digest() {
        return Err(ChangeRefused::RequestIdConflict { request_id, revision });
    }
    let recorded = catalogue.history.entries.range_from(&(revision, 0));
    let mut applied: Vec<AppliedChange> = recorded
        .take_while(|((at, _), _)| *at == revision)
        .map(|(_, entry)| AppliedChange { object: entry.object.clone(), op: entry.op })
        .collect();
    if applied.is_empty() {
        // Its history is trimmed; the digest says that the changes are the same.
        let objects: Vec<_> = set.changes.iter().filter_map(|c| c.object().ok()).collect();
        applied = answer(revision, set, &objects).applied;
    }
    Ok(Some(Applied { revision, applied, repeated: true }))
}

/// What `ChangeSet::normalised` checks before a log appends, checked again: a node trusts no other.
fn check_form(set: &ChangeSet) -> Result<Vec<ObjectId>, ChangeRefused> {
    let mut faults = set.size_faults();
    let mut objects = Vec::with_capacity(set.changes.len());
    for (position, change) in set.changes.iter().enumerate() {
        let path = format!("changes[{position}]");
        match change.object() {
            Ok(object) => objects.push(object),
            Err(fault) => faults.push(fault.under(&path)),
        }
        let fault = match (change.op, &change.body) {
            (Op::Put, Some(body)) => match compact_json(body) {
                Ok(compact) if compact == *body => None,
                Ok(_) => Some((Code::InvalidSyntax, "the body is not compact".to_owned())),
                Err(fault) => Some((fault.code, fault.message)),
            },
            (Op::Delete, None) => None,
            (Op::Put, None) => Some((Code::MissingKey, "a put needs a body".to_owned())),
            (Op::Delete, Some(_)) => Some((Code::InvalidValue, "a delete has no body".to_owned())),
        };
        if let Some((code, message)) = fault {
            faults.push(Fault::new(code, format!("{path}.body"), message));
        }
    }
    if faults.is_empty() { Ok(objects) } else { Err(ChangeRefused::Invalid(faults)) }
}

fn check_expectations(
    catalogue: &Catalogue,
    set: &ChangeSet,
    objects: &[ObjectId],
) -> Result<(), ChangeRefused> {
    let (mut conflicts, mut faults) = (Vec::new(), Faults::new());
    for (position, (change, object)) in set.changes.iter().zip(objects).enumerate() {
        let found = catalogue.get(object).map_or(0, |object| object.revision);
        if let Some(expected) = change.expected_revision.filter(|expected| *expected != found) {
            catalogue.check_made(expected)?;
            let message = match (expected, found) {
                (0, _) => format!("{object} exists already, last changed at revision {found}"),
                (_, 0) => format!("{object} no longer exists; revision {expected} was expected"),
                _ => format!("{object} is at revision {found}; {expected} was expected"),
            };
            conflicts.push(Conflict {
                object: object.clone(),
                expected_revision: Some(expected),
                found_revision: found,
                message,
            });
        } else if change.op == Op::Delete && found == 0 {
            let message = format!("{object} does not exist: there is nothing to delete");
            faults.push(Fault::new(
                Code::UnknownReference,
                format!("changes[{position}].name"),
                message,
            ));
        }
    }
    if !conflicts.is_empty() {
        return Err(ChangeRefused::Conflict(conflicts));
    }
    if faults.is_empty() { Ok(()) } else { Err(ChangeRefused::Invalid(faults)) }
}

/// Puts and deletes, then finds what the new bodies name: that may be in the same change set.
fn put_objects(next: &mut Catalogue, set: &ChangeSet, objects: &[ObjectId]) {
    let bodies: Vec<_> = set.changes.iter().map(|change| change.body.as_deref()).collect();
    for (id, body) in objects.iter().zip(&bodies) {
        references::forget(next, id);
        match body {
            Some(body) => {
                let object = Object {
                    id: id.clone(),
                    body: Arc::from(*body),
                    hash: ContentHash::of(body),
                    revision: next.revision,
                    references: Vec::new(),
                };
                next.objects.insert(id.clone(), Arc::new(object));
            }
            None => {
                next.objects.remove(id);
            }
        }
    }
    for id in objects {
        references::note(next, id);
    }
}

fn check_result(
    next: &Catalogue,
    set: &ChangeSet,
    objects: &[ObjectId],
    validator: &dyn Validator,
) -> Result<(), ChangeRefused> {
    let mut conflicts = Vec::new();
    for requirement in &set.requires {
        let found = next.get(&requirement.object);
        if found.map(|object| references::interface_hash(object)) != requirement.interface {
            let message = format!(
                "{} is not what the change set was compiled against; compile it again",
                requirement.object
            );
            conflicts.push(Conflict {
                object: requirement.object.clone(),
                expected_revision: None,
                found_revision: found.map_or(0, |object| object.revision),
                message,
            });
        }
    }
    if !conflicts.is_empty() {
        return Err(ChangeRefused::Conflict(conflicts));
    }
    let mut faults = Faults::new();
    for (position, id) in objects.iter().enumerate() {
        let Some(object) = next.get(id) else { continue };
        let path = format!("changes[{position}].body");
        let body_faults = validator.check_body(id, &object.body);
        faults.extend(body_faults.into_iter().map(|fault| fault.under(&path)));
    }
    if validator.checks_references() {
        faults.extend(references::check(next, objects));
    }
    if faults.is_empty() {
        faults = validator.check_catalogue(next, objects);
    }
    if faults.is_empty() && set.restores.is_none() {
        faults = validator.check_refusals(next, objects);
        faults.extend(validator.check_times(next, objects));
    }
    if faults.is_empty() { Ok(()) } else { Err(ChangeRefused::Invalid(faults)) }
}

struct Stamped<'command> {
    propose: &'command Propose,
    place: LogPosition,
    at: TimestampMs,
}

/// Writes history and the request id, and drops what the limits no longer allow.
fn remember(
    before: Vec<Option<Arc<Object>>>,
    next: &mut Catalogue,
    stamped: Stamped<'_>,
    objects: &[ObjectId],
) {
    let Stamped { propose, place, at } = stamped;
    let set = &propose.change_set;
    let head = Arc::new(ChangeHead {
        revision: next.revision,
        log_index: place.index,
        log_position: place.position,
        request_id: set.request_id.clone(),
        at,
        author: propose.author.clone(),
        why: set.why.clone(),
        restores: set.restores.clone(),
        evidence: set.evidence.clone(),
    });
    let changed = objects.iter().zip(&set.changes).zip(before);
    for (position, ((id, change), before)) in (0u32..).zip(changed) {
        let entry = HistoryEntry {
            head: Arc::clone(&head),
            object: id.clone(),
            op: change.op,
            before: before.map(|object| Version::from(&*object)),
            after: next.get(id).map(|object| Version::from(&**object)),
        };
        next.history.push(position, entry);
    }
    let limits = next.limits;
    next.history.trim(&limits, at);
    let id = short_hash(&set.request_id);
    next.requests.insert(id, Request { revision: next.revision, at, digest: set.digest() });
    next.requests_by_revision.insert(next.revision, id);
}

/// Ids beyond their age are kept for a while, to be refused as expired; then the oldest go. An id
/// within its age is never forgotten: rather no change is taken.
fn forget_requests(next: &mut Catalogue) -> Result<(), ChangeRefused> {
    let limits = next.limits;
    while next.requests.len() as u64 >= limits.requests_kept {
        let Some((&revision, &id)) = next.requests_by_revision.first() else { break };
        let at = next.requests.get(&id).map_or(TimestampMs(i64::MIN), |request| request.at);
        if next.at.0.saturating_sub(at.0) <= limits.request_age_ms_max {
            break;
        }
        next.requests.remove(&id);
        next.requests_by_revision.remove(&revision);
    }
    if next.requests.len() as u64 >= limits.requests_max {
        let message = format!("{} change sets within the age of a request_id", limits.requests_max);
        let fault = Fault::new(Code::LimitExceeded, "request_id", message);
        return Err(ChangeRefused::Invalid(vec![fault]));
    }
    Ok(())
}

/// How an object would differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The object.
    pub object: ObjectId,
    /// What would be done.
    pub op: Op,
    /// The object as it is; `None`: it does not exist.
    pub before: Option<Version>,
    /// The object as it would be; `None`: deleted.
    pub after: Option<Version>,
    /// Whether the body would stay the same.
    pub unchanged: bool,
}

/// What a change set would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The revision it would make, if no other came first.
    pub revision: u64,
    /// Object by object.
    pub differences: Vec<Difference>,
    /// Set if it is a retry of one that was applied at this revision.
    pub repeated: Option<u64>,
}

/// What a change set would do, without doing it.
///
/// # Errors
/// As [`apply`], and faults of form.
pub fn dry_run(
    catalogue: &Catalogue,
    set: ChangeSet,
    author: Author,
    at: TimestampMs,
    validator: &dyn Validator,
) -> Result<DryRun, ChangeRefused> {
    let change_set = set.normalised().map_err(ChangeRefused::Invalid)?;
    let author = author.without_proof();
    let command = Command::Propose(Propose { change_set, author, at });
    let Transition { catalogue: next, applied } = apply(catalogue, &command, 0, validator)?;
    if applied.repeated {
        let repeated = Some(applied.revision);
        return Ok(DryRun { revision: applied.revision, differences: Vec::new(), repeated });
    }
    let difference = |change: AppliedChange| {
        let (before, after) = (catalogue.get(&change.object), next.get(&change.object));
        let unchanged = before.map(|object| object.hash) == after.map(|object| object.hash);
        Difference {
            before: before.map(|object| Version::from(&**object)),
            after: after.map(|object| Version::from(&**object)),
            object: change.object,
            op: change.op,
            unchanged,
        }
    };
    let differences = applied.applied.into_iter().map(difference).collect();
    Ok(DryRun { revision: applied.revision, differences, repeated: None })
}
