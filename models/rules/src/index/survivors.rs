//! What is left of the arms while one fact after the other is looked at.

use super::bits;
use crate::Slot;

/// With more absent facts than these, arms tell themselves what they lack.
const ABSENT_MAX: usize = 16;

/// Bitsets of one run.
#[derive(Debug, Default)]
pub(crate) struct Survivors {
    /// Arms without a false clause in any dimension.
    pub(crate) alive: Vec<u64>,
    /// Arms with an unknown clause in some dimension.
    pub(crate) unknown: Vec<u64>,
    /// Working memory.
    pub(super) lacking: Vec<u64>,
    /// The absent facts that the index met.
    absent: Vec<Slot>,
    /// For each of them the arms that it makes unknown, one set behind the other.
    unknown_by_absent: Vec<u64>,
    /// The same turned: the words of all absent facts for the first arms, then for the next.
    turned: Vec<u64>,
    words: usize,
    /// Something other than the absent facts above made arms unknown.
    otherwise: bool,
}

impl Survivors {
    pub(super) fn begin(&mut self, words: usize) {
        for all in [&mut self.unknown, &mut self.lacking] {
            all.clear();
            all.resize(words, 0);
        }
        self.absent.clear();
        self.unknown_by_absent.clear();
        self.turned.clear();
        self.words = words;
        self.otherwise = false;
    }

    /// Arms that an absent fact makes unknown.
    pub(super) fn add_absent(&mut self, slot: Slot, arms: &[u64]) {
        bits::add_all(&mut self.unknown, arms);
        if self.absent.len() < ABSENT_MAX {
            self.absent.push(slot);
            self.unknown_by_absent.extend_from_slice(arms);
        } else {
            self.otherwise = true;
        }
    }

    /// Arms that a fact makes unknown which is there, but is not what it was declared as.
    pub(super) fn add_unknown(&mut self, arms: &[u64]) {
        bits::add_all(&mut self.unknown, arms);
        self.otherwise = true;
    }

    /// The absent facts that [`Self::only_absent`] speaks of.
    pub(crate) fn absent_slots(&self) -> impl Iterator<Item = Slot> {
        self.absent.iter().copied()
    }

    /// Ends the run over the dimensions: [`Self::only_absent`] may be asked now.
    pub(super) fn finish(&mut self) {
        let count = self.absent.len();
        self.turned.clear();
        self.turned.resize(self.unknown_by_absent.len(), 0);
        // No words: no arms.
        for (place, arms) in self.unknown_by_absent.chunks_exact(self.words.max(1)).enumerate() {
            for (word, turned) in arms.iter().zip(self.turned.chunks_exact_mut(count)) {
                turned[place] = *word;
            }
        }
    }

    /// The one absent fact that makes an arm unknown, and its place among the absent. `None`: there
    /// are several, or it is not known to be the only reason.
    #[inline]
    pub(crate) fn only_absent(&self, arm: u32) -> Option<(u32, Slot)> {
        if self.otherwise {
            return None;
        }
        let count = self.absent.len();
        let from = arm as usize / 64 * count;
        let of_arm = self.turned.get(from..from + count)?;
        let mut lacking = 0u32;
        for (place, word) in of_arm.iter().enumerate() {
            lacking |= u32::from(word >> (arm % 64) & 1 == 1) << place;
        }
        let place = lacking.trailing_zeros();
        let slot = self.absent.get(place as usize)?;
        lacking.is_power_of_two().then_some((place, *slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_absent(sets: &[&[u32]]) -> Survivors {
        let mut found = Survivors::default();
        found.begin(2);
        for (slot, arms) in (100u32..).zip(sets) {
            found.add_absent(slot, &bits::dense(arms, 2));
        }
        found.finish();
        found
    }

    #[test]
    fn an_arm_that_lacks_one_fact_names_it() {
        let found = with_absent(&[&[0, 5], &[5, 70], &[127]]);
        let only: Vec<_> = [0, 5, 70, 127, 1].map(|arm| found.only_absent(arm)).into();
        assert_eq!(only, [Some((0, 100)), None, Some((1, 101)), Some((2, 102)), None]);
        assert_eq!(found.absent_slots().collect::<Vec<_>>(), [100, 101, 102]);
        let unknown = (0..128).filter(|arm| bits::is_set(&found.unknown, *arm));
        assert_eq!(unknown.collect::<Vec<_>>(), [0, 5, 70, 127]);
    }

    #[test]
    fn with_many_absent_facts_or_another_cause_arms_tell_themselves() {
        let sets: Vec<&[u32]> = vec![&[3]; ABSENT_MAX + 1];
        let found = with_absent(&sets);
        assert_eq!(found.only_absent(3), None);
        assert_eq!(found.absent_slots().count(), ABSENT_MAX);
        let mut found = with_absent(&[&[1]]);
        found.add_unknown(&bits::dense(&[2], 2));
        assert_eq!((found.only_absent(1), found.only_absent(2)), (None, None));
        found.begin(1);
        found.finish();
        assert_eq!((found.only_absent(1), found.only_absent(99)), (None, None));
    }
}
