//! Training: determinism, progress, options, refusals.

use verdict_neural::{Dataset, Network, NeuralError, Progress, TrainOptions, train};

use crate::samples::{dataset, quick};

#[test]
fn a_seed_gives_one_model() {
    for (network, text, features) in [
        (Network::NgramMlp, &["body"][..], &[][..]),
        (Network::JoinedMlp, &["body"], &["amount", "country"]),
        (Network::IsolationForest, &[], &["amount", "country"]),
    ] {
        let dataset = dataset(text, features);
        let files = |seed| {
            let mut options = TrainOptions { seed, network: Some(network), ..quick(network) };
            if let Some(recipe) = &mut options.recipe {
                recipe.epochs_max = 2;
            }
            train(&dataset, &options, &mut |_| ()).unwrap().model.to_files()
        };
        assert_eq!(files(1), files(1));
        assert_ne!(files(1), files(2));
    }
}

#[test]
fn progress_rises_to_its_end() {
    let dataset = dataset(&["body"], &[]);
    let mut seen: Vec<Progress> = Vec::new();
    let trained = train(&dataset, &quick(Network::NgramMlp), &mut |at| seen.push(at)).unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].step < pair[1].step));
    let last = seen.last().unwrap();
    assert_eq!((last.step, last.refit), (last.steps_max, true));
    assert_eq!(last.epoch, trained.report.best_epoch);
    assert!(seen.iter().all(|at| at.loss.is_finite() && at.epoch <= at.epochs_max));
    assert_eq!(trained.report.train_rows + trained.report.validation_rows, 400);
}

#[test]
fn the_manifest_says_what_the_model_is() {
    let dataset = dataset(&["body"], &["amount", "country"]);
    let options = TrainOptions {
        name: "fraud".to_owned(),
        version: "7".to_owned(),
        licence: Some("CC0-1.0".to_owned()),
        balanced: true,
        label_smoothing: Some(0.05),
        dropout: Some(0.1),
        epochs_max: Some(1),
        ..quick(Network::JoinedMlp)
    };
    let model = train(&dataset, &options, &mut |_| ()).unwrap().model;
    let manifest = model.manifest();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("fraud", "7"));
    assert_eq!(manifest.network, "joined_mlp");
    assert_eq!(manifest.labels, ["ham", "spam"]);
    assert_eq!(manifest.positive_label.as_deref(), Some("spam"));
    assert_eq!(manifest.training_data_sha256, dataset.sha256);
    assert!(manifest.ood_threshold.is_some());
    assert!(
        ["n", "accuracy", "macro_f1", "auc", "brier", "ece"]
            .iter()
            .all(|name| manifest.metrics.contains_key(*name))
    );
    let profile = manifest.reference_profile.as_ref().unwrap();
    assert_eq!(profile["rows"], 400);
    let counted = profile["columns"]["country"]["category"]["categories"][0][1].as_u64().unwrap();
    assert!(counted > 200);
    assert_eq!(model.named("other", "8").manifest().name, "other");
}

#[test]
fn useless_data_and_options_are_refused() {
    let good = dataset(&["body"], &[]);
    let check = |dataset: &Dataset, options: TrainOptions, part: &str| {
        let error = train(dataset, &options, &mut |_| ()).expect_err(part);
        assert!(matches!(error, NeuralError::Training { .. }));
        assert_eq!(error.code().as_str(), "VD0504");
        assert!(error.to_string().contains(part), "{error}");
    };
    let options = || quick(Network::NgramMlp);
    check(&Dataset::default(), options(), "rows");
    check(&good.part(|index, _| index < 3), options(), "rows");
    check(&Dataset { labels: vec![], ..good.clone() }, options(), "labels");
    let one = Dataset {
        labels: vec![0; good.rows.len()],
        label_names: vec!["a".to_owned()],
        ..good.clone()
    };
    check(&one, options(), "one value");
    let with = |change: &dyn Fn(&mut TrainOptions)| {
        let mut options = options();
        change(&mut options);
        options
    };
    check(&good, with(&|o| o.validation_share = 0.9), "range");
    check(&good, with(&|o| o.validation_share = f64::NAN), "range");
    check(&good, with(&|o| o.dropout = Some(1.0)), "range");
    check(&good, with(&|o| o.learning_rate = Some(-1.0)), "range");
    check(&good, with(&|o| o.epochs_max = Some(0)), "range");
    check(&good, with(&|o| o.batch_size = Some(0)), "range");
    check(&good, with(&|o| o.positive_label = Some("none".to_owned())), "none");
    check(&good, with(&|o| o.network = Some(Network::TabularMlp)), "tabular_mlp");
    check(&good, with(&|o| o.network = Some(Network::IsolationForest)), "text column");
    // Copies of one row cannot be parted.
    let copies = Dataset {
        rows: vec![good.rows[0].clone(); 20],
        labels: (0..20).map(|index| index % 2).collect(),
        ..good.clone()
    };
    check(&copies, options(), "distinct");
}

#[test]
fn networks_have_names() {
    for network in Network::ALL {
        assert_eq!(Network::from_name(network.as_str()), Some(network));
    }
    assert_eq!(Network::from_name("transformer"), None);
}
