//! A model that answers: what a folder holds, once read and checked.

mod anomaly;
mod classifier;
mod evaluation;
mod files;
mod profile;

use std::collections::BTreeMap;

use verdict_config::model::{ModelManifest, ModelOutput, ModelRow};

pub use evaluation::EvaluationReport;
pub use files::content_hash;
pub use profile::reference_profile;

pub(crate) use anomaly::AnomalyModel;
pub(crate) use classifier::{Classifier, Distance, Spread, energy};
pub(crate) use evaluation::{classification, rarer};
pub(crate) use files::round_to_half;

use crate::network::NetworkWeights;
use crate::{Dataset, NeuralError};

/// A model folder: relative path to bytes.
pub type ModelFiles = BTreeMap<String, Vec<u8>>;

/// How much one part of a row speaks for a label.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Contribution {
    /// The column.
    pub column: String,
    /// The word (texts), category or number that was read.
    pub feature: String,
    /// How much the label's log-odds fall without the word, or with a typical value instead of this
    /// one; for anomaly models the share of the shortened path.
    pub value: f32,
}

/// A trained model, immutable, shared by threads.
#[derive(Debug, Clone)]
pub struct Model {
    manifest: ModelManifest,
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Classifier(Box<Classifier>),
    Anomaly(Box<AnomalyModel>),
}

impl Model {
    /// Reads a model folder: `model.json`, `features.json` and `weights.safetensors`. Other files
    /// are ignored.
    ///
    /// # Errors
    /// [`NeuralError::Folder`] for whatever is missing, damaged, of a newer format or not finite.
    pub fn from_files(files: &ModelFiles) -> Result<Self, NeuralError> {
        files::read(files)
    }

    /// The folder's files; `from_files` gives the same model again, bit for bit.
    #[must_use]
    pub fn to_files(&self) -> ModelFiles {
        files::write(self)
    }

    pub(crate) fn classifier(manifest: ModelManifest, classifier: Classifier) -> Self {
        Self { manifest, engine: Engine::Classifier(Box::new(classifier)) }
    }

    pub(crate) fn anomaly(manifest: ModelManifest, anomaly: AnomalyModel) -> Self {
        Self { manifest, engine: Engine::Anomaly(Box::new(anomaly)) }
    }

    /// What the model is.
    #[must_use]
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    pub(crate) fn manifest_mut(&mut self) -> &mut ModelManifest {
        &mut self.manifest
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
    pub fn predict(&self, rows: &[ModelRow]) -> Result<Vec<ModelOutput>, NeuralError> {
        match &self.engine {
            Engine::Classifier(classifier) => classifier.predict(&self.manifest, rows),
            Engine::Anomaly(anomaly) => anomaly.predict(&self.manifest, rows),
        }
    }

    /// The parts of a row that speak most for (positive) or against (negative) a label, largest
    /// first by size, at most `top`. Anomaly models have one label, 0.
    ///
    /// # Errors
    /// [`NeuralError::Input`] for a row that does not fit or a label out of range.
    pub fn explain(
        &self,
        row: &ModelRow,
        label: usize,
        top: usize,
    ) -> Result<Vec<Contribution>, NeuralError> {
        let mut contributions = match &self.engine {
            Engine::Classifier(classifier) => classifier.explain(&self.manifest, row, label)?,
            Engine::Anomaly(anomaly) => anomaly.explain(&self.manifest, row, label)?,
        };
        contributions.retain(|contribution| contribution.value != 0.0);
        contributions.sort_by(|left, right| right.value.abs().total_cmp(&left.value.abs()));
        contributions.truncate(top);
        Ok(contributions)
    }

    /// Measures the model on a dataset read by [`Dataset::for_model`]. Rows whose label the model
    /// does not know count as wrong.
    ///
    /// # Errors
    /// [`NeuralError::Input`] for a row that does not fit; [`NeuralError::Training`] without labels.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<EvaluationReport, NeuralError> {
        if dataset.labels.len() != dataset.rows.len() || dataset.rows.is_empty() {
            return Err(NeuralError::training("evaluation needs rows with labels"));
        }
        let outputs = self.predict(&dataset.rows)?;
        match &self.engine {
            Engine::Classifier(_) => {
                Ok(evaluation::classification(&self.manifest, &outputs, dataset))
            }
            Engine::Anomaly(_) => evaluation::anomaly(&self.manifest, &outputs, dataset),
        }
    }

    /// Memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.engine {
            Engine::Classifier(classifier) => classifier.bytes(),
            Engine::Anomaly(anomaly) => anomaly.bytes(),
        }
    }

    /// The weights of the network as trained, for [`crate::network::BagNetwork`]; `None` for
    /// anomaly models.
    #[must_use]
    pub fn network_weights(&self) -> Option<NetworkWeights> {
        match &self.engine {
            Engine::Classifier(classifier) => Some(classifier.trained_weights()),
            Engine::Anomaly(_) => None,
        }
    }

    /// The dense feature rows that [`crate::network::BagNetwork`] takes, row-major; `None` for
    /// anomaly models.
    ///
    /// # Errors
    /// [`NeuralError::Input`] for the first row that does not fit.
    pub fn dense_features(&self, rows: &[ModelRow]) -> Result<Option<Vec<f32>>, NeuralError> {
        match &self.engine {
            Engine::Classifier(classifier) => classifier.dense(&self.manifest, rows).map(Some),
            Engine::Anomaly(_) => Ok(None),
        }
    }
}
