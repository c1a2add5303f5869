//! Deciding without a node's address: a whole node inside this process, in a folder that goes away.
//!
//! Nothing is left out (flags, windows, models, policies), so that what a file comes to offline is
//! what a node would have decided.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use verdict_actors::catalogue::LastCompiled;
use verdict_actors::{Answer, DecideOptions, Handle, Proposal, RuntimeError};
use verdict_config::definition::FlowDefinition;
use verdict_config::settings::Settings;
use verdict_config::{ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{Author, Change, ChangeSet, LocalLog, LocalLogOptions, Log};
use verdict_decisions::RequestRejected;
use verdict_decisions::request::parse_body;

use super::{ColumnUse, DecideArgs, Decided, DecidedFile, request};
use crate::cli::Failure;
use crate::cli::data::Records;
use crate::folder_sync::{FolderSync, Synced};
use crate::output::Output;
use crate::process;

/// Records that are decided at once. Windows see the records of a batch in no certain order, so a
/// flow that reads windows decides one after the other.
const BATCH: usize = 64;
/// How long one batch may take: models are loaded by the first.
const PATIENCE: Duration = Duration::from_secs(600);

/// Decides records by the catalogue in a folder.
pub fn decide(
    catalogue: &Path,
    arguments: &DecideArgs,
    records: &Records,
    output: &Output,
) -> Result<DecidedFile, Failure> {
    if !catalogue.is_dir() {
        let text = format!("{} is not a folder: name a catalogue folder", catalogue.display());
        return Err(Failure::new(text));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let folder = tempfile::tempdir().map_err(anyhow::Error::from)?;
    let deciding = async {
        let mut settings = Settings::default();
        settings.node.data_dir = folder.path().join("data").display().to_string();
        settings.inference.timeout_ms = 60_000;
        // A node for the length of the command needs no cluster.
        let log_dir = folder.path().join("log");
        let (log, _) = LocalLog::open(&log_dir, LocalLogOptions::new(crate::http::now))
            .map_err(|error| Failure::new(error.to_string()))?;
        let log: Arc<dyn Log> = Arc::new(log);
        let failed = |error: process::NodeError| Failure::new(error.to_string());
        let blobs = process::open_blobs(&settings).map_err(failed)?;
        let node_id = u64::from(settings.node.id);
        let compiled = LastCompiled::default();
        let parts = process::RuntimeParts { log, blobs, peers: None, compiled };
        let started = process::start_runtime(&settings, parts, node_id).await;
        let handle = started.map_err(failed)?;
        let decided = serve(&handle, catalogue, folder.path(), arguments, records, output).await;
        handle.drain(Duration::from_secs(10)).await;
        decided
    };
    let decided = runtime.block_on(deciding);
    runtime.shutdown_timeout(Duration::from_secs(5));
    decided
}

async fn serve(
    handle: &Handle,
    catalogue: &Path,
    folder: &Path,
    arguments: &DecideArgs,
    records: &Records,
    output: &Output,
) -> Result<DecidedFile, Failure> {
    let memory = folder.join("memory.json");
    let mut sync = FolderSync::new(catalogue.to_owned(), memory, handle.clone());
    match sync.settle_one_way().await.map_err(|error| Failure::new(error.to_string()))? {
        Synced::Refused(faults) => return Err(Failure::Faults(faults)),
        Synced::Corrected { .. }
        | Synced::Unchanged
        | Synced::Applied { .. }
        | Synced::Written { .. } => {}
    }
    let named = match &arguments.label {
        Some(_) => name_all_labels(handle, &arguments.flow).await?,
        None => None,
    };
    let revision = handle.log().catalogue().revision();
    let state = handle
        .wait_for_revision(revision, PATIENCE)
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
    let served = state.flows.get(&arguments.flow).ok_or_else(|| {
        let names: Vec<&str> = state.flows.keys().map(String::as_str).collect();
        Failure::new(format!(
            "{} has no flow {:?}; it has {}",
            catalogue.display(),
            arguments.flow,
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ))
    })?;
    let definition = served.flow.definition();
    let columns = ColumnUse::check(definition, arguments, records)?;
    let batch = if served.flow.windows().is_empty() { BATCH } else { 1 };
    let bar = output.progress(records.rows.len() as u64, "deciding");
    let mut decided = Vec::with_capacity(records.rows.len());
    for chunk in records.rows.chunks(batch) {
        let requests = chunk
            .iter()
            .map(|row| parse_body(request(definition, arguments, row).to_string().as_bytes()));
        let requests: Vec<Result<_, RequestRejected>> = requests.collect();
        let answers = handle
            .decide_batch(&arguments.flow, requests, DecideOptions::within(PATIENCE))
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        decided.extend(answers.into_iter().map(shown));
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let alternatives = super::alternatives(definition);
    Ok(DecidedFile { decided, columns, alternatives, shown_alternatives: named })
}

/// Lets the flow name every label that it considered, because measures need all probabilities.
/// Gives the number of alternatives that the flow names by itself.
async fn name_all_labels(handle: &Handle, flow: &str) -> Result<Option<usize>, Failure> {
    let Ok(name) = ObjectName::new(ObjectKind::Flow, flow) else { return Ok(None) };
    let id = ObjectId { kind: ObjectKind::Flow, name };
    let catalogue = handle.log().catalogue();
    let Some(mut body) = catalogue.get(&id).and_then(|object| object.json().ok()) else {
        return Ok(None);
    };
    let Ok(definition) = serde_json::from_value::<FlowDefinition>(body.clone()) else {
        return Ok(None);
    };
    if definition.classify.is_none() {
        return Ok(None);
    }
    body["classify"]["alternatives"] = u8::MAX.into();
    let change = Change::put(ObjectKind::Flow, flow, body.to_string().into_bytes());
    let set = ChangeSet::new("all-labels", "measures need every label", vec![change]);
    let proposal = Proposal { change_set: set, author: Author::named("decide") };
    let proposed = handle.propose(proposal).await;
    proposed.map_err(|error| Failure::new(error.to_string()))?;
    Ok(Some(super::alternatives(&definition)))
}

fn shown(answer: Result<Answer, RuntimeError>) -> Decided {
    match answer {
        Ok(answer) => Ok(serde_json::from_slice(&answer.json).unwrap_or_default()),
        Err(error) => Err(problem(&error)),
    }
}

fn problem(error: &RuntimeError) -> Json {
    let problem = crate::http::problem_of(error);
    serde_json::to_value(problem.body()).unwrap_or_default()
}
