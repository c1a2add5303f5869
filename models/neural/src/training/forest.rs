//! Training of an isolation forest: rows without labels are enough.

use verdict_config::model::{ColumnKind, ModelTask};

use super::options::{Network, TrainOptions, TrainReport, Trained};
use super::{manifest, set_metrics};
use crate::model::AnomalyModel;
use crate::{Dataset, Model, NeuralError};

/// Refuses columns that no forest reads.
pub(super) fn check(dataset: &Dataset) -> Result<(), NeuralError> {
    match dataset.columns.iter().find(|column| column.kind == ColumnKind::Text) {
        Some(column) => Err(NeuralError::training(format!(
            "an isolation forest cannot read the text column `{}`: leave it out (--features), or \
             choose another --network",
            column.name
        ))),
        None => Ok(()),
    }
}

pub(super) fn train_forest(
    dataset: &Dataset,
    options: &TrainOptions,
) -> Result<Trained, NeuralError> {
    let forest = AnomalyModel::fit(&dataset.columns, &dataset.rows, options.seed)?;
    let mut manifest = manifest(dataset, options, Network::IsolationForest);
    manifest.task = ModelTask::Anomaly;
    manifest.labels = Vec::new();
    if manifest.positive_label.is_none() && dataset.label_names.len() == 2 {
        let rarer = crate::model::rarer(dataset);
        manifest.positive_label = Some(dataset.label_names[rarer].clone());
    }
    let (features, weights) = (forest.forest().features(), forest.forest().parts().left.len());
    let mut model = Model::anomaly(manifest, forest);
    let measurable = dataset.label_names.len() == 2 && dataset.labels.len() == dataset.rows.len();
    let validation = if measurable { Some(model.evaluate(dataset)?) } else { None };
    if let Some(report) = &validation {
        set_metrics(&mut model.manifest_mut().metrics, report);
    }
    let report = TrainReport {
        network: Network::IsolationForest.as_str().to_owned(),
        train_rows: dataset.rows.len(),
        validation_rows: 0,
        features,
        weights,
        best_epoch: 0,
        validation,
    };
    Ok(Trained { model, report })
}
