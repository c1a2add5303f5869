//! A flow that serves a trained model, as files of a catalogue folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use verdict_config::definition::{ClassifyDefinition, FlowDefinition, ModelChoice};
use verdict_config::model::{ColumnKind, ModelManifest, ModelTask};
use verdict_config::{Field, FieldType};
use verdict_neural::ModelFiles;

use super::write_model;
use crate::cli::{Failure, data};

/// Puts the model and a flow that serves it into a catalogue folder; answers the flow's file.
pub(super) fn serve(
    catalogue: &Path,
    flow: &str,
    manifest: &ModelManifest,
    files: &ModelFiles,
) -> Result<PathBuf, Failure> {
    let definition = flow_for(flow, manifest);
    write_model(&catalogue.join("models").join(&manifest.name), files)?;
    let id = verdict_config::ObjectId {
        kind: verdict_config::ObjectKind::Flow,
        name: verdict_config::ObjectName::new(verdict_config::ObjectKind::Flow, flow)
            .map_err(|fault| Failure::Faults(vec![fault]))?,
    };
    let body = serde_json::to_value(&definition).map_err(anyhow::Error::from)?;
    let written = verdict_config::catalogue::write_files(&BTreeMap::from([(id, body)]))
        .map_err(Failure::Faults)?;
    crate::cli::objects::write_schemas(catalogue)?;
    let mut flow_file = catalogue.join("flows").join(format!("{flow}.yaml"));
    for (path, bytes) in &written {
        flow_file = catalogue.join(path);
        data::write_bytes(&flow_file, bytes)?;
    }
    Ok(flow_file)
}

/// A flow whose fields are the model's columns.
fn flow_for(flow: &str, manifest: &ModelManifest) -> FlowDefinition {
    let mut definition: FlowDefinition = FlowDefinition {
        flow: flow.to_owned(),
        description: Some(format!("Served by the model {}.", manifest.name)),
        ..empty_flow()
    };
    for column in &manifest.columns {
        let field_type = match column.kind {
            ColumnKind::Text => FieldType::String,
            ColumnKind::Number => FieldType::Float,
            ColumnKind::Category => FieldType::Symbol,
        };
        definition.fields.insert(column.name.clone(), Field::plain(field_type));
    }
    let model = ModelChoice::Name(manifest.name.clone());
    match manifest.task {
        ModelTask::Classification => {
            definition.classify = Some(ClassifyDefinition {
                scheme: flow.to_owned(),
                rules: Vec::new(),
                model: Some(model),
                accept_from: 0.9,
                delta: 0.05,
                min_confidence: 0.0,
                alternatives: 3,
                codes: None,
            });
        }
        ModelTask::Anomaly => {
            let risk =
                json!({ "model": manifest.name, "points_per_logit": 100.0, "reason": "UNUSUAL" });
            if let Ok(risk) = serde_json::from_value(risk) {
                definition.models.insert("anomaly".to_owned(), risk);
            }
        }
    }
    definition
}

fn empty_flow() -> FlowDefinition {
    FlowDefinition {
        flow: String::new(),
        description: None,
        unit: None,
        fields: indexmap::IndexMap::new(),
        rules: Vec::new(),
        classify: None,
        models: indexmap::IndexMap::new(),
        score: Default::default(),
        abstain: Default::default(),
        on_failure: Default::default(),
        switches: Default::default(),
        record: Default::default(),
        cost_units_max: None,
        tests: Vec::new(),
    }
}
