//! Static findings: what is suspicious about a set that nevertheless compiles.

use serde::Serialize;
use verdict_config::definition::RuleSetDefinition;

use crate::CompiledRuleSet;

/// What is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The rule can never hit.
    Dead,
    /// The rule hits whatever the input.
    Always,
    /// Another rule hits whenever this one does and already has its whole effect.
    Shadowed,
    /// Two rules hit together and ask for opposite things.
    Contradictory,
    /// A decision table has inputs that no row matches.
    TableGap,
    /// Rows of a decision table overlap although its hit policy forbids it.
    TableOverlap,
    /// The analysis stopped at its bound; more may be wrong.
    Truncated,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is suspicious.
    pub kind: FindingKind,
    /// Where: `rules[3].when`.
    pub path: String,
    /// The rule it is about.
    pub rule: String,
    /// The other rule of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
}

/// Everything suspicious about a set.
pub(crate) fn find(_definition: &RuleSetDefinition, _set: &CompiledRuleSet) -> Vec<Finding> {
    Vec::new()
}
