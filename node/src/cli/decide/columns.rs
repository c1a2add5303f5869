//! Columns of a data file against the fields of a flow.
//!
//! A column that no field reads is left out, and a field without a column is absent in each record.
//! Both are right where they are meant, and a wrong decision in silence where a header is misspelt.

use std::path::Path;

use serde_json::{Value as Json, json};
use verdict_config::definition::FlowDefinition;
use verdict_config::spelling::nearest;

use super::DecideArgs;
use crate::cli::Failure;
use crate::cli::data::Records;
use crate::output::Output;

/// Names that a message shows at most.
const SHOWN_MAX: usize = 20;

/// Which columns a flow reads.
#[derive(Debug, PartialEq, Default)]
pub struct ColumnUse {
    /// Columns that a field reads.
    read: Vec<String>,
    /// Columns that nothing reads, each with the field that it probably means.
    unread: Vec<(String, Option<String>)>,
    /// Fields that no column gives.
    without_column: Vec<String>,
}

impl ColumnUse {
    /// Compares the columns with the fields.
    ///
    /// # Errors
    /// No column is read.
    pub fn check(
        flow: &FlowDefinition,
        arguments: &DecideArgs,
        records: &Records,
    ) -> Result<Self, Failure> {
        let options = [&arguments.label, &arguments.unit, &arguments.as_of];
        let is_option = |name: &String| options.iter().any(|option| option.as_ref() == Some(name));
        let has_column = |name: &str| records.columns.iter().any(|column| column == name);
        let (read, others): (Vec<String>, Vec<String>) =
            records.columns.iter().cloned().partition(|column| flow.fields.contains_key(column));
        let fields = || flow.fields.keys().map(String::as_str);
        let unread = others.into_iter().filter(|column| !is_option(column)).map(|column| {
            let free = fields().filter(|field| !has_column(field));
            let near = nearest(&column, free).map(str::to_owned);
            (column, near)
        });
        let columns = Self {
            read,
            unread: unread.collect(),
            without_column: fields().filter(|f| !has_column(f)).map(str::to_owned).collect(),
        };
        if columns.read.is_empty() && !records.rows.is_empty() {
            return Err(Failure::new(format!(
                "no field of the flow `{}` has a column in {}: the file has the columns {}; the flow \
                 reads {}. Rename the columns",
                arguments.flow,
                arguments.data.display(),
                shown(&columns.unread_names()),
                shown(&columns.without_column),
            )));
        }
        Ok(columns)
    }

    fn unread_names(&self) -> Vec<String> {
        let name = |(column, near): &(String, Option<String>)| match near {
            Some(near) => format!("`{column}` (did you mean `{near}`?)"),
            None => format!("`{column}`"),
        };
        self.unread.iter().map(name).collect()
    }

    /// Names for people what is not read and what is not given.
    pub fn note(&self, output: &Output) {
        if !self.unread.is_empty() {
            let misspelt = self.unread.iter().any(|(_, near)| near.is_some());
            let text = format!("No field reads the columns {}.", shown(&self.unread_names()));
            if misspelt { output.warn(text) } else { output.note(text) }
        }
        if !self.without_column.is_empty() {
            output.note(format!(
                "These fields have no column and are absent in every record: {}.",
                shown(&self.without_column)
            ));
        }
    }

    /// The same for programs.
    pub fn json(&self) -> Json {
        let unread: Vec<&String> = self.unread.iter().map(|(column, _)| column).collect();
        json!({
            "read": self.read, "unread": unread, "fields_without_column": self.without_column,
        })
    }
}

/// Refuses an option that names a column which the data does not have.
pub fn check_named<'n>(
    records: &Records,
    named: impl Iterator<Item = &'n String>,
    file: &Path,
) -> Result<(), Failure> {
    for name in named {
        if records.rows.is_empty() || records.columns.contains(name) {
            continue;
        }
        return Err(Failure::new(format!(
            "{} has no column `{name}`; it has {}",
            file.display(),
            shown(&records.columns)
        )));
    }
    Ok(())
}

fn shown(names: &[String]) -> String {
    let first = names.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
