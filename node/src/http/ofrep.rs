//! OpenFeature Remote Evaluation Protocol: one flag, or all of them.
//!
//! Bodies, statuses and entity tags come from `verdict_config::flags::ofrep`; here they meet HTTP.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use verdict_actors::serving::ServingState;
use verdict_config::Code;
use verdict_config::flags::{ErrorCode, EvaluationContext, ResolutionError, ofrep};
use verdict_config::settings::Role;

use super::keys::Caller;
use super::problem::{Answer, Problem};
use super::query::{Query, decode_segment};
use super::status::status;
use super::{REVISION_HEADER, Services, Shared, body, caller_of, flag_events, now};

/// The path of all flags.
const FLAGS: &str = "/ofrep/v1/evaluate/flags";

/// Body of an evaluation.
#[derive(Serialize, ToSchema)]
pub(super) struct EvaluationBody {
    /// `targetingKey` and whatever attributes targeting reads; null is the empty context.
    #[schema(required = false, value_type = Option<Object>)]
    context: serde_json::Value,
}

/// A flag's evaluation.
#[derive(Serialize, ToSchema)]
pub(super) struct FlagEvaluation {
    /// The flag's key.
    key: String,
    /// Why it has this value.
    reason: String,
    /// The variant.
    variant: String,
    /// The value; absent where the client's own default holds.
    #[schema(required = false)]
    value: serde_json::Value,
    /// What the flag says about itself.
    #[schema(required = false, value_type = Object)]
    metadata: serde_json::Value,
}

/// Every flag's evaluation; one that cannot be evaluated has `errorCode` in the place of a value.
#[derive(Serialize, ToSchema)]
pub(super) struct BulkEvaluation {
    /// The flags, by key.
    #[schema(value_type = Vec<Object>)]
    flags: Vec<serde_json::Value>,
    /// What the flag files say about themselves.
    #[schema(required = false, value_type = Object)]
    metadata: serde_json::Value,
    /// Where changes are told.
    #[serde(rename = "eventStreams")]
    event_streams: Vec<flag_events::EventStream>,
}

/// Evaluates one flag.
#[utoipa::path(
    post, path = "/ofrep/v1/evaluate/flags/{key}", tag = "Flags", operation_id = "evaluate_flag",
    params(("key" = String, Path, min_length = 1, max_length = 256, description = "The flag's key.")),
    request_body(content = EvaluationBody),
    responses((status = 200, description = "Its value.", body = FlagEvaluation))
)]
pub(super) async fn post_flag(State(services): Shared, request: Request) -> Response<Body> {
    let key = key_of(request.uri().path());
    let evaluated = async {
        caller_of(&request, Role::Decider)?;
        let key = key
            .as_deref()
            .ok_or_else(|| Problem::parameter("key", "it is not percent-encoded UTF-8"))?;
        let bytes = read(&services, request).await?;
        let state = services.runtime.serving();
        Ok(match context_of(&services, &state, &bytes) {
            Ok(context) => {
                let at = (now(), services.runtime.is_stale());
                let evaluated = ofrep::evaluate_one(&state.flags, key, &context, at);
                under(state.revision, answer(evaluated))
            }
            Err(error) => answer(ofrep::failure(key, &error)),
        })
    };
    evaluated.await.unwrap_or_else(|problem: Problem| failure(key.as_deref(), &problem))
}

/// Evaluates every flag.
#[utoipa::path(
    post, path = "/ofrep/v1/evaluate/flags", tag = "Flags", operation_id = "evaluate_flags",
    params(
        ("If-None-Match" = Option<String>, Header,
         description = "`ETag` of the answer that the client has."),
        ("flagConfigEtag" = Option<String>, Query, description = "`etag` of an event."),
        ("flagConfigLastModified" = Option<String>, Query, description = "`lastModified` of an event."),
    ),
    request_body(content = EvaluationBody),
    responses(
        (status = 200, description = "Their values.", body = BulkEvaluation,
         headers(("ETag" = String, description = "Names this answer; none where flags read the time."))),
        (status = 304, description = "What the client has still stands."),
    )
)]
pub(super) async fn post_flags(State(services): Shared, request: Request) -> Response<Body> {
    evaluate_all(&services, request).await.unwrap_or_else(|problem| failure(None, &problem))
}

async fn evaluate_all(services: &Services, request: Request) -> Answer<Response<Body>> {
    let caller: Caller = caller_of(&request, Role::Decider)?;
    // Clients add parameters of their own: only a repeated one is a fault here.
    let known = ["flagConfigEtag", "flagConfigLastModified"];
    let query = Query::read(request.uri(), &known);
    let flag_config_etag = query.text("flagConfigEtag");
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let bytes = read(services, request).await?;
    let state = services.runtime.serving();
    let context = match context_of(services, &state, &bytes) {
        Ok(context) => context,
        Err(error) => return Ok(answer(ofrep::failure("", &error))),
    };
    let scope = flag_events::scope(services, &state, &caller);
    let streams = flag_events::streams(&caller);
    let options = ofrep::BulkOptions {
        auth_scope: &scope,
        if_none_match: if_none_match.as_ref().and_then(|tag| tag.to_str().ok()),
        flag_config_etag: flag_config_etag.as_deref(),
        event_streams: Some(&streams),
        stale: services.runtime.is_stale(),
    };
    let evaluated = ofrep::evaluate_all(&state.flags, &context, now(), &options);
    Ok(under(state.revision, answer(evaluated)))
}

async fn read(services: &Services, request: Request) -> Answer<axum::body::Bytes> {
    let (parts, content) = request.into_parts();
    body::require_json(&parts.headers)?;
    body::read(&parts.headers, content, services.http.body_bytes_max).await
}

fn context_of(
    services: &Services,
    state: &ServingState,
    bytes: &[u8],
) -> Result<EvaluationContext<'static>, ResolutionError> {
    body::check_text(bytes, services.http.json_depth_max).map_err(|problem| {
        ResolutionError::new(ErrorCode::ParseError, problem.detail().to_owned())
    })?;
    let context = ofrep::parse_request(bytes)?;
    Ok(context.in_region(services.runtime.region_in(state).map(str::to_owned)))
}

/// The flag's key in a path; `None` if it is not UTF-8.
pub(super) fn key_of(path: &str) -> Option<String> {
    decode_segment(path.strip_prefix(FLAGS)?.trim_start_matches('/'))
}

fn answer(answer: ofrep::Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if response_has_body(answer.status) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(tag) = answer.etag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Names the revision that was evaluated: by now another one may be served.
fn under(revision: u64, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(REVISION_HEADER, revision.into());
    response
}

const fn response_has_body(status: u16) -> bool {
    status != 304
}

/// A problem in the protocol's own form: clients crash on a body without `key` and `errorCode`.
pub(super) fn failure(key: Option<&str>, problem: &Problem) -> Response<Body> {
    let code = match problem.code() {
        Code::InputNotJson => ErrorCode::ParseError,
        Code::RequestInvalid => ErrorCode::InvalidContext,
        _ => ErrorCode::General,
    };
    let detail = format!("{} {}", problem.code(), problem.detail());
    let body = ofrep::failure_body(key.unwrap_or_default(), &ResolutionError::new(code, detail));
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status(problem.code());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    problem.add_headers(headers);
    response
}
