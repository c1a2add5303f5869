//! `train`, `eval`, `predict`: models from data files, without a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_config::definition::{ClassifyDefinition, FlowDefinition, ModelChoice};
use verdict_config::model::{ColumnKind, ModelManifest, ModelTask};
use verdict_config::{Field, FieldType};
use verdict_neural::{
    Dataset, DatasetOptions, FeatureSelection, Model, ModelFiles, Network, NeuralError, Progress,
    TrainOptions, Trained,
};

use super::data::{self, Records};
use super::{EXIT_OK, Failure, Outcome};
use crate::output::{GOOD, Output};

/// Rows that are scored in one call: bounds memory and paces the progress bar.
const PREDICT_ROWS: usize = 256;
/// The largest model folder that is read.
const MODEL_BYTES_MAX: u64 = 4 << 30;

pub const TRAIN_HELP: &str = "Examples:
  verdict train --data messages.csv --label label --text text --out ./model
  verdict train --data urls.csv --label status --text URL --features all --out ./model
  verdict train --data clients.csv --label default --features all --out ./model \\
      --catalogue ./catalogue --flow credit";

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// CSV file with a header line.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Column of the label.
    #[arg(long, value_name = "COLUMN", required_unless_present = "network")]
    label: Option<String>,
    /// Column of free text; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    text: Vec<String>,
    /// Other columns to read: `all`, or names with commas between.
    #[arg(long, value_name = "all|COLUMN,...")]
    features: Option<String>,
    /// Folder that the model is written to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// ngram_mlp, tabular_mlp, joined_mlp or isolation_forest; chosen by the columns if absent.
    #[arg(long, value_name = "NAME", value_parser = network)]
    network: Option<Network>,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Name of the model; the flow's or the folder's if absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Version, for people.
    #[arg(long, default_value = "1", value_name = "TEXT")]
    model_version: String,
    /// Passes over the data at most.
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Rows a step.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Step size at its peak.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Share of rows kept for early stopping and calibration.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    validation_share: f64,
    /// Weigh labels by the inverse of their frequency.
    #[arg(long)]
    balanced: bool,
    /// The label whose probability is the risk score, for two labels.
    #[arg(long, value_name = "LABEL")]
    positive_label: Option<String>,
    /// Licence of the weights.
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Catalogue folder to put the model and a flow that serves it into.
    #[arg(long, value_name = "DIR", requires = "flow")]
    catalogue: Option<PathBuf>,
    /// Name of that flow.
    #[arg(long, value_name = "NAME", requires = "catalogue")]
    flow: Option<String>,
}

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

fn network(text: &str) -> Result<Network, String> {
    Network::from_name(text).ok_or_else(|| {
        let names = Network::ALL.map(Network::as_str).join(", ");
        format!("there are {names}")
    })
}

fn refused(error: NeuralError) -> Failure {
    match error {
        NeuralError::Data(faults) => Failure::Faults(faults),
        other => Failure::new(format!("{} {other}", other.code())),
    }
}

fn selection(features: Option<&str>) -> FeatureSelection {
    match features {
        None => FeatureSelection::None,
        Some("all") => FeatureSelection::All,
        Some(names) => FeatureSelection::Columns(
            names
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
        ),
    }
}

/// Trains a model and writes its folder.
pub fn train(arguments: &TrainArgs, output: &Output) -> Outcome {
    // Said before the training and not after it.
    if let Some(flow) = &arguments.flow
        && !verdict_config::name::is_plain_name(flow)
    {
        let advice = verdict_config::Code::InvalidName.advice();
        return Err(Failure::new(format!("{flow:?} is no name. {advice}")));
    }
    let bytes = data::read_bytes(&arguments.data)?;
    let options = DatasetOptions {
        label: arguments.label.clone(),
        text: arguments.text.clone(),
        features: selection(arguments.features.as_deref()),
    };
    let dataset = Dataset::from_csv(&bytes, &options).map_err(Failure::Faults)?;
    drop(bytes);
    let bar = output.progress(0, "training");
    let mut on_progress = |progress: Progress| {
        bar.set_length(progress.steps_max);
        bar.set_position(progress.step);
        let accuracy = progress
            .validation_accuracy
            .map_or_else(String::new, |accuracy| format!(", validation {accuracy:.4}"));
        let phase = if progress.refit { "refit" } else { "epoch" };
        bar.set_message(format!("{phase} {}, loss {:.4}{accuracy}", progress.epoch, progress.loss));
    };
    let trained = verdict_neural::train(&dataset, &train_options(arguments), &mut on_progress)
        .map_err(refused)?;
    bar.finish_and_clear();
    let files = trained.model.to_files();
    write_model(&arguments.out, &files)?;
    let served = match (&arguments.catalogue, &arguments.flow) {
        (Some(catalogue), Some(flow)) => {
            Some(serve(catalogue, flow, trained.model.manifest(), &files)?)
        }
        _ => None,
    };
    tell_trained(arguments, &trained, served.as_deref(), output);
    Ok(EXIT_OK)
}

fn train_options(arguments: &TrainArgs) -> TrainOptions {
    let folder = arguments.out.file_name().and_then(|name| name.to_str());
    let name = arguments.name.as_deref().or(arguments.flow.as_deref()).or(folder);
    TrainOptions {
        name: plain_name(name.unwrap_or("model")),
        version: arguments.model_version.clone(),
        network: arguments.network,
        seed: arguments.seed,
        epochs_max: arguments.epochs,
        batch_size: arguments.batch_size,
        learning_rate: arguments.learning_rate,
        validation_share: arguments.validation_share,
        balanced: arguments.balanced,
        positive_label: arguments.positive_label.clone(),
        licence: arguments.licence.clone(),
        ..TrainOptions::default()
    }
}

/// A text as a plain name: what does not fit becomes `-`.
fn plain_name(text: &str) -> String {
    let fits = |character: char| {
        let character = character.to_ascii_lowercase();
        let plain = character.is_ascii_alphanumeric() || "._-".contains(character);
        if plain { character } else { '-' }
    };
    let name: String = text.chars().map(fits).take(64).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

fn write_model(folder: &Path, files: &ModelFiles) -> Result<(), Failure> {
    for (path, bytes) in files {
        data::write_bytes(&folder.join(path), bytes)?;
    }
    Ok(())
}

/// Puts the model and a flow that serves it into a catalogue folder; answers the flow's file.
fn serve(
    catalogue: &Path,
    flow: &str,
    manifest: &ModelManifest,
    files: &ModelFiles,
) -> Result<PathBuf, Failure> {
    let definition = flow_for(flow, manifest);
    write_model(&catalogue.join("models").join(&manifest.name), files)?;
    let id = verdict_config::ObjectId {
        kind: verdict_config::ObjectKind::Flow,
        name: verdict_config::ObjectName::new(verdict_config::ObjectKind::Flow, flow)
            .map_err(|fault| Failure::Faults(vec![fault]))?,
    };
    let body = serde_json::to_value(&definition).map_err(anyhow::Error::from)?;
    let written = verdict_config::catalogue::write_files(&BTreeMap::from([(id, body)]))
        .map_err(Failure::Faults)?;
    super::objects::write_schemas(catalogue)?;
    let mut flow_file = catalogue.join("flows").join(format!("{flow}.yaml"));
    for (path, bytes) in &written {
        flow_file = catalogue.join(path);
        data::write_bytes(&flow_file, bytes)?;
    }
    Ok(flow_file)
}

/// A flow whose fields are the model's columns.
fn flow_for(flow: &str, manifest: &ModelManifest) -> FlowDefinition {
    let mut definition: FlowDefinition = FlowDefinition {
        flow: flow.to_owned(),
        description: Some(format!("Served by the model {}.", manifest.name)),
        ..empty_flow()
    };
    for column in &manifest.columns {
        let field_type = match column.kind {
            ColumnKind::Text => FieldType::String,
            ColumnKind::Number => FieldType::Float,
            ColumnKind::Category => FieldType::Symbol,
        };
        definition.fields.insert(column.name.clone(), Field::plain(field_type));
    }
    let model = ModelChoice::Name(manifest.name.clone());
    match manifest.task {
        ModelTask::Classification => {
            definition.classify = Some(ClassifyDefinition {
                scheme: flow.to_owned(),
                rules: Vec::new(),
                model: Some(model),
                accept_from: 0.9,
                delta: 0.05,
                min_confidence: 0.0,
                alternatives: 3,
                codes: None,
            });
        }
        ModelTask::Anomaly => {
            let risk =
                json!({ "model": manifest.name, "points_per_logit": 100.0, "reason": "UNUSUAL" });
            if let Ok(risk) = serde_json::from_value(risk) {
                definition.models.insert("anomaly".to_owned(), risk);
            }
        }
    }
    definition
}

fn empty_flow() -> FlowDefinition {
    FlowDefinition {
        flow: String::new(),
        description: None,
        unit: None,
        fields: indexmap::IndexMap::new(),
        rules: Vec::new(),
        classify: None,
        models: indexmap::IndexMap::new(),
        score: Default::default(),
        abstain: Default::default(),
        on_failure: Default::default(),
        switches: Default::default(),
        record: Default::default(),
        cost_units_max: None,
    }
}

fn tell_trained(arguments: &TrainArgs, trained: &Trained, flow: Option<&Path>, output: &Output) {
    let manifest = trained.model.manifest();
    let hash = verdict_neural::content_hash(&trained.model.to_files());
    if output.is_json() {
        output.json(&json!({
            "model": manifest.name, "version": manifest.version, "content_hash": hash,
            "out": arguments.out, "flow": flow, "labels": manifest.labels, "report": trained.report,
        }));
        return;
    }
    let report = &trained.report;
    output.say(format!(
        "{} {} ({}) on {} rows, {} features, {} weights, best epoch {}",
        output.styled(GOOD, "Trained"),
        manifest.name,
        report.network,
        report.train_rows,
        report.features,
        report.weights,
        report.best_epoch,
    ));
    if let Some(validation) = &report.validation {
        let json = serde_json::to_value(validation).unwrap_or_default();
        tell_measures("Validation", &json, output);
    }
    output.say(format!("Model folder: {}", arguments.out.display()));
    if let Some(flow) = flow {
        output.say(format!("Flow: {}", flow.display()));
    }
}

fn tell_measures(title: &str, measures: &Json, output: &Output) {
    let shown = |value: &Json| match value {
        Json::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or(0.0)),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let members = measures.as_object();
    let names: Vec<&str> = members.iter().flat_map(|map| map.keys()).map(String::as_str).collect();
    let cells = members.iter().flat_map(|map| map.values()).map(shown).collect();
    output.say(format!("{title}:"));
    output.table(&names, vec![cells]);
}

/// Reads a model folder, files below it included.
///
/// # Errors
/// A sentence that names what cannot be read or is too large.
pub fn read_folder(folder: &Path) -> Result<ModelFiles, Failure> {
    let mut files = ModelFiles::new();
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
            let name = relative.to_string_lossy().replace('\\', "/");
            files.insert(name, data::read_bytes(&path)?);
        }
    }
    Ok(files)
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
fn best(manifest: &ModelManifest, scores: &[f32]) -> (Option<String>, f32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_plain() {
        for (text, expected) in [
            ("model", "model"),
            ("My Model", "my-model"),
            ("../x", "x"),
            ("", "model"),
            ("-", "model"),
        ] {
            assert_eq!(plain_name(text), expected);
        }
    }

    #[test]
    fn features_are_selected_by_name_or_all() {
        assert_eq!(selection(None), FeatureSelection::None);
        assert_eq!(selection(Some("all")), FeatureSelection::All);
        let columns = FeatureSelection::Columns(vec!["a".into(), "b".into()]);
        assert_eq!(selection(Some("a, b,")), columns);
    }
}
