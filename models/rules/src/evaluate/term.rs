//! Terms: what has a value, or a cause for having none.

use std::borrow::Cow;

use rust_decimal::Decimal;
use verdict_config::{EvaluationVersion, Value};

use super::{Evaluator, Kleene, convert};
use crate::arithmetic;
use crate::cost;
use crate::expression::{Constant, Constants, Relation, Term, Type};
use crate::folding;
use crate::{Slot, UnknownCause};

/// A value while it is computed. Times and durations are ints.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand<'a> {
    Int(i64),
    Decimal(Decimal),
    Float(f64),
    Text(Cow<'a, str>),
}

type Valued<'a> = Result<Operand<'a>, UnknownCause>;

impl<'a> Evaluator<'a, '_> {
    pub(super) fn compare(
        &mut self,
        relation: Relation,
        left: &'a Term,
        right: &'a Term,
    ) -> Kleene {
        if is_int(left) {
            let left = self.int(left)?;
            let right = self.int(right)?;
            self.charge(cost::STEP);
            return Ok(relation.holds(left.cmp(&right)));
        }
        if let Some(decided) = self.compare_name(relation, left, right) {
            return decided;
        }
        let left = self.term(left)?;
        let right = self.term(right)?;
        self.charge(match &left {
            Operand::Decimal(_) => cost::DECIMAL,
            Operand::Text(text) => {
                let right = if let Operand::Text(right) = &right { right.len() } else { 0 };
                cost::text(text.len().min(right) as u64)
            }
            Operand::Int(_) | Operand::Float(_) => cost::STEP,
        });
        let order = match (&left, &right) {
            (Operand::Int(a), Operand::Int(b)) => Some(a.cmp(b)),
            (Operand::Decimal(a), Operand::Decimal(b)) => Some(a.cmp(b)),
            (Operand::Float(a), Operand::Float(b)) => a.partial_cmp(b),
            (Operand::Text(a), Operand::Text(b)) => Some(a.cmp(b)),
            _ => None,
        };
        order.map(|order| relation.holds(order)).ok_or(UnknownCause::NotANumber)
    }

    pub(super) fn among(&mut self, term: &'a Term, constants: &'a Constants) -> Kleene {
        let value = self.term(term)?;
        self.charge(cost::LOOKUP);
        Ok(match (&value, constants) {
            (Operand::Int(number), Constants::Ints(all)) => all.binary_search(number).is_ok(),
            (Operand::Decimal(number), Constants::Decimals(all)) => {
                all.binary_search(number).is_ok()
            }
            (Operand::Float(number), Constants::Floats(all)) => all.contains(number),
            (Operand::Text(text), Constants::Texts(all)) => {
                self.charge(cost::text(text.len() as u64));
                all.binary_search_by(|known| (**known).cmp(&**text)).is_ok()
            }
            _ => false,
        })
    }

    /// A term that the checker found to be text.
    pub(super) fn text(&mut self, term: &'a Term) -> Result<Cow<'a, str>, UnknownCause> {
        match self.term(term)? {
            Operand::Text(text) => Ok(text),
            _ => Err(UnknownCause::NotANumber),
        }
    }

    /// A term that the checker found to be an int, a time or a duration. The usual ones are computed
    /// without an operand, which is larger than what they need.
    fn int(&mut self, term: &'a Term) -> Result<i64, UnknownCause> {
        match term {
            Term::Fact(slot, Type::Int) => {
                if let Some(Value::Int(number)) = self.facts.get(*slot) {
                    self.charge(cost::STEP);
                    return Ok(*number);
                }
            }
            Term::Constant(Constant::Int(number)) => {
                self.charge(cost::STEP);
                return Ok(*number);
            }
            Term::Arithmetic(operation, operands) => {
                let [a, b] = &**operands;
                self.charge(cost::STEP);
                let a = self.int(a)?;
                let b = self.int(b)?;
                self.charge(cost::DECIMAL);
                return arithmetic::ints(*operation, a, b);
            }
            _ => {}
        }
        match self.term(term)? {
            Operand::Int(number) => Ok(number),
            _ => Err(UnknownCause::NotANumber),
        }
    }

    pub(crate) fn term(&mut self, term: &'a Term) -> Valued<'a> {
        self.charge(cost::STEP);
        match term {
            Term::Fact(slot, of) => self.fact(*slot, *of),
            Term::Constant(constant) => Ok(match constant {
                Constant::Int(number) => Operand::Int(*number),
                Constant::Decimal(number) => Operand::Decimal(*number),
                Constant::Float(number) => Operand::Float(*number),
                Constant::Text(text) => Operand::Text(Cow::Borrowed(text)),
            }),
            Term::AsOf => Ok(Operand::Int(self.as_of.0)),
            Term::Arithmetic(operation, operands) => {
                let [a, b] = &**operands;
                let a = self.term(a)?;
                let b = self.term(b)?;
                self.charge(cost::DECIMAL);
                match (a, b) {
                    (Operand::Int(a), Operand::Int(b)) => {
                        arithmetic::ints(*operation, a, b).map(Operand::Int)
                    }
                    (Operand::Decimal(a), Operand::Decimal(b)) => {
                        arithmetic::decimals(*operation, a, b).map(Operand::Decimal)
                    }
                    (Operand::Float(a), Operand::Float(b)) => {
                        arithmetic::floats(*operation, a, b).map(Operand::Float)
                    }
                    _ => Err(UnknownCause::NotANumber),
                }
            }
            Term::Negate(inner) => match self.term(inner)? {
                Operand::Int(number) => {
                    number.checked_neg().map(Operand::Int).ok_or(UnknownCause::Overflow)
                }
                Operand::Decimal(number) => Ok(Operand::Decimal(-number)),
                Operand::Float(number) => Ok(Operand::Float(-number)),
                Operand::Text(_) => Err(UnknownCause::NotANumber),
            },
            Term::Convert(to, inner) => {
                self.charge(cost::DECIMAL);
                let operand = self.term(inner)?;
                number_as(*to, &operand)
            }
            Term::TextSize(inner) => {
                let text = self.text(inner)?;
                self.charge(cost::text(text.len() as u64));
                Ok(Operand::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX)))
            }
            Term::SetSize(slot) => match self.value(*slot)? {
                Value::Set(items) => {
                    Ok(Operand::Int(i64::try_from(items.len()).unwrap_or(i64::MAX)))
                }
                _ => Err(UnknownCause::WrongType(*slot)),
            },
            Term::Lower(inner, evaluation) => {
                let text = self.text(inner)?;
                self.charge(cost::text(text.len() as u64));
                let lower = text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
                Ok(Operand::Text(match evaluation {
                    _ if lower => text,
                    EvaluationVersion::V1 => Cow::Owned(text.to_lowercase()),
                    EvaluationVersion::V2 => Cow::Owned(folding::lower(&text)),
                }))
            }
            Term::NameScore(call) => self.exact_name_score(*call).map(Operand::Float),
            Term::Lookup { table, column, key } => {
                let key = self.text(key)?;
                self.charge(cost::LOOKUP + cost::text(key.len() as u64));
                let (_, table) =
                    self.resources.lookups.get(*table as usize).ok_or(UnknownCause::NoRow)?;
                let cell = table.get_at(*column, &key).ok_or(UnknownCause::NoRow)?;
                Ok(Operand::Text(Cow::Borrowed(cell)))
            }
            Term::CalendarPart { part, zone, time } => {
                let at = self.int(time)?;
                self.charge(part.cost_units(zone));
                part.of(at, zone).map(Operand::Int)
            }
            Term::CalendarDate { zone, time } => {
                let at = self.int(time)?;
                self.charge(cost::CALENDAR);
                zone.date(at).map(|date| Operand::Text(Cow::Owned(date)))
            }
            Term::If(condition, branches) => {
                let [then, otherwise] = &**branches;
                match self.truth(condition) {
                    Ok(true) => self.term(then),
                    Ok(false) => self.term(otherwise),
                    Err(cause) => match (self.term(then), self.term(otherwise)) {
                        (Ok(a), Ok(b)) if a == b => Ok(a),
                        _ => Err(cause),
                    },
                }
            }
        }
    }

    fn fact(&self, slot: Slot, of: Type) -> Valued<'a> {
        let value = self.value(slot)?;
        match (of, value) {
            (Type::Int, Value::Int(number)) => Ok(Operand::Int(*number)),
            (Type::Text, Value::Text(text)) => Ok(Operand::Text(Cow::Borrowed(text))),
            (Type::Decimal, Value::Decimal(number)) => Ok(Operand::Decimal(*number)),
            (Type::Float, Value::Float(number)) => arithmetic::finite(*number).map(Operand::Float),
            (Type::Time, Value::Time(at)) => Ok(Operand::Int(at.0)),
            _ => match convert(of, value) {
                Some(Some(Value::Int(number))) => Ok(Operand::Int(number)),
                Some(Some(Value::Decimal(number))) => Ok(Operand::Decimal(number)),
                Some(Some(Value::Float(number))) => Ok(Operand::Float(number)),
                _ => Err(UnknownCause::WrongType(slot)),
            },
        }
    }
}

/// Whether a term is an int, a time or a duration, as far as its first leaf tells without a look at
/// more.
fn is_int(term: &Term) -> bool {
    match term {
        Term::Fact(_, of) => matches!(of, Type::Int | Type::Time),
        Term::Constant(Constant::Int(_)) => true,
        Term::Arithmetic(_, operands) => is_int(&operands[0]),
        _ => false,
    }
}

/// A number in another type.
fn number_as<'a>(to: Type, operand: &Operand<'a>) -> Valued<'a> {
    match (to, operand) {
        (Type::Int, Operand::Float(number)) => arithmetic::float_to_int(*number).map(Operand::Int),
        (Type::Int, Operand::Decimal(number)) => {
            i64::try_from(number.trunc()).map(Operand::Int).map_err(|_| UnknownCause::Overflow)
        }
        (Type::Decimal, Operand::Int(number)) => Ok(Operand::Decimal((*number).into())),
        (Type::Decimal, Operand::Float(number)) => {
            Decimal::try_from(*number).map(Operand::Decimal).map_err(|_| UnknownCause::Overflow)
        }
        #[expect(clippy::cast_precision_loss, reason = "the conversion that was asked for")]
        (Type::Float, Operand::Int(number)) => Ok(Operand::Float(*number as f64)),
        (Type::Float, Operand::Decimal(number)) => {
            f64::try_from(*number).map(Operand::Float).map_err(|_| UnknownCause::Overflow)
        }
        (_, same) => Ok(same.clone()),
    }
}
