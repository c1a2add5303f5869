//! Measures of a model on labelled rows.

use std::collections::BTreeMap;

use verdict_config::model::{ModelManifest, ModelOutput};
use verdict_stats::calibration::{CALIBRATION_BINS, expected_calibration_error};
use verdict_stats::metrics::{Confusion, auc, brier_binary, brier_multiclass};

use crate::training::highest;
use crate::{Dataset, NeuralError};

/// Measures of a model on labelled rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EvaluationReport {
    /// Rows.
    pub n: usize,
    /// Share of rows whose label has the highest score.
    pub accuracy: f64,
    /// Mean over the labels that occur, as truth or prediction, of the harmonic mean of precision and
    /// recall. A label that the model does not know counts with 0.
    pub macro_f1: f64,
    /// The same over the labels that the model knows.
    #[serde(default)]
    pub macro_f1_known: f64,
    /// Area under the ROC curve; for more than two labels the mean of one against the rest over the
    /// labels that occur. `None` where only one label occurs.
    pub auc: Option<f64>,
    /// Mean squared error of the probability of the positive label (two labels), or squared errors
    /// summed over labels (more). `None` for anomaly models, whose scores are no probabilities.
    pub brier: Option<f64>,
    /// Expected calibration error of the highest probability, 15 equal-width bins; `None` for
    /// anomaly models.
    pub ece: Option<f64>,
    /// Labels of the data that the model does not know, with their rows, all of which count as wrong.
    #[serde(default)]
    pub unknown_labels: BTreeMap<String, usize>,
}

impl EvaluationReport {
    /// The measures by name, for a manifest.
    pub(crate) fn metrics(&self) -> Vec<(&'static str, f64)> {
        let mut metrics =
            vec![("n", self.n as f64), ("accuracy", self.accuracy), ("macro_f1", self.macro_f1)];
        let optional = [("auc", self.auc), ("brier", self.brier), ("ece", self.ece)];
        metrics.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        metrics
    }
}

/// The labels of a dataset as a model sees them.
struct Truth {
    /// Each row's label: its position among the model's labels, unknown ones behind them.
    positions: Vec<u32>,
    /// The labels that the model does not know, with their rows.
    unknown: BTreeMap<String, usize>,
}

impl Truth {
    fn new(manifest: &ModelManifest, dataset: &Dataset) -> Self {
        let mut behind = manifest.labels.len();
        let known = |name: &String| manifest.labels.iter().position(|label| label == name);
        let of_label: Vec<u32> = dataset
            .label_names
            .iter()
            .map(|name| {
                let position = known(name).unwrap_or_else(|| {
                    behind += 1;
                    behind - 1
                });
                u32::try_from(position).unwrap_or(u32::MAX)
            })
            .collect();
        let mut truth = Self { positions: Vec::new(), unknown: BTreeMap::new() };
        for label in &dataset.labels {
            let position = of_label.get(*label as usize).copied().unwrap_or(u32::MAX);
            truth.positions.push(position);
            let name = dataset.label_names.get(*label as usize);
            if let Some(name) = name.filter(|_| position as usize >= manifest.labels.len()) {
                *truth.unknown.entry(name.clone()).or_default() += 1;
            }
        }
        truth
    }
}

/// Measures of a classifier.
pub fn classification(
    manifest: &ModelManifest,
    outputs: &[ModelOutput],
    dataset: &Dataset,
) -> EvaluationReport {
    let labels = manifest.labels.len();
    let Truth { positions: truth, unknown } = Truth::new(manifest, dataset);
    let predicted: Vec<u32> = outputs.iter().map(|o| highest(&o.scores) as u32).collect();
    let confusion = Confusion::new(labels + unknown.len(), &truth, &predicted);
    let right: Vec<bool> = truth.iter().zip(&predicted).map(|(a, b)| a == b).collect();
    let confidence: Vec<f64> =
        outputs.iter().map(|output| f64::from(output.scores[highest(&output.scores)])).collect();
    let score_of =
        |label: usize| outputs.iter().map(move |o| f64::from(o.scores[label])).collect::<Vec<_>>();
    let is = |label: usize| truth.iter().map(|t| *t as usize == label).collect::<Vec<bool>>();
    let (auc, brier) = if labels == 2 {
        let positive = manifest
            .positive_label
            .as_ref()
            .and_then(|name| manifest.labels.iter().position(|label| label == name))
            .unwrap_or(1);
        let (scores, positives) = (score_of(positive), is(positive));
        (auc(&scores, &positives), brier_binary(&scores, &positives))
    } else {
        let areas: Vec<f64> =
            (0..labels).filter_map(|label| auc(&score_of(label), &is(label))).collect();
        let mean = areas.iter().sum::<f64>() / areas.len().max(1) as f64;
        let scores: Vec<f32> = outputs.iter().flat_map(|o| o.scores.iter().copied()).collect();
        ((!areas.is_empty()).then_some(mean), brier_multiclass(&scores, labels, &truth))
    };
    EvaluationReport {
        n: outputs.len(),
        accuracy: confusion.accuracy(),
        macro_f1: confusion.macro_f1(),
        macro_f1_known: confusion.macro_f1_over(labels),
        auc,
        brier,
        ece: expected_calibration_error(&confidence, &right, CALIBRATION_BINS),
        unknown_labels: unknown,
    }
}

/// Measures of an anomaly model on two labels: the positive one (the manifest's, else the rarer)
/// is what scores above .5, the paper's bound for "unlike most".
pub fn anomaly(
    manifest: &ModelManifest,
    outputs: &[ModelOutput],
    dataset: &Dataset,
) -> Result<EvaluationReport, NeuralError> {
    if dataset.label_names.len() > 2 {
        return Err(NeuralError::training("an anomaly model is measured on two labels"));
    }
    let named = manifest.positive_label.as_ref();
    let positive = named
        .and_then(|name| dataset.label_names.iter().position(|label| label == name))
        .unwrap_or_else(|| rarer(dataset)) as u32;
    let truth: Vec<u32> = dataset.labels.iter().map(|l| u32::from(*l == positive)).collect();
    let scores: Vec<f64> =
        outputs.iter().map(|o| o.scores.first().map_or(0.0, |score| f64::from(*score))).collect();
    let predicted: Vec<u32> = scores.iter().map(|score| u32::from(*score > 0.5)).collect();
    let confusion = Confusion::new(2, &truth, &predicted);
    let positives: Vec<bool> = truth.iter().map(|label| *label == 1).collect();
    Ok(EvaluationReport {
        n: outputs.len(),
        accuracy: confusion.accuracy(),
        macro_f1: confusion.macro_f1(),
        macro_f1_known: confusion.macro_f1(),
        auc: auc(&scores, &positives),
        brier: None,
        ece: None,
        unknown_labels: BTreeMap::new(),
    })
}

/// The less frequent of two labels, the second of equals.
pub fn rarer(dataset: &Dataset) -> usize {
    let first = dataset.labels.iter().filter(|label| **label == 0).count();
    usize::from(dataset.labels.len() <= 2 * first)
}
