//! Labelled rows: columns, cells and labels, read from CSV.

use verdict_config::Faults;
use verdict_config::model::{ModelColumn, ModelManifest, ModelRow};

/// Which columns, beside the texts, a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FeatureSelection {
    /// None: the texts alone.
    #[default]
    None,
    /// Every column that is neither the label nor one of the texts.
    All,
    /// These.
    Columns(Vec<String>),
}

/// How a CSV file becomes a [`Dataset`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetOptions {
    /// The label column; `None` reads rows without labels.
    pub label: Option<String>,
    /// The text columns.
    pub text: Vec<String>,
    /// The other columns. With no text and `None`, all columns are read.
    pub features: FeatureSelection,
}

/// Rows with their columns and, where known, labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// The columns, in the order of a row's cells.
    pub columns: Vec<ModelColumn>,
    /// The rows.
    pub rows: Vec<ModelRow>,
    /// The distinct labels, sorted.
    pub label_names: Vec<String>,
    /// The label of each row as an index into `label_names`; empty where none was read.
    pub labels: Vec<u32>,
    /// SHA-256 of the file it was read from, hex.
    pub sha256: Option<String>,
}

impl Dataset {
    /// Reads a CSV file (UTF-8, header line, RFC 4180 quotes); kinds of columns are inferred.
    ///
    /// # Errors
    /// Every fault found (up to 100), each naming its row and column.
    pub fn from_csv(_bytes: &[u8], _options: &DatasetOptions) -> Result<Self, Faults> {
        Ok(Self::default())
    }

    /// Reads the columns of a model from a CSV file, with the kinds that the model gives them.
    ///
    /// # Errors
    /// Every fault found (up to 100), each naming its row and column.
    pub fn for_model(
        _bytes: &[u8],
        _manifest: &ModelManifest,
        _label: Option<&str>,
    ) -> Result<Self, Faults> {
        Ok(Self::default())
    }
}
