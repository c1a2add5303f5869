//! Training: options, progress and the two phases.
//!
//! Phase one fits features and weights on most rows; the rest, chosen by a hash of the row so that
//! copies stay together, decides when to stop, calibrates the temperature, and measures. Phase two
//! trains again on all rows for as many epochs as were best: what validation rows teach is not
//! lost, and what they measured stays an honest (slightly pessimistic) estimate.

mod linear;
mod recipe;
mod run;
mod table;

use indexmap::IndexMap;
use verdict_config::model::{ColumnKind, ModelManifest, ModelOutput, ModelTask};
use verdict_stats::calibration::{fit_temperature, fit_weights, softmax};

pub use recipe::Recipe;
pub(crate) use run::highest;

use crate::features::FeatureSpace;
use crate::model::{AnomalyModel, Classifier, Distance, Spread, reference_profile};
use crate::network::NetworkWeights;
use crate::split::{is_in_part, row_hash};
use crate::{Dataset, EvaluationReport, Model, NeuralError};
use linear::{LinearOptions, LinearPath};
use run::{EncodedRows, RunOptions, steps_per_epoch};

/// Which network to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Words and character n-grams of texts.
    NgramMlp,
    /// Numbers and categories.
    TabularMlp,
    /// Texts together with numbers and categories.
    JoinedMlp,
    /// Anomalies among numbers and categories; needs no labels.
    IsolationForest,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 4] =
        [Self::NgramMlp, Self::TabularMlp, Self::JoinedMlp, Self::IsolationForest];

    /// The name in manifests and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NgramMlp => "ngram_mlp",
            Self::TabularMlp => "tabular_mlp",
            Self::JoinedMlp => "joined_mlp",
            Self::IsolationForest => "isolation_forest",
        }
    }

    /// The network of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.as_str() == name)
    }

    /// The network for the kinds of a dataset's columns.
    #[must_use]
    pub fn for_dataset(dataset: &Dataset) -> Self {
        let is_text = |kind: ColumnKind| kind == ColumnKind::Text;
        let texts = dataset.columns.iter().filter(|column| is_text(column.kind)).count();
        match (texts, dataset.columns.len() - texts) {
            (0, _) => Self::TabularMlp,
            (_, 0) => Self::NgramMlp,
            (_, _) => Self::JoinedMlp,
        }
    }
}

/// How to train. `None` lets training choose by the data.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Name written into the manifest.
    pub name: String,
    /// Version written into the manifest.
    pub version: String,
    /// The network; chosen by the kinds of columns when `None`.
    pub network: Option<Network>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Passes over the data at most.
    pub epochs_max: Option<u32>,
    /// Rows a step.
    pub batch_size: Option<usize>,
    /// Step size of AdamW at its peak.
    pub learning_rate: Option<f64>,
    /// Share of rows kept for early stopping and calibration, 0.05 to 0.5.
    pub validation_share: f64,
    /// Weighs labels by the inverse of their frequency.
    pub balanced: bool,
    /// Probability mass spread over all labels, 0 to 0.5.
    pub label_smoothing: Option<f32>,
    /// Share of hidden units silenced in a step, 0 to 0.9.
    pub dropout: Option<f32>,
    /// The label whose probability is the risk score, for two labels; the rarer when `None`.
    pub positive_label: Option<String>,
    /// Every size and rate, instead of the choice by the data; the options above still win.
    pub recipe: Option<Recipe>,
    /// Content hash of the version this one continues.
    pub parent: Option<String>,
    /// Licence of the weights.
    pub licence: Option<String>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            name: "model".to_owned(),
            version: "1".to_owned(),
            network: None,
            seed: 1,
            epochs_max: None,
            batch_size: None,
            learning_rate: None,
            validation_share: 0.1,
            balanced: false,
            label_smoothing: None,
            dropout: None,
            positive_label: None,
            recipe: None,
            parent: None,
            licence: None,
        }
    }
}

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done over both phases.
    pub step: u64,
    /// Steps at most over both phases; early stopping ends sooner.
    pub steps_max: u64,
    /// The current epoch, from 1.
    pub epoch: u32,
    /// Epochs at most in this phase.
    pub epochs_max: u32,
    /// Mean training loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on the validation part after the last epoch that measured it.
    pub validation_accuracy: Option<f64>,
    /// Whether this is the second phase, in which the model sees the validation part too.
    pub refit: bool,
}

/// What training did.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TrainReport {
    /// The network.
    pub network: String,
    /// Rows of the first phase.
    pub train_rows: usize,
    /// Rows of the validation part.
    pub validation_rows: usize,
    /// Features of the model.
    pub features: usize,
    /// Weights of the model.
    pub weights: usize,
    /// The epoch that was best on the validation part.
    pub best_epoch: u32,
    /// Measures on the validation part, before the second phase; `None` for anomaly models without
    /// labels.
    pub validation: Option<EvaluationReport>,
}

/// A trained model and what training did.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// What training did.
    pub report: TrainReport,
}

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
    if dataset.columns.is_empty() || dataset.rows.len() < ROWS_MIN {
        let rows = dataset.rows.len();
        let detail = format!("{rows} rows; training needs at least {ROWS_MIN} and a column");
        return Err(NeuralError::Training { detail });
    }
    if network == Network::IsolationForest {
        return train_forest(dataset, options);
    }
    check(dataset, network, options)?;
    let mut phases =
        Phases { dataset, network, options, progress, recipe: recipe(dataset, options, network) };
    phases.train()
}

fn check(dataset: &Dataset, network: Network, options: &TrainOptions) -> Result<(), NeuralError> {
    let refuse = |detail: String| Err(NeuralError::Training { detail });
    if dataset.labels.len() != dataset.rows.len() {
        return refuse("the rows have no labels: name the label column".to_owned());
    }
    if dataset.label_names.len() < 2 {
        return refuse("the label column has one value; two are needed".to_owned());
    }
    let fitting = Network::for_dataset(dataset);
    if network != fitting && network != Network::JoinedMlp {
        return refuse(format!(
            "`{}` cannot read these columns; `{}` can",
            network.as_str(),
            fitting.as_str()
        ));
    }
    let in_range = (0.05..=0.5).contains(&options.validation_share)
        && options.label_smoothing.is_none_or(|value| (0.0..=0.5).contains(&value))
        && options.dropout.is_none_or(|value| (0.0..=0.9).contains(&value))
        && options.learning_rate.is_none_or(|value| value > 0.0 && value <= 1.0)
        && options.epochs_max.is_none_or(|value| (1..=1_000).contains(&value))
        && options.batch_size.is_none_or(|value| (1..=65_536).contains(&value));
    if !in_range {
        return refuse("an option is out of its range".to_owned());
    }
    if let Some(label) = &options.positive_label
        && !dataset.label_names.contains(label)
    {
        return refuse(format!("no row has the label `{label}`"));
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

fn energies(logits: &[f32], labels: usize) -> Vec<f32> {
    logits.chunks_exact(labels).map(crate::model::energy).collect()
}

/// How the energies of rows spread under a network.
fn trained_energies(weights: &NetworkWeights, space: &FeatureSpace, rows: &EncodedRows) -> Spread {
    let logits = run::logits(weights, space, &rows.rows);
    Spread::of(&mut energies(&logits, weights.shape.labels))
}

/// What the validation part says.
struct Calibrated {
    temperature: f64,
    /// Weights of the members' logits and of the linear path's margins.
    weights: (f64, f64),
    distance: Distance,
    /// Energies of the rows that the first phase trained on.
    trained_energies: Spread,
    ood_threshold: f64,
    report: EvaluationReport,
    epoch: u32,
    train_rows: usize,
    validation_rows: usize,
}

struct Phases<'a> {
    dataset: &'a Dataset,
    network: Network,
    options: &'a TrainOptions,
    progress: &'a mut dyn FnMut(Progress),
    recipe: Recipe,
}

impl Phases<'_> {
    fn train(&mut self) -> Result<Trained, NeuralError> {
        let rows = self.dataset.rows.len();
        let in_validation: Vec<bool> = self
            .dataset
            .rows
            .iter()
            .map(|row| is_in_part(row_hash(row, self.options.seed), self.options.validation_share))
            .collect();
        let validation: Vec<usize> = (0..rows).filter(|row| in_validation[*row]).collect();
        let train: Vec<usize> = (0..rows).filter(|row| !in_validation[*row]).collect();
        if train.is_empty() || validation.is_empty() {
            return Err(NeuralError::training("too few distinct rows to keep some for validation"));
        }
        let calibrated = self.first_phase(&train, &validation)?;
        let all: Vec<usize> = (0..rows).collect();
        let (space, weights) = self.second_phase(&all, &calibrated)?;
        let trained = self.encode(&space, &train);
        let distance = calibrated
            .distance
            .carried(calibrated.trained_energies, trained_energies(&weights, &space, &trained));
        let classifier = Classifier::new(space, weights, distance);
        let weights = classifier.trained_weights().shape;
        let report = TrainReport {
            network: self.network.as_str().to_owned(),
            train_rows: calibrated.train_rows,
            validation_rows: calibrated.validation_rows,
            features: weights.features,
            weights: weights.weights(),
            best_epoch: calibrated.epoch,
            validation: Some(calibrated.report.clone()),
        };
        let mut manifest = manifest(self.dataset, self.options, self.network);
        manifest.temperature = calibrated.temperature;
        manifest.ood_threshold = Some(calibrated.ood_threshold);
        set_metrics(&mut manifest.metrics, &calibrated.report);
        Ok(Trained { model: Model::classifier(manifest, classifier), report })
    }

    fn first_phase(
        &mut self,
        train: &[usize],
        validation: &[usize],
    ) -> Result<Calibrated, NeuralError> {
        let space = self.space(train);
        let (train_rows, validation_rows) =
            (self.encode(&space, train), self.encode(&space, validation));
        let (members, epoch) = self.run(&space, &train_rows, &validation_rows, None)?;
        let labels = self.dataset.label_names.len();
        let (weights, pool) = match self.linear_path(&space, &train_rows) {
            None => (members, (1.0, 0.0)),
            Some(path) => {
                let first = run::logits(&members, &space, &validation_rows.rows);
                let second = path.predict(&validation_rows.rows);
                let pool = fit_weights(&first, &second, labels, &validation_rows.labels);
                (path.join(&members, pool), pool)
            }
        };
        let weights = rounded(weights);
        let mut logits = run::logits(&weights, &space, &validation_rows.rows);
        let temperature = fit_temperature(&logits, labels, &validation_rows.labels);
        let energies = energies(&logits, labels);
        let unseen: Vec<f32> = validation_rows.rows.iter().map(|row| row.unseen).collect();
        let distance = Distance::fit(&mut unseen.clone(), &mut energies.clone());
        let mut distances: Vec<f32> =
            unseen.iter().zip(&energies).map(|(u, e)| distance.of(*u, *e)).collect();
        distances.sort_by(f32::total_cmp);
        // At most one validation row in a hundred lies beyond the threshold.
        let threshold = (distances[(distances.len() - 1) * 99 / 100] * 1.0001).max(1.0);
        let outputs: Vec<ModelOutput> = logits
            .chunks_exact_mut(labels)
            .map(|row| {
                softmax(row, temperature);
                ModelOutput { scores: row.to_vec(), ood_distance: None, kernel: String::new() }
            })
            .collect();
        let part = self.dataset.part(|index, _| validation.binary_search(&index).is_ok());
        let manifest = manifest(self.dataset, self.options, self.network);
        Ok(Calibrated {
            temperature,
            weights: pool,
            distance,
            trained_energies: trained_energies(&weights, &space, &train_rows),
            ood_threshold: f64::from(threshold),
            report: crate::model::classification(&manifest, &outputs, &part),
            epoch,
            train_rows: train.len(),
            validation_rows: validation.len(),
        })
    }

    fn second_phase(
        &mut self,
        all: &[usize],
        calibrated: &Calibrated,
    ) -> Result<(FeatureSpace, NetworkWeights), NeuralError> {
        let space = self.space(all);
        let rows = self.encode(&space, all);
        let none = EncodedRows { rows: Vec::new(), labels: Vec::new() };
        let (members, _) = self.run(&space, &rows, &none, Some(calibrated))?;
        let weights = match self.linear_path(&space, &rows) {
            None => members,
            Some(path) => path.join(&members, calibrated.weights),
        };
        Ok((space, rounded(weights)))
    }

    fn space(&self, rows: &[usize]) -> FeatureSpace {
        let rows: Vec<_> = rows.iter().map(|row| &self.dataset.rows[*row]).collect();
        FeatureSpace::fit(&self.dataset.columns, &rows, self.recipe.features())
    }

    fn encode(&self, space: &FeatureSpace, rows: &[usize]) -> EncodedRows {
        EncodedRows {
            rows: rows.iter().map(|row| space.encode(&self.dataset.rows[*row], true)).collect(),
            labels: rows.iter().map(|row| self.dataset.labels[*row]).collect(),
        }
    }

    /// The linear path over the text features, where the recipe has one.
    fn linear_path(&self, space: &FeatureSpace, rows: &EncodedRows) -> Option<LinearPath> {
        let ranges = space.text_ranges();
        let options = LinearOptions {
            features: space.len(),
            labels: self.dataset.label_names.len(),
            ranges: &ranges,
            cost: self.recipe.cost,
            label_weights: &self.label_weights(&rows.labels),
            seed: self.options.seed,
        };
        let wanted = self.recipe.linear && !ranges.is_empty();
        wanted.then(|| LinearPath::fit(&options, &rows.rows, &rows.labels))
    }

    /// One run of the members.
    fn run(
        &mut self,
        space: &FeatureSpace,
        train: &EncodedRows,
        validation: &EncodedRows,
        calibrated: Option<&Calibrated>,
    ) -> Result<(NetworkWeights, u32), NeuralError> {
        let options = RunOptions {
            recipe: self.recipe,
            seed: self.options.seed,
            space,
            label_weights: self.label_weights(&train.labels),
            epochs: calibrated.map(|calibrated| calibrated.epoch),
        };
        let epochs_max = self.recipe.epochs_max;
        let batch_size = self.recipe.batch_size;
        let rows = self.dataset.rows.len();
        let (before, steps_max) = match calibrated {
            None => {
                let first = steps_per_epoch(train.rows.len(), batch_size);
                (0, (first + steps_per_epoch(rows, batch_size)) * u64::from(epochs_max))
            }
            Some(calibrated) => {
                let first = steps_per_epoch(calibrated.train_rows, batch_size);
                let first = first * u64::from(epochs_max);
                let second = steps_per_epoch(rows, batch_size) * u64::from(calibrated.epoch);
                (first, first + second)
            }
        };
        let progress = &mut *self.progress;
        let result = run::run(&options, train, validation, &mut |at| {
            progress(Progress {
                step: before + at.step,
                steps_max,
                epoch: at.epoch,
                epochs_max: calibrated.map_or(epochs_max, |calibrated| calibrated.epoch),
                loss: at.loss,
                validation_accuracy: at
                    .validation_accuracy
                    .or(calibrated.map(|calibrated| calibrated.report.accuracy)),
                refit: calibrated.is_some(),
            });
        })?;
        Ok((result.weights, result.epoch))
    }

    /// 1 for every label, or `rows / (labels * rows of the label)` when balanced.
    fn label_weights(&self, train: &[u32]) -> Vec<f32> {
        let labels = self.dataset.label_names.len();
        let mut counts = vec![0u32; labels];
        for label in train {
            counts[*label as usize] += 1;
        }
        let weight = |count: u32| {
            if self.options.balanced && count > 0 {
                train.len() as f32 / (labels as f32 * count as f32)
            } else {
                1.0
            }
        };
        counts.into_iter().map(weight).collect()
    }
}

/// Weights with the table rounded to what a folder keeps.
fn rounded(mut weights: NetworkWeights) -> NetworkWeights {
    crate::model::round_to_half(&mut weights.table);
    weights
}

fn train_forest(dataset: &Dataset, options: &TrainOptions) -> Result<Trained, NeuralError> {
    let forest = AnomalyModel::fit(&dataset.columns, &dataset.rows, options.seed)?;
    let mut manifest = manifest(dataset, options, Network::IsolationForest);
    manifest.task = ModelTask::Anomaly;
    manifest.labels = Vec::new();
    if manifest.positive_label.is_none() && dataset.label_names.len() == 2 {
        let rarer = crate::model::rarer(dataset);
        manifest.positive_label = Some(dataset.label_names[rarer].clone());
    }
    let (features, weights) = (forest.forest().features(), forest.forest().parts().left.len());
    let mut model = Model::anomaly(manifest, forest);
    let measurable = dataset.label_names.len() == 2 && dataset.labels.len() == dataset.rows.len();
    let validation = if measurable { Some(model.evaluate(dataset)?) } else { None };
    if let Some(report) = &validation {
        set_metrics(&mut model.manifest_mut().metrics, report);
    }
    let report = TrainReport {
        network: Network::IsolationForest.as_str().to_owned(),
        train_rows: dataset.rows.len(),
        validation_rows: 0,
        features,
        weights,
        best_epoch: 0,
        validation,
    };
    Ok(Trained { model, report })
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
