//! Texts as 64-bit names of their word and character n-grams.
//!
//! A text is normalised (NFKC, lower case, white space collapsed). Words are runs of letters,
//! digits and `_`; single words and pairs of neighbours are named. Character n-grams of 2 to 5
//! characters are taken within the parts between white space, padded by one space on each side, so
//! that beginnings and endings of words differ from their middles and a URL is one part.
//!
//! N-grams are not kept as texts: a feature is the hash of one, which makes vocabularies small and
//! look-ups free of allocation. With 2^17 features the chance of any collision is about 5e-10.

use unicode_normalization::UnicodeNormalization;

/// Characters of a text that are read; the rest is ignored, so that a row's cost is bounded.
pub const TEXT_CHARS_MAX: usize = 20_000;
/// Shortest and longest character n-gram.
const CHARACTERS: std::ops::RangeInclusive<usize> = 2..=5;

/// The families of features of a text, each weighted and normalised on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Words and pairs of words.
    Words,
    /// Character n-grams.
    Characters,
}

/// The normalised form that n-grams are taken from.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut space = false;
    for character in text.nfkc().take(TEXT_CHARS_MAX).flat_map(char::to_lowercase) {
        if character.is_whitespace() {
            space = !normal.is_empty();
        } else {
            if space {
                normal.push(' ');
                space = false;
            }
            normal.push(character);
        }
    }
    normal
}

/// Whether a character belongs to a word.
pub fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A 64-bit hash fed character by character: FNV-1a with a final avalanche (the finaliser of
/// SplitMix64), since FNV's high bits alone are weak on short inputs.
#[derive(Clone, Copy)]
struct Hasher(u64);

impl Hasher {
    const fn new(kind: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn feed(&mut self, character: char) {
        let mut code = u32::from(character);
        loop {
            self.0 = (self.0 ^ u64::from(code & 0xff)).wrapping_mul(0x0000_0100_0000_01b3);
            code >>= 8;
            if code == 0 {
                break;
            }
        }
    }

    const fn finish(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

/// A stable 64-bit hash of a text, for splits and categories.
#[must_use]
pub fn hash_text(kind: u64, text: &str) -> u64 {
    let mut hasher = Hasher::new(kind);
    text.chars().for_each(|character| hasher.feed(character));
    hasher.finish()
}

/// Names every n-gram of a normalised text, with repetitions.
pub fn for_each_ngram(normal: &str, mut name: impl FnMut(Family, u64)) {
    words(normal, &mut name);
    for part in normal.split(' ').filter(|part| !part.is_empty()) {
        characters(part, &mut name);
    }
}

fn words(normal: &str, name: &mut impl FnMut(Family, u64)) {
    let mut previous: Option<Hasher> = None;
    let runs = normal.split(|character| !is_word_character(character));
    for word in runs.filter(|word| !word.is_empty()) {
        let mut single = Hasher::new(1);
        word.chars().for_each(|character| single.feed(character));
        name(Family::Words, single.finish());
        if let Some(mut pair) = previous {
            pair.feed(' ');
            word.chars().for_each(|character| pair.feed(character));
            name(Family::Words, pair.finish());
        }
        previous = Some(single);
    }
}

fn characters(part: &str, name: &mut impl FnMut(Family, u64)) {
    let padded = || std::iter::once(' ').chain(part.chars()).chain(std::iter::once(' '));
    let mut start = padded();
    while start.clone().next().is_some() {
        let mut hasher = Hasher::new(2);
        for (index, character) in start.clone().take(*CHARACTERS.end()).enumerate() {
            hasher.feed(character);
            if index + 1 >= *CHARACTERS.start() {
                name(Family::Characters, hasher.finish());
            }
        }
        start.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(Family, u64)> {
        let mut names = Vec::new();
        for_each_ngram(&normalise(text), |family, name| names.push((family, name)));
        names
    }

    #[test]
    fn texts_are_normalised() {
        let check = |text: &str, expected: &str| assert_eq!(normalise(text), expected);
        check("  Casino \t ONLINE\n", "casino online");
        check("\u{ff23}asino \u{2460}", "casino 1");
        check("", "");
        check(" \u{a0} ", "");
    }

    #[test]
    fn ngrams_are_those_of_the_definition() {
        // "ab" padded is " ab ": 3 pairs, 2 triples, 1 of four.
        assert_eq!(names("ab").len(), 1 + 6);
        assert_eq!(names("ab cd").len(), 3 + 12);
        assert_eq!(names(""), []);
        // No word, but characters.
        assert!(names("!!").iter().all(|(family, _)| *family == Family::Characters));
        // Order of words matters to pairs alone.
        let (one, other) = (names("ab cd"), names("cd ab"));
        assert_eq!(one.iter().filter(|name| !other.contains(name)).count(), 1);
    }

    #[test]
    fn a_feature_of_a_text_means_the_same_for_ever() {
        assert_eq!(hash_text(1, "casino"), GOLDEN);
        assert!(names("Casino").contains(&(Family::Words, GOLDEN)));
    }

    const GOLDEN: u64 = 14_401_061_359_418_527_940;

    #[test]
    fn long_texts_cost_no_more_than_the_bound() {
        let long = "x".repeat(3 * TEXT_CHARS_MAX);
        assert!(names(&long).len() <= 4 * TEXT_CHARS_MAX + 10);
    }
}
