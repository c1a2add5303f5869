//! What inference needs of a model, and where models come from. The seam behind which other
//! engines will take their place; the engine of today is `verdict-neural`.

use std::sync::Arc;

use verdict_config::Code;
use verdict_config::model::{ModelManifest, ModelOutput, ModelRow};
use verdict_neural::Contribution;

use crate::blobs::BlobStore;

/// A loaded model. Implementations are pure: the same row gives the same output, whatever else is
/// in its batch.
pub trait Scorer: Send + Sync {
    /// What the model is.
    fn manifest(&self) -> &ModelManifest;

    /// Scores rows, one output a row, in order.
    ///
    /// # Errors
    /// A row that does not fit the model.
    fn predict(&self, rows: &[ModelRow]) -> Result<Vec<ModelOutput>, ScoreError>;

    /// The parts of a row that speak most for or against a label, at most `top`.
    ///
    /// # Errors
    /// A row that does not fit the model, or a label out of range.
    fn explain(
        &self,
        row: &ModelRow,
        label: usize,
        top: usize,
    ) -> Result<Vec<Contribution>, ScoreError>;

    /// Memory it holds, in bytes.
    fn bytes(&self) -> usize;
}

/// Why a model cannot be loaded or cannot score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScoreError {
    /// The stable code.
    pub code: Code,
    /// What is wrong, in a sentence.
    pub detail: String,
}

/// Where models come from.
pub trait ModelLoader: Send + Sync {
    /// Loads the model of that content hash. Blocking; called on compute and blocking threads.
    ///
    /// # Errors
    /// It is absent, damaged or not of a known kind.
    fn load(&self, content_hash: &str) -> Result<Arc<dyn Scorer>, ScoreError>;
}

/// Loads models of `verdict-neural` from a blob store, each file verified against the folder's hash.
#[derive(Debug, Clone)]
pub struct NeuralLoader {
    store: BlobStore,
}

impl NeuralLoader {
    /// A loader over a store.
    #[must_use]
    pub const fn new(store: BlobStore) -> Self {
        Self { store }
    }
}

impl ModelLoader for NeuralLoader {
    fn load(&self, content_hash: &str) -> Result<Arc<dyn Scorer>, ScoreError> {
        let files = self
            .store
            .obtain(content_hash)
            .map_err(|error| ScoreError { code: error.code(), detail: error.to_string() })?;
        let model = verdict_neural::Model::from_files(&files).map_err(ScoreError::from)?;
        Ok(Arc::new(model))
    }
}

impl From<verdict_neural::NeuralError> for ScoreError {
    fn from(error: verdict_neural::NeuralError) -> Self {
        Self { code: error.code(), detail: error.to_string() }
    }
}

impl Scorer for verdict_neural::Model {
    fn manifest(&self) -> &ModelManifest {
        Self::manifest(self)
    }

    fn predict(&self, rows: &[ModelRow]) -> Result<Vec<ModelOutput>, ScoreError> {
        Self::predict(self, rows).map_err(ScoreError::from)
    }

    fn explain(
        &self,
        row: &ModelRow,
        label: usize,
        top: usize,
    ) -> Result<Vec<Contribution>, ScoreError> {
        Self::explain(self, row, label, top).map_err(ScoreError::from)
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}
