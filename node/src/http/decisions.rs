//! `POST /v1/decisions/{key}`: one decision, many, or one computed again.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use verdict_actors::serving::ServingState;
use verdict_actors::{Answer as Decided, DecideOptions, RuntimeError};
use verdict_config::settings::Role;
use verdict_config::{Code, Fault};
use verdict_decisions::request::{parse_batch, parse_body, parse_lines};
use verdict_decisions::{DecideRequest, RequestRejected};

use super::problem::{Answer, Problem};
use super::query::Query;
use super::{REVISION_HEADER, Services, Shared, body, caller_of, last_segment};
use crate::http::openapi::decision;

/// Decides one request (`{flow}`), many (`{flow}:batch`), or computes a decision again
/// (`{id}:replay`, without a body).
#[utoipa::path(
    post, path = "/v1/decisions/{key}", tag = "Deciding", operation_id = "decide",
    params(("key" = String, Path, pattern = "^[A-Za-z0-9._-]{1,64}(:batch|:replay)?$",
        description = "A flow, a flow and `:batch`, or a decision's id and `:replay`.")),
    request_body(content(
        (decision::PostBody = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, description = "The decision; decisions in order, one object or one a line; or \
            the decision as it comes out today.", content(
            (decision::PostAnswer = "application/json"),
            (String = "application/x-ndjson"),
        )),
    )
)]
pub(super) async fn post(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    let key = last_segment(request.uri())?;
    match key.split_once(':') {
        None => one(&services, request, &key).await,
        Some((flow, "batch")) => batch(&services, request, flow).await,
        Some((id, "replay")) => super::records::replay(&services, request, id).await,
        Some((_, verb)) => {
            let detail = format!("{verb:?} is no verb here; there are :batch and :replay.");
            Err(Problem::new(Code::RouteNotFound, detail))
        }
    }
}

async fn one(services: &Services, request: Request, flow: &str) -> Answer<Response<Body>> {
    let options = DecideOptions::within(patience(services));
    caller_of(&request, Role::Decider)?;
    let (parts, content) = request.into_parts();
    require_flow(&services.runtime.serving(), flow)?;
    if parts.uri.query().is_some() {
        Query::read(&parts.uri, &[]).finish()?;
    }
    body::require_json(&parts.headers)?;
    let bytes = body::read(&parts.headers, content, services.http.body_bytes_max).await?;
    let request = parse_one(services, &bytes)?;
    let decided = services.runtime.decide(flow, request, options).await;
    decided.map(answer).map_err(|error| problem_of(&error))
}

/// The time that a request may take inside, a little less than its whole patience: a coded answer of
/// the inside says more than the gateway's own deadline.
fn patience(services: &Services) -> Duration {
    Duration::from_millis(services.http.request_timeout_ms) * 9 / 10
}

fn parse_one(services: &Services, bytes: &[u8]) -> Answer<DecideRequest> {
    if services.http.json_depth_max < verdict_decisions::JSON_DEPTH_MAX {
        body::check_text(bytes, services.http.json_depth_max)?;
    }
    parse_body(bytes).map_err(|rejected| rejected_problem(&rejected))
}

fn require_flow(state: &ServingState, flow: &str) -> Answer<()> {
    if state.flows.contains_key(flow) {
        return Ok(());
    }
    let shown: String = flow.chars().take(80).collect();
    let detail = format!("There is no flow {shown:?}. {}", Code::FlowNotFound.advice());
    Err(Problem::new(Code::FlowNotFound, detail))
}

fn answer(decided: Decided) -> Response<Body> {
    let mut response = Response::new(Body::from(decided.json));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REVISION_HEADER, decided.revision.into());
    response
}

async fn batch(services: &Services, request: Request, flow: &str) -> Answer<Response<Body>> {
    let options = DecideOptions::within(patience(services));
    caller_of(&request, Role::Decider)?;
    let (parts, content) = request.into_parts();
    let state = services.runtime.serving();
    require_flow(&state, flow)?;
    Query::read(&parts.uri, &[]).finish()?;
    let lines = is_lines(&parts.headers)?;
    let bytes = body::read(&parts.headers, content, services.http.body_bytes_max).await?;
    let most = services.http.batch_items_max;
    let items = if lines { parse_lines(&bytes, most) } else { parse_batch(&bytes, most) };
    let items = items.map_err(|rejected| rejected_problem(&rejected))?;
    drop(bytes);
    let decided = services.runtime.decide_batch(flow, items, options).await;
    let decided = decided.map_err(|error| problem_of(&error))?;
    let revision = decided.iter().flatten().map(|answer| answer.revision).max();
    let media_type = if lines { "application/x-ndjson" } else { "application/json" };
    let mut response = Response::new(if lines { as_lines(decided) } else { as_array(decided) });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(REVISION_HEADER, revision.unwrap_or(state.revision).into());
    Ok(response)
}

type Item = Result<Decided, RuntimeError>;

/// One item's JSON: a decision, or the problem in its place.
fn item_json(item: Item) -> Vec<u8> {
    match item {
        Ok(decided) => decided.json,
        Err(error) => problem_json(&problem_of(&error)),
    }
}

/// `{"items":[...]}`, in order.
fn as_array(items: Vec<Item>) -> Body {
    let mut bytes = br#"{"items":["#.to_vec();
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&item_json(item));
    }
    bytes.extend_from_slice(b"]}");
    Body::from(bytes)
}

/// One line an item, in order; each line's memory is given back once it is sent.
fn as_lines(items: Vec<Item>) -> Body {
    let lines = items.into_iter().map(|item| {
        let mut line = item_json(item);
        line.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    Body::from_stream(futures::stream::iter(lines))
}

fn is_lines(headers: &HeaderMap) -> Answer<bool> {
    match body::media_type(headers).as_deref() {
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => Ok(true),
        _ => body::require_json(headers).map(|()| false),
    }
}

fn problem_json(problem: &Problem) -> Vec<u8> {
    serde_json::to_vec(&problem.body()).unwrap_or_default()
}

/// A body that is no request, on the wire.
pub(super) fn rejected_problem(rejected: &RequestRejected) -> Problem {
    let code = match rejected.code() {
        // A batch that is too long is wrong in form, whatever its items are.
        Code::LimitExceeded => Code::RequestInvalid,
        code => code,
    };
    let detail = match rejected.faults.as_slice() {
        [] => code.advice().to_owned(),
        [fault] => told(fault),
        [fault, rest @ ..] => format!("{} (and {} more faults)", told(fault), rest.len()),
    };
    Problem::new(code, detail).with_faults(rejected.faults.clone())
}

fn told(fault: &Fault) -> String {
    if fault.path.is_empty() {
        fault.message.clone()
    } else {
        format!("{}: {}", fault.path, fault.message)
    }
}

/// A failure of the runtime, on the wire.
pub(crate) fn problem_of(error: &RuntimeError) -> Problem {
    match error {
        RuntimeError::Rejected(rejected) => rejected_problem(rejected),
        RuntimeError::Change(change) => super::changes::proposal_problem(change),
        other => {
            let detail = format!("{other}. {}", other.code().advice());
            Problem::new(other.code(), detail).with_faults(other.faults())
        }
    }
}
