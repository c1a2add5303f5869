//! Distributions compared with a reference: bins fixed once, counts filled later.

use serde::{Deserialize, Serialize};

/// Shares below this are raised to it in the stability index, so that an empty bin is a large
/// difference and not an infinite one.
pub const SHARE_MIN: f64 = 1e-4;

/// Population stability index of two lists of counts over the same bins:
/// `sum (q - p) ln(q / p)`, with shares of at least `SHARE_MIN`. Below .1 is commonly read as
/// stable, above .25 as a shift. `None` unless both have rows and equally many bins.
#[must_use]
pub fn population_stability_index(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (reference, current) = shares(reference, current)?;
    let sum = reference
        .iter()
        .zip(&current)
        .map(|(&p, &q)| (p.max(SHARE_MIN), q.max(SHARE_MIN)))
        .map(|(p, q)| (q - p) * (q / p).ln())
        .sum();
    Some(sum)
}

/// Jensen-Shannon divergence in nats, 0 to ln 2 (Lin 1991): the mean divergence of both from their
/// midpoint. Its square root is a distance. `None` as [`population_stability_index`].
#[must_use]
pub fn jensen_shannon(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (reference, current) = shares(reference, current)?;
    let term =
        |share: f64, middle: f64| if share > 0.0 { share * (share / middle).ln() } else { 0.0 };
    let sum: f64 = reference
        .iter()
        .zip(&current)
        .map(|(&p, &q)| {
            let middle = f64::midpoint(p, q);
            term(p, middle) + term(q, middle)
        })
        .sum();
    Some((sum / 2.0).max(0.0))
}

fn shares(reference: &[u64], current: &[u64]) -> Option<(Vec<f64>, Vec<f64>)> {
    let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let (reference_total, current_total) = (total(reference), total(current));
    if reference.len() != current.len() || reference_total == 0.0 || current_total == 0.0 {
        return None;
    }
    let divide = |counts: &[u64], total: f64| counts.iter().map(|&c| c as f64 / total).collect();
    Some((divide(reference, reference_total), divide(current, current_total)))
}

/// Bins between quantiles of a reference sample, with its counts: the profile of a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceBins {
    /// Inner edges, ascending and distinct; bin `i` holds `edges[i - 1] <= x < edges[i]`, the first
    /// and last are open.
    pub edges: Vec<f64>,
    /// Reference rows in each bin (one more than edges).
    pub counts: Vec<u64>,
    /// Reference rows without a value.
    pub missing: u64,
}

impl ReferenceBins {
    /// Bins at the quantiles `i / bins` of the values (linear interpolation, as numpy's default);
    /// equal quantiles are merged. `NaN` counts as missing; infinities are values.
    #[must_use]
    pub fn from_values(values: &[f64], bins: usize) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> = Vec::new();
        if let (Some(first), Some(_)) = (sorted.first(), sorted.last()) {
            for index in 1..bins {
                let edge = quantile_of_sorted(&sorted, index as f64 / bins as f64);
                let above_last = edges.last().is_none_or(|last| edge > *last);
                if edge.is_finite() && above_last && edge > *first {
                    edges.push(edge);
                }
            }
        }
        let mut bins = Self { counts: Vec::new(), edges, missing: 0 };
        (bins.counts, bins.missing) = bins.count(values);
        bins
    }

    /// The bin of a value; `None` for `NaN`.
    #[must_use]
    pub fn bin(&self, value: f64) -> Option<usize> {
        if value.is_nan() { None } else { Some(self.edges.partition_point(|edge| *edge <= value)) }
    }

    /// Counts values over the bins; the second number counts `NaN`.
    #[must_use]
    pub fn count(&self, values: &[f64]) -> (Vec<u64>, u64) {
        let mut counts = vec![0; self.edges.len() + 1];
        let mut missing = 0;
        for value in values {
            match self.bin(*value) {
                Some(bin) => counts[bin] += 1,
                None => missing += 1,
            }
        }
        (counts, missing)
    }

    /// Stability index of counts over these bins against the reference.
    #[must_use]
    pub fn stability_index(&self, counts: &[u64]) -> Option<f64> {
        population_stability_index(&self.counts, counts)
    }
}

/// The quantile `share` (0 to 1) of sorted values by linear interpolation; `NaN` for none.
pub(crate) fn quantile_of_sorted(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    if low == high { low } else { low + (high - low) * (position - below as f64) }
}

/// The most frequent categories of a reference sample, with their counts: the profile of a category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryReference {
    /// Category and reference rows, most frequent first, ties by name.
    pub categories: Vec<(String, u64)>,
    /// Reference rows of all other categories.
    pub other: u64,
}

impl CategoryReference {
    /// The `most` most frequent of the values.
    #[must_use]
    pub fn from_values<'a>(values: impl IntoIterator<Item = &'a str>, most: usize) -> Self {
        let mut counts = std::collections::BTreeMap::<&str, u64>::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        let mut categories: Vec<(String, u64)> =
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        categories.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        let other = categories.iter().skip(most).map(|(_, count)| count).sum();
        categories.truncate(most);
        Self { categories, other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_unequal_counts_have_no_index() {
        assert_eq!(population_stability_index(&[1, 2], &[1]), None);
        assert_eq!(population_stability_index(&[], &[]), None);
        assert_eq!(jensen_shannon(&[0, 0], &[1, 2]), None);
        assert_eq!(jensen_shannon(&[5, 0], &[0, 5]), Some(std::f64::consts::LN_2));
        assert_eq!(population_stability_index(&[5, 5], &[7, 7]), Some(0.0));
    }

    #[test]
    fn bins_hold_equal_shares_and_merge_ties() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let bins = ReferenceBins::from_values(&values, 10);
        assert_eq!(bins.counts, vec![10; 10]);
        let ties = ReferenceBins::from_values(&[0.0, 0.0, 0.0, 1.0, f64::NAN], 10);
        assert_eq!((ties.counts.iter().sum::<u64>(), ties.missing), (4, 1));
        let none = ReferenceBins::from_values(&[], 10);
        assert_eq!((none.counts, none.edges), (vec![0], vec![]));
        let infinite = ReferenceBins::from_values(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], 4);
        assert!(infinite.edges.iter().all(|edge| edge.is_finite()));
    }

    #[test]
    fn categories_by_frequency_then_name() {
        let reference = CategoryReference::from_values(["b", "a", "c", "c"], 2);
        assert_eq!(reference.categories, [("c".to_owned(), 2), ("a".to_owned(), 1)]);
        assert_eq!(reference.other, 1);
    }
}
