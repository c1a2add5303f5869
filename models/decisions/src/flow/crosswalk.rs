//! Crosswalks: from a label to its codes in other schemes, read once from a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::definition::{Crosswalk, TableDefinition};
use verdict_config::{Code, Fault, Faults};

use super::Codes;
use crate::decision::CodePairs;

/// Reads a crosswalk. Empty cells give no code; of rows with one key the first counts.
///
/// # Errors
/// Columns that the table does not have, with paths below `classify.codes`.
pub(super) fn read(crosswalk: &Crosswalk, table: &TableDefinition) -> Result<Codes, Faults> {
    let mut faults = Faults::new();
    let mut position = |path: String, column: &str| {
        let found = table.columns.iter().position(|known| known == column);
        if found.is_none() {
            let message = format!(
                "table {} has no column {column:?}; its columns are {}",
                crosswalk.table,
                table.columns.join(", ")
            );
            faults.push(Fault::new(Code::UnknownReference, path, message));
        }
        found
    };
    let key = position("classify.codes.key".to_owned(), &crosswalk.key);
    let columns: Vec<(Arc<str>, Option<usize>)> = crosswalk
        .columns
        .iter()
        .map(|(name, column)| {
            let path = format!("classify.codes.columns.{name}");
            (name.as_str().into(), position(path, column))
        })
        .collect();
    let Some(key) = key.filter(|_| faults.is_empty()) else { return Err(faults) };
    let mut codes: Codes = BTreeMap::new();
    for row in &table.rows {
        let Some(label) = row.get(key).filter(|label| !label.is_empty()) else { continue };
        if codes.contains_key(label) {
            continue;
        }
        let cells: CodePairs = columns
            .iter()
            .filter_map(|(name, column)| {
                let cell = row.get((*column)?).filter(|cell| !cell.is_empty())?;
                Some((Arc::clone(name), cell.as_str().into()))
            })
            .collect();
        codes.insert(label.clone(), cells);
    }
    Ok(codes)
}
