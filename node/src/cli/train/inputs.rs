//! The choice of input columns and their kinds.
//!
//! A flow that is there already says what its fields are: a model that reads `mcc` as a number cannot
//! be served by a flow whose `mcc` is a symbol, so that the fields win over what the cells look like.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use verdict_config::csv::{CsvOptions, CsvReader};
use verdict_config::model::ColumnKind;
use verdict_config::{Code, Fault, Field, FieldType};
use verdict_neural::{DatasetOptions, FeatureSelection};

use super::serve::kind_of;
use super::{TrainArgs, selection};
use crate::cli::{Failure, data};

/// How the training data is read, for a flow with these fields if there is one.
pub(super) fn choose(
    arguments: &TrainArgs,
    bytes: &[u8],
    fields: Option<&IndexMap<String, Field>>,
) -> Result<DatasetOptions, Failure> {
    let mut options = DatasetOptions {
        label: arguments.label.clone(),
        text: arguments.text.clone(),
        features: selection(arguments.features.as_deref()),
        kinds: BTreeMap::new(),
    };
    let Some(fields) = fields else { return Ok(options) };
    let header = CsvReader::new(bytes, &CsvOptions::default()).map_err(|fault| {
        let file = arguments.data.display().to_string();
        Failure::Faults(vec![fault.into_fault(Code::TrainingData, &file)])
    })?;
    let columns: Vec<String> = header.header().iter().map(str::to_owned).collect();
    let named = match &options.features {
        FeatureSelection::Columns(names) => names.as_slice(),
        FeatureSelection::None | FeatureSelection::All => &[],
    };
    let faults: Vec<Fault> = options
        .text
        .iter()
        .chain(named)
        .filter_map(|column| misfit(column, fields))
        .map(|message| Fault::new(Code::TrainingData, "", message))
        .collect();
    if !faults.is_empty() {
        return Err(data::in_file(faults, &arguments.data));
    }
    let takes_all = match options.features {
        FeatureSelection::All => true,
        FeatureSelection::None => options.text.is_empty(),
        FeatureSelection::Columns(_) => false,
    };
    if takes_all {
        let reads = |column: &&String| {
            misfit(column, fields).is_none()
                && options.label.as_ref() != Some(*column)
                && !options.text.contains(*column)
        };
        let all = columns.iter().filter(reads).cloned().collect();
        options.features = FeatureSelection::Columns(all);
    }
    options.kinds = fields
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), kind_of(field.field_type)?)))
        .map(|(name, kind)| {
            // Once texts are named, other words are categories.
            let is_word = kind == ColumnKind::Text && !options.text.is_empty();
            (name, if is_word { ColumnKind::Category } else { kind })
        })
        .collect();
    Ok(options)
}

/// Why a column cannot be read through the flow's fields.
fn misfit(column: &str, fields: &IndexMap<String, Field>) -> Option<String> {
    match fields.get(column).map(|field| field.field_type) {
        None => {
            let near = verdict_config::spelling::nearest(column, fields.keys().map(String::as_str));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            Some(format!(
                "the flow has no field `{column}`{near}: add it to the flow, or leave the column out"
            ))
        }
        Some(FieldType::Time | FieldType::Set) => Some(format!(
            "the flow's field `{column}` is a {}, which no model reads: leave the column out",
            fields[column].field_type.as_str()
        )),
        Some(_) => None,
    }
}
