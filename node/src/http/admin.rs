//! `/v1/admin/...`: the members of the cluster.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use verdict_config::Code;
use verdict_config::settings::Role;
use verdict_consensus::Log;

use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Services, Shared, body, caller_of, json, last_segment, streams};
use crate::cluster::members::{IssuedToken, TokenOptions};
use crate::cluster::{Cluster, ClusterError};

mod authority;
mod blobs;
mod certificates;
mod diff;
mod node;
mod transfers;

pub(super) use authority::*;
pub(super) use blobs::*;
pub(super) use certificates::*;
pub(super) use diff::*;
pub(super) use node::*;
pub(super) use transfers::*;

/// The longest body of these routes.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;
/// The longest time that a token is good.
const TOKEN_SECONDS_MAX: u64 = 7 * 86_400;

/// What a token is to allow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TokenBody {
    /// How long it is good, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    valid_s: u64,
    /// Whether the node becomes a voter once it has caught up.
    voter: bool,
}

impl Default for TokenBody {
    fn default() -> Self {
        Self { valid_s: 3_600, voter: true }
    }
}

pub(super) fn cluster(services: &Services) -> Answer<&Cluster> {
    let absent = || Problem::new(Code::RouteNotFound, "This node has no cluster.");
    services.cluster.as_ref().ok_or_else(absent)
}

pub(super) fn problem(error: ClusterError) -> Problem {
    Problem::new(error.code, error.detail)
}

/// The members, and how the log of each stands as this node sees it.
#[utoipa::path(
    get, path = "/v1/admin/members", tag = "Operating", operation_id = "members",
    responses((status = 200, description = "The members.", body = Object))
)]
pub(super) async fn members(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    json(&cluster(&services)?.log().cluster())
}

/// Makes a one-time token that lets a node join.
#[utoipa::path(
    post, path = "/v1/admin/tokens", tag = "Operating", operation_id = "make_token",
    request_body(content = TokenBody),
    responses((status = 200, description = "The token: a secret that is shown once.", body = Object))
)]
pub(super) async fn post_token(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let wanted: TokenBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    if !(1..=TOKEN_SECONDS_MAX).contains(&wanted.valid_s) {
        let message = format!("a token is good for 1 to {TOKEN_SECONDS_MAX} seconds");
        return Err(Problem::parameter("valid_s", message));
    }
    let valid = Duration::from_secs(wanted.valid_s);
    let options = TokenOptions { valid, voter: wanted.voter, replaces: None };
    let issued = cluster(&services)?.issue_token(options, caller.author()).await;
    json(&told(&issued.map_err(problem)?))
}

/// What is told of a token: where certificates are given, also whose is needed.
fn told(issued: &IssuedToken) -> serde_json::Value {
    let mut answer = json!({ "token": issued.token });
    if let Some((node_id, name)) = &issued.for_node {
        answer["joins_as"] = json!(node_id);
        answer["certificate_name"] = json!(name);
    }
    answer
}

/// Changes a member (`{id}:promote`, `{id}:remove`, `{id}:drain`, `{id}:replace`), without a body.
///
/// `drain` removes a member for ever, which hands over the lead first if it has it. `replace` gives a
/// token: the node that joins with it takes the member's place in one change, once it has caught up.
#[utoipa::path(
    post, path = "/v1/admin/members/{key}", tag = "Operating", operation_id = "change_member",
    params(("key" = String, Path, pattern = "^[0-9]{1,20}:(promote|remove|drain|replace)$",
        description = "A node's id and what is to become of it.")),
    responses((status = 200, description = "It is done.", body = Object))
)]
pub(super) async fn post_member(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let key = last_segment(request.uri())?;
    let (id, verb) = key.split_once(':').unwrap_or((&key, ""));
    let node_id: u64 = id.parse().map_err(|_| Problem::parameter("id", "expected a node's id"))?;
    let cluster = cluster(&services)?;
    let done = match verb {
        "promote" => cluster.promote(node_id).await,
        "remove" => cluster.remove(node_id).await,
        "drain" => cluster.drain(node_id).await,
        "replace" => {
            let token = cluster.replace(node_id, caller.author()).await;
            let token = token.map_err(problem)?;
            tracing::info!(by = caller.name, node_id, "a replacement may join");
            let mut answer = told(&token);
            answer["node_id"] = json!(node_id);
            return json(&answer);
        }
        _ => {
            let detail =
                format!("{verb:?} is no verb here; there are :promote, :remove, :drain, :replace.");
            return Err(Problem::new(Code::RouteNotFound, detail));
        }
    };
    done.map_err(problem)?;
    tracing::info!(by = caller.name, node_id, verb, "a member was changed");
    json(&json!({ "node_id": node_id, "done": verb }))
}

/// A backup of everything that the cluster agreed, with the models: a tar stream.
#[utoipa::path(
    get, path = "/v1/admin/backup", tag = "Operating", operation_id = "backup",
    responses((status = 200, description = "The backup.", content_type = "application/x-tar",
        body = Vec<u8>))
)]
pub(super) async fn backup(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    Query::read(request.uri(), &[]).finish()?;
    let cluster = cluster(&services)?;
    // One at a time, until it is sent: each has its state on the disk.
    let turn = Arc::clone(&services.backups).acquire_owned().await;
    let turn = turn.map_err(|_| Problem::of(Code::Draining))?;
    let made = cluster.prepare_backup(&services.data_dir, services.runtime.blobs()).await;
    let backup = made.map_err(|detail| Problem::new(Code::StorageFailed, detail))?;
    tracing::info!(by = caller.name, revision = backup.info.revision, "a backup is sent");
    let (mut writer, content) = streams::writer();
    tokio::task::spawn_blocking(move || {
        let packed = backup.pack(&mut writer);
        writer.end(packed);
        drop(turn);
    });
    let mut response = Response::new(content);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}
