//! Models as a flow sees them: which fields their columns are read from.

use std::sync::Arc;

use verdict_config::model::{ColumnKind, ModelRow, ModelTask, ModelValue};
use verdict_config::{Facts, FieldType, Schema, Value};

use crate::parts::ModelInterface;

/// A model whose columns were resolved to the flow's fields.
#[derive(Debug)]
pub struct FlowModel {
    /// Its interface.
    pub interface: Arc<ModelInterface>,
    /// `NAME@VERSION`.
    pub(crate) label: Arc<str>,
    /// `model:NAME@VERSION`.
    pub(crate) source: Arc<str>,
    pub(crate) columns: Vec<ColumnRead>,
}

/// Where a column of a row comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnRead {
    pub slot: u32,
    pub kind: ColumnKind,
}

impl FlowModel {
    /// Resolves a model's columns to fields of the same names.
    ///
    /// # Errors
    /// A sentence for each column that has no field, or one of a type that does not fit.
    pub(crate) fn resolve(
        interface: &Arc<ModelInterface>,
        schema: &Schema,
    ) -> Result<Self, Vec<String>> {
        let mut columns = Vec::with_capacity(interface.columns.len());
        let mut faults = Vec::new();
        for column in &interface.columns {
            let field =
                schema.slot(&column.name).and_then(|slot| Some((slot, schema.field(slot)?.1)));
            match field {
                None => faults.push(format!(
                    "model {} reads the column {:?}, but the flow has no field of that name",
                    interface.name, column.name
                )),
                Some((_, field)) if !fits(column.kind, field.field_type) => faults.push(format!(
                    "model {} reads {:?} as {}, but the field is a {}",
                    interface.name,
                    column.name,
                    kind_name(column.kind),
                    field.field_type.as_str()
                )),
                Some((slot, _)) => columns.push(ColumnRead { slot, kind: column.kind }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let label: Arc<str> = format!("{}@{}", interface.name, interface.version).into();
        let source = format!("model:{label}").into();
        Ok(Self { interface: Arc::clone(interface), label, source, columns })
    }

    /// The row of a request.
    pub(crate) fn row(&self, facts: &Facts) -> ModelRow {
        self.columns.iter().map(|column| cell(column.kind, facts.get(column.slot))).collect()
    }

    /// The position of the score that is the risk; `None` where the model has no such label.
    pub(crate) fn risk_position(&self, label: Option<&str>) -> Option<usize> {
        match self.interface.task {
            ModelTask::Anomaly => Some(0),
            ModelTask::Classification => {
                let wanted = label.or(self.interface.positive_label.as_deref())?;
                self.interface.labels.iter().position(|label| label.as_ref() == wanted)
            }
        }
    }

    /// Whether it names labels.
    pub(crate) fn classifies(&self) -> bool {
        self.interface.task == ModelTask::Classification
    }
}

const fn fits(kind: ColumnKind, field_type: FieldType) -> bool {
    match kind {
        ColumnKind::Text => matches!(field_type, FieldType::String | FieldType::Symbol),
        ColumnKind::Number => matches!(
            field_type,
            FieldType::Int | FieldType::Decimal | FieldType::Float | FieldType::Bool
        ),
        // Codes are often whole numbers in data and symbols in a flow, or the other way round.
        ColumnKind::Category => matches!(
            field_type,
            FieldType::String | FieldType::Symbol | FieldType::Int | FieldType::Bool
        ),
    }
}

const fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "text",
        ColumnKind::Number => "a number",
        ColumnKind::Category => "a category",
    }
}

fn cell(kind: ColumnKind, value: Option<&Value>) -> ModelValue {
    let Some(value) = value else { return ModelValue::Missing };
    match (kind, value) {
        (ColumnKind::Number, Value::Bool(value)) => ModelValue::Number(f64::from(u8::from(*value))),
        (ColumnKind::Number, value) => {
            value.as_f64().map_or(ModelValue::Missing, ModelValue::Number)
        }
        (ColumnKind::Text | ColumnKind::Category, Value::Text(text)) => {
            ModelValue::Text(text.as_ref().to_owned())
        }
        (ColumnKind::Category, Value::Int(number)) => ModelValue::Text(number.to_string()),
        (ColumnKind::Category, Value::Bool(value)) => ModelValue::Text(value.to_string()),
        (ColumnKind::Text | ColumnKind::Category, _) => ModelValue::Missing,
    }
}
