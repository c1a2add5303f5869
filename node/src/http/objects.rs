//! `/v1/objects`: the catalogue as it is and, while retained, as it was.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, Uri};
use serde_json::json;
use verdict_config::settings::Role;
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{ChangeRefused, Object};

use super::problem::{Answer, Problem};
use super::query::{Query, decode_segment};
use super::{Shared, caller_of, json};
use crate::http::openapi::answers;

/// Every object of a kind.
#[utoipa::path(
    get, path = "/v1/objects/{kind}", tag = "Changing", operation_id = "list_objects",
    params(
        ("kind" = answers::Kind, Path, description = "The kind."),
        ("revision" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991_u64,
         description = "As of this revision; now, if absent."),
        ("bodies" = Option<bool>, Query, description = "`false`: `body` is null in each."),
    ),
    responses(
        (status = 200, description = "The objects, by name.", body = answers::ObjectList),
    )
)]
pub(super) async fn list(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let (kind, _) = path_of(request.uri())?;
    let mut query = Query::read(request.uri(), &["revision", "bodies"]);
    let revision = query.number("revision", 0, u64::MAX >> 11);
    let bodies = query.flag("bodies").unwrap_or(true);
    query.finish()?;
    let catalogue = services.runtime.log().catalogue();
    let of = |object: &Object| if bodies { object_json(object) } else { head_json(object) };
    let objects: Vec<serde_json::Value> = match revision {
        None => catalogue.of_kind(kind).map(|object| of(object)).collect(),
        Some(revision) => {
            let older = catalogue.at_revision(revision).map_err(|refused| gone(&refused))?;
            older.of_kind(kind).map(|object| of(object)).collect()
        }
    };
    json(&json!({ "objects": objects }))
}

/// One object.
#[utoipa::path(
    get, path = "/v1/objects/{kind}/{name}", tag = "Changing", operation_id = "get_object",
    params(
        ("kind" = answers::Kind, Path, description = "The kind."),
        ("name" = String, Path, min_length = 1, max_length = 256, description = "The name."),
        ("revision" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991_u64,
         description = "As of this revision; now, if absent."),
    ),
    responses(
        (status = 200, description = "The object.", body = answers::ObjectAnswer),
    )
)]
pub(super) async fn get(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let (kind, name) = path_of(request.uri())?;
    let revision = revision_of(request.uri())?;
    let name = name.unwrap_or_default();
    let absent =
        || Problem::new(Code::ObjectNotFound, format!("There is no {kind} {name:?} here."));
    let name = ObjectName::new(kind, name.as_str()).map_err(|_| absent())?;
    let id = ObjectId { kind, name: name.clone() };
    let catalogue = services.runtime.log().catalogue();
    let object = match revision {
        None => catalogue.get(&id).cloned(),
        Some(revision) => catalogue.object_at(&id, revision).map_err(|refused| gone(&refused))?,
    };
    let object = object.ok_or_else(absent)?;
    json(&object_json(&object))
}

fn gone(refused: &ChangeRefused) -> Problem {
    Problem::new(refused.code(), refused.to_string())
}

fn object_json(object: &Object) -> serde_json::Value {
    let mut json = head_json(object);
    // A body that was applied is JSON.
    json["body"] = object.json().unwrap_or_default();
    json
}

/// An object without its body.
fn head_json(object: &Object) -> serde_json::Value {
    json!({
        "kind": object.id.kind,
        "name": object.id.name,
        "revision": object.revision,
        "hash": object.hash.to_hex(),
        "body": null,
    })
}

fn path_of(uri: &Uri) -> Answer<(ObjectKind, Option<String>)> {
    let rest = uri.path().strip_prefix("/v1/objects/").unwrap_or_default();
    let (kind, name) = match rest.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (rest, None),
    };
    let not_utf8 = || Problem::parameter("path", "it is not percent-encoded UTF-8");
    let kind = decode_segment(kind).ok_or_else(not_utf8)?;
    let name = name.map(|name| decode_segment(name).ok_or_else(not_utf8)).transpose()?;
    let kind = kind.parse().map_err(|fault: verdict_config::Fault| {
        Problem::new(Code::RequestInvalid, fault.message.clone()).with_faults(vec![fault])
    })?;
    Ok((kind, name))
}

fn revision_of(uri: &Uri) -> Answer<Option<u64>> {
    let mut query = Query::read(uri, &["revision"]);
    let revision = query.number("revision", 0, u64::MAX >> 11);
    query.finish()?;
    Ok(revision)
}
