//! This node: its actors, what it holds, what it refused, what it logs, and its end.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use verdict_config::ObjectKind;
use verdict_config::settings::Role;

use super::super::problem::{Answer, Problem};
use super::super::query::Query;
use super::super::{Shared, body, caller_of, json};
use super::{BODY_BYTES_MAX, cluster};
use crate::logging;

/// The longest time that another level is logged.
const LOG_LEVEL_SECONDS_MAX: u64 = 86_400;
/// The time where none is said.
const LOG_LEVEL_SECONDS: u64 = 900;

/// The supervision tree: states, restarts, last panics and queues.
#[utoipa::path(
    get, path = "/v1/admin/actors", tag = "Operating", operation_id = "actors",
    responses((status = 200, description = "The root of the tree.", body = Object))
)]
pub(in crate::http) async fn actors(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    json(&services.runtime.tree())
}

/// The models that the catalogue names, and whether this node serves them.
#[utoipa::path(
    get, path = "/v1/admin/blobs", tag = "Operating", operation_id = "blobs",
    responses((status = 200, description = "The blobs.", body = Object))
)]
pub(in crate::http) async fn blobs(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    let state = services.runtime.serving();
    let catalogue = services.runtime.log().catalogue();
    let models = catalogue.of_kind(ObjectKind::Model).map(|object| {
        let name = object.id.name.as_str();
        json!({ "model": name, "loaded": state.models.contains_key(name) })
    });
    let node_id = cluster(&services)?.node_id();
    json(&json!({ "node_id": node_id, "models": models.collect::<Vec<_>>() }))
}

/// Admin requests that this node refused, newest first.
#[utoipa::path(
    get, path = "/v1/admin/refusals", tag = "Operating", operation_id = "refusals",
    responses((status = 200, description = "The refusals.", body = Object))
)]
pub(in crate::http) async fn refusals(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Operator)?.require_whole_scope()?;
    Query::read(request.uri(), &[]).finish()?;
    json(&services.refusals.report())
}

/// What is to be logged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LogLevelBody {
    /// Directives, for example `info,verdict_consensus=debug`; those of the settings, if absent.
    #[schema(max_length = 1024)]
    directives: Option<String>,
    /// Seconds until those of the settings hold again; 900, if absent.
    #[schema(minimum = 1, maximum = 86400)]
    for_s: Option<u64>,
}

/// Sets what this node logs, for a time.
#[utoipa::path(
    post, path = "/v1/admin/loglevel", tag = "Operating", operation_id = "set_log_level",
    request_body(content = LogLevelBody),
    responses((status = 200, description = "It is set.", body = Object))
)]
pub(in crate::http) async fn post_log_level(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let wanted: LogLevelBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    let seconds = wanted.for_s.unwrap_or(LOG_LEVEL_SECONDS);
    if !(1..=LOG_LEVEL_SECONDS_MAX).contains(&seconds) {
        let message = format!("expected 1 to {LOG_LEVEL_SECONDS_MAX} seconds");
        return Err(Problem::parameter("for_s", message));
    }
    let directives = wanted.directives.as_deref();
    logging::set(directives, Duration::from_secs(seconds))
        .map_err(|detail| Problem::parameter("directives", detail))?;
    tracing::info!(by = caller.name, directives, seconds, "what is logged was set");
    json(&json!({ "directives": directives, "for_s": directives.map(|_| seconds) }))
}

/// Tells this node to hand its offices over, finish what runs, and end.
#[utoipa::path(
    post, path = "/v1/admin/drain", tag = "Operating", operation_id = "drain",
    responses((status = 200, description = "It has begun.", body = Object))
)]
pub(in crate::http) async fn post_drain(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    tracing::warn!(by = caller.name, "the node was told to drain");
    services.stop.cancel();
    json(&json!({ "draining": true }))
}
