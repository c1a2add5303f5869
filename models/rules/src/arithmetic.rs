//! Arithmetic that never wraps, never rounds silently to infinity and never panics: what has no
//! value is unknown, with the cause.

use rust_decimal::Decimal;

use crate::UnknownCause;
use crate::expression::{Arithmetic, Constant};

/// Ints, times and durations.
pub(crate) fn ints(operation: Arithmetic, a: i64, b: i64) -> Result<i64, UnknownCause> {
    let value = match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Modulo if b == 0 => {
            return Err(UnknownCause::DivisionByZero);
        }
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Modulo => a.checked_rem(b),
    };
    value.ok_or(UnknownCause::Overflow)
}

/// Decimals. Division rounds to 28 digits, as the type does.
pub(crate) fn decimals(
    operation: Arithmetic,
    a: Decimal,
    b: Decimal,
) -> Result<Decimal, UnknownCause> {
    let value = match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Modulo if b.is_zero() => {
            return Err(UnknownCause::DivisionByZero);
        }
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Modulo => a.checked_rem(b),
    };
    value.ok_or(UnknownCause::Overflow)
}

/// Floats; infinity is an overflow.
pub(crate) fn floats(operation: Arithmetic, a: f64, b: f64) -> Result<f64, UnknownCause> {
    let value = match operation {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide | Arithmetic::Modulo if b == 0.0 => {
            return Err(UnknownCause::DivisionByZero);
        }
        Arithmetic::Divide => a / b,
        Arithmetic::Modulo => a % b,
    };
    finite(value)
}

/// The float, if it is a number.
pub(crate) fn finite(value: f64) -> Result<f64, UnknownCause> {
    if value.is_nan() {
        Err(UnknownCause::NotANumber)
    } else if value.is_infinite() {
        Err(UnknownCause::Overflow)
    } else {
        Ok(value)
    }
}

/// Arithmetic of two constants of one type.
pub(crate) fn apply(
    operation: Arithmetic,
    a: &Constant,
    b: &Constant,
) -> Result<Constant, UnknownCause> {
    match (a, b) {
        (Constant::Int(a), Constant::Int(b)) => ints(operation, *a, *b).map(Constant::Int),
        (Constant::Decimal(a), Constant::Decimal(b)) => {
            decimals(operation, *a, *b).map(Constant::Decimal)
        }
        (Constant::Float(a), Constant::Float(b)) => floats(operation, *a, *b).map(Constant::Float),
        _ => Err(UnknownCause::NotANumber),
    }
}

/// The negative of a constant.
pub(crate) fn negate(constant: &Constant) -> Result<Constant, UnknownCause> {
    match constant {
        Constant::Int(number) => {
            number.checked_neg().map(Constant::Int).ok_or(UnknownCause::Overflow)
        }
        Constant::Decimal(number) => Ok(Constant::Decimal(-*number)),
        Constant::Float(number) => Ok(Constant::Float(-*number)),
        Constant::Text(_) => Err(UnknownCause::NotANumber),
    }
}

/// A float as an int, cut towards zero as CEL's `int()` does.
pub(crate) fn float_to_int(number: f64) -> Result<i64, UnknownCause> {
    let cut = finite(number)?.trunc();
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&cut) {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        Ok(cut as i64)
    } else {
        Err(UnknownCause::Overflow)
    }
}
