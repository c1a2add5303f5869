//! Isolation forest: how easily random splits set a row apart (Liu, Ting and Zhou 2008).
//!
//! A tree splits a small sample at random until every row is alone; rows that are unlike the others
//! are alone early. The score `2^(-mean depth / c(sample))` is near 1 for anomalies and below 0.5
//! for rows like most. `c(n)` is the mean depth of an unsuccessful search in a binary search tree of
//! `n` keys, so that samples of different sizes compare.
//!
//! A split's contribution is how much it shortens the depth that was expected before it:
//! contributions of a path add up exactly to `c(sample) - depth`, so the explanation is complete.

use crate::random::SeededRandom;

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;
/// Bound on trees of a forest.
pub const TREES_MAX: usize = 1_000;
/// Bound on rows a tree samples.
pub const SAMPLE_MAX: usize = 4_096;

/// How to grow a forest; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForestOptions {
    /// Trees, 1 to [`TREES_MAX`].
    pub trees: usize,
    /// Rows each tree samples, 2 to [`SAMPLE_MAX`].
    pub sample: usize,
    /// Seed of sampling and splits.
    pub seed: u64,
}

impl Default for ForestOptions {
    fn default() -> Self {
        Self { trees: 100, sample: 256, seed: 1 }
    }
}

/// Why a forest cannot be grown or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// Fewer than two rows, or rows without features.
    #[error("an isolation forest needs at least two rows with at least one feature")]
    TooFewRows,
    /// Options out of range.
    #[error("trees must be 1 to {TREES_MAX} and the sample 2 to {SAMPLE_MAX} rows")]
    OptionsOutOfRange,
    /// A value that is NaN or infinite.
    #[error("feature {feature} of row {row} is not a finite number")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The feature, from 0.
        feature: usize,
    },
    /// Parts that do not form trees.
    #[error("the forest is damaged: {0}")]
    Damaged(&'static str),
}

/// A forest as flat arrays, one entry a node: how it is written to and read from files.
///
/// Trees follow each other; the children of an inner node stand behind it in its tree.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct ForestParts {
    /// Features of a row.
    pub features: u32,
    /// Rows each tree sampled.
    pub sample: u32,
    /// The first node of each tree.
    pub roots: Vec<u32>,
    /// The feature an inner node splits on; `u32::MAX` for leaves.
    pub split_features: Vec<u32>,
    /// Rows below the threshold go left.
    pub thresholds: Vec<f32>,
    /// The left child of inner nodes; the right one stands next to it. 0 for leaves.
    pub left: Vec<u32>,
    /// Sampled rows that reached the node.
    pub rows: Vec<u32>,
}

/// A grown forest. Immutable; scoring allocates nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct IsolationForest {
    parts: ForestParts,
    /// Expected depth below each node, `c(rows)`.
    expected_depths: Vec<f64>,
}

/// Mean depth of an unsuccessful search among `n` keys, `2 H(n - 1) - 2 (n - 1) / n`, with the
/// harmonic number by the logarithm as in the paper.
#[must_use]
pub fn average_depth(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        n => {
            let n = n as f64;
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

impl IsolationForest {
    /// Grows a forest on rows of `features` values each, row-major.
    ///
    /// # Errors
    /// Too few rows, options out of range, or a value that is not finite.
    pub fn fit(
        values: &[f32],
        features: usize,
        options: ForestOptions,
    ) -> Result<Self, ForestError> {
        let in_range =
            (1..=TREES_MAX).contains(&options.trees) && (2..=SAMPLE_MAX).contains(&options.sample);
        if !in_range {
            return Err(ForestError::OptionsOutOfRange);
        }
        let rows = values.len().checked_div(features).unwrap_or(0);
        if rows < 2 || features > u32::MAX as usize {
            return Err(ForestError::TooFewRows);
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(ForestError::NotFinite { row: at / features, feature: at % features });
        }
        let sample = options.sample.min(rows);
        let mut parts = ForestParts {
            features: features as u32,
            sample: sample as u32,
            ..ForestParts::default()
        };
        let mut random = SeededRandom::new(options.seed, 0);
        let mut grower = Grower { values, features, depth_max: depth_max(sample) };
        for _ in 0..options.trees {
            let members = random.sample(rows, sample);
            grower.grow(members, &mut parts, &mut random);
        }
        Self::from_parts(parts)
    }

    /// A forest from its arrays.
    ///
    /// # Errors
    /// [`ForestError::Damaged`] for arrays that are not trees: every walk from a root must end.
    pub fn from_parts(parts: ForestParts) -> Result<Self, ForestError> {
        let nodes = parts.split_features.len();
        let equal_lengths = parts.thresholds.len() == nodes
            && parts.left.len() == nodes
            && parts.rows.len() == nodes;
        if !equal_lengths {
            return Err(ForestError::Damaged("arrays of different lengths"));
        }
        if parts.roots.is_empty() || parts.roots.len() > TREES_MAX {
            return Err(ForestError::Damaged("number of trees out of range"));
        }
        if parts.features == 0 || !(2..=SAMPLE_MAX as u32).contains(&parts.sample) {
            return Err(ForestError::Damaged("no features, or sample out of range"));
        }
        if parts.roots.iter().any(|&root| root as usize >= nodes) {
            return Err(ForestError::Damaged("a root outside the nodes"));
        }
        for node in 0..nodes {
            if parts.split_features[node] == u32::MAX {
                continue;
            }
            if parts.split_features[node] >= parts.features || !parts.thresholds[node].is_finite() {
                return Err(ForestError::Damaged("a split on an unknown feature or no number"));
            }
            // Children behind their parent: no walk can go in circles.
            let left = parts.left[node] as usize;
            if left <= node || left + 1 >= nodes {
                return Err(ForestError::Damaged("a child before its parent or outside"));
            }
        }
        let expected_depths = parts.rows.iter().map(|&rows| average_depth(rows as usize)).collect();
        Ok(Self { parts, expected_depths })
    }

    /// The arrays, for a file.
    #[must_use]
    pub fn parts(&self) -> &ForestParts {
        &self.parts
    }

    /// Features a row needs.
    #[must_use]
    pub fn features(&self) -> usize {
        self.parts.features as usize
    }

    /// Memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.expected_depths.len() * (4 * 4 + 8) + self.parts.roots.len() * 4
    }

    /// The anomaly score of a row, 0 to 1; `None` for a row of the wrong length or with a value
    /// that is not finite.
    #[must_use]
    pub fn score(&self, row: &[f32]) -> Option<f64> {
        self.walk(row, |_, _| ()).map(|depth| (-depth / self.normal_depth()).exp2())
    }

    /// What each feature adds to how early the row is set apart, as a share of the depth expected of
    /// any row: positive makes it more unusual. The sum is `1 + log2(score)`. `None` as
    /// [`IsolationForest::score`].
    #[must_use]
    pub fn contributions(&self, row: &[f32]) -> Option<Vec<f64>> {
        let mut sums = vec![0.0; self.features()];
        self.walk(row, |feature, shortened| sums[feature] += shortened)?;
        let scale = 1.0 / (self.parts.roots.len() as f64 * self.normal_depth());
        for sum in &mut sums {
            *sum *= scale;
        }
        Some(sums)
    }

    fn normal_depth(&self) -> f64 {
        average_depth(self.parts.sample as usize)
    }

    /// Mean depth over trees; tells `split` the feature of every split passed and by how much it
    /// shortens the expected depth.
    fn walk(&self, row: &[f32], mut split: impl FnMut(usize, f64)) -> Option<f64> {
        if row.len() != self.features() || row.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sum = 0.0;
        for &root in &self.parts.roots {
            let mut node = root as usize;
            let mut depth = 0.0;
            while self.parts.split_features[node] != u32::MAX {
                let feature = self.parts.split_features[node] as usize;
                let right = usize::from(row[feature] >= self.parts.thresholds[node]);
                let child = self.parts.left[node] as usize + right;
                split(feature, self.expected_depths[node] - 1.0 - self.expected_depths[child]);
                node = child;
                depth += 1.0;
            }
            sum += depth + self.expected_depths[node];
        }
        Some(sum / self.parts.roots.len() as f64)
    }
}

/// Depth at which growing stops: the mean depth of a tree of that many rows, as in the paper.
fn depth_max(sample: usize) -> u32 {
    (sample as f64).log2().ceil() as u32
}

struct Grower<'a> {
    values: &'a [f32],
    features: usize,
    depth_max: u32,
}

impl Grower<'_> {
    /// Grows one tree behind the nodes that exist, breadth first.
    fn grow(&mut self, members: Vec<usize>, parts: &mut ForestParts, random: &mut SeededRandom) {
        let root = push_node(parts, members.len());
        parts.roots.push(root);
        let mut open = std::collections::VecDeque::from([(root as usize, members, 0u32)]);
        while let Some((node, members, depth)) = open.pop_front() {
            if depth >= self.depth_max || members.len() < 2 {
                continue;
            }
            let Some((feature, threshold)) = self.choose(&members, random) else { continue };
            let (left, right): (Vec<usize>, Vec<usize>) = members
                .into_iter()
                .partition(|&row| self.values[row * self.features + feature] < threshold);
            let first = push_node(parts, left.len());
            push_node(parts, right.len());
            parts.split_features[node] = feature as u32;
            parts.thresholds[node] = threshold;
            parts.left[node] = first;
            open.push_back((first as usize, left, depth + 1));
            open.push_back((first as usize + 1, right, depth + 1));
        }
    }

    /// A random feature on which the members differ, and a threshold that parts them.
    fn choose(&self, members: &[usize], random: &mut SeededRandom) -> Option<(usize, f32)> {
        let start = random.below(self.features);
        let share = random.unit();
        // From a random start, the first that differs: few features are constant, and the paper
        // lets a tree give up on one that is.
        for offset in 0..self.features {
            let feature = (start + offset) % self.features;
            let column = members.iter().map(|&row| self.values[row * self.features + feature]);
            let (low, high) = column
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
                    (low.min(value), high.max(value))
                });
            if low < high {
                let threshold =
                    (f64::from(low) + share * (f64::from(high) - f64::from(low))) as f32;
                // Strictly above the lowest, so that neither side is empty.
                return Some((feature, if threshold > low { threshold } else { high }));
            }
        }
        None
    }
}

fn push_node(parts: &mut ForestParts, rows: usize) -> u32 {
    parts.split_features.push(u32::MAX);
    parts.thresholds.push(0.0);
    parts.left.push(0);
    parts.rows.push(rows as u32);
    parts.rows.len() as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cloud around the origin and two rows far from it.
    fn cloud() -> (Vec<f32>, usize) {
        let mut random = SeededRandom::new(11, 0);
        let mut values: Vec<f32> = (0..2 * 500).map(|_| random.normal() as f32).collect();
        values.extend([7.0, 0.0, 0.0, -8.0]);
        (values, 2)
    }

    #[test]
    fn rows_apart_score_highest() {
        let (values, features) = cloud();
        let forest = IsolationForest::fit(&values, features, ForestOptions::default()).unwrap();
        let scores: Vec<f64> =
            values.chunks_exact(features).map(|row| forest.score(row).unwrap()).collect();
        let (apart, others) = (&scores[500..], &scores[..500]);
        let highest = others.iter().copied().fold(0.0, f64::max);
        assert!(apart.iter().all(|&score| score > highest), "{apart:?} against {highest}");
        let mean = others.iter().sum::<f64>() / 500.0;
        assert!((0.35..0.5).contains(&mean), "{mean}");
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    }

    #[test]
    fn contributions_add_up_and_name_the_feature() {
        let (values, features) = cloud();
        let forest = IsolationForest::fit(&values, features, ForestOptions::default()).unwrap();
        for (row, unusual) in [([7.0, 0.0], 0), ([0.0, -8.0], 1)] {
            let contributions = forest.contributions(&row).unwrap();
            let score = forest.score(&row).unwrap();
            let sum: f64 = contributions.iter().sum();
            assert!((sum - (1.0 + score.log2())).abs() < 1e-9);
            assert!(contributions[unusual] > contributions[1 - unusual]);
        }
    }

    #[test]
    fn a_seed_gives_one_forest() {
        let (values, features) = cloud();
        let grow = |seed| {
            let options = ForestOptions { seed, trees: 10, sample: 64 };
            IsolationForest::fit(&values, features, options).unwrap()
        };
        assert_eq!(grow(1), grow(1));
        assert_ne!(grow(1), grow(2));
        assert_eq!(IsolationForest::from_parts(grow(1).parts().clone()).unwrap(), grow(1));
    }

    #[test]
    fn constant_rows_are_all_alike() {
        let forest = IsolationForest::fit(&[1.0; 40], 2, ForestOptions::default()).unwrap();
        let score = forest.score(&[1.0, 1.0]).unwrap();
        assert!((score - 0.5).abs() < 1e-9);
    }

    #[test]
    fn bad_rows_and_options_are_refused() {
        let options = ForestOptions::default();
        let fit = |values: &[f32], features, options| {
            IsolationForest::fit(values, features, options).unwrap_err()
        };
        assert_eq!(fit(&[], 2, options), ForestError::TooFewRows);
        assert_eq!(fit(&[1.0, 2.0], 0, options), ForestError::TooFewRows);
        assert_eq!(
            fit(&[1.0, 2.0, f32::NAN, 1.0], 2, options),
            ForestError::NotFinite { row: 1, feature: 0 }
        );
        let none = ForestOptions { trees: 0, ..options };
        assert_eq!(fit(&[1.0, 2.0], 1, none), ForestError::OptionsOutOfRange);
        let forest = IsolationForest::fit(&[1.0, 2.0, 3.0], 1, options).unwrap();
        assert_eq!(forest.score(&[1.0, 2.0]), None);
        assert_eq!(forest.score(&[f32::INFINITY]), None);
    }

    #[test]
    fn damaged_parts_are_refused() {
        let (values, features) = cloud();
        let options = ForestOptions { trees: 3, sample: 32, seed: 5 };
        let good = IsolationForest::fit(&values, features, options).unwrap().parts().clone();
        let check = |damage: fn(&mut ForestParts)| {
            let mut parts = good.clone();
            damage(&mut parts);
            assert!(matches!(IsolationForest::from_parts(parts), Err(ForestError::Damaged(_))));
        };
        check(|parts| parts.left[0] = 0);
        check(|parts| parts.left[0] = u32::MAX - 1);
        check(|parts| parts.split_features[0] = 9);
        check(|parts| parts.thresholds[0] = f32::NAN);
        check(|parts| parts.roots[0] = u32::MAX);
        check(|parts| parts.roots.clear());
        check(|parts| parts.rows.truncate(1));
        check(|parts| parts.sample = 0);
        check(|parts| parts.features = 0);
    }

    #[test]
    fn average_depths_are_the_papers() {
        // c(256) = 10.24 for the paper's default sample.
        assert!((average_depth(256) - 10.244_770_920_116_851).abs() < 1e-9);
        assert_eq!((average_depth(1), average_depth(2)), (0.0, 1.0));
    }
}
