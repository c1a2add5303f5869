//! Sorted thresholds: one search tells which of all `>` and `<` clauses on a fact are false.

use super::bits;

/// A clause `fact > threshold` or the like of one arm.
#[derive(Debug, Clone)]
pub(super) struct Threshold<T> {
    pub(super) value: T,
    /// The fact must not be equal to the threshold.
    pub(super) strict: bool,
    pub(super) arm: u32,
}

/// All thresholds of one fact that bound it from one side.
///
/// They are sorted so that those which a value violates stand together at one end. The union of the
/// arms up to every `interval`-th threshold is kept; the few between are cleared one by one.
#[derive(Debug)]
pub(super) struct Bounds<T> {
    thresholds: Box<[(T, bool)]>,
    arms: Box<[u32]>,
    interval: usize,
    unions: Vec<Box<[u64]>>,
    from_below: bool,
}

impl<T: Copy> Bounds<T> {
    pub(super) fn new(
        mut all: Vec<Threshold<T>>,
        from_below: bool,
        words: usize,
        less: impl Fn(&T, &T) -> bool,
    ) -> Self {
        all.sort_by(|a, b| {
            if less(&a.value, &b.value) {
                std::cmp::Ordering::Less
            } else if less(&b.value, &a.value) {
                std::cmp::Ordering::Greater
            } else if from_below {
                a.strict.cmp(&b.strict)
            } else {
                b.strict.cmp(&a.strict)
            }
        });
        let interval = (words / 4).clamp(8, 64);
        let mut unions = Vec::new();
        let mut union = vec![0u64; words];
        let arms: Box<[u32]> = all.iter().map(|threshold| threshold.arm).collect();
        // `unions[k]`: of the arms before threshold `k * interval`, or from it on.
        if from_below {
            for chunk in arms.chunks(interval).rev() {
                chunk.iter().for_each(|arm| bits::set(&mut union, *arm));
                unions.push(union.clone().into_boxed_slice());
            }
            unions.reverse();
        } else {
            for chunk in arms.chunks(interval) {
                unions.push(union.clone().into_boxed_slice());
                chunk.iter().for_each(|arm| bits::set(&mut union, *arm));
            }
            unions.push(union.into_boxed_slice());
        }
        let thresholds = all.into_iter().map(|one| (one.value, one.strict)).collect();
        Self { thresholds, arms, interval, unions, from_below }
    }

    /// Removes the arms whose threshold a value violates.
    pub(super) fn apply(&self, value: &T, less: impl Fn(&T, &T) -> bool, alive: &mut [u64]) {
        if self.thresholds.is_empty() {
            return;
        }
        let equal = |threshold: &T| !less(threshold, value) && !less(value, threshold);
        let (between, whole) = if self.from_below {
            let first_violated = self.thresholds.partition_point(|(threshold, strict)| {
                less(threshold, value) || (!strict && equal(threshold))
            });
            let block = first_violated.div_ceil(self.interval);
            (first_violated..(block * self.interval).min(self.arms.len()), block)
        } else {
            let violated = self.thresholds.partition_point(|(threshold, strict)| {
                less(threshold, value) || (*strict && equal(threshold))
            });
            let block = violated / self.interval;
            (block * self.interval..violated, block)
        };
        if let Some(union) = self.unions.get(whole) {
            bits::remove_all(alive, union);
        }
        for arm in self.arms.get(between).unwrap_or_default() {
            bits::clear(alive, *arm);
        }
    }
}
