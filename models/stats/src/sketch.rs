//! Small summaries of distributions: quantiles that merge, and bins that compare.

mod kll;
mod reference;

pub use kll::{KllSketch, SketchError};
pub use reference::{CategoryReference, ReferenceBins, jensen_shannon, population_stability_index};
