//! What trained models answer.

use burn::tensor::{Device, Tensor, TensorData};
use verdict_config::model::{ModelRow, ModelValue};
use verdict_neural::NeuralError;
use verdict_neural::network::BagNetwork;

use crate::samples::{FOREST, JOINED, TABLE, TEXT, all};

#[test]
fn every_network_learns_its_task() {
    for (name, sample) in [("text", &*TEXT), ("table", &*TABLE), ("joined", &*JOINED)] {
        let report = sample.trained.report.validation.clone().unwrap();
        assert!(report.accuracy > 0.9, "{name}: {report:?}");
        assert!(report.auc.unwrap() > 0.95, "{name}: {report:?}");
        let measured = sample.trained.model.evaluate(&sample.dataset).unwrap();
        assert!(measured.accuracy > 0.93 && measured.n == 400, "{name}: {measured:?}");
    }
    // The forest has not seen a label; spam is unusual by amount and country all the same.
    let measured = FOREST.trained.model.evaluate(&FOREST.dataset).unwrap();
    assert!(measured.auc.unwrap() > 0.6, "{measured:?}");
    assert_eq!((measured.brier, measured.ece), (None, None));
}

#[test]
fn the_kernel_equals_the_burn_module() {
    let device = Device::flex();
    for (name, sample) in [("text", &*TEXT), ("table", &*TABLE), ("joined", &*JOINED)] {
        let model = &sample.trained.model;
        let rows = &sample.dataset.rows[..20];
        let weights = model.network_weights().unwrap();
        let dense = model.dense_features(rows).unwrap().unwrap();
        let features = TensorData::new(dense, [rows.len(), weights.shape.features]);
        let network = BagNetwork::from_weights(&weights, &device);
        let logits = network.forward(Tensor::from_data(features, &device));
        let logits = logits.div_scalar(model.manifest().temperature as f32);
        let scores = burn::tensor::activation::softmax(logits, 1).into_data();
        let scores = scores.try_into_vec::<f32>().unwrap();
        let outputs = model.predict(rows).unwrap();
        for (row, output) in scores.chunks_exact(2).zip(&outputs) {
            for (module, kernel) in row.iter().zip(&output.scores) {
                assert!((module - kernel).abs() < 1e-5, "{name}: {module} and {kernel}");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for (name, sample) in all() {
        let model = &sample.trained.model;
        let rows = &sample.dataset.rows[..50];
        let together = model.predict(rows).unwrap();
        for (row, output) in rows.iter().zip(&together) {
            let alone = model.predict(std::slice::from_ref(row)).unwrap();
            let bits = |scores: &[f32]| scores.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&alone[0].scores), bits(&output.scores), "{name}");
            assert_eq!(alone[0], *output, "{name}");
        }
    }
}

#[test]
fn scores_are_probabilities() {
    for (name, sample) in all() {
        for output in sample.trained.model.predict(&sample.dataset.rows).unwrap() {
            assert!(output.scores.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
            if output.scores.len() > 1 {
                assert!((output.scores.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{name}");
            }
        }
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let number = ModelValue::Number;
    let text = |text: &str| ModelValue::Text(text.to_owned());
    let check = |row: ModelRow, part: &str| {
        for sample in [&*TABLE, &*FOREST] {
            let good = sample.dataset.rows[0].clone();
            let model = &sample.trained.model;
            let error = model.predict(&[good, row.clone()]).unwrap_err();
            assert!(matches!(&error, NeuralError::Input { row: 1, .. }), "{error}");
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.code().as_str(), "VD0503");
            assert!(model.explain(&row, 0, 5).is_err());
        }
    };
    check(vec![], "cells");
    check(vec![number(f64::NAN), text("DE")], "amount");
    check(vec![number(f64::INFINITY), text("DE")], "amount");
    check(vec![text("much"), text("DE")], "amount");
    check(vec![number(1.0), number(1.0)], "country");
    assert!(TABLE.trained.model.explain(&TABLE.dataset.rows[0], 2, 5).is_err());
    // Missing and unknown values, and the largest numbers, are answered.
    let odd = [
        vec![ModelValue::Missing, ModelValue::Missing],
        vec![number(f64::MAX), text("nowhere")],
        vec![number(f64::MIN), text("")],
    ];
    for sample in [&*TABLE, &*FOREST] {
        let outputs = sample.trained.model.predict(&odd).unwrap();
        assert!(outputs.iter().all(|output| output.scores.iter().all(|s| s.is_finite())));
    }
}

#[test]
fn explanations_name_what_the_answer_rests_on() {
    let model = &TEXT.trained.model;
    let row = vec![ModelValue::Text("win cash now see you 77".to_owned())];
    let contributions = model.explain(&row, 1, 3).unwrap();
    assert_eq!(contributions.len(), 3);
    let spam = ["win", "cash", "now"];
    assert!(spam.contains(&contributions[0].feature.as_str()), "{contributions:?}");
    assert!(contributions[0].value > 0.0 && contributions[0].column == "body");
    let against = model.explain(&row, 0, 3).unwrap();
    assert!((against[0].value + contributions[0].value).abs() < 1e-3, "two labels mirror");

    let row = vec![ModelValue::Number(200.0), ModelValue::Text("XX".to_owned())];
    for sample in [&*TABLE, &*FOREST] {
        let label = usize::from(sample.trained.model.manifest().labels.len() == 2);
        let contributions = sample.trained.model.explain(&row, label, 5).unwrap();
        assert!(contributions.iter().any(|c| c.column == "amount" && c.value > 0.0));
        assert!(contributions.windows(2).all(|p| p[0].value.abs() >= p[1].value.abs()));
    }
}

#[test]
fn strange_rows_are_far_from_the_training_data() {
    let model = &TEXT.trained.model;
    let threshold = model.manifest().ood_threshold.unwrap() as f32;
    let distance = |text: &str| {
        let row = vec![ModelValue::Text(text.to_owned())];
        model.predict(&[row]).unwrap()[0].ood_distance.unwrap()
    };
    assert!(distance("zażółć gęślą jaźń") > threshold);
    assert!(distance("") > threshold);
    let near = TEXT.dataset.rows.iter().filter(|row| {
        model.predict(&[(*row).clone()]).unwrap()[0].ood_distance.unwrap() > threshold
    });
    let near = near.count();
    assert!(near < 20, "{near} of the training rows are far");
}
