//! How good predictions are: accuracy, F1, ROC area, Brier score, confusion, standard errors.

/// Counts of (true label, predicted label), `labels * labels`, row-major by true label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    labels: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Counts pairs. A label not below `labels` is counted as a miss of the other side only: a
    /// true label that is unknown to the model cannot be predicted, yet the prediction was wrong.
    #[must_use]
    pub fn new(labels: usize, truth: &[u32], predicted: &[u32]) -> Self {
        // One more row and column for labels out of range.
        let mut counts = vec![0; (labels + 1) * (labels + 1)];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            let truth = (truth as usize).min(labels);
            let predicted = (predicted as usize).min(labels);
            counts[truth * (labels + 1) + predicted] += 1;
        }
        Self { labels, counts }
    }

    /// How often `truth` was predicted as `predicted`.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        if truth > self.labels || predicted > self.labels {
            return 0;
        }
        self.counts[truth * (self.labels + 1) + predicted]
    }

    /// Share of pairs that are equal; 0 for none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let right: u64 = (0..self.labels).map(|label| self.count(label, label)).sum();
        if total == 0 { 0.0 } else { right as f64 / total as f64 }
    }

    /// Mean F1 over the labels that occur as truth or prediction, as scikit-learn's
    /// `f1_score(average="macro")`; 0 for none.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        self.macro_f1_over(self.labels + 1)
    }

    /// Mean F1 over those of the first labels that occur as truth or prediction; 0 for none.
    #[must_use]
    pub fn macro_f1_over(&self, first: usize) -> f64 {
        let mut sum = 0.0;
        let mut present = 0;
        for label in 0..first.min(self.labels + 1) {
            let truth: u64 = (0..=self.labels).map(|other| self.count(label, other)).sum();
            let predicted: u64 = (0..=self.labels).map(|other| self.count(other, label)).sum();
            if truth + predicted > 0 {
                present += 1;
                // Labels out of range are never right, though they meet in the last cell.
                let right = if label < self.labels { self.count(label, label) } else { 0 };
                sum += 2.0 * right as f64 / (truth + predicted) as f64;
            }
        }
        if present == 0 { 0.0 } else { sum / f64::from(present) }
    }
}

/// Standard error of an accuracy over `n` rows: `sqrt(a (1 - a) / n)`; 0 for no rows.
#[must_use]
pub fn accuracy_standard_error(accuracy: f64, n: usize) -> f64 {
    if n == 0 { 0.0 } else { (accuracy * (1.0 - accuracy) / n as f64).max(0.0).sqrt() }
}

/// Area under the ROC curve: the chance that a positive row scores above a negative one, ties
/// counted half (Mann and Whitney 1947). `None` unless both occur and every score is a number.
#[must_use]
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let mut pairs: Vec<(f64, bool)> =
        scores.iter().copied().zip(positive.iter().copied()).collect();
    if pairs.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    pairs.sort_by(|left, right| left.0.total_cmp(&right.0));
    let positives = pairs.iter().filter(|(_, positive)| *positive).count();
    let negatives = pairs.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut below = 0usize;
    let mut wins = 0.0;
    // `==` and not the total order: 0 and -0 tie.
    for tie in pairs.chunk_by(|left, right| left.0 == right.0) {
        let tied_positives = tie.iter().filter(|(_, positive)| *positive).count();
        let tied_negatives = tie.len() - tied_positives;
        wins += tied_positives as f64 * (below as f64 + tied_negatives as f64 / 2.0);
        below += tied_negatives;
    }
    Some(wins / (positives as f64 * negatives as f64))
}

/// Standard error of an ROC area (Hanley and McNeil 1982, formula 1 with their approximation for
/// the two conditional probabilities). `None` without positives or negatives.
#[must_use]
pub fn auc_standard_error(auc: f64, positives: usize, negatives: usize) -> Option<f64> {
    if positives == 0 || negatives == 0 || !(0.0..=1.0).contains(&auc) {
        return None;
    }
    let (positives, negatives) = (positives as f64, negatives as f64);
    let both_above = auc / (2.0 - auc);
    let both_below = 2.0 * auc * auc / (1.0 + auc);
    let variance = (auc * (1.0 - auc)
        + (positives - 1.0) * (both_above - auc * auc)
        + (negatives - 1.0) * (both_below - auc * auc))
        / (positives * negatives);
    Some(variance.max(0.0).sqrt())
}

/// Mean squared error of the probability of the positive label (Brier 1950, two labels); `None`
/// for no rows.
#[must_use]
pub fn brier_binary(probabilities: &[f64], positive: &[bool]) -> Option<f64> {
    let n = probabilities.len().min(positive.len());
    if n == 0 {
        return None;
    }
    let sum: f64 = probabilities
        .iter()
        .zip(positive)
        .map(|(probability, positive)| (probability - f64::from(u8::from(*positive))).powi(2))
        .sum();
    Some(sum / n as f64)
}

/// Brier's original score over any number of labels: squared errors summed over labels, mean over
/// rows, 0 to 2. `probabilities` is rows * labels, row-major; a label out of range is one that the
/// model gives probability 0. `None` for no rows.
#[must_use]
pub fn brier_multiclass(probabilities: &[f32], labels: usize, truth: &[u32]) -> Option<f64> {
    if truth.is_empty() || labels == 0 {
        return None;
    }
    let mut sum = 0.0;
    for (row, &truth) in probabilities.chunks_exact(labels).zip(truth) {
        let mut row_sum = if (truth as usize) < labels { 0.0 } else { 1.0 };
        for (label, &probability) in row.iter().enumerate() {
            let target = f64::from(u8::from(label == truth as usize));
            row_sum += (f64::from(probability) - target).powi(2);
        }
        sum += row_sum;
    }
    Some(sum / truth.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    #[test]
    fn areas_equal_scikit_learn() {
        // roc_auc_score of scikit-learn 1.9.1.
        let check = |scores: &[f64], positive: &[u8], expected: Option<f64>| {
            let positive: Vec<bool> = positive.iter().map(|&p| p == 1).collect();
            assert_eq!(auc(scores, &positive), expected);
        };
        check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], Some(0.75));
        check(&[0.5, 0.5, 0.5, 0.5], &[0, 1, 0, 1], Some(0.5));
        check(&[0.2, 0.2, 0.6, 0.6, 0.9], &[0, 1, 0, 1, 1], Some(4.0 / 6.0));
        check(&[0.0, -0.0], &[0, 1], Some(0.5));
        check(&[0.3], &[1], None);
        check(&[f64::NAN, 0.1], &[0, 1], None);
        check(&[], &[], None);
    }

    #[test]
    fn confusion_accuracy_and_f1_equal_scikit_learn() {
        let truth = [0, 1, 2, 0, 1, 2, 2, 1];
        let predicted = [0, 2, 1, 0, 0, 2, 2, 1];
        let confusion = Confusion::new(3, &truth, &predicted);
        close(confusion.accuracy(), 0.625);
        close(confusion.macro_f1(), GOLDEN_MACRO_F1);
        assert_eq!(confusion.count(1, 2), 1);
        assert_eq!(confusion.count(9, 9), 0);
        close(Confusion::new(3, &[], &[]).accuracy(), 0.0);
        close(Confusion::new(0, &[], &[]).macro_f1(), 0.0);
    }

    const GOLDEN_MACRO_F1: f64 = 0.622_222_222_222_222_2;

    #[test]
    fn a_label_the_model_does_not_know_is_wrong() {
        let confusion = Confusion::new(2, &[0, 7, 7], &[0, 1, 0]);
        close(confusion.accuracy(), 1.0 / 3.0);
        assert!(confusion.macro_f1() < 0.5);
    }

    #[test]
    fn brier_scores() {
        close(brier_binary(&[0.1, 0.9], &[false, true]).unwrap(), 0.01);
        assert_eq!(brier_binary(&[], &[]), None);
        let multi = brier_multiclass(&[0.5, 0.5, 0.0, 1.0], 2, &[0, 1]).unwrap();
        close(multi, 0.25);
        close(brier_multiclass(&[1.0, 0.0], 2, &[5]).unwrap(), 2.0);
        assert_eq!(brier_multiclass(&[], 2, &[]), None);
    }

    #[test]
    fn standard_errors() {
        close(accuracy_standard_error(0.5, 100), 0.05);
        close(accuracy_standard_error(0.5, 0), 0.0);
        // Hanley and McNeil's own example: area .893, 51 abnormal and 58 normal images, error .032.
        let error = auc_standard_error(0.893, 51, 58).unwrap();
        assert!((error - 0.032).abs() < 0.001, "{error}");
        assert_eq!(auc_standard_error(0.9, 0, 5), None);
    }
}
