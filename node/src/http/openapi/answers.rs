//! Shapes of answers and shared names, as the API's description shows them.
//!
//! These types describe and are never built: the answers themselves come from the crates below,
//! which know nothing of HTTP. Tests against a live node compare the two.

use serde::Serialize;
use utoipa::ToSchema;

/// A kind of catalogue object.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A feature flag.
    Flag,
    /// A condition that flags share.
    Segment,
    /// A list of values.
    List,
    /// A table.
    Table,
    /// A set of rules.
    RuleSet,
    /// A decision pipeline.
    Flow,
    /// A model version.
    Model,
    /// A name that points to a model version.
    Alias,
    /// An experiment.
    Experiment,
    /// A rollout.
    Rollout,
    /// A key.
    Key,
    /// A member.
    Member,
    /// A setting.
    Setting,
}

/// What a change does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpName {
    /// Creates or replaces.
    Put,
    /// Deletes.
    Delete,
}

/// An RFC 9457 problem.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// A URN that ends with the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code's title.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// This occurrence, in a sentence.
    detail: String,
    /// The stable code.
    #[schema(pattern = "^VD[0-9]{4}$")]
    code: String,
    /// Every fault that was found.
    faults: Vec<Fault>,
}

/// One fault with its place.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where: keys joined by dots, positions in brackets.
    path: String,
    /// The stable code.
    #[schema(pattern = "^VD[0-9]{4}$")]
    code: String,
    /// What is wrong and what would be right.
    message: String,
    /// The catalogue file.
    file: Option<String>,
    /// Line in the file.
    line: Option<u32>,
    /// Column in the line.
    column: Option<u32>,
}

/// A failure on OFREP.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfrepFailure {
    /// The flag's key; empty where none was asked for.
    key: String,
    /// The protocol's error code.
    #[schema(value_type = String, pattern = "^[A-Z_]+$")]
    error_code: String,
    /// What happened, in a sentence.
    error_details: String,
}

/// One change that was applied.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppliedChange {
    /// Its kind.
    kind: Kind,
    /// Its name.
    name: String,
    /// What was done.
    op: OpName,
}

/// The answer to a change set.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// Only with `dry_run`: nothing was applied.
    #[schema(required = false)]
    dry_run: bool,
    /// The revision that it made or would make.
    revision: u64,
    /// Its changes.
    applied: Vec<AppliedChange>,
    /// Only with `dry_run`: each object before and after.
    #[schema(required = false)]
    differences: Vec<ObjectDifference>,
    /// Only with `dry_run`: what is suspicious about the objects, and what the change brings about.
    #[schema(required = false)]
    findings: Vec<FindingOfObject>,
}

/// Something suspicious about an object.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingOfObject {
    /// The object's kind.
    kind: Kind,
    /// Its name.
    name: String,
    /// What kind of finding it is.
    finding: String,
    /// Where in the object.
    path: String,
    /// What is suspicious and what would be right, in a sentence.
    message: String,
}

/// An object before and after a change.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectDifference {
    /// Its kind.
    kind: Kind,
    /// Its name.
    name: String,
    /// What is done.
    op: OpName,
    /// Before; `null`: it does not exist.
    #[schema(required = true)]
    before: Option<VersionOfObject>,
    /// After; `null`: it is deleted.
    #[schema(required = true)]
    after: Option<VersionOfObject>,
}

/// A version of an object.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionOfObject {
    /// The revision that made it.
    revision: u64,
    /// SHA-256 of its body.
    hash: String,
    /// Length of its body.
    bytes: u64,
    /// The body; `null` once it is no longer retained.
    body: serde_json::Value,
}

/// A page of history, newest first.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryPage {
    /// Its entries.
    entries: Vec<HistoryEntry>,
    /// The next page's cursor; `null` at the end.
    #[schema(required = true)]
    next: Option<String>,
}

/// One change of one object.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryEntry {
    /// The revision that it made.
    revision: u64,
    /// Its index in the log.
    log_index: u64,
    /// The change set's request id.
    request_id: String,
    /// When.
    at: String,
    /// Whose key.
    author: String,
    /// From which address the change came: the other end of the connection, which may be a proxy;
    /// `null`: from the node itself.
    #[schema(required = true)]
    address: Option<String>,
    /// Why.
    why: String,
    /// Kind of the object.
    kind: Kind,
    /// Its name.
    name: String,
    /// What was done.
    op: OpName,
    /// The object before; `null`: it did not exist.
    #[schema(required = true)]
    before: Option<VersionOfObject>,
    /// The object after; `null`: it was deleted.
    #[schema(required = true)]
    after: Option<VersionOfObject>,
    /// The nodes that had loaded the models which the change set made active.
    evidence: Vec<ReadinessEvidence>,
}

/// A node had a model fetched, verified, loaded and warmed.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadinessEvidence {
    /// The node.
    node_id: u64,
    /// Content hash of the model's folder.
    model: String,
    /// When, by the node's clock.
    at: String,
}

/// Objects of one kind.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectList {
    /// The objects, by name.
    objects: Vec<ObjectAnswer>,
}

/// One object.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectAnswer {
    /// Its kind.
    kind: Kind,
    /// Its name.
    name: String,
    /// The revision of its last change.
    revision: u64,
    /// SHA-256 of its body.
    hash: String,
    /// The body; `null` where it was not asked for.
    body: serde_json::Value,
}

/// Health of the process.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `ok`, or why not.
    status: String,
    /// Faults that do not keep the node from serving, such as changes that do not reach the leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}
