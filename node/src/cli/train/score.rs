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
    /// File that the rows are written to, with the columns `predicted` and `score`; they are called
    /// `verdict_predicted` and `verdict_score` where the data has columns of these names.
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
        let failed = |error: std::io::Error| Failure::new(data::unreadable(&current, &error));
        for entry in std::fs::read_dir(&current).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let size = path.metadata().map_err(failed)?.len();
            bytes_left = bytes_left.checked_sub(size).ok_or_else(|| {
                Failure::new(format!(
                    "{} holds more than {MODEL_BYTES_MAX} bytes: name the folder of one model",
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

/// The rows of a data file as the model reads them, and as they are.
fn read_rows(
    path: &Path,
    manifest: &ModelManifest,
    label: Option<&str>,
) -> Result<(Dataset, Records), Failure> {
    let bytes = data::read_bytes(path)?;
    let records = data::parse_records(path, &bytes)?;
    let csv = if data::is_json_lines(path) { data::to_csv(&records)? } else { bytes };
    let dataset =
        Dataset::for_model(&csv, manifest, label).map_err(|faults| data::in_file(faults, path))?;
    Ok((dataset, records))
}

/// Columns of the data that the model does not read, for a note.
fn unread(manifest: &ModelManifest, columns: &[String], label: Option<&str>) -> Vec<String> {
    let is_read = |name: &str| {
        Some(name) == label || manifest.columns.iter().any(|column| column.name == name)
    };
    columns.iter().filter(|name| !is_read(name)).cloned().collect()
}

fn note_unread(columns: &[String], output: &Output) {
    if !columns.is_empty() {
        let names = columns.join(", ");
        output.note(format!("The model does not read the columns: {names}."));
    }
}

/// Measures a model on labelled rows.
pub fn eval(arguments: &EvalArgs, output: &Output) -> Outcome {
    let model = open(&arguments.model)?;
    let manifest = model.manifest();
    let label = arguments.label.as_str();
    let (dataset, records) = read_rows(&arguments.data, manifest, Some(label))?;
    let unread = unread(manifest, &records.columns, Some(label));
    drop(records);
    let bar = output.progress(dataset.rows.len() as u64, "evaluating");
    let report = model.evaluate(&dataset).map_err(refused)?;
    bar.finish_and_clear();
    note_unread(&unread, output);
    let unknown: usize = report.unknown_labels.values().sum();
    if unknown > 0 {
        let named: Vec<String> =
            report.unknown_labels.iter().map(|(name, rows)| format!("{name} ({rows})")).collect();
        output.warn(format!(
            "{unknown} of {} rows have a label that the model does not know, and count as wrong: {}. \
             The model knows {}.",
            report.n,
            shortened(&named),
            shortened(&manifest.labels),
        ));
    }
    let mut json = serde_json::to_value(&report).map_err(anyhow::Error::from)?;
    if output.is_json() {
        json["model"] = json!(manifest.name);
        json["unread_columns"] = json!(unread);
        output.json(&json);
    } else {
        let title = format!("{} on {}", manifest.name, arguments.data.display());
        tell_measures(&title, &json, output);
        output.say(
            "macro_f1 is over the labels that occur in the data or the predictions, macro_f1_known \
             over those that the model knows.",
        );
    }
    Ok(EXIT_OK)
}

/// The first names of many.
fn shortened(names: &[String]) -> String {
    const SHOWN_MAX: usize = 20;
    let shown = names.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Scores rows.
pub fn predict(arguments: &PredictArgs, output: &Output) -> Outcome {
    data::check_out_file(&arguments.out, output.is_json())?;
    let model = open(&arguments.model)?;
    let (dataset, mut records) = read_rows(&arguments.data, model.manifest(), None)?;
    let [predicted, score_column] = records.added_columns(["predicted", "score"])?;
    let unread = unread(model.manifest(), &records.columns, None);
    let bar = output.progress(records.rows.len() as u64, "scoring");
    let mut scored = Vec::with_capacity(records.rows.len());
    for chunk in dataset.rows.chunks(PREDICT_ROWS) {
        let outputs = model.predict(chunk).map_err(refused)?;
        scored.extend(outputs.into_iter().map(|answer| best(model.manifest(), &answer.scores)));
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    for (row, (label, score)) in records.rows.iter_mut().zip(scored) {
        row.insert(predicted.clone(), label.map_or(Json::Null, Json::from));
        row.insert(score_column.clone(), json!(score));
    }
    records.columns.extend([predicted.clone(), score_column.clone()]);
    let count = records.rows.len();
    data::write_records(&arguments.out, &records)?;
    note_unread(&unread, output);
    if output.is_json() {
        output.json(&json!({
            "n": count, "out": arguments.out, "columns": [predicted, score_column],
            "unread_columns": unread,
        }));
    } else if !data::is_stdout(&arguments.out) {
        output.say(format!(
            "Scored {count} rows into {}, with the columns {predicted} and {score_column}.",
            arguments.out.display()
        ));
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
