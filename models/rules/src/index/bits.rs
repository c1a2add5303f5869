//! Sets of arms as words of 64.

use smallvec::SmallVec;

/// How many words hold that many arms.
pub(crate) const fn words_for(arms: usize) -> usize {
    arms.div_ceil(64)
}

#[inline]
pub(crate) fn set(words: &mut [u64], arm: u32) {
    if let Some(word) = words.get_mut(arm as usize / 64) {
        *word |= 1 << (arm % 64);
    }
}

#[inline]
pub(crate) fn clear(words: &mut [u64], arm: u32) {
    if let Some(word) = words.get_mut(arm as usize / 64) {
        *word &= !(1 << (arm % 64));
    }
}

/// Removes an arm if so; no branch, because it is as often so as not.
#[inline]
pub(crate) fn clear_if(words: &mut [u64], arm: u32, so: bool) {
    if let Some(word) = words.get_mut(arm as usize / 64) {
        *word &= !(u64::from(so) << (arm % 64));
    }
}

#[inline]
pub(crate) fn is_set(words: &[u64], arm: u32) -> bool {
    words.get(arm as usize / 64).is_some_and(|word| word >> (arm % 64) & 1 == 1)
}

/// Removes from `words` what is in `removed`.
#[inline]
pub(crate) fn remove_all(words: &mut [u64], removed: &[u64]) {
    for (word, removed) in words.iter_mut().zip(removed) {
        *word &= !removed;
    }
}

/// Adds to `words` what is in `added`.
#[inline]
pub(crate) fn add_all(words: &mut [u64], added: &[u64]) {
    for (word, added) in words.iter_mut().zip(added) {
        *word |= added;
    }
}

/// Whether two sets have a member in common.
#[inline]
pub(crate) fn meet(words: &[u64], others: &[u64]) -> bool {
    words.iter().zip(others).any(|(word, other)| word & other != 0)
}

/// A set that is kept: as numbers while they are few, else as words.
#[derive(Debug, Clone)]
pub(crate) enum ArmSet {
    Few(Box<[u32]>),
    Many(Box<[u64]>),
}

impl ArmSet {
    pub(crate) fn new(arms: Vec<u32>, words: usize) -> Self {
        // Clearing a bit costs about as much as two words of a whole pass.
        if arms.len() > words / 2 + 4 {
            Self::Many(dense(&arms, words))
        } else {
            Self::Few(arms.into())
        }
    }

    /// Removes from `alive` what is in `required` and not in this set.
    pub(crate) fn keep_only(&self, required: &[u64], alive: &mut [u64]) {
        match self {
            Self::Few(arms) => {
                let kept: SmallVec<[u32; 32]> =
                    arms.iter().copied().filter(|arm| is_set(alive, *arm)).collect();
                remove_all(alive, required);
                kept.iter().for_each(|arm| set(alive, *arm));
            }
            Self::Many(accepted) => {
                for ((word, required), accepted) in alive.iter_mut().zip(required).zip(accepted) {
                    *word &= !(required & !accepted);
                }
            }
        }
    }

    #[inline]
    pub(crate) fn remove_from(&self, words: &mut [u64]) {
        match self {
            Self::Few(arms) => arms.iter().for_each(|arm| clear(words, *arm)),
            Self::Many(removed) => remove_all(words, removed),
        }
    }
}

/// A set as words.
pub(crate) fn dense(arms: &[u32], words: usize) -> Box<[u64]> {
    let mut all = vec![0; words];
    arms.iter().for_each(|arm| set(&mut all, *arm));
    all.into_boxed_slice()
}

/// A set as words, if it has a member.
pub(crate) fn dense_unless_empty(arms: &[u32], words: usize) -> Option<Box<[u64]>> {
    (!arms.is_empty()).then(|| dense(arms, words))
}
