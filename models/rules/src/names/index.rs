//! Which spellings of a list may be like a query: bounded work on long lists.
//!
//! Two indexes answer together. That of words finds words that are equal, one edit apart, or sound
//! alike. That of grams (four letters in a row, of the spelling without its spaces) finds names whose
//! words are joined, split or written letter by letter, where no word is the same.

use std::collections::HashMap;

use super::fold::TOKEN_CHARS_MAX;
use super::pairs::{WEIGHTS, Word, closeness};
use super::words::{self, Kind};
use super::work::{self, Letters, Work};
use super::{CANDIDATES_MAX, POSTINGS_MAX};

/// Words of the list that may stand for one word of the query.
const ALIKE_MAX: usize = 24;
/// Words that are compared per key of the index.
const KEY_WORDS_MAX: usize = 1_024;
/// Grams of a query that are looked up, the rarest.
const GRAMS_MAX: usize = 64;
/// Postings of grams that a look-up visits.
const GRAM_POSTINGS_MAX: usize = 6_000;
/// Letters of a gram.
const GRAM_CHARS: usize = 4;
/// The shortest word that is looked for at the beginning and the end of another.
const PART_CHARS_MIN: usize = 3;
/// Neighbours of a query that may be one word of the list.
const JOINED_MAX: usize = 4;
/// How much a gram tells, compared with a word.
const GRAM_SHARE: f32 = 0.25;

/// Every word of the list, what it is near to, and where it stands.
#[derive(Debug, Clone, Default)]
pub struct SpellingIndex {
    texts: Vec<Box<str>>,
    kinds: Vec<Kind>,
    sounds: Vec<u64>,
    letters: Vec<Letters>,
    /// How telling a word is: the rarer, the more.
    weights: Vec<f32>,
    /// Hashes of words.
    whole: Keys,
    /// Hashes of words, words with one letter left out, and sounds.
    near: Keys,
    words: Postings,
    grams: Postings,
    spellings: usize,
}

/// Words by hashes.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// Hash and word, sorted.
    keys: Vec<(u32, u32)>,
    /// Where the keys begin whose first bits are a number, and how many bits are left.
    heads: Vec<u32>,
    tail_bits: u32,
}

/// Spellings of number `n`: `places[starts[n]..starts[n + 1]]`.
#[derive(Debug, Clone, Default)]
struct Postings {
    starts: Vec<u32>,
    places: Vec<u32>,
}

/// Buffers of a look-up.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// What each spelling has in common with the query, 0 for all but those touched.
    common: Vec<f32>,
    touched: Vec<u32>,
    alike: Vec<(u32, f32)>,
    near: Vec<u32>,
    grams: Vec<(u32, u32)>,
    joined: String,
    chosen: Vec<u32>,
    /// Postings that were visited.
    visited: usize,
}

impl Candidates {
    /// The spellings chosen, best first.
    pub fn chosen(&self) -> &[u32] {
        &self.chosen
    }

    /// How many postings were visited.
    pub const fn visited(&self) -> usize {
        self.visited
    }
}

impl Postings {
    /// Sorts pairs of number and spelling, which come in the order of spellings, by number.
    fn build(numbers: usize, pairs: impl Fn(&mut dyn FnMut(u32, u32))) -> Self {
        let mut starts = vec![0u32; numbers + 1];
        let mut last = vec![u32::MAX; numbers];
        pairs(&mut |number, spelling| {
            let number = number as usize;
            if last[number] != spelling {
                last[number] = spelling;
                starts[number + 1] += 1;
            }
        });
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut places = vec![0u32; starts.last().copied().unwrap_or(0) as usize];
        let mut next = starts.clone();
        last.fill(u32::MAX);
        pairs(&mut |number, spelling| {
            let number = number as usize;
            if last[number] != spelling {
                last[number] = spelling;
                places[next[number] as usize] = spelling;
                next[number] += 1;
            }
        });
        Self { starts, places }
    }

    fn of(&self, number: u32) -> &[u32] {
        let bounds = (self.starts.get(number as usize), self.starts.get(number as usize + 1));
        let (Some(start), Some(end)) = bounds else { return &[] };
        &self.places[*start as usize..*end as usize]
    }

    /// How many numbers there are.
    fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
}

impl Keys {
    fn new(mut keys: Vec<(u32, u32)>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let (heads, tail_bits) = heads_of(&keys);
        Self { keys, heads, tail_bits }
    }

    fn of(&self, key: u32) -> impl Iterator<Item = u32> {
        let head = key.checked_shr(self.tail_bits).unwrap_or(0) as usize;
        let start = self.heads.get(head).map_or(self.keys.len(), |start| *start as usize);
        let keys = self.keys.get(start..).unwrap_or_default();
        let equal = keys.iter().skip_while(move |(known, _)| *known < key);
        equal.take_while(move |(known, _)| *known == key).map(|(_, number)| *number)
    }
}

impl SpellingIndex {
    /// Indexes spellings, given by their words; a spelling is known by its position.
    pub fn build(spellings: &[Vec<Box<str>>]) -> Self {
        let mut texts: Vec<&Box<str>> = spellings.iter().flatten().collect();
        texts.sort_unstable();
        texts.dedup();
        let texts: Vec<Box<str>> = texts.into_iter().cloned().collect();
        let numbers: HashMap<Box<str>, u32> = texts.iter().cloned().zip(0u32..).collect();
        let words = Postings::build(texts.len(), |add| {
            for (spelling, words) in (0u32..).zip(spellings) {
                words.iter().filter_map(|word| numbers.get(word)).for_each(|n| add(*n, spelling));
            }
        });
        let mut keys: Vec<(u32, u32)> = Vec::new();
        for (number, text) in (0u32..).zip(&texts) {
            for_each_key(&Word::new(text), |key| keys.push((key, number)));
        }
        let near = Keys::new(keys);
        let keys = (0u32..).zip(&texts).map(|(number, text)| (mixed(hashed(text)), number));
        let whole = Keys::new(keys.collect());
        let rarity = |number: u32, kind: Kind| {
            let weight = rarity(words.of(number).len(), spellings.len());
            if kind == Kind::Telling { weight } else { weight * 0.35 }
        };
        let kinds: Vec<Kind> = texts.iter().map(|text| words::kind(text)).collect();
        let weights = (0u32..).zip(&kinds).map(|(number, kind)| rarity(number, *kind)).collect();
        let sounds = texts.iter().map(|text| words::sound(text)).collect();
        let letters = texts.iter().map(|text| Letters::of(text)).collect();
        let grams = grams_of(spellings);
        let spellings = spellings.len();
        Self { texts, kinds, sounds, letters, weights, whole, near, words, grams, spellings }
    }

    /// A word's number.
    pub fn number(&self, text: &str) -> Option<u32> {
        self.known(hashed(text), text)
    }

    /// The number of a word whose hash is known.
    fn known(&self, hash: u64, text: &str) -> Option<u32> {
        self.whole
            .of(mixed(hash))
            .find(|number| self.texts.get(*number as usize).is_some_and(|known| **known == *text))
    }

    /// A word by its number.
    pub fn word(&self, number: u32) -> Word<'_> {
        let at = number as usize;
        Word {
            text: self.texts.get(at).map_or("", AsRef::as_ref),
            kind: self.kinds.get(at).copied().unwrap_or(Kind::Telling),
            sound: self.sounds.get(at).copied().unwrap_or(0),
            letters: self.letters.get(at).copied().unwrap_or_default(),
        }
    }

    /// Postings of words and of grams that a look-up visits at most.
    pub fn postings_max(&self, words: usize) -> usize {
        let of_words = words.saturating_mul(self.words.places.len()).min(POSTINGS_MAX);
        of_words + self.grams.places.len().min(GRAM_POSTINGS_MAX)
    }

    /// Chooses the spellings that have most in common with a query, at most [`CANDIDATES_MAX`].
    pub fn candidates(
        &self,
        query: &[Word<'_>],
        (buffers, work): (&mut Candidates, &mut Work),
        counts: impl Fn(u32) -> bool,
    ) -> bool {
        let mut whole = true;
        if buffers.common.len() < self.spellings {
            buffers.common.resize(self.spellings, 0.0);
        }
        buffers.alike.clear();
        for (at, word) in query.iter().enumerate() {
            whole &= self.alike(word, buffers, work);
            if self.number(word.text).is_none() {
                self.add_parts(word.text, buffers);
            }
            self.add_joined(&query[at..], buffers);
        }
        // Rare words first: they tell most and cost least, and the budget may not last.
        buffers.alike.sort_unstable_by_key(|(word, _)| (self.words.of(*word).len(), *word));
        let some_telling = query.iter().any(|word| word.kind == Kind::Telling);
        let mut budget = POSTINGS_MAX;
        for at in 0..buffers.alike.len() {
            let (word, alike) = buffers.alike[at];
            let gain = self.weights[word as usize] * alike;
            let all = buffers.add(self.words.of(word), gain, &mut budget);
            // An entry that has no more in common than what many companies share is no match.
            whole &= all || (some_telling && self.kinds[word as usize] != Kind::Telling);
        }
        buffers.visited = POSTINGS_MAX - budget;
        self.add_grams(query, buffers);
        buffers.choose(counts);
        whole
    }

    /// Adds words of the list that a word of the query begins or ends with: it may be several, joined.
    fn add_parts(&self, word: &str, buffers: &mut Candidates) {
        let (mut before, mut after, mut power) = (hashed(word), 0u64, 1u64);
        for (at, byte) in word.bytes().enumerate().rev() {
            before = without_last(before, byte);
            after = after.wrapping_add(value(byte).wrapping_mul(power));
            power = power.wrapping_mul(BASE);
            let (begin, end) = word.split_at(at);
            if begin.len() < PART_CHARS_MIN || end.len() < 2 {
                continue;
            }
            for (part, hash) in [(begin, before), (end, after)] {
                if part.len() >= PART_CHARS_MIN
                    && let Some(number) = self.known(hash, part)
                {
                    #[expect(clippy::cast_precision_loss, reason = "at most 64")]
                    buffers.alike.push((number, part.len() as f32 / word.len() as f32));
                }
            }
        }
    }

    /// Adds words of the list that the first words of a query are, joined.
    fn add_joined(&self, query: &[Word<'_>], buffers: &mut Candidates) {
        let Candidates { joined, alike, .. } = buffers;
        joined.clear();
        let mut hash = 0;
        for (at, word) in query.iter().take(JOINED_MAX).enumerate() {
            if joined.len() + word.text.len() > TOKEN_CHARS_MAX {
                return;
            }
            joined.push_str(word.text);
            hash = word.text.bytes().fold(hash, appended);
            if at > 0
                && let Some(number) = self.known(hash, joined)
            {
                alike.push((number, 1.0));
            }
        }
    }

    fn add_grams(&self, query: &[Word<'_>], buffers: &mut Candidates) {
        buffers.joined.clear();
        query.iter().for_each(|word| buffers.joined.push_str(word.text));
        let Candidates { grams, joined, .. } = &mut *buffers;
        grams.clear();
        for_each_gram(joined.as_bytes(), self.grams.len(), |gram| {
            let count = self.grams.of(gram).len();
            if count > 0 {
                grams.push((u32::try_from(count).unwrap_or(u32::MAX), gram));
            }
        });
        grams.sort_unstable();
        grams.dedup();
        let mut budget = GRAM_POSTINGS_MAX;
        for at in 0..buffers.grams.len().min(GRAMS_MAX) {
            let (count, gram) = buffers.grams[at];
            let gain = GRAM_SHARE * rarity(count as usize, self.spellings);
            buffers.add(self.grams.of(gram), gain, &mut budget);
        }
        buffers.visited += GRAM_POSTINGS_MAX - budget;
    }

    /// Adds the words that may stand for one of the query, with how alike they are; `false` where
    /// there are too many to compare.
    fn alike(&self, word: &Word<'_>, buffers: &mut Candidates, work: &mut Work) -> bool {
        let Candidates { alike, near, .. } = buffers;
        let (from, mut whole) = (alike.len(), true);
        near.clear();
        for_each_key(word, |key| {
            let mut equal = self.near.of(key);
            near.extend(equal.by_ref().take(KEY_WORDS_MAX));
            whole &= equal.next().is_none();
        });
        whole &= work.spend(work::PAIR * near.len() as u64);
        if !whole && work.is_cut() {
            return false;
        }
        near.sort_unstable();
        near.dedup();
        for number in near {
            let score = closeness(&WEIGHTS, word, &self.word(*number), work);
            if score > 0.0 {
                #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
                alike.push((*number, score as f32));
            }
        }
        if alike.len() - from > ALIKE_MAX {
            alike[from..]
                .sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
            alike.truncate(from + ALIKE_MAX);
        }
        whole && !work.is_cut()
    }
}

impl Candidates {
    /// Adds what spellings have in common with the query, as far as the budget goes; `false` where it
    /// did not last.
    fn add(&mut self, postings: &[u32], gain: f32, budget: &mut usize) -> bool {
        let visited = &postings[..postings.len().min(*budget)];
        *budget -= visited.len();
        for spelling in visited {
            let common = &mut self.common[*spelling as usize];
            if *common == 0.0 {
                self.touched.push(*spelling);
            }
            *common += gain;
        }
        visited.len() == postings.len()
    }

    fn choose(&mut self, counts: impl Fn(u32) -> bool) {
        self.chosen.clear();
        self.chosen.extend(self.touched.iter().copied().filter(|spelling| counts(*spelling)));
        let common = &self.common;
        let order = |one: &u32, other: &u32| {
            let (left, right) = (common[*one as usize], common[*other as usize]);
            right.total_cmp(&left).then(one.cmp(other))
        };
        if self.chosen.len() > CANDIDATES_MAX {
            self.chosen.select_nth_unstable_by(CANDIDATES_MAX, order);
            self.chosen.truncate(CANDIDATES_MAX);
        }
        self.chosen.sort_unstable_by(order);
        for spelling in self.touched.drain(..) {
            self.common[spelling as usize] = 0.0;
        }
    }
}

/// How telling it is that `count` of all spellings share something.
fn rarity(count: usize, all: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a weight")]
    let share = all.max(1) as f32 / count.max(1) as f32;
    1.0 + share.ln().max(0.0)
}

fn grams_of(spellings: &[Vec<Box<str>>]) -> Postings {
    let letters: usize = spellings.iter().flatten().map(|word| word.len()).sum();
    // About one gram a number, so that few grams share one.
    let numbers = letters.next_power_of_two().clamp(1 << 8, 1 << 18);
    Postings::build(numbers, |add| {
        let mut joined = String::new();
        for (spelling, words) in (0u32..).zip(spellings) {
            joined.clear();
            words.iter().for_each(|word| joined.push_str(word));
            for_each_gram(joined.as_bytes(), numbers, |gram| add(gram, spelling));
        }
    })
}

/// The grams of a name without spaces; a name shorter than a gram is one.
fn for_each_gram(joined: &[u8], numbers: usize, mut found: impl FnMut(u32)) {
    let mask = u32::try_from(numbers.saturating_sub(1)).unwrap_or(u32::MAX);
    let number = |gram: &[u8]| {
        let key = gram.iter().fold(0u32, |key, byte| key << 8 | u32::from(*byte));
        let mixed = key.wrapping_mul(0x9e37_79b1);
        (mixed ^ mixed >> 15) & mask
    };
    if joined.len() < GRAM_CHARS {
        if !joined.is_empty() {
            found(number(joined));
        }
        return;
    }
    joined.windows(GRAM_CHARS).for_each(|gram| found(number(gram)));
}

/// By the first bits of sorted keys: where those keys begin; and how many bits are left.
fn heads_of(keys: &[(u32, u32)]) -> (Vec<u32>, u32) {
    // About one key a head.
    let bits = keys.len().next_power_of_two().trailing_zeros().clamp(1, 24);
    let tail_bits = u32::BITS - bits;
    let mut heads = vec![0u32; (1 << bits) + 1];
    for (key, _) in keys {
        heads[(key >> tail_bits) as usize + 1] += 1;
    }
    for at in 1..heads.len() {
        heads[at] += heads[at - 1];
    }
    (heads, tail_bits)
}

/// The keys under which a word is found: itself, itself without one letter (two words one edit apart
/// share such a key), and how it sounds.
fn for_each_key(word: &Word<'_>, mut found: impl FnMut(u32)) {
    let bytes = word.text.as_bytes();
    let whole = hashed(word.text);
    found(mixed(whole));
    if bytes.len() >= 3 {
        // The hash is a sum over places, so that of a rest comes from those of two parts.
        let (mut after, mut power) = (0u64, 1u64);
        let mut before = whole;
        for (at, byte) in bytes.iter().enumerate().rev() {
            // Turns the hash of the first `at + 1` letters into that of the first `at`.
            before = without_last(before, *byte);
            // Of equal letters in a row it is all the same which is left out.
            if bytes.get(at + 1) != Some(byte) {
                found(mixed(before.wrapping_mul(power).wrapping_add(after)));
            }
            after = after.wrapping_add(value(*byte).wrapping_mul(power));
            power = power.wrapping_mul(BASE);
        }
    }
    if word.sound != 0 {
        #[expect(clippy::cast_possible_truncation, reason = "a hash")]
        found((word.sound ^ word.sound >> 32) as u32);
    }
}

/// An odd number and its inverse modulo 2^64.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
const BASE_INVERSE: u64 = inverse(BASE);

/// By Newton's method: each step doubles the bits that are right, from three on.
const fn inverse(odd: u64) -> u64 {
    let (mut inverse, mut step) = (odd, 0);
    while step < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

const fn value(byte: u8) -> u64 {
    byte as u64 + 1
}

const fn appended(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(value(byte))
}

const fn without_last(hash: u64, byte: u8) -> u64 {
    hash.wrapping_sub(value(byte)).wrapping_mul(BASE_INVERSE)
}

fn hashed(text: &str) -> u64 {
    text.bytes().fold(0, appended)
}

/// A key of a hash; what collides is told apart by comparing.
const fn mixed(hash: u64) -> u32 {
    ((hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_one_edit_apart_share_a_key() {
        let keys = |text: &str| {
            let mut keys = Vec::new();
            for_each_key(&Word::new(text), |key| keys.push(key));
            keys
        };
        let share = |one: &str, other: &str| {
            let other = keys(other);
            keys(one).iter().any(|key| other.contains(key))
        };
        assert_eq!(BASE.wrapping_mul(BASE_INVERSE), 1);
        for other in ["petrov", "petro", "etrov", "petov", "pertov", "petroff", "aetrov", "petrova"]
        {
            assert!(share("petrov", other), "{other}");
        }
        assert!(share("anna", "ana") && !share("petrov", "smith"));
    }
}
