//! One row through a trained model, beside the same row through the burn module on flex.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(missing_docs, clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use verdict_neural::network::BagNetwork;
use verdict_neural::{Dataset, DatasetOptions, FeatureSelection, TrainOptions, train};

/// Rows with a text, numbers and categories.
fn file() -> String {
    let words = ["repair", "sale", "growing", "retail", "wholesale", "of", "bread", "cars", "wine"];
    let mut file = String::from("body,a,b,c,kind,label\n");
    for row in 0u32..2_000 {
        let pick = |step: u32| words[(row.wrapping_mul(step) >> 3) as usize % words.len()];
        let body: Vec<&str> = (1..12).map(|step| pick(step * 7 + 1)).collect();
        let (a, b, c) = (row % 97, row % 31, row % 7);
        file.push_str(&format!("{} {row},{a},{b},{c},k{},l{}\n", body.join(" "), row % 5, row % 4));
    }
    file
}

fn inference(criterion: &mut Criterion) {
    let device = Device::flex();
    for (name, text, features) in [
        ("text", vec!["body".to_owned()], FeatureSelection::None),
        (
            "table",
            vec![],
            FeatureSelection::Columns(["a", "b", "c", "kind"].map(str::to_owned).to_vec()),
        ),
        ("joined", vec!["body".to_owned()], FeatureSelection::All),
    ] {
        let options = DatasetOptions {
            label: Some("label".to_owned()),
            text,
            features,
            ..DatasetOptions::default()
        };
        let dataset = Dataset::from_csv(file().as_bytes(), &options).unwrap();
        let options = TrainOptions { epochs_max: Some(1), ..TrainOptions::default() };
        let model = train(&dataset, &options, &mut |_| ()).unwrap().model;
        let rows = &dataset.rows[..1];
        let mut group = criterion.benchmark_group("one row");
        group.bench_function(BenchmarkId::new("kernel", name), |bencher| {
            bencher.iter(|| model.predict(rows).unwrap());
        });
        let weights = model.network_weights().unwrap();
        let network = BagNetwork::from_weights(&weights, &device);
        let dense = model.dense_features(rows).unwrap().unwrap();
        group.bench_function(BenchmarkId::new("burn module", name), |bencher| {
            bencher.iter(|| {
                let data = TensorData::new(dense.clone(), [1, weights.shape.features]);
                network.forward(Tensor::from_data(data, &device)).into_data()
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = inference
}
criterion_main!(benches);
