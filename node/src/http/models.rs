//! `/v1/models`: a model folder's bytes, staged before the change set that names it.
//!
//! The catalogue carries only a model's manifest. A client sends the folder as a tar stream, gets
//! the object that describes it, and puts that object by a change set. The stream goes to the disk
//! as it comes, in both directions.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use serde_json::json;
use verdict_actors::blobs::{BlobError, FolderWriter};
use verdict_config::model::ModelObject;
use verdict_config::settings::Role;
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};

use super::decisions::problem_of;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Shared, body, caller_of, json, last_segment, streams};
use crate::archive;

/// What stands behind a content hash in a path, to ask how far the nodes are.
const READINESS: &str = ":readiness";

/// Stages a model folder; the answer is the body of the model's object.
#[utoipa::path(
    post, path = "/v1/models", tag = "Changing", operation_id = "stage_model",
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "The folder's files as a tar stream."),
    responses((status = 200, description = "It is staged.", body = Object))
)]
pub(super) async fn post_blob(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Editor)?;
    let (parts, content) = request.into_parts();
    if let Some(kind) = body::media_type(&parts.headers)
        && !matches!(kind.as_str(), "application/x-tar" | "application/octet-stream")
    {
        return Err(Problem::new(Code::MediaTypeUnsupported, "Send application/x-tar."));
    }
    // One folder at a time: loading it, to see that it is a model, takes memory.
    let _turn = services.staging.acquire().await.map_err(|_| Problem::of(Code::Draining))?;
    let mut writer = services.runtime.blobs().writer().map_err(|error| problem(&error))?;
    let (sender, reader) = streams::reader();
    let unpacking =
        tokio::task::spawn_blocking(move || unpack(reader, &mut writer).map(|()| writer));
    let bytes_max = services.http.model_body_bytes_max;
    let sent = body::stream(&parts.headers, content, bytes_max, sender).await;
    let unpacked = unpacking.await.map_err(|_| Problem::of(Code::Internal))?;
    // A body that was cut off is told as such, and not as the broken stream that it makes.
    sent?;
    let staged = services.runtime.stage_written(unpacked?).await;
    json(&staged.map_err(|error| problem_of(&error))?)
}

/// A model's folder, as a tar stream; or, of `CONTENT_HASH:readiness`, how far the nodes are.
#[utoipa::path(
    get, path = "/v1/models/{name}", tag = "Changing", operation_id = "get_model",
    params(("name" = String, Path, min_length = 1, max_length = 80,
        description = "The model; or a content hash with `:readiness` behind it, for JSON that says \
            which nodes have loaded that folder.")),
    responses((status = 200, description = "The folder's files, or the nodes.",
        content(
            (Vec<u8> = "application/x-tar"),
            (Object = "application/json"),
        )))
)]
pub(super) async fn get_model(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    let name = last_segment(request.uri())?;
    if let Some(hash) = name.strip_suffix(READINESS) {
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Problem::parameter("name", "expected a content hash of 64 digits"));
        }
        let nodes = services.runtime.model_readiness(&hash.to_ascii_lowercase()).await;
        return json(&json!({ "content_hash": hash, "nodes": nodes }));
    }
    let absent = || Problem::new(Code::ModelNotFound, format!("There is no model {name:?} here."));
    let kind = ObjectKind::Model;
    let id = ObjectName::new(kind, name.as_str()).map_err(|_| absent())?;
    let catalogue = services.runtime.log().catalogue();
    let object = catalogue.get(&ObjectId { kind, name: id }).ok_or_else(absent)?;
    let model: ModelObject = object.parse().map_err(|_| Problem::of(Code::Internal))?;
    let (store, hash) = (services.runtime.blobs().clone(), model.content_hash);
    let listing = tokio::task::spawn_blocking(move || store.obtain_on_disk(&hash));
    let files = listing.await.map_err(|_| Problem::of(Code::Internal))?;
    let files = files.map_err(|error| problem(&error))?;
    let (writer, content) = streams::writer();
    tokio::task::spawn_blocking(move || {
        let mut tar = tar::Builder::new(writer);
        let packed = pack(&mut tar, &files).and_then(|()| tar.finish());
        if let Ok(writer) = tar.into_inner() {
            writer.end(packed);
        }
    });
    let mut response = Response::new(content);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

pub(super) fn problem(error: &BlobError) -> Problem {
    Problem::new(error.code(), error.to_string())
}

fn pack(
    tar: &mut tar::Builder<impl std::io::Write>,
    files: &[(String, PathBuf)],
) -> std::io::Result<()> {
    files.iter().try_for_each(|(path, place)| archive::append_file(tar, path, place))
}

/// A folder's files as a tar stream, file by file from the disk.
pub(crate) fn pack_folder(
    to: impl std::io::Write,
    files: &[(String, PathBuf)],
) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(to);
    pack(&mut tar, files)?;
    tar.finish()
}

/// Adds the files of a tar stream to a folder. Blocking.
pub(super) fn unpack(from: impl std::io::Read, writer: &mut FolderWriter) -> Answer<()> {
    struct Failed(BlobError);
    impl From<std::io::Error> for Failed {
        fn from(error: std::io::Error) -> Self {
            if error.kind() == std::io::ErrorKind::StorageFull {
                return Self(BlobError::Io(error));
            }
            let detail = "The body is not a model folder packed by tar: `verdict model push DIR \
                          --name NAME` packs and sends one.";
            Self(BlobError::Invalid(detail.to_owned()))
        }
    }
    let each = |path: &str, content: &mut dyn std::io::Read| {
        writer.add(path, content).map_err(|error| match error {
            // The stream's own errors come through the writer as well.
            BlobError::Io(error) if error.kind() == std::io::ErrorKind::Other => error.into(),
            error => Failed(error),
        })
    };
    archive::each_file(from, each).map_err(|Failed(error)| problem(&error))
}

#[cfg(test)]
mod tests {
    use verdict_actors::blobs::BlobStore;

    use super::*;

    #[test]
    fn a_stream_becomes_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let files = [("model.json".to_owned(), b"{}".to_vec()), ("w/a".to_owned(), vec![7; 9_000])];
        let files = std::collections::BTreeMap::from(files);
        let staged = store.stage(&files).unwrap();
        let mut packed = Vec::new();
        pack_folder(&mut packed, &store.list(&staged.hash).unwrap()).unwrap();
        let mut writer = store.writer().unwrap();
        unpack(&packed[..], &mut writer).unwrap();
        assert_eq!(writer.finish().unwrap().hash, staged.hash);
        for broken in [&packed[..600], b"not a tar stream"] {
            let problem = unpack(broken, &mut store.writer().unwrap()).unwrap_err();
            assert_eq!(problem.code(), Code::ModelInvalid);
        }
    }
}
