//! Explanations: for every rule what it read, and what decided it.

use std::sync::Arc;

use smallvec::SmallVec;
use verdict_config::Value;

use crate::{Evidence, Slot, UnknownCause};

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Its condition is true.
    Hit,
    /// Its condition is false.
    Miss,
    /// Its condition is unknown.
    Unknown,
    /// It was switched off.
    Disabled,
}

impl Verdict {
    /// The verdict as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
        }
    }
}

/// One rule explained.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleTrace {
    /// The rule's position in the set.
    pub rule: u32,
    /// Its id.
    pub id: Arc<str>,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether it is snoozed.
    pub snoozed: bool,
    /// The facts that it reads with their values; `None` is unknown.
    pub reads: Vec<FactRead>,
    /// Of a miss, the first clause that is false.
    pub failing: Option<Clause>,
    /// Of an unknown, every cause, with the clause it is in.
    pub causes: Vec<CauseTrace>,
    /// Of a hit, what lists, names and tables matched.
    pub evidence: SmallVec<[Evidence; 1]>,
}

/// A fact that a rule read.
#[derive(Debug, Clone, PartialEq)]
pub struct FactRead {
    /// Its slot.
    pub slot: Slot,
    /// Its name; of a window the canonical text of the call.
    pub name: Arc<str>,
    /// Its value.
    pub value: Option<Value>,
}

/// A part of a condition that is joined to the others by `&&`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The clause as the rule writes it.
    pub text: Arc<str>,
    /// Where it begins in the expression, in characters from 1.
    pub column: u32,
}

/// Why a rule is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseTrace {
    /// The cause.
    pub cause: UnknownCause,
    /// The clause that is unknown.
    pub clause: Option<Clause>,
    /// The cause in a sentence.
    pub text: String,
}
