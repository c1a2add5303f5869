//! The work of a look-up: what each step costs, how much may be done, and a quick test by letters that
//! saves most of it.
//!
//! A unit is about a nanosecond (`benches/RESULTS.md`). What is done is counted, so a look-up costs
//! what it took; what is left undone is told, so a look-up that was cut short is no answer.

/// What comparing a query with the words and the candidates of a list may cost: to begin with, and for
/// each candidate. Of ordinary names a comparison takes a tenth of that.
const WORK_MAX: u64 = 30_000;
const WORK_MAX_PER_CANDIDATE: u64 = 8_000;
/// A candidate: its words, and its pairs in order.
pub const CANDIDATE: u64 = 400;
/// Two words that are told apart by their letters.
pub const PAIR: u64 = 4;
/// A pair that is put in order among others.
pub const SORTED: u64 = 20;
/// A spelling that has a word or a gram in common with the query.
pub const POSTING: u64 = 12;
/// Edits of two words, beyond their letters, and a letter of them.
const EDITS: u64 = 100;
const EDITS_PER_LETTER: u64 = 6;

/// What the comparisons with so many candidates may cost.
pub const fn work_max(candidates: usize) -> u64 {
    WORK_MAX + WORK_MAX_PER_CANDIDATE * candidates as u64
}

/// What it costs to go through the words of two names.
pub const fn pairs(one: usize, other: usize) -> u64 {
    PAIR * (one * other) as u64
}

/// What it costs to count the edits between words of so many letters together.
pub const fn edits(letters: usize) -> u64 {
    EDITS + EDITS_PER_LETTER * letters as u64
}

/// Work that is done, and the most that may be.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    spent: u64,
    most: u64,
    /// Something was left undone.
    cut: bool,
}

impl Default for Work {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Work {
    /// None yet.
    pub const fn new(most: u64) -> Self {
        Self { spent: 0, most, cut: false }
    }

    /// Counts work that is about to be done; `false` where there is too much of it.
    pub const fn spend(&mut self, units: u64) -> bool {
        if self.cut || units > self.most - self.spent {
            self.cut = true;
            return false;
        }
        self.spent += units;
        true
    }

    /// Units that were spent.
    pub const fn spent(&self) -> u64 {
        self.spent
    }

    /// Whether something was left undone.
    pub const fn is_cut(&self) -> bool {
        self.cut
    }
}

/// Which letters and digits a word has, and which letters more than once, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Letters(u64);

const ALPHABET: u64 = (1 << 26) - 1;
/// Where the bits of letters that are there more than once begin, behind those of ten digits.
const TWICE: u32 = 36;

impl Letters {
    /// Those of a word of small letters and digits.
    pub fn of(text: &str) -> Self {
        text.bytes().fold(Self::default(), |letters, byte| {
            letters.with(Self(match byte {
                b'a'..=b'z' => 1 << (byte - b'a'),
                b'0'..=b'9' => 1 << (26 + byte - b'0'),
                _ => 0,
            }))
        })
    }

    /// Those of two words joined.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0 | (self.0 & other.0 & ALPHABET) << TWICE)
    }

    /// How many edits there are between two words at least: an edit changes one letter of each.
    pub const fn apart(self, other: Self) -> usize {
        let (one, other) = ((self.0 & !other.0).count_ones(), (other.0 & !self.0).count_ones());
        if one > other { one as usize } else { other as usize }
    }

    /// Whether all letters of another word are among these.
    pub const fn has(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_tell_a_lower_bound_of_the_edits() {
        let apart = |one: &str, other: &str| Letters::of(one).apart(Letters::of(other));
        assert_eq!(apart("petrov", "petrov"), 0);
        assert_eq!(apart("petrov", "petrow"), 1);
        assert_eq!(apart("anna", "an"), 2);
        assert_eq!(apart("abc", "xyz9"), 4);
        assert!(Letters::of("rami").with(Letters::of("makhlouf")) == Letters::of("ramimakhlouf"));
        assert!(Letters::of("petrov").has(Letters::of("trop")));
        assert!(!Letters::of("petrov").has(Letters::of("pp")));
    }

    #[test]
    fn work_beyond_the_most_is_not_done() {
        let mut work = Work::new(10);
        assert!(work.spend(10) && !work.is_cut());
        assert!(!work.spend(1) && work.is_cut());
        assert_eq!(work.spent(), 10);
    }
}
