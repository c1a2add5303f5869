//! One thing that is wrong with a text, a value or a change, said so that it can be corrected.

use serde::Serialize;

use crate::{Code, ObjectId};

/// A fault with its place. `path` is a dotted path into the object (`rules[3].when`); file, line and
/// column (both from 1) are given where the object came from a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where in the object: keys joined by dots, positions in brackets; empty for the whole.
    pub path: String,
    /// The stable code.
    pub code: Code,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
    /// The catalogue file, relative to the catalogue folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in the line in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// Every fault found, never only the first.
pub type Faults = Vec<Fault>;

/// The refusal that a finding carries: what is already in the catalogue stays and is served, while the
/// next change of it is refused. So rules can become stricter without stopping a cluster whose
/// catalogue was accepted before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The code of the fault that a change gets.
    pub code: Code,
    /// The objects whose change is refused; empty: the one that the finding is about.
    pub objects: Vec<ObjectId>,
}

impl Refusal {
    /// A refusal of changes to the object that the finding is about.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, objects: Vec::new() }
    }

    /// A refusal of changes to any of some objects.
    #[must_use]
    pub fn of(code: Code, objects: impl IntoIterator<Item = ObjectId>) -> Self {
        Self { code, objects: objects.into_iter().collect() }
    }
}

impl Fault {
    /// A fault at a path of an object.
    pub fn new(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            code,
            message: message.into(),
            file: None,
            line: None,
            column: None,
        }
    }

    /// The same fault, placed in a file.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: u32, column: u32) -> Self {
        self.file = Some(file.into());
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    /// The same fault with `prefix` put before its path: `when` under `rules[2]` is `rules[2].when`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.path = match (prefix.is_empty(), self.path.is_empty()) {
            (true, _) => self.path,
            (false, true) => prefix.to_owned(),
            (false, false) if self.path.starts_with('[') => format!("{prefix}{}", self.path),
            (false, false) => format!("{prefix}.{}", self.path),
        };
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{file}:")?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(formatter, "{line}:{column}:")?;
            }
            write!(formatter, " ")?;
        }
        write!(formatter, "{} ", self.code)?;
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)
    }
}
