//! Look-up tables: a key column, and columns of text that are read by it.

use std::collections::HashMap;

use verdict_config::definition::TableDefinition;
use verdict_config::{Code, Fault, Faults};

/// A table keyed by one of its columns. Keys and cells are trimmed and otherwise compared exactly.
#[derive(Debug, Clone, Default)]
pub struct LookupTable {
    columns: HashMap<Box<str>, u32>,
    rows: HashMap<Box<str>, u32>,
    cells: Vec<Box<str>>,
}

impl LookupTable {
    /// A table keyed by its first column.
    ///
    /// # Errors
    /// As [`Self::build_keyed`]; a table without columns.
    pub fn build(table: &TableDefinition) -> Result<Self, Faults> {
        match table.columns.first() {
            Some(key) => Self::build_keyed(table, key),
            None => Err(vec![Fault::new(
                Code::TableInvalid,
                "columns",
                "the table has no column: write a header line with the key column first",
            )]),
        }
    }

    /// A table keyed by the column named.
    ///
    /// # Errors
    /// Every fault: no such column, a column name used twice, a row of another width, a key that is
    /// empty or used twice.
    pub fn build_keyed(table: &TableDefinition, key: &str) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let mut columns = HashMap::new();
        for (index, name) in (0u32..).zip(&table.columns) {
            if columns.insert(Box::from(name.trim()), index).is_some() {
                let message = format!("the column {name:?} stands twice: rename one");
                faults.push(Fault::new(Code::TableInvalid, format!("columns[{name}]"), message));
            }
        }
        let Some(key_index) = columns.get(key.trim()).copied() else {
            let known = table.columns.join(", ");
            let message = format!("there is no column {key:?}; the columns are {known}");
            faults.push(Fault::new(Code::TableInvalid, "columns", message));
            return Err(faults);
        };
        let mut rows: HashMap<Box<str>, u32> = HashMap::with_capacity(table.rows.len());
        let mut cells = Vec::with_capacity(table.rows.len() * table.columns.len());
        for (index, row) in (0u32..).zip(&table.rows) {
            if row.len() != table.columns.len() {
                let message = format!("{} cells for {} columns", row.len(), table.columns.len());
                faults.push(Fault::new(Code::TableInvalid, format!("rows[{index}]"), message));
                continue;
            }
            let place = || format!("rows[{index}].columns[{key}]");
            let text = row[key_index as usize].trim();
            if text.is_empty() {
                let message = "the key is empty: write one or remove the row";
                faults.push(Fault::new(Code::TableInvalid, place(), message));
            } else if let Some(first) = rows.get(text) {
                let message = format!(
                    "the key {text:?} stands in row {} too: remove one of the rows",
                    first + 1
                );
                faults.push(Fault::new(Code::TableInvalid, place(), message));
            } else {
                rows.insert(text.into(), index);
            }
            cells.extend(row.iter().map(|cell| Box::from(cell.trim())));
        }
        if faults.is_empty() { Ok(Self { columns, rows, cells }) } else { Err(faults) }
    }

    /// The position of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<u32> {
        self.columns.get(name).copied()
    }

    /// The cell in a column of the row with that key; `None` without such a row or column, and for
    /// an empty cell.
    #[must_use]
    pub fn get(&self, column: &str, key: &str) -> Option<&str> {
        self.get_at(self.column(column)?, key)
    }

    /// As [`Self::get`], by the column's position.
    #[must_use]
    pub fn get_at(&self, column: u32, key: &str) -> Option<&str> {
        let width = self.columns.len();
        if column as usize >= width {
            return None;
        }
        let row = self.rows.get(key.trim()).copied()? as usize;
        let cell = self.cells.get(row * width + column as usize)?;
        (!cell.is_empty()).then_some(cell.as_ref())
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> TableDefinition {
        let mut lines = text.lines().map(|line| line.split('|').map(str::to_owned).collect());
        TableDefinition { columns: lines.next().unwrap_or_default(), rows: lines.collect() }
    }

    #[test]
    fn reads_cells_by_key() {
        let codes =
            LookupTable::build(&table("naics|mcc|sic\n72|5812|5812\n 44 |5311|\n")).unwrap();
        let check = |column: &str, key: &str, expected: Option<&str>| {
            assert_eq!(codes.get(column, key), expected, "{column} of {key}");
        };
        check("mcc", "72", Some("5812"));
        check("mcc", " 44", Some("5311"));
        check("sic", "44", None);
        check("naics", "44", Some("44"));
        check("mcc", "99", None);
        check("mce", "72", None);
        assert_eq!(codes.get_at(7, "72"), None);
        assert_eq!(codes.len(), 2);
        let by_mcc = LookupTable::build_keyed(&table("naics|mcc\n72|5812"), "mcc").unwrap();
        assert_eq!(by_mcc.get("naics", "5812"), Some("72"));
    }

    #[test]
    fn names_every_fault() {
        let check = |text: &str, expected: &[&str]| {
            let faults = LookupTable::build(&table(text)).unwrap_err();
            let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
            assert_eq!(paths, expected, "{text}");
        };
        check("a|b\n1|2\n1|3\n|4\n5", &["rows[1].columns[a]", "rows[2].columns[a]", "rows[3]"]);
        check("a|a\n1|2", &["columns[a]"]);
        check("", &["columns"]);
        assert!(LookupTable::build_keyed(&table("a\n1"), "z").is_err());
    }
}
