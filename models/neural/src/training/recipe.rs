//! How a network is sized and trained unless options say otherwise.

use crate::features::FeatureOptions;
use crate::network::NetworkShape;
use crate::training::Network;

/// Sizes and rates of one training run. [`Recipe::choose`] gives values that were measured on real
/// data sets (see `benches/RESULTS.md`); a caller may change any of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// Independent perceptrons.
    pub members: usize,
    /// Width of each.
    pub hidden: usize,
    /// Layers of each above its bag.
    pub depth: usize,
    /// Whether a linear path over texts runs beside them.
    pub linear: bool,
    /// The linear path's cost of a missed margin.
    pub cost: f32,
    /// Passes over the data at most.
    pub epochs_max: u32,
    /// Epochs without progress on the validation part after which training stops.
    pub patience: u32,
    /// Rows a step.
    pub batch_size: usize,
    /// Peak step size of the layers.
    pub rate: f64,
    /// Peak step size of rows of the table that belong to texts and categories.
    pub rate_sparse: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Share of text features hidden in a step.
    pub dropout_features: f32,
    /// Share of hidden units silenced in a step.
    pub dropout_hidden: f32,
    /// Probability mass spread over all labels.
    pub label_smoothing: f32,
    /// Standard deviation of a unit's initial input.
    pub gain: f32,
    /// Texts an n-gram must occur in.
    pub documents_min: u32,
    /// N-grams at most.
    pub ngrams_max: usize,
    /// Bins of a number at most.
    pub bins_max: usize,
}

/// Weights of the first layer at most: 40 MB on disk at two bytes each.
const TABLE_WEIGHTS_MAX: usize = 19_000_000;
/// Labels up to which a linear path is affordable.
const LINEAR_LABELS_MAX: usize = 100;

impl Recipe {
    /// The recipe for a network with so many labels and rows.
    #[must_use]
    pub fn choose(network: Network, labels: usize, rows: usize) -> Self {
        let mut recipe = match network {
            Network::NgramMlp => Self::ngram(),
            Network::TabularMlp | Network::IsolationForest => Self::tabular(),
            Network::JoinedMlp => Self::joined(),
        };
        if labels > LINEAR_LABELS_MAX {
            // Many labels: a linear path would be most of the folder; wider members instead.
            recipe.linear = false;
            recipe.members = 1;
            recipe.hidden = 256;
        }
        // Few rows: small steps are needed, whatever they cost.
        recipe.batch_size = recipe.batch_size.min((rows / 16).clamp(4, 512));
        recipe.fit_table(labels);
        recipe
    }

    /// Bounds the vocabulary so that the first layer fits its share of the folder.
    pub(crate) fn fit_table(&mut self, labels: usize) {
        let width = self.members * self.hidden + if self.linear { labels } else { 0 };
        self.ngrams_max = self.ngrams_max.min(TABLE_WEIGHTS_MAX / width.max(1));
    }

    const fn ngram() -> Self {
        Self {
            members: 4,
            hidden: 32,
            depth: 1,
            linear: true,
            cost: 1.0,
            epochs_max: 20,
            patience: 5,
            batch_size: 64,
            rate: 2e-3,
            rate_sparse: 5e-3,
            weight_decay: 0.01,
            dropout_features: 0.1,
            dropout_hidden: 0.2,
            label_smoothing: 0.0,
            gain: 0.5,
            documents_min: 1,
            ngrams_max: 1 << 17,
            bins_max: 32,
        }
    }

    const fn tabular() -> Self {
        Self {
            members: 8,
            hidden: 64,
            depth: 2,
            linear: false,
            cost: 1.0,
            epochs_max: 30,
            patience: 6,
            batch_size: 256,
            rate: 1e-3,
            rate_sparse: 1e-3,
            weight_decay: 0.05,
            dropout_features: 0.0,
            dropout_hidden: 0.2,
            label_smoothing: 0.0,
            gain: 1.0,
            documents_min: 1,
            ngrams_max: 1 << 17,
            bins_max: 32,
        }
    }

    const fn joined() -> Self {
        let tabular = Self::tabular();
        Self {
            members: 4,
            hidden: 48,
            rate_sparse: 5e-3,
            batch_size: 128,
            dropout_features: 0.1,
            linear: true,
            ..tabular
        }
    }

    pub(crate) const fn features(&self) -> FeatureOptions {
        FeatureOptions {
            documents_min: self.documents_min,
            ngrams_max: self.ngrams_max,
            bins_max: self.bins_max,
        }
    }

    /// The shape of the members alone, without the linear path.
    pub(crate) const fn shape(&self, features: usize, labels: usize) -> NetworkShape {
        NetworkShape {
            features,
            members: self.members,
            hidden: self.hidden,
            depth: self.depth,
            linear: false,
            labels,
        }
    }
}
