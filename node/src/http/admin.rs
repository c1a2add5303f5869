//! `/v1/admin/...`: what operators do beyond the catalogue.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use verdict_config::Code;
use verdict_config::settings::Role;

use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Services, Shared, caller_of, streams};
use crate::cluster::{Cluster, ClusterError};

mod authority;
mod blobs;
mod certificates;
mod diff;
mod members;
mod node;
mod transfers;

pub(super) use authority::*;
pub(super) use blobs::*;
pub(super) use certificates::*;
pub(super) use diff::*;
pub(super) use members::*;
pub(super) use node::*;
pub(super) use transfers::*;

/// The longest body of these routes.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;
pub(super) fn cluster(services: &Services) -> Answer<&Cluster> {
    let absent = || Problem::new(Code::RouteNotFound, "This node has no cluster.");
    services.cluster.as_ref().ok_or_else(absent)
}

pub(super) fn problem(error: ClusterError) -> Problem {
    Problem::new(error.code, error.detail)
}

/// Whether the query asks for a dry run; a body may ask for one as well.
pub(super) fn asks_dry_run(request: &Request) -> Answer<bool> {
    let mut query = Query::read(request.uri(), &["dry_run"]);
    let dry_run = query.flag("dry_run").unwrap_or(false);
    query.finish()?;
    Ok(dry_run)
}

/// A backup of everything that the cluster agreed, with the models: a tar stream.
#[utoipa::path(
    get, path = "/v1/admin/backup", tag = "Operating", operation_id = "backup",
    responses((status = 200, description = "The backup.", content_type = "application/x-tar",
        body = Vec<u8>))
)]
pub(super) async fn backup(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Operator)?;
    caller.require_whole_scope()?;
    Query::read(request.uri(), &[]).finish()?;
    let cluster = cluster(&services)?;
    // One at a time, until it is sent: each has its state on the disk.
    let turn = Arc::clone(&services.backups).acquire_owned().await;
    let turn = turn.map_err(|_| Problem::of(Code::Draining))?;
    let made = cluster.prepare_backup(&services.data_dir, services.runtime.blobs()).await;
    let backup = made.map_err(|detail| Problem::new(Code::StorageFailed, detail))?;
    tracing::info!(by = caller.name, revision = backup.info.revision, "a backup is sent");
    let (mut writer, content) = streams::writer();
    tokio::task::spawn_blocking(move || {
        let packed = backup.pack(&mut writer);
        writer.end(packed);
        drop(turn);
    });
    let mut response = Response::new(content);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}
