//! The API's description, OpenAPI 3.1, made from the handlers and the types beside them.
//!
//! What every operation shares (security, headers, refusals) is added here from one table, so that a
//! handler names only its own answers and none can forget the rest.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Content, ContentBuilder, Header, OpenApi as Document, Ref, RefOr, ResponseBuilder,
};
use utoipa::{Modify, OpenApi};

use super::{
    admin, changes, decisions, flag_events, models, objects, ofrep, operations, outcomes, records,
    watch,
};

pub mod answers;
pub mod decision;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Verdict",
        description = "Decisions by rules, models and flags, with the reasons.\n\n\
            Every answer carries `X-Verdict-Revision`. A request may carry `X-Verdict-Min-Revision`: \
            it waits for a moment until the node has reached that revision, else it is told 412. \
            Errors below `/v1` are RFC 9457 problems whose `code` never changes its meaning.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        decisions::post,
        records::get,
        records::search,
        outcomes::post_outcomes,
        outcomes::delete_unit,
        changes::post_changes,
        changes::post_rollback,
        changes::get_history,
        objects::list,
        objects::get,
        models::post_blob,
        models::get_model,
        watch::get,
        operations::status,
        admin::members,
        admin::backup,
        admin::post_token,
        admin::post_member,
        admin::diff,
        admin::actors,
        admin::blobs,
        admin::refusals,
        admin::post_clock,
        admin::post_log_level,
        admin::post_drain,
        admin::post_certificate,
        admin::post_own_certificate,
        admin::authority,
        admin::post_authority,
        admin::post_transfer,
        admin::post_piece,
        admin::get_transfer,
        admin::delete_transfer,
        ofrep::post_flag,
        ofrep::post_flags,
        flag_events::get,
        operations::healthz,
        operations::readyz,
        operations::metrics,
        operations::openapi,
    ),
    components(schemas(answers::Problem, answers::Fault, answers::OfrepFailure)),
    tags(
        (name = "Deciding", description = "Decisions, their records, and what became of them."),
        (name = "Changing", description = "The catalogue: what is served, and by whose change."),
        (name = "Flags", description = "OpenFeature Remote Evaluation Protocol 0.3.0."),
        (name = "Operating", description = "Health, metrics and this description."),
    ),
    modifiers(&Shared),
)]
struct Api;

/// The description as JSON text.
#[must_use]
pub fn document() -> String {
    // The document is made of texts and numbers: it always serializes.
    serde_json::to_string_pretty(&Api::openapi()).unwrap_or_default()
}

/// Refusals of single operations beside those that all share, and those of a body.
const OWN_REFUSALS: &[(&str, &[u16])] = &[
    ("decide", &[404, 409, 422]),
    ("get_decision", &[404]),
    ("report_outcomes", &[404]),
    ("erase_unit", &[404]),
    ("change", &[409, 422]),
    ("rollback", &[409, 422]),
    ("get_object", &[404]),
    ("stage_model", &[422]),
    ("get_model", &[404]),
    ("make_token", &[409]),
    ("change_member", &[409]),
    ("authority", &[409]),
    ("rotate_authority", &[409, 422]),
    ("read_piece", &[413, 422]),
];

/// Refusals of every operation with a key: a query, a header or a revision that is not right; a key; a
/// node that is busy, draining, behind, or at fault.
const SHARED_REFUSALS: &[u16] = &[400, 401, 403, 410, 412, 429, 500, 503];

/// Refusals of operations without a key: a header or a revision that is not right; a node at fault.
const OPEN_REFUSALS: &[u16] = &[400, 410, 412, 429, 500];

/// Refusals of every operation that takes a body.
const BODY_REFUSALS: &[u16] = &[413, 415];

/// Refusals of everything that operators do: a node without a cluster has none of it.
const OPERATING_REFUSALS: &[u16] = &[404];

struct Shared;

impl Modify for Shared {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let key = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(key));
        for (path, item) in &mut document.paths.paths {
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
            {
                complete(path, operation);
            }
        }
    }
}

fn complete(path: &str, operation: &mut Operation) {
    let none: Vec<String> = Vec::new();
    if path.starts_with("/v1/") || path.starts_with("/ofrep/") {
        operation.security = Some(vec![
            SecurityRequirement::new("bearer", none.clone()),
            SecurityRequirement::new("apiKey", none),
        ]);
    }
    let is_evaluation = path.starts_with("/ofrep/v1/evaluate/");
    if path.starts_with("/v1/") || (path.starts_with("/ofrep/") && !is_evaluation) {
        let id = operation.operation_id.clone().unwrap_or_default();
        let own = OWN_REFUSALS.iter().find(|(name, _)| *name == id).map_or(&[][..], |(_, own)| own);
        let of_body = operation.request_body.as_ref().map_or(&[][..], |_| BODY_REFUSALS);
        let of_operators = path.starts_with("/v1/admin/");
        let of_operators = if of_operators { OPERATING_REFUSALS } else { &[] };
        for status in SHARED_REFUSALS.iter().chain(of_body).chain(of_operators).chain(own) {
            let content = reference("Problem");
            refuse(operation, *status, "application/problem+json", content);
        }
    }
    if is_evaluation {
        for status in SHARED_REFUSALS.iter().chain(BODY_REFUSALS).copied() {
            refuse(operation, status, "application/json", reference("OfrepFailure"));
        }
        if path.ends_with("{key}") {
            refuse(operation, 404, "application/json", reference("OfrepFailure"));
        }
    }
    if operation.security.is_none() {
        for status in OPEN_REFUSALS {
            refuse(operation, *status, "application/problem+json", reference("Problem"));
        }
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let header = number_header("Revision of the catalogue that answered.");
            response.headers.insert("X-Verdict-Revision".to_owned(), RefOr::T(header));
        }
    }
}

fn reference(name: &str) -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build()
}

fn refuse(operation: &mut Operation, status: u16, media_type: &str, content: Content) {
    let title = axum::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused");
    let mut response = ResponseBuilder::new().description(title).content(media_type, content);
    if matches!(status, 429 | 503) {
        response = response.header("Retry-After", number_header("Seconds to wait."));
    }
    operation.responses.responses.insert(status.to_string(), RefOr::T(response.build()));
}

fn number_header(description: &str) -> Header {
    let number: Object =
        ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(0)).build();
    HeaderBuilder::new().schema(Some(number)).description(Some(description)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap_or_default();
                assert!(!id.is_empty(), "{method} {path} has no operationId");
                assert!(!ids.contains(&id.to_owned()), "{id} stands twice");
                ids.push(id.to_owned());
                assert!(operation["responses"].is_object(), "{id}");
                let guarded = path.starts_with("/v1/") || path.starts_with("/ofrep/");
                assert_eq!(operation["security"].is_array(), guarded, "{id}");
            }
        }
        for (id, _) in OWN_REFUSALS {
            assert!(ids.iter().any(|other| other == id), "{id} is no operation");
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let text = document();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("\"#/") {
            rest = &rest[at + 2..];
            let pointer = rest.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }
}
