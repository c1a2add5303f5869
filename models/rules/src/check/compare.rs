//! Comparisons and membership.

use verdict_config::Code;

use super::literal::{has_fraction, is_adaptable, is_literal};
use super::{Checker, Typed, mixed, negated, shown};
use crate::Slot;
use crate::cost;
use crate::expression::{Atom, AtomKind, Condition, Constant, Constants, Relation, Term, Type};
use crate::syntax::{Node, NodeKind};

impl Checker<'_, '_> {
    pub(super) fn compare(
        &mut self,
        node: &Node,
        relation: Relation,
        (left, right): (&Node, &Node),
    ) -> Option<Condition> {
        let mark = self.reads.len();
        // The literal goes to the right, and is read when the type of the other side is known.
        let (left, right, relation) = if is_adaptable(left) && !is_adaptable(right) {
            (right, left, relation.flipped())
        } else {
            (left, right, relation)
        };
        let (left_typed, right_typed) = if is_adaptable(right) && !is_adaptable(left) {
            let left_typed = self.check(left, None);
            let fraction = is_literal(right) && has_fraction(right);
            if fraction && matches!(left_typed, Some(Typed::Term(_, Type::Int))) {
                let Some(Typed::Term(term, _)) = left_typed else { return None };
                return self.int_with_fraction(node, relation, term, (right, mark));
            }
            let hint = left_typed.as_ref().map(Typed::type_of);
            let right_typed = self.check(right, hint);
            (left_typed?, right_typed?)
        } else {
            self.pair((left, right), None)?
        };
        match (left_typed, right_typed) {
            (Typed::Condition(a), Typed::Condition(b)) => self.same(node, relation, a, b),
            (Typed::Term(a, a_type), Typed::Term(b, b_type)) if a_type == b_type => {
                Some(self.comparison(node, relation, (a, b), mark))
            }
            (a, b) => {
                let message = mixed(left, a.type_of(), right, b.type_of());
                self.type_fault(node, &message)
            }
        }
    }

    /// A comparison of two terms of one type, with the constant on the right.
    fn comparison(
        &mut self,
        node: &Node,
        relation: Relation,
        (left, right): (Term, Term),
        mark: usize,
    ) -> Condition {
        match (left, right) {
            (Term::Constant(a), Term::Constant(b)) => {
                let order = a.order(&b);
                Condition::Constant(order.is_some_and(|order| relation.holds(order)))
            }
            (left @ Term::Constant(_), right) => {
                self.leaf(node, AtomKind::Compare(relation.flipped(), right, left), mark)
            }
            (left, right) => self.leaf(node, AtomKind::Compare(relation, left, right), mark),
        }
    }

    fn same(
        &mut self,
        node: &Node,
        relation: Relation,
        a: Condition,
        b: Condition,
    ) -> Option<Condition> {
        let equal = match (a, b) {
            (Condition::Constant(true), other) | (other, Condition::Constant(true)) => other,
            (Condition::Constant(false), other) | (other, Condition::Constant(false)) => {
                negated(other)
            }
            (a, b) => Condition::Same(Box::new([a, b])),
        };
        match relation {
            Relation::Equal => Some(equal),
            Relation::NotEqual => Some(negated(equal)),
            _ => self.type_fault(node, "true and false have no order: use == or !="),
        }
    }

    pub(super) fn membership(&mut self, node: &Node, item: &Node, all: &Node) -> Option<Typed> {
        if let NodeKind::Not(_) = &item.kind {
            let message = "! binds stronger than in: write !(value in [..])";
            return self.type_fault(item, message);
        }
        let mark = self.reads.len();
        if let NodeKind::List(items) = &all.kind {
            return self.among(node, item, items).map(Typed::Condition);
        }
        let item_typed = self.check(item, None);
        match (item_typed?, self.check(all, None)?) {
            (Typed::Term(term, Type::Text), Typed::Set(slot)) => {
                Some(Typed::Condition(self.leaf(node, AtomKind::Member(term, slot), mark)))
            }
            (other, Typed::Set(_)) => {
                let of = other.type_of().as_str();
                self.type_fault(item, &format!("sets hold texts, {} is {of}", shown(item)))
            }
            (_, other) => {
                let of = other.type_of().as_str();
                let message = format!(
                    "in asks a list in brackets or a set, {} is {of}; for a catalogue list write \
                     listed(\"name\", field)",
                    shown(all)
                );
                self.type_fault(all, &message)
            }
        }
    }

    /// `x in [..]`: literals become one look-up, everything else an equality of its own.
    fn among(&mut self, node: &Node, item: &Node, items: &[Node]) -> Option<Condition> {
        let mark = self.reads.len();
        let hint = items.iter().any(has_fraction).then_some(Type::Float);
        let Typed::Term(term, of) = self.check(item, hint.filter(|_| is_adaptable(item)))? else {
            return self.type_fault(item, "in compares numbers, texts and times");
        };
        let mut constants = Vec::new();
        let mut parts = Vec::new();
        let mut all_right = true;
        for member in items {
            if of == Type::Int && is_literal(member) && has_fraction(member) {
                // No int is equal to a fraction; whole numbers written as one are.
                match self.whole(member) {
                    Some(Some(whole)) => constants.push(Constant::Int(whole)),
                    Some(None) => {}
                    None => all_right = false,
                }
                continue;
            }
            let here = self.reads.len();
            match self.check(member, Some(of)) {
                Some(Typed::Term(Term::Constant(constant), member_type)) if member_type == of => {
                    constants.push(constant);
                }
                Some(Typed::Term(other, member_type)) if member_type == of => {
                    let mut reads = self.reads.get(mark..here).unwrap_or_default().to_vec();
                    reads.extend_from_slice(self.reads.get(here..).unwrap_or_default());
                    let kind = AtomKind::Compare(Relation::Equal, term.clone(), other);
                    parts.push(self.derived_leaf(format!("{item} == {member}"), kind, &reads));
                }
                Some(other) => {
                    let message = mixed(item, of, member, other.type_of());
                    self.fault(Code::RuleType, member, &message);
                    all_right = false;
                }
                None => all_right = false,
            }
        }
        if !all_right {
            return None;
        }
        if let Term::Constant(constant) = &term
            && parts.is_empty()
        {
            return Some(Condition::Constant(constants.contains(constant)));
        }
        if parts.is_empty() {
            let kind = AtomKind::Among(term, Constants::new(of, constants));
            return Some(self.leaf(node, kind, mark));
        }
        if !constants.is_empty() {
            let texts: Vec<String> = items.iter().map(Node::to_string).collect();
            let text = format!("{item} in constants of [{}]", texts.join(", "));
            let reads = self.reads.get(mark..).unwrap_or_default().to_vec();
            let kind = AtomKind::Among(term, Constants::new(of, constants));
            parts.insert(0, self.derived_leaf(text, kind, &reads));
        }
        Some(Condition::Any(parts.into()))
    }

    /// An atom that has no node of its own.
    fn derived_leaf(&mut self, text: String, kind: AtomKind, reads: &[Slot]) -> Condition {
        let mut reads = reads.to_vec();
        reads.sort_unstable();
        reads.dedup();
        let cost_units_max = cost::atom_max(&kind, &self.builder.built);
        let reads = reads.into_boxed_slice();
        let make = || Atom { kind, reads, cost_units_max, kept: false };
        Condition::Atom(self.builder.atom(text, make))
    }
}
