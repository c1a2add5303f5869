//! A flow that serves a trained model, as files of a catalogue folder.
//!
//! Everything that can be refused is refused before the training: the plan reads the catalogue, takes
//! the kinds of columns from the fields of a flow that is there, and compiles the flow with a model of
//! the same columns and labels. What is written afterwards is what was checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use verdict_actors::catalogue::{CatalogueObjects, check_catalogue};
use verdict_config::catalogue::{CatalogueText, read_files, write_files};
use verdict_config::definition::{ClassifyDefinition, FlowDefinition, ModelChoice, ModelSelection};
use verdict_config::model::{
    ColumnKind, ModelFile, ModelManifest, ModelObject, ModelTask, content_hash,
};
use verdict_config::{Code, Fault, Field, FieldType, ObjectId, ObjectKind, ObjectName};
use verdict_neural::ModelFiles;
use verdict_rules::RuleLimits;

use super::write_model;
use crate::catalogue_dir;
use crate::cli::{Failure, data};
use crate::reasons;

/// A catalogue folder and the flow that is to serve a model.
pub(super) struct Serving {
    dir: PathBuf,
    flow: String,
    text: CatalogueText,
    /// The flow as it is now, where the catalogue has one of that name.
    existing: Option<FlowDefinition>,
}

impl Serving {
    /// Reads the catalogue, which need not exist yet.
    pub(super) fn open(dir: &Path, flow: &str) -> Result<Self, Failure> {
        data::check_out_dir(dir)?;
        let files = match dir.is_dir() {
            true => {
                catalogue_dir::read_dir(dir).map_err(|error| Failure::new(error.to_string()))?
            }
            false => BTreeMap::new(),
        };
        let text = read_files(&files).map_err(Failure::Faults)?;
        let id = object(ObjectKind::Flow, flow)?;
        let existing = match text.objects.get(&id) {
            Some(object) => {
                let read = serde_json::from_value(object.body.clone());
                Some(read.map_err(|error| {
                    let file = dir.join(&object.file);
                    Failure::new(format!("{}: {}", file.display(), reasons::json(&error)))
                })?)
            }
            None => None,
        };
        Ok(Self { dir: dir.to_owned(), flow: flow.to_owned(), text, existing })
    }

    /// The fields of the flow, where it is there already.
    pub(super) fn fields(&self) -> Option<&indexmap::IndexMap<String, Field>> {
        self.existing.as_ref().map(|flow| &flow.fields)
    }

    /// Checks that the flow can serve a model before it is trained, and gives what will be written.
    /// `manifest` is the model's but for what training finds.
    pub(super) fn plan(self, manifest: &ModelManifest) -> Result<Plan, Failure> {
        let definition = match &self.existing {
            Some(existing) => self.extended(existing, manifest)?,
            None => Some(new_flow(&self.flow, manifest)),
        };
        let mut objects = CatalogueObjects::from(&self.text);
        objects.at_ms = crate::http::now().0;
        let model = object(ObjectKind::Model, &manifest.name)?;
        objects.put(model.clone(), bytes(&stand_in(manifest))?);
        let flow = object(ObjectKind::Flow, &self.flow)?;
        let mut files = BTreeMap::new();
        if let Some(definition) = definition {
            let body = serde_json::to_value(&definition).map_err(anyhow::Error::from)?;
            objects.put(flow.clone(), body.to_string().into_bytes());
            files = write_files(&BTreeMap::from([(flow.clone(), body.clone())]))
                .map_err(|faults| Failure::Faults(advised(faults)))?;
            // Names such as `null` or `1e3` must come back from the text as they are.
            let reread = read_files(&files).map_err(|faults| Failure::Faults(advised(faults)))?;
            if reread.objects.get(&flow).is_none_or(|object| object.body != body) {
                return Err(Failure::new(format!(
                    "the flow {:?} cannot be written as a file: rename it or its columns",
                    self.flow
                )));
            }
        }
        let report = check_catalogue(&objects, None, RuleLimits::default());
        let ours =
            report.faults.into_iter().filter(|fault| [&model, &flow].contains(&&fault.object));
        let faults: Vec<Fault> = ours.map(|found| found.fault).collect();
        if !faults.is_empty() {
            return Err(Failure::Faults(advised(faults)));
        }
        Ok(Plan { dir: self.dir, flow: self.flow, files })
    }

    /// A flow that is there, with the model in it; `None` where it names the model already.
    fn extended(
        &self,
        existing: &FlowDefinition,
        manifest: &ModelManifest,
    ) -> Result<Option<FlowDefinition>, Failure> {
        if self.names(existing, &manifest.name) {
            return Ok(None);
        }
        let mut definition = existing.clone();
        let is_free = match &definition.classify {
            Some(classify) => classify.model.is_none(),
            None => definition.models.is_empty(),
        };
        if !is_free {
            return Err(Failure::new(format!(
                "the flow {flow} names other models than {model}, so that it would not be served: \
                 name one of the flow's models with --name, put {model} into {place} first, or \
                 train without --catalogue",
                flow = self.flow,
                model = manifest.name,
                place = self.dir.join("flows").join(format!("{}.yaml", self.flow)).display(),
            )));
        }
        match (&mut definition.classify, manifest.task) {
            (Some(classify), ModelTask::Classification) => {
                classify.model = Some(ModelChoice::Name(manifest.name.clone()));
            }
            _ => put_model(&mut definition, manifest),
        }
        Ok(Some(definition))
    }

    /// Whether a flow names a model, itself or by a flag.
    fn names(&self, flow: &FlowDefinition, model: &str) -> bool {
        let classify = flow.classify.iter().filter_map(|classify| classify.model.as_ref());
        let scores = flow.models.values().map(|score| &score.model);
        let mut choices = classify.chain(scores);
        choices.any(|choice| match choice {
            ModelChoice::Name(name) => name == model,
            ModelChoice::Choice(selection) => names_model(selection, model),
            ModelChoice::Flag { flag } => {
                let id = object(ObjectKind::Flag, flag).ok();
                let found = id.and_then(|id| self.text.objects.get(&id));
                let variants = found.and_then(|flag| flag.body["variants"].as_object());
                variants.is_some_and(|all| all.values().any(|value| mentions(value, model)))
            }
        })
    }
}

fn names_model(selection: &ModelSelection, model: &str) -> bool {
    serde_json::to_value(selection).is_ok_and(|value| mentions(&value, model))
}

fn mentions(value: &serde_json::Value, name: &str) -> bool {
    match value {
        serde_json::Value::String(text) => text == name,
        serde_json::Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        serde_json::Value::Object(members) => members.values().any(|item| mentions(item, name)),
        _ => false,
    }
}

/// What is written once the model is trained.
pub(super) struct Plan {
    dir: PathBuf,
    flow: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Plan {
    /// Writes the model and the flow; gives the flow's file.
    pub(super) fn write(
        &self,
        manifest: &ModelManifest,
        files: &ModelFiles,
    ) -> Result<PathBuf, Failure> {
        write_model(&self.dir.join("models").join(&manifest.name), files)?;
        crate::cli::objects::write_schemas(&self.dir)?;
        let mut flow_file = self.dir.join("flows").join(format!("{}.yaml", self.flow));
        for (path, bytes) in &self.files {
            flow_file = self.dir.join(path);
            data::write_bytes(&flow_file, bytes)?;
        }
        Ok(flow_file)
    }
}

/// Faults of a flow that was made of columns, with what can be done about the columns.
fn advised(mut faults: Vec<Fault>) -> Vec<Fault> {
    for fault in &mut faults {
        let Some(column) = fault.path.strip_prefix("fields.") else { continue };
        let plain = field_name(column);
        let action = if plain == column {
            format!("rename the column {column:?} in the data")
        } else {
            format!("rename the column {column:?} in the data, for example to {plain}")
        };
        fault.message = format!(
            "{}. A column becomes a field of the flow: {action}, or train without --catalogue",
            fault.message.trim_end_matches('.')
        );
        fault.code = match fault.code {
            Code::DuplicateName => Code::DuplicateName,
            _ => Code::TrainingData,
        };
        // The file that it names is not there.
        (fault.file, fault.line, fault.column) = (None, None, None);
    }
    faults
}

/// A name for a field that resembles a column's.
fn field_name(column: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }
    };
    let name: String = column.chars().map(plain).collect();
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    let name: String = words.join("_").chars().take(60).collect();
    match name.chars().next() {
        Some(first) if first.is_ascii_digit() => format!("n_{name}"),
        Some(_) => name,
        None => "column_1".to_owned(),
    }
}

fn object(kind: ObjectKind, name: &str) -> Result<ObjectId, Failure> {
    let name = ObjectName::new(kind, name).map_err(|fault| Failure::Faults(vec![fault]))?;
    Ok(ObjectId { kind, name })
}

fn bytes(object: &ModelObject) -> Result<Vec<u8>, Failure> {
    Ok(serde_json::to_vec(object).map_err(anyhow::Error::from)?)
}

/// The object of a model that is not trained yet: its files are unknown, its columns are not.
fn stand_in(manifest: &ModelManifest) -> ModelObject {
    let text = serde_json::to_vec(manifest).unwrap_or_default();
    let file = ModelFile {
        path: "model.json".to_owned(),
        sha256: verdict_config::model::sha256_hex(&text),
        size: text.len() as u64,
    };
    let files = vec![file];
    let content_hash = content_hash(&files);
    ModelObject { manifest: manifest.clone(), files, content_hash }
}

/// The kind of a column that a flow reads from a field, or `None` where no model can read it.
pub(super) const fn kind_of(field: FieldType) -> Option<ColumnKind> {
    match field {
        FieldType::Bool | FieldType::Int | FieldType::Decimal | FieldType::Float => {
            Some(ColumnKind::Number)
        }
        FieldType::Symbol => Some(ColumnKind::Category),
        FieldType::String => Some(ColumnKind::Text),
        FieldType::Time | FieldType::Set => None,
    }
}

/// A flow whose fields are the model's columns.
fn new_flow(flow: &str, manifest: &ModelManifest) -> FlowDefinition {
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
    put_model(&mut definition, manifest);
    definition
}

fn put_model(definition: &mut FlowDefinition, manifest: &ModelManifest) {
    match manifest.task {
        ModelTask::Classification => {
            definition.classify = Some(ClassifyDefinition {
                scheme: definition.flow.clone(),
                rules: Vec::new(),
                model: Some(ModelChoice::Name(manifest.name.clone())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_names_of_fields() {
        for (column, expected) in [
            ("Annual Income (k$)", "annual_income_k"),
            ("2nd score", "n_2nd_score"),
            ("名前", "column_1"),
            ("amount", "amount"),
        ] {
            assert_eq!(field_name(column), expected);
        }
    }
}
