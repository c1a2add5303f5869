//! Training of a network in two phases: the first keeps rows apart and calibrates on them, the second
//! trains on every row for as long as the first found best.

use verdict_config::model::ModelOutput;
use verdict_stats::calibration::{fit_temperature, fit_weights, softmax};

use super::linear::{LinearOptions, LinearPath};
use super::options::{Network, Progress, TrainOptions, TrainReport, Trained};
use super::run::{EncodedRows, RunOptions, steps_per_epoch};
use super::{Recipe, manifest, run, set_metrics};
use crate::features::FeatureSpace;
use crate::model::{Classifier, Distance, Spread};
use crate::network::NetworkWeights;
use crate::split::{is_in_part, row_hash};
use crate::{Dataset, EvaluationReport, Model, NeuralError};

fn energies(logits: &[f32], labels: usize) -> Vec<f32> {
    logits.chunks_exact(labels).map(crate::model::energy).collect()
}

/// How the energies of rows spread under a network.
fn trained_energies(weights: &NetworkWeights, space: &FeatureSpace, rows: &EncodedRows) -> Spread {
    let logits = run::logits(weights, space, &rows.rows);
    Spread::of(&mut energies(&logits, weights.shape.labels))
}

/// What the validation part says.
struct Calibrated {
    temperature: f64,
    /// Weights of the members' logits and of the linear path's margins.
    weights: (f64, f64),
    distance: Distance,
    /// Energies of the rows that the first phase trained on.
    trained_energies: Spread,
    ood_threshold: f64,
    report: EvaluationReport,
    epoch: u32,
    train_rows: usize,
    validation_rows: usize,
}

pub(super) struct Phases<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) network: Network,
    pub(super) options: &'a TrainOptions,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    pub(super) recipe: Recipe,
}

impl Phases<'_> {
    pub(super) fn train(&mut self) -> Result<Trained, NeuralError> {
        let rows = self.dataset.rows.len();
        let in_validation: Vec<bool> = self
            .dataset
            .rows
            .iter()
            .map(|row| is_in_part(row_hash(row, self.options.seed), self.options.validation_share))
            .collect();
        let validation: Vec<usize> = (0..rows).filter(|row| in_validation[*row]).collect();
        let train: Vec<usize> = (0..rows).filter(|row| !in_validation[*row]).collect();
        if train.is_empty() || validation.is_empty() {
            return Err(NeuralError::training(
                "the data has too few distinct rows to keep a part of them for validation: add rows, \
                 or raise --validation-share",
            ));
        }
        let calibrated = self.first_phase(&train, &validation)?;
        let all: Vec<usize> = (0..rows).collect();
        let (space, weights) = self.second_phase(&all, &calibrated)?;
        let trained = self.encode(&space, &train);
        let distance = calibrated
            .distance
            .carried(calibrated.trained_energies, trained_energies(&weights, &space, &trained));
        let classifier = Classifier::new(space, weights, distance);
        let weights = classifier.trained_weights().shape;
        let report = TrainReport {
            network: self.network.as_str().to_owned(),
            train_rows: calibrated.train_rows,
            validation_rows: calibrated.validation_rows,
            features: weights.features,
            weights: weights.weights(),
            best_epoch: calibrated.epoch,
            validation: Some(calibrated.report.clone()),
        };
        let mut manifest = manifest(self.dataset, self.options, self.network);
        manifest.temperature = calibrated.temperature;
        manifest.ood_threshold = Some(calibrated.ood_threshold);
        set_metrics(&mut manifest.metrics, &calibrated.report);
        Ok(Trained { model: Model::classifier(manifest, classifier), report })
    }

    fn first_phase(
        &mut self,
        train: &[usize],
        validation: &[usize],
    ) -> Result<Calibrated, NeuralError> {
        let space = self.space(train);
        let (train_rows, validation_rows) =
            (self.encode(&space, train), self.encode(&space, validation));
        let (members, epoch) = self.run(&space, &train_rows, &validation_rows, None)?;
        let labels = self.dataset.label_names.len();
        let (weights, pool) = match self.linear_path(&space, &train_rows) {
            None => (members, (1.0, 0.0)),
            Some(path) => {
                let first = run::logits(&members, &space, &validation_rows.rows);
                let second = path.predict(&validation_rows.rows);
                let pool = fit_weights(&first, &second, labels, &validation_rows.labels);
                (path.join(&members, pool), pool)
            }
        };
        let weights = rounded(weights);
        let mut logits = run::logits(&weights, &space, &validation_rows.rows);
        let temperature = fit_temperature(&logits, labels, &validation_rows.labels);
        let energies = energies(&logits, labels);
        let unseen: Vec<f32> = validation_rows.rows.iter().map(|row| row.unseen).collect();
        let distance = Distance::fit(&mut unseen.clone(), &mut energies.clone());
        let mut distances: Vec<f32> =
            unseen.iter().zip(&energies).map(|(u, e)| distance.of(*u, *e)).collect();
        distances.sort_by(f32::total_cmp);
        // At most one validation row in a hundred lies beyond the threshold.
        let threshold = (distances[(distances.len() - 1) * 99 / 100] * 1.0001).max(1.0);
        let outputs: Vec<ModelOutput> = logits
            .chunks_exact_mut(labels)
            .map(|row| {
                softmax(row, temperature);
                ModelOutput { scores: row.to_vec(), ood_distance: None, kernel: String::new() }
            })
            .collect();
        let part = self.dataset.part(|index, _| validation.binary_search(&index).is_ok());
        let manifest = manifest(self.dataset, self.options, self.network);
        Ok(Calibrated {
            temperature,
            weights: pool,
            distance,
            trained_energies: trained_energies(&weights, &space, &train_rows),
            ood_threshold: f64::from(threshold),
            report: crate::model::classification(&manifest, &outputs, &part),
            epoch,
            train_rows: train.len(),
            validation_rows: validation.len(),
        })
    }

    fn second_phase(
        &mut self,
        all: &[usize],
        calibrated: &Calibrated,
    ) -> Result<(FeatureSpace, NetworkWeights), NeuralError> {
        let space = self.space(all);
        let rows = self.encode(&space, all);
        let none = EncodedRows { rows: Vec::new(), labels: Vec::new() };
        let (members, _) = self.run(&space, &rows, &none, Some(calibrated))?;
        let weights = match self.linear_path(&space, &rows) {
            None => members,
            Some(path) => path.join(&members, calibrated.weights),
        };
        Ok((space, rounded(weights)))
    }

    fn space(&self, rows: &[usize]) -> FeatureSpace {
        let rows: Vec<_> = rows.iter().map(|row| &self.dataset.rows[*row]).collect();
        FeatureSpace::fit(&self.dataset.columns, &rows, self.recipe.features())
    }

    fn encode(&self, space: &FeatureSpace, rows: &[usize]) -> EncodedRows {
        EncodedRows {
            rows: rows.iter().map(|row| space.encode(&self.dataset.rows[*row], true)).collect(),
            labels: rows.iter().map(|row| self.dataset.labels[*row]).collect(),
        }
    }

    /// The linear path over the text features, where the recipe has one.
    fn linear_path(&self, space: &FeatureSpace, rows: &EncodedRows) -> Option<LinearPath> {
        let ranges = space.text_ranges();
        let options = LinearOptions {
            features: space.len(),
            labels: self.dataset.label_names.len(),
            ranges: &ranges,
            cost: self.recipe.cost,
            label_weights: &self.label_weights(&rows.labels),
            seed: self.options.seed,
        };
        let wanted = self.recipe.linear && !ranges.is_empty();
        wanted.then(|| LinearPath::fit(&options, &rows.rows, &rows.labels))
    }

    /// One run of the members.
    fn run(
        &mut self,
        space: &FeatureSpace,
        train: &EncodedRows,
        validation: &EncodedRows,
        calibrated: Option<&Calibrated>,
    ) -> Result<(NetworkWeights, u32), NeuralError> {
        let options = RunOptions {
            recipe: self.recipe,
            seed: self.options.seed,
            space,
            label_weights: self.label_weights(&train.labels),
            epochs: calibrated.map(|calibrated| calibrated.epoch),
        };
        let epochs_max = self.recipe.epochs_max;
        let batch_size = self.recipe.batch_size;
        let rows = self.dataset.rows.len();
        let (before, steps_max) = match calibrated {
            None => {
                let first = steps_per_epoch(train.rows.len(), batch_size);
                (0, (first + steps_per_epoch(rows, batch_size)) * u64::from(epochs_max))
            }
            Some(calibrated) => {
                let first = steps_per_epoch(calibrated.train_rows, batch_size);
                let first = first * u64::from(epochs_max);
                let second = steps_per_epoch(rows, batch_size) * u64::from(calibrated.epoch);
                (first, first + second)
            }
        };
        let progress = &mut *self.progress;
        let result = run::run(&options, train, validation, &mut |at| {
            progress(Progress {
                step: before + at.step,
                steps_max,
                epoch: at.epoch,
                epochs_max: calibrated.map_or(epochs_max, |calibrated| calibrated.epoch),
                loss: at.loss,
                validation_accuracy: at
                    .validation_accuracy
                    .or(calibrated.map(|calibrated| calibrated.report.accuracy)),
                refit: calibrated.is_some(),
            });
        })?;
        Ok((result.weights, result.epoch))
    }

    /// 1 for every label, or `rows / (labels * rows of the label)` when balanced.
    fn label_weights(&self, train: &[u32]) -> Vec<f32> {
        let labels = self.dataset.label_names.len();
        let mut counts = vec![0u32; labels];
        for label in train {
            counts[*label as usize] += 1;
        }
        let weight = |count: u32| {
            if self.options.balanced && count > 0 {
                train.len() as f32 / (labels as f32 * count as f32)
            } else {
                1.0
            }
        };
        counts.into_iter().map(weight).collect()
    }
}

/// Weights with the table rounded to what a folder keeps.
fn rounded(mut weights: NetworkWeights) -> NetworkWeights {
    crate::model::round_to_half(&mut weights.table);
    weights
}
