//! The type checker: from a tree as it is written to a typed tree, or to every fault in it.
//!
//! Types flow in one direction with one exception: a number literal takes the type of what stands on
//! the other side of its operator, so that `amount > 100.5` is a decimal comparison where `amount`
//! is a decimal. Nothing else converts by itself.

mod call;
mod number;

use verdict_config::{Code, Fault, Faults};

use crate::cost;
use crate::expression::{Arithmetic, Atom, AtomKind, Condition, Constant, Constants, Relation};
use crate::expression::{Term, Type};
use crate::resources::{ResourcesBuilder, unknown_name};
use crate::syntax::{Node, NodeKind, Operator, describe_place};
use crate::{FactNames, Slot};

/// Checks the expressions of one text.
pub(crate) struct Checker<'c, 'e> {
    pub(crate) builder: &'c mut ResourcesBuilder<'e>,
    pub(crate) text: &'c str,
    pub(crate) path: &'c str,
    pub(crate) faults: &'c mut Faults,
    /// Facts in the order they are met, with repetition.
    pub(crate) reads: Vec<Slot>,
}

/// What a node turned out to be.
pub(crate) enum Typed {
    Condition(Condition),
    Term(Term, Type),
    /// A fact that is a set.
    Set(Slot),
}

impl Typed {
    const fn type_of(&self) -> Type {
        match self {
            Self::Condition(_) => Type::Bool,
            Self::Term(_, of) => *of,
            Self::Set(_) => Type::Set,
        }
    }
}

impl Checker<'_, '_> {
    pub(crate) fn fault(&mut self, code: Code, node: &Node, message: &str) {
        let place = describe_place(self.text, node.span.start);
        self.faults.push(Fault::new(code, self.path, format!("{place}: {message}")));
    }

    fn type_fault<T>(&mut self, node: &Node, message: &str) -> Option<T> {
        self.fault(Code::RuleType, node, message);
        None
    }

    /// Checks a node that must be true or false.
    pub(crate) fn condition(&mut self, node: &Node) -> Option<Condition> {
        match self.check(node, Some(Type::Bool))? {
            Typed::Condition(condition) => Some(condition),
            Typed::Term(_, of) => self.type_fault(
                node,
                &format!("{} is {} and not true or false: compare it", shown(node), of.as_str()),
            ),
            Typed::Set(_) => self.type_fault(
                node,
                &format!("{} is a set: ask it with \"x\" in {}", shown(node), shown(node)),
            ),
        }
    }

    /// Checks a node. `hint` is the type that number literals in it take.
    pub(crate) fn check(&mut self, node: &Node, hint: Option<Type>) -> Option<Typed> {
        match &node.kind {
            NodeKind::Bool(value) => Some(Typed::Condition(Condition::Constant(*value))),
            NodeKind::Number(text) => self.number(node, text, false, hint),
            NodeKind::Text(text) => {
                Some(Typed::Term(Term::Constant(Constant::Text(text.clone())), Type::Text))
            }
            NodeKind::List(_) => self.type_fault(node, "a list stands only behind in"),
            NodeKind::Name(name) => self.name(node, name),
            NodeKind::Not(inner) => {
                let inner = self.condition(inner)?;
                Some(Typed::Condition(negated(inner)))
            }
            NodeKind::Negate(inner) => self.negate(node, inner, hint),
            NodeKind::And(parts) => {
                let parts = self.conditions(parts)?;
                Some(Typed::Condition(Condition::All(parts)))
            }
            NodeKind::Or(parts) => {
                let parts = self.conditions(parts)?;
                Some(Typed::Condition(Condition::Any(parts)))
            }
            NodeKind::Binary(operator, left, right) => {
                self.binary(node, *operator, (left, right), hint)
            }
            NodeKind::If(condition, then, otherwise) => {
                self.choice(node, condition, (then, otherwise), hint)
            }
            NodeKind::Call(name, arguments) => self.call(node, name, arguments),
        }
    }

    /// Checks all, so that every fault is told, then answers if all are right.
    fn conditions(&mut self, nodes: &[Node]) -> Option<Box<[Condition]>> {
        let checked: Vec<Option<Condition>> =
            nodes.iter().map(|node| self.condition(node)).collect();
        checked.into_iter().collect()
    }

    fn name(&mut self, node: &Node, name: &str) -> Option<Typed> {
        let environment = self.builder.environment;
        let names = FactNames { schema: environment.schema, derived: environment.derived };
        let Some((slot, field_type)) = names.resolve(name) else {
            if name == "as_of" {
                return Some(Typed::Term(Term::AsOf, Type::Time));
            }
            let message = unknown_name("field", name, names.names());
            self.fault(Code::RuleUnknownField, node, &message);
            return None;
        };
        self.reads.push(slot);
        Some(match Type::of(field_type) {
            Type::Bool => {
                let mark = self.reads.len() - 1;
                Typed::Condition(self.leaf(node, AtomKind::Truth(slot), mark))
            }
            Type::Set => Typed::Set(slot),
            of => Typed::Term(Term::Fact(slot, of), of),
        })
    }

    /// An atom for a node; `mark` is where its facts begin among the reads.
    pub(crate) fn leaf(&mut self, node: &Node, kind: AtomKind, mark: usize) -> Condition {
        let mut reads: Vec<Slot> = Vec::new();
        for slot in self.reads.get(mark..).unwrap_or_default() {
            if !reads.contains(slot) {
                reads.push(*slot);
            }
        }
        let cost_units_max = cost::atom_max(&kind, &self.builder.built);
        let reads = reads.into_boxed_slice();
        let make = || Atom { kind, reads, cost_units_max, kept: false };
        Condition::Atom(self.builder.atom(node.to_string(), make))
    }

    /// Checks two nodes of which one may be a literal that takes the type of the other.
    fn pair(&mut self, pair: (&Node, &Node), hint: Option<Type>) -> Option<(Typed, Typed)> {
        if is_adaptable(pair.0) && !is_adaptable(pair.1) {
            let right = self.check(pair.1, hint);
            let hint = right.as_ref().map(Typed::type_of).or(hint);
            let left = self.check(pair.0, hint);
            Some((left?, right?))
        } else if is_adaptable(pair.0) {
            // Two literals: a fraction or exponent on either side makes both floats.
            let fraction = has_fraction(pair.0) || has_fraction(pair.1);
            let hint = hint.filter(|of| of.is_number());
            let hint = hint.or(if fraction { Some(Type::Float) } else { None });
            let left = self.check(pair.0, hint);
            let right = self.check(pair.1, hint);
            Some((left?, right?))
        } else {
            let left = self.check(pair.0, hint);
            let hint = left.as_ref().map(Typed::type_of).or(hint);
            let right = self.check(pair.1, hint);
            Some((left?, right?))
        }
    }

    fn binary(
        &mut self,
        node: &Node,
        operator: Operator,
        (left, right): (&Node, &Node),
        hint: Option<Type>,
    ) -> Option<Typed> {
        let relation = match operator {
            Operator::Equal => Relation::Equal,
            Operator::NotEqual => Relation::NotEqual,
            Operator::Less => Relation::Less,
            Operator::LessOrEqual => Relation::LessOrEqual,
            Operator::Greater => Relation::Greater,
            Operator::GreaterOrEqual => Relation::GreaterOrEqual,
            Operator::In => return self.membership(node, left, right),
            Operator::Add => return self.arithmetic(node, Arithmetic::Add, (left, right), hint),
            Operator::Subtract => {
                return self.arithmetic(node, Arithmetic::Subtract, (left, right), hint);
            }
            Operator::Multiply => {
                return self.arithmetic(node, Arithmetic::Multiply, (left, right), hint);
            }
            Operator::Divide => {
                return self.arithmetic(node, Arithmetic::Divide, (left, right), hint);
            }
            Operator::Modulo => {
                return self.arithmetic(node, Arithmetic::Modulo, (left, right), hint);
            }
        };
        self.compare(node, relation, (left, right)).map(Typed::Condition)
    }

    fn compare(
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

    fn membership(&mut self, node: &Node, item: &Node, all: &Node) -> Option<Typed> {
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

    fn choice(
        &mut self,
        node: &Node,
        condition: &Node,
        (then, otherwise): (&Node, &Node),
        hint: Option<Type>,
    ) -> Option<Typed> {
        let condition = self.condition(condition);
        let branches = self.pair((then, otherwise), hint);
        let condition = condition?;
        match branches? {
            (Typed::Condition(a), Typed::Condition(b)) => {
                Some(Typed::Condition(Condition::If(Box::new([condition, a, b]))))
            }
            (Typed::Term(a, a_type), Typed::Term(b, b_type)) if a_type == b_type => {
                Some(Typed::Term(Term::If(Box::new(condition), Box::new([a, b])), a_type))
            }
            (Typed::Set(_), Typed::Set(_)) => self.type_fault(node, "?: does not choose sets"),
            (a, b) => {
                let message = mixed(then, a.type_of(), otherwise, b.type_of());
                self.type_fault(node, &message)
            }
        }
    }
}

/// Whether a node is a number literal, or arithmetic of nothing else: a constant.
fn is_literal(node: &Node) -> bool {
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
fn is_adaptable(node: &Node) -> bool {
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
fn has_fraction(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Number(text) => !number::is_whole_text(text),
        NodeKind::Negate(inner) => has_fraction(inner),
        NodeKind::Binary(operator, left, right) => {
            is_arithmetic(*operator) && (has_fraction(left) || has_fraction(right))
        }
        NodeKind::If(_, then, otherwise) => has_fraction(then) || has_fraction(otherwise),
        _ => false,
    }
}

pub(crate) fn negated(condition: Condition) -> Condition {
    match condition {
        Condition::Constant(value) => Condition::Constant(!value),
        Condition::Not(inner) => *inner,
        other => Condition::Not(Box::new(other)),
    }
}

/// A node in a message: its canonical text, shortened.
pub(crate) fn shown(node: &Node) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = node.to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{short}...")
}

fn mixed(left: &Node, left_type: Type, right: &Node, right_type: Type) -> String {
    let mut message = format!(
        "{} is {} and {} is {}: use values of one type",
        shown(left),
        left_type.as_str(),
        shown(right),
        right_type.as_str()
    );
    if left_type.is_number() && right_type.is_number() {
        message.push_str("; int(), decimal() and double() convert");
    } else if (left_type, right_type) == (Type::Time, Type::Text)
        || (left_type, right_type) == (Type::Text, Type::Time)
    {
        message.push_str("; write a time as timestamp(\"2026-01-31T12:00:00Z\")");
    }
    message
}
