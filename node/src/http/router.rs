//! Which path leads to which handler.
//!
//! `{flow}`, `{id}` and `:verb` are one path item (`{key}`) and are split in the handler.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response};
use verdict_config::Code;

use super::problem::{Answer, Problem};
use super::{
    Services, admin, changes, decisions, flag_events, models, objects, ofrep, operations, outcomes,
    records, watch,
};

/// Makes the routes and their table from one list, so that a test can go through all of them.
macro_rules! route_table {
    ($($path:literal => $($method:ident $handler:path),+;)*) => {
        /// Every route: its method, as a router's function, and its path.
        pub const ROUTES: &[(&str, &str)] = &[$($((stringify!($method), $path),)+)*];

        fn table() -> Router<Arc<Services>> {
            Router::new()$(.route($path, axum::routing::MethodRouter::new()$(.$method($handler))+))*
        }
    };
}

route_table! {
    "/v1/decisions" => get records::search;
    "/v1/decisions/{key}" => get records::get, post decisions::post;
    "/v1/outcomes" => post outcomes::post_outcomes;
    "/v1/units/{key}" => delete outcomes::delete_unit;
    "/v1/changes" => post changes::post_changes;
    "/v1/rollback" => post changes::post_rollback;
    "/v1/history" => get changes::get_history;
    "/v1/objects/{kind}" => get objects::list;
    "/v1/objects/{kind}/{name}" => get objects::get;
    "/v1/models" => post models::post_blob;
    "/v1/models/{name}" => get models::get_model;
    "/v1/watch" => get watch::get;
    "/v1/status" => get operations::status;
    "/v1/admin/members" => get admin::members;
    "/v1/admin/members/{key}" => post admin::post_member;
    "/v1/admin/backup" => get admin::backup;
    "/v1/admin/tokens" => post admin::post_token;
    "/v1/admin/diff" => get admin::diff;
    "/v1/admin/actors" => get admin::actors;
    "/v1/admin/blobs" => get admin::blobs;
    "/v1/admin/refusals" => get admin::refusals;
    "/v1/admin/loglevel" => post admin::post_log_level;
    "/v1/admin/clock" => post admin::post_clock;
    "/v1/admin/drain" => post admin::post_drain;
    "/v1/admin/certificates" => post admin::post_certificate;
    "/v1/admin/certificates/own" => post admin::post_own_certificate;
    "/v1/admin/authority" => get admin::authority;
    "/v1/admin/authority/{step}" => post admin::post_authority;
    "/v1/admin/transfers" => post admin::post_transfer;
    "/v1/admin/transfers/{id}" => get admin::get_transfer, post admin::post_piece, delete admin::delete_transfer;
    "/ofrep/v1/evaluate/flags" => post ofrep::post_flags;
    "/ofrep/v1/evaluate/flags/" => post ofrep::post_flags;
    "/ofrep/v1/evaluate/flags/{key}" => post ofrep::post_flag;
    "/ofrep/v1/events" => get flag_events::get;
    "/healthz" => get operations::healthz;
    "/readyz" => get operations::readyz;
    "/metrics" => get operations::metrics;
    "/openapi.json" => get operations::openapi;
}

pub(super) fn routes(services: Arc<Services>) -> Router {
    table().fallback(no_route).method_not_allowed_fallback(no_method).with_state(services)
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
