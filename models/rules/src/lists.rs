//! Code lists: is a text one of the entries of a list at a time?
//!
//! Entries and texts are compared as wholes after trimming white space, folding case, normal form C and
//! without invisible characters, so `gb `, `GB` and `Gb` are one code. (The first version of evaluation
//! takes lower case, character by character, and nothing else.) Nothing else is forgiven: hyphens, marks
//! and widths count. Texts to be found inside other texts are keywords,
//! and names that may be written in many ways are names; both have their own matchers.

use std::borrow::Cow;
use std::collections::HashMap;

use verdict_config::definition::ListDefinition;
use verdict_config::{Code, EvaluationVersion, Fault, Faults, TimestampMs};

use crate::folding::fold_code;

/// The most entries of one list.
pub const ENTRIES_MAX: usize = 1_000_000;
/// The longest entry of a code list, in bytes.
pub const ENTRY_BYTES_MAX: usize = 1_024;

/// A list compiled for exact look-ups.
#[derive(Debug, Clone, Default)]
pub struct CodeList {
    entries: HashMap<Box<str>, Kept>,
    evaluation: EvaluationVersion,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Position of the entry in the definition.
    entry: u32,
    expires: Option<TimestampMs>,
}

impl CodeList {
    /// Compiles a list for the newest version of evaluation, as [`Self::build_for`].
    ///
    /// # Errors
    /// As there.
    pub fn build(definition: &ListDefinition) -> Result<Self, Faults> {
        Self::build_for(definition, EvaluationVersion::CURRENT)
    }

    /// Compiles a list. Of entries that fold to the same text the one that lasts longest counts.
    ///
    /// # Errors
    /// Every entry that is empty or longer than [`ENTRY_BYTES_MAX`], and a list of more than
    /// [`ENTRIES_MAX`] entries; paths are `entries[3]`.
    pub fn build_for(
        definition: &ListDefinition,
        evaluation: EvaluationVersion,
    ) -> Result<Self, Faults> {
        let mut faults = check_size(definition);
        let mut entries = HashMap::with_capacity(definition.entries.len().min(ENTRIES_MAX));
        for (index, entry) in (0u32..).zip(&definition.entries).take(ENTRIES_MAX) {
            if let Err(fault) = check_value(&entry.value, index) {
                faults.push(fault);
                continue;
            }
            let kept = Kept { entry: index, expires: entry.expires };
            let folded = fold(&entry.value, evaluation);
            if folded.is_empty() {
                // Of invisible characters only: it is no text.
                continue;
            }
            entries
                .entry(folded.into())
                .and_modify(|known: &mut Kept| {
                    if lasts_longer(entry.expires, known.expires) {
                        *known = kept;
                    }
                })
                .or_insert(kept);
        }
        if faults.is_empty() { Ok(Self { entries, evaluation }) } else { Err(faults) }
    }

    /// Whether a text is an entry that has not expired at `as_of`. Does not allocate for texts of at
    /// most 64 bytes of ASCII.
    #[must_use]
    pub fn contains(&self, text: &str, as_of: TimestampMs) -> bool {
        self.find(text, as_of).is_some()
    }

    /// The position in the definition of the entry that a text is, unless it has expired at `as_of`.
    #[must_use]
    pub fn find(&self, text: &str, as_of: TimestampMs) -> Option<u32> {
        let mut small = [0u8; 64];
        let kept = match fold_small(text.trim(), &mut small) {
            Some(folded) => self.entries.get(folded),
            None => self.entries.get(fold(text, self.evaluation).as_ref()),
        }?;
        kept.expires.is_none_or(|expires| as_of < expires).then_some(kept.entry)
    }

    /// How many different texts the list holds, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the list holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A fault if a list has too many entries.
pub(crate) fn check_size(definition: &ListDefinition) -> Faults {
    let count = definition.entries.len();
    if count <= ENTRIES_MAX {
        return Faults::new();
    }
    let message = format!("at most {ENTRIES_MAX} entries, got {count}: split the list");
    vec![Fault::new(Code::LimitExceeded, "entries", message)]
}

fn check_value(value: &str, index: u32) -> Result<(), Fault> {
    let path = || format!("entries[{index}].value");
    if value.trim().is_empty() {
        let message = "the entry is empty: write a value or remove the line";
        return Err(Fault::new(Code::InvalidValue, path(), message));
    }
    if value.len() > ENTRY_BYTES_MAX {
        let message = format!("at most {ENTRY_BYTES_MAX} bytes, got {}", value.len());
        return Err(Fault::new(Code::LimitExceeded, path(), message));
    }
    Ok(())
}

/// Whether an entry that expires at `one` counts longer than one that expires at `other`.
pub(crate) fn lasts_longer(one: Option<TimestampMs>, other: Option<TimestampMs>) -> bool {
    match (one, other) {
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
        (_, None) => false,
    }
}

fn fold(text: &str, evaluation: EvaluationVersion) -> Cow<'_, str> {
    let trimmed = text.trim();
    let plain = trimmed.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    match evaluation {
        _ if plain => Cow::Borrowed(trimmed),
        EvaluationVersion::V1 => Cow::Owned(lower(trimmed)),
        EvaluationVersion::V2 => Cow::Owned(fold_code(trimmed)),
    }
}

/// Character by character: a final sigma is no different from another.
fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Folds a short ASCII text into `buffer`; `None` if it is longer or not ASCII.
fn fold_small<'b>(trimmed: &str, buffer: &'b mut [u8; 64]) -> Option<&'b str> {
    let target = buffer.get_mut(..trimmed.len())?;
    if !trimmed.is_ascii() {
        return None;
    }
    target.copy_from_slice(trimmed.as_bytes());
    target.make_ascii_lowercase();
    std::str::from_utf8(target).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use verdict_config::definition::ListEntry;

    use super::*;

    fn entry(value: &str, expires: Option<i64>) -> ListEntry {
        ListEntry {
            value: value.into(),
            expires: expires.map(TimestampMs),
            comment: None,
            qualifiers: Default::default(),
        }
    }

    fn list(entries: Vec<ListEntry>) -> ListDefinition {
        ListDefinition { entries }
    }

    #[test]
    fn compares_wholes_after_trimming_and_folding() {
        let codes = CodeList::build(&list(vec![
            entry("GB", None),
            entry(" straße ", None),
            entry("OLD", Some(1_000)),
        ]))
        .unwrap();
        let check = |text: &str, as_of: i64, expected: Option<u32>| {
            assert_eq!(codes.find(text, TimestampMs(as_of)), expected, "{text:?} at {as_of}");
        };
        check("gb", 0, Some(0));
        check("\t Gb\n", 0, Some(0));
        check("GBR", 0, None);
        check("G B", 0, None);
        check("", 0, None);
        check("STRAßE", 0, Some(1));
        check("strasse", 0, Some(1));
        check("old", 999, Some(2));
        check("old", 1_000, None);
        check(&"x".repeat(200), 0, None);
    }

    #[test]
    fn the_first_version_of_evaluation_folds_as_it_did() {
        let definition = list(vec![
            entry("straße", None),
            entry("σίσυφος", None),
            entry("caf\u{e9}", None),
            entry("G\u{200b}B", None),
            entry("casıno", None),
        ]);
        let first = CodeList::build_for(&definition, EvaluationVersion::V1).unwrap();
        let second = CodeList::build_for(&definition, EvaluationVersion::V2).unwrap();
        for text in ["STRASSE", "ΣΊΣΥΦΟΣ", "cafe\u{301}", "GB", "casino", "gb\u{feff}"] {
            assert!(!first.contains(text, TimestampMs(0)), "{text}");
            assert!(second.contains(text, TimestampMs(0)), "{text}");
        }
        assert!(first.contains("STRAßE", TimestampMs(0)));
    }

    #[test]
    fn an_entry_that_shows_nothing_matches_nothing() {
        let definition = list(vec![entry("\u{200b}", None), entry("a", None)]);
        let codes = CodeList::build(&definition).unwrap();
        for text in ["", " ", "\u{200b}", "\u{feff}"] {
            assert!(!codes.contains(text, TimestampMs(0)), "{text:?}");
        }
    }

    #[test]
    fn of_equal_entries_the_longest_lasting_counts() {
        for entries in [
            vec![entry("a", Some(5)), entry("A", None), entry("a ", Some(9))],
            vec![entry("a", None), entry("A", Some(5))],
        ] {
            let codes = CodeList::build(&list(entries)).unwrap();
            assert_eq!(codes.len(), 1);
            assert!(codes.contains("a", TimestampMs(100)));
        }
    }

    #[test]
    fn names_every_fault() {
        let long = "x".repeat(ENTRY_BYTES_MAX + 1);
        let faults =
            CodeList::build(&list(vec![entry(" ", None), entry("ok", None), entry(&long, None)]))
                .unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(places, ["entries[0].value", "entries[2].value"]);
        assert!(CodeList::build(&list(vec![])).unwrap().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn finds_what_a_scan_finds(
            values in proptest::collection::vec("[ a-cA-Cäß]{0,3}", 0..20),
            text in "[ a-cA-Cäß]{0,3}",
        ) {
            let entries = values.iter().filter(|value| !value.trim().is_empty());
            let definition = list(entries.map(|value| entry(value, None)).collect());
            let naive = definition
                .entries
                .iter()
                .any(|entry| fold_code(&entry.value) == fold_code(&text));
            let codes = CodeList::build(&definition).unwrap();
            prop_assert_eq!(codes.contains(&text, TimestampMs(0)), naive);
        }
    }
}
