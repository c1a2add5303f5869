//! Health, metrics, the API's description, and what the node serves.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use verdict_config::Code;
use verdict_config::settings::Role;

use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Shared, caller_of, json, json_with_status};
use crate::http::openapi::{self, answers};

/// Whether the process lives and can go on without a restart.
#[utoipa::path(
    get, path = "/healthz", tag = "Operating", operation_id = "healthz",
    responses(
        (status = 200, description = "It does.", body = answers::Health),
        (status = 503, description = "The disk failed: the node takes no more until it is started \
            again.", body = answers::Health),
    )
)]
pub(super) async fn healthz(State(services): Shared) -> Answer<Response<Body>> {
    match services.runtime.storage_failure() {
        Some(failure) => not_ready(&failure),
        None => json(&json!({ "status": "ok" })),
    }
}

/// Whether the node takes requests.
#[utoipa::path(
    get, path = "/readyz", tag = "Operating", operation_id = "readyz",
    responses(
        (status = 200, description = "It does.", body = answers::Health),
        (status = 503, description = "It starts or drains.", body = answers::Health),
    )
)]
pub(super) async fn readyz(State(services): Shared) -> Answer<Response<Body>> {
    if services.draining.is_cancelled() {
        return not_ready("draining");
    }
    if !services.ready.load(Ordering::Acquire) {
        return not_ready("starting");
    }
    let readiness = services.runtime.readiness();
    let status = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reasons = readiness.reasons.join("; ");
    let mut health = json!({ "status": if readiness.ready { "ok" } else { &reasons } });
    if !readiness.details.is_empty() {
        health["details"] = json!(readiness.details);
    }
    json_with_status(status, &health)
}

fn not_ready(reason: &str) -> Answer<Response<Body>> {
    json_with_status(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": reason }))
}

/// Metrics in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "Operating", operation_id = "metrics",
    responses((status = 200, description = "Every metric.", content_type = "text/plain", body = String))
)]
pub(super) async fn metrics(State(services): Shared) -> Answer<Response<Body>> {
    #[expect(clippy::cast_precision_loss, reason = "revisions stay far below 2^53")]
    services.metrics.revision.set(services.runtime.serving().revision as f64);
    let mut response = Response::new(Body::from(services.prometheus.render()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "Operating", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object))
)]
pub(super) async fn openapi() -> Answer<Response<Body>> {
    let mut response = Response::new(Body::from(openapi::document()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What the node serves and how it is.
#[utoipa::path(
    get, path = "/v1/status", tag = "Operating", operation_id = "status",
    params(
        ("state_hash" = Option<bool>, Query,
         description = "Also a hash of the whole agreed state: equal wherever its revision is equal."),
    ),
    responses((status = 200, description = "The node.", body = Object))
)]
pub(super) async fn status(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let mut query = Query::read(request.uri(), &["state_hash"]);
    let hashed = query.flag("state_hash").unwrap_or(false);
    query.finish()?;
    let agreed = if hashed {
        let catalogue = services.runtime.log().catalogue();
        // It reads every object and request id: not on a thread that answers others.
        let hashing = tokio::task::spawn_blocking(
            move || json!({ "revision": catalogue.revision(), "hash": catalogue.state_hash().to_hex() }),
        );
        hashing.await.map_err(|_| Problem::of(Code::Internal))?
    } else {
        serde_json::Value::Null
    };
    let state = services.runtime.serving();
    let status = services.runtime.status();
    json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": state.revision,
        "draining": services.draining.is_cancelled(),
        "flows": state.flows.keys().collect::<Vec<_>>(),
        "models": state.models.keys().collect::<Vec<_>>(),
        "flags": state.flags.len(),
        "stale": services.runtime.is_stale(),
        "state": agreed,
        "cluster": services.runtime.log().cluster(),
        "rotation": services.cluster.as_ref().and_then(|cluster| cluster.rotation_now()),
        "outbox": services.cluster.as_ref().map(|cluster| cluster.outbox().status()),
        "runtime": status,
    }))
}
