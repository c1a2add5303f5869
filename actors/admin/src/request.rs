//! What operators ask for, and which route of the HTTP interface answers it. Pure.
//!
//! Every request is a route that automation reaches with an API key: so a thing has one authority,
//! one audit and one implementation, whichever way it is asked for.

use serde::{Deserialize, Serialize};
use verdict_config::ObjectKind;
use verdict_config::settings::Role;

use crate::transfer::Transfer;

mod bodies;

pub use bodies::{
    ChangeRequest, MemberRequest, ObjectChange, ObjectName, RollbackRequest, RotateRequest,
    RotationStep,
};

/// A request of an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The node, the cluster as it sees it, and what it serves.
    Status {},
    /// The members.
    Members {},
    /// What was changed, newest first.
    History {
        /// Only this kind.
        #[serde(default)]
        kind: Option<ObjectKind>,
        /// Only this name.
        #[serde(default)]
        name: Option<String>,
        /// Most entries of the page, 1 to 1,000.
        #[serde(default)]
        limit: Option<u32>,
        /// `next` of the page before.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// What differs between two revisions.
    Diff {
        /// The older revision.
        from: u64,
        /// The newer one; what is agreed now, if absent.
        #[serde(default)]
        to: Option<u64>,
    },
    /// The objects of a kind.
    Objects {
        /// The kind.
        kind: ObjectKind,
        /// Without their bodies.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        names_only: bool,
    },
    /// One object.
    Object {
        /// Its kind.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// As it was at a revision; now, if absent.
        #[serde(default)]
        revision: Option<u64>,
    },
    /// Applies a change set, or says what it would do.
    Change(ChangeRequest),
    /// Restores an older state, or says what that would do.
    Rollback(RollbackRequest),
    /// Explains a decision.
    Explain {
        /// The decision.
        id: String,
    },
    /// The supervision tree.
    Actors {},
    /// Model folders and large objects: which node has what.
    Blobs {},
    /// Refusals of admin requests, newest first, of this node since its start.
    Refusals {},
    /// Sets what a node logs, for a time.
    LogLevel {
        /// Directives, for example `info,verdict_consensus=debug`; those of the settings, if absent.
        #[serde(default)]
        directives: Option<String>,
        /// Seconds until those of the settings hold again.
        #[serde(default)]
        for_s: Option<u64>,
        /// Only says what would happen.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// Believes the clock of the node that answers, where it is in doubt.
    ConfirmClock {
        /// Only says what the clock shows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// Makes a one-time token that lets a node join.
    Token {
        /// How long it is good, in seconds.
        valid_s: u64,
        /// Whether the node becomes a voter.
        voter: bool,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// Only says what would happen.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// Makes a learner a voter.
    Promote(MemberRequest),
    /// Removes a member for good.
    Remove(MemberRequest),
    /// Makes a token for a node that takes the place of a dead one: in one change, once it has
    /// caught up.
    Replace(MemberRequest),
    /// Removes a member for good, which hands over the lead first if it has it.
    Retire(MemberRequest),
    /// Tells the node that answers to hand its offices over, finish and end.
    Drain {
        /// Only says what would happen.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// A step of a transfer of what is longer than a call.
    Transfer(Transfer),
    /// Which nodes have loaded a model's folder.
    Readiness {
        /// The folder's content hash.
        content_hash: String,
    },
    /// Signs an operator's public key: the certificate that lets its owner connect.
    Certify {
        /// The name of the key's object.
        name: String,
    },
    /// Signs the public key of whoever asks, by the authority that signs now, and says which are
    /// trusted.
    Renew {},
    /// The cluster's authorities, and how far each node is with a change of them.
    Authority {},
    /// Takes a step of a change of the authority, or says what it would do.
    Rotate(RotateRequest),
}

/// A call of the HTTP interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCall {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// JSON, with `POST`.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// The command's name, as logs and metrics have it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status {} => "status",
            Self::Members {} => "members",
            Self::History { .. } => "history",
            Self::Diff { .. } => "diff",
            Self::Objects { .. } => "objects",
            Self::Object { .. } => "object",
            Self::Change(_) => "change",
            Self::Rollback(_) => "rollback",
            Self::Explain { .. } => "explain",
            Self::Actors {} => "actors",
            Self::Blobs {} => "blobs",
            Self::Refusals {} => "refusals",
            Self::LogLevel { .. } => "log_level",
            Self::ConfirmClock { .. } => "confirm_clock",
            Self::Token { .. } => "token",
            Self::Promote(_) => "promote",
            Self::Remove(_) => "remove",
            Self::Replace(_) => "replace",
            Self::Retire(_) => "retire",
            Self::Drain { .. } => "drain",
            Self::Certify { .. } => "certify",
            Self::Renew {} => "renew",
            Self::Authority {} => "authority",
            Self::Rotate(_) => "rotate",
            Self::Transfer(_) => "transfer",
            Self::Readiness { .. } => "readiness",
        }
    }

    /// The weakest role that may ask; what a change set touches may need a stronger one.
    #[must_use]
    pub const fn needs(&self) -> Role {
        match self {
            Self::Status {}
            | Self::Members {}
            | Self::History { .. }
            | Self::Diff { .. }
            | Self::Objects { .. }
            | Self::Object { .. }
            | Self::Explain { .. }
            | Self::Actors {}
            | Self::Readiness { .. }
            | Self::Blobs {}
            | Self::Authority {} => Role::Viewer,
            // Whoever may ask anything is to go on reaching the nodes.
            Self::Renew {} => Role::Decider,
            Self::Transfer(step) => step.needs(),
            Self::Change(_) => Role::Editor,
            Self::Rollback(_) => Role::Releaser,
            Self::Refusals {}
            | Self::LogLevel { .. }
            | Self::ConfirmClock { .. }
            | Self::Token { .. }
            | Self::Promote(_)
            | Self::Remove(_)
            | Self::Replace(_)
            | Self::Retire(_)
            | Self::Drain { .. }
            | Self::Certify { .. }
            | Self::Rotate(_) => Role::Operator,
        }
    }

    /// Whether it changes something, so that sending it twice must be harmless.
    #[must_use]
    pub const fn writes(&self) -> bool {
        matches!(
            self,
            Self::Change(_)
                | Self::Rollback(_)
                | Self::LogLevel { .. }
                | Self::ConfirmClock { .. }
                | Self::Token { .. }
                | Self::Promote(_)
                | Self::Remove(_)
                | Self::Replace(_)
                | Self::Retire(_)
                | Self::Drain { .. }
                | Self::Rotate(_)
                | Self::Transfer(_)
        )
    }

    /// Whether it may be sent to another node without knowing what became of it at the first.
    #[must_use]
    pub const fn may_be_repeated(&self) -> bool {
        // A clock is that of one node.
        !matches!(
            self,
            Self::Token { .. } | Self::Replace(_) | Self::Drain { .. } | Self::ConfirmClock { .. }
        )
    }

    /// Whether only the node can answer that answered before: it holds what was begun there.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        matches!(self, Self::Transfer(step) if !matches!(step, Transfer::Begin { .. }))
    }

    /// The route that answers it.
    #[must_use]
    pub fn route(&self) -> RouteCall {
        match self {
            Self::Status {} => get("/v1/status"),
            Self::Members {} => get("/v1/admin/members"),
            Self::History { kind, name, limit, cursor } => {
                let mut query = Query::new("/v1/history");
                query.add("kind", kind.map(|kind| kind.to_string()));
                query.add("name", name.clone());
                query.add("limit", limit.map(|limit| limit.to_string()));
                query.add("cursor", cursor.clone());
                get(&query.0)
            }
            Self::Diff { from, to } => {
                let mut query = Query::new("/v1/admin/diff");
                query.add("from", Some(from.to_string()));
                query.add("to", to.map(|to| to.to_string()));
                get(&query.0)
            }
            Self::Objects { kind, names_only } => {
                let mut query = Query::new(&format!("/v1/objects/{kind}"));
                query.add("bodies", names_only.then(|| "false".to_owned()));
                get(&query.0)
            }
            Self::Object { kind, name, revision } => {
                let mut query = Query::new(&format!("/v1/objects/{kind}/{}", encode(name)));
                query.add("revision", revision.map(|revision| revision.to_string()));
                get(&query.0)
            }
            Self::Change(change) => post("/v1/changes", change),
            Self::Rollback(rollback) => post("/v1/rollback", rollback),
            Self::Explain { id } => get(&format!("/v1/decisions/{}", encode(id))),
            Self::Actors {} => get("/v1/admin/actors"),
            Self::Blobs {} => get("/v1/admin/blobs"),
            Self::Refusals {} => get("/v1/admin/refusals"),
            Self::LogLevel { directives, for_s, dry_run } => {
                let mut body = serde_json::json!({ "directives": directives, "for_s": for_s });
                only_said(&mut body, *dry_run);
                post("/v1/admin/loglevel", &body)
            }
            Self::ConfirmClock { dry_run: true } => {
                RouteCall { path: "/v1/admin/clock?dry_run=true".to_owned(), ..post("", &()) }
            }
            Self::ConfirmClock { dry_run: false } => post("/v1/admin/clock", &()),
            Self::Token { valid_s, voter, why, dry_run } => {
                let mut body = serde_json::json!({ "valid_s": valid_s, "voter": voter });
                if let Some(why) = why {
                    body["why"] = why.as_str().into();
                }
                only_said(&mut body, *dry_run);
                post("/v1/admin/tokens", &body)
            }
            Self::Promote(asked) => member(asked, "promote"),
            Self::Remove(asked) => member(asked, "remove"),
            Self::Replace(asked) => member(asked, "replace"),
            Self::Retire(asked) => member(asked, "drain"),
            Self::Drain { dry_run } => {
                let mut body = serde_json::json!({});
                only_said(&mut body, *dry_run);
                post("/v1/admin/drain", &body)
            }
            Self::Transfer(step) => step.route(),
            Self::Readiness { content_hash } => {
                get(&format!("/v1/models/{}:readiness", encode(content_hash)))
            }
            Self::Certify { name } => {
                post("/v1/admin/certificates", &serde_json::json!({ "name": name }))
            }
            Self::Renew {} => post("/v1/admin/certificates/own", &serde_json::json!({})),
            Self::Authority {} => get("/v1/admin/authority"),
            Self::Rotate(RotateRequest { step, request_id, why, dry_run }) => post(
                &format!("/v1/admin/authority/{}", step.as_str()),
                &serde_json::json!({ "request_id": request_id, "why": why, "dry_run": dry_run }),
            ),
        }
    }
}

impl RouteCall {
    /// A read.
    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: None }
    }

    /// A call with a JSON body.
    pub(crate) fn post(path: &str, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method: "POST", path: path.to_owned(), body: Some(body) }
    }
}

fn get(path: &str) -> RouteCall {
    RouteCall::get(path)
}

fn post(path: &str, body: &impl Serialize) -> RouteCall {
    RouteCall::post(path, body)
}

/// A change of a member. What is not said is left out, so that a node of before it could be said
/// understands the rest.
fn member(asked: &MemberRequest, verb: &str) -> RouteCall {
    let MemberRequest { node_id, request_id, why, dry_run } = asked;
    let mut body = serde_json::json!({});
    for (name, text) in [("request_id", request_id), ("why", why)] {
        if let Some(text) = text {
            body[name] = text.as_str().into();
        }
    }
    only_said(&mut body, *dry_run);
    post(&format!("/v1/admin/members/{node_id}:{verb}"), &body)
}

fn only_said(body: &mut serde_json::Value, dry_run: bool) {
    if dry_run {
        body["dry_run"] = true.into();
    }
}

/// A path with a query that grows.
struct Query(String);

impl Query {
    fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    fn add(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            let mark = if self.0.contains('?') { '&' } else { '?' };
            self.0.push(mark);
            self.0.push_str(name);
            self.0.push('=');
            self.0.push_str(&encode(&value));
        }
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
