use std::collections::{BTreeMap, BTreeSet};

use super::*;

type Rows = Vec<BTreeMap<String, String>>;

fn read(set: &TrainingSet) -> Rows {
    let mut reader = csv::Reader::from_reader(set.csv.as_bytes());
    reader.deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn a_seed_gives_the_same_bytes_always() {
    for model in MODELS {
        let one = training_set(model, SEED).unwrap();
        assert_eq!(one, training_set(model, SEED).unwrap());
        assert_ne!(one.csv, training_set(model, SEED + 1).unwrap().csv);
    }
    assert_eq!(training_set("nobody", SEED), None);
}

#[test]
fn sets_have_the_columns_they_name_and_rows_enough() {
    for model in MODELS {
        let set = training_set(model, SEED).unwrap();
        let rows = read(&set);
        assert_eq!(rows.len(), ROWS, "{model}");
        let columns: BTreeSet<&str> = rows[0].keys().map(String::as_str).collect();
        let named: BTreeSet<&str> =
            set.text.iter().chain(set.features).copied().chain([set.label]).collect();
        assert_eq!(columns, named, "{model}");
        for row in &rows {
            assert!(!row[set.label].is_empty());
            assert!(set.text.iter().all(|column| !row[*column].contains(['{', '}'])), "{row:?}");
        }
    }
}

#[test]
fn every_class_is_there_often_enough_to_be_learned() {
    let check = |model: &str, classes: usize, least: usize| {
        let set = training_set(model, SEED).unwrap();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in read(&set) {
            *counts.entry(row[set.label].clone()).or_default() += 1;
        }
        assert_eq!(counts.len(), classes, "{model}: {counts:?}");
        assert!(counts.values().all(|count| *count >= least), "{model}: {counts:?}");
    };
    check("industry", 16, 80);
    check("payment-risk", 2, 300);
    check("message-fraud", 2, 800);
    check("payment-anomaly", 2, 40);
}

/// Naive Bayes over words, or over cells where a column is no text: weak, but enough to see whether
/// there is something to learn, and whether it is too easy.
fn naive_bayes(set: &TrainingSet) -> f64 {
    let tokens = |row: &BTreeMap<String, String>| -> Vec<String> {
        let words = set.text.iter().flat_map(|column| {
            row[*column].split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase)
        });
        let cells = set.features.iter().map(|column| {
            let cell = &row[*column];
            let coarse =
                cell.parse::<f64>().map_or(cell.clone(), |n| format!("{:.0}", (1.0 + n).ln()));
            format!("{column}={coarse}")
        });
        words.filter(|word| !word.is_empty()).chain(cells).collect()
    };
    let rows = read(set);
    let (train, test) = rows.split_at(rows.len() * 4 / 5);
    let mut classes: BTreeMap<&str, f64> = BTreeMap::new();
    let mut counts: BTreeMap<(&str, String), f64> = BTreeMap::new();
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    for row in train {
        *classes.entry(&row[set.label]).or_default() += 1.0;
        for token in tokens(row) {
            *counts.entry((&row[set.label], token)).or_default() += 1.0;
            *totals.entry(&row[set.label]).or_default() += 1.0;
        }
    }
    let guess = |row: &BTreeMap<String, String>| {
        let tokens = tokens(row);
        let score = |class: &&str| -> f64 {
            let of = |token: &String| counts.get(&(*class, token.clone())).copied().unwrap_or(0.0);
            let terms =
                tokens.iter().map(|token| ((of(token) + 0.5) / (totals[class] + 500.0)).ln());
            classes[class].ln() + terms.sum::<f64>()
        };
        *classes.keys().max_by(|one, other| score(one).total_cmp(&score(other))).unwrap()
    };
    let right = test.iter().filter(|row| guess(row) == row[set.label]).count();
    right as f64 / test.len() as f64
}

#[test]
fn there_is_something_to_learn_and_no_model_can_know_it_all() {
    let check = |model: &str, low: f64, high: f64| {
        let accuracy = naive_bayes(&training_set(model, SEED).unwrap());
        assert!((low..high).contains(&accuracy), "{model}: {accuracy:.3}");
    };
    check("industry", 0.80, 0.97);
    check("payment-risk", 0.87, 0.97);
    check("message-fraud", 0.85, 0.985);
}

#[test]
fn texts_repeat_little() {
    let set = training_set("industry", SEED).unwrap();
    let rows = read(&set);
    let texts: BTreeSet<(&str, &str)> =
        rows.iter().map(|row| (row["name"].as_str(), row["description"].as_str())).collect();
    assert!(texts.len() > ROWS * 95 / 100, "{}", texts.len());
}
