//! Model manifests (`model.json`) and the rows that models read.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelTask {
    /// One of several labels.
    Classification,
    /// How unusual a row is.
    Anomaly,
}

/// How a column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Free text.
    Text,
    /// A number; absent is allowed.
    Number,
    /// One of a set of texts; unknown ones are allowed.
    Category,
}

/// One input column of a model. In a flow it is read from the field of the same name, or from the
/// one named in `field`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelColumn {
    /// The column's name in the training data.
    pub name: String,
    /// How it is read.
    pub kind: ColumnKind,
}

/// `model.json`: what a model version is and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelManifest {
    /// Format of the folder; 1.
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// The version, for people; the folder's content hash identifies it.
    pub version: String,
    /// What it answers.
    pub task: ModelTask,
    /// The network: `ngram_mlp`, `tabular_mlp`, `joined_mlp`, `isolation_forest`.
    pub network: String,
    /// Labels in the order of scores; empty for anomaly models (one score).
    pub labels: Vec<String>,
    /// The label whose probability is the risk score, for two-class models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive_label: Option<String>,
    /// Input columns, in the order of a row.
    pub columns: Vec<ModelColumn>,
    /// Calibration: temperature of the softmax.
    pub temperature: f64,
    /// Distance from the training data from which on a row is out of distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood_threshold: Option<f64>,
    /// Measures on the validation part (`accuracy`, `macro_f1`, `auc`, `brier`, `ece`, `n`).
    pub metrics: IndexMap<String, f64>,
    /// SHA-256 of the training data file, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_data_sha256: Option<String>,
    /// Seed of the training run.
    pub seed: u64,
    /// Content hash of the version this one was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Licence of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Input distributions at training time, open JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_profile: Option<serde_json::Value>,
}

/// One cell of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelValue {
    /// Absent.
    Missing,
    /// Text or category.
    Text(String),
    /// Number.
    Number(f64),
}

/// One row, one cell a column of the manifest.
pub type ModelRow = Vec<ModelValue>;

/// What a model answers to one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelOutput {
    /// Calibrated probability of each label; one anomaly score in 0 to 1 for anomaly models.
    pub scores: Vec<f32>,
    /// Distance from the training data, where the model has one.
    pub ood_distance: Option<f32>,
    /// The kernel that computed it (`flex`, `isolation_forest`), for replay.
    pub kernel: String,
}

/// One file of a model folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The catalogue's object of one model version: never the bytes, only what names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelObject {
    /// What the folder's `model.json` says.
    pub manifest: ModelManifest,
    /// The folder's files, sorted by path.
    pub files: Vec<ModelFile>,
    /// [`content_hash`] of the files; the name of the folder in every store.
    pub content_hash: String,
}

impl ModelObject {
    /// Describes a folder by its files.
    ///
    /// # Errors
    /// A sentence, if `model.json` is missing or cannot be read.
    pub fn describe(files: &std::collections::BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        let manifest = files.get("model.json").ok_or("the folder has no model.json")?;
        let manifest =
            serde_json::from_slice(manifest).map_err(|error| format!("model.json: {error}"))?;
        let files: Vec<ModelFile> = files
            .iter()
            .map(|(path, bytes)| ModelFile {
                path: path.clone(),
                sha256: sha256_hex(bytes),
                size: bytes.len() as u64,
            })
            .collect();
        let content_hash = content_hash(&files);
        Ok(Self { manifest, files, content_hash })
    }
}

/// SHA-256 over the lines `SHA256  PATH\n` of the files sorted by path, 64 hex digits (what
/// `sha256sum * | sha256sum` prints in a sorted folder).
#[must_use]
pub fn content_hash(files: &[ModelFile]) -> String {
    let mut sorted: Vec<&ModelFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let text: String =
        sorted.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
    sha256_hex(text.as_bytes())
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}
