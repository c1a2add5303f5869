//! Equality, membership and lists: per value of a fact the arms that it satisfies or violates.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rust_decimal::Decimal;
use verdict_config::Value;

use super::bits::{self, ArmSet};
use crate::expression::Type;

/// A value that clauses name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Bool(bool),
    /// Int, time; or the position of a list.
    Int(i64),
    Decimal(Decimal),
    /// The bits of a float that is not -0.
    Float(u64),
    Text(Box<str>),
}

/// The bits by which a float is looked up: zero has one key.
pub(super) fn float_key(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

/// Which arms ask for what.
#[derive(Debug, Default)]
pub(super) struct KeyClauses {
    /// `fact == key` or `fact in [keys]`, at most one an arm.
    pub(super) required: Vec<(u32, Vec<Key>)>,
    /// `fact != key` or `!(fact in [keys])`.
    pub(super) rejected: Vec<(u32, Vec<Key>)>,
}

impl KeyClauses {
    pub(super) fn is_empty(&self) -> bool {
        self.required.is_empty() && self.rejected.is_empty()
    }
}

#[derive(Debug)]
struct Entry {
    accept: ArmSet,
    reject: ArmSet,
}

/// Finds a value's entry.
#[derive(Debug)]
enum Finder {
    Bools([Option<u32>; 2]),
    Ints(HashMap<i64, u32, BuildHasherDefault<KeyHasher>>),
    Decimals(Vec<(Decimal, u32)>),
    Floats(HashMap<u64, u32, BuildHasherDefault<KeyHasher>>),
    Texts(HashMap<Box<str>, u32, BuildHasherDefault<KeyHasher>>),
}

/// The index of one fact's keys.
#[derive(Debug)]
pub(super) struct KeyIndex {
    /// Arms that must see one of their keys.
    required: Option<Box<[u64]>>,
    entries: Vec<Entry>,
    finder: Finder,
}

impl KeyIndex {
    pub(super) fn new(clauses: KeyClauses, of: Type, words: usize) -> Self {
        let required: Vec<u32> = clauses.required.iter().map(|(arm, _)| *arm).collect();
        let required = bits::dense_unless_empty(&required, words);
        // An ordered map, so that entries are numbered alike on every node.
        let mut by_key: std::collections::BTreeMap<Key, (Vec<u32>, Vec<u32>)> = Default::default();
        for (arm, keys) in clauses.required {
            for key in keys {
                by_key.entry(key).or_default().0.push(arm);
            }
        }
        for (arm, keys) in clauses.rejected {
            for key in keys {
                by_key.entry(key).or_default().1.push(arm);
            }
        }
        let mut finder = Finder::new(of);
        let mut entries = Vec::with_capacity(by_key.len());
        for (number, (key, (accept, reject))) in (0u32..).zip(by_key) {
            finder.insert(key, number);
            let accept = ArmSet::new(accept, words);
            entries.push(Entry { accept, reject: ArmSet::new(reject, words) });
        }
        Self { required, entries, finder }
    }

    /// Removes the arms that a fact's value violates. False: the value is of another type.
    pub(super) fn apply(&self, value: &Value, alive: &mut [u64], lacking: &mut [u64]) -> bool {
        match (&self.finder, value) {
            (Finder::Bools(entries), Value::Bool(value)) => {
                self.apply_one(entries[usize::from(*value)], alive);
            }
            (Finder::Ints(entries), Value::Int(number)) => {
                self.apply_one(entries.get(number).copied(), alive);
            }
            (Finder::Ints(entries), Value::Time(at)) => {
                self.apply_one(entries.get(&at.0).copied(), alive);
            }
            (Finder::Decimals(entries), Value::Decimal(number)) => {
                let found = entries.binary_search_by(|(known, _)| known.cmp(number)).ok();
                let found = found.and_then(|at| entries.get(at)).map(|(_, entry)| *entry);
                self.apply_one(found, alive);
            }
            (Finder::Floats(entries), Value::Float(number)) if number.is_finite() => {
                self.apply_one(entries.get(&float_key(*number)).copied(), alive);
            }
            (Finder::Texts(entries), Value::Text(text)) => {
                self.apply_one(entries.get(&**text).copied(), alive);
            }
            (Finder::Texts(entries), Value::Set(items)) => {
                let found = items.iter().filter_map(|item| entries.get(&**item).copied());
                self.apply_hits(found, alive, lacking);
            }
            _ => return false,
        }
        true
    }

    /// One value has one key at most.
    #[inline]
    fn apply_one(&self, entry: Option<u32>, alive: &mut [u64]) {
        let entry = entry.and_then(|entry| self.entries.get(entry as usize));
        if let Some(required) = &self.required {
            match entry {
                Some(entry) => entry.accept.keep_only(required, alive),
                None => bits::remove_all(alive, required),
            }
        }
        if let Some(entry) = entry {
            entry.reject.remove_from(alive);
        }
    }

    /// Removes the arms that the positions found violate; for list positions as keys.
    pub(super) fn apply_positions(
        &self,
        found: impl Iterator<Item = u32> + Clone,
        alive: &mut [u64],
        lacking: &mut [u64],
    ) {
        if let Finder::Ints(entries) = &self.finder {
            let hits = found.filter_map(|position| entries.get(&i64::from(position)).copied());
            self.apply_hits(hits, alive, lacking);
        }
    }

    fn apply_hits(
        &self,
        hits: impl Iterator<Item = u32> + Clone,
        alive: &mut [u64],
        lacking: &mut [u64],
    ) {
        if let Some(required) = &self.required {
            let mut hits = hits.clone().filter_map(|hit| self.entries.get(hit as usize)).peekable();
            if hits.peek().is_none() {
                bits::remove_all(alive, required);
            } else {
                lacking.copy_from_slice(required);
                hits.for_each(|entry| entry.accept.remove_from(lacking));
                bits::remove_all(alive, lacking);
            }
        }
        for entry in hits.filter_map(|hit| self.entries.get(hit as usize)) {
            entry.reject.remove_from(alive);
        }
    }
}

impl Finder {
    fn new(of: Type) -> Self {
        match of {
            Type::Bool => Self::Bools([None, None]),
            Type::Int | Type::Time | Type::Duration => Self::Ints(HashMap::default()),
            Type::Decimal => Self::Decimals(Vec::new()),
            Type::Float => Self::Floats(HashMap::default()),
            Type::Text | Type::Set => Self::Texts(HashMap::default()),
        }
    }

    /// Keys come in ascending order.
    fn insert(&mut self, key: Key, entry: u32) {
        match (self, key) {
            (Self::Bools(entries), Key::Bool(value)) => {
                entries[usize::from(value)] = Some(entry);
            }
            (Self::Ints(entries), Key::Int(number)) => {
                entries.insert(number, entry);
            }
            (Self::Decimals(entries), Key::Decimal(number)) => entries.push((number, entry)),
            (Self::Floats(entries), Key::Float(number)) => {
                entries.insert(number, entry);
            }
            (Self::Texts(entries), Key::Text(text)) => {
                entries.insert(text, entry);
            }
            _ => {}
        }
    }
}

/// Multiplies and rotates, eight bytes at a time. What is stored comes from rules, never from
/// requests, so nobody can fill a bucket from outside.
#[derive(Default)]
struct KeyHasher(u64);

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl KeyHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(chunk.try_into().map_or(0, u64::from_le_bytes));
        }
        let mut last = 0u64;
        for byte in chunks.remainder() {
            last = last << 8 | u64::from(*byte);
        }
        self.mix(last ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_i64(&mut self, word: i64) {
        self.mix(word.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        // hashbrown takes its control byte from the top bits and its bucket from the low ones.
        self.0 ^ self.0 >> 32
    }
}
