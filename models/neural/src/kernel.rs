//! The network on a CPU without tensors: only the rows of the table that a row of data names.
//!
//! A text of 200 n-grams costs 200 rows of the table; as a dense product it would cost all of them.
//! Sums run over the vector of outputs (`y += x * row`), which the compiler vectorises without
//! reordering any addition: a row gives the same bits alone and in any batch.

use crate::features::EncodedRow;
use crate::network::NetworkWeights;

/// Buffers of one evaluation, kept between rows.
#[derive(Debug, Default)]
pub struct KernelScratch {
    bag: Vec<f32>,
    state: Vec<f32>,
    next: Vec<f32>,
}

/// Adds `factor * row` to `sum`.
#[inline]
pub fn add_scaled(sum: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

/// The weighted sum of the table's rows that `row` names, into `bag` (cleared first).
pub fn bag(table: &[f32], width: usize, row: &EncodedRow, bag: &mut Vec<f32>) {
    bag.clear();
    bag.resize(width, 0.0);
    for (feature, weight) in row.features.iter().zip(&row.weights) {
        let start = *feature as usize * width;
        add_scaled(bag, *weight, &table[start..start + width]);
    }
}

/// The mean logits of a row, appended to `logits`. `table` is the first layer that fits the row's
/// encoding: as trained, or accumulated.
pub fn forward(
    weights: &NetworkWeights,
    table: &[f32],
    row: &EncodedRow,
    scratch: &mut KernelScratch,
    logits: &mut Vec<f32>,
) {
    bag(table, weights.shape.width(), row, &mut scratch.bag);
    head(weights, scratch, logits);
}

fn head(weights: &NetworkWeights, scratch: &mut KernelScratch, logits: &mut Vec<f32>) {
    let shape = weights.shape;
    let (members, hidden, labels) = (shape.members, shape.hidden, shape.labels);
    let KernelScratch { bag, state, next } = scratch;
    for (value, bias) in bag.iter_mut().zip(&weights.bias) {
        *value += *bias;
    }
    let start = logits.len();
    logits.resize(start + labels, 0.0);
    let sum = &mut logits[start..];
    for member in 0..members {
        state.clear();
        state.extend_from_slice(&bag[member * hidden..(member + 1) * hidden]);
        for (layer, (inputs, outputs)) in weights.layers.iter().zip(shape.layers()) {
            next.clear();
            next.extend_from_slice(&layer.bias[member * outputs..(member + 1) * outputs]);
            for (index, value) in state.iter().enumerate() {
                // The rectifier: a row of a silent unit adds nothing.
                if *value > 0.0 {
                    let at = (member * inputs + index) * outputs;
                    add_scaled(next, *value, &layer.weight[at..at + outputs]);
                }
            }
            std::mem::swap(state, next);
        }
        add_scaled(sum, 1.0 / members as f32, state);
    }
    if shape.linear {
        add_scaled(sum, 1.0, &bag[members * hidden..]);
    }
}
