//! The bounds of one rule set (on its text, its trees and its worst-case cost), and the version that
//! it is evaluated by.

use serde::{Deserialize, Serialize};
use verdict_config::EvaluationVersion;

/// What a rule set may be at most. A set beyond a limit is refused when it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleLimits {
    /// Rules of one set.
    pub rules_max: u32,
    /// Bytes of one expression.
    pub expression_bytes_max: u32,
    /// Nesting of one expression: brackets, operators and calls inside each other.
    pub depth_max: u32,
    /// Literals, names, operators and calls of one expression.
    pub nodes_max: u32,
    /// Bytes of memory that one compiled `matches` pattern may take.
    pub pattern_bytes_max: u32,
    /// Worst-case cost units of a set that names no `cost_units_max` itself. A unit is of the order
    /// of a nanosecond: one comparison, one word of a bitset, eight bytes of text looked at.
    pub cost_units_max: u64,
    /// The rules by which the set is evaluated. No setting chooses them: the cluster's version does.
    #[serde(skip)]
    pub evaluation: EvaluationVersion,
}

impl Default for RuleLimits {
    fn default() -> Self {
        Self {
            rules_max: 20_000,
            expression_bytes_max: 16_384,
            depth_max: 48,
            nodes_max: 2_048,
            pattern_bytes_max: 1 << 20,
            cost_units_max: 50_000_000,
            evaluation: EvaluationVersion::CURRENT,
        }
    }
}
