//! The cluster's authority: how it stands, and the steps of changing it.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use verdict_admin::RotationStep;
use verdict_config::settings::Role;
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};

use super::super::problem::{Answer, Problem};
use super::super::query::Query;
use super::super::{Shared, body, caller_of, changes, json, last_segment};
use super::{BODY_BYTES_MAX, cluster, problem};
use crate::admin::public_key_of;
use crate::cluster::rotation::WantedStep;

/// A step of a change of the authority.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StepBody {
    /// Makes a retry harmless for 24 h.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    request_id: String,
    /// Why, for people.
    #[schema(max_length = 512)]
    why: String,
    /// Only says what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// The authorities that are trusted, the one that signs, how far each node is, and what comes next.
#[utoipa::path(
    get, path = "/v1/admin/authority", tag = "Operating", operation_id = "authority",
    responses((status = 200, description = "The authority.", body = Object))
)]
pub(in crate::http) async fn authority(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    json(&cluster(&services)?.show_authority().await.map_err(problem)?)
}

/// Takes a step: `install` (a new authority is trusted beside the one that signs), `use` (it signs),
/// `remove` (the old one is trusted no more) or `abandon` (the new one is given up before it signs).
#[utoipa::path(
    post, path = "/v1/admin/authority/{step}", tag = "Operating", operation_id = "rotate_authority",
    params(("step" = String, Path, pattern = "^(install|use|remove|abandon)$",
        description = "The step.")),
    request_body(content = StepBody),
    responses((status = 200, description = "It was taken; or, with `dry_run`, it would be.",
        body = Object))
)]
pub(in crate::http) async fn post_authority(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let name = last_segment(request.uri())?;
    let step = RotationStep::ALL.into_iter().find(|step| step.as_str() == name);
    let step = step.ok_or_else(|| {
        let detail = format!("{name:?} is no step; there are install, use, remove, abandon.");
        Problem::new(Code::RouteNotFound, detail)
    })?;
    let body: StepBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    let StepBody { request_id, why, dry_run } = body;
    let wanted = WantedStep { step, request_id, why, dry_run };
    let set = cluster(&services)?.plan_step(wanted).await.map_err(problem)?;
    tracing::warn!(by = caller.name, step = step.as_str(), dry_run, "the authority is changed");
    changes::settle(&services, &caller, set, dry_run).await
}

/// Signs the public key of the operator who asks, by the authority that signs now. A key of HTTP
/// alone has no certificate.
#[utoipa::path(
    post, path = "/v1/admin/certificates/own", tag = "Operating", operation_id = "renew_certificate",
    responses((status = 200, description = "Certificate, trust and addresses.", body = Object))
)]
pub(in crate::http) async fn post_own_certificate(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Decider)?;
    let absent = || {
        let detail = format!("The key {} has no public_key in the catalogue.", caller.name);
        Problem::new(Code::ObjectNotFound, detail)
    };
    let kind = ObjectKind::Key;
    let name = ObjectName::new(kind, caller.name.as_str()).map_err(|_| absent())?;
    let catalogue = services.runtime.log().catalogue();
    let object = catalogue.get(&ObjectId { kind, name }).ok_or_else(absent)?;
    let public_key = public_key_of(object).ok_or_else(absent)?;
    let key = (caller.name.as_str(), public_key.as_slice());
    let renewed = cluster(&services)?.certify(key, caller.proof()).await.map_err(problem)?;
    tracing::info!(key = caller.name, "an operator's certificate was renewed");
    json(&renewed)
}
