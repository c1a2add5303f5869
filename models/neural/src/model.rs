//! A model that answers.

use std::collections::BTreeMap;

use verdict_config::model::{ModelManifest, ModelOutput, ModelRow};

use crate::{Dataset, NeuralError};

/// A model folder: relative path to bytes.
pub type ModelFiles = BTreeMap<String, Vec<u8>>;

/// SHA-256, hex, over the lines `PATH SHA256\n` of the files in order of their paths: the identity
/// of a model version.
#[must_use]
pub fn content_hash(_files: &ModelFiles) -> String {
    String::new()
}

/// How much one part of a row speaks for a label.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Contribution {
    /// The column.
    pub column: String,
    /// The word (text), the category, or the value (numbers) that was read.
    pub feature: String,
    /// What the label's logit (or the anomaly score) gains by it.
    pub value: f32,
}

/// Measures of a model on labelled rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EvaluationReport {
    /// Rows.
    pub n: usize,
    /// Share of rows whose label has the highest score.
    pub accuracy: f64,
    /// Mean over labels of the harmonic mean of precision and recall.
    pub macro_f1: f64,
    /// Area under the ROC curve; for more than two labels the mean of one against the rest.
    pub auc: Option<f64>,
    /// Mean squared error of the probability (two labels), or summed over labels (more).
    pub brier: Option<f64>,
    /// Expected calibration error of the highest probability, 15 equal-width bins.
    pub ece: Option<f64>,
}

/// A trained model, immutable, shared by threads.
#[derive(Debug, Clone)]
pub struct Model {
    manifest: ModelManifest,
}

impl Model {
    /// Reads a model folder.
    ///
    /// # Errors
    /// [`NeuralError::Folder`] for whatever is missing, damaged or not finite.
    pub fn from_files(_files: &ModelFiles) -> Result<Self, NeuralError> {
        Err(NeuralError::folder("", "not a model folder"))
    }

    /// The folder's files; `from_files` gives the same model again, bit for bit.
    #[must_use]
    pub fn to_files(&self) -> ModelFiles {
        ModelFiles::new()
    }

    /// What the model is.
    #[must_use]
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// The same model under another name and version.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.manifest.name = name.into();
        self.manifest.version = version.into();
        self
    }

    /// Scores rows; a row's scores do not depend on the other rows.
    ///
    /// # Errors
    /// [`NeuralError::Input`] for the first row that does not fit.
    pub fn predict(&self, _rows: &[ModelRow]) -> Result<Vec<ModelOutput>, NeuralError> {
        Ok(Vec::new())
    }

    /// The parts of a row that speak most for (positive) or against (negative) a label, largest
    /// first by size, at most `top`.
    ///
    /// # Errors
    /// [`NeuralError::Input`] for a row that does not fit or a label out of range.
    pub fn explain(
        &self,
        _row: &ModelRow,
        _label: usize,
        _top: usize,
    ) -> Result<Vec<Contribution>, NeuralError> {
        Ok(Vec::new())
    }

    /// Measures the model on a dataset read by [`Dataset::for_model`]. Rows whose label the model
    /// does not know count as wrong.
    ///
    /// # Errors
    /// [`NeuralError::Input`] for a row that does not fit; [`NeuralError::Training`] without labels.
    pub fn evaluate(&self, _dataset: &Dataset) -> Result<EvaluationReport, NeuralError> {
        Err(NeuralError::training("the data has no labels"))
    }

    /// Memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }
}
