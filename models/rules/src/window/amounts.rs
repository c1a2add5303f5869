//! Count, sum, smallest and largest of amounts, exact and in any order.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use verdict_config::{FieldType, Value};

use super::{WindowFunction, WindowUnknown, typed};

/// Decimals that amounts are kept to; further ones are rounded half to even when they are added.
pub const AMOUNT_DECIMALS: u32 = 12;
/// Amounts beyond this make the window's sum, smallest, largest and mean unknown.
pub const AMOUNT_ABS_MAX: i64 = i64::MAX;

const SCALE: i128 = 10i128.pow(AMOUNT_DECIMALS);

/// Amounts of some events. Adding up is associative and commutative without exception: the sum is
/// kept modulo 2^128, and whether it can have wrapped is told by count, smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amounts {
    count: u64,
    /// Events whose amount was too large to keep.
    beyond: u64,
    /// In units of 10^-12, as are the next two.
    sum: i128,
    min: i128,
    max: i128,
}

impl Amounts {
    /// Counts one amount; `false` if the value is no number.
    pub fn add(&mut self, value: &Value) -> bool {
        let one = match scaled(value) {
            None => return false,
            Some(None) => Self { count: 1, beyond: 1, ..Self::default() },
            Some(Some(amount)) => {
                Self { count: 1, beyond: 0, sum: amount, min: amount, max: amount }
            }
        };
        self.merge(&one);
        true
    }

    /// Adds the events of another.
    pub fn merge(&mut self, other: &Self) {
        let kept = |amounts: &Self| amounts.count > amounts.beyond;
        if kept(other) {
            let first = !kept(self);
            self.min = if first { other.min } else { self.min.min(other.min) };
            self.max = if first { other.max } else { self.max.max(other.max) };
            self.sum = self.sum.wrapping_add(other.sum);
        }
        self.count = self.count.saturating_add(other.count);
        self.beyond = self.beyond.saturating_add(other.beyond);
    }

    /// How many events.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Answers a function of amounts (or the count of events that had one).
    ///
    /// # Errors
    /// Why the answer is unknown.
    pub fn read(
        &self,
        function: WindowFunction,
        result: FieldType,
    ) -> Result<Value, WindowUnknown> {
        if function == WindowFunction::Count {
            return Ok(Value::Int(i64::try_from(self.count).unwrap_or(i64::MAX)));
        }
        if self.beyond > 0 {
            return Err(WindowUnknown::Overflow);
        }
        match function {
            WindowFunction::Sum => typed(self.sum()?, result),
            WindowFunction::Distinct | WindowFunction::Count => Err(WindowUnknown::NotKept),
            _ if self.count == 0 => Err(WindowUnknown::Empty),
            WindowFunction::Min => typed(unscaled(self.min)?, result),
            WindowFunction::Max => typed(unscaled(self.max)?, result),
            WindowFunction::Mean => {
                let mean = self.sum()?.checked_div(Decimal::from(self.count));
                typed(mean.ok_or(WindowUnknown::Overflow)?, result)
            }
        }
    }

    fn sum(&self) -> Result<Decimal, WindowUnknown> {
        let largest = self.min.unsigned_abs().max(self.max.unsigned_abs());
        let bound = largest.checked_mul(u128::from(self.count));
        if bound.is_none_or(|bound| bound > i128::MAX.unsigned_abs()) {
            return Err(WindowUnknown::Overflow);
        }
        unscaled(self.sum)
    }

    /// Whether the parts fit each other, as those of a decoded value must.
    pub(super) const fn is_sound(&self) -> bool {
        self.beyond <= self.count && self.min <= self.max
    }
}

/// The amount in units of 10^-12: `None` if it is no number, `Some(None)` if it is too large.
fn scaled(value: &Value) -> Option<Option<i128>> {
    let number = match value {
        Value::Int(number) => return Some(Some(i128::from(*number) * SCALE)),
        Value::Decimal(number) => Some(*number),
        // What a float looks like in the shortest decimal that reads back as it: 0.1, not
        // 0.1000000000000000055.
        Value::Float(number) => number.to_string().parse().ok(),
        Value::Bool(_) | Value::Text(_) | Value::Time(_) | Value::Set(_) => return None,
    };
    Some(number.and_then(|number: Decimal| {
        let rounded =
            number.round_dp_with_strategy(AMOUNT_DECIMALS, RoundingStrategy::MidpointNearestEven);
        if rounded.abs() > Decimal::from(AMOUNT_ABS_MAX) {
            return None;
        }
        let mantissa = rounded.mantissa();
        Some(mantissa * 10i128.checked_pow(AMOUNT_DECIMALS.checked_sub(rounded.scale())?)?)
    }))
}

/// The exact decimal, if its digits fit into one.
fn unscaled(mut amount: i128) -> Result<Decimal, WindowUnknown> {
    let mut decimals = AMOUNT_DECIMALS;
    while decimals > 0 && amount % 10 == 0 {
        amount /= 10;
        decimals -= 1;
    }
    Decimal::try_from_i128_with_scale(amount, decimals).map_err(|_| WindowUnknown::Overflow)
}
