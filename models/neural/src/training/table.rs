//! The first layer during training: sparse sums forward, sparse gradients back, lazy AdamW.
//!
//! The gradient of the loss with respect to a bag comes from burn's autodiff; from there to the
//! table's rows it is an outer product with the few features of the row, done here on exactly those
//! rows. Rows that a batch does not name are not touched: their moments wait (as in the sparse
//! variants of Adam), with a step count of their own for the bias correction.

use crate::features::{EncodedRow, FeatureSpace};
use crate::kernel::add_scaled;

/// AdamW of the table (Loshchilov and Hutter 2019).
#[derive(Debug, Clone, Copy)]
pub struct TableOptimiser {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay, per unit of step size.
    pub weight_decay: f32,
}

/// A table of rows with the state of its optimiser.
pub struct TrainingTable {
    width: usize,
    values: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: Vec<u32>,
    /// Running sums over the bins of number columns, where there are any; other rows unused.
    accumulated: Vec<f32>,
    /// Ranges of rows of number columns: touched by every batch.
    numbers: Vec<std::ops::Range<usize>>,
    is_number: Vec<bool>,
    /// The place of a row's gradient in this step, plus one; 0 for none.
    slots: Vec<u32>,
    touched: Vec<u32>,
    gradients: Vec<f32>,
}

impl TrainingTable {
    /// A table with its initial values.
    pub fn new(values: Vec<f32>, width: usize, space: &FeatureSpace) -> Self {
        let rows = space.len();
        let numbers = space.number_ranges();
        let mut is_number = vec![false; rows];
        for range in &numbers {
            is_number[range.clone()].fill(true);
        }
        let accumulated = if numbers.is_empty() { Vec::new() } else { vec![0.0; values.len()] };
        let mut table = Self {
            width,
            first: vec![0.0; values.len()],
            second: vec![0.0; values.len()],
            steps: vec![0; rows],
            accumulated,
            numbers,
            is_number,
            slots: vec![0; rows],
            touched: Vec::new(),
            gradients: Vec::new(),
            values,
        };
        table.accumulate(space);
        table
    }

    /// The values as trained.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    fn accumulate(&mut self, space: &FeatureSpace) {
        let width = self.width;
        for range in &self.numbers {
            let range = range.start * width..range.end * width;
            self.accumulated[range.clone()].copy_from_slice(&self.values[range]);
        }
        if !self.numbers.is_empty() {
            space.accumulate(&mut self.accumulated, width);
        }
    }

    /// Adds the bag of a row (encoded for accumulated numbers) to `bag`.
    pub fn add_bag(&self, row: &EncodedRow, bag: &mut [f32]) {
        for (feature, weight) in row.features.iter().zip(&row.weights) {
            let feature = *feature as usize;
            let rows = if self.is_number[feature] { &self.accumulated } else { &self.values };
            add_scaled(bag, *weight, &rows[feature * self.width..(feature + 1) * self.width]);
        }
    }

    /// Adds the gradients of the rows that `row` names, from the gradient of its bag.
    pub fn add_gradient(&mut self, row: &EncodedRow, gradient: &[f32]) {
        for (feature, weight) in row.features.iter().zip(&row.weights) {
            let slot = self.slot(*feature as usize);
            let start = slot * self.width;
            add_scaled(&mut self.gradients[start..start + self.width], *weight, gradient);
        }
    }

    fn slot(&mut self, feature: usize) -> usize {
        if self.slots[feature] == 0 {
            self.touched.push(feature as u32);
            self.slots[feature] = self.touched.len() as u32;
            self.gradients.resize(self.touched.len() * self.width, 0.0);
        }
        self.slots[feature] as usize - 1
    }

    /// One step on the rows touched since the last; `rate` gives the step size of a row.
    pub fn step(
        &mut self,
        space: &FeatureSpace,
        optimiser: TableOptimiser,
        rate: impl Fn(bool) -> f32,
    ) {
        self.unroll_number_gradients(space);
        for index in 0..self.touched.len() {
            let feature = self.touched[index] as usize;
            self.slots[feature] = 0;
            self.steps[feature] += 1;
            let rate = rate(self.is_number[feature]);
            self.update_row(index, feature, rate, optimiser);
        }
        self.touched.clear();
        self.gradients.clear();
        self.accumulate(space);
    }

    /// A bin's own row takes part in the running sums of its bin and all later ones: its gradient
    /// is the sum of theirs.
    fn unroll_number_gradients(&mut self, space: &FeatureSpace) {
        for index in 0..self.numbers.len() {
            let range = self.numbers[index].clone();
            // The last row of the range says "missing" and stands alone.
            for feature in (range.start + 1..range.end - 1).rev() {
                let (from, to) = (self.slot(feature), self.slot(feature - 1));
                for column in 0..self.width {
                    let later = self.gradients[from * self.width + column];
                    self.gradients[to * self.width + column] += later;
                }
            }
        }
        debug_assert_eq!(space.len() * self.width, self.values.len());
    }

    fn update_row(&mut self, slot: usize, feature: usize, rate: f32, optimiser: TableOptimiser) {
        let TableOptimiser { beta_1, beta_2, epsilon, weight_decay } = optimiser;
        let steps = self.steps[feature].min(1 << 20) as i32;
        let correction_1 = 1.0 / (1.0 - beta_1.powi(steps));
        let correction_2 = 1.0 / (1.0 - beta_2.powi(steps));
        let range = feature * self.width..(feature + 1) * self.width;
        let gradients = &self.gradients[slot * self.width..(slot + 1) * self.width];
        let values = &mut self.values[range.clone()];
        let (first, second) = (&mut self.first[range.clone()], &mut self.second[range]);
        let keep = 1.0 - rate * weight_decay;
        for (((value, first), second), gradient) in
            values.iter_mut().zip(first).zip(second).zip(gradients)
        {
            *first = beta_1 * *first + (1.0 - beta_1) * gradient;
            *second = beta_2 * *second + (1.0 - beta_2) * gradient * gradient;
            let scale = (*second * correction_2).sqrt() + epsilon;
            *value = *value * keep - rate * (*first * correction_1) / scale;
        }
    }
}
