//! Lists of values: keywords, codes, names.

use serde::{Deserialize, Serialize};

use crate::TimestampMs;

/// A list, `lists/NAME.csv` as a file (columns value, and optionally expires, comment).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListDefinition {
    /// Its entries in file order.
    pub entries: Vec<ListEntry>,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEntry {
    /// The word, phrase, code or name.
    pub value: String,
    /// From this time on the entry does not count; a decision compares with its `as_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<TimestampMs>,
    /// Why it is here, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Further columns of the file, as name matching uses them (`country`, `identifier`, `aliases`).
    #[serde(default, skip_serializing_if = "indexmap::IndexMap::is_empty")]
    pub qualifiers: indexmap::IndexMap<String, String>,
}
