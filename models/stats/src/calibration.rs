//! How honest probabilities are, and the temperature that makes them so.
//!
//! Temperature scaling divides logits by one number fitted on rows that training did not see (Guo,
//! Pleiss, Sun and Weinberger 2017). It changes no ranking of labels, only how sure the model says
//! it is.

/// Range of temperatures that are fitted: a model that wants more is not calibrated by one number.
pub const TEMPERATURE_MIN: f64 = 0.05;
/// The upper end of the range.
pub const TEMPERATURE_MAX: f64 = 20.0;

/// Mean negative log-likelihood of the true labels after division by `temperature`, in nats.
/// `logits` is rows * labels, row-major. Rows whose label is out of range are left out; 0 without
/// rows.
#[must_use]
pub fn negative_log_likelihood(
    logits: &[f32],
    labels: usize,
    truth: &[u32],
    temperature: f64,
) -> f64 {
    let mut sum = 0.0;
    let mut rows = 0usize;
    if labels == 0 {
        return 0.0;
    }
    for (row, &truth) in logits.chunks_exact(labels).zip(truth) {
        let Some(&target) = row.get(truth as usize) else { continue };
        let highest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let scaled = |logit: f32| (f64::from(logit) - highest) / temperature;
        let total: f64 = row.iter().map(|&logit| scaled(logit).exp()).sum();
        sum += total.ln() - scaled(target);
        rows += 1;
    }
    if rows == 0 { 0.0 } else { sum / rows as f64 }
}

/// The temperature with the least negative log-likelihood, by golden section over its logarithm
/// (the likelihood is convex in `1 / temperature`, hence has one minimum). 1 without rows.
#[must_use]
pub fn fit_temperature(logits: &[f32], labels: usize, truth: &[u32]) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let loss = |log: f64| negative_log_likelihood(logits, labels, truth, log.exp());
    if truth.is_empty() || labels < 2 || logits.iter().any(|logit| !logit.is_finite()) {
        return 1.0;
    }
    let (mut low, mut high) = (TEMPERATURE_MIN.ln(), TEMPERATURE_MAX.ln());
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (loss(left), loss(right));
    // Each step keeps .618 of the interval: 40 steps leave 2e-8 of it.
    for _ in 0..40 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = loss(right);
        }
    }
    f64::midpoint(low, high).exp()
}

/// Weights `(first, second)`, 0 or more, with which two lists of logits for the same rows are added
/// to give the least negative log-likelihood (a linear opinion pool on the logit scale, fitted by
/// Newton's method; the loss is convex). `(1, 0)` without rows or for logits that are not finite.
#[must_use]
pub fn fit_weights(first: &[f32], second: &[f32], labels: usize, truth: &[u32]) -> (f64, f64) {
    let usable = first.len() == second.len()
        && labels > 1
        && !truth.is_empty()
        && first.iter().chain(second).all(|logit| logit.is_finite());
    if !usable {
        return (1.0, 0.0);
    }
    let pool = Pool { first, second, labels, truth };
    let mut weights = (1.0, 1.0);
    let mut loss = pool.at(weights).loss;
    for _ in 0..50 {
        let Slope { gradient, curvature, .. } = pool.at(weights);
        // A small ridge keeps the system solvable where one list says nothing.
        let (a, b, c) = (curvature.0 + 1e-6, curvature.1, curvature.2 + 1e-6);
        let determinant = a * c - b * b;
        let step = (
            (c * gradient.0 - b * gradient.1) / determinant,
            (a * gradient.1 - b * gradient.0) / determinant,
        );
        let mut share = 1.0;
        let mut improved = false;
        for _ in 0..20 {
            let next = (
                (weights.0 - share * step.0).clamp(0.0, WEIGHT_MAX),
                (weights.1 - share * step.1).clamp(0.0, WEIGHT_MAX),
            );
            let next_loss = pool.at(next).loss;
            if next_loss < loss - 1e-12 {
                (weights, loss, improved) = (next, next_loss, true);
                break;
            }
            share /= 2.0;
        }
        if !improved {
            break;
        }
    }
    weights
}

/// Bound of each fitted weight.
const WEIGHT_MAX: f64 = 100.0;

/// Two lists of logits for the same rows.
struct Pool<'a> {
    first: &'a [f32],
    second: &'a [f32],
    labels: usize,
    truth: &'a [u32],
}

/// Mean loss of a pool at some weights, with its first and second derivatives.
#[derive(Default)]
struct Slope {
    loss: f64,
    gradient: (f64, f64),
    curvature: (f64, f64, f64),
}

impl Pool<'_> {
    fn at(&self, weights: (f64, f64)) -> Slope {
        let mut sum = Slope::default();
        let mut rows = 0.0;
        let pairs = self.first.chunks_exact(self.labels).zip(self.second.chunks_exact(self.labels));
        for ((first, second), &truth) in pairs.zip(self.truth) {
            let truth = truth as usize;
            if truth >= self.labels {
                continue;
            }
            rows += 1.0;
            let pooled = |label: usize| {
                weights.0 * f64::from(first[label]) + weights.1 * f64::from(second[label])
            };
            let highest = (0..self.labels).map(pooled).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = (0..self.labels).map(|label| (pooled(label) - highest).exp()).sum();
            sum.loss += total.ln() + highest - pooled(truth);
            let (mut mean, mut squares) = ((0.0, 0.0), (0.0, 0.0, 0.0));
            for label in 0..self.labels {
                let share = (pooled(label) - highest).exp() / total;
                let (a, b) = (f64::from(first[label]), f64::from(second[label]));
                mean = (mean.0 + share * a, mean.1 + share * b);
                squares.0 += share * a * a;
                squares.1 += share * a * b;
                squares.2 += share * b * b;
            }
            sum.gradient.0 += mean.0 - f64::from(first[truth]);
            sum.gradient.1 += mean.1 - f64::from(second[truth]);
            sum.curvature.0 += squares.0 - mean.0 * mean.0;
            sum.curvature.1 += squares.1 - mean.0 * mean.1;
            sum.curvature.2 += squares.2 - mean.1 * mean.1;
        }
        let scale = 1.0 / f64::max(rows, 1.0);
        sum.loss *= scale;
        sum.gradient = (sum.gradient.0 * scale, sum.gradient.1 * scale);
        let (a, b, c) = sum.curvature;
        sum.curvature = (a * scale, b * scale, c * scale);
        sum
    }
}

/// Softmax of `logits / temperature`, in place.
pub fn softmax(logits: &mut [f32], temperature: f64) {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let mut sum = 0.0f32;
    for logit in logits.iter_mut() {
        *logit = (((f64::from(*logit) - highest) / temperature) as f32).exp();
        sum += *logit;
    }
    for logit in logits {
        *logit /= sum;
    }
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Rows in the bin.
    pub rows: usize,
    /// Mean confidence of the rows.
    pub confidence: f64,
    /// Share of the rows that were right.
    pub accuracy: f64,
}

/// Bins of equal width over confidence 0 to 1, `(a, b]` with 0 in the first; empty bins have zeros.
/// Confidences that are not numbers are left out.
#[must_use]
pub fn reliability(confidence: &[f64], right: &[bool], bins: usize) -> Vec<ReliabilityBin> {
    let mut table = vec![ReliabilityBin { rows: 0, confidence: 0.0, accuracy: 0.0 }; bins];
    for (&confidence, &right) in confidence.iter().zip(right) {
        if confidence.is_nan() || bins == 0 {
            continue;
        }
        let bin = ((confidence * bins as f64).ceil() - 1.0).clamp(0.0, bins as f64 - 1.0) as usize;
        table[bin].rows += 1;
        table[bin].confidence += confidence;
        table[bin].accuracy += f64::from(u8::from(right));
    }
    for bin in &mut table {
        if bin.rows > 0 {
            bin.confidence /= bin.rows as f64;
            bin.accuracy /= bin.rows as f64;
        }
    }
    table
}

/// Bins of the expected calibration error that models report.
pub const CALIBRATION_BINS: usize = 15;

/// Expected calibration error: the mean gap between confidence and accuracy, weighted by rows
/// (Naeini, Cooper and Hauskrecht 2015). `None` for no rows.
#[must_use]
pub fn expected_calibration_error(confidence: &[f64], right: &[bool], bins: usize) -> Option<f64> {
    let table = reliability(confidence, right, bins);
    let rows: usize = table.iter().map(|bin| bin.rows).sum();
    if rows == 0 {
        return None;
    }
    let sum: f64 =
        table.iter().map(|bin| bin.rows as f64 * (bin.confidence - bin.accuracy).abs()).sum();
    Some(sum / rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    /// Labels drawn from the softmax of `logits / temperature`.
    fn drawn(temperature: f64) -> (Vec<f32>, Vec<u32>) {
        let mut random = SeededRandom::new(3, 0);
        let (mut logits, mut truth) = (Vec::new(), Vec::new());
        for _ in 0..6_000 {
            let row: Vec<f32> = (0..3).map(|_| (random.normal() * 3.0) as f32).collect();
            let mut probabilities = row.clone();
            softmax(&mut probabilities, temperature);
            let mut draw = random.unit() as f32;
            let mut label = 0;
            while label < 2 && draw >= probabilities[label] {
                draw -= probabilities[label];
                label += 1;
            }
            truth.push(label as u32);
            logits.extend(row);
        }
        (logits, truth)
    }

    #[test]
    fn the_temperature_that_drew_the_labels_is_found() {
        for temperature in [0.5, 1.0, 2.5] {
            let (logits, truth) = drawn(temperature);
            let fitted = fit_temperature(&logits, 3, &truth);
            assert!((fitted / temperature - 1.0).abs() < 0.08, "{fitted} for {temperature}");
            let at = |t| negative_log_likelihood(&logits, 3, &truth, t);
            assert!(at(fitted) <= at(fitted * 1.01) && at(fitted) <= at(fitted * 0.99));
        }
    }

    #[test]
    fn pooled_logits_are_weighted_by_what_they_know() {
        let (logits, truth) = drawn(1.0);
        let mut random = SeededRandom::new(9, 0);
        let noise: Vec<f32> = logits.iter().map(|_| random.normal() as f32).collect();
        let (first, second) = fit_weights(&logits, &noise, 3, &truth);
        assert!((first - 1.0).abs() < 0.08 && second < 0.08, "{first} {second}");
        // Two halves of the truth are both needed.
        let left: Vec<f32> =
            logits.iter().zip(&noise).map(|(logit, noise)| logit / 2.0 + noise).collect();
        let right: Vec<f32> =
            logits.iter().zip(&noise).map(|(logit, noise)| logit / 2.0 - noise).collect();
        let (first, second) = fit_weights(&left, &right, 3, &truth);
        assert!((first - 1.0).abs() < 0.08 && (second - 1.0).abs() < 0.08, "{first} {second}");
        assert_eq!(fit_weights(&[], &[], 3, &[]), (1.0, 0.0));
        assert_eq!(fit_weights(&[1.0, 2.0], &[f32::NAN, 0.0], 2, &[0]), (1.0, 0.0));
        // Parted perfectly: the weights stay bounded.
        let (first, _) = fit_weights(&[9.0, -9.0], &[0.0, 0.0], 2, &[0]);
        assert!(first.is_finite());
    }

    #[test]
    fn useless_input_gives_no_temperature() {
        assert_eq!(fit_temperature(&[], 3, &[]), 1.0);
        assert_eq!(fit_temperature(&[1.0], 1, &[0]), 1.0);
        assert_eq!(fit_temperature(&[f32::NAN, 1.0], 2, &[0]), 1.0);
        assert_eq!(negative_log_likelihood(&[1.0, 2.0], 2, &[9], 1.0), 0.0);
        assert_eq!(negative_log_likelihood(&[1.0, 2.0], 0, &[9], 1.0), 0.0);
    }

    #[test]
    fn the_likelihood_equals_a_softmax_by_hand() {
        let loss = negative_log_likelihood(&[0.0, 1.0], 2, &[1], 1.0);
        assert!((loss - (1.0 + (-1f64).exp()).ln()).abs() < 1e-7);
        // Logits far beyond the range of exp stay finite.
        assert!(negative_log_likelihood(&[3e38, -3e38], 2, &[1], 1.0).is_finite());
    }

    #[test]
    fn calibration_error_by_hand() {
        let error = expected_calibration_error(&[0.9, 0.9, 0.6], &[true, false, true], 10).unwrap();
        assert!((error - (2.0 * 0.4 + 0.4) / 3.0).abs() < 1e-12);
        assert_eq!(expected_calibration_error(&[], &[], 10), None);
        assert_eq!(expected_calibration_error(&[0.5], &[true], 0), None);
        let table = reliability(&[0.0, 1.0, f64::NAN], &[true, true, true], 4);
        assert_eq!((table[0].rows, table[3].rows), (1, 1));
    }
}
