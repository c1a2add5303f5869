//! The linear path over text features: one-against-rest support vector machines.
//!
//! L2-regularised squared hinge loss in the dual, one coordinate (row) at a time (Hsieh, Chang, Lin,
//! Keerthi and Sundararajan 2008, algorithm 1 without shrinking). All labels advance together on the
//! same row: their problems are independent, and the table's rows hold the labels side by side, so
//! that the inner loop runs over contiguous memory.
//!
//! On short texts this alone is the classical baseline; members add what a line cannot part.

use verdict_stats::random::SeededRandom;

use crate::features::EncodedRow;
use crate::kernel::add_scaled;
use crate::network::{NetworkShape, NetworkWeights};

/// Passes over the rows at most.
const PASSES_MAX: u32 = 60;
/// Training stops when no coordinate's projected gradient is larger.
const TOLERANCE: f32 = 0.05;
/// Purpose of the order's random sequence.
const PURPOSE_ORDER: u64 = 20;

/// What to fit.
pub struct LinearOptions<'a> {
    /// Features of the whole space.
    pub features: usize,
    /// Labels.
    pub labels: usize,
    /// Which features take part: ranges of positions.
    pub ranges: &'a [std::ops::Range<usize>],
    /// Cost of a margin that is missed.
    pub cost: f32,
    /// A weight for each label, multiplying the cost.
    pub label_weights: &'a [f32],
    /// Seed of the order of rows.
    pub seed: u64,
}

/// A linear classifier.
pub struct LinearPath {
    /// `features * labels`, row-major; rows of features that take no part are zero.
    pub table: Vec<f32>,
    /// A bias for each label.
    pub bias: Vec<f32>,
}

impl LinearPath {
    /// Fits the classifier on rows with a label each.
    pub fn fit(options: &LinearOptions<'_>, rows: &[EncodedRow], truth: &[u32]) -> Self {
        let labels = options.labels;
        let rows: Vec<EncodedRow> = rows.iter().map(|row| restrict(row, options.ranges)).collect();
        let mut path =
            Self { table: vec![0.0; options.features * labels], bias: vec![0.0; labels] };
        let squares: Vec<f32> =
            rows.iter().map(|row| 1.0 + row.weights.iter().map(|w| w * w).sum::<f32>()).collect();
        let mut duals = vec![0.0f32; rows.len() * labels];
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut random = SeededRandom::new(options.seed, PURPOSE_ORDER);
        let mut steps = vec![0.0f32; labels];
        for _ in 0..PASSES_MAX {
            random.shuffle(&mut order);
            let mut largest = 0.0f32;
            for &index in &order {
                let row = &rows[index];
                let label = truth[index] as usize;
                let slack = 0.5 / (options.cost * options.label_weights[label].max(1e-6));
                let duals = &mut duals[index * labels..(index + 1) * labels];
                path.margins(row, &mut steps);
                let curvature = 1.0 / (squares[index] + slack);
                let mut any = false;
                for (other, (step, dual)) in steps.iter_mut().zip(duals).enumerate() {
                    let sign = if other == label { 1.0 } else { -1.0 };
                    let gradient = sign * *step - 1.0 + slack * *dual;
                    let projected = if *dual == 0.0 { gradient.min(0.0) } else { gradient };
                    *step = 0.0;
                    if projected.abs() > 1e-6 {
                        largest = largest.max(projected.abs());
                        let next = (*dual - gradient * curvature).max(0.0);
                        *step = (next - *dual) * sign;
                        *dual = next;
                        any = true;
                    }
                }
                if any {
                    path.add(row, &steps);
                }
            }
            if largest < TOLERANCE {
                break;
            }
        }
        path
    }

    fn margins(&self, row: &EncodedRow, margins: &mut [f32]) {
        let labels = self.bias.len();
        margins.copy_from_slice(&self.bias);
        for (feature, weight) in row.features.iter().zip(&row.weights) {
            let start = *feature as usize * labels;
            add_scaled(margins, *weight, &self.table[start..start + labels]);
        }
    }

    fn add(&mut self, row: &EncodedRow, steps: &[f32]) {
        let labels = self.bias.len();
        for (feature, weight) in row.features.iter().zip(&row.weights) {
            let start = *feature as usize * labels;
            add_scaled(&mut self.table[start..start + labels], *weight, steps);
        }
        add_scaled(&mut self.bias, 1.0, steps);
    }

    /// A network of the members (which has no linear path yet) and this path, the logits of either
    /// weighted: what is computed is `members * first + margins * second`.
    pub fn join(&self, members: &NetworkWeights, weights: (f64, f64)) -> NetworkWeights {
        let (first, second) = (weights.0 as f32, weights.1 as f32);
        let shape = NetworkShape { linear: true, ..members.shape };
        let (own, labels) = (members.shape.width(), members.shape.labels);
        let mut table = vec![0.0; shape.features * shape.width()];
        for (feature, row) in table.chunks_exact_mut(shape.width()).enumerate() {
            row[..own].copy_from_slice(&members.table[feature * own..(feature + 1) * own]);
            let path = &self.table[feature * labels..(feature + 1) * labels];
            add_scaled(&mut row[own..], second, path);
        }
        let mut bias = members.bias.clone();
        bias.extend(self.bias.iter().map(|bias| bias * second));
        let mut layers = members.layers.clone();
        if let Some(last) = layers.last_mut() {
            last.weight.iter_mut().chain(&mut last.bias).for_each(|weight| *weight *= first);
        }
        NetworkWeights { shape, table, bias, layers }
    }

    /// The margins of rows, row-major. Features outside the fitted ranges have zero rows.
    pub fn predict(&self, rows: &[EncodedRow]) -> Vec<f32> {
        let labels = self.bias.len();
        let mut margins = vec![0.0; rows.len() * labels];
        for (row, margins) in rows.iter().zip(margins.chunks_exact_mut(labels.max(1))) {
            self.margins(row, margins);
        }
        margins
    }
}

fn restrict(row: &EncodedRow, ranges: &[std::ops::Range<usize>]) -> EncodedRow {
    let takes_part = |feature: u32| ranges.iter().any(|range| range.contains(&(feature as usize)));
    let (features, weights) = row
        .features
        .iter()
        .zip(&row.weights)
        .filter(|(feature, _)| takes_part(**feature))
        .map(|(feature, weight)| (*feature, *weight))
        .unzip();
    EncodedRow { features, weights, unseen: row.unseen }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one block of features is one range")]
mod tests {
    use super::*;

    fn row(cells: &[(u32, f32)]) -> EncodedRow {
        let (features, weights) = cells.iter().copied().unzip();
        EncodedRow { features, weights, unseen: 0.0 }
    }

    #[test]
    fn weights_equal_liblinear() {
        // LinearSVC(C=1, tol=1e-8) of scikit-learn 1.9.1 on the same rows.
        let rows = [
            row(&[(0, 1.0)]),
            row(&[(0, 0.6), (1, 0.8)]),
            row(&[(1, 1.0)]),
            row(&[(1, 0.8), (2, 0.6)]),
            row(&[(0, 0.3), (2, 0.9)]),
        ];
        let options = LinearOptions {
            features: 4,
            labels: 3,
            ranges: &[0..4],
            cost: 1.0,
            label_weights: &[1.0; 3],
            seed: 1,
        };
        let path = LinearPath::fit(&options, &rows, &[0, 0, 1, 1, 2]);
        for (feature, expected) in GOLDEN.iter().enumerate() {
            for (label, expected) in expected.iter().enumerate() {
                let weight = path.table[feature * 3 + label];
                assert!((weight - expected).abs() < 0.03, "{feature} {label}: {weight} {expected}");
            }
        }
        assert!(path.predict(&[row(&[(3, 5.0)])]).iter().zip(&path.bias).all(|(m, b)| m == b));
    }

    #[test]
    fn features_outside_the_ranges_take_no_part() {
        let rows = [row(&[(0, 1.0), (2, 1.0)]), row(&[(1, 1.0), (2, 1.0)])];
        let options = LinearOptions {
            features: 3,
            labels: 2,
            ranges: &[0..2],
            cost: 1.0,
            label_weights: &[1.0; 2],
            seed: 1,
        };
        let path = LinearPath::fit(&options, &rows, &[0, 1]);
        assert_eq!(path.table[4..], [0.0, 0.0]);
        assert!(path.table[0] > 0.1 && path.table[1] < -0.1);
    }

    const GOLDEN: [[f32; 3]; 3] =
        [[1.0644, -1.1324, -0.3236], [-0.1704, 0.7342, -0.8015], [-0.7948, -0.0428, 0.7259]];
}
