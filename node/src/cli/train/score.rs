//! `eval` and `predict`: a model folder over rows of a file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_config::model::ModelManifest;
use verdict_neural::{Dataset, Model, ModelFiles};

use super::{refused, tell_measures};
use crate::cli::data::Records;
use crate::cli::{EXIT_OK, Failure, Outcome, data};
use crate::output::Output;

/// Rows that are scored in one call: bounds memory and paces the progress bar.
const PREDICT_ROWS: usize = 256;

/// The largest model folder that is read.
const MODEL_BYTES_MAX: u64 = 4 << 30;

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// CSV file with a header line.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Column of the label.
    #[arg(long, value_name = "COLUMN")]
    label: String,
}

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// CSV file with a header line.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// File that the rows are written to, with the columns `predicted` and `score`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The files of a model folder with their places, files below it included.
///
/// # Errors
/// A sentence that names what cannot be read or is too large.
pub fn list_folder(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut files = Vec::new();
    let mut bytes_left = MODEL_BYTES_MAX;
    let mut waiting = vec![folder.to_owned()];
    while let Some(current) = waiting.pop() {
        let failed = |error: std::io::Error| {
            Failure::new(format!("{} cannot be read: {error}", current.display()))
        };
        for entry in std::fs::read_dir(&current).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let size = path.metadata().map_err(failed)?.len();
            bytes_left = bytes_left.checked_sub(size).ok_or_else(|| {
                Failure::new(format!(
                    "{} holds more than {MODEL_BYTES_MAX} bytes",
                    folder.display()
                ))
            })?;
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            files.push((relative.to_string_lossy().replace('\\', "/"), path));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a model folder, files below it included.
///
/// # Errors
/// As [`list_folder`].
pub fn read_folder(folder: &Path) -> Result<ModelFiles, Failure> {
    let read = |(name, path): (String, PathBuf)| Ok((name, data::read_bytes(&path)?));
    list_folder(folder)?.into_iter().map(read).collect()
}

fn open(folder: &Path) -> Result<Model, Failure> {
    Model::from_files(&read_folder(folder)?).map_err(refused)
}

/// Measures a model on labelled rows.
pub fn eval(arguments: &EvalArgs, output: &Output) -> Outcome {
    let model = open(&arguments.model)?;
    let bytes = data::read_bytes(&arguments.data)?;
    let dataset = Dataset::for_model(&bytes, model.manifest(), Some(&arguments.label))
        .map_err(Failure::Faults)?;
    drop(bytes);
    let bar = output.progress(dataset.rows.len() as u64, "evaluating");
    let report = model.evaluate(&dataset).map_err(refused)?;
    bar.finish_and_clear();
    if output.is_json() {
        output.json(&report);
    } else {
        let json = serde_json::to_value(&report).map_err(anyhow::Error::from)?;
        tell_measures(
            &format!("{} on {}", model.manifest().name, arguments.data.display()),
            &json,
            output,
        );
    }
    Ok(EXIT_OK)
}

/// Scores rows.
pub fn predict(arguments: &PredictArgs, output: &Output) -> Outcome {
    let model = open(&arguments.model)?;
    let bytes = data::read_bytes(&arguments.data)?;
    let dataset = Dataset::for_model(&bytes, model.manifest(), None).map_err(Failure::Faults)?;
    drop(bytes);
    let Records { mut columns, mut rows } = data::read_records(&arguments.data)?;
    let bar = output.progress(rows.len() as u64, "scoring");
    let mut scored = Vec::with_capacity(rows.len());
    for chunk in dataset.rows.chunks(PREDICT_ROWS) {
        let outputs = model.predict(chunk).map_err(refused)?;
        scored.extend(outputs.into_iter().map(|answer| best(model.manifest(), &answer.scores)));
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    if scored.len() != rows.len() {
        return Err(Failure::new("the data file has rows that the model's reader skips"));
    }
    for (row, (label, score)) in rows.iter_mut().zip(scored) {
        row.insert("predicted".to_owned(), label.map_or(Json::Null, Json::from));
        row.insert("score".to_owned(), json!(score));
    }
    columns.extend(["predicted".to_owned(), "score".to_owned()]);
    let count = rows.len();
    data::write_records(&arguments.out, &Records { columns, rows })?;
    if output.is_json() {
        output.json(&json!({ "n": count, "out": arguments.out }));
    } else {
        output.say(format!("Scored {count} rows into {}.", arguments.out.display()));
    }
    Ok(EXIT_OK)
}

/// The best label with its probability; for two classes with a risk label, that label's
/// probability, so that one column serves thresholds and ranking.
pub(super) fn best(manifest: &ModelManifest, scores: &[f32]) -> (Option<String>, f32) {
    let Some((index, top)) =
        scores.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))
    else {
        return (None, 0.0);
    };
    let label = manifest.labels.get(index).cloned();
    let positive = manifest
        .positive_label
        .as_ref()
        .filter(|_| manifest.labels.len() == 2)
        .and_then(|positive| manifest.labels.iter().position(|label| label == positive))
        .and_then(|position| scores.get(position).copied());
    (label, positive.unwrap_or(top))
}
