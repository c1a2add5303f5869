//! A persistent ordered map: cheap to clone, cheap to change one entry of, cheap to compare with
//! what it was.
//!
//! The catalogue is replaced as a whole by every change set while readers still hold older ones. A
//! plain `BTreeMap` would be copied entry by entry each time; here entries sit in sorted chunks
//! behind `Arc`, so that a change copies one chunk of at most `CHUNK_ENTRIES_MAX` pointers and the
//! list of chunks. Iteration is in key order, always.

use std::collections::HashSet;
use std::sync::Arc;

/// A chunk is split when it grows beyond this.
const CHUNK_ENTRIES_MAX: usize = 128;

type Chunk<K, V> = Arc<Vec<Arc<(K, V)>>>;

/// A persistent map in key order.
#[derive(Debug)]
pub struct OrderedMap<K, V> {
    /// Never holds an empty chunk; the last key of a chunk is below the first of the next.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

/// An entry that is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed<'map, K, V> {
    /// Its key.
    pub key: &'map K,
    /// The value before; `None`: it was not there.
    pub before: Option<&'map V>,
    /// The value now; `None`: it is gone.
    pub after: Option<&'map V>,
}

impl<K, V> Clone for OrderedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk that holds `key`, or into which it would go.
    fn chunk_of(&self, key: &K) -> usize {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|e| e.0 <= *key));
        after.saturating_sub(1)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|entry| entry.0.cmp(key)).ok()?;
        chunk.get(at).map(|entry| &entry.1)
    }

    /// Whether a key is there.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts an entry, replacing one of the same key.
    pub fn insert(&mut self, key: K, value: V) {
        let place = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(place) else {
            chunks.push(Arc::new(vec![Arc::new((key, value))]));
            self.len = 1;
            return;
        };
        let entries = Arc::make_mut(chunk);
        match entries.binary_search_by(|entry| entry.0.cmp(&key)) {
            Ok(at) => entries[at] = Arc::new((key, value)),
            Err(at) => {
                entries.insert(at, Arc::new((key, value)));
                self.len += 1;
            }
        }
        if entries.len() > CHUNK_ENTRIES_MAX {
            // A chunk that only grows at its end (history) is left nearly full, others are halved.
            let middle = if place + 1 == chunks.len() {
                CHUNK_ENTRIES_MAX - CHUNK_ENTRIES_MAX / 8
            } else {
                CHUNK_ENTRIES_MAX / 2
            };
            let upper = Arc::make_mut(&mut chunks[place]).split_off(middle);
            chunks.insert(place + 1, Arc::new(upper));
        }
    }

    /// Takes an entry out; whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let place = self.chunk_of(key);
        let Some(chunk) = self.chunks.get(place) else { return false };
        let Ok(at) = chunk.binary_search_by(|entry| entry.0.cmp(key)) else { return false };
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[place]);
        entries.remove(at);
        if entries.is_empty() {
            chunks.remove(place);
        }
        self.len -= 1;
        true
    }

    /// Every entry in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|entry| (&entry.0, &entry.1)))
    }

    /// Entries from `start` on (inclusive), in key order.
    pub fn range_from<'map>(
        &'map self,
        start: &K,
    ) -> impl Iterator<Item = (&'map K, &'map V)> + use<'map, K, V> {
        self.starting_at(self.position(|key| key < start))
    }

    /// Entries behind all for which `below` holds, in key order. `below` must hold for a prefix of
    /// the keys.
    pub fn range_by(&self, below: impl Fn(&K) -> bool) -> impl Iterator<Item = (&K, &V)> {
        self.starting_at(self.position(below))
    }

    /// The chunk and the place in it behind all keys for which `below` holds.
    fn position(&self, below: impl Fn(&K) -> bool) -> (usize, usize) {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|e| below(&e.0)));
        let place = after.saturating_sub(1);
        let skip = self
            .chunks
            .get(place)
            .map_or(0, |chunk| chunk.partition_point(|entry| below(&entry.0)));
        (place, skip)
    }

    fn starting_at(&self, (place, skip): (usize, usize)) -> impl Iterator<Item = (&K, &V)> {
        self.chunks
            .iter()
            .skip(place)
            .flat_map(|chunk| chunk.iter().map(|entry| (&entry.0, &entry.1)))
            .skip(skip)
    }

    /// Entries before `end` (exclusive), in reverse key order.
    pub fn range_before<'map>(
        &'map self,
        end: &K,
    ) -> impl Iterator<Item = (&'map K, &'map V)> + use<'map, K, V> {
        let place = self.chunk_of(end);
        let kept = self
            .chunks
            .get(place)
            .map_or(&[][..], |chunk| &chunk[..chunk.partition_point(|entry| entry.0 < *end)]);
        kept.iter()
            .rev()
            .chain(self.chunks.iter().take(place).rev().flat_map(|chunk| chunk.iter().rev()))
            .map(|entry| (&entry.0, &entry.1))
    }

    /// What became of the entries of an older map, in key order: the key, the value it had, the value
    /// it has. Entries that the maps share are passed over chunk by chunk, so that the cost is that
    /// of what was changed and not of what is there; an entry that was put again is told even if
    /// its value is the same.
    pub fn changed_since<'map>(&'map self, older: &'map Self) -> Vec<Changed<'map, K, V>> {
        let (before, after) = (older.apart_from(self), self.apart_from(older));
        let (mut before, mut after) = (before.peekable(), after.peekable());
        let mut changed = Vec::new();
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return changed,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.0.cmp(&new.0),
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            let shared = old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new));
            let key = old.or(new).map(|entry| &entry.0).filter(|_| !shared);
            if let Some(key) = key {
                let value = |entry: &'map Arc<(K, V)>| &entry.1;
                changed.push(Changed { key, before: old.map(value), after: new.map(value) });
            }
        }
    }

    /// Entries of the chunks that another map does not have. A chunk that both have holds the same
    /// entries in both, so that no key is on one side only for want of its chunk.
    fn apart_from(&self, other: &Self) -> impl Iterator<Item = &Arc<(K, V)>> {
        let known: HashSet<*const Vec<Arc<(K, V)>>> =
            other.chunks.iter().map(Arc::as_ptr).collect();
        let apart = move |chunk: &&Chunk<K, V>| !known.contains(&Arc::as_ptr(chunk));
        self.chunks.iter().filter(apart).flat_map(|chunk| chunk.iter())
    }

    /// The first entry.
    #[must_use]
    pub fn first(&self) -> Option<(&K, &V)> {
        self.chunks.first().and_then(|chunk| chunk.first()).map(|entry| (&entry.0, &entry.1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_btree_map(steps in prop::collection::vec((any::<bool>(), 0u16..600), 0..2_000), probe in 0u16..600) {
            let mut ours = OrderedMap::default();
            let mut theirs = BTreeMap::new();
            for (step, (put, key)) in steps.into_iter().enumerate() {
                if put {
                    ours.insert(key, step);
                    theirs.insert(key, step);
                } else {
                    prop_assert_eq!(ours.remove(&key), theirs.remove(&key).is_some());
                }
            }
            prop_assert_eq!(ours.len(), theirs.len());
            prop_assert!(ours.iter().eq(theirs.iter()));
            prop_assert_eq!(ours.get(&probe), theirs.get(&probe));
            prop_assert!(ours.range_from(&probe).eq(theirs.range(probe..)));
            prop_assert!(ours.range_before(&probe).eq(theirs.range(..probe).rev()));
        }

        #[test]
        fn tells_what_was_changed_since(
            before in prop::collection::vec((any::<bool>(), 0u16..2_000), 0..2_000),
            since in prop::collection::vec((any::<bool>(), 0u16..2_000), 0..40),
        ) {
            let mut map = OrderedMap::default();
            let step = |map: &mut OrderedMap<u16, usize>, (put, key): (bool, u16), step: usize| {
                if put {
                    map.insert(key, step);
                } else {
                    map.remove(&key);
                }
            };
            before.iter().enumerate().for_each(|(at, change)| step(&mut map, *change, at));
            let older = map.clone();
            since.iter().enumerate().for_each(|(at, change)| step(&mut map, *change, 10_000 + at));
            let keys: std::collections::BTreeSet<u16> = since.iter().map(|(_, key)| *key).collect();
            let expected: Vec<_> = keys
                .iter()
                .map(|key| (key, older.get(key), map.get(key)))
                .filter(|(_, before, after)| before != after)
                .collect();
            let told: Vec<_> = map
                .changed_since(&older)
                .into_iter()
                .map(|changed| (changed.key, changed.before, changed.after))
                .collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn an_older_clone_does_not_change() {
        let mut map = OrderedMap::default();
        (0..1_000).for_each(|key| map.insert(key, key));
        let older = map.clone();
        map.remove(&500);
        map.insert(7, 0);
        assert_eq!((older.len(), older.get(&500), older.get(&7)), (1_000, Some(&500), Some(&7)));
        assert_eq!((map.len(), map.get(&500), map.get(&7)), (999, None, Some(&0)));
    }
}
