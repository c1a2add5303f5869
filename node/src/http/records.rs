//! Records of decisions: explained, searched for, and computed again.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::{Value as Json, json};
use verdict_actors::journal::SearchQuery;
use verdict_config::definition::Outcome;
use verdict_config::settings::Role;
use verdict_decisions::ExplainOptions;

use super::decisions::problem_of;
use super::problem::Answer;
use super::query::Query;
use super::{Services, Shared, caller_of, json, last_segment};
use crate::http::openapi::decision;

/// The role from which on sensitive fields are shown.
const SEES_SENSITIVE: Role = Role::Operator;

/// A decision as it was sent, with its explanation and what became of it.
#[utoipa::path(
    get, path = "/v1/decisions/{key}", tag = "Deciding", operation_id = "get_decision",
    params(("key" = String, Path, min_length = 1, max_length = 64, description = "The decision's id.")),
    responses((status = 200, description = "The decision.", body = decision::ExplainedDecision))
)]
pub(super) async fn get(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    let id = last_segment(request.uri())?;
    let explained = services
        .runtime
        .explain(&id, ExplainOptions { may_see_sensitive: caller.role >= SEES_SENSITIVE })
        .await
        .map_err(|error| problem_of(&error))?;
    json(&explained)
}

/// Decisions by flow, outcome, reason and time, newest first.
#[utoipa::path(
    get, path = "/v1/decisions", tag = "Deciding", operation_id = "search_decisions",
    params(
        ("flow" = Option<String>, Query, description = "Only this flow."),
        ("outcome" = Option<decision::OutcomeName>, Query, description = "Only this outcome."),
        ("reason" = Option<String>, Query, description = "Only with this reason code."),
        ("since" = Option<String>, Query, format = DateTime, description = "Received then or later."),
        ("until" = Option<String>, Query, format = DateTime, description = "Received before then."),
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
         description = "Most decisions of a page; 50 if absent."),
        ("test" = Option<bool>, Query, description = "Test decisions as well."),
    ),
    responses((status = 200, description = "A page.", body = decision::FoundPage))
)]
pub(super) async fn search(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let known = ["flow", "outcome", "reason", "since", "until", "cursor", "limit", "test"];
    let mut query = Query::read(request.uri(), &known);
    let outcome = query.text("outcome").and_then(|text| {
        let found = Outcome::ALL.iter().copied().find(|outcome| outcome.as_str() == text);
        if found.is_none() {
            let names: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
            query.fault("outcome", format!("expected one of {}", names.join(", ")));
        }
        found
    });
    let search = SearchQuery {
        flow: query.text("flow"),
        outcome,
        reason: query.text("reason"),
        since: query.time("since"),
        until: query.time("until"),
        cursor: query.text("cursor"),
        limit: query.number("limit", 1, 1_000).unwrap_or(50) as usize,
        include_test: query.flag("test").unwrap_or(false),
    };
    query.finish()?;
    let page = services.runtime.search(search).await.map_err(|error| problem_of(&error))?;
    let decisions: Vec<Json> = page
        .hits
        .iter()
        .map(|hit| {
            json!({
                "decision_id": hit.id.to_string(), "at": hit.at, "flow": hit.flow,
                "outcome": hit.outcome, "reasons": hit.reasons, "test": hit.test,
            })
        })
        .collect();
    json(&json!({ "decisions": decisions, "next": page.next }))
}

/// `POST /v1/decisions/{id}:replay`.
pub(super) async fn replay(
    services: &Services,
    request: Request,
    id: &str,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let mut query = Query::read(request.uri(), &["recompute"]);
    let recompute = query.flag("recompute").unwrap_or(false);
    query.finish()?;
    let replayed =
        services.runtime.replay(id, recompute).await.map_err(|error| problem_of(&error))?;
    json(&replayed)
}
