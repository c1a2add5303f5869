//! One form for all spellings of a text, and what a word is in it.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use verdict_config::EvaluationVersion;

use crate::folding::is_invisible;

/// A text in the form that keywords are compared in.
///
/// ```
/// assert_eq!(verdict_rules::keywords::normalise("  Ｃafé\u{301}‑Ｂａｒ\t№ 1 "), "cafe bar no 1");
/// ```
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut bytes = Vec::new();
    normalise_into(text, &mut bytes);
    // What is written below is UTF-8 by construction; the fallback only keeps this total.
    String::from_utf8(bytes).unwrap_or_default()
}

/// As [`normalise`], as UTF-8 into a buffer that is reused.
pub fn normalise_into(text: &str, buffer: &mut Vec<u8>) {
    normalise_for(text, EvaluationVersion::CURRENT, buffer);
}

/// As [`normalise_into`], by a version of evaluation.
pub(super) fn normalise_for(text: &str, evaluation: EvaluationVersion, buffer: &mut Vec<u8>) {
    buffer.clear();
    if text.is_ascii() {
        normalise_ascii(text.as_bytes(), buffer);
    } else {
        normalise_unicode(text, evaluation, buffer);
    }
}

/// White space, control characters, hyphens, underscores and slashes become spaces; capitals become
/// small. Selections and no branches, so that the compiler can take many bytes at a time.
const fn map_ascii(byte: u8) -> u8 {
    let separates = byte < b' ' || byte == 127 || byte == b'-' || byte == b'_' || byte == b'/';
    let small = if byte.is_ascii_uppercase() { byte | 32 } else { byte };
    let plain = if small == b'`' { b'\'' } else { small };
    if separates { b' ' } else { plain }
}

fn normalise_ascii(text: &[u8], buffer: &mut Vec<u8>) {
    buffer.extend(text.iter().map(|byte| map_ascii(*byte)));
    let rest = buffer.get(1..).unwrap_or_default();
    let doubled = buffer
        .iter()
        .zip(rest)
        .fold(false, |any, (one, next)| any | (*one == b' ' && *next == b' '));
    if doubled || buffer.first() == Some(&b' ') || buffer.last() == Some(&b' ') {
        collapse(buffer);
    }
}

/// One space for several, and none at the ends.
fn collapse(buffer: &mut Vec<u8>) {
    // Starting as if behind a space swallows leading ones.
    let mut last = b' ';
    buffer.retain(|byte| {
        let keep = *byte != b' ' || last != b' ';
        last = *byte;
        keep
    });
    if buffer.last() == Some(&b' ') {
        buffer.pop();
    }
}

/// Runs of ASCII are mapped byte by byte. Only the rest needs tables, and it can be taken alone: what
/// would combine with an ASCII character before it is a mark, and marks are dropped.
fn normalise_unicode(text: &str, evaluation: EvaluationVersion, buffer: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.bytes().take_while(u8::is_ascii).count();
        buffer.extend(rest.as_bytes()[..plain].iter().map(|byte| map_ascii(*byte)));
        rest = &rest[plain..];
        let other = rest.bytes().take_while(|byte| !byte.is_ascii()).count();
        fold_run(&rest[..other], evaluation, buffer);
        rest = &rest[other..];
    }
    collapse(buffer);
}

fn fold_run(run: &str, evaluation: EvaluationVersion, buffer: &mut Vec<u8>) {
    // Upper case first folds what lower case alone keeps apart: the two small sigmas, `ß` and `ss`.
    let upper = evaluation >= EvaluationVersion::V2;
    let small = |char: char| {
        let first = upper.then(|| char.to_uppercase());
        let same = (!upper).then_some(char);
        first.into_iter().flatten().chain(same).flat_map(char::to_lowercase)
    };
    let folded = run
        .chars()
        .filter(|char| !is_invisible(*char))
        .nfkd()
        .filter(|char| !is_combining_mark(*char) && !is_invisible(*char))
        .flat_map(small)
        .nfc();
    let mut utf8 = [0u8; 4];
    for char in folded.map(separate) {
        buffer.extend_from_slice(char.encode_utf8(&mut utf8).as_bytes());
    }
}

/// Characters that join or part words become spaces, quotation marks the plain ones.
fn separate(char: char) -> char {
    match char {
        '\0'..='\x7f' => char::from(map_ascii(char as u8)),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fb}' | '\u{2044}' | '\u{b7}' => ' ',
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '\u{b4}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201f}' => '"',
        _ if char.is_whitespace() || char.is_control() => ' ',
        _ => char,
    }
}

/// Whether a character belongs to a word whose end matters: letters and digits, but not those of
/// scripts that write no spaces between words.
#[must_use]
pub fn is_word_char(char: char) -> bool {
    char.is_alphanumeric() && !is_spaceless(char)
}

/// Thai, Lao, Myanmar, Khmer, kana, Han and its neighbours.
const fn is_spaceless(char: char) -> bool {
    matches!(char,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// A bit for each of the first `length` bytes, a multiple of 64: whether it is of a character of a word.
pub(super) fn set_word_bits(text: &[u8], length: usize, bits: &mut Vec<u64>) {
    bits.clear();
    let text = text.get(..length).unwrap_or(text);
    let mut all = 0;
    bits.extend(text.chunks_exact(64).map(|block| {
        let eights =
            block.chunks_exact(8).map(|eight| eight.try_into().map_or(0, u64::from_le_bytes));
        eights.zip((0..).step_by(8)).fold(0, |bits, (eight, shift)| {
            all |= eight;
            bits | ascii_word_bits(eight) << shift
        })
    }));
    if all & HIGH_BITS == 0 {
        return;
    }
    for (at, first) in text.iter().enumerate().filter(|(_, byte)| **byte >= 0xc0) {
        if word_after(text, at) {
            for byte in at..at + utf8_length(*first) {
                if let Some(word) = bits.get_mut(byte / 64) {
                    *word |= 1 << (byte % 64);
                }
            }
        }
    }
}

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = EACH_BYTE << 7;

/// Which of eight bytes are ASCII letters or digits, as the lowest eight bits. Adding 128 - n to a
/// byte below 128 sets its highest bit exactly if it is at least n, and no byte spills into the next.
fn ascii_word_bits(eight: u64) -> u64 {
    const fn at_least(bytes: u64, least: u8) -> u64 {
        bytes.wrapping_add(EACH_BYTE.wrapping_mul(128 - least as u64))
    }
    let bytes = eight & !HIGH_BITS;
    let small = bytes | EACH_BYTE << 5;
    let letters = at_least(small, b'a') & !at_least(small, b'z' + 1);
    let digits = at_least(bytes, b'0') & !at_least(bytes, b'9' + 1);
    let high = (letters | digits) & !eight & HIGH_BITS;
    // The product gathers one bit of each byte in the highest byte.
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Whether the characters before and after a place are both of words, so that no word ends there.
#[inline]
pub(super) fn joins_word(text: &[u8], place: usize) -> bool {
    word_after(text, place) && word_before(text, place)
}

/// Whether the character that ends at a place is of a word.
#[inline]
fn word_before(text: &[u8], place: usize) -> bool {
    let Some(last) = place.checked_sub(1).and_then(|index| text.get(index)) else { return false };
    if last.is_ascii() {
        return last.is_ascii_alphanumeric();
    }
    let mut start = place - 1;
    while start > 0 && text[start] & 0xc0 == 0x80 {
        start -= 1;
    }
    decode(&text[start..place])
}

/// Whether the character that starts at a place is of a word.
#[inline]
fn word_after(text: &[u8], place: usize) -> bool {
    let Some(first) = text.get(place) else { return false };
    if first.is_ascii() {
        return first.is_ascii_alphanumeric();
    }
    decode(text.get(place..place + utf8_length(*first)).unwrap_or_default())
}

/// How many bytes the character has that begins with a byte that is not ASCII.
const fn utf8_length(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

fn decode(utf8: &[u8]) -> bool {
    let char = std::str::from_utf8(utf8).ok().and_then(|text| text.chars().next());
    char.is_some_and(is_word_char)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn spellings_become_one() {
        let check = |text: &str, expected: &str| assert_eq!(normalise(text), expected, "{text:?}");
        check("", "");
        check(" \t\r\n ", "");
        check("Sports-Betting", "sports betting");
        check("sports\u{2011}betting", "sports betting");
        check("a / b__c", "a b c");
        check("ＣＡＳＩＮＯ", "casino");
        check("Crème Brûlée", "creme brulee");
        check("cre\u{300}me", "creme");
        check("ﬁnance", "finance");
        check("İstanbul", "istanbul");
        check("ca\u{200b}si\u{ad}no", "casino");
        check("\u{a0}x\u{3000}y\u{a0}", "x y");
        check("don’t", "don't");
        check("한글", "한글");
        check("Ωmega", "ωmega");
        check("\u{0}\u{7f}", "");
        check("C++ & C#", "c++ & c#");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(3),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn is_idempotent_and_clean(text in "\\PC{0,40}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
            prop_assert!(!once.contains("  ") && once.trim_matches(' ') == once);
        }

        #[test]
        fn both_ways_agree_on_ascii(text in "[ -~\\t\\n]{0,60}") {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            normalise_ascii(text.as_bytes(), &mut one);
            normalise_unicode(&text, EvaluationVersion::CURRENT, &mut other);
            prop_assert_eq!(one, other);
        }

        #[test]
        fn runs_can_be_taken_alone(text in "[a-zA-Z \u{300}-\u{308}éñÅ가각\u{1100}-\u{1112}\u{1161}-\u{1175}ﬁ\u{200b}]{0,24}") {
            let (mut whole, mut runs) = (Vec::new(), Vec::new());
            fold_run(&text, EvaluationVersion::CURRENT, &mut whole);
            collapse(&mut whole);
            normalise_unicode(&text, EvaluationVersion::CURRENT, &mut runs);
            prop_assert_eq!(whole, runs);
        }

        #[test]
        fn word_bits_are_what_the_characters_are(text in "[a-zA-Z0-9 .\\[`{@/:éñ賭แ가𝐀]{0,150}") {
            let mut padded = text.clone().into_bytes();
            let length = (text.len() / 64 + 1) * 64;
            padded.resize(length, 0);
            let mut bits = Vec::new();
            set_word_bits(&padded, length, &mut bits);
            prop_assert_eq!(bits.len() * 64, length);
            let set = |at: usize| bits[at / 64] >> (at % 64) & 1 == 1;
            for (at, char) in text.char_indices() {
                prop_assert!((at..at + char.len_utf8()).all(|byte| set(byte) == is_word_char(char)));
            }
            prop_assert!((text.len()..length).all(|at| !set(at)));
        }

        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = normalise(&text);
        }
    }
}
