//! Rules as others see them: what they are, read and do, and why they may be unknown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::definition::{Category, Effect, Outcome, Severity, UnknownPolicy};
use verdict_config::{Facts, FieldType, TimestampMs, Value};

use crate::names::NameGap;
use crate::{RuleMask, Slot};

/// When a rule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Before models: it reads input fields and windows only.
    Early,
    /// After models: it reads a fact that they derive.
    Late,
}

/// One rule of a compiled set, as far as others need to know it. Its position is its number.
#[derive(Debug, Clone)]
pub struct RuleInfo {
    /// Stable id.
    pub id: Arc<str>,
    /// Risk category.
    pub category: Option<Category>,
    /// Severity.
    pub severity: Option<Severity>,
    /// Its reason code; the id in capitals if the rule names none.
    pub reason: Arc<str>,
    /// When it runs.
    pub phase: Phase,
    /// The bool flag that switches it.
    pub flag: Option<Arc<str>>,
    /// What an unknown condition counts as.
    pub unknown: UnknownPolicy,
    /// The facts that it reads, windows included, in the order of the text, without repetition.
    pub reads: Arc<[Slot]>,
    /// Worst-case cost units of its condition and table, beyond what the index shares.
    pub cost_units_max: u64,
}

/// What one evaluation is given.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationInput<'a> {
    /// Input fields by slot.
    pub facts: &'a Facts,
    /// Derived facts, in the order of `DerivedFacts`; a shorter slice leaves the rest unknown.
    pub derived: &'a [Option<Value>],
    /// Window values, in the order of [`windows`](crate::CompiledRuleSet::windows).
    pub windows: &'a [Option<Value>],
    /// The time of the decision: expiry of list entries, `as_of` in expressions.
    pub as_of: TimestampMs,
    /// Rules that are not evaluated.
    pub disabled: &'a RuleMask,
    /// Rules whose hits are marked and must have no effect.
    pub snoozed: &'a RuleMask,
    /// What this evaluation may cost; rules beyond it are unknown.
    pub cost_units_limit: u64,
}

/// What a hit does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HitEffect {
    /// Added to the score.
    pub points: Option<i32>,
    /// The score is at least this.
    pub floor: Option<i32>,
    /// The score is at most this.
    pub cap: Option<i32>,
    /// The outcome is at least this.
    pub outcome: Option<Outcome>,
    /// The class label.
    pub label: Option<Arc<str>>,
    /// Confidence of the label.
    pub confidence: Option<f64>,
    /// An audited allow.
    pub allow: bool,
    /// The reason code; the rule's own (`RuleInfo::reason`) if absent.
    pub reason: Option<Arc<str>>,
}

impl HitEffect {
    /// What has no effect.
    pub(crate) const NONE: Self = Self {
        points: None,
        floor: None,
        cap: None,
        outcome: None,
        label: None,
        confidence: None,
        allow: false,
        reason: None,
    };

    /// An effect as it is written.
    #[must_use]
    pub fn of(effect: &Effect) -> Self {
        Self {
            points: effect.points,
            floor: effect.floor,
            cap: effect.cap,
            outcome: effect.outcome,
            label: effect.label.as_deref().map(Arc::from),
            confidence: effect.confidence,
            allow: effect.allow,
            reason: effect.reason.as_deref().map(Arc::from),
        }
    }
}

/// What a list, a name or a table contributed to a hit.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Terms of a keyword list, found in a field.
    Terms {
        /// The field's slot.
        field: Slot,
        /// The list.
        list: Arc<str>,
        /// The item of the field that they are in, if the field is a set.
        item: Option<Arc<str>>,
        /// The terms as the list writes them, in the order of the text, bounded.
        terms: Arc<[Arc<str>]>,
    },
    /// A field's value is in a list.
    Listed {
        /// The field's slot.
        field: Slot,
        /// The list.
        list: Arc<str>,
        /// The item of the field that is in the list, if the field is a set.
        item: Option<Arc<str>>,
    },
    /// A text that the rule computes is in a list.
    ListedText {
        /// The list.
        list: Arc<str>,
    },
    /// A name is like one of a list.
    Name {
        /// The field's slot.
        field: Slot,
        /// The list.
        list: Arc<str>,
        /// The item of the field that is most alike, if the field is a set.
        item: Option<Arc<str>>,
        /// The entry that is most alike; empty if the name could not be compared.
        entry: Arc<str>,
        /// How alike, 0 to 1; a lower bound if the explanation says so.
        score: f64,
        /// How the score came about.
        explanation: Arc<str>,
    },
    /// A row of a decision table matched.
    Row {
        /// The table.
        table: Arc<str>,
        /// The row, from 1.
        row: u32,
    },
}

/// Why a value is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownCause {
    /// A fact is absent.
    Missing(Slot),
    /// A fact is not of the type that it was declared with.
    WrongType(Slot),
    /// A number went beyond its type's range.
    Overflow,
    /// Division by zero.
    DivisionByZero,
    /// A float operation has no result.
    NotANumber,
    /// A lookup table has no row for the key.
    NoRow,
    /// Rows of a table that must agree do not.
    TableConflict,
    /// The cost limit was reached before the rule was evaluated.
    CostLimit,
    /// A name cannot be compared with every entry of a list.
    Name(Slot, NameGap),
}

impl UnknownCause {
    /// The cause as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::WrongType(_) => "wrong_type",
            Self::Overflow => "overflow",
            Self::DivisionByZero => "division_by_zero",
            Self::NotANumber => "not_a_number",
            Self::NoRow => "no_row",
            Self::TableConflict => "table_conflict",
            Self::CostLimit => "cost_limit",
            Self::Name(_, gap) => gap.as_str(),
        }
    }
}

/// One window that a rule set reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowRead {
    /// What is computed over the window.
    pub function: WindowFunction,
    /// The window's length, 1 s to 90 days.
    pub window_ms: u64,
    /// The field whose value selects the decisions that count.
    pub key_field: Slot,
    /// The field that is summed, compared or told apart; none for a count.
    pub value_field: Option<Slot>,
    /// The type of the value: int for count and distinct; for sum, min and max the type of the
    /// value field; for mean decimal over decimals and float over ints and floats.
    pub result: FieldType,
    /// The call in its canonical text: `window_sum("24h", card_id, amount)`.
    pub text: String,
}

/// What is computed over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowFunction {
    /// Number of decisions.
    Count,
    /// Sum of the value.
    Sum,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Arithmetic mean of the value.
    Mean,
    /// Number of different values.
    Distinct,
}

impl WindowFunction {
    /// Every function.
    pub const ALL: [Self; 6] =
        [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Mean, Self::Distinct];

    /// The function's name in expressions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "window_count",
            Self::Sum => "window_sum",
            Self::Min => "window_min",
            Self::Max => "window_max",
            Self::Mean => "window_mean",
            Self::Distinct => "window_distinct",
        }
    }
}
