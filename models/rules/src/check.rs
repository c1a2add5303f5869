//! The type checker: from a tree as it is written to a typed tree, or to every fault in it.
//!
//! Types flow in one direction with one exception: a number literal takes the type of what stands on
//! the other side of its operator, so that `amount > 100.5` is a decimal comparison where `amount`
//! is a decimal. Nothing else converts by itself.

mod calendar;
mod call;
mod compare;
mod literal;
mod number;
mod pattern;

use verdict_config::{Code, Fault, Faults};

use crate::cost;
use crate::expression::{Arithmetic, Atom, AtomKind, Condition, Constant, Relation};
use crate::expression::{Term, Type};
use crate::resources::{ResourcesBuilder, unknown_name};
use crate::syntax::{Node, NodeKind, Operator, describe_place, hints};
use crate::{FactNames, Slot};
use literal::{has_fraction, is_adaptable};

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
            let message = match hints::for_name(name) {
                Some(hint) => format!("there is no field {name:?}; {hint}"),
                None => unknown_name("field", name, names.names()),
            };
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
