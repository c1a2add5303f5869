//! `train`, `eval`, `predict`: models from data files, without a node.

mod inputs;
mod score;
mod serve;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};
use verdict_config::model::ColumnKind;
use verdict_neural::{
    Dataset, FeatureSelection, ModelFiles, Network, NeuralError, Progress, TrainOptions, Trained,
};

use super::{EXIT_OK, Failure, Outcome, data};
use crate::output::{GOOD, Output};
use serve::Serving;

pub use score::{EvalArgs, PredictArgs, eval, list_folder, predict};

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

/// Trains a model and writes its folder. Whatever can be refused is refused before the training.
pub fn train(arguments: &TrainArgs, output: &Output) -> Outcome {
    if let Some(flow) = &arguments.flow
        && !verdict_config::name::is_plain_name(flow)
    {
        let advice = verdict_config::Code::InvalidName.advice();
        return Err(Failure::new(format!("{flow:?} is no name. {advice}")));
    }
    data::check_out_dir(&arguments.out)?;
    let serving = match (&arguments.catalogue, &arguments.flow) {
        (Some(catalogue), Some(flow)) => Some(Serving::open(catalogue, flow)?),
        _ => None,
    };
    let bytes = data::read_bytes(&arguments.data)?;
    let fields = serving.as_ref().and_then(Serving::fields);
    let options = inputs::choose(arguments, &bytes, fields)?;
    let dataset = Dataset::from_csv(&bytes, &options)
        .map_err(|faults| data::in_file(faults, &arguments.data))?;
    drop(bytes);
    let options = train_options(arguments);
    let manifest = verdict_neural::planned_manifest(&dataset, &options).map_err(refused)?;
    let plan = serving.map(|serving| serving.plan(&manifest)).transpose()?;
    for note in &dataset.notes {
        output.warn(format!("{}: {note}.", arguments.data.display()));
    }
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
    let trained = verdict_neural::train(&dataset, &options, &mut on_progress).map_err(refused)?;
    bar.finish_and_clear();
    let files = trained.model.to_files();
    write_model(&arguments.out, &files)?;
    let manifest = trained.model.manifest();
    let served = plan.map(|plan| plan.write(manifest, &files)).transpose()?;
    tell_trained(arguments, (&trained, &dataset.notes), served.as_deref(), output);
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

fn tell_trained(
    arguments: &TrainArgs,
    (trained, notes): (&Trained, &[String]),
    flow: Option<&Path>,
    output: &Output,
) {
    let manifest = trained.model.manifest();
    let hash = verdict_neural::content_hash(&trained.model.to_files());
    if output.is_json() {
        output.json(&json!({
            "model": manifest.name, "version": manifest.version, "content_hash": hash,
            "out": arguments.out, "flow": flow, "labels": manifest.labels,
            "columns": manifest.columns, "notes": notes, "report": trained.report,
        }));
        return;
    }
    let rows = manifest.columns.iter();
    let rows = rows.map(|column| vec![column.name.clone(), kind_name(column.kind).to_owned()]);
    output.table(&["column", "read as"], rows.collect());
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

const fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "text",
        ColumnKind::Number => "number",
        ColumnKind::Category => "category",
    }
}

/// Measures as a table; those that are no number are left to the caller.
fn tell_measures(title: &str, measures: &Json, output: &Output) {
    let shown = |value: &Json| match value {
        Json::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or(0.0)),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let members = measures.as_object().into_iter().flatten();
    let plain = members.filter(|(_, value)| !value.is_object() && !value.is_array());
    let (names, cells): (Vec<&str>, Vec<String>) =
        plain.map(|(name, value)| (name.as_str(), shown(value))).unzip();
    output.say(format!("{title}:"));
    output.table(&names, vec![cells]);
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
