//! Tables of text cells.

use serde::{Deserialize, Serialize};

/// A table, `tables/NAME.csv` as a file. What a column means is said by who uses the table: in a
/// decision table columns named `then.*` are outputs and all others are conditions on the field of
/// that name; in a crosswalk the flow names the key and the columns it reads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableDefinition {
    /// Column names, from the header line.
    pub columns: Vec<String>,
    /// Rows, each with one cell a column.
    pub rows: Vec<Vec<String>>,
}

/// DMN's hit policies (OMG DMN 1.5, 8.2.8).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HitPolicy {
    /// At most one row matches; more is a fault (unknown at run time, a finding at publish).
    #[default]
    Unique,
    /// Any number of rows match and all say the same.
    Any,
    /// The match whose output is first in the output's order of priority (the graver outcome, then more points).
    Priority,
    /// The first match in row order.
    First,
    /// All matches in row order.
    RuleOrder,
    /// All matches in order of priority.
    OutputOrder,
    /// All matches, in no order.
    Collect,
    /// The sum of the points of all matches.
    CollectSum,
    /// The smallest points of all matches.
    CollectMin,
    /// The largest points of all matches.
    CollectMax,
    /// The number of matches times the rule's points.
    CollectCount,
}
