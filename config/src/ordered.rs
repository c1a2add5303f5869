//! A persistent ordered map: cheap to clone, cheap to change one entry of, cheap to compare with
//! what it was.
//!
//! The catalogue is replaced as a whole by every change set while readers still hold older ones. A
//! plain `BTreeMap` would be copied entry by entry each time; here entries sit in a B-tree whose nodes
//! are shared, so that a change copies the nodes between the root and one leaf, and only those that
//! somebody else still holds. Iteration is in key order, always.
//!
//! Entries sit inside the nodes, so that a search reads a few lines of memory and not an entry's
//! allocation a step. A copied leaf clones its keys and values: both are to be cheap to clone (numbers,
//! hashes, short texts, shared pointers).
//!
//! Of well-kept crates none tells what changed between two maps without reading both; so it is
//! written here.

mod cursor;
mod node;

use std::sync::Arc;

use cursor::Cursor;
use node::Node;

/// A persistent map in key order.
#[derive(Debug)]
pub struct OrderedMap<K, V> {
    root: Arc<Node<K, V>>,
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
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K, V> OrderedMap<K, V> {
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
}

impl<K: Ord + Clone, V: Clone> OrderedMap<K, V> {
    /// Puts an entry, replacing one of the same key.
    pub fn insert(&mut self, key: K, value: V) {
        let inserted = Node::insert(&mut self.root, key, value, true);
        self.len += usize::from(inserted.added);
        if let Some(right) = inserted.split {
            self.root = Arc::new(Node::over([Arc::clone(&self.root), right]));
        }
    }

    /// Takes an entry out; whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        if !self.contains(key) {
            return false;
        }
        Node::remove(&mut self.root, key);
        self.len -= 1;
        while let Some(only) = self.root.only_child() {
            self.root = only;
        }
        if self.len == 0 {
            *self = Self::default();
        }
        true
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.root.get(key)
    }

    /// Whether a key is there.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Every entry in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        cursor::Iter::new(&self.root, self.len)
    }

    /// Entries from `start` on (inclusive), in key order.
    pub fn range_from<'map>(
        &'map self,
        start: &K,
    ) -> impl Iterator<Item = (&'map K, &'map V)> + use<'map, K, V> {
        Cursor::behind(&self.root, |key| key < start).forward()
    }

    /// Entries behind all for which `below` holds, in key order. `below` must hold for a prefix of
    /// the keys.
    pub fn range_by(&self, below: impl Fn(&K) -> bool) -> impl Iterator<Item = (&K, &V)> {
        Cursor::behind(&self.root, below).forward()
    }

    /// Entries before `end` (exclusive), in reverse key order.
    pub fn range_before<'map>(
        &'map self,
        end: &K,
    ) -> impl Iterator<Item = (&'map K, &'map V)> + use<'map, K, V> {
        Cursor::behind(&self.root, |key| key < end).backward()
    }

    /// What became of the entries of an older map, in key order: the key, the value it had, the value
    /// it has. Nodes that the maps share are passed over, so that the cost is that of what was changed
    /// and not of what is there. An entry of which both values are there is told unless they are the
    /// `same`.
    pub fn changed_since<'map>(
        &'map self,
        older: &'map Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Changed<'map, K, V>> {
        let (mut before, mut after) = (Cursor::first(&older.root), Cursor::first(&self.root));
        let mut changed = Vec::new();
        loop {
            let (old, new) = (before.peek(), after.peek());
            if old.is_some() && new.is_some() && Cursor::pass_shared(&mut before, &mut after) {
                continue;
            }
            let order = match (old, new) {
                (None, None) => return changed,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.0.cmp(&new.0),
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            let unchanged = old.zip(new).is_some_and(|(old, new)| same(&old.1, &new.1));
            let key = old.or(new).map(|entry| &entry.0).filter(|_| !unchanged);
            if let Some(key) = key {
                let value = |entry: &'map (K, V)| &entry.1;
                changed.push(Changed { key, before: old.map(value), after: new.map(value) });
            }
        }
    }

    /// The first entry.
    #[must_use]
    pub fn first(&self) -> Option<(&K, &V)> {
        Cursor::first(&self.root).next().map(|(key, value)| (key, value))
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
                .changed_since(&older, PartialEq::eq)
                .into_iter()
                .map(|changed| (changed.key, changed.before, changed.after))
                .collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_large_map_stays_shallow_and_in_order() {
        let mut map = OrderedMap::default();
        (0..50_000u32).for_each(|key| map.insert(key.wrapping_mul(2_654_435_761), key));
        assert_eq!(map.len(), 50_000);
        assert!(map.iter().zip(map.iter().skip(1)).all(|((a, _), (b, _))| a < b));
        let older = map.clone();
        map.insert(7, 7);
        assert_eq!(map.changed_since(&older, PartialEq::eq).len(), 1);
        let keys: Vec<u32> = map.iter().map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| assert!(map.remove(key)));
        assert!(map.is_empty() && map.first().is_none() && map.iter().next().is_none());
        assert_eq!(older.len(), 50_000);
    }

    #[test]
    fn both_ends_meet_once() {
        let mut map = OrderedMap::default();
        (0..1_000u32).for_each(|key| map.insert(key, ()));
        let (mut seen, mut entries) = (Vec::new(), map.iter());
        while let Some((front, ())) = entries.next() {
            seen.push(*front);
            seen.extend(entries.next_back().map(|(back, ())| *back));
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..1_000));
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
