//! From a condition as it is written to arms: a disjunction of conjunctions.
//!
//! `!` is pushed inward by De Morgan's laws and `&&` is distributed over `||` while the number of
//! arms stays small. Both hold in Kleene's three values, so the arms together are true, false or
//! unknown exactly when the condition is.

use crate::check::negated;
use crate::expression::Condition;

/// The most arms of one rule; a condition with more keeps its disjunctions as residuals.
const ARMS_MAX: usize = 16;

/// The clauses of one arm.
pub(crate) type ArmClauses = Vec<Condition>;

/// The arms of a rule whose clauses must all be true. No arm: the rule is never true.
pub(crate) fn arms_of<'c>(clauses: impl Iterator<Item = &'c Condition>) -> Vec<ArmClauses> {
    let mut arms = vec![Vec::new()];
    for clause in clauses {
        arms = conjunction(arms, clause, true);
    }
    arms
}

/// Each of `arms` together with each arm of one more condition.
fn conjunction(arms: Vec<ArmClauses>, condition: &Condition, positive: bool) -> Vec<ArmClauses> {
    let more = split(condition, positive);
    if arms.len() * more.len() > ARMS_MAX {
        let whole = signed(condition, positive);
        return arms.into_iter().map(|arm| with(arm, std::slice::from_ref(&whole))).collect();
    }
    match <[ArmClauses; 1]>::try_from(more) {
        Ok([one]) => arms.into_iter().map(|arm| with(arm, &one)).collect(),
        Err(more) => {
            arms.iter().flat_map(|arm| more.iter().map(|other| with(arm.clone(), other))).collect()
        }
    }
}

fn with(mut arm: ArmClauses, more: &[Condition]) -> ArmClauses {
    arm.extend_from_slice(more);
    arm
}

fn split(condition: &Condition, positive: bool) -> Vec<ArmClauses> {
    match condition {
        Condition::Constant(value) if *value == positive => vec![Vec::new()],
        Condition::Constant(_) => Vec::new(),
        Condition::Not(inner) => split(inner, !positive),
        Condition::All(parts) if positive => all_of(parts, true),
        Condition::Any(parts) if !positive => all_of(parts, false),
        Condition::All(parts) => any_of(condition, parts, false),
        Condition::Any(parts) => any_of(condition, parts, true),
        Condition::If(_) | Condition::Same(_) | Condition::Atom(_) => {
            vec![vec![signed(condition, positive)]]
        }
    }
}

fn all_of(parts: &[Condition], positive: bool) -> Vec<ArmClauses> {
    let one = vec![Vec::new()];
    parts.iter().fold(one, |arms, part| conjunction(arms, part, positive))
}

fn any_of(condition: &Condition, parts: &[Condition], positive: bool) -> Vec<ArmClauses> {
    let mut arms = Vec::new();
    for part in parts {
        arms.extend(split(part, positive));
        if arms.len() > ARMS_MAX {
            return vec![vec![signed(condition, positive)]];
        }
    }
    arms
}

fn signed(condition: &Condition, positive: bool) -> Condition {
    if positive { condition.clone() } else { negated(condition.clone()) }
}
