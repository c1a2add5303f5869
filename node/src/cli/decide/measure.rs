//! How good the decisions of labelled records are.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use verdict_stats::calibration::expected_calibration_error;
use verdict_stats::metrics::{Confusion, auc, brier_binary};

use super::Decided;
use crate::cli::Failure;
use crate::cli::data::Records;

/// Bins of the calibration error.
const BINS: usize = 15;

/// One record that was decided: its label, what was predicted, and a probability of each label that
/// the decision names.
struct Judged {
    truth: String,
    predicted: String,
    confidence: f64,
    named: BTreeMap<String, f64>,
}

/// Accuracy, macro F1, AUC, Brier score and calibration error. Records that could not be decided
/// count as wrong.
pub fn measure(
    records: &Records,
    decided: &[Decided],
    label: &str,
    positive: Option<&str>,
) -> Result<Json, Failure> {
    if !records.columns.iter().any(|column| column == label) {
        return Err(Failure::new(format!("the data has no column {label:?}")));
    }
    let classifies = decided.iter().flatten().any(|decision| !decision["classification"].is_null());
    let truths: Vec<String> = records.rows.iter().map(|row| text_of(row.get(label))).collect();
    let positive = positive.map(str::to_owned).or_else(|| rarest(&truths));
    let judged: Vec<Judged> = truths
        .into_iter()
        .zip(decided)
        .map(|(truth, decided)| {
            if classifies {
                by_class(truth, decided)
            } else {
                by_risk(truth, decided, positive.as_deref())
            }
        })
        .collect();
    Ok(measures(&judged, classifies, positive.as_deref()))
}

fn text_of(value: Option<&Json>) -> String {
    match value {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn rarest(truths: &[String]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for truth in truths {
        *counts.entry(truth).or_default() += 1;
    }
    counts.into_iter().min_by_key(|(_, count)| *count).map(|(label, _)| label.to_owned())
}

fn by_class(truth: String, decided: &Decided) -> Judged {
    let class = decided.as_ref().map_or(&Json::Null, |decision| &decision["classification"]);
    let predicted = class["label"].as_str().unwrap_or_default().to_owned();
    let confidence = class["confidence"].as_f64().unwrap_or(0.0);
    let mut named = BTreeMap::from([(predicted.clone(), confidence)]);
    for other in class["alternatives"].as_array().into_iter().flatten() {
        if let (Some(label), Some(confidence)) =
            (other["label"].as_str(), other["confidence"].as_f64())
        {
            named.insert(label.to_owned(), confidence);
        }
    }
    Judged { truth, predicted, confidence, named }
}

/// A flow that does not classify answers a risk: the positive label's probability is its score.
fn by_risk(truth: String, decided: &Decided, positive: Option<&str>) -> Judged {
    let score = decided.as_ref().ok().and_then(|decision| decision["risk"]["score"].as_f64());
    let outcome = decided.as_ref().ok().and_then(|decision| decision["outcome"].as_str());
    let positive = positive.unwrap_or_default();
    let stopped = outcome.is_some_and(|outcome| outcome != "approve");
    let predicted = match outcome {
        None => String::new(),
        Some(_) if stopped => positive.to_owned(),
        Some(_) if truth == positive => "(approved)".to_owned(),
        Some(_) => truth.clone(),
    };
    let probability = score.unwrap_or(0.0) / 1000.0;
    let confidence = if stopped { probability } else { 1.0 - probability };
    let named = BTreeMap::from([(positive.to_owned(), probability)]);
    Judged { truth, predicted, confidence, named }
}

fn measures(judged: &[Judged], classifies: bool, positive: Option<&str>) -> Json {
    let mut labels: Vec<&str> = judged
        .iter()
        .flat_map(|judged| [judged.truth.as_str(), judged.predicted.as_str()])
        .filter(|label| !label.is_empty() && *label != "(approved)")
        .collect();
    labels.sort_unstable();
    labels.dedup();
    let index = |label: &str| {
        labels.binary_search(&label).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
    };
    let truth: Vec<u32> = judged.iter().map(|judged| index(&judged.truth)).collect();
    let predicted: Vec<u32> = judged.iter().map(|judged| index(&judged.predicted)).collect();
    let confusion = Confusion::new(labels.len(), &truth, &predicted);
    let right: Vec<bool> = judged.iter().map(|judged| judged.truth == judged.predicted).collect();
    let confidence: Vec<f64> = judged.iter().map(|judged| judged.confidence).collect();
    let two = labels.len() == 2 || !classifies;
    let positive = positive.unwrap_or_default();
    let probabilities: Vec<f64> =
        judged.iter().map(|judged| probability(judged, positive, two)).collect();
    let is_positive: Vec<bool> = judged.iter().map(|judged| judged.truth == positive).collect();
    let area = if two { auc(&probabilities, &is_positive) } else { mean_auc(judged, &labels) };
    let brier = if two { brier_binary(&probabilities, &is_positive) } else { None };
    json!({
        "n": judged.len(),
        "accuracy": confusion.accuracy(),
        "macro_f1": confusion.macro_f1(),
        "auc": area,
        "brier": brier,
        "ece": expected_calibration_error(&confidence, &right, BINS),
    })
}

/// The probability of a label; of two labels, what the other one leaves.
fn probability(judged: &Judged, label: &str, two: bool) -> f64 {
    match judged.named.get(label) {
        Some(probability) => *probability,
        None if two && !judged.predicted.is_empty() => 1.0 - judged.confidence,
        None => 0.0,
    }
}

/// Mean of one label against the rest. A decision names its best labels only; others count as 0.
fn mean_auc(judged: &[Judged], labels: &[&str]) -> Option<f64> {
    let areas: Vec<f64> = labels
        .iter()
        .filter_map(|label| {
            let scores: Vec<f64> =
                judged.iter().map(|judged| probability(judged, label, false)).collect();
            let positive: Vec<bool> = judged.iter().map(|judged| judged.truth == *label).collect();
            auc(&scores, &positive)
        })
        .collect();
    (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(labels: &[&str]) -> Records {
        let row = |label: &&str| serde_json::Map::from_iter([("y".to_owned(), json!(label))]);
        Records { columns: vec!["y".to_owned()], rows: labels.iter().map(row).collect() }
    }

    #[test]
    fn classes_are_measured_and_failures_count_as_wrong() {
        let decision = |label: &str, confidence: f64| {
            Ok(json!({"outcome": "approve", "classification":
                {"label": label, "confidence": confidence, "alternatives": []}}))
        };
        let decided = [
            decision("spam", 0.9),
            decision("ham", 0.8),
            decision("spam", 0.6),
            Err(json!({"code": "VD0402"})),
        ];
        let found = measure(&records(&["spam", "ham", "ham", "ham"]), &decided, "y", None).unwrap();
        assert_eq!(found["accuracy"], 0.5);
        assert_eq!(found["n"], 4);
        assert_eq!(found["auc"], 1.0);
    }

    #[test]
    fn risk_is_measured_as_the_positive_label() {
        let decision = |outcome: &str, score: u32| {
            Ok(json!({"outcome": outcome, "classification": null, "risk": {"score": score}}))
        };
        let decided = [decision("block", 900), decision("approve", 10), decision("review", 500)];
        let found = measure(&records(&["1", "0", "0"]), &decided, "y", Some("1")).unwrap();
        assert_eq!(found["auc"], 1.0);
        assert!((found["accuracy"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn an_unknown_label_column_is_told() {
        assert!(measure(&records(&["1"]), &[], "label", None).is_err());
    }
}
