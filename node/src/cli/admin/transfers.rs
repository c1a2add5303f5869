//! `verdict admin model push`, `backup`: what is longer than a call, in pieces.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use verdict_admin::{Request, Transfer, TransferPurpose};
use verdict_config::ObjectKind;

use super::super::{EXIT_OK, Failure, Outcome, train};
use super::Session;
use super::changes::{self, WriteArgs, plain};
use crate::output::{GOOD, Output};

/// Between two looks at how far a node is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks at most while a node works.
const LOOKS_MAX: u32 = 6_000;
/// Looks at most while nodes load a model: then it is proposed all the same, and refused by name.
const LOADING_LOOKS_MAX: u32 = 600;

/// Arguments of `model push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The model's folder: of `verdict train`, or of Hugging Face.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The model's name in the catalogue.
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A transfer at a node, which holds one of a few places there until it is ended.
struct Open<'session> {
    session: &'session mut Session,
    id: String,
    piece_bytes_max: usize,
}

impl<'session> Open<'session> {
    fn begin(
        session: &'session mut Session,
        purpose: TransferPurpose,
        bytes: Option<u64>,
    ) -> Result<Self, Failure> {
        let begun = session.ask(&Request::Transfer(Transfer::Begin { purpose, bytes }))?.answer;
        let most = begun["piece_bytes_max"].as_u64().and_then(|most| usize::try_from(most).ok());
        let piece_bytes_max = most.unwrap_or(0).clamp(1, 512 << 10);
        Ok(Self { session, id: plain(&begun["id"]), piece_bytes_max })
    }

    fn ask(&mut self, step: impl FnOnce(String) -> Transfer) -> Result<Json, Failure> {
        let step = step(self.id.clone());
        Ok(self.session.ask(&Request::Transfer(step))?.answer)
    }

    /// Waits until the node has done its part; what it came to.
    fn done(&mut self) -> Result<Json, Failure> {
        for _ in 0..LOOKS_MAX {
            let state = self.ask(|id| Transfer::State { id })?;
            if state["state"] == "done" {
                return Ok(state);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(Failure::new("the node is still at work after ten minutes"))
    }

    /// Gives its place back, whatever came of the work.
    fn ended_with<T>(mut self, worked: Result<T, Failure>) -> Result<T, Failure> {
        let ended = self.ask(|id| Transfer::End { id });
        let output = worked?;
        ended.map(|_| output)
    }
}

/// Sends a folder to the node, has it loaded everywhere, and puts it into the catalogue.
pub fn push(arguments: &PushArgs, session: &mut Session, output: &Output) -> Outcome {
    let mut packed = tempfile::tempfile().map_err(anyhow::Error::from)?;
    crate::http::pack_folder(&mut packed, &train::list_folder(&arguments.dir)?)
        .map_err(anyhow::Error::from)?;
    let object = send(session, &mut packed, output)?;
    wait_until_loaded(session, &plain(&object["content_hash"]), output)?;
    let why = format!("push model {}", arguments.name);
    let change = changes::put(ObjectKind::Model, &arguments.name, None, object);
    changes::propose(session, vec![change], (&arguments.write, &why), output)
}

fn send(session: &mut Session, packed: &mut File, output: &Output) -> Result<Json, Failure> {
    let failed = |error: std::io::Error| Failure::from(anyhow::Error::from(error));
    let bytes = packed.seek(std::io::SeekFrom::End(0)).map_err(failed)?;
    packed.rewind().map_err(failed)?;
    let mut transfer = Open::begin(session, TransferPurpose::Model, Some(bytes))?;
    let staged = send_pieces(&mut transfer, (packed, bytes), output);
    transfer.ended_with(staged)
}

fn send_pieces(
    transfer: &mut Open<'_>,
    (packed, bytes): (&mut File, u64),
    output: &Output,
) -> Result<Json, Failure> {
    let failed = |error: std::io::Error| Failure::from(anyhow::Error::from(error));
    let bar = output.progress(bytes, "sending the model");
    let mut offset = 0;
    while offset < bytes {
        let mut piece = Vec::new();
        let most = transfer.piece_bytes_max as u64;
        let read = Read::by_ref(packed).take(most).read_to_end(&mut piece).map_err(failed)?;
        if read == 0 {
            return Err(Failure::new("the packed folder became shorter"));
        }
        let data = BASE64.encode(&piece);
        transfer.ask(|id| Transfer::Send { id, offset, data })?;
        offset += read as u64;
        bar.set_position(offset);
    }
    transfer.ask(|id| Transfer::Stage { id })?;
    let object = transfer.done()?["result"].take();
    bar.finish_and_clear();
    Ok(object)
}

/// Shows how many nodes have loaded a staged model, until all that can be reached have.
fn wait_until_loaded(session: &mut Session, hash: &str, output: &Output) -> Result<(), Failure> {
    let bar = output.progress(0, "nodes are loading the model");
    for _ in 0..LOADING_LOOKS_MAX {
        let request = Request::Readiness { content_hash: hash.to_owned() };
        let answer = session.ask(&request)?.answer;
        let nodes = answer["nodes"].as_array().into_iter().flatten();
        let reachable: Vec<&Json> = nodes.filter(|node| node["reachable"] == true).collect();
        let ready = reachable.iter().filter(|node| node["ready"] == true).count();
        bar.set_length(reachable.len() as u64);
        bar.set_position(ready as u64);
        if ready == reachable.len() {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Fetches a backup.
pub fn backup(arguments: &BackupArgs, session: &mut Session, output: &Output) -> Outcome {
    let mut name = arguments.file.clone().into_os_string();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let fetched = fetch(session, &partial, output);
    if fetched.is_err() {
        // A part of a backup is no backup.
        let _ = std::fs::remove_file(&partial);
    }
    let (bytes, result) = fetched?;
    std::fs::rename(&partial, &arguments.file).map_err(|error| unwritable(&partial, &error))?;
    if output.is_json() {
        output.json(&json!({
            "file": arguments.file, "bytes": bytes, "sha256": result["sha256"],
            "revision": result["revision"], "cluster_id": result["cluster_id"],
        }));
    } else {
        output.say(format!(
            "{} {}: revision {}, {bytes} bytes, sha256 {}",
            output.styled(GOOD, "Wrote"),
            arguments.file.display(),
            result["revision"],
            plain(&result["sha256"]),
        ));
    }
    Ok(EXIT_OK)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(super::super::data::unwritable(path, error))
}

fn fetch(session: &mut Session, to: &Path, output: &Output) -> Result<(u64, Json), Failure> {
    let file = File::create(to).map_err(|error| unwritable(to, &error))?;
    let mut transfer = Open::begin(session, TransferPurpose::Backup, None)?;
    let fetched = fetch_pieces(&mut transfer, (file, to), output);
    transfer.ended_with(fetched)
}

fn fetch_pieces(
    transfer: &mut Open<'_>,
    (mut file, to): (File, &Path),
    output: &Output,
) -> Result<(u64, Json), Failure> {
    let mut done = transfer.done()?;
    let bytes = done["bytes"].as_u64().unwrap_or(0);
    let bar = output.progress(bytes, "fetching the backup");
    let (mut offset, mut hash) = (0, Sha256::new());
    while offset < bytes {
        let piece = transfer.ask(|id| Transfer::Read { id, offset })?;
        let data = BASE64.decode(piece["data"].as_str().unwrap_or_default());
        let data = data.ok().filter(|data| !data.is_empty());
        let data = data.ok_or_else(|| Failure::new("the node sent a piece that is empty"))?;
        file.write_all(&data).map_err(|error| unwritable(to, &error))?;
        hash.update(&data);
        offset += data.len() as u64;
        bar.set_position(offset);
    }
    bar.finish_and_clear();
    file.sync_all().map_err(|error| unwritable(to, &error))?;
    let result = done["result"].take();
    if hex::encode(hash.finalize()) != plain(&result["sha256"]) {
        return Err(Failure::new("what came is not what the node made: fetch it again"));
    }
    Ok((bytes, result))
}
