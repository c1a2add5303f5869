//! Small invented data sets and the models made from them once.

use std::sync::LazyLock;

use verdict_neural::{
    Dataset, DatasetOptions, FeatureSelection, Network, Recipe, TrainOptions, Trained, train,
};
use verdict_stats::random::SeededRandom;

/// Messages and an amount with a country: what is spam depends on both.
pub fn file(rows: usize) -> String {
    let good = ["see you at home tonight", "lunch at noon", "thanks for the report", "call mum"];
    let bad = ["win cash now", "free prize claim", "urgent account verify", "cheap loans today"];
    let mut random = SeededRandom::new(5, 0);
    let mut file = String::from("id,body,amount,country,label\n");
    for id in 0..rows {
        let is_bad = random.unit() < 0.4;
        let words = if is_bad { bad } else { good };
        let amount = random.normal() * 20.0 + if is_bad { 140.0 } else { 60.0 };
        let country = if is_bad && random.unit() < 0.7 { "XX" } else { "DE" };
        let label = if is_bad { "spam" } else { "ham" };
        let (first, second) = (words[random.below(4)], words[random.below(4)]);
        // Now and then a cell is empty.
        let amount = if random.unit() < 0.05 { String::new() } else { format!("{amount:.2}") };
        file.push_str(&format!("{id},{first} {second} {id},{amount},{country},{label}\n"));
    }
    file
}

pub fn dataset(text: &[&str], features: &[&str]) -> Dataset {
    let options = DatasetOptions {
        label: Some("label".to_owned()),
        text: text.iter().map(|&name| name.to_owned()).collect(),
        features: if features.is_empty() {
            FeatureSelection::None
        } else {
            FeatureSelection::Columns(features.iter().map(|&name| name.to_owned()).collect())
        },
        ..DatasetOptions::default()
    };
    Dataset::from_csv(file(400).as_bytes(), &options).unwrap()
}

/// Options that train in a moment.
pub fn quick(network: Network) -> TrainOptions {
    let recipe = Recipe::choose(network, 2, 400);
    let recipe = Recipe {
        members: 2,
        hidden: 8,
        epochs_max: 6,
        batch_size: 16,
        rate: 1e-2,
        rate_sparse: 2e-2,
        ..recipe
    };
    TrainOptions { recipe: Some(recipe), ..TrainOptions::default() }
}

pub struct Sample {
    pub dataset: Dataset,
    pub trained: Trained,
}

fn sample(network: Network, text: &[&str], features: &[&str]) -> Sample {
    let dataset = dataset(text, features);
    let trained = train(&dataset, &quick(network), &mut |_| ()).unwrap();
    Sample { dataset, trained }
}

pub static TEXT: LazyLock<Sample> = LazyLock::new(|| sample(Network::NgramMlp, &["body"], &[]));
pub static TABLE: LazyLock<Sample> =
    LazyLock::new(|| sample(Network::TabularMlp, &[], &["amount", "country"]));
pub static JOINED: LazyLock<Sample> =
    LazyLock::new(|| sample(Network::JoinedMlp, &["body"], &["amount", "country"]));
pub static FOREST: LazyLock<Sample> = LazyLock::new(|| {
    let dataset = dataset(&[], &["amount", "country"]);
    let options =
        TrainOptions { network: Some(Network::IsolationForest), ..TrainOptions::default() };
    let trained = train(&dataset, &options, &mut |_| ()).unwrap();
    Sample { dataset, trained }
});

/// Every kind of model.
pub fn all() -> [(&'static str, &'static Sample); 4] {
    [("text", &*TEXT), ("table", &*TABLE), ("joined", &*JOINED), ("forest", &*FOREST)]
}
