//! Records of decisions: explained, searched for, and computed again.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value as Json, json};
use verdict_actors::Handle;
use verdict_actors::journal::{DecisionId, SearchQuery};
use verdict_config::Code;
use verdict_config::definition::Outcome;
use verdict_config::settings::Role;
use verdict_consensus::Log;
use verdict_consensus::peers::{DecisionRead, NodeAnswer, NodeRequest, Order};
use verdict_decisions::ExplainOptions;

use super::decisions::problem_of;
use super::keys::Caller;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Services, Shared, caller_of, json, last_segment};
use crate::cluster::orders::READ_WITHIN_MS;
use crate::cluster::{Cluster, ClusterError};
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
    let read = DecisionRead::Explain { sees_sensitive: caller.role >= SEES_SENSITIVE };
    read_decision(&services, &caller, (&id, read)).await
}

/// Reads a decision here, or at the node that made it.
async fn read_decision(
    services: &Services,
    caller: &Caller,
    (id, read): (&str, DecisionRead),
) -> Answer<Response<Body>> {
    let (status, body) = match made_elsewhere(services, id) {
        None => read_here(&services.runtime, id, read).await?,
        Some((cluster, node_id)) => {
            let request = request_to_read(cluster, caller, (id, read)).await?;
            let asked = cluster.ask_for(node_id, &request).await;
            let failed = |error: ClusterError| {
                Problem::new(error.code, format!("Node {node_id} made it: {error}."))
            };
            match asked.map_err(failed)? {
                NodeAnswer::Http { status, body } => (status, body),
                _ => return Err(Problem::of(Code::PeerUnreachable)),
            }
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = if status < 300 { "application/json" } else { "application/problem+json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// What is sent to the node that made a decision. Once reading needs proof, a voter signs it.
async fn request_to_read(
    cluster: &Cluster,
    caller: &Caller,
    (id, read): (&str, DecisionRead),
) -> Answer<NodeRequest> {
    let id = id.to_owned();
    if !cluster.log().needs_proof() {
        return Ok(NodeRequest::Decision { id, read });
    }
    let expires_ms = super::now().0.saturating_add(READ_WITHIN_MS);
    let order = Order::ReadDecision { id, read, reader: cluster.node_id(), expires_ms };
    let sealed = cluster.have_signed(order, caller.proof()).await;
    let sealed = sealed.map_err(|error| Problem::new(error.code, error.detail))?;
    Ok(NodeRequest::CarryOut { sealed })
}

/// The member that made a decision, if that is not this node.
fn made_elsewhere<'a>(services: &'a Services, id: &str) -> Option<(&'a Cluster, u64)> {
    let cluster = services.cluster.as_ref()?;
    let node_id = u64::from(id.parse::<DecisionId>().ok()?.node());
    let here = node_id == cluster.node_id();
    (!here && cluster.log().members().get(node_id).is_some()).then_some((cluster, node_id))
}

/// Reads a decision that this node made.
async fn read_here(runtime: &Handle, id: &str, read: DecisionRead) -> Answer<(u16, Vec<u8>)> {
    let read = match read {
        DecisionRead::Explain { sees_sensitive } => {
            let options = ExplainOptions { may_see_sensitive: sees_sensitive };
            runtime.explain(id, options).await.map(|explained| serde_json::to_vec(&explained))
        }
        DecisionRead::Replay { recompute } => {
            runtime.replay(id, recompute).await.map(|replayed| serde_json::to_vec(&replayed))
        }
    };
    let body = read.map_err(|error| problem_of(&error))?;
    body.map(|body| (200, body)).map_err(|_| Problem::of(Code::Internal))
}

/// Reads a decision that this node made, for another node; a problem is an answer as well.
pub(crate) async fn read_for_peer(
    runtime: &Handle,
    id: &str,
    read: DecisionRead,
) -> (u16, Vec<u8>) {
    match read_here(runtime, id, read).await {
        Ok(answer) => answer,
        Err(problem) => {
            let body = problem.body();
            (body.status, serde_json::to_vec(&body).unwrap_or_default())
        }
    }
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
    let caller = caller_of(&request, Role::Viewer)?;
    let mut query = Query::read(request.uri(), &["recompute"]);
    let recompute = query.flag("recompute").unwrap_or(false);
    query.finish()?;
    read_decision(services, &caller, (id, DecisionRead::Replay { recompute })).await
}
