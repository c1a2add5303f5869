//! Invented training data for the demo's models: pure functions from a seed to CSV texts.
//!
//! The texts are plausible, not real, and made so that no model can be perfect: classes share words,
//! some rows say nothing that tells, and a few labels are wrong, as in any data that people made. The
//! same seed gives the same bytes on every machine.
//!
//! | model | network | columns | label |
//! |---|---|---|---|
//! | `industry` | `ngram_mlp` | name, description | 16 NAICS sectors |
//! | `payment-risk` | `joined_mlp` | basket, and what the flow `payment` knows | fraud, legit |
//! | `message-fraud` | `ngram_mlp` | text | fraud, ham |
//! | `payment-anomaly` | `isolation_forest` | the numbers of a payment | anomaly, normal (for `eval` only) |

mod industry;
mod messages;
mod payments;
mod seeded;

use seeded::Seeded;

/// Names of the demo's models, each of which has a training set.
pub const MODELS: [&str; 4] = ["industry", "payment-risk", "message-fraud", "payment-anomaly"];

/// Rows of each training set.
pub const ROWS: usize = 3_000;

/// The seed that the demo's models are trained with.
pub const SEED: u64 = 20_260_101;

/// What `verdict train` needs to make one of the demo's models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingSet {
    /// The model's name.
    pub model: &'static str,
    /// Its network.
    pub network: &'static str,
    /// The column of labels.
    pub label: &'static str,
    /// Columns of free text.
    pub text: &'static [&'static str],
    /// Columns of numbers and categories.
    pub features: &'static [&'static str],
    /// Header and [`ROWS`] lines.
    pub csv: String,
}

/// The training set of a demo model; `None` if the demo has no such model.
#[must_use]
pub fn training_set(model: &str, seed: u64) -> Option<TrainingSet> {
    let set = match model {
        "industry" => TrainingSet {
            model: "industry",
            network: "ngram_mlp",
            label: "label",
            text: &["name", "description"],
            features: &[],
            csv: industry::csv(&mut Seeded::new(seed), ROWS),
        },
        "payment-risk" => TrainingSet {
            model: "payment-risk",
            network: "joined_mlp",
            label: "label",
            text: &["basket"],
            features: payments::RISK_FEATURES,
            csv: payments::risk_csv(&mut Seeded::new(seed ^ 1), ROWS),
        },
        "message-fraud" => TrainingSet {
            model: "message-fraud",
            network: "ngram_mlp",
            label: "label",
            text: &["text"],
            features: &[],
            csv: messages::csv(&mut Seeded::new(seed ^ 2), ROWS),
        },
        "payment-anomaly" => TrainingSet {
            model: "payment-anomaly",
            network: "isolation_forest",
            label: "label",
            text: &[],
            features: payments::ANOMALY_FEATURES,
            csv: payments::anomaly_csv(&mut Seeded::new(seed ^ 3), ROWS),
        },
        _ => return None,
    };
    Some(set)
}

#[cfg(test)]
mod tests;
