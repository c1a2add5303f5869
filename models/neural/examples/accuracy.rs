//! Accuracy of models trained with default options, on rows kept apart by a hash of their inputs.
//!
//! `cargo run --release -p verdict-neural --example accuracy -- [TASK]... [KEY=VALUE]...`
//!
//! The test part of a data set is every row for which the first 8 bytes (big-endian) of the SHA-256
//! of its input cells, joined by U+001F, are divisible by 5. `KEY=VALUE` changes the recipe, for
//! experiments; `seed=N` and `folder=DIR` are also understood.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::time::Instant;

use sha2::{Digest, Sha256};
use verdict_neural::{
    Dataset, DatasetOptions, FeatureSelection, Model, Network, Recipe, TrainOptions, train,
};
use verdict_stats::metrics::accuracy_standard_error;

struct Task {
    name: &'static str,
    file: &'static str,
    label: &'static str,
    text: &'static [&'static str],
    all: bool,
    /// Turns the label column into the labels of the task.
    relabel: Option<fn(&str) -> String>,
    /// Columns that are not inputs.
    drop: &'static [&'static str],
}

const fn task(
    name: &'static str,
    file: &'static str,
    label: &'static str,
    text: &'static [&'static str],
    all: bool,
) -> Task {
    Task { name, file, label, text, all, relabel: None, drop: &[] }
}

const NAICS: &str = "naics2022/index.csv";
const UKSIC: &str = "uksic2007/index.csv";
const URLS: &str = "phishing_url/urls.csv";

fn tasks() -> Vec<Task> {
    vec![
        task("sms", "sms_spam/sms.csv", "label", &["text"], false),
        task("naics-sector", NAICS, "sector", &["text"], false),
        Task { relabel: Some(section), ..task("uksic-section", UKSIC, "sic", &["text"], false) },
        task("phishing", URLS, "label", &["URL"], true),
        task("phishing-text", URLS, "label", &["URL"], false),
        Task { drop: &["URL"], ..task("phishing-tabular", URLS, "label", &[], true) },
        task("credit", "credit_default/clients.csv", "default.payment.next.month", &[], true),
        Task {
            relabel: Some(|code| code.chars().take(3).collect()),
            ..task("naics-3", NAICS, "naics", &["text"], false)
        },
        task("naics-6", NAICS, "naics", &["text"], false),
        task("uksic-code", UKSIC, "sic", &["text"], false),
        task("banking77", "banking77/train.csv", "label", &["text"], false),
        Task {
            drop: &["duration"],
            ..task("bank-marketing", "bank_marketing/calls_by_date.csv", "y", &[], true)
        },
    ]
}

/// The UK SIC 2007 section of a code, by its division.
fn section(code: &str) -> String {
    let division: u32 = code.get(..2).and_then(|d| d.parse().ok()).unwrap_or(0);
    let last = [
        (3, 'A'),
        (9, 'B'),
        (33, 'C'),
        (35, 'D'),
        (39, 'E'),
        (43, 'F'),
        (47, 'G'),
        (53, 'H'),
        (56, 'I'),
        (63, 'J'),
        (66, 'K'),
        (68, 'L'),
        (75, 'M'),
        (82, 'N'),
        (84, 'O'),
        (85, 'P'),
        (88, 'Q'),
        (93, 'R'),
        (96, 'S'),
        (98, 'T'),
        (99, 'U'),
    ];
    last.iter().find(|(end, _)| division <= *end).map_or('?', |(_, letter)| *letter).to_string()
}

/// The rows of a file in two files: training and test.
fn split(task: &Task, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().unwrap().clone();
    let label = header.iter().position(|name| name == task.label).expect("label column");
    let is_input = |column: usize| {
        let named = task.text.contains(&&header[column]);
        column != label && (task.all || named)
    };
    let mut parts = [csv::Writer::from_writer(Vec::new()), csv::Writer::from_writer(Vec::new())];
    parts.iter_mut().for_each(|part| part.write_record(&header).unwrap());
    for record in reader.records() {
        let record = record.unwrap();
        let inputs: Vec<&str> =
            (0..record.len()).filter(|c| is_input(*c)).map(|c| &record[c]).collect();
        let hash = Sha256::digest(inputs.join("\u{1f}"));
        let is_test = u64::from_be_bytes(hash[..8].try_into().unwrap()) % 5 == 0;
        let cells = record.iter().enumerate().map(|(column, cell)| match task.relabel {
            Some(relabel) if column == label => relabel(cell),
            _ => cell.to_owned(),
        });
        parts[usize::from(is_test)].write_record(cells).unwrap();
    }
    let [train, test] = parts.map(|part| part.into_inner().unwrap());
    (train, test)
}

fn set(recipe: &mut Recipe, key: &str, value: &str) {
    let number: f64 = value.parse().expect("a number");
    match key {
        "members" => recipe.members = number as usize,
        "hidden" => recipe.hidden = number as usize,
        "depth" => recipe.depth = number as usize,
        "linear" => recipe.linear = number != 0.0,
        "cost" => recipe.cost = number as f32,
        "epochs" => recipe.epochs_max = number as u32,
        "patience" => recipe.patience = number as u32,
        "batch" => recipe.batch_size = number as usize,
        "rate" => recipe.rate = number,
        "rate_sparse" => recipe.rate_sparse = number,
        "decay" => recipe.weight_decay = number as f32,
        "dropout_features" => recipe.dropout_features = number as f32,
        "dropout" => recipe.dropout_hidden = number as f32,
        "smoothing" => recipe.label_smoothing = number as f32,
        "gain" => recipe.gain = number as f32,
        "documents" => recipe.documents_min = number as u32,
        "ngrams" => recipe.ngrams_max = number as usize,
        "bins" => recipe.bins_max = number as usize,
        _ => panic!("unknown key {key}"),
    }
}

fn main() {
    let data = std::env::var("VERDICT_TESTDATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (settings, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.contains('='));
    for task in tasks() {
        if names.is_empty() || names.iter().any(|name| *name == task.name) {
            run(&task, &data, &settings);
        }
    }
}

fn run(task: &Task, data: &str, settings: &[&String]) {
    let Ok(bytes) = std::fs::read(format!("{data}/{}", task.file)) else {
        println!("{}: no data", task.name);
        return;
    };
    let (train_file, test_file) = split(task, &bytes);
    let features = match (task.all, task.drop) {
        (false, _) => FeatureSelection::None,
        (true, []) => FeatureSelection::All,
        (true, dropped) => {
            let mut reader = csv::Reader::from_reader(&bytes[..]);
            let kept = |name: &&str| !dropped.contains(name) && *name != task.label;
            let header = reader.headers().unwrap().clone();
            FeatureSelection::Columns(header.iter().filter(kept).map(str::to_owned).collect())
        }
    };
    let options = DatasetOptions {
        label: Some(task.label.to_owned()),
        text: task.text.iter().map(|&name| name.to_owned()).collect(),
        features,
        ..DatasetOptions::default()
    };
    let dataset = Dataset::from_csv(&train_file, &options).expect("training data");
    let mut train_options = TrainOptions::default();
    let mut recipe = Recipe::choose(
        Network::for_dataset(&dataset),
        dataset.label_names.len(),
        dataset.rows.len(),
    );
    let (mut changed, mut folder) = (false, None);
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        match key {
            "seed" => train_options.seed = value.parse().unwrap(),
            "folder" => folder = Some(value.to_owned()),
            _ => {
                set(&mut recipe, key, value);
                changed = true;
            }
        }
    }
    train_options.recipe = changed.then_some(recipe);
    let started = Instant::now();
    let mut last = (0, false);
    let trained = train(&dataset, &train_options, &mut |at| {
        if (at.epoch, at.refit) != last {
            last = (at.epoch, at.refit);
            let accuracy = at.validation_accuracy.unwrap_or(0.0);
            let phase = if at.refit { "all rows" } else { "training" };
            eprint!("\r{} {phase} epoch {:>2} validation {accuracy:.4}   ", task.name, at.epoch);
            std::io::stderr().flush().unwrap();
        }
    })
    .expect("training");
    let seconds = started.elapsed().as_secs_f64();
    report(task, &trained, seconds, &test_file, folder.as_deref());
}

fn report(
    task: &Task,
    trained: &verdict_neural::Trained,
    seconds: f64,
    test_file: &[u8],
    folder: Option<&str>,
) {
    let files = trained.model.to_files();
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).unwrap();
        for (path, bytes) in &files {
            std::fs::write(format!("{folder}/{path}"), bytes).unwrap();
        }
    }
    let size: usize = files.values().map(Vec::len).sum();
    // The model that is measured is the one that the folder holds.
    let model = Model::from_files(&files).expect("the folder");
    let test =
        Dataset::for_model(test_file, model.manifest(), Some(task.label)).expect("test data");
    let started = Instant::now();
    let outputs = model.predict(&test.rows).expect("predictions");
    let micros = started.elapsed().as_secs_f64() * 1e6 / test.rows.len() as f64;
    let threshold = model.manifest().ood_threshold.unwrap_or(f64::MAX);
    let far = outputs.iter().filter(|o| f64::from(o.ood_distance.unwrap()) >= threshold).count();
    let result = model.evaluate(&test).expect("evaluation");
    eprint!("\r{:70}\r", "");
    println!(
        "{:16} n={} acc={:.4} se={:.4} f1={:.4} auc={:.4} brier={:.4} ece={:.4} | validation \
         {:.4} epoch {} | features {} size {:.1} MB | trained {seconds:.0} s, {micros:.0} us a row, \
         {:.3} out of distribution",
        task.name,
        result.n,
        result.accuracy,
        accuracy_standard_error(result.accuracy, result.n),
        result.macro_f1,
        result.auc.unwrap_or(f64::NAN),
        result.brier.unwrap_or(f64::NAN),
        result.ece.unwrap_or(f64::NAN),
        trained.report.validation.as_ref().map_or(0.0, |v| v.accuracy),
        trained.report.best_epoch,
        trained.report.features,
        size as f64 / 1e6,
        far as f64 / result.n as f64,
    );
}
