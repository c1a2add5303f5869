//! Entries that begin with a word, found by that word.
//!
//! Such an entry can only stand where a word of the text begins, and its first word is then a whole
//! word of the text: a boundary or a character of no word follows. So a text is cut into words once,
//! each word is looked up by its hash, and the few entries that begin with it are compared with what
//! follows. Most words of a text begin no entry and end at a filter that fits into the fastest cache.

use super::is_word_char;
use super::normalise::set_word_bits;
use super::places::{Place, Places};

/// Zeros behind a text, so that eight bytes can be read from any place in it.
const PADDING: usize = 8;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const NONE: u32 = u32::MAX;

/// Finds entries by their first word.
#[derive(Debug, Clone, Default)]
pub(super) struct WordTable {
    /// Bits by hash: a word whose bit is not set begins no entry.
    filter: Vec<u64>,
    filter_shift: u32,
    /// Open addressing; the length is a power of two and at most half is used.
    buckets: Vec<Bucket>,
    /// In the order of their bytes, so that entries with the same first word stand together.
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

/// The entries that begin with one word.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    hash: u64,
    from: u32,
    to: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    pattern: u32,
    from: u32,
    bytes: u32,
    /// The longest entry that begins with the same word and that this one begins with.
    shorter: u32,
}

impl WordTable {
    /// Patterns with their texts, each of which begins with a character of a word.
    pub(super) fn new(mut patterns: Vec<(u32, &str)>) -> Self {
        patterns.sort_unstable_by_key(|(_, text)| *text);
        let mut table = Self::default();
        let mut words: Vec<Bucket> = Vec::new();
        let mut last: Option<&str> = None;
        let mut open: Vec<u32> = Vec::new();
        for (number, (pattern, text)) in (0u32..).zip(&patterns) {
            let word = first_word(text);
            if last != Some(word) {
                open.clear();
                let hash = hash(&padded(word), 0, word.len());
                words.push(Bucket { hash, from: number, to: number });
                last = Some(word);
            }
            if let Some(bucket) = words.last_mut() {
                bucket.to = number + 1;
            }
            while open.last().is_some_and(|other| !text.starts_with(patterns[*other as usize].1)) {
                open.pop();
            }
            table.push(*pattern, text, open.last().copied().unwrap_or(NONE));
            open.push(number);
        }
        table.index(&words);
        table
    }

    fn push(&mut self, pattern: u32, text: &str, shorter: u32) {
        let from = crate::resources::position(self.bytes.len());
        let bytes = crate::resources::position(text.len());
        self.entries.push(Entry { pattern, from, bytes, shorter });
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn index(&mut self, words: &[Bucket]) {
        if words.is_empty() {
            return;
        }
        let empty = Bucket { hash: 0, from: NONE, to: NONE };
        self.buckets = vec![empty; (words.len() * 2).next_power_of_two()];
        let filter_bits = (words.len() * 16).next_power_of_two().max(64);
        self.filter = vec![0; filter_bits / 64];
        self.filter_shift = 64 - filter_bits.trailing_zeros();
        let mask = self.buckets.len() - 1;
        for word in words {
            let bit = word.hash >> self.filter_shift;
            self.filter[(bit / 64) as usize] |= 1 << (bit % 64);
            let mut at = low(word.hash) & mask;
            while self.buckets[at].from != NONE {
                at = (at + 1) & mask;
            }
            self.buckets[at] = *word;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.filter)
            + size_of_val(&*self.buckets)
            + size_of_val(&*self.entries)
            + self.bytes.len()
    }

    /// Adds the places where entries stand. `text` is normalised; it is padded here, and `word_bits`
    /// is working memory.
    pub(super) fn find(&self, text: &mut Vec<u8>, word_bits: &mut Vec<u64>, found: &mut Places) {
        if self.buckets.is_empty() {
            return;
        }
        let length = text.len();
        let whole = (length / 64 + 1) * 64;
        text.resize(whole + PADDING, 0);
        set_word_bits(text, whole, word_bits);
        let mut start = None;
        let mut carry = 0;
        for (bits, base) in word_bits.iter().zip((0..).step_by(64)) {
            // Where a word begins, and where what is none does.
            let mut edges = bits ^ (bits << 1 | carry);
            carry = bits >> 63;
            while edges != 0 {
                let at = base + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                match start.take() {
                    None => start = Some(at),
                    Some(start) => self.word(text, (start, at), length, found),
                }
            }
        }
        text.truncate(length);
    }

    #[inline]
    fn word(&self, text: &[u8], word: (usize, usize), length: usize, found: &mut Places) {
        let (start, end) = word;
        let hash = hash(text, start, end);
        let bit = hash >> self.filter_shift;
        let filter = self.filter.get((bit / 64) as usize).copied().unwrap_or(0);
        if filter >> (bit % 64) & 1 == 1 {
            self.look_up(hash, text.get(..length).unwrap_or_default(), start, found);
        }
    }

    /// Kept out of the loop over words: hits are rare.
    #[cold]
    fn look_up(&self, hash: u64, text: &[u8], start: usize, found: &mut Places) {
        let mask = self.buckets.len() - 1;
        let mut at = low(hash) & mask;
        // Half of the buckets are empty, so this ends.
        while let Some(bucket) = self.buckets.get(at).filter(|bucket| bucket.from != NONE) {
            if bucket.hash == hash {
                self.compare(bucket, text, start, found);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds the entries of a bucket that stand at `start`. The last entry that is not behind the
    /// text in order begins with all of them, if it is not one itself.
    fn compare(&self, bucket: &Bucket, text: &[u8], start: usize, found: &mut Places) {
        let of_word = self.entries.get(bucket.from as usize..bucket.to as usize);
        let rest = text.get(start..).unwrap_or_default();
        let before = of_word.unwrap_or_default().partition_point(|entry| self.text(entry) <= rest);
        let Some(last) = before.checked_sub(1) else { return };
        let mut next = self.entries.get(bucket.from as usize + last);
        while let Some(entry) = next {
            if rest.starts_with(self.text(entry)) {
                let end = start + entry.bytes as usize;
                found.add(text, Place { end, start, pattern: entry.pattern });
            }
            next = self.entries.get(entry.shorter as usize);
        }
    }

    fn text(&self, entry: &Entry) -> &[u8] {
        let from = entry.from as usize;
        self.bytes.get(from..from + entry.bytes as usize).unwrap_or_default()
    }
}

/// The low bits of a hash: which of them count is the caller's.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
const fn low(hash: u64) -> usize {
    hash as usize
}

fn first_word(text: &str) -> &str {
    let end = text.find(|char| !is_word_char(char)).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

fn padded(word: &str) -> Vec<u8> {
    let mut bytes = word.as_bytes().to_vec();
    bytes.resize(word.len() + PADDING, 0);
    bytes
}

/// The hash of a word in a padded text.
#[inline]
fn hash(text: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    let mut hash = (length as u64).wrapping_mul(MULTIPLIER);
    if length <= PADDING {
        // Length 1 to 8: what is behind the word is shifted out.
        let spare = 64 - 8 * length;
        return mix(hash, eight_bytes(text, start) << spare);
    }
    let mut at = start;
    while at + PADDING < end {
        hash = mix(hash, eight_bytes(text, at));
        at += PADDING;
    }
    mix(hash, eight_bytes(text, end - PADDING))
}

#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(u128::from(MULTIPLIER));
    #[expect(clippy::cast_possible_truncation, reason = "both halves are joined")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

#[inline]
fn eight_bytes(text: &[u8], at: usize) -> u64 {
    text.get(at..at + PADDING).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}
