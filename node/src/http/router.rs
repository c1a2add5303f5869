//! Which path leads to which handler.
//!
//! `{flow}`, `{id}` and `:verb` are one path item (`{key}`) and are split in the handler.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response};
use axum::routing::{get, post};
use verdict_config::Code;

use super::problem::{Answer, Problem};
use super::{
    Services, admin, changes, decisions, flag_events, models, objects, ofrep, operations, outcomes,
    records, watch,
};

pub(super) fn routes(services: Arc<Services>) -> Router {
    Router::new()
        .route("/v1/decisions", get(records::search))
        .route("/v1/decisions/{key}", get(records::get).post(decisions::post))
        .route("/v1/outcomes", post(outcomes::post_outcomes))
        .route("/v1/units/{key}", axum::routing::delete(outcomes::delete_unit))
        .route("/v1/changes", post(changes::post_changes))
        .route("/v1/rollback", post(changes::post_rollback))
        .route("/v1/history", get(changes::get_history))
        .route("/v1/objects/{kind}", get(objects::list))
        .route("/v1/objects/{kind}/{name}", get(objects::get))
        .route("/v1/models", post(models::post_blob))
        .route("/v1/models/{name}", get(models::get_model))
        .route("/v1/watch", get(watch::get))
        .route("/v1/status", get(operations::status))
        .route("/v1/admin/members", get(admin::members))
        .route("/v1/admin/members/{key}", post(admin::post_member))
        .route("/v1/admin/backup", get(admin::backup))
        .route("/v1/admin/tokens", post(admin::post_token))
        .route("/v1/admin/diff", get(admin::diff))
        .route("/v1/admin/actors", get(admin::actors))
        .route("/v1/admin/blobs", get(admin::blobs))
        .route("/v1/admin/refusals", get(admin::refusals))
        .route("/v1/admin/loglevel", post(admin::post_log_level))
        .route("/v1/admin/clock", post(admin::post_clock))
        .route("/v1/admin/drain", post(admin::post_drain))
        .route("/v1/admin/certificates", post(admin::post_certificate))
        .route("/v1/admin/certificates/own", post(admin::post_own_certificate))
        .route("/v1/admin/authority", get(admin::authority))
        .route("/v1/admin/authority/{step}", post(admin::post_authority))
        .route("/v1/admin/transfers", post(admin::post_transfer))
        .route(
            "/v1/admin/transfers/{id}",
            get(admin::get_transfer).post(admin::post_piece).delete(admin::delete_transfer),
        )
        .route("/ofrep/v1/evaluate/flags", post(ofrep::post_flags))
        .route("/ofrep/v1/evaluate/flags/", post(ofrep::post_flags))
        .route("/ofrep/v1/evaluate/flags/{key}", post(ofrep::post_flag))
        .route("/ofrep/v1/events", get(flag_events::get))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(operations::openapi))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(services)
}

async fn no_route(request: Request) -> Answer<Response<Body>> {
    let detail =
        format!("{} leads nowhere. {}", request.uri().path(), Code::RouteNotFound.advice());
    Err(Problem::new(Code::RouteNotFound, detail))
}

async fn no_method(request: Request) -> Answer<Response<Body>> {
    let allowed = methods(request.uri().path());
    let detail = format!("{} takes {allowed}, not {}.", request.uri().path(), request.method());
    let allow = HeaderValue::from_str(&allowed).ok();
    Err(Problem::new(Code::MethodNotAllowed, detail).with_allow(allow))
}

/// The methods of a route, as the `Allow` header names them.
fn methods(path: &str) -> String {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    let allowed: &[Method] = match path {
        "/v1/outcomes" | "/v1/changes" | "/v1/rollback" | "/v1/models" => &[Method::POST],
        "/v1/admin/tokens"
        | "/v1/admin/loglevel"
        | "/v1/admin/clock"
        | "/v1/admin/drain"
        | "/v1/admin/transfers"
        | "/v1/admin/certificates" => &[Method::POST],
        _ if below("/v1/admin/transfers/") => {
            &[Method::GET, Method::HEAD, Method::POST, Method::DELETE]
        }
        _ if below("/v1/admin/members/")
            || below("/v1/admin/authority/")
            || below("/v1/admin/certificates/") =>
        {
            &[Method::POST]
        }
        _ if path.starts_with("/ofrep/v1/evaluate/") => &[Method::POST],
        _ if below("/v1/units/") => &[Method::DELETE],
        _ if below("/v1/decisions/") => &[Method::GET, Method::HEAD, Method::POST],
        _ => &[Method::GET, Method::HEAD],
    };
    allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}
