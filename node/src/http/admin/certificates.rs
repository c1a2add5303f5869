//! Certificates of operators.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use verdict_config::settings::Role;
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};

use super::super::problem::{Answer, Problem};
use super::super::{Shared, body, caller_of, json};
use super::{BODY_BYTES_MAX, cluster, problem};
use crate::admin::public_key_of;

/// Whose certificate is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CertificateBody {
    /// The name of the key's object, which has a `public_key`.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
}

/// Signs an operator's public key: what its owner needs to reach admin actors.
#[utoipa::path(
    post, path = "/v1/admin/certificates", tag = "Operating", operation_id = "certify",
    request_body(content = CertificateBody),
    responses((status = 200, description = "Certificate, trust and addresses.", body = Object))
)]
pub(in crate::http) async fn post_certificate(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    let wanted: CertificateBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    let absent = || {
        let detail = format!("There is no key {:?} with a public_key here.", wanted.name);
        Problem::new(Code::ObjectNotFound, detail)
    };
    let kind = ObjectKind::Key;
    let name = ObjectName::new(kind, wanted.name.as_str()).map_err(|_| absent())?;
    let catalogue = services.runtime.log().catalogue();
    let object = catalogue.get(&ObjectId { kind, name }).ok_or_else(absent)?;
    let public_key = public_key_of(object).ok_or_else(absent)?;
    let key = (wanted.name.as_str(), public_key.as_slice());
    let enrolled = cluster(&services)?.certify(key, caller.proof()).await;
    let enrolled = enrolled.map_err(problem)?;
    tracing::info!(by = caller.name, key = wanted.name, "an operator's certificate was signed");
    json(&enrolled)
}
