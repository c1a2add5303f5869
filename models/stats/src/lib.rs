//! Statistics of models and their inputs: how unusual a row is, how good and how honest scores are,
//! and small mergeable summaries of distributions.
//!
//! Pure and bounded: no IO and no clock; random choices come from a [`random::SeededRandom`] whose
//! seed is an argument, so equal arguments give equal results on every machine.
//!
//! ```
//! use verdict_stats::metrics;
//!
//! let scores = [0.1, 0.4, 0.35, 0.8];
//! let positive = [false, false, true, true];
//! assert_eq!(metrics::auc(&scores, &positive), Some(0.75));
//! ```

pub mod calibration;
pub mod forest;
pub mod metrics;
pub mod random;
pub mod sketch;
