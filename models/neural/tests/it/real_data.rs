//! Real data, a part of it: that default options learn. Full figures: `examples/accuracy.rs`.

use verdict_neural::{Dataset, DatasetOptions, FeatureSelection, TrainOptions, row_hash, train};

fn data(file: &str) -> Option<Vec<u8>> {
    let folder = std::env::var("VERDICT_TESTDATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let bytes = std::fs::read(format!("{folder}/{file}")).ok();
    if bytes.is_none() {
        eprintln!("skipped: no {file}");
    }
    bytes
}

/// Trains on some rows and gives accuracy and area on others.
fn learn(
    file: &str,
    label: &str,
    text: &[&str],
    features: FeatureSelection,
    epochs: u32,
) -> Option<(f64, f64)> {
    let options = DatasetOptions {
        label: Some(label.to_owned()),
        text: text.iter().map(|&name| name.to_owned()).collect(),
        features,
        ..DatasetOptions::default()
    };
    let dataset = Dataset::from_csv(&data(file)?, &options).unwrap();
    let train_part = dataset.part(|_, row| row_hash(row, 9).is_multiple_of(8));
    let test_part = dataset.part(|_, row| row_hash(row, 9) % 8 == 1);
    let options = TrainOptions { epochs_max: Some(epochs), ..TrainOptions::default() };
    let model = train(&train_part, &options, &mut |_| ()).unwrap().model;
    let report = model.evaluate(&test_part).unwrap();
    Some((report.accuracy, report.auc.unwrap()))
}

#[test]
fn spam_is_learnt_from_500_messages() {
    let Some((accuracy, area)) =
        learn("sms_spam/sms.csv", "label", &["text"], FeatureSelection::None, 8)
    else {
        return;
    };
    assert!(accuracy > 0.95 && area > 0.97, "{accuracy} {area}");
}

#[test]
fn phishing_is_learnt_from_1000_addresses_with_features() {
    let Some((accuracy, area)) =
        learn("phishing_url/urls.csv", "label", &["URL"], FeatureSelection::All, 4)
    else {
        return;
    };
    assert!(accuracy > 0.9 && area > 0.96, "{accuracy} {area}");
}

#[test]
fn credit_risk_is_learnt_from_3000_clients() {
    let label = "default.payment.next.month";
    let file = "credit_default/clients.csv";
    let Some((accuracy, area)) = learn(file, label, &[], FeatureSelection::All, 4) else {
        return;
    };
    assert!(accuracy > 0.78 && area > 0.72, "{accuracy} {area}");
}
