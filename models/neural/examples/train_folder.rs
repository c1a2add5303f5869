//! Trains one model folder without the rest of the program.
//! `cargo run --release -p verdict-neural --example train_folder -- DATA OUT NAME TEXT,.. FEATURES,.. SEED`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "an example prints and fails by panicking"
)]

use verdict_neural::{Dataset, DatasetOptions, FeatureSelection, TrainOptions, train};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let bytes = std::fs::read(&arguments[1]).expect("the data");
    let options = DatasetOptions {
        label: Some("label".to_owned()),
        text: list(&arguments[4]),
        features: if arguments[5].is_empty() {
            FeatureSelection::None
        } else {
            FeatureSelection::Columns(list(&arguments[5]))
        },
    };
    let dataset = Dataset::from_csv(&bytes, &options).expect("rows");
    let seed = arguments[6].parse().expect("a seed");
    let options = TrainOptions { name: arguments[3].clone(), seed, ..TrainOptions::default() };
    let trained = train(&dataset, &options, &mut |_| ()).expect("trains");
    for (path, bytes) in trained.model.to_files() {
        let path = std::path::Path::new(&arguments[2]).join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }
    println!("{:?}", trained.model.manifest().metrics);
}
