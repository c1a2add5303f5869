//! What inputs and labels looked like in training, for drift measures later.

use serde_json::{Map, Value, json};
use verdict_config::model::{ColumnKind, ModelValue};
use verdict_stats::sketch::{CategoryReference, ReferenceBins};

use crate::Dataset;
use crate::features::{number, text};

/// Bins of a number.
const BINS: usize = 10;
/// Categories kept.
const CATEGORIES: usize = 50;

/// The profile of a dataset: for each column its bins (numbers), most frequent values (categories)
/// or the bins of its length in characters (texts), and the rows of each label.
#[must_use]
pub fn reference_profile(dataset: &Dataset) -> Value {
    let mut columns = Map::new();
    for (index, column) in dataset.columns.iter().enumerate() {
        let cells = || dataset.rows.iter().map(|row| &row[index]);
        let bins = |values: Vec<f64>| json!(ReferenceBins::from_values(&values, BINS));
        let profile = match column.kind {
            ColumnKind::Number => {
                let values = cells().map(|cell| number(cell).unwrap_or(f64::NAN)).collect();
                json!({ "number": bins(values) })
            }
            ColumnKind::Text => {
                let length = |cell: &ModelValue| {
                    text(cell).map_or(f64::NAN, |text| text.chars().count() as f64)
                };
                json!({ "text_characters": bins(cells().map(length).collect()) })
            }
            ColumnKind::Category => {
                let reference =
                    CategoryReference::from_values(cells().filter_map(text), CATEGORIES);
                let missing = cells().filter(|cell| text(cell).is_none()).count();
                json!({ "category": reference, "missing": missing })
            }
        };
        columns.insert(column.name.clone(), profile);
    }
    let mut labels = Map::new();
    for (index, name) in dataset.label_names.iter().enumerate() {
        let rows = dataset.labels.iter().filter(|label| **label as usize == index).count();
        labels.insert(name.clone(), json!(rows));
    }
    json!({ "rows": dataset.rows.len(), "columns": columns, "labels": labels })
}
