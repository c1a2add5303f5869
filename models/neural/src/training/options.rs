//! What to train, how, and what came of it.

use verdict_config::model::ColumnKind;

use super::Recipe;
use crate::{Dataset, EvaluationReport, Model};

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
