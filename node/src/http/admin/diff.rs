//! What differs between two revisions.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::{Value as Json, json};
use verdict_config::ObjectId;
use verdict_config::settings::Role;
use verdict_consensus::{Catalogue, Object};

use super::super::problem::{Answer, Problem};
use super::super::query::Query;
use super::super::{Shared, caller_of, json};

/// The most objects that are listed with their bodies.
const DIFFERENCES_MAX: usize = 1_000;

/// What differs between two revisions, object by object.
#[utoipa::path(
    get, path = "/v1/admin/diff", tag = "Operating", operation_id = "diff",
    params(
        ("from" = u64, Query, minimum = 0, maximum = 9007199254740991_u64,
         description = "The older revision."),
        ("to" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991_u64,
         description = "The newer one; what is agreed now, if absent."),
    ),
    responses((status = 200, description = "The differences.", body = Object))
)]
pub(in crate::http) async fn diff(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    let mut query = Query::read(request.uri(), &["from", "to"]);
    let from = query.number("from", 0, u64::MAX >> 11);
    let to = query.number("to", 0, u64::MAX >> 11);
    query.finish()?;
    let from = from.ok_or_else(|| Problem::parameter("from", "name the older revision"))?;
    let catalogue = services.runtime.log().catalogue();
    let at = |revision: u64| {
        let older = catalogue.at_revision(revision);
        older.map_err(|refused| Problem::new(refused.code(), refused.to_string()))
    };
    let to = to.unwrap_or_else(|| catalogue.revision());
    let (before, after) = (at(from)?, at(to)?);
    let (before, after) = (by_name(&before), by_name(&after));
    let names: std::collections::BTreeSet<&ObjectId> =
        before.keys().chain(after.keys()).copied().collect();
    let differing = names.into_iter().filter(|id| {
        before.get(*id).map(|object| object.hash) != after.get(*id).map(|object| object.hash)
    });
    let differing: Vec<&ObjectId> = differing.collect();
    let differences: Vec<Json> = differing
        .iter()
        .take(DIFFERENCES_MAX)
        .map(|id| {
            json!({
                "kind": id.kind, "name": id.name,
                "before": before.get(*id).map(|object| body_of(object)),
                "after": after.get(*id).map(|object| body_of(object)),
            })
        })
        .collect();
    let left_out = differing.len() - differences.len();
    json(&json!({ "from": from, "to": to, "differences": differences, "left_out": left_out }))
}

fn by_name(catalogue: &Catalogue) -> BTreeMap<&ObjectId, &Object> {
    catalogue.objects().map(|object| (&object.id, &**object)).collect()
}

fn body_of(object: &Object) -> Json {
    json!({ "revision": object.revision, "body": object.json().unwrap_or_default() })
}
