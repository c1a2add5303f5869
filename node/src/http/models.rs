//! `/v1/models`: a model folder's bytes, staged before the change set that names it.
//!
//! The catalogue carries only a model's manifest. A client sends the folder as a tar stream, gets
//! the object that describes it, and puts that object by a change set.

use std::collections::BTreeMap;
use std::io::Read;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use verdict_config::model::ModelObject;
use verdict_config::settings::Role;
use verdict_config::{Code, ObjectId, ObjectKind, ObjectName};

use super::decisions::problem_of;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::{Shared, body, caller_of, json, last_segment};

/// The most files of a folder.
const FILES_MAX: usize = 256;

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
    // One folder at a time: its bytes are in memory until they are on the disk.
    let _turn = services.staging.acquire().await.map_err(|_| Problem::of(Code::Draining))?;
    let bytes = body::read(&parts.headers, content, services.http.model_body_bytes_max).await?;
    let unpacking = tokio::task::spawn_blocking(move || unpack(&bytes));
    let files = unpacking.await.map_err(|_| Problem::of(Code::Internal))??;
    let object = services.runtime.stage_model(files).await.map_err(|error| problem_of(&error))?;
    json(&object)
}

/// A model's folder, as a tar stream.
#[utoipa::path(
    get, path = "/v1/models/{name}", tag = "Changing", operation_id = "get_model",
    params(("name" = String, Path, min_length = 1, max_length = 64, description = "The model.")),
    responses((status = 200, description = "The folder's files.", content_type = "application/x-tar",
        body = Vec<u8>))
)]
pub(super) async fn get_model(State(services): Shared, request: Request) -> Answer<Response<Body>> {
    caller_of(&request, Role::Viewer)?;
    Query::read(request.uri(), &[]).finish()?;
    let name = last_segment(request.uri())?;
    let absent = || Problem::new(Code::ModelNotFound, format!("There is no model {name:?} here."));
    let kind = ObjectKind::Model;
    let id = ObjectName::new(kind, name.as_str()).map_err(|_| absent())?;
    let catalogue = services.runtime.log().catalogue();
    let object = catalogue.get(&ObjectId { kind, name: id }).ok_or_else(absent)?;
    let model: ModelObject = object.parse().map_err(|_| Problem::of(Code::Internal))?;
    let hash = model.content_hash;
    let files = services.runtime.model_files(hash).await.map_err(|error| problem_of(&error))?;
    let packing = tokio::task::spawn_blocking(move || pack(&files));
    let packed = packing.await.map_err(|_| Problem::of(Code::Internal))?;
    let bytes = packed.map_err(|error| Problem::new(Code::StorageFailed, error.to_string()))?;
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

/// A folder's files as a tar stream, the same bytes for the same files.
pub(crate) fn pack(files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, path, &bytes[..])?;
    }
    builder.into_inner()
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(Code::ModelInvalid, message)
}

fn unpack(bytes: &Bytes) -> Answer<BTreeMap<String, Vec<u8>>> {
    let broken = |error: std::io::Error| invalid(format!("The body is no tar stream: {error}."));
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(&bytes[..]);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(invalid("A model folder has plain files only."));
        }
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").to_owned();
        if files.len() == FILES_MAX {
            return Err(invalid(format!("A model folder has at most {FILES_MAX} files.")));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        files.insert(path, content);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_becomes_files() {
        let files = BTreeMap::from([("model.json".to_owned(), b"{}".to_vec())]);
        let bytes = Bytes::from(pack(&files).unwrap());
        assert_eq!(unpack(&bytes).unwrap(), files);
        let problem = unpack(&Bytes::from_static(b"not a tar stream")).unwrap_err();
        assert_eq!(problem.code(), Code::ModelInvalid);
    }
}
