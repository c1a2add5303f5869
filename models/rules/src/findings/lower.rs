//! Comparisons of a text in lower case with a literal that has capitals: no text is equal to it.

use verdict_config::definition::RuleDefinition;

use super::{Finding, FindingKind, finding};
use crate::CompiledRuleSet;
use crate::expression::{AtomKind, Condition, Constant, Constants, Relation, Term};
use crate::folding;
use crate::set::RuleBody;

/// The findings of a rule.
pub(super) fn find(
    at: usize,
    rule: &RuleDefinition,
    body: &RuleBody,
    set: &CompiledRuleSet,
) -> Vec<Finding> {
    let mut literals = Vec::new();
    for clause in &body.clauses {
        collect(&clause.condition, set, &mut literals);
    }
    literals.sort_unstable();
    literals.dedup();
    let found = |literal: String| {
        let message =
            format!("no text in lower case is {literal:?}: write {:?}", folding::lower(&literal));
        finding(FindingKind::NeverEqual, at, rule, message)
    };
    literals.into_iter().map(found).collect()
}

/// Collects the literals that are compared with a text in lower case and have another form.
fn collect(condition: &Condition, set: &CompiledRuleSet, literals: &mut Vec<String>) {
    match condition {
        Condition::Constant(_) => {}
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|part| collect(part, set, literals));
        }
        Condition::Not(inner) => collect(inner, set, literals),
        Condition::If(parts) => parts.iter().for_each(|part| collect(part, set, literals)),
        Condition::Same(parts) => parts.iter().for_each(|part| collect(part, set, literals)),
        Condition::Atom(id) => {
            let atom = set.resources.atoms.get(*id as usize);
            let mut add = |text: &str| {
                if folding::lower(text) != text {
                    literals.push(text.to_owned());
                }
            };
            match atom.map(|atom| &atom.kind) {
                Some(AtomKind::Compare(
                    Relation::Equal | Relation::NotEqual,
                    Term::Lower(..),
                    Term::Constant(Constant::Text(text)),
                )) => add(text),
                Some(AtomKind::Among(Term::Lower(..), Constants::Texts(texts))) => {
                    texts.iter().for_each(|text| add(text));
                }
                _ => {}
            }
        }
    }
}
