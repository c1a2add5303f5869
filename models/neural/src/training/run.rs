//! One training run: batches, steps, and the best weights on the validation part.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, activation};
use verdict_stats::calibration::{fit_temperature, negative_log_likelihood};
use verdict_stats::random::SeededRandom;

use crate::NeuralError;
use crate::features::{ColumnFeatures, EncodedRow, FeatureSpace};
use crate::kernel::{self, KernelScratch};
use crate::network::{Head, LayerWeights, NetworkShape, NetworkWeights, plain};
use crate::training::recipe::Recipe;
use crate::training::table::{TableOptimiser, TrainingTable};

/// Purposes of random sequences, so that one does not shift another.
const PURPOSE_INITIAL: u64 = 10;
const PURPOSE_ORDER: u64 = 11;
const PURPOSE_DROPOUT: u64 = 12;

/// Rows with their labels, encoded for accumulated number columns.
pub struct EncodedRows {
    /// The rows.
    pub rows: Vec<EncodedRow>,
    /// A label each.
    pub labels: Vec<u32>,
}

/// What a run needs beside its rows.
pub struct RunOptions<'a> {
    /// Sizes and rates.
    pub recipe: Recipe,
    /// Seed of every random choice.
    pub seed: u64,
    /// The features.
    pub space: &'a FeatureSpace,
    /// A weight for each label.
    pub label_weights: Vec<f32>,
    /// Stop after this epoch and keep its weights; `None` stops early and keeps the best.
    pub epochs: Option<u32>,
}

/// Where a run stands.
pub struct RunProgress {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Steps done.
    pub step: u64,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on the validation part after the last full epoch.
    pub validation_accuracy: Option<f64>,
}

/// The result of a run.
pub struct RunResult {
    /// The weights, the table as trained (not accumulated).
    pub weights: NetworkWeights,
    /// The epoch they are from.
    pub epoch: u32,
}

/// Steps of one epoch.
pub fn steps_per_epoch(rows: usize, batch_size: usize) -> u64 {
    rows.div_ceil(batch_size.max(1)) as u64
}

/// Trains a network on `train`; `validation` chooses the epoch.
pub fn run(
    options: &RunOptions<'_>,
    train: &EncodedRows,
    validation: &EncodedRows,
    progress: &mut dyn FnMut(RunProgress),
) -> Result<RunResult, NeuralError> {
    let labels = options.label_weights.len();
    let shape = options.recipe.shape(options.space.len(), labels);
    if !shape.is_sound() {
        return Err(NeuralError::training("the network would be too large for these columns"));
    }
    let mut state = RunState::new(options, shape, train);
    let epochs = options.epochs.unwrap_or(options.recipe.epochs_max);
    let mut best: Option<(f64, RunResult)> = None;
    let mut accuracy = None;
    for epoch in 1..=epochs {
        state.epoch(train, &mut |step, loss| {
            progress(RunProgress { epoch, step, loss, validation_accuracy: accuracy });
        })?;
        if options.epochs.is_some() {
            continue;
        }
        let weights = state.weights();
        let (loss, right) = validate(&weights, options.space, validation);
        accuracy = Some(right);
        if best.as_ref().is_none_or(|(least, _)| loss < *least) {
            best = Some((loss, RunResult { weights, epoch }));
        } else if best.as_ref().is_some_and(|(_, b)| epoch - b.epoch >= options.recipe.patience) {
            break;
        }
    }
    match best {
        Some((_, result)) => Ok(result),
        None => Ok(RunResult { weights: state.weights(), epoch: epochs }),
    }
}

/// Logits of encoded rows, row-major.
pub fn logits(weights: &NetworkWeights, space: &FeatureSpace, rows: &[EncodedRow]) -> Vec<f32> {
    let mut table = weights.table.clone();
    space.accumulate(&mut table, weights.shape.width());
    let mut scratch = KernelScratch::default();
    let mut logits = Vec::with_capacity(rows.len() * weights.shape.labels);
    for row in rows {
        kernel::forward(weights, &table, row, &mut scratch, &mut logits);
    }
    logits
}

/// The loss at the best temperature (training makes logits grow, which says nothing about how well
/// they part the labels) and the accuracy.
fn validate(weights: &NetworkWeights, space: &FeatureSpace, rows: &EncodedRows) -> (f64, f64) {
    let labels = weights.shape.labels;
    let logits = logits(weights, space, &rows.rows);
    let temperature = fit_temperature(&logits, labels, &rows.labels);
    let loss = negative_log_likelihood(&logits, labels, &rows.labels, temperature);
    let right = logits
        .chunks_exact(labels)
        .zip(&rows.labels)
        .filter(|(row, label)| highest(row) == **label as usize)
        .count();
    (loss, right as f64 / rows.labels.len().max(1) as f64)
}

/// The position of the highest value, the first of equals.
pub fn highest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

struct RunState<'a> {
    options: &'a RunOptions<'a>,
    device: Device,
    shape: NetworkShape,
    table: TrainingTable,
    head: Head,
    optimiser: ModuleOptimizer,
    order: SeededRandom,
    dropout: SeededRandom,
    step: u64,
    steps_max: u64,
    template: NetworkWeights,
}

impl<'a> RunState<'a> {
    fn new(options: &'a RunOptions<'a>, shape: NetworkShape, train: &EncodedRows) -> Self {
        let recipe = options.recipe;
        let device = Device::flex().autodiff();
        let mut template = initial_weights(options, shape, &train.rows);
        let table =
            TrainingTable::new(std::mem::take(&mut template.table), shape.width(), options.space);
        let head = Head::from_weights(&template, &device);
        let optimiser =
            AdamWConfig::new().with_weight_decay(recipe.weight_decay).with_epsilon(1e-8).init();
        let per_epoch = steps_per_epoch(train.rows.len(), recipe.batch_size);
        Self {
            options,
            device,
            shape,
            table,
            head,
            optimiser,
            order: SeededRandom::new(options.seed, PURPOSE_ORDER),
            dropout: SeededRandom::new(options.seed, PURPOSE_DROPOUT),
            step: 0,
            steps_max: per_epoch * u64::from(recipe.epochs_max),
            template,
        }
    }

    /// Share of the peak step size: up over the first twentieth, then down to a hundredth.
    fn schedule(&self) -> f64 {
        let at = self.step as f64 / self.steps_max.max(1) as f64;
        if at < 0.05 { (at / 0.05).max(0.02) } else { ((1.0 - at) / 0.95).max(0.01) }
    }

    fn epoch(
        &mut self,
        train: &EncodedRows,
        progress: &mut dyn FnMut(u64, f64),
    ) -> Result<(), NeuralError> {
        let mut order: Vec<usize> = (0..train.rows.len()).collect();
        self.order.shuffle(&mut order);
        let (mut sum, mut steps) = (0.0, 0.0);
        for batch in order.chunks(self.options.recipe.batch_size.max(1)) {
            let loss = self.batch(train, batch);
            if !loss.is_finite() {
                return Err(NeuralError::training("the loss is not a number: lower the rate"));
            }
            sum += loss;
            steps += 1.0;
            self.step += 1;
            progress(self.step, sum / steps);
        }
        Ok(())
    }

    /// One step; gives the loss of the batch.
    fn batch(&mut self, train: &EncodedRows, batch: &[usize]) -> f64 {
        let width = self.shape.width();
        let rows = self.hide_features(train, batch);
        let mut bags = vec![0.0; rows.len() * width];
        for (row, bag) in rows.iter().zip(bags.chunks_exact_mut(width)) {
            self.table.add_bag(row, bag);
        }
        let bag = Tensor::<2>::from_data(TensorData::new(bags, [rows.len(), width]), &self.device)
            .require_grad();
        let (targets, total) = self.targets(train, batch);
        let masks = self.masks(rows.len());
        let logits = self.head.forward(bag.clone(), &masks);
        let scale = -1.0 / (f64::from(total.max(1e-6)) * self.shape.members as f64);
        let loss = (activation::log_softmax(logits, 2) * targets).sum().mul_scalar(scale);
        let mut gradients = loss.backward();
        let bag_gradient = bag.grad_remove(&mut gradients).map(plain).unwrap_or_default();
        let loss = plain(loss).first().copied().unwrap_or(f32::NAN);

        let share = self.schedule();
        let recipe = self.options.recipe;
        let gradients = GradientsParams::from_grads(gradients, &self.head);
        self.head = self.optimiser.step(recipe.rate * share, self.head.clone(), gradients);
        for (row, gradient) in rows.iter().zip(bag_gradient.chunks_exact(width)) {
            self.table.add_gradient(row, gradient);
        }
        let optimiser = TableOptimiser {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: recipe.weight_decay,
        };
        self.table.step(self.options.space, optimiser, |is_number| {
            (share * if is_number { recipe.rate } else { recipe.rate_sparse }) as f32
        });
        f64::from(loss)
    }

    /// The rows of a batch without a random share of their text features.
    fn hide_features(&mut self, train: &EncodedRows, batch: &[usize]) -> Vec<EncodedRow> {
        let hidden = self.options.recipe.dropout_features;
        let texts: Vec<std::ops::Range<usize>> = self.options.space.text_ranges();
        let mut rows = Vec::with_capacity(batch.len());
        for &index in batch {
            let row = &train.rows[index];
            if hidden <= 0.0 || texts.is_empty() {
                rows.push(row.clone());
                continue;
            }
            let mut kept = EncodedRow::default();
            for (&feature, &weight) in row.features.iter().zip(&row.weights) {
                let is_text = texts.iter().any(|range| range.contains(&(feature as usize)));
                if !is_text {
                    kept.features.push(feature);
                    kept.weights.push(weight);
                } else if self.dropout.unit() as f32 >= hidden {
                    kept.features.push(feature);
                    kept.weights.push(weight / (1.0 - hidden));
                }
            }
            rows.push(kept);
        }
        rows
    }

    /// Smoothed, weighted targets `[1, batch, labels]` and the sum of weights.
    fn targets(&self, train: &EncodedRows, batch: &[usize]) -> (Tensor<3>, f32) {
        let labels = self.shape.labels;
        let smoothing = self.options.recipe.label_smoothing;
        let mut targets = vec![0.0; batch.len() * labels];
        let mut total = 0.0;
        for (&index, target) in batch.iter().zip(targets.chunks_exact_mut(labels)) {
            let label = train.labels[index] as usize;
            let weight = self.options.label_weights[label];
            target.fill(weight * smoothing / labels as f32);
            target[label] += weight * (1.0 - smoothing);
            total += weight;
        }
        let data = TensorData::new(targets, [1, batch.len(), labels]);
        (Tensor::from_data(data, &self.device), total)
    }

    /// Dropout masks for the inputs of every layer.
    fn masks(&mut self, batch: usize) -> Vec<Tensor<3>> {
        let silenced = self.options.recipe.dropout_hidden;
        if silenced <= 0.0 {
            return Vec::new();
        }
        let (members, hidden) = (self.shape.members, self.shape.hidden);
        let keep = 1.0 / (1.0 - silenced);
        (0..self.shape.depth)
            .map(|_| {
                let mask: Vec<f32> = (0..members * batch * hidden)
                    .map(|_| if (self.dropout.unit() as f32) < silenced { 0.0 } else { keep })
                    .collect();
                let data = TensorData::new(mask, [members, batch, hidden]);
                Tensor::from_data(data, &self.device)
            })
            .collect()
    }

    fn weights(&self) -> NetworkWeights {
        let mut weights = self.template.clone();
        self.head.clone().valid().store(&mut weights);
        weights.table = self.table.values().to_vec();
        weights
    }
}

/// Random weights: a unit's input has a standard deviation of `gain` over the training rows, split
/// evenly among the kinds of columns; the linear path starts at zero.
fn initial_weights(
    options: &RunOptions<'_>,
    shape: NetworkShape,
    rows: &[EncodedRow],
) -> NetworkWeights {
    let mut random = SeededRandom::new(options.seed, PURPOSE_INITIAL);
    let own = shape.members * shape.hidden;
    let mut table = vec![0.0; shape.features * shape.width()];
    let columns = options.space.columns();
    let texts = columns.iter().filter(|c| matches!(c, ColumnFeatures::Text(_))).count();
    for (index, column) in columns.iter().enumerate() {
        let range = options.space.range(index);
        let deviation = match column {
            // Each text has squared length 2 (words and characters).
            ColumnFeatures::Text(_) => options.recipe.gain / (2.0 * texts as f32).sqrt(),
            ColumnFeatures::Number(_) | ColumnFeatures::Category(_) => {
                options.recipe.gain / number_length(columns, rows.len()).sqrt()
            }
        };
        for feature in range {
            let start = feature * shape.width();
            for value in &mut table[start..start + own] {
                *value = random.normal() as f32 * deviation;
            }
        }
    }
    let layers = shape.layers().into_iter().map(|(inputs, outputs)| {
        let deviation = (2.0 / inputs as f32).sqrt();
        let weight = (0..shape.members * inputs * outputs)
            .map(|_| random.normal() as f32 * deviation)
            .collect();
        LayerWeights { weight, bias: vec![0.0; shape.members * outputs] }
    });
    NetworkWeights { shape, layers: layers.collect(), bias: vec![0.0; shape.width()], table }
}

/// About the squared length of the encoding of all numbers and categories of a row: half of the
/// bins of a number are below its value.
fn number_length(columns: &[ColumnFeatures], _rows: usize) -> f32 {
    let length: f32 = columns
        .iter()
        .map(|column| match column {
            ColumnFeatures::Text(_) => 0.0,
            ColumnFeatures::Number(bins) => 1.0 + bins.edges.len() as f32 / 2.0,
            ColumnFeatures::Category(_) => 1.0,
        })
        .sum();
    length.max(1.0)
}
