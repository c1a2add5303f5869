//! Training: options, progress and the two phases.
//!
//! Phase one fits features and weights on most rows; the rest, chosen by a hash of the row so that
//! copies stay together, decides when to stop, calibrates the temperature, and measures. Phase two
//! trains again on all rows for as many epochs as were best: what validation rows teach is not
//! lost, and what they measured stays an honest (slightly pessimistic) estimate.

mod forest;
mod linear;
mod options;
mod phases;
mod recipe;
mod run;
mod table;

use indexmap::IndexMap;
use verdict_config::model::{ModelManifest, ModelTask};

use crate::model::reference_profile;
use crate::{Dataset, EvaluationReport, NeuralError};
use forest::train_forest;
use phases::Phases;

pub use options::{Network, Progress, TrainOptions, TrainReport, Trained};
pub use recipe::Recipe;
pub(crate) use run::highest;

/// Rows needed to train at least.
pub const ROWS_MIN: usize = 8;

/// Trains a model. Deterministic for the same data, options and seed on the same processor.
///
/// # Errors
/// [`NeuralError::Training`] for data or options that cannot be used.
pub fn train(
    dataset: &Dataset,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, NeuralError> {
    let network = options.network.unwrap_or_else(|| Network::for_dataset(dataset));
    check(dataset, network, options)?;
    if network == Network::IsolationForest {
        return train_forest(dataset, options);
    }
    let mut phases =
        Phases { dataset, network, options, progress, recipe: recipe(dataset, options, network) };
    phases.train()
}

/// The manifest that training on this data with these options gives, but for what training finds
/// (temperature, measures, distances). It is cheap: callers check with it before they train.
///
/// # Errors
/// What [`train`] would refuse at once.
pub fn planned_manifest(
    dataset: &Dataset,
    options: &TrainOptions,
) -> Result<ModelManifest, NeuralError> {
    let network = options.network.unwrap_or_else(|| Network::for_dataset(dataset));
    check(dataset, network, options)?;
    let mut planned = manifest(dataset, options, network);
    if network == Network::IsolationForest {
        planned.task = ModelTask::Anomaly;
        planned.labels = Vec::new();
    }
    Ok(planned)
}

fn check(dataset: &Dataset, network: Network, options: &TrainOptions) -> Result<(), NeuralError> {
    let refuse = |detail: String| Err(NeuralError::Training { detail });
    if dataset.columns.is_empty() || dataset.rows.len() < ROWS_MIN {
        return refuse(format!(
            "the data has {} rows and {} input columns; training needs at least {ROWS_MIN} rows and \
             one column",
            dataset.rows.len(),
            dataset.columns.len()
        ));
    }
    if network == Network::IsolationForest {
        return forest::check(dataset);
    }
    if dataset.labels.len() != dataset.rows.len() {
        return refuse("the rows have no labels: name the label column with --label".to_owned());
    }
    if dataset.label_names.len() < 2 {
        return refuse(
            "the label column has one value in all rows: a model needs rows of at least two"
                .to_owned(),
        );
    }
    let fitting = Network::for_dataset(dataset);
    if network != fitting && network != Network::JoinedMlp {
        return refuse(format!(
            "`{}` cannot read these columns; `{}` can",
            network.as_str(),
            fitting.as_str()
        ));
    }
    let share = options.validation_share;
    let within = [
        ("the share for validation", (0.05..=0.5).contains(&share), "0.05 to 0.5"),
        (
            "the label smoothing",
            options.label_smoothing.is_none_or(|value| (0.0..=0.5).contains(&value)),
            "0 to 0.5",
        ),
        ("the dropout", options.dropout.is_none_or(|v| (0.0..=0.9).contains(&v)), "0 to 0.9"),
        (
            "the learning rate",
            options.learning_rate.is_none_or(|value| value > 0.0 && value <= 1.0),
            "above 0 and at most 1",
        ),
        (
            "the number of epochs",
            options.epochs_max.is_none_or(|value| (1..=1_000).contains(&value)),
            "1 to 1000",
        ),
        (
            "the batch size",
            options.batch_size.is_none_or(|value| (1..=65_536).contains(&value)),
            "1 to 65536",
        ),
    ];
    if let Some((name, _, range)) = within.iter().find(|(_, fits, _)| !fits) {
        return refuse(format!("{name} is out of its range: give {range}"));
    }
    if let Some(label) = &options.positive_label
        && !dataset.label_names.contains(label)
    {
        let known: Vec<&str> = dataset.label_names.iter().take(20).map(String::as_str).collect();
        return refuse(format!("no row has the label `{label}`; there are {}", known.join(", ")));
    }
    Ok(())
}

fn recipe(dataset: &Dataset, options: &TrainOptions, network: Network) -> Recipe {
    let labels = dataset.label_names.len();
    let chosen =
        options.recipe.unwrap_or_else(|| Recipe::choose(network, labels, dataset.rows.len()));
    let scale = options.learning_rate.map_or(1.0, |rate| rate / chosen.rate);
    let mut recipe = Recipe {
        epochs_max: options.epochs_max.unwrap_or(chosen.epochs_max),
        batch_size: options.batch_size.unwrap_or(chosen.batch_size),
        rate: chosen.rate * scale,
        rate_sparse: chosen.rate_sparse * scale,
        label_smoothing: options.label_smoothing.unwrap_or(chosen.label_smoothing),
        dropout_hidden: options.dropout.unwrap_or(chosen.dropout_hidden),
        ..chosen
    };
    recipe.fit_table(labels);
    recipe
}

fn set_metrics(metrics: &mut IndexMap<String, f64>, report: &EvaluationReport) {
    *metrics = report.metrics().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
}

fn manifest(dataset: &Dataset, options: &TrainOptions, network: Network) -> ModelManifest {
    let two = dataset.label_names.len() == 2 && dataset.labels.len() == dataset.rows.len();
    let rarer = || two.then(|| dataset.label_names[crate::model::rarer(dataset)].clone());
    ModelManifest {
        format: 1,
        name: options.name.clone(),
        version: options.version.clone(),
        task: ModelTask::Classification,
        network: network.as_str().to_owned(),
        labels: dataset.label_names.clone(),
        positive_label: options.positive_label.clone().or_else(rarer),
        columns: dataset.columns.clone(),
        temperature: 1.0,
        ood_threshold: None,
        metrics: IndexMap::new(),
        training_data_sha256: dataset.sha256.clone(),
        seed: options.seed,
        parent: options.parent.clone(),
        licence: options.licence.clone(),
        reference_profile: Some(reference_profile(dataset)),
    }
}
