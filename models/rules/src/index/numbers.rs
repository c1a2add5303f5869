//! Where a number stands among sorted ones: by whole numbers of 64 bits wherever these are exact.

use rust_decimal::Decimal;
use verdict_config::Value;

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// How many numbers are below it.
    pub(super) below: usize,
    /// Whether it is equal to the next.
    pub(super) equal: bool,
}

/// Distinct numbers in ascending order.
#[derive(Debug)]
pub(super) enum Numbers {
    Ints(Box<[i64]>),
    /// Floats as ints of the same order.
    Floats(Box<[i64]>),
    /// Decimals, all in units of 10^-scale.
    Scaled {
        units: Box<[i64]>,
        scale: u32,
    },
    /// Decimals too long for that.
    Decimals(Box<[Decimal]>),
}

impl Numbers {
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self::Ints(values.into())
    }

    pub(super) fn floats(values: &[f64]) -> Self {
        Self::Floats(values.iter().map(|value| ordered(*value)).collect())
    }

    pub(super) fn decimals(values: Vec<Decimal>) -> Self {
        let scale = values.iter().map(|value| value.normalize().scale()).max().unwrap_or(0);
        let units: Option<Box<[i64]>> = values
            .iter()
            .map(|value| match units(&value.normalize(), scale) {
                Units::Exactly(units) => Some(units),
                Units::Above(_) | Units::BelowAll | Units::AboveAll => None,
            })
            .collect();
        match units {
            Some(units) => Self::Scaled { units, scale },
            None => Self::Decimals(values.into()),
        }
    }

    /// `None`: the value is of another type.
    #[inline]
    pub(super) fn find(&self, value: &Value) -> Option<Found> {
        match (self, value) {
            (Self::Ints(all), Value::Int(number)) => Some(find(all, number)),
            (Self::Ints(all), Value::Time(at)) => Some(find(all, &at.0)),
            (Self::Floats(all), Value::Float(number)) => Some(find(all, &ordered(*number))),
            (Self::Decimals(all), Value::Decimal(number)) => Some(find(all, number)),
            (Self::Scaled { units: all, scale }, Value::Decimal(number)) => {
                Some(match units(number, *scale) {
                    Units::Exactly(units) => find(all, &units),
                    Units::Above(units) => {
                        Found { below: all.partition_point(|one| *one <= units), equal: false }
                    }
                    Units::BelowAll => Found { below: 0, equal: false },
                    Units::AboveAll => Found { below: all.len(), equal: false },
                })
            }
            _ => None,
        }
    }
}

#[inline]
fn find<T: Ord>(all: &[T], value: &T) -> Found {
    let below = all.partition_point(|one| one < value);
    Found { below, equal: all.get(below) == Some(value) }
}

/// The int that stands among ints as a float stands among floats; zero has one.
#[inline]
fn ordered(number: f64) -> i64 {
    let bits = (number + 0.0).to_bits().cast_signed();
    // Of negative floats, larger bits are smaller numbers: all bits but the sign are turned.
    bits ^ (bits >> 63 & i64::MAX)
}

/// A decimal in units of some scale.
enum Units {
    Exactly(i64),
    /// Above this and below the next.
    Above(i64),
    BelowAll,
    AboveAll,
}

fn units(number: &Decimal, scale: u32) -> Units {
    let mantissa = number.mantissa();
    let beyond = if mantissa < 0 { Units::BelowAll } else { Units::AboveAll };
    let whole = if number.scale() <= scale {
        let factor = 10i128.checked_pow(scale - number.scale());
        factor.and_then(|factor| mantissa.checked_mul(factor)).map(|whole| (whole, false))
    } else {
        let divisor = 10i128.checked_pow(number.scale() - scale);
        divisor.map(|by| (mantissa.div_euclid(by), mantissa.rem_euclid(by) != 0))
    };
    match whole.map(|(whole, rest)| (i64::try_from(whole), rest)) {
        Some((Ok(whole), false)) => Units::Exactly(whole),
        Some((Ok(whole), true)) => Units::Above(whole),
        Some((Err(_), _)) | None => beyond,
    }
}
