//! Neural models in burn: features, networks, training, calibration, explanations.
//!
//! Pure: bytes and rows in, bytes and scores out; no IO, no clock, and seeds are arguments.

mod dataset;
mod error;
mod model;
mod training;

pub use dataset::{Dataset, DatasetOptions, FeatureSelection};
pub use error::NeuralError;
pub use model::{Contribution, EvaluationReport, Model, ModelFiles, content_hash};
pub use training::{Network, Progress, TrainOptions, TrainReport, Trained, train};
