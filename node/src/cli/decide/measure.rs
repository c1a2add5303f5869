//! Measures of the decisions of labelled records.
//!
//! They are those of `eval`, so that a model measures the same by itself and through a flow. Both the
//! area under the curve and Brier's score need the probability of every label. A decision names its
//! best labels only; where that leaves some out, the two are null and a note says so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use verdict_stats::calibration::expected_calibration_error;
use verdict_stats::metrics::{Confusion, auc, brier_binary};

use super::{Decided, DecidedFile};
use crate::cli::data::Records;

/// Bins of the calibration error.
const BINS: usize = 15;
/// What an approval counts as where the positive label was true: no label at all.
const APPROVED: &str = "(approved)";
/// Unknown labels that a note names at most.
const SHOWN_MAX: usize = 20;

/// Measures, with what a reader of them should know.
pub struct Measures {
    /// The measures by name.
    pub json: Json,
    /// Sentences.
    pub notes: Vec<String>,
}

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
    file: &DecidedFile,
    label: &str,
    positive: Option<&str>,
) -> Measures {
    let decided = &file.decided;
    let classifies = decided.iter().flatten().any(|decision| !decision["classification"].is_null());
    let truths: Vec<String> = records.rows.iter().map(|row| text_of(row.get(label))).collect();
    let positive = positive.map(str::to_owned).or_else(|| rarest(&truths));
    let mut judged: Vec<Judged> = truths
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
    let positive = positive.unwrap_or_default();
    let is_whole = is_whole(decided, file.alternatives) || fill_second_label(&mut judged);
    let mut notes = Vec::new();
    let (area, brier) = if !classifies {
        by_positive(&judged, &positive)
    } else if is_whole {
        by_labels(&judged, &positive)
    } else {
        notes.push(format!(
            "AUC and Brier score need the probability of every label, and each decision names the \
             best {} only: measure with --catalogue, or raise classify.alternatives in the flow",
            file.alternatives + 1
        ));
        (None, None)
    };
    let unknown = if classifies { unknown_labels(&judged) } else { BTreeMap::new() };
    notes.extend(unknown_note(&unknown, judged.len()));
    let mut json = common(&judged);
    json["auc"] = json!(area);
    json["brier"] = json!(brier);
    json["ece"] = json!(calibration_error(&judged));
    json["unknown_labels"] = json!(unknown);
    Measures { json, notes }
}

fn text_of(value: Option<&Json>) -> String {
    match value {
        Some(Json::String(text)) => text.trim().to_owned(),
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
    let mut named = BTreeMap::new();
    if !predicted.is_empty() {
        named.insert(predicted.clone(), confidence);
    }
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
        Some(_) if truth == positive => APPROVED.to_owned(),
        Some(_) => truth.clone(),
    };
    let probability = score.unwrap_or(0.0) / 1000.0;
    let confidence = if stopped { probability } else { 1.0 - probability };
    let named = BTreeMap::from([(positive.to_owned(), probability)]);
    Judged { truth, predicted, confidence, named }
}

/// Whether each decision names every label that it considered.
fn is_whole(decided: &[Decided], alternatives: usize) -> bool {
    decided.iter().flatten().all(|decision| {
        let class = &decision["classification"];
        let named = class["alternatives"].as_array().map_or(0, Vec::len);
        let sum = |json: &Json| json["confidence"].as_f64().unwrap_or(0.0);
        let others = class["alternatives"].as_array().into_iter().flatten();
        let all: f64 = sum(class) + others.map(sum).sum::<f64>();
        // Confidences have six digits.
        class.is_null() || named < alternatives || all > 1.0 - 1e-6 * (named + 1) as f64
    })
}

/// Where there are two labels in all, what one leaves is the other's. Whether that is so.
fn fill_second_label(judged: &mut [Judged]) -> bool {
    let truths = judged.iter().map(|judged| &judged.truth);
    let named = judged.iter().flat_map(|judged| judged.named.keys());
    let names: BTreeSet<String> = truths.chain(named).cloned().collect();
    if names.len() != 2 {
        return false;
    }
    for judged in judged.iter_mut().filter(|judged| judged.named.len() == 1) {
        let rest = 1.0 - judged.confidence;
        let other = names.iter().find(|name| !judged.named.contains_key(*name));
        judged.named.extend(other.map(|name| (name.clone(), rest)));
    }
    true
}

/// Area and Brier score of one label's probability.
fn by_positive(judged: &[Judged], positive: &str) -> (Option<f64>, Option<f64>) {
    let probability = |judged: &Judged| judged.named.get(positive).copied().unwrap_or_default();
    let probabilities: Vec<f64> = judged.iter().map(probability).collect();
    let is_positive: Vec<bool> = judged.iter().map(|judged| judged.truth == positive).collect();
    (auc(&probabilities, &is_positive), brier_binary(&probabilities, &is_positive))
}

/// As `eval`: of two labels those of the positive one; of more the mean area of one label against
/// the rest, and squared errors summed over labels.
fn by_labels(judged: &[Judged], positive: &str) -> (Option<f64>, Option<f64>) {
    let names: BTreeSet<&str> =
        judged.iter().flat_map(|judged| judged.named.keys()).map(String::as_str).collect();
    if names.len() <= 2 {
        let positive = names.get(positive).or_else(|| names.last()).copied().unwrap_or(positive);
        return by_positive(judged, positive);
    }
    let areas: Vec<f64> = names.iter().filter_map(|name| by_positive(judged, name).0).collect();
    let area = (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64);
    let error = |judged: &Judged| {
        let known = judged.named.contains_key(&judged.truth);
        let named = judged.named.iter().map(|(name, probability)| {
            let target = if *name == judged.truth { 1.0 } else { 0.0 };
            (probability - target).powi(2)
        });
        named.sum::<f64>() + if known { 0.0 } else { 1.0 }
    };
    let brier = judged.iter().map(error).sum::<f64>() / judged.len().max(1) as f64;
    (area, (!judged.is_empty()).then_some(brier))
}

/// Labels of the records that no decision names, with their records.
fn unknown_labels(judged: &[Judged]) -> BTreeMap<String, usize> {
    let names: BTreeSet<&String> = judged.iter().flat_map(|judged| judged.named.keys()).collect();
    let mut unknown = BTreeMap::new();
    for judged in judged.iter().filter(|judged| !names.contains(&judged.truth)) {
        *unknown.entry(judged.truth.clone()).or_default() += 1;
    }
    unknown
}

fn unknown_note(unknown: &BTreeMap<String, usize>, records: usize) -> Option<String> {
    let count: usize = unknown.values().sum();
    let mut named: Vec<String> = unknown
        .iter()
        .take(SHOWN_MAX)
        .map(|(name, records)| format!("{name} ({records})"))
        .collect();
    if unknown.len() > SHOWN_MAX {
        named.push(format!("and {} more", unknown.len() - SHOWN_MAX));
    }
    (count > 0).then(|| {
        format!(
            "{count} of {records} records have a label that no decision names, and count as wrong: {}",
            named.join(", ")
        )
    })
}

fn common(judged: &[Judged]) -> Json {
    let mut labels: Vec<&str> = judged
        .iter()
        .flat_map(|judged| [judged.truth.as_str(), judged.predicted.as_str()])
        .filter(|label| !label.is_empty() && *label != APPROVED)
        .collect();
    labels.sort_unstable();
    labels.dedup();
    let index = |label: &str| {
        labels.binary_search(&label).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
    };
    let truth: Vec<u32> = judged.iter().map(|judged| index(&judged.truth)).collect();
    let predicted: Vec<u32> = judged.iter().map(|judged| index(&judged.predicted)).collect();
    let confusion = Confusion::new(labels.len(), &truth, &predicted);
    json!({
        "n": judged.len(),
        "accuracy": confusion.accuracy(),
        "macro_f1": confusion.macro_f1(),
    })
}

fn calibration_error(judged: &[Judged]) -> Option<f64> {
    let right: Vec<bool> = judged.iter().map(|judged| judged.truth == judged.predicted).collect();
    let confidence: Vec<f64> = judged.iter().map(|judged| judged.confidence).collect();
    expected_calibration_error(&confidence, &right, BINS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::decide::ColumnUse;

    fn check(labels: &[&str], decided: Vec<Decided>, alternatives: usize) -> Measures {
        let row = |label: &&str| serde_json::Map::from_iter([("y".to_owned(), json!(label))]);
        let records =
            Records { columns: vec!["y".to_owned()], rows: labels.iter().map(row).collect() };
        let columns = ColumnUse::default();
        let file = DecidedFile { decided, columns, alternatives, shown_alternatives: None };
        measure(&records, &file, "y", labels.contains(&"1").then_some("1"))
    }

    fn class(label: &str, confidence: f64, others: &[(&str, f64)]) -> Decided {
        let others: Vec<Json> = others
            .iter()
            .map(|(label, confidence)| json!({ "label": label, "confidence": confidence }))
            .collect();
        Ok(json!({"outcome": "approve", "classification":
            {"label": label, "confidence": confidence, "alternatives": others}}))
    }

    #[test]
    fn classes_are_measured_and_failures_count_as_wrong() {
        let decided = vec![
            class("spam", 0.9, &[("ham", 0.1)]),
            class("ham", 0.8, &[("spam", 0.2)]),
            class("spam", 0.6, &[("ham", 0.4)]),
            Err(json!({"code": "VD0402"})),
        ];
        let found = check(&["spam", "ham", "ham", "ham"], decided, 3).json;
        assert_eq!(found["accuracy"], 0.5);
        assert_eq!(found["n"], 4);
        assert_eq!(found["auc"], 1.0);
    }

    #[test]
    fn many_labels_are_measured_as_a_model_is_or_not_at_all() {
        let decided = || {
            vec![
                class("a", 0.5, &[("b", 0.3), ("c", 0.2)]),
                class("b", 0.6, &[("a", 0.2), ("c", 0.2)]),
                class("a", 0.4, &[("c", 0.35), ("b", 0.25)]),
            ]
        };
        let found = check(&["a", "b", "c"], decided(), 2);
        let brier: f64 = (0.25 + 0.09 + 0.04) + (0.16 + 0.04 + 0.04) + (0.16 + 0.4225 + 0.0625);
        assert!((found.json["brier"].as_f64().unwrap() - brier / 3.0).abs() < 1e-9);
        assert_eq!(found.json["auc"], 1.0);
        assert!(found.notes.is_empty(), "{:?}", found.notes);
        let mut cut = decided();
        for decision in cut.iter_mut().flatten() {
            decision["classification"]["alternatives"].as_array_mut().unwrap().truncate(1);
        }
        let found = check(&["a", "b", "c"], cut, 1);
        assert_eq!((&found.json["auc"], &found.json["brier"]), (&Json::Null, &Json::Null));
        assert!(found.notes[0].contains("--catalogue"), "{:?}", found.notes);
    }

    #[test]
    fn labels_that_no_decision_names_are_counted() {
        let decided = vec![class("a", 0.9, &[("b", 0.1)]), class("b", 0.8, &[("a", 0.2)])];
        let found = check(&["a", "zebra"], decided, 3);
        assert_eq!(found.json["unknown_labels"], json!({ "zebra": 1 }));
        assert!(found.notes[0].contains("zebra (1)"), "{:?}", found.notes);
    }

    #[test]
    fn risk_is_measured_as_the_positive_label() {
        let decision = |outcome: &str, score: u32| {
            Ok(json!({"outcome": outcome, "classification": null, "risk": {"score": score}}))
        };
        let decided =
            vec![decision("block", 900), decision("approve", 10), decision("review", 500)];
        let found = check(&["1", "0", "0"], decided, 0).json;
        assert_eq!(found["auc"], 1.0);
        assert!((found["accuracy"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    }
}
