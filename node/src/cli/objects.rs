//! Commands that talk to a node: `model push`, `apply`, `export`, `explain`, `status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_config::catalogue::{plan_files, read_files};
use verdict_config::{ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{Change, Op};

use super::client::{Client, segment};
use super::connect::Target;
use super::{EXIT_OK, Failure, Outcome, data, train};
use crate::catalogue_dir::{self, Present};
use crate::output::{BAD, GOOD, Output, WARN};

/// Arguments of `model push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The model's folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The name that flows use.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The catalogue folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "verdict apply")]
    why: String,
    /// Delete what the folder does not have.
    #[arg(long)]
    prune: bool,
    /// Only show the difference.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

impl ApplyArgs {
    /// Everything of a folder, nothing deleted.
    pub fn new(dir: PathBuf, why: &str, target: Target) -> Self {
        Self { dir, why: why.to_owned(), prune: false, dry_run: false, target }
    }
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder that is written.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The decision's id.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    target: Target,
}

pub(super) fn request_id() -> String {
    ulid::Ulid::generate().to_string()
}

/// Stages a folder on the node, file by file from the disk; answers the object that describes it.
fn stage(client: &Client, files: Vec<(String, PathBuf)>) -> Result<Json, Failure> {
    let (reader, writer) = std::io::pipe().map_err(anyhow::Error::from)?;
    // A client that ends early closes the pipe, and that ends the packing.
    let packing = std::thread::spawn(move || crate::http::pack_folder(writer, &files));
    let answer = client.send_stream("/v1/models", "application/x-tar", reader);
    match packing.join() {
        // What the node says comes first: it may be why nobody reads on.
        Ok(Ok(())) | Err(_) => answer,
        Ok(Err(error)) => Err(answer.err().unwrap_or_else(|| anyhow::Error::from(error).into())),
    }
}

/// Between two looks at how far the nodes are.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks at most: then the change is proposed all the same, and the node says who is not ready.
const LOOKS_MAX: u32 = 240;

/// Shows how many nodes have loaded staged models, until all of them have.
fn wait_until_loaded(client: &Client, objects: &[Json], output: &Output) -> Result<(), Failure> {
    let bar = output.progress(0, "nodes are loading the models");
    for _ in 0..LOOKS_MAX {
        let (mut ready, mut waited_for) = (0, 0);
        for object in objects {
            let hash = object["content_hash"].as_str().unwrap_or_default();
            let answer = client.get(&format!("/v1/models/{}:readiness", segment(hash)))?;
            let nodes = answer["nodes"].as_array().into_iter().flatten();
            for node in nodes.filter(|node| node["reachable"] == true) {
                waited_for += 1;
                ready += u64::from(node["ready"] == true);
            }
        }
        bar.set_length(waited_for);
        bar.set_position(ready);
        if ready == waited_for {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Puts a model folder into a node.
pub fn push(arguments: &PushArgs, output: &Output) -> Outcome {
    let files = train::list_folder(&arguments.dir)?;
    let client = arguments.target.connect()?;
    let bar = output.progress(0, "sending the model");
    let object = stage(&client, files)?;
    bar.finish_and_clear();
    wait_until_loaded(&client, std::slice::from_ref(&object), output)?;
    let why = arguments.why.clone();
    let body = json!({
        "request_id": request_id(),
        "why": why.unwrap_or_else(|| format!("push model {}", arguments.name)),
        "changes": [{ "kind": "model", "name": arguments.name, "op": "put", "body": object }],
    });
    let applied = client.post("/v1/changes", &body)?;
    if output.is_json() {
        output.json(&json!({
            "name": arguments.name, "content_hash": object["content_hash"],
            "revision": applied["revision"],
        }));
    } else {
        output.say(format!(
            "{} model {} ({}) at revision {}.",
            output.styled(GOOD, "Pushed"),
            arguments.name,
            object["content_hash"].as_str().unwrap_or_default(),
            applied["revision"],
        ));
    }
    Ok(EXIT_OK)
}

/// Every object of the node that has files.
pub(super) fn fetch(client: &Client) -> Result<BTreeMap<ObjectId, Present>, Failure> {
    let mut present = BTreeMap::new();
    for kind in ObjectKind::ALL.into_iter().filter(|kind| catalogue_dir::has_files(*kind)) {
        let mut answer = client.get(&format!("/v1/objects/{kind}"))?;
        for object in answer["objects"].as_array_mut().into_iter().flatten() {
            let name = object["name"].as_str().unwrap_or_default();
            let name = ObjectName::new(kind, name).map_err(|fault| vec![fault])?;
            let revision = object["revision"].as_u64().unwrap_or(0);
            let body = object["body"].take();
            present.insert(ObjectId { kind, name }, Present { revision, body });
        }
    }
    Ok(present)
}

/// Brings a node to the state of a folder.
pub fn apply(arguments: &ApplyArgs, output: &Output) -> Outcome {
    let files = read_catalogue(&arguments.dir)?;
    let text = read_files(&files)?;
    for remark in &text.remarks {
        output.note(remark.to_string());
    }
    let client = arguments.target.connect()?;
    let present = fetch(&client)?;
    let changes =
        catalogue_dir::changes(&text, &present, arguments.prune).map_err(anyhow::Error::from)?;
    if changes.is_empty() {
        return nothing_to_do(output);
    }
    if !arguments.dry_run {
        let models: Vec<&Change> = changes
            .iter()
            .filter(|change| change.kind == ObjectKind::Model && change.op == Op::Put)
            .collect();
        let bar = output.progress(models.len() as u64, "sending models");
        let mut staged = Vec::new();
        for change in models {
            let folder = arguments.dir.join("models").join(&change.name);
            let prefix = format!("models/{}/", change.name);
            let inner = files.keys().filter_map(|path| path.strip_prefix(&prefix));
            let places = inner.map(|path| (path.to_owned(), folder.join(path))).collect();
            staged.push(stage(&client, places)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        wait_until_loaded(&client, &staged, output)?;
    }
    let parts = catalogue_dir::batches(changes.clone());
    let (count_parts, mut answers) = (parts.len(), Vec::new());
    for part in parts {
        let body = json!({
            "request_id": request_id(), "why": arguments.why, "dry_run": arguments.dry_run,
            "changes": part.iter().map(change_json).collect::<Vec<_>>(),
        });
        answers.push(client.post("/v1/changes", &body)?);
        // A later part may name what an earlier one only would have made.
        if arguments.dry_run && count_parts > 1 {
            output.note(format!(
                "The changes need {count_parts} change sets; the node looked at the first only."
            ));
            break;
        }
    }
    let answer = answers.pop().unwrap_or_default();
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    for change in &changes {
        output.say(shown(change, output));
    }
    super::admin::show_findings(&answer, output);
    let verb = if arguments.dry_run { "Would make" } else { "Made" };
    let count = changes.len();
    let noun = if count == 1 { "change" } else { "changes" };
    let parts = if count_parts > 1 && !arguments.dry_run {
        format!(", in {count_parts} change sets")
    } else {
        String::new()
    };
    output.say(format!("{verb} revision {} of {count} {noun}{parts}.", answer["revision"]));
    Ok(EXIT_OK)
}

fn nothing_to_do(output: &Output) -> Outcome {
    if output.is_json() {
        output.json(&json!({ "applied": [] }));
    } else {
        output.say("The node says what the folder says already.");
    }
    Ok(EXIT_OK)
}

pub(super) fn change_json(change: &Change) -> Json {
    let body = change.body.as_deref().and_then(|body| serde_json::from_slice::<Json>(body).ok());
    let mut json = json!({
        "kind": change.kind, "name": change.name, "op": change.op,
        "expected_revision": change.expected_revision,
    });
    if let Some(body) = body {
        json["body"] = body;
    }
    json
}

fn shown(change: &Change, output: &Output) -> String {
    let sign = match (change.op, change.expected_revision) {
        (Op::Delete, _) => output.styled(BAD, "-"),
        (Op::Put, Some(0)) => output.styled(GOOD, "+"),
        (Op::Put, _) => output.styled(WARN, "~"),
    };
    format!("{sign} {} {}", change.kind, change.name)
}

fn read_catalogue(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    catalogue_dir::read_dir(dir).map_err(|error| Failure::new(error.to_string()))
}

/// Schemas for editors, beside the files that name them.
pub(super) fn write_schemas(dir: &Path) -> Result<(), Failure> {
    catalogue_dir::write_schemas(dir).map_err(|error| Failure::new(error.to_string()))
}

/// Writes a node's catalogue as a folder. Files that mean the same already stay as they are.
pub fn export(arguments: &ExportArgs, output: &Output) -> Outcome {
    let client = arguments.target.connect()?;
    let objects: BTreeMap<ObjectId, Json> =
        fetch(&client)?.into_iter().map(|(id, present)| (id, present.body)).collect();
    std::fs::create_dir_all(&arguments.dir).map_err(anyhow::Error::from)?;
    let text = read_files(&read_catalogue(&arguments.dir)?)?;
    let plan = plan_files(&text, &objects)?;
    for (path, bytes) in &plan.writes {
        data::write_bytes(&arguments.dir.join(path), bytes)?;
    }
    for path in &plan.deletes {
        std::fs::remove_file(arguments.dir.join(path)).map_err(anyhow::Error::from)?;
    }
    for path in &plan.model_deletes {
        std::fs::remove_dir_all(arguments.dir.join(path)).map_err(anyhow::Error::from)?;
    }
    write_schemas(&arguments.dir)?;
    let bar = output.progress(plan.models.len() as u64, "fetching models");
    for name in plan.models.keys() {
        fetch_model(&client, &arguments.dir, name.as_str())?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (written, deleted) = (plan.writes.len(), plan.deletes.len() + plan.model_deletes.len());
    if output.is_json() {
        output.json(&json!({
            "dir": arguments.dir, "written": written, "deleted": deleted,
            "models": plan.models.len(),
        }));
    } else {
        output.say(format!(
            "Wrote {written} files and {} model folders to {}; deleted {deleted}.",
            plan.models.len(),
            arguments.dir.display(),
        ));
    }
    Ok(EXIT_OK)
}

fn fetch_model(client: &Client, dir: &Path, name: &str) -> Result<(), Failure> {
    let folder = dir.join("models").join(name);
    let body = client.read_stream(&format!("/v1/models/{}", segment(name)))?;
    let mut archive = tar::Archive::new(body);
    for entry in archive.entries().map_err(anyhow::Error::from)? {
        let mut entry = entry.map_err(anyhow::Error::from)?;
        // `unpack_in` never leaves the folder, whatever the stream says.
        std::fs::create_dir_all(&folder).map_err(anyhow::Error::from)?;
        entry.unpack_in(&folder).map_err(anyhow::Error::from)?;
    }
    Ok(())
}

/// Explains a decision.
pub fn explain(arguments: &ExplainArgs, output: &Output) -> Outcome {
    let client = arguments.target.connect()?;
    let answer = client.get(&format!("/v1/decisions/{}", segment(&arguments.id)))?;
    if output.is_json() {
        output.json(&answer);
        return Ok(EXIT_OK);
    }
    super::explanation::show(&answer, output);
    Ok(EXIT_OK)
}
