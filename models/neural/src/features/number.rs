//! Numbers as piecewise-linear encodings.
//!
//! A number is cut at quantiles of the training data into bins; the encoding of a value has a 1 for
//! every bin below it, and in its own bin the share of the way through (Gorishniy, Rubachev and
//! Babenko 2022, equation 1). A network can then bend at every edge, as a boosted tree can, and
//! values far outside change nothing beyond the last edge.
//!
//! The sum of the first layer's rows over such an encoding is a piecewise-linear curve. For serving
//! the rows are summed up once ([`accumulate`]), so that a value costs two rows and not one a bin.

/// Cut points of one number column and the value that stands for "typical".
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberBins {
    /// Ascending; empty for a column with fewer than two distinct values.
    pub edges: Vec<f32>,
    /// The median of the training data.
    pub typical: f32,
}

/// Bins of a column at most.
pub const BINS_MAX: usize = 256;

impl NumberBins {
    /// Bins at the distinct values, or at quantiles where there are more than `bins_max` of them.
    #[must_use]
    pub fn fit(values: &[f64], bins_max: usize) -> Self {
        let mut sorted: Vec<f32> = values.iter().map(|&value| narrow(value)).collect();
        sorted.sort_by(f32::total_cmp);
        let typical = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let mut edges = sorted.clone();
        edges.dedup();
        let bins_max = bins_max.clamp(1, BINS_MAX);
        if edges.len() > bins_max + 1 {
            let last = sorted.len() - 1;
            edges = (0..=bins_max).map(|index| sorted[index * last / bins_max]).collect();
            edges.dedup();
        }
        if edges.len() < 2 {
            edges.clear();
        }
        Self { edges, typical }
    }

    /// Whether the edges ascend and everything is finite.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.edges.len() <= BINS_MAX + 1
            && self.edges.len() != 1
            && self.typical.is_finite()
            && self.edges.iter().all(|edge| edge.is_finite())
            && self.edges.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// Features: one that says "present", one a bin, one that says "missing".
    #[must_use]
    pub fn len(&self) -> usize {
        self.bins() + 2
    }

    fn bins(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// The bin of a value and the share of the way through it; `None` without bins.
    fn locate(&self, value: f32) -> Option<(usize, f32)> {
        let bins = self.bins();
        if bins == 0 {
            return None;
        }
        let bin = self.edges.partition_point(|edge| *edge <= value).clamp(1, bins) - 1;
        let (low, high) = (f64::from(self.edges[bin]), f64::from(self.edges[bin + 1]));
        let share = ((f64::from(value) - low) / (high - low)).clamp(0.0, 1.0);
        Some((bin, share as f32))
    }

    /// Whether a value lies outside what training saw.
    #[must_use]
    pub fn is_outside(&self, value: f64) -> bool {
        match (self.edges.first(), self.edges.last()) {
            (Some(low), Some(high)) => {
                let slack = (f64::from(*high) - f64::from(*low)) * 0.01;
                value < f64::from(*low) - slack || value > f64::from(*high) + slack
            }
            _ => narrow(value) != self.typical,
        }
    }

    /// The encoding for the rows as trained.
    pub fn encode(&self, value: Option<f64>, mut feature: impl FnMut(usize, f32)) {
        let Some(value) = value else {
            return feature(self.len() - 1, 1.0);
        };
        feature(0, 1.0);
        if let Some((bin, share)) = self.locate(narrow(value)) {
            (0..bin).for_each(|below| feature(1 + below, 1.0));
            if share > 0.0 {
                feature(1 + bin, share);
            }
        }
    }

    /// The encoding for accumulated rows: the same sum from at most two of them.
    pub fn encode_accumulated(&self, value: Option<f64>, mut feature: impl FnMut(usize, f32)) {
        let Some(value) = value else {
            return feature(self.len() - 1, 1.0);
        };
        match self.locate(narrow(value)) {
            None => feature(0, 1.0),
            Some((bin, share)) => {
                if share < 1.0 {
                    feature(bin, 1.0 - share);
                }
                if share > 0.0 {
                    feature(bin + 1, share);
                }
            }
        }
    }

    /// Turns the rows of this column (`len() * width`, row-major) into running sums over bins.
    pub fn accumulate(&self, rows: &mut [f32], width: usize) {
        for bin in 1..=self.bins() {
            let (before, own) = rows.split_at_mut(bin * width);
            let before = &before[(bin - 1) * width..];
            for (own, before) in own[..width].iter_mut().zip(before) {
                *own += *before;
            }
        }
    }
}

/// The nearest finite 32-bit number.
fn narrow(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bins: &NumberBins, value: Option<f64>) -> Vec<(usize, f32)> {
        let mut features = Vec::new();
        bins.encode(value, |feature, weight| features.push((feature, weight)));
        features
    }

    #[test]
    fn few_values_are_their_own_edges() {
        let bins = NumberBins::fit(&[1.0, 2.0, 2.0, 4.0], 32);
        assert_eq!(bins.edges, [1.0, 2.0, 4.0]);
        assert_eq!(encoded(&bins, Some(1.0)), [(0, 1.0)]);
        assert_eq!(encoded(&bins, Some(3.0)), [(0, 1.0), (1, 1.0), (2, 0.5)]);
        assert_eq!(encoded(&bins, Some(99.0)), [(0, 1.0), (1, 1.0), (2, 1.0)]);
        assert_eq!(encoded(&bins, Some(-99.0)), [(0, 1.0)]);
        assert_eq!(encoded(&bins, None), [(3, 1.0)]);
        assert!(bins.is_outside(4.1) && !bins.is_outside(4.0));
    }

    #[test]
    fn many_values_are_cut_at_quantiles() {
        let values: Vec<f64> = (0..1_000).map(f64::from).collect();
        let bins = NumberBins::fit(&values, 4);
        assert_eq!(bins.edges, [0.0, 249.0, 499.0, 749.0, 999.0]);
        assert!(bins.is_sound());
        // Most values equal: fewer edges than asked for.
        let mut skewed = vec![0.0; 990];
        skewed.extend((1..=10).map(f64::from));
        assert!(NumberBins::fit(&skewed, 4).edges.len() <= 5);
    }

    #[test]
    fn constant_and_extreme_columns_are_sound() {
        for values in [vec![], vec![5.0; 9], vec![f64::MAX, f64::MIN, 0.0]] {
            let bins = NumberBins::fit(&values, 8);
            assert!(bins.is_sound(), "{bins:?}");
            bins.encode(Some(1e300), |_, weight| assert!(weight.is_finite()));
        }
    }

    #[test]
    fn accumulated_rows_give_the_same_sums() {
        let bins = NumberBins::fit(&[0.0, 1.0, 3.0, 7.0, 8.0], 8);
        let rows: Vec<f32> = (0..bins.len() * 2).map(|index| (index * index) as f32).collect();
        let mut sums = rows.clone();
        bins.accumulate(&mut sums, 2);
        for value in [None, Some(-1.0), Some(0.0), Some(0.5), Some(3.0), Some(7.9), Some(9.0)] {
            let mut trained = [0.0f32; 2];
            bins.encode(value, |feature, weight| {
                trained[0] += weight * rows[feature * 2];
                trained[1] += weight * rows[feature * 2 + 1];
            });
            let mut served = [0.0f32; 2];
            bins.encode_accumulated(value, |feature, weight| {
                served[0] += weight * sums[feature * 2];
                served[1] += weight * sums[feature * 2 + 1];
            });
            assert!((trained[0] - served[0]).abs() < 1e-3, "{value:?}");
            assert!((trained[1] - served[1]).abs() < 1e-3, "{value:?}");
        }
    }
}
