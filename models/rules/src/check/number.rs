//! Number literals and arithmetic.

use rust_decimal::Decimal;
use verdict_config::Code;

use super::{Checker, Typed, mixed, negated};
use crate::arithmetic;
use crate::expression::{Arithmetic, AtomKind, Condition, Constant, Constants, Relation};
use crate::expression::{Term, Type};
use crate::syntax::{Node, NodeKind};

/// Whether a number is written without fraction and exponent.
pub(super) fn is_whole_text(text: &str) -> bool {
    is_hexadecimal(text) || text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hexadecimal(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X")
}

fn parse_decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok().or_else(|| Decimal::from_scientific(text).ok())
}

fn parse_int(text: &str, negative: bool) -> Option<i64> {
    let (digits, radix) = if is_hexadecimal(text) { (text.get(2..)?, 16) } else { (text, 10) };
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

impl Checker<'_, '_> {
    pub(super) fn number(
        &mut self,
        node: &Node,
        text: &str,
        negative: bool,
        hint: Option<Type>,
    ) -> Option<Typed> {
        let whole = is_whole_text(text);
        let of = match hint {
            Some(of @ (Type::Decimal | Type::Float)) => of,
            _ if whole => Type::Int,
            Some(Type::Int) => {
                let message = format!(
                    "{text} is no int: decimal() or double() make another number of the int side"
                );
                return self.type_fault(node, &message);
            }
            _ => Type::Float,
        };
        let constant = match of {
            Type::Decimal if is_hexadecimal(text) => {
                parse_int(text, negative).map(|number| Constant::Decimal(number.into()))
            }
            Type::Decimal => parse_decimal(text)
                .map(|number| Constant::Decimal(if negative { -number } else { number })),
            #[expect(clippy::cast_precision_loss, reason = "a literal that is to be a float")]
            Type::Float if is_hexadecimal(text) => {
                parse_int(text, negative).map(|number| Constant::Float(number as f64))
            }
            Type::Float => text
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map(|number| Constant::Float(if negative { -number } else { number })),
            _ => parse_int(text, negative).map(Constant::Int),
        };
        match constant {
            Some(constant) => Some(Typed::Term(Term::Constant(constant), of)),
            None => {
                let message = format!("{text} is beyond what a {} can hold", of.as_str());
                self.type_fault(node, &message)
            }
        }
    }

    pub(super) fn negate(
        &mut self,
        node: &Node,
        inner: &Node,
        hint: Option<Type>,
    ) -> Option<Typed> {
        if let NodeKind::Number(text) = &inner.kind {
            return self.number(inner, text, true, hint);
        }
        match self.check(inner, hint)? {
            Typed::Term(Term::Constant(constant), of) if of.is_number() => {
                match arithmetic::negate(&constant) {
                    Ok(constant) => Some(Typed::Term(Term::Constant(constant), of)),
                    Err(_) => self.type_fault(node, "this is beyond what its type can hold"),
                }
            }
            Typed::Term(term, of) if of.is_number() || of == Type::Duration => {
                Some(Typed::Term(Term::Negate(Box::new(term)), of))
            }
            other => {
                let of = other.type_of().as_str();
                self.type_fault(node, &format!("- takes a number, this is {of}"))
            }
        }
    }

    pub(super) fn arithmetic(
        &mut self,
        node: &Node,
        operation: Arithmetic,
        (left, right): (&Node, &Node),
        hint: Option<Type>,
    ) -> Option<Typed> {
        let (left_typed, right_typed) = self.pair((left, right), hint)?;
        let types = (left_typed.type_of(), right_typed.type_of());
        let (Typed::Term(a, _), Typed::Term(b, _)) = (left_typed, right_typed) else {
            return self.type_fault(node, "arithmetic takes numbers, times and durations");
        };
        let of = match (operation, types) {
            (Arithmetic::Modulo, (Type::Int, Type::Int)) => Type::Int,
            (Arithmetic::Modulo, _) => return self.type_fault(node, "% takes ints"),
            (_, (a, b)) if a == b && a.is_number() => a,
            (Arithmetic::Subtract, (Type::Time, Type::Time)) => Type::Duration,
            (Arithmetic::Add | Arithmetic::Subtract, (Type::Time, Type::Duration)) => Type::Time,
            (Arithmetic::Add, (Type::Duration, Type::Time)) => Type::Time,
            (Arithmetic::Add | Arithmetic::Subtract, (Type::Duration, Type::Duration)) => {
                Type::Duration
            }
            (_, (a, b)) if a == b => {
                let message = format!("arithmetic takes numbers, these are {}", a.as_str());
                return self.type_fault(node, &message);
            }
            (_, (a, b)) => {
                let message = mixed(left, a, right, b);
                return self.type_fault(node, &message);
            }
        };
        if let (Term::Constant(a), Term::Constant(b)) = (&a, &b) {
            return match arithmetic::apply(operation, a, b) {
                Ok(constant) => Some(Typed::Term(Term::Constant(constant), of)),
                Err(cause) => {
                    let message = format!("this never has a value: {}", cause.as_str());
                    self.type_fault(node, &message)
                }
            };
        }
        Some(Typed::Term(Term::Arithmetic(operation, Box::new([a, b])), of))
    }

    /// `x > 2.5` where `x` is an int: the nearest ints say the same.
    pub(super) fn int_with_fraction(
        &mut self,
        node: &Node,
        relation: Relation,
        term: Term,
        (literal, mark): (&Node, usize),
    ) -> Option<Condition> {
        let Typed::Term(Term::Constant(Constant::Float(number)), _) =
            self.check(literal, Some(Type::Float))?
        else {
            return self.type_fault(literal, "expected a number");
        };
        let floor = number.floor();
        let whole = floor == number;
        // 2^63 is exact as a float; every float below it and from -2^63 on fits an int.
        let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&floor);
        #[expect(clippy::cast_possible_truncation, reason = "whole and checked to be in range")]
        let below = floor as i64;
        let relation = match relation {
            Relation::Greater | Relation::GreaterOrEqual if !whole => Relation::Greater,
            Relation::Less | Relation::LessOrEqual if !whole => Relation::LessOrEqual,
            other => other,
        };
        let never_equal = |checker: &mut Self, term: Term| {
            let kind = AtomKind::Among(term, Constants::new(Type::Int, Vec::new()));
            checker.leaf(node, kind, mark)
        };
        if in_range && (whole || !matches!(relation, Relation::Equal | Relation::NotEqual)) {
            let right = Term::Constant(Constant::Int(below));
            return Some(self.leaf(node, AtomKind::Compare(relation, term, right), mark));
        }
        let always = match relation {
            Relation::Equal => false,
            Relation::NotEqual => true,
            Relation::Less | Relation::LessOrEqual => number > 0.0,
            Relation::Greater | Relation::GreaterOrEqual => number < 0.0,
        };
        // Known ints are never among no constants; an unknown int stays unknown.
        let never = never_equal(self, term);
        Some(if always { negated(never) } else { never })
    }

    /// The whole number that a literal with a fraction stands for, if it is one.
    pub(super) fn whole(&mut self, literal: &Node) -> Option<Option<i64>> {
        let Typed::Term(Term::Constant(Constant::Float(number)), _) =
            self.check(literal, Some(Type::Float))?
        else {
            self.fault(Code::RuleType, literal, "expected a number");
            return None;
        };
        let fits = number.fract() == 0.0 && number.abs() < 9_223_372_036_854_775_808.0;
        #[expect(clippy::cast_possible_truncation, reason = "whole and checked to be in range")]
        Some(fits.then_some(number as i64))
    }
}
