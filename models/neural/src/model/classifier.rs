//! A classifier: features, network, calibration and distance from the training data.

use serde::{Deserialize, Serialize};
use verdict_config::model::{ModelManifest, ModelOutput, ModelRow, ModelValue};
use verdict_stats::calibration::softmax;

use crate::NeuralError;
use crate::features::ngrams::is_word_character;
use crate::features::{ColumnFeatures, EncodedRow, FeatureSpace};
use crate::kernel::{self, KernelScratch};
use crate::model::Contribution;
use crate::network::NetworkWeights;

/// The kernel's name in answers and records: a change of its arithmetic is a new name.
pub const KERNEL: &str = "bag_f32";

/// Words of a text that are explained; later ones are left out.
const EXPLAINED_WORDS_MAX: usize = 300;

/// How far a row is from the training data, from two signs: the share of it that training never
/// saw, and the free energy of its logits (Liu, Wang, Owens and Li 2020), each scaled by what
/// validation rows have. 1 is about the 99th percentile of either.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distance {
    /// The 99th percentile of the unseen share, at least .02.
    pub unseen_scale: f32,
    /// The median of the energy.
    pub energy_middle: f32,
    /// The 99th percentile of the energy less its median, at least .5 nats: few or very easy
    /// validation rows would make it too narrow.
    pub energy_scale: f32,
}

/// The median and the 99th percentile of some numbers; 0 of none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub middle: f32,
    /// The 99th percentile.
    pub high: f32,
}

impl Spread {
    /// Sorts the numbers and reads their spread.
    pub fn of(numbers: &mut [f32]) -> Self {
        numbers.sort_by(f32::total_cmp);
        let last = numbers.len().saturating_sub(1);
        let at = |percent: usize| {
            numbers.get((last * percent).div_ceil(100)).copied().unwrap_or_default()
        };
        Self { middle: at(50), high: at(99) }
    }
}

impl Distance {
    /// The scales of validation rows: their unseen shares and energies.
    pub fn fit(unseen: &mut [f32], energies: &mut [f32]) -> Self {
        let energy = Spread::of(energies);
        Self {
            unseen_scale: Spread::of(unseen).high.max(0.02),
            energy_middle: energy.middle,
            energy_scale: (energy.high - energy.middle).max(0.5),
        }
    }

    /// The distance of a row with these signs, 0 or more.
    pub fn of(&self, unseen: f32, energy: f32) -> f32 {
        let energy = (energy - self.energy_middle) / self.energy_scale;
        (unseen / self.unseen_scale).max(energy).max(0.0)
    }

    /// The scales for a network that was trained anew on more rows, from the energies of trained rows
    /// under the network of the fit and under the new one. Logits of another run lie and spread
    /// elsewhere, so that only this carries over: by how much rows that were not trained on reach
    /// beyond those that were.
    #[must_use]
    pub fn carried(self, trained_before: Spread, trained_now: Spread) -> Self {
        let reach = self.energy_middle + self.energy_scale;
        let beyond = (reach - trained_before.high).max(0.0);
        Self {
            energy_middle: trained_now.middle,
            energy_scale: (trained_now.high - trained_now.middle + beyond).max(0.5),
            ..self
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.unseen_scale > 0.0
            && self.energy_scale > 0.0
            && self.unseen_scale.is_finite()
            && self.energy_middle.is_finite()
            && self.energy_scale.is_finite()
    }
}

/// The free energy of logits, `-ln sum exp`: high where no label is likely.
pub fn energy(logits: &[f32]) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    -(highest + sum.ln())
}

/// A network with its features.
#[derive(Debug, Clone)]
pub struct Classifier {
    space: FeatureSpace,
    /// The weights with the table accumulated for serving.
    weights: NetworkWeights,
    /// The rows of number columns as trained.
    trained_numbers: Vec<Vec<f32>>,
    distance: Distance,
}

impl Classifier {
    /// A classifier from weights as trained.
    pub fn new(space: FeatureSpace, mut weights: NetworkWeights, distance: Distance) -> Self {
        let width = weights.shape.width();
        let trained_numbers = space
            .number_ranges()
            .into_iter()
            .map(|range| weights.table[range.start * width..range.end * width].to_vec())
            .collect();
        space.accumulate(&mut weights.table, width);
        Self { space, weights, trained_numbers, distance }
    }

    pub(crate) fn space(&self) -> &FeatureSpace {
        &self.space
    }

    pub(crate) fn distance(&self) -> Distance {
        self.distance
    }

    /// The weights as trained.
    pub fn trained_weights(&self) -> NetworkWeights {
        let mut weights = self.weights.clone();
        let width = weights.shape.width();
        for (range, rows) in self.space.number_ranges().into_iter().zip(&self.trained_numbers) {
            weights.table[range.start * width..range.end * width].copy_from_slice(rows);
        }
        weights
    }

    /// Memory it holds, in bytes.
    pub fn bytes(&self) -> usize {
        let numbers: usize = self.trained_numbers.iter().map(Vec::len).sum();
        (self.weights.shape.weights() + numbers) * 4 + self.space.bytes()
    }

    /// Calibrated probabilities and distances of rows.
    pub fn predict(
        &self,
        manifest: &ModelManifest,
        rows: &[ModelRow],
    ) -> Result<Vec<ModelOutput>, NeuralError> {
        let mut scratch = KernelScratch::default();
        let mut outputs = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            self.space.check(&manifest.columns, row, index)?;
            let encoded = self.space.encode(row, true);
            let mut scores = self.logits(&encoded, &mut scratch);
            if scores.iter().any(|score| !score.is_finite()) {
                let detail = "the model's logits are not finite".to_owned();
                return Err(NeuralError::Input { row: index, detail });
            }
            let distance = self.distance.of(encoded.unseen, energy(&scores));
            softmax(&mut scores, manifest.temperature);
            let kernel = KERNEL.to_owned();
            outputs.push(ModelOutput { scores, ood_distance: Some(distance), kernel });
        }
        Ok(outputs)
    }

    fn logits(&self, encoded: &EncodedRow, scratch: &mut KernelScratch) -> Vec<f32> {
        let mut logits = Vec::with_capacity(self.weights.shape.labels);
        kernel::forward(&self.weights, &self.weights.table, encoded, scratch, &mut logits);
        logits
    }

    /// Dense feature rows for the burn module.
    pub fn dense(
        &self,
        manifest: &ModelManifest,
        rows: &[ModelRow],
    ) -> Result<Vec<f32>, NeuralError> {
        let mut dense = vec![0.0; rows.len() * self.space.len()];
        for (index, row) in rows.iter().enumerate() {
            self.space.check(&manifest.columns, row, index)?;
            let encoded = self.space.encode(row, false);
            let start = index * self.space.len();
            for (feature, weight) in encoded.features.iter().zip(&encoded.weights) {
                dense[start + *feature as usize] += *weight;
            }
        }
        Ok(dense)
    }

    /// What each word, number and category adds to the log-odds of a label.
    pub fn explain(
        &self,
        manifest: &ModelManifest,
        row: &ModelRow,
        label: usize,
    ) -> Result<Vec<Contribution>, NeuralError> {
        self.space.check(&manifest.columns, row, 0)?;
        if label >= self.weights.shape.labels {
            let detail = format!("the model has no label {label}");
            return Err(NeuralError::Input { row: 0, detail });
        }
        let mut scratch = KernelScratch::default();
        let mut odds = |row: &ModelRow| {
            let logits = self.logits(&self.space.encode(row, true), &mut scratch);
            log_odds(&logits, label, manifest.temperature)
        };
        let whole = odds(row);
        let mut contributions = Vec::new();
        let mut other = row.clone();
        for (index, (column, name)) in
            self.space.columns().iter().zip(&manifest.columns).enumerate()
        {
            for (feature, cell) in alternatives(column, &row[index]) {
                other[index] = cell;
                let value = whole - odds(&other);
                contributions.push(Contribution { column: name.name.clone(), feature, value });
            }
            other[index] = row[index].clone();
        }
        Ok(contributions)
    }
}

/// `ln (p / (1 - p))` of a label's calibrated probability `p`.
fn log_odds(logits: &[f32], label: usize, temperature: f64) -> f32 {
    let scaled = |logit: f32| f64::from(logit) / temperature;
    let others = logits.iter().enumerate().filter(|(index, _)| *index != label);
    let highest = others.clone().map(|(_, logit)| scaled(*logit)).fold(f64::MIN, f64::max);
    let sum: f64 = others.map(|(_, logit)| (scaled(*logit) - highest).exp()).sum();
    (scaled(logits[label]) - highest - sum.ln()) as f32
}

/// The parts of a cell that are explained, each with the cell as it would be without it.
fn alternatives(column: &ColumnFeatures, cell: &ModelValue) -> Vec<(String, ModelValue)> {
    match (column, cell) {
        (ColumnFeatures::Text(_), ModelValue::Text(text)) => without_words(text),
        (ColumnFeatures::Text(_), _) => Vec::new(),
        (ColumnFeatures::Number(bins), cell) => {
            let shown = match cell {
                ModelValue::Number(number) => number.to_string(),
                ModelValue::Missing | ModelValue::Text(_) => "missing".to_owned(),
            };
            vec![(shown, ModelValue::Number(f64::from(bins.typical)))]
        }
        (ColumnFeatures::Category(values), cell) => {
            let shown = match cell {
                ModelValue::Text(text) => text.clone(),
                ModelValue::Missing | ModelValue::Number(_) => "missing".to_owned(),
            };
            let typical = values.typical.clone().map_or(ModelValue::Missing, ModelValue::Text);
            vec![(shown, typical)]
        }
    }
}

/// Every distinct word of a text, with the text without all its occurrences.
fn without_words(text: &str) -> Vec<(String, ModelValue)> {
    let mut pieces: Vec<(&str, bool)> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = is_word_character(first);
        let end = rest.find(|c| is_word_character(c) != is_word).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        pieces.push((piece, is_word));
        rest = tail;
    }
    let mut words: Vec<String> = Vec::new();
    for (piece, is_word) in &pieces {
        let word = piece.to_lowercase();
        if *is_word && !words.contains(&word) && words.len() < EXPLAINED_WORDS_MAX {
            words.push(word);
        }
    }
    let without =
        |word: &String| {
            let kept = pieces.iter().map(|(piece, is_word)| {
                if *is_word && piece.to_lowercase() == *word { " " } else { *piece }
            });
            (word.clone(), ModelValue::Text(kept.collect()))
        };
    words.iter().map(without).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_left_out_one_at_a_time() {
        let left: Vec<(String, ModelValue)> = without_words("Win cash, win!");
        let texts: Vec<(&str, &str)> = left
            .iter()
            .map(|(word, cell)| match cell {
                ModelValue::Text(text) => (word.as_str(), text.as_str()),
                ModelValue::Missing | ModelValue::Number(_) => ("", ""),
            })
            .collect();
        assert_eq!(texts, [("win", "  cash,  !"), ("cash", "Win  , win!")]);
        assert!(without_words("").is_empty());
        assert_eq!(without_words(&"a b c ".repeat(5_000)).len(), 3);
    }

    #[test]
    fn log_odds_are_those_of_the_softmax() {
        let odds = log_odds(&[1.0, 3.0, 2.0], 1, 2.0);
        let mut probabilities = [1.0, 3.0, 2.0];
        softmax(&mut probabilities, 2.0);
        let expected = (probabilities[1] / (1.0 - probabilities[1])).ln();
        assert!((odds - expected).abs() < 1e-5);
    }

    #[test]
    fn distances_are_scaled_by_validation_rows() {
        let mut unseen: Vec<f32> = (0..101).map(|i| i as f32 / 200.0).collect();
        let mut energies: Vec<f32> = (0..101).map(|i| -(i as f32)).collect();
        let distance = Distance::fit(&mut unseen, &mut energies);
        assert!((distance.of(0.495, -50.0) - 1.0).abs() < 1e-5);
        assert!((distance.of(0.0, -1.0) - 1.0).abs() < 1e-5);
        assert_eq!(distance.of(0.0, -100.0), 0.0);
        assert!(Distance::fit(&mut [], &mut []).is_sound());
    }
}
