//! Truth, without making values of it on the way.

use super::super::coerce::{loosely_equal, order, strictly_equal, to_text, truthy};
use super::super::datum::{Datum, List};
use super::super::node::{Comparison, Node};
use super::{Evaluator, LogicError, Scope};

impl<'a> Evaluator<'a> {
    /// Whether a node's value counts as true.
    pub(super) fn holds(
        &mut self,
        node: &'a Node,
        scope: Scope<'_, 'a>,
    ) -> Result<bool, LogicError> {
        self.charge(1)?;
        match node {
            Node::And(items) => {
                for item in items {
                    if !self.holds(item, scope)? {
                        return Ok(false);
                    }
                }
                Ok(!items.is_empty())
            }
            Node::Or(items) => {
                for item in items {
                    if self.holds(item, scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Shared(node) => self.holds(node, scope),
            Node::Truth(..)
            | Node::Equal { .. }
            | Node::Order(..)
            | Node::In(_)
            | Node::InTexts(..) => self.test(node, scope),
            other => self.eval(other, scope).map(|value| truthy(&value)),
        }
    }

    /// The result of an operation that gives a bool.
    pub(super) fn test(
        &mut self,
        node: &'a Node,
        scope: Scope<'_, 'a>,
    ) -> Result<bool, LogicError> {
        match node {
            Node::Truth(item, negated) => Ok(self.holds(item, scope)? != *negated),
            Node::Equal { strict, negated, sides } => {
                let (a, b) = (self.eval(&sides[0], scope)?, self.eval(&sides[1], scope)?);
                self.charge(a.weight().min(b.weight()))?;
                let equal = if *strict { strictly_equal(&a, &b) } else { loosely_equal(&a, &b) };
                Ok(equal != *negated)
            }
            Node::Order(comparison, sides) => self.ordered(*comparison, sides, scope),
            Node::In(sides) => {
                let (a, b) = (self.eval(&sides[0], scope)?, self.eval(&sides[1], scope)?);
                self.charge(b.weight())?;
                Ok(contains(&b, &a))
            }
            Node::InTexts(item, texts) => Ok(match self.eval(item, scope)? {
                Datum::Text(text) => texts.contains(text.as_ref()),
                Datum::Null
                | Datum::Bool(_)
                | Datum::Number(_)
                | Datum::List(_)
                | Datum::Object(_) => false,
            }),
            other => self.eval(other, scope).map(|value| truthy(&value)),
        }
    }

    fn ordered(
        &mut self,
        comparison: Comparison,
        sides: &'a [Node],
        scope: Scope<'_, 'a>,
    ) -> Result<bool, LogicError> {
        let Some((first, rest)) = sides.split_first() else { return Ok(false) };
        let mut left = self.eval(first, scope)?;
        let mut holds = !rest.is_empty();
        for side in rest {
            let right = self.eval(side, scope)?;
            self.charge(left.weight().min(right.weight()))?;
            holds = holds
                && order(&left, &right).is_some_and(|order| match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                });
            left = right;
        }
        Ok(holds)
    }
}

fn contains(haystack: &Datum<'_>, needle: &Datum<'_>) -> bool {
    match haystack {
        Datum::Text(text) => text.contains(to_text(needle).as_ref()),
        Datum::List(items) => match (items, needle) {
            (List::Borrowed(items), Datum::Text(text)) => {
                items.iter().any(|item| item.as_str() == Some(text))
            }
            _ => items.iter().any(|item| strictly_equal(&item, needle)),
        },
        Datum::Null | Datum::Bool(_) | Datum::Number(_) | Datum::Object(_) => false,
    }
}
