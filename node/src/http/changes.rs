//! `/v1/changes`, `/v1/rollback`, `/v1/history`: the only ways to write the catalogue, and what was
//! written.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use verdict_actors::catalogue::{CheckReport, ObjectFinding};
use verdict_actors::{Proposal, Proposed};
use verdict_config::definition::{AUTHORITY_NAME, MemberStanding, PendingRotation};
use verdict_config::flags::relax_flag;
use verdict_config::settings::Role;
use verdict_config::{Code, Fault, ObjectId, ObjectKind, ObjectName};
use verdict_consensus::authority::{self, Action};
use verdict_consensus::{
    Change, ChangeRefused, ChangeSet, Difference, DryRun, Evidence, HistoryEntry, HistoryQuery, Op,
    ProposeError, Version, plan_rollback,
};

use super::decisions::problem_of;
use super::keys::Caller;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Services, Shared, body, caller_of, json, json_with_revision};
use crate::http::openapi::answers;

/// Body of `/v1/changes`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesBody {
    /// Makes a retry harmless for 24 h.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    request_id: String,
    /// Why, for people: at least a word.
    #[schema(min_length = 1, max_length = 512, pattern = r"\S")]
    why: String,
    /// Only says what would happen.
    #[serde(default)]
    dry_run: bool,
    /// Applied whole or not at all.
    #[schema(min_items = 1, max_items = 1000)]
    changes: Vec<ChangeBody>,
}

/// One change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    /// Kind of the object.
    #[schema(value_type = answers::Kind)]
    kind: ObjectKind,
    /// Its name.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// What is done.
    #[schema(value_type = answers::OpName)]
    op: Op,
    /// Revision of the object's last change as the author saw it, 0 for "does not exist"; not
    /// compared if absent.
    #[schema(minimum = 0, maximum = 9007199254740991_u64)]
    expected_revision: Option<u64>,
    /// The object; only with `put`.
    #[schema(value_type = Object)]
    body: Option<Box<RawValue>>,
}

/// Body of `/v1/rollback`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    /// Makes a retry harmless for 24 h.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    request_id: String,
    /// Why, for people: at least a word.
    #[schema(min_length = 1, max_length = 512, pattern = r"\S")]
    why: String,
    /// Only says what would happen.
    #[serde(default)]
    dry_run: bool,
    /// The revision whose state is restored.
    #[schema(minimum = 0, maximum = 9007199254740991_u64)]
    to_revision: u64,
    /// The objects that are restored; all, if absent.
    #[serde(default)]
    #[schema(max_items = 1000)]
    objects: Vec<ObjectBody>,
}

/// An object by kind and name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ObjectBody {
    /// Its kind.
    #[schema(value_type = answers::Kind)]
    kind: ObjectKind,
    /// Its name.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
}

/// Refuses a change without a reason: the history is read by people years later.
fn give_a_reason(why: &str) -> Answer<()> {
    if why.trim().is_empty() {
        let detail = "`why` is empty: say in a sentence why the change is made.";
        return Err(Problem::new(Code::RequestInvalid, detail));
    }
    Ok(())
}

/// Applies a change set, or says what it would do.
#[utoipa::path(
    post, path = "/v1/changes", tag = "Changing", operation_id = "change",
    request_body(content = ChangesBody),
    responses(
        (status = 200, description = "It was applied; or, with `dry_run`, it would be.",
         body = answers::Changed),
    )
)]
pub(super) async fn post_changes(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, authority::CHANGES_FROM)?;
    let body: ChangesBody = read(&services, request).await?;
    give_a_reason(&body.why)?;
    let strict = services.flags_strict;
    let changes = body.changes.into_iter().map(|change| change.into_change(strict)).collect();
    let set = ChangeSet::new(body.request_id, body.why, changes);
    caller.may(Action::Change(&set))?;
    leave_to_cluster(&set)?;
    caller.covers(&set, &services.runtime.log().catalogue())?;
    settle(&services, &caller, set, body.dry_run).await
}

/// Restores an older state by a forward change.
#[utoipa::path(
    post, path = "/v1/rollback", tag = "Changing", operation_id = "rollback",
    request_body(content = RollbackBody),
    responses(
        (status = 200, description = "It was applied; or, with `dry_run`, it would be.",
         body = answers::Changed),
    )
)]
pub(super) async fn post_rollback(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, authority::ROLLS_BACK_FROM)?;
    let body: RollbackBody = read(&services, request).await?;
    give_a_reason(&body.why)?;
    let mut objects = Vec::with_capacity(body.objects.len());
    let mut faults = Vec::new();
    for (position, object) in body.objects.into_iter().enumerate() {
        match ObjectName::new(object.kind, object.name) {
            Ok(name) => objects.push(ObjectId { kind: object.kind, name }),
            Err(fault) => faults.push(fault.under(&format!("objects[{position}]"))),
        }
    }
    if !faults.is_empty() {
        return Err(Problem::of(Code::ChangeInvalid).with_faults(faults));
    }
    // A rollback is planned over what stands, not over what this node happens to have of it.
    let log = services.runtime.log();
    let catalogue = log.linearizable().await.map_err(|error| problem_of(&error.into()))?;
    let planned = plan_rollback(&catalogue, body.request_id, body.why, body.to_revision, &objects);
    let set = planned.map_err(|refused| refusal(&refused))?;
    caller.may(Action::Rollback(&set))?;
    caller.covers(&set, &catalogue)?;
    settle(&services, &caller, set, body.dry_run).await
}

async fn read<T: serde::de::DeserializeOwned>(services: &Services, request: Request) -> Answer<T> {
    let (parts, content) = request.into_parts();
    body::require_declared_json(&parts.headers)?;
    let bytes = body::read(&parts.headers, content, services.http.change_body_bytes_max).await?;
    body::parse(&bytes, services.http.json_depth_max)
}

pub(super) async fn settle(
    services: &Arc<Services>,
    caller: &Caller,
    set: ChangeSet,
    dry_run: bool,
) -> Answer<Response<Body>> {
    let proposal = Proposal { change_set: set, author: caller.author() };
    if dry_run {
        let (run, check) =
            services.runtime.dry_run(&proposal).await.map_err(|error| problem_of(&error))?;
        return json(&DryRunAnswer::new(run, &check));
    }
    let proposed = services.runtime.propose(proposal).await.map_err(|error| problem_of(&error))?;
    let Proposed { applied, .. } = proposed;
    json_with_revision(&applied, applied.revision)
}

/// The objects that follow what the cluster does: its authorities change by a rotation, which checks that
/// every node can follow, and standings by changes of the members.
pub(crate) fn leave_to_cluster(set: &ChangeSet) -> Answer<()> {
    let changed_by = |change: &Change| {
        if MemberStanding::is_named(change.kind, &change.name) {
            Some("POST /v1/admin/members/{key} changes the members, and with them this object")
        } else if PendingRotation::is_named(change.kind, &change.name) {
            Some(
                "the removal of a voter makes this object, and the rotation that follows deletes it",
            )
        } else if change.kind == ObjectKind::Member && change.name == AUTHORITY_NAME {
            Some("POST /v1/admin/authority/{step} changes this object")
        } else {
            None
        }
    };
    let fault = |(position, change): (usize, &Change)| {
        let path = format!("changes[{position}].name");
        Some(Fault::new(Code::InvalidValue, path, changed_by(change)?))
    };
    let faults: Vec<Fault> = set.changes.iter().enumerate().filter_map(fault).collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::of(Code::ChangeInvalid).with_faults(faults))
    }
}

impl ChangeBody {
    fn into_change(self, flags_strict: bool) -> Change {
        let mut body = self.body.map(|body| body.get().as_bytes().to_vec());
        if !flags_strict
            && self.kind == ObjectKind::Flag
            && let Some(text) = &mut body
            && let Ok(mut flag) = serde_json::from_slice(text)
            && relax_flag(&mut flag, "").is_changed
        {
            *text = flag.to_string().into_bytes();
        }
        Change {
            kind: self.kind,
            name: self.name,
            op: self.op,
            expected_revision: self.expected_revision,
            body,
            stored: None,
        }
    }
}

/// The answer to `dry_run`: what would be applied, and how each object would differ.
#[derive(Serialize)]
struct DryRunAnswer {
    dry_run: bool,
    revision: u64,
    applied: Vec<Json>,
    differences: Vec<Json>,
    findings: Vec<Json>,
}

/// The most findings that a dry run names.
const FINDINGS_MAX: usize = 200;

/// Findings that a change brings about in objects which it leaves as they are.
const FAR_FINDINGS: [&str; 2] = ["windows_partial", "model_misfit"];

type Json = serde_json::Value;

impl DryRunAnswer {
    fn new(run: DryRun, check: &CheckReport) -> Self {
        let applied = run.differences.iter().map(|difference| {
            serde_json::json!({
                "kind": difference.object.kind, "name": difference.object.name,
                "op": difference.op,
            })
        });
        let concerned = |finding: &&ObjectFinding| {
            FAR_FINDINGS.contains(&finding.kind.as_str())
                || run.differences.iter().any(|changed| changed.object == finding.object)
        };
        let findings = check.findings.iter().filter(concerned);
        Self {
            dry_run: true,
            revision: run.revision,
            applied: applied.collect(),
            differences: run.differences.iter().map(difference_json).collect(),
            findings: findings.take(FINDINGS_MAX).map(finding_json).collect(),
        }
    }
}

fn finding_json(finding: &ObjectFinding) -> Json {
    serde_json::json!({
        "kind": finding.object.kind,
        "name": finding.object.name,
        "finding": finding.kind,
        "path": finding.path,
        "message": finding.message,
    })
}

fn difference_json(difference: &Difference) -> Json {
    serde_json::json!({
        "kind": difference.object.kind,
        "name": difference.object.name,
        "op": difference.op,
        "before": difference.before.as_ref().map(version_json),
        "after": difference.after.as_ref().map(version_json),
    })
}

/// A version of an object with its body, while that is retained.
fn version_json(version: &Version) -> Json {
    let body = version.body.as_ref();
    let body: Option<Json> = body.and_then(|body| serde_json::from_slice(body).ok());
    serde_json::json!({
        "revision": version.revision,
        "hash": version.hash.to_hex(),
        "bytes": version.bytes,
        "body": body,
    })
}

/// What a failed proposal is on the wire.
pub(crate) fn proposal_problem(error: &ProposeError) -> Problem {
    match error {
        ProposeError::Refused(refused) => refusal(refused),
        ProposeError::Overloaded
        | ProposeError::Draining
        | ProposeError::Storage(_)
        | ProposeError::NoLeader
        | ProposeError::ClockDoubtful
        | ProposeError::OutcomeUnknown
        | ProposeError::Denied(_) => Problem::new(error.code(), error.to_string()),
    }
}

pub(super) fn refusal(refused: &ChangeRefused) -> Problem {
    let problem = Problem::new(refused.code(), refused.to_string());
    match refused {
        ChangeRefused::Invalid(faults) => problem.with_faults(faults.clone()),
        ChangeRefused::Conflict(conflicts) => {
            let faults = conflicts.iter().map(|conflict| {
                let path = conflict.object.to_string();
                Fault::new(Code::ChangeConflict, path, conflict.message.clone())
            });
            problem.with_faults(faults.collect())
        }
        ChangeRefused::RequestIdConflict { .. }
        | ChangeRefused::TooOld { .. }
        | ChangeRefused::NotRetained { .. }
        | ChangeRefused::NeverMade { .. } => problem,
    }
}

/// Pages of what was changed, newest first.
#[utoipa::path(
    get, path = "/v1/history", tag = "Changing", operation_id = "history",
    params(
        ("kind" = Option<answers::Kind>, Query, description = "Only this kind."),
        ("name" = Option<String>, Query, description = "Only this name."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
         description = "Most entries of a page; 100 if absent."),
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
    ),
    responses(
        (status = 200, description = "A page.", body = answers::HistoryPage),
    )
)]
pub(super) async fn get_history(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let mut query = Query::read(request.uri(), &["kind", "name", "limit", "cursor"]);
    let history = HistoryQuery {
        kind: query.parsed("kind", "a kind of object"),
        name: query.text("name"),
        limit: query.number("limit", 1, 1_000).unwrap_or(100) as usize,
        cursor: query.text("cursor"),
    };
    query.finish()?;
    let page = services.runtime.log().history(&history);
    let page = page.map_err(|refused| Problem::new(refused.code(), refused.to_string()))?;
    let entries: Vec<Json> = page.entries.iter().map(|entry| entry_json(entry)).collect();
    json(&serde_json::json!({ "entries": entries, "next": page.next }))
}

fn entry_json(entry: &HistoryEntry) -> Json {
    serde_json::json!({
        "revision": entry.head.revision,
        "log_index": entry.head.log_index,
        "request_id": entry.head.request_id,
        "at": entry.head.at,
        "author": entry.head.author.name,
        "address": entry.head.author.address,
        "why": entry.head.why,
        "kind": entry.object.kind,
        "name": entry.object.name,
        "op": entry.op,
        "before": entry.before.as_ref().map(version_json),
        "after": entry.after.as_ref().map(version_json),
        "evidence": entry.head.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
    })
}

fn evidence_json(evidence: &Evidence) -> Json {
    serde_json::json!({
        "node_id": evidence.node_id,
        "model": evidence.model.to_hex(),
        "at": evidence.at,
    })
}
