//! Names and kinds of catalogue objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Code, Fault};

/// The longest flag key in bytes. Flag keys come from flagd files, whose keys are any text.
pub const FLAG_KEY_BYTES_MAX: usize = 256;

/// What kinds of object the catalogue holds. Append only: the order is part of stored envelopes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A feature flag in flagd's format.
    Flag,
    /// A named condition that flags share (flagd's `$evaluators` among them).
    Segment,
    /// A list of values with optional expiry.
    List,
    /// A table of text cells: decision table or crosswalk.
    Table,
    /// A set of rules for one flow.
    RuleSet,
    /// A decision pipeline.
    Flow,
    /// The manifest of one model version.
    Model,
    /// A name that points to a model version.
    Alias,
    /// An experiment.
    Experiment,
    /// A rollout.
    Rollout,
    /// An API or operator key.
    Key,
    /// A member's attributes.
    Member,
    /// A cluster-wide setting.
    Setting,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [ObjectKind; 13] = [
        Self::Flag,
        Self::Segment,
        Self::List,
        Self::Table,
        Self::RuleSet,
        Self::Flow,
        Self::Model,
        Self::Alias,
        Self::Experiment,
        Self::Rollout,
        Self::Key,
        Self::Member,
        Self::Setting,
    ];

    /// The kind as it stands in paths and bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Segment => "segment",
            Self::List => "list",
            Self::Table => "table",
            Self::RuleSet => "rule_set",
            Self::Flow => "flow",
            Self::Model => "model",
            Self::Alias => "alias",
            Self::Experiment => "experiment",
            Self::Rollout => "rollout",
            Self::Key => "key",
            Self::Member => "member",
            Self::Setting => "setting",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for ObjectKind {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Fault::new(
                Code::InvalidValue,
                "kind",
                format!("{text:?} is no kind; kinds are {known}"),
            )
        })
    }
}

/// A name that was checked for its kind. Cheap to clone: it stands in every index of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectName(SmolStr);

impl ObjectName {
    /// Checks a name: `[a-z0-9][a-z0-9._-]{0,63}`, but for flags any text of 1 to 256 bytes without
    /// control characters, because flagd's keys are any text.
    ///
    /// # Errors
    /// [`Code::InvalidName`].
    pub fn new(kind: ObjectKind, text: impl AsRef<str>) -> Result<Self, Fault> {
        let text = text.as_ref();
        let fits = match kind {
            ObjectKind::Flag | ObjectKind::Segment => {
                !text.is_empty()
                    && text.len() <= FLAG_KEY_BYTES_MAX
                    && !text.chars().any(char::is_control)
            }
            _ => is_plain_name(text),
        };
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(Fault::new(
                Code::InvalidName,
                "name",
                format!("{text:?} is no name for a {kind}. {}", Code::InvalidName.advice()),
            ))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a text is `[a-z0-9][a-z0-9._-]{0,63}`.
#[must_use]
pub fn is_plain_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b))
}

/// One object of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.name)
    }
}
