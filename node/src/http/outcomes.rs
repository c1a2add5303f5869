//! What became of decisions, and units that are to be forgotten.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use verdict_actors::NewOutcomeInput;
use verdict_config::Code;
use verdict_config::settings::Role;

use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Shared, body, caller_of, json, json_with_status, last_segment};
use crate::http::openapi::decision;

mod routing;

pub(crate) use routing::record_for_peer;

/// Body of `/v1/outcomes`, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomesRequest {
    outcomes: Vec<NewOutcomeInput>,
}

/// Body of `/v1/outcomes`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomesBody {
    /// The outcomes; acknowledged when they are durable.
    #[schema(max_items = 10000)]
    outcomes: Vec<OutcomeBody>,
}

/// What became of a decision or a unit.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a shape that is never built")]
enum OutcomeBody {
    /// Of a decision.
    OfDecision(OutcomeOfDecision),
    /// Of a unit.
    OfUnit(OutcomeOfUnit),
}

/// What became of a decision.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OutcomeOfDecision {
    /// The client's id: one id counts once.
    #[schema(min_length = 1, max_length = 128)]
    id: String,
    /// The decision that it is of.
    #[schema(pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    decision_id: String,
    /// What was observed: `chargeback`, `label`.
    #[schema(min_length = 1, max_length = 64)]
    metric: String,
    /// The observation.
    value: OutcomeValue,
    /// When it was observed; now, if absent.
    #[schema(required = false, format = DateTime)]
    at: String,
}

/// What became of a unit.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OutcomeOfUnit {
    /// The client's id: one id counts once.
    #[schema(min_length = 1, max_length = 128)]
    id: String,
    /// The unit that it is of.
    #[schema(min_length = 1, max_length = 256)]
    unit: String,
    /// What was observed: `chargeback`, `label`.
    #[schema(min_length = 1, max_length = 64)]
    metric: String,
    /// The observation.
    value: OutcomeValue,
    /// When it was observed; now, if absent.
    #[schema(required = false, format = DateTime)]
    at: String,
}

/// A number, truth value or text.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a shape that is never built")]
pub(super) enum OutcomeValue {
    /// A number.
    Number(f64),
    /// A truth value.
    Truth(bool),
    /// A label.
    Text(String),
}

/// Records outcomes; acknowledged when they survive the end of the machine.
#[utoipa::path(
    post, path = "/v1/outcomes", tag = "Deciding", operation_id = "report_outcomes",
    request_body(content = OutcomesBody),
    responses((status = 200, description = "They are durable.", body = decision::OutcomesAnswer))
)]
pub(super) async fn post_outcomes(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Decider)?;
    let (parts, content) = request.into_parts();
    Query::read(&parts.uri, &[]).finish()?;
    body::require_json(&parts.headers)?;
    let bytes = body::read(&parts.headers, content, services.http.body_bytes_max).await?;
    let body: OutcomesRequest = body::parse(&bytes, services.http.json_depth_max)
        .map_err(|problem| problem.recoded(Code::RequestInvalid, Code::OutcomeInvalid))?;
    let outcomes = routing::record(&services, body.outcomes).await?;
    json(&json!({ "outcomes": outcomes }))
}

/// Erases a unit: its key is destroyed, and what was encrypted under it is unreadable.
#[utoipa::path(
    delete, path = "/v1/units/{key}", tag = "Deciding", operation_id = "erase_unit",
    params(("key" = String, Path, min_length = 1, max_length = 256, description = "The unit.")),
    responses(
        (status = 200, description = "Nothing of it can be read any more.",
         body = decision::ErasedUnit),
        (status = 202, description = "Nodes are away: most members see to it that they erase it too.",
         body = decision::ErasedUnit),
    )
)]
pub(super) async fn delete_unit(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    // A unit belongs to no flow: its records may be of any.
    caller.require_whole_scope()?;
    Query::read(request.uri(), &[]).finish()?;
    let unit = last_segment(request.uri())?;
    if unit.is_empty() || unit.chars().count() > 256 {
        return Err(Problem::parameter("key", "1 to 256 characters"));
    }
    let erased = routing::erase(&services, &caller, &unit).await?;
    let everywhere = erased.pending.is_empty();
    let status = if everywhere { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (found, pending) = (erased.found, erased.pending);
    let body = json!({ "unit": unit, "erased": everywhere, "found": found, "pending": pending });
    json_with_status(status, &body)
}
