//! Neural models in burn: features, networks, training, calibration, explanations.
//!
//! Pure: bytes and rows in, bytes and scores out; no IO, no clock, and seeds are arguments.
//!
//! The way of a model: [`Dataset::from_csv`] reads labelled rows, [`train`] makes a [`Model`],
//! [`Model::to_files`] gives its folder, [`Model::from_files`] reads it elsewhere,
//! [`Model::predict`] answers with calibrated probabilities and a distance from the training data,
//! and [`Model::explain`] says which words and values they come from.
//!
//! The trade-off: one network (a [`network::BagNetwork`]) serves texts, tables and both together.
//! It is small and fast on a CPU and at least as good as the classical baselines on the data it is
//! made for; it knows nothing of language beyond its training data, which encoders will.
//!
//! ```
//! use verdict_neural::{Dataset, DatasetOptions, TrainOptions, train};
//!
//! let mut file = String::from("text,label\n");
//! for index in 0..40 {
//!     file.push_str(&format!("win cash now {index},spam\nsee you at home {index},ham\n"));
//! }
//! let options = DatasetOptions {
//!     label: Some("label".into()),
//!     text: vec!["text".into()],
//!     ..DatasetOptions::default()
//! };
//! let dataset = Dataset::from_csv(file.as_bytes(), &options).map_err(|faults| faults[0].to_string())?;
//! let trained = train(&dataset, &TrainOptions::default(), &mut |_| ()).map_err(|e| e.to_string())?;
//! let output = trained.model.predict(&dataset.rows[..1]).map_err(|e| e.to_string())?;
//! assert_eq!(trained.model.manifest().labels, ["ham", "spam"]);
//! assert!(output[0].scores[1] > 0.5);
//! # Ok::<(), String>(())
//! ```

mod dataset;
mod error;
mod features;
mod kernel;
mod model;
pub mod network;
mod split;
mod training;

pub use dataset::{Dataset, DatasetOptions, FeatureSelection};
pub use error::NeuralError;
pub use features::ngrams::normalise;
pub use model::{
    Contribution, EvaluationReport, Model, ModelFiles, content_hash, reference_profile,
};
pub use split::{is_in_part, row_hash};
pub use training::{
    Network, Progress, Recipe, TrainOptions, TrainReport, Trained, planned_manifest, train,
};
