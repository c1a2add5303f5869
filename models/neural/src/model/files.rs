//! Model folders: written and read, never executed.
//!
//! `model.json` is the manifest, `features.json` what the columns mean and how large the network
//! is, `weights.safetensors` everything that is long. A folder comes from anywhere, so every size
//! is checked before it is used and every number before it is believed.

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use verdict_config::model::{ColumnKind, ModelManifest, ModelTask};
use verdict_stats::forest::{ForestParts, IsolationForest};

use super::anomaly::AnomalyColumn;
use super::{AnomalyModel, Classifier, Distance, Engine, Model, ModelFiles};
use crate::NeuralError;
use crate::features::category::CategoryValues;
use crate::features::number::NumberBins;
use crate::features::vocabulary::Vocabulary;
use crate::features::{ColumnFeatures, FeatureSpace};
use crate::network::{LayerWeights, NetworkShape, NetworkWeights};

const MANIFEST: &str = "model.json";
const FEATURES: &str = "features.json";
const WEIGHTS: &str = "weights.safetensors";
/// The format of folders that are written.
const FORMAT: u32 = 1;
/// A safetensors header at most.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// A JSON file at most.
const JSON_BYTES_MAX: usize = 16 << 20;

/// SHA-256, hex, over the lines `PATH SHA256\n` of the files in order of their paths: the identity
/// of a model version.
#[must_use]
pub fn content_hash(files: &ModelFiles) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in files {
        hash.update(format!("{path} {}\n", hex::encode(Sha256::digest(bytes))));
    }
    hex::encode(hash.finalize())
}

/// `features.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeaturesFile {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<NetworkShape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distance: Option<Distance>,
    columns: Vec<ColumnFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ColumnFile {
    /// A text; its n-grams stand in the weights.
    Text {
        ngrams: usize,
    },
    Number(NumberBins),
    Category(CategoryValues),
    Anomaly(AnomalyColumn),
}

/// The folder of a model.
pub fn write(model: &Model) -> ModelFiles {
    let mut tensors = Tensors::default();
    let features = match &model.engine {
        Engine::Classifier(classifier) => write_classifier(classifier, &mut tensors),
        Engine::Anomaly(anomaly) => write_anomaly(anomaly, &mut tensors),
    };
    // Neither can fail: the types hold nothing that JSON or safetensors cannot.
    let json = |value: Result<Vec<u8>, serde_json::Error>| value.unwrap_or_default();
    ModelFiles::from([
        (MANIFEST.to_owned(), json(serde_json::to_vec_pretty(&model.manifest))),
        (FEATURES.to_owned(), json(serde_json::to_vec(&features))),
        (WEIGHTS.to_owned(), tensors.write()),
    ])
}

fn write_classifier(classifier: &Classifier, tensors: &mut Tensors) -> FeaturesFile {
    let weights = classifier.trained_weights();
    let shape = weights.shape;
    tensors.half("table", vec![shape.features, shape.width()], &weights.table);
    tensors.floats("bias", vec![shape.width()], &weights.bias);
    for (index, (layer, (inputs, outputs))) in weights.layers.iter().zip(shape.layers()).enumerate()
    {
        let sizes = vec![shape.members, inputs, outputs];
        tensors.floats(&format!("layers.{index}.weight"), sizes, &layer.weight);
        tensors.floats(&format!("layers.{index}.bias"), vec![shape.members, outputs], &layer.bias);
    }
    let columns =
        classifier.space().columns().iter().enumerate().map(|(index, column)| match column {
            ColumnFeatures::Text(vocabulary) => {
                let (names, idf, word) = vocabulary.parts();
                tensors.words(&format!("columns.{index}.names"), names);
                tensors.floats(&format!("columns.{index}.idf"), vec![idf.len()], idf);
                let word = word.iter().map(|word| u8::from(*word)).collect();
                tensors.push(&format!("columns.{index}.word"), Dtype::U8, vec![idf.len()], word);
                ColumnFile::Text { ngrams: vocabulary.len() }
            }
            ColumnFeatures::Number(bins) => ColumnFile::Number(bins.clone()),
            ColumnFeatures::Category(values) => ColumnFile::Category(values.clone()),
        });
    let columns = columns.collect();
    let distance = Some(classifier.distance());
    FeaturesFile { format: FORMAT, shape: Some(shape), distance, columns }
}

fn write_anomaly(anomaly: &AnomalyModel, tensors: &mut Tensors) -> FeaturesFile {
    let parts = anomaly.forest().parts();
    tensors.integers("forest.sizes", &[parts.features, parts.sample]);
    tensors.integers("forest.roots", &parts.roots);
    tensors.integers("forest.split_features", &parts.split_features);
    tensors.floats("forest.thresholds", vec![parts.thresholds.len()], &parts.thresholds);
    tensors.integers("forest.left", &parts.left);
    tensors.integers("forest.rows", &parts.rows);
    let columns = anomaly.columns().iter().cloned().map(ColumnFile::Anomaly).collect();
    FeaturesFile { format: FORMAT, shape: None, distance: None, columns }
}

/// Tensors to be written.
#[derive(Default)]
struct Tensors(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn push(&mut self, name: &str, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) {
        self.0.push((name.to_owned(), dtype, shape, bytes));
    }

    fn floats(&mut self, name: &str, shape: Vec<usize>, values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.push(name, Dtype::F32, shape, bytes);
    }

    fn half(&mut self, name: &str, shape: Vec<usize>, values: &[f32]) {
        let bytes = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        self.push(name, Dtype::F16, shape, bytes);
    }

    fn integers(&mut self, name: &str, values: &[u32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.push(name, Dtype::U32, vec![values.len()], bytes);
    }

    fn words(&mut self, name: &str, values: &[u64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.push(name, Dtype::U64, vec![values.len()], bytes);
    }

    fn write(&self) -> Vec<u8> {
        let views = self.0.iter().filter_map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).ok()?;
            Some((name.clone(), view))
        });
        safetensors::serialize(views, None).unwrap_or_default()
    }
}

/// The model of a folder.
pub fn read(files: &ModelFiles) -> Result<Model, NeuralError> {
    let manifest: ModelManifest = json(files, MANIFEST)?;
    let newer = |file: &str, format: u32| {
        NeuralError::folder(file, format!("format {format}, this program reads {FORMAT}"))
    };
    if manifest.format != FORMAT {
        return Err(newer(MANIFEST, manifest.format));
    }
    let features: FeaturesFile = json(files, FEATURES)?;
    if features.format != FORMAT {
        return Err(newer(FEATURES, features.format));
    }
    check_manifest(&manifest)?;
    if features.columns.len() != manifest.columns.len() {
        return Err(NeuralError::folder(FEATURES, "not as many columns as model.json has"));
    }
    let bytes = file(files, WEIGHTS)?;
    let tensors = Reader::open(bytes)?;
    match manifest.task {
        ModelTask::Classification => {
            let classifier = read_classifier(&manifest, features, &tensors)?;
            Ok(Model::classifier(manifest, classifier))
        }
        ModelTask::Anomaly => {
            let anomaly = read_anomaly(features, &tensors)?;
            Ok(Model::anomaly(manifest, anomaly))
        }
    }
}

fn file<'a>(files: &'a ModelFiles, name: &str) -> Result<&'a [u8], NeuralError> {
    files.get(name).map(Vec::as_slice).ok_or_else(|| NeuralError::folder(name, "is missing"))
}

fn json<T: serde::de::DeserializeOwned>(files: &ModelFiles, name: &str) -> Result<T, NeuralError> {
    let bytes = file(files, name)?;
    if bytes.len() > JSON_BYTES_MAX {
        return Err(NeuralError::folder(name, format!("more than {JSON_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let detail = if error.is_data() {
            format!("not what a model folder of this version holds, at {place}")
        } else {
            format!("damaged at {place}: it is not JSON from there on")
        };
        NeuralError::folder(name, detail)
    })
}

fn check_manifest(manifest: &ModelManifest) -> Result<(), NeuralError> {
    let refuse = |detail: &str| Err(NeuralError::folder(MANIFEST, detail));
    let distinct: std::collections::BTreeSet<&String> = manifest.labels.iter().collect();
    if !(manifest.temperature.is_finite() && manifest.temperature > 0.0) {
        return refuse("`temperature` must be above 0");
    }
    if distinct.len() != manifest.labels.len() {
        return refuse("a label stands twice");
    }
    if manifest.positive_label.as_ref().is_some_and(|label| {
        manifest.task == ModelTask::Classification && !distinct.contains(label)
    }) {
        return refuse("`positive_label` is none of the labels");
    }
    match manifest.task {
        ModelTask::Classification if manifest.labels.len() < 2 => refuse("fewer than two labels"),
        ModelTask::Anomaly if !manifest.labels.is_empty() => {
            refuse("an anomaly model has no labels")
        }
        ModelTask::Classification | ModelTask::Anomaly => Ok(()),
    }
}

fn read_classifier(
    manifest: &ModelManifest,
    features: FeaturesFile,
    tensors: &Reader<'_>,
) -> Result<Classifier, NeuralError> {
    let refuse = |detail: &str| NeuralError::folder(FEATURES, detail);
    let shape = features.shape.ok_or_else(|| refuse("`shape` is missing"))?;
    let distance = features.distance.ok_or_else(|| refuse("`distance` is missing"))?;
    if !shape.is_sound() || shape.labels != manifest.labels.len() {
        return Err(refuse("`shape` is out of range or not that of the labels"));
    }
    if !distance.is_sound() {
        return Err(refuse("`distance` is not finite"));
    }
    let mut columns = Vec::with_capacity(features.columns.len());
    for (index, (column, stated)) in features.columns.into_iter().zip(&manifest.columns).enumerate()
    {
        let read = match (column, stated.kind) {
            (ColumnFile::Text { ngrams }, ColumnKind::Text) => {
                ColumnFeatures::Text(read_vocabulary(index, ngrams, tensors)?)
            }
            (ColumnFile::Number(bins), ColumnKind::Number) if bins.is_sound() => {
                ColumnFeatures::Number(bins)
            }
            (ColumnFile::Category(values), ColumnKind::Category) if values.is_sound() => {
                ColumnFeatures::Category(values)
            }
            (ColumnFile::Text { .. } | ColumnFile::Number(_), _)
            | (ColumnFile::Category(_) | ColumnFile::Anomaly(_), _) => {
                return Err(refuse(&format!("column `{}` is damaged", stated.name)));
            }
        };
        columns.push(read);
    }
    let space = FeatureSpace::assemble(columns);
    if space.len() != shape.features {
        return Err(refuse("`shape` is not that of the columns"));
    }
    let mut layers = Vec::with_capacity(shape.depth);
    for (index, (inputs, outputs)) in shape.layers().into_iter().enumerate() {
        let sizes = [shape.members, inputs, outputs];
        let weight = tensors.floats(&format!("layers.{index}.weight"), &sizes)?;
        let bias = tensors.floats(&format!("layers.{index}.bias"), &[shape.members, outputs])?;
        layers.push(LayerWeights { weight, bias });
    }
    let table = tensors.floats("table", &[shape.features, shape.width()])?;
    let bias = tensors.floats("bias", &[shape.width()])?;
    let weights = NetworkWeights { shape, table, bias, layers };
    Ok(Classifier::new(space, weights, distance))
}

fn read_vocabulary(
    column: usize,
    ngrams: usize,
    tensors: &Reader<'_>,
) -> Result<Vocabulary, NeuralError> {
    let names = tensors.words(&format!("columns.{column}.names"), ngrams)?;
    let idf = tensors.floats(&format!("columns.{column}.idf"), &[ngrams])?;
    let word = tensors.take(&format!("columns.{column}.word"), Dtype::U8, &[ngrams])?;
    let word = word.iter().map(|byte| *byte != 0).collect();
    Vocabulary::from_parts(names, idf, word).ok_or_else(|| {
        NeuralError::folder(WEIGHTS, format!("the n-grams of column {column} are damaged"))
    })
}

fn read_anomaly(features: FeaturesFile, tensors: &Reader<'_>) -> Result<AnomalyModel, NeuralError> {
    let mut columns = Vec::with_capacity(features.columns.len());
    for column in features.columns {
        let ColumnFile::Anomaly(column) = column else {
            return Err(NeuralError::folder(
                FEATURES,
                "a column is not one of an isolation forest",
            ));
        };
        columns.push(column);
    }
    let sizes = tensors.integers("forest.sizes")?;
    let [features, sample] = sizes[..] else {
        return Err(NeuralError::folder(WEIGHTS, "`forest.sizes` is not two numbers"));
    };
    let left = tensors.integers("forest.left")?;
    let parts = ForestParts {
        features,
        sample,
        roots: tensors.integers("forest.roots")?,
        split_features: tensors.integers("forest.split_features")?,
        thresholds: tensors.floats("forest.thresholds", &[left.len()])?,
        left,
        rows: tensors.integers("forest.rows")?,
    };
    let forest = IsolationForest::from_parts(parts)
        .map_err(|error| NeuralError::folder(WEIGHTS, error.to_string()))?;
    AnomalyModel::from_parts(columns, forest)
        .ok_or_else(|| NeuralError::folder(FEATURES, "the columns are not those of the forest"))
}

/// Tensors of a file, each checked for type, shape and finite values.
struct Reader<'a>(SafeTensors<'a>);

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, NeuralError> {
        let refuse = |detail: String| NeuralError::folder(WEIGHTS, detail);
        let header: Option<[u8; 8]> = bytes.get(..8).and_then(|head| head.try_into().ok());
        match header.map(u64::from_le_bytes) {
            None => return Err(refuse("shorter than a header".to_owned())),
            Some(header) if header > HEADER_BYTES_MAX => {
                return Err(refuse(format!("a header of more than {HEADER_BYTES_MAX} bytes")));
            }
            Some(_) => {}
        }
        let damaged = "damaged: its header or its lengths are not those of a safetensors file";
        SafeTensors::deserialize(bytes).map(Self).map_err(|_| refuse(damaged.to_owned()))
    }

    fn take(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8], NeuralError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            let detail =
                format!("the weights `{name}` have another type or shape than the features say");
            return Err(NeuralError::folder(WEIGHTS, detail));
        }
        Ok(tensor.data())
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'a>, NeuralError> {
        self.0
            .tensor(name)
            .map_err(|_| NeuralError::folder(WEIGHTS, format!("`{name}` is missing")))
    }

    /// A tensor of 16- or 32-bit floats.
    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NeuralError> {
        let half = self.tensor(name)?.dtype() == Dtype::F16;
        let values: Vec<f32> = if half {
            let bytes = self.take(name, Dtype::F16, shape)?.as_chunks::<2>().0;
            bytes.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
        } else {
            let bytes = self.take(name, Dtype::F32, shape)?.as_chunks::<4>().0;
            bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(NeuralError::folder(WEIGHTS, format!("`{name}` has values that are not finite")))
        }
    }

    fn integers(&self, name: &str) -> Result<Vec<u32>, NeuralError> {
        let length = self.tensor(name)?.shape().first().copied().unwrap_or(0);
        let bytes = self.take(name, Dtype::U32, &[length])?.as_chunks::<4>().0;
        Ok(bytes.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    fn words(&self, name: &str, length: usize) -> Result<Vec<u64>, NeuralError> {
        let bytes = self.take(name, Dtype::U64, &[length])?.as_chunks::<8>().0;
        Ok(bytes.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }
}

/// Rounds values to what the folder keeps, so that a model answers the same before it is written
/// and after it is read.
pub fn round_to_half(values: &mut [f32]) {
    for value in values {
        *value = f16::from_f32(value.clamp(-65_000.0, 65_000.0)).to_f32();
    }
}
