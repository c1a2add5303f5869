//! This node: its actors, what it refused, what it logs, and its end.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use verdict_config::settings::Role;

use super::super::problem::{Answer, Problem};
use super::super::query::Query;
use super::super::{Shared, body, caller_of, json};
use super::{BODY_BYTES_MAX, asks_dry_run, cluster};
use crate::cluster::members::next_leader;
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

/// Believes the clock of this node, where it is in doubt: the operator says that it is right. Until
/// then the node does not lead, stamps no change and lets nothing expire.
#[utoipa::path(
    post, path = "/v1/admin/clock", tag = "Operating", operation_id = "confirm_clock",
    params(("dry_run" = Option<bool>, Query, description = "Only says what the clock shows.")),
    responses((status = 200, description = "What the clock shows, the newest time that the node \
        knows, and whether the clock was in doubt.", body = Object))
)]
pub(in crate::http) async fn post_clock(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let dry_run = asks_dry_run(&request)?;
    let log = cluster(&services)?.log();
    let doubt = log.clock_doubt();
    if !dry_run && log.confirm_clock() {
        tracing::warn!(by = caller.name, ?doubt, "the clock of this node was confirmed");
    }
    json(&json!({
        "now": crate::http::now(), "doubted": doubt.is_some(), "doubt": doubt, "dry_run": dry_run,
    }))
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
    /// Only says what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// Sets what this node logs, for a time, or says what that would change.
#[utoipa::path(
    post, path = "/v1/admin/loglevel", tag = "Operating", operation_id = "set_log_level",
    params(("dry_run" = Option<bool>, Query, description = "Only says what would happen.")),
    request_body(content = LogLevelBody),
    responses((status = 200, description = "It is set; or, with `dry_run`, what is logged now and \
        after.", body = Object))
)]
pub(in crate::http) async fn post_log_level(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let asks_dry_run = asks_dry_run(&request)?;
    let wanted: LogLevelBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    let seconds = wanted.for_s.unwrap_or(LOG_LEVEL_SECONDS);
    if !(1..=LOG_LEVEL_SECONDS_MAX).contains(&seconds) {
        let message = format!("expected 1 to {LOG_LEVEL_SECONDS_MAX} seconds");
        return Err(Problem::parameter("for_s", message));
    }
    let directives = wanted.directives.as_deref();
    if wanted.dry_run || asks_dry_run {
        let unfit = |detail| Problem::parameter("directives", detail);
        logging::check(directives).map_err(unfit)?;
        let logged = logging::now().map_err(unfit)?;
        return json(&json!({
            "dry_run": true, "before": logged.directives,
            "after": directives.unwrap_or(&logged.settings),
            "for_s": directives.map(|_| seconds), "then": logged.settings,
        }));
    }
    logging::set(directives, Duration::from_secs(seconds))
        .map_err(|detail| Problem::parameter("directives", detail))?;
    tracing::info!(by = caller.name, directives, seconds, "what is logged was set");
    json(&json!({ "directives": directives, "for_s": directives.map(|_| seconds) }))
}

/// What a drain is to do.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct DrainBody {
    /// Only says what would happen.
    dry_run: bool,
}

/// Tells this node to hand its offices over, finish what runs, and end, or says what that would do. It
/// stays a member. The body may be absent.
#[utoipa::path(
    post, path = "/v1/admin/drain", tag = "Operating", operation_id = "drain",
    params(("dry_run" = Option<bool>, Query, description = "Only says what would happen.")),
    request_body(content = Option<DrainBody>),
    responses((status = 200, description = "It has begun; or, with `dry_run`, what would happen.",
        body = Object))
)]
pub(in crate::http) async fn post_drain(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let asks_dry_run = asks_dry_run(&request)?;
    let wanted: DrainBody = body::json_or_default(request, BODY_BYTES_MAX, &services.http).await?;
    if wanted.dry_run || asks_dry_run {
        let log = services.runtime.log();
        let (status, members) = (log.cluster(), log.members());
        let leads = status.as_ref().is_some_and(|status| status.leader == Some(status.node_id));
        let remain = members.members.iter().filter(|member| {
            member.voter && status.as_ref().is_none_or(|status| member.node_id != status.node_id)
        });
        return json(&json!({
            "dry_run": true,
            "node_id": status.as_ref().map(|status| status.node_id),
            "leads": leads,
            "lead_goes_to": status.as_ref().and_then(next_leader),
            "other_voters": remain.count(),
            "finishes_what_runs": true,
            "stays_member": true,
        }));
    }
    tracing::warn!(by = caller.name, "the node was told to drain");
    services.stop.cancel();
    json(&json!({ "draining": true }))
}
