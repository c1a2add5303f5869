//! Sets of rows.

use smallvec::SmallVec;

/// A set of rows as bits; tables of up to 256 rows need no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits(SmallVec<[u64; 4]>);

impl Bits {
    /// No row of so many.
    pub fn none(rows: usize) -> Self {
        Self(SmallVec::from_elem(0, rows.div_ceil(64)))
    }

    /// Every row.
    pub fn all(rows: usize) -> Self {
        let mut bits = Self(SmallVec::from_elem(u64::MAX, rows.div_ceil(64)));
        if let Some(last) = bits.0.last_mut()
            && !rows.is_multiple_of(64)
        {
            *last = (1 << (rows % 64)) - 1;
        }
        bits
    }

    /// Puts a row in.
    pub fn insert(&mut self, row: u32) {
        if let Some(word) = self.0.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: u32) {
        if let Some(word) = self.0.get_mut(row as usize / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    /// Whether a row is in.
    pub fn contains(&self, row: u32) -> bool {
        self.0.get(row as usize / 64).is_some_and(|word| (word >> (row % 64)) & 1 == 1)
    }

    /// Keeps the rows that are in the other too.
    pub fn and(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Takes in the other's rows.
    pub fn or(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Becomes the other, without allocating where the sizes are equal.
    pub fn copy(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    /// As the set of unknown rows, takes a column whose value is missing: unknown rows stay where the
    /// cell is true or unknown, matched rows become unknown where it is unknown.
    pub fn missing(&mut self, matched: &Self, cell_true: &Self, cell_unknown: &Self) {
        let others = matched.0.iter().zip(&cell_true.0).zip(&cell_unknown.0);
        for (word, ((matched, is_true), is_unknown)) in self.0.iter_mut().zip(others) {
            *word = (*word & (is_true | is_unknown)) | (matched & is_unknown);
        }
    }

    /// Whether no row is in.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether the two share a row.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    /// Takes every row out.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|word| *word = 0);
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.0).flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}
