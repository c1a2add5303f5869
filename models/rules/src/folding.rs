//! Case folding of text, so that both sides of a comparison that forgives case come out the same.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Characters that show nothing: soft hyphens, joiners, direction marks, variation selectors. People
/// who want a name to be missed put them into words.
#[must_use]
pub const fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

/// A text in the form that codes are compared in: without invisible characters and outer white space,
/// in normal form C, with case folded. Upper case and then lower case folds what lower case alone
/// keeps apart: the two small sigmas, `ß` and `ss`, the Turkish letters without and with a dot.
pub(crate) fn fold_code(text: &str) -> String {
    let visible: Cow<'_, str> = if text.chars().any(is_invisible) {
        text.chars().filter(|char| !is_invisible(*char)).collect::<String>().into()
    } else {
        text.into()
    };
    let mut folded = String::with_capacity(visible.len());
    for char in visible.trim().nfc() {
        fold_char(char, &mut folded);
    }
    if is_nfc(&folded) { folded } else { folded.nfc().collect() }
}

/// Adds a character with its case folded.
pub(crate) fn fold_char(char: char, folded: &mut String) {
    for small in char.to_uppercase().flat_map(char::to_lowercase) {
        // A capital I with a dot becomes an i with a dot above; the i has one of its own.
        if small != '\u{307}' || !folded.ends_with('i') {
            folded.push(small);
        }
    }
}

/// Lower case in normal form C.
pub(crate) fn lower(text: &str) -> String {
    if is_nfc(text) { text.to_lowercase() } else { text.nfc().collect::<String>().to_lowercase() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn pairs_that_differ_in_case_form_or_what_nobody_sees_are_one() {
        for (one, other) in [
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("casıno", "CASINO"),
            ("İstanbul", "istanbul"),
            ("ISTANBUL", "ıstanbul"),
            ("straße", "STRASSE"),
            ("caf\u{e9}", "CAFE\u{301}"),
            ("G\u{200b}B", "gb"),
            (" \u{feff}gb\u{a0}", "GB"),
            ("ΐ", "ΐ"),
            ("ǅ", "ǆ"),
            ("µ", "μ"),
        ] {
            assert_eq!(fold_code(one), fold_code(other), "{one} {other}");
        }
        for (one, other) in [("é", "e"), ("G B", "GB"), ("ｇｂ", "gb"), ("GB", "GBR")] {
            assert_ne!(fold_code(one), fold_code(other), "{one} {other}");
        }
        assert_eq!(lower("CAFE\u{301} ΣΊΣΥΦΟΣ"), "caf\u{e9} σίσυφος");
        assert_eq!(fold_code("\u{200b}"), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(5),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn folding_is_idempotent_and_the_same_for_both_cases(text in "[\\PC\u{300}-\u{330}ıİςσΣßΐ\u{200b}]{0,12}") {
            let folded = fold_code(&text);
            prop_assert_eq!(&fold_code(&folded), &folded);
            prop_assert_eq!(&fold_code(&text.to_uppercase()), &folded);
            prop_assert_eq!(&fold_code(&text.nfd().collect::<String>()), &folded);
        }
    }
}
