//! Which node has which model folders and large bodies.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use futures::future::join_all;
use serde_json::{Value as Json, json};
use verdict_actors::NodeHoldings;
use verdict_actors::blobs::{Held, Holdings};
use verdict_config::ObjectKind;
use verdict_config::model::ModelObject;
use verdict_config::settings::Role;
use verdict_consensus::Log;
use verdict_consensus::peers::{NodeAnswer, NodeRequest};

use super::super::decisions::problem_of;
use super::super::problem::Answer;
use super::super::query::Query;
use super::super::{Services, Shared, caller_of, json};
use super::cluster;
use crate::cluster::Cluster;

/// How long another node may take to say what it has.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The most folders that no model names which are told of one node.
const UNNAMED_MAX: usize = 100;

/// Which node has what: the models that the catalogue names, and what is beside them in the stores.
///
/// A node that could not be asked stands in `not_asked`, with the reason.
#[utoipa::path(
    get, path = "/v1/admin/blobs", tag = "Operating", operation_id = "blobs",
    responses((status = 200, description = "The blobs, node by node.", body = Object))
)]
pub(in crate::http) async fn blobs(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    let cluster = cluster(&services)?;
    let models = named_models(&services);
    let own = services.runtime.holdings().await.map_err(|error| problem_of(&error))?;
    let state = services.runtime.serving();
    let here = models.iter().map(|(name, hash)| {
        let loaded = state.models.contains_key(name);
        json!({ "model": name, "content_hash": hash, "loaded": loaded })
    });
    let here: Vec<Json> = here.collect();
    let mut nodes = vec![(cluster.node_id(), own)];
    let mut not_asked = Vec::new();
    let members = cluster.log().members().members;
    let others = members.iter().map(|member| member.node_id).filter(|id| *id != cluster.node_id());
    let asked = others.map(|node_id| async move { (node_id, ask(cluster, node_id).await) });
    for (node_id, answer) in join_all(asked).await {
        match answer {
            Ok(holdings) => nodes.push((node_id, holdings)),
            Err(reason) => not_asked.push(json!({ "node_id": node_id, "reason": reason })),
        }
    }
    nodes.sort_by_key(|(node_id, _)| *node_id);
    let nodes = nodes.iter().map(|(node_id, holdings)| node_json(*node_id, holdings, &models));
    json(&json!({
        "node_id": cluster.node_id(),
        "models": here,
        "nodes": nodes.collect::<Vec<_>>(),
        "not_asked": not_asked,
    }))
}

/// The models of the catalogue with the hashes of their folders.
fn named_models(services: &Services) -> BTreeMap<String, String> {
    let catalogue = services.runtime.log().catalogue();
    let named = catalogue.of_kind(ObjectKind::Model).filter_map(|object| {
        let model: ModelObject = object.parse().ok()?;
        Some((object.id.name.as_str().to_owned(), model.content_hash))
    });
    named.collect()
}

async fn ask(cluster: &Cluster, node_id: u64) -> Result<NodeHoldings, String> {
    let asking = cluster.ask_for(node_id, &NodeRequest::Holdings);
    let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await;
    let answer = answer.map_err(|_| "it does not answer in time".to_owned())?;
    match answer.map_err(|error| error.to_string())? {
        NodeAnswer::Holdings { folders, objects, left_out } => {
            let loaded = folders.iter().filter(|(.., loaded)| *loaded);
            let loaded = loaded.map(|(hash, ..)| hash.clone()).collect();
            let folders = folders.into_iter().map(|(hash, bytes, _)| Held { hash, bytes });
            let objects = objects.into_iter().map(|(hash, bytes)| Held { hash, bytes });
            let held =
                Holdings { folders: folders.collect(), objects: objects.collect(), left_out };
            Ok(NodeHoldings { held, loaded })
        }
        _ => Err("the answer is of another kind".to_owned()),
    }
}

fn node_json(node_id: u64, holdings: &NodeHoldings, models: &BTreeMap<String, String>) -> Json {
    let NodeHoldings { held, loaded } = holdings;
    let stands = models.iter().map(|(name, hash)| {
        let present = held.folders.binary_search_by(|folder| folder.hash.cmp(hash)).is_ok();
        json!({ "model": name, "content_hash": hash, "present": present,
            "loaded": loaded.contains(hash) })
    });
    let bytes = |all: &[Held]| all.iter().map(|one| one.bytes).sum::<u64>();
    let is_named = |folder: &&Held| models.values().any(|hash| *hash == folder.hash);
    let unnamed = held.folders.iter().filter(|folder| !is_named(folder));
    json!({
        "node_id": node_id,
        "models": stands.collect::<Vec<_>>(),
        "folders": held.folders.len(),
        "folder_bytes": bytes(&held.folders),
        "unnamed": unnamed.map(|folder| &folder.hash).take(UNNAMED_MAX).collect::<Vec<_>>(),
        "objects": held.objects.len(),
        "object_bytes": bytes(&held.objects),
        "left_out": held.left_out,
    })
}
