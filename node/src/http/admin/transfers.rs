//! `/v1/admin/transfers`: what is longer than an admin call, in pieces.

use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use verdict_config::Code;
use verdict_config::settings::Role;

use super::super::keys::Caller;
use super::super::problem::{Answer, Problem};
use super::super::query::Query;
use super::super::{Services, Shared, body, caller_of, json, last_segment, models};
use super::{BODY_BYTES_MAX, cluster};
use crate::transfers::{Purpose, Stage, Transfer, TransferError};

/// Bytes of a piece: with base64 and an envelope around it, it fits into a call.
const PIECE_BYTES_MAX: u64 = 128 << 10;

/// What stands behind a transfer's id to have it staged.
const STAGE: &str = ":stage";

/// What is to be transferred.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TransferBody {
    purpose: PurposeName,
    /// Bytes of the tar stream that will be sent; with `model`.
    #[serde(default)]
    bytes: Option<u64>,
}

/// What a transfer is for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PurposeName {
    Model,
    Backup,
}

/// A piece.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PieceBody {
    /// Where it begins.
    offset: u64,
    /// Its bytes, base64; at most 131,072 of them.
    #[schema(max_length = 174_764)]
    data: String,
}

fn failed(error: &TransferError) -> Problem {
    Problem::new(error.code(), format!("{error}."))
}

/// The role that a purpose needs: that of the routes which do the same in one stream.
fn require(caller: &Caller, purpose: Purpose) -> Answer<()> {
    match purpose {
        Purpose::Model => caller.require(Role::Editor),
        Purpose::Backup => {
            caller.require(Role::Operator)?;
            caller.require_whole_scope()
        }
    }
}

/// Begins a transfer at this node: of a model's folder, or of a backup, which the node begins to make.
#[utoipa::path(
    post, path = "/v1/admin/transfers", tag = "Operating", operation_id = "begin_transfer",
    request_body(content = TransferBody),
    responses((status = 200, description = "Its id, and the longest piece.", body = Object))
)]
pub(in crate::http) async fn post_transfer(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Editor)?;
    let wanted: TransferBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    let (purpose, bytes) = match (wanted.purpose, wanted.bytes) {
        (PurposeName::Model, Some(bytes)) => (Purpose::Model, bytes),
        (PurposeName::Backup, None) => (Purpose::Backup, 0),
        (PurposeName::Model, None) => {
            return Err(Problem::parameter("bytes", "a model needs its bytes"));
        }
        (PurposeName::Backup, Some(_)) => {
            return Err(Problem::parameter("bytes", "a backup's bytes are found out"));
        }
    };
    require(&caller, purpose)?;
    let bytes_max = services.http.model_body_bytes_max;
    if bytes > bytes_max as u64 {
        let detail = format!("A model's folder may have at most {bytes_max} bytes.");
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let id = services.transfers.begin(&caller.name, purpose, bytes);
    let id = id.map_err(|error| failed(&error))?;
    if purpose == Purpose::Backup {
        let transfer = services.transfers.get(&caller.name, &id);
        let transfer = transfer.map_err(|error| failed(&error))?;
        tracing::info!(by = caller.name, "a backup is made");
        let making = make_backup(Arc::clone(&services), id.clone(), transfer);
        services.runtime.run_behind("backup", making);
    }
    json(&json!({ "id": id, "piece_bytes_max": PIECE_BYTES_MAX, "node_id": node_id(&services) }))
}

fn node_id(services: &Services) -> Option<u64> {
    cluster(services).ok().map(crate::cluster::Cluster::node_id)
}

/// Writes a piece, or with `:stage` behind the id, makes what was sent ready to be named by a change
/// set: the state of the transfer tells when it is.
#[utoipa::path(
    post, path = "/v1/admin/transfers/{id}", tag = "Operating", operation_id = "send_piece",
    params(("id" = String, Path, min_length = 26, max_length = 32,
        description = "The transfer; with `:stage` behind it once all is sent.")),
    request_body(content = PieceBody),
    responses((status = 200, description = "How much is there.", body = Object))
)]
pub(in crate::http) async fn post_piece(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Editor)?;
    let id = last_segment(request.uri())?;
    if let Some(id) = id.strip_suffix(STAGE) {
        let transfer = services.transfers.work(&caller.name, id);
        let transfer = transfer.map_err(|error| failed(&error))?;
        let staging = stage_model(Arc::clone(&services), id.to_owned(), transfer);
        services.runtime.run_behind("stage", staging);
        return json(&json!({ "id": id }));
    }
    let piece: PieceBody = body::json(request, BODY_BYTES_MAX, &services.http).await?;
    let data = BASE64.decode(&piece.data).ok();
    let data = data.filter(|data| data.len() as u64 <= PIECE_BYTES_MAX).ok_or_else(|| {
        Problem::parameter("data", format!("expected base64 of at most {PIECE_BYTES_MAX} bytes"))
    })?;
    let (transfers, offset) = (Arc::clone(&services.transfers), piece.offset);
    let writing = move || transfers.write((&caller.name, &id), offset, &data);
    let received = blocking(writing).await?.map_err(|error| failed(&error))?;
    json(&json!({ "received": received }))
}

/// How far a transfer is; with an offset, a piece of it.
#[utoipa::path(
    get, path = "/v1/admin/transfers/{id}", tag = "Operating", operation_id = "read_piece",
    params(
        ("id" = String, Path, min_length = 26, max_length = 26, description = "The transfer."),
        ("offset" = Option<u64>, Query, description = "Where the piece begins that is wanted."),
    ),
    responses((status = 200, description = "The state, or a piece.", body = Object))
)]
pub(in crate::http) async fn get_transfer(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Editor)?;
    let mut query = Query::read(request.uri(), &["offset"]);
    let offset = query.number("offset", 0, u64::MAX);
    query.finish()?;
    let id = last_segment(request.uri())?;
    let Some(offset) = offset else {
        let transfer = services.transfers.get(&caller.name, &id);
        return told(&transfer.map_err(|error| failed(&error))?);
    };
    let transfers = Arc::clone(&services.transfers);
    let bytes = usize::try_from(PIECE_BYTES_MAX).unwrap_or(usize::MAX);
    let reading = move || transfers.read((&caller.name, &id), offset, bytes);
    let piece = blocking(reading).await?.map_err(|error| failed(&error))?;
    json(&json!({ "offset": offset, "data": BASE64.encode(piece) }))
}

/// Ends a transfer: its file is gone.
#[utoipa::path(
    delete, path = "/v1/admin/transfers/{id}", tag = "Operating", operation_id = "end_transfer",
    params(("id" = String, Path, min_length = 26, max_length = 26, description = "The transfer.")),
    responses((status = 200, description = "It is ended.", body = Object))
)]
pub(in crate::http) async fn delete_transfer(
    State(services): Shared,
    request: Request,
) -> Answer<Response<Body>> {
    let caller = caller_of(&request, Role::Editor)?;
    let id = last_segment(request.uri())?;
    services.transfers.end(&caller.name, &id).map_err(|error| failed(&error))?;
    json(&json!({ "id": id }))
}

fn told(transfer: &Transfer) -> Answer<Response<Body>> {
    match &transfer.stage {
        Stage::Receiving => json(&json!({ "state": "receiving", "received": transfer.received })),
        Stage::Working => json(&json!({ "state": "working" })),
        Stage::Done(result) => {
            json(&json!({ "state": "done", "bytes": transfer.bytes, "result": result }))
        }
        Stage::Failed(code, detail) => Err(Problem::new(*code, detail.clone())),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::of(Code::Internal))
}

/// Unpacks what was sent and stages it, as `POST /v1/models` does.
async fn stage_model(services: Arc<Services>, id: String, transfer: Transfer) {
    let bytes = transfer.bytes;
    let staged = async {
        let _turn = services.staging.acquire().await.map_err(|_| Problem::of(Code::Draining))?;
        let writer = services.runtime.blobs().writer();
        let mut writer = writer.map_err(|error| models::problem(&error))?;
        let unpacking = move || {
            let mut file = transfer.file.try_clone().map_err(|error| failed(&error.into()))?;
            file.seek(SeekFrom::Start(0)).map_err(|error| failed(&error.into()))?;
            models::unpack(BufReader::new(file).take(bytes), &mut writer).map(|()| writer)
        };
        let writer = blocking(unpacking).await??;
        let staged = services.runtime.stage_written(writer).await;
        let staged = staged.map_err(|error| super::super::decisions::problem_of(&error))?;
        serde_json::to_value(&staged).map_err(|_| Problem::of(Code::Internal))
    };
    let stage = stage_of(staged.await);
    services.transfers.settle(&id, bytes, stage);
}

fn stage_of(result: Answer<Json>) -> Stage {
    match result {
        Ok(result) => Stage::Done(result),
        Err(problem) => Stage::Failed(problem.code(), problem.detail().to_owned()),
    }
}

/// Makes a backup in the transfer's file.
async fn make_backup(services: Arc<Services>, id: String, transfer: Transfer) {
    let made = async {
        let _turn = services.backups.acquire().await.map_err(|_| Problem::of(Code::Draining))?;
        let cluster = cluster(&services)?;
        let prepared = cluster.prepare_backup(&services.data_dir, services.runtime.blobs()).await;
        let backup = prepared.map_err(|detail| Problem::new(Code::StorageFailed, detail))?;
        let info = backup.info.clone();
        let packing = move || {
            let file = transfer.file.try_clone()?;
            let mut to = Hashing { to: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
            backup.pack(&mut to)?;
            to.flush()?;
            Ok::<_, std::io::Error>((to.bytes, hex::encode(to.hash.finalize())))
        };
        let (bytes, sha256) = blocking(packing).await?.map_err(|error| failed(&error.into()))?;
        let result = json!({
            "sha256": sha256, "revision": info.revision, "cluster_id": info.cluster_id,
        });
        Ok::<_, Problem>((bytes, result))
    };
    match made.await {
        Ok((bytes, result)) => services.transfers.settle(&id, bytes, Stage::Done(result)),
        Err(problem) => services.transfers.settle(&id, 0, stage_of(Err(problem))),
    }
}

/// Hashes and counts what is written.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
