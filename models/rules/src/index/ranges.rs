//! Sorted thresholds: one search tells which of all `>` and `<` clauses on a fact are false.
//!
//! ```text
//! limits   x >= 3   x < 3   x > 5   x <= 9     sorted by the values at which they change
//! x = 5    true     false │ false   true       before the place: upper bounds are false,
//!                         place                behind it: lower bounds are
//! ```
//!
//! The union of the arms that are false is kept for every block of limits; those of the one block
//! that the place is in are looked at one by one.

use rust_decimal::Decimal;

use super::bits;
use super::numbers::{Found, Numbers};

/// A clause `fact > threshold` or the like of one arm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threshold<T> {
    pub(super) value: T,
    /// `fact < threshold` or `fact <= threshold`, else `>` or `>=`.
    pub(super) upper: bool,
    /// The fact must not be equal to the threshold.
    pub(super) strict: bool,
    pub(super) arm: u32,
}

impl<T> Threshold<T> {
    /// Whether the clause changes at the threshold, and not just behind it.
    const fn changes_at(&self) -> bool {
        self.upper == self.strict
    }
}

/// One clause: false from its place on, or up to it.
#[derive(Debug, Clone, Copy)]
struct Limit {
    arm: u32,
    upper: bool,
}

/// All thresholds of one fact.
#[derive(Debug)]
pub(super) struct Bounds {
    numbers: Numbers,
    /// By distinct threshold: how many limits are before a value just below it, and equal to it. One
    /// more at the end, for values above all.
    places: Box<[u32]>,
    limits: Box<[Limit]>,
    block: usize,
    words: usize,
    /// By block, `words` each.
    unions: Box<[u64]>,
}

impl Bounds {
    pub(super) fn ints(thresholds: Vec<Threshold<i64>>, words: usize) -> Self {
        Self::new(thresholds, words, i64::cmp, Numbers::ints)
    }

    pub(super) fn floats(thresholds: Vec<Threshold<f64>>, words: usize) -> Self {
        // Zero has one place, whatever its sign.
        let plain = |one: Threshold<f64>| Threshold { value: one.value + 0.0, ..one };
        let thresholds = thresholds.into_iter().map(plain).collect();
        Self::new(thresholds, words, f64::total_cmp, |values| Numbers::floats(&values))
    }

    pub(super) fn decimals(thresholds: Vec<Threshold<Decimal>>, words: usize) -> Self {
        Self::new(thresholds, words, Decimal::cmp, Numbers::decimals)
    }

    fn new<T: Copy>(
        mut all: Vec<Threshold<T>>,
        words: usize,
        compare: impl Fn(&T, &T) -> std::cmp::Ordering,
        numbers: impl FnOnce(Vec<T>) -> Numbers,
    ) -> Self {
        all.sort_by(|a, b| compare(&a.value, &b.value).then(b.changes_at().cmp(&a.changes_at())));
        let mut values: Vec<T> = Vec::new();
        let mut places = Vec::new();
        for (at, one) in (0u32..).zip(&all) {
            if values.last().is_none_or(|last| compare(last, &one.value).is_ne()) {
                values.push(one.value);
                places.extend([at, at]);
            }
            if one.changes_at()
                && let Some(equal) = places.last_mut()
            {
                *equal = at + 1;
            }
        }
        places.push(crate::resources::position(all.len()));
        let limits: Box<[Limit]> =
            all.iter().map(|one| Limit { arm: one.arm, upper: one.upper }).collect();
        let block = (words / 4).clamp(8, 64);
        let unions = unions(&limits, block, words);
        Self { numbers: numbers(values), places: places.into(), limits, block, words, unions }
    }

    /// Removes the arms that have a clause which a value makes false.
    #[inline]
    pub(super) fn apply(&self, value: &verdict_config::Value, alive: &mut [u64]) {
        let Some(Found { below, equal }) = self.numbers.find(value) else { return };
        let Some(place) = self.places.get(2 * below + usize::from(equal)) else { return };
        let place = *place as usize;
        let block = place / self.block;
        let union = self.unions.get(block * self.words..).unwrap_or_default();
        bits::remove_all(alive, union);
        let from = (block * self.block).min(place);
        let to = (from + self.block).min(self.limits.len());
        for limit in self.limits.get(from..place).unwrap_or_default() {
            bits::clear_if(alive, limit.arm, limit.upper);
        }
        for limit in self.limits.get(place..to).unwrap_or_default() {
            bits::clear_if(alive, limit.arm, !limit.upper);
        }
    }
}

/// By block the arms that are false wherever in the block the place is: upper bounds of the limits
/// before it and lower bounds of those behind it.
fn unions(limits: &[Limit], block: usize, words: usize) -> Box<[u64]> {
    let blocks = limits.len() / block + 1;
    let mut unions = vec![0; blocks * words];
    let mut union = vec![0; words];
    let of = |number: usize| {
        let end = limits.len();
        limits.get((number * block).min(end)..((number + 1) * block).min(end)).unwrap_or_default()
    };
    for number in 1..blocks {
        of(number - 1).iter().filter(|l| l.upper).for_each(|l| bits::set(&mut union, l.arm));
        bits::add_all(&mut unions[number * words..(number + 1) * words], &union);
    }
    union.fill(0);
    for number in (0..blocks.saturating_sub(1)).rev() {
        of(number + 1).iter().filter(|l| !l.upper).for_each(|l| bits::set(&mut union, l.arm));
        bits::add_all(&mut unions[number * words..(number + 1) * words], &union);
    }
    unions.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use verdict_config::Value;

    use super::*;

    fn holds<T: PartialOrd>(value: &T, one: &Threshold<T>) -> bool {
        match (one.upper, one.strict) {
            (true, true) => value < &one.value,
            (true, false) => value <= &one.value,
            (false, true) => value > &one.value,
            (false, false) => value >= &one.value,
        }
    }

    fn check<T: PartialOrd + Copy>(
        values: Vec<(T, bool, bool)>,
        build: fn(Vec<Threshold<T>>, usize) -> Bounds,
        asked: T,
        value: &Value,
    ) -> Result<(), TestCaseError> {
        let all: Vec<Threshold<T>> = (0u32..)
            .zip(values)
            .map(|(arm, (value, upper, strict))| Threshold { value, upper, strict, arm })
            .collect();
        let words = bits::words_for(all.len());
        let bounds = build(all.clone(), words);
        let mut alive = vec![u64::MAX; words];
        bounds.apply(value, &mut alive);
        for one in &all {
            prop_assert_eq!(bits::is_set(&alive, one.arm), holds(&asked, one));
        }
        Ok(())
    }

    fn decimal((mantissa, scale): (i64, u32)) -> Decimal {
        Decimal::new(mantissa, scale)
    }

    fn small() -> impl Strategy<Value = i64> {
        prop_oneof![4 => -30i64..30, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ints_are_compared(
            all in proptest::collection::vec((small(), any::<bool>(), any::<bool>()), 0..90),
            asked in small(),
        ) {
            check(all, Bounds::ints, asked, &Value::Int(asked))?;
        }

        #[test]
        fn floats_are_compared(
            all in proptest::collection::vec((-5i32..5, any::<bool>(), any::<bool>()), 0..90),
            asked in -11i32..11,
        ) {
            let all = all.into_iter().map(|(n, a, b)| (-(f64::from(n) * 0.5), a, b)).collect();
            let asked = f64::from(asked) * 0.25;
            check(all, Bounds::floats, asked, &Value::Float(asked))?;
        }

        #[test]
        fn decimals_are_compared_at_any_scale(
            all in proptest::collection::vec(((small(), 0u32..4), any::<bool>(), any::<bool>()), 0..90),
            asked in (small(), prop_oneof![4 => 0u32..6, 1 => 0u32..=28]),
            few in any::<bool>(),
        ) {
            let fits = |n: &i64| !few || n.abs() < 1_000;
            let all = all.into_iter().filter(|((n, _), ..)| n.checked_abs().is_some_and(|_| fits(n)));
            let all = all.map(|(number, a, b)| (decimal(number), a, b)).collect();
            let asked = decimal(asked);
            check(all, Bounds::decimals, asked, &Value::Decimal(asked))?;
        }
    }
}
