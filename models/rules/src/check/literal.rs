//! Which nodes are literals, whose numbers take the type of what stands beside them.

use crate::syntax::{Node, NodeKind, Operator};

/// Whether a node is a number literal, or arithmetic of nothing else: a constant.
pub(super) fn is_literal(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Number(_) => true,
        NodeKind::Negate(inner) => is_literal(inner),
        NodeKind::Binary(operator, left, right) => {
            is_arithmetic(*operator) && is_literal(left) && is_literal(right)
        }
        _ => false,
    }
}

/// Whether a node's numbers are all literals, so that it takes the type of what stands beside it.
pub(super) fn is_adaptable(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Number(_) => true,
        NodeKind::Negate(inner) => is_adaptable(inner),
        NodeKind::Binary(operator, left, right) => {
            is_arithmetic(*operator) && is_adaptable(left) && is_adaptable(right)
        }
        NodeKind::If(_, then, otherwise) => is_adaptable(then) && is_adaptable(otherwise),
        _ => false,
    }
}

const fn is_arithmetic(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo
    )
}

/// Whether an adaptable node has a literal with a fraction or an exponent.
pub(super) fn has_fraction(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Number(text) => !super::number::is_whole_text(text),
        NodeKind::Negate(inner) => has_fraction(inner),
        NodeKind::Binary(operator, left, right) => {
            is_arithmetic(*operator) && (has_fraction(left) || has_fraction(right))
        }
        NodeKind::If(_, then, otherwise) => has_fraction(then) || has_fraction(otherwise),
        _ => false,
    }
}
