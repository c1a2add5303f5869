//! Which rows are kept for validation.

use verdict_config::model::{ModelRow, ModelValue};

use crate::features::ngrams::{hash_text, normalise};

/// A 64-bit hash of a row's cells; texts are normalised first, so that copies of a row that differ
/// in case or spaces fall on one side of any split made by it.
#[must_use]
pub fn row_hash(row: &ModelRow, seed: u64) -> u64 {
    row.iter().fold(seed ^ 0x5eed, |hash, cell| match cell {
        ModelValue::Missing => hash_text(hash, "\u{1}"),
        ModelValue::Text(text) => hash_text(hash, &normalise(text)),
        ModelValue::Number(number) => hash_text(hash, &number.to_bits().to_string()),
    })
}

/// Whether a row with this hash belongs to a part of the given share (0 to 1).
#[must_use]
pub fn is_in_part(hash: u64, share: f64) -> bool {
    (hash >> 11) as f64 / ((1u64 << 53) as f64) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_fall_on_one_side_and_shares_are_kept() {
        let row = |text: &str| vec![ModelValue::Text(text.to_owned()), ModelValue::Number(1.0)];
        assert_eq!(row_hash(&row("Win  CASH"), 3), row_hash(&row("win cash"), 3));
        assert_ne!(row_hash(&row("win cash"), 3), row_hash(&row("win cash"), 4));
        let in_part = |index: &u32| is_in_part(row_hash(&row(&index.to_string()), 1), 0.1);
        let kept = (0..10_000).filter(in_part).count();
        assert!((900..1_100).contains(&kept), "{kept}");
    }
}
