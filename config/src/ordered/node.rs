//! Nodes of the tree, shared between the maps that hold them.

use std::sync::Arc;

/// A node is split when it grows beyond this. Larger nodes are copied for longer, smaller ones make
/// a deeper tree.
const WIDTH_MAX: usize = 32;
/// How many more places a node gets when it is copied or full: most copies are made to put one entry.
const ROOM: usize = 4;

/// Every leaf is equally far from the root. Only the root may be empty.
#[derive(Debug)]
pub enum Node<K, V> {
    /// Entries in key order.
    Leaf(Vec<(K, V)>),
    /// Children: every key of one is below those of the next.
    Branch(Vec<Child<K, V>>),
}

/// A child with its first key, so that a search reads no more than one leaf.
#[derive(Debug)]
pub struct Child<K, V> {
    first: K,
    pub node: Arc<Node<K, V>>,
}

/// What an insertion did to a node.
pub struct Inserted<K, V> {
    /// Whether the key is new.
    pub added: bool,
    /// What no longer fits and belongs behind the node.
    pub split: Option<Arc<Node<K, V>>>,
}

impl<K: Clone, V> Clone for Child<K, V> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), node: Arc::clone(&self.node) }
    }
}

impl<K: Ord + Clone, V> Child<K, V> {
    /// `None` for a node without entries.
    fn new(node: Arc<Node<K, V>>) -> Option<Self> {
        Some(Self { first: node.first_key()?.clone(), node })
    }

    /// Notes the first key anew.
    fn refresh(&mut self) {
        if let Some(first) = self.node.first_key()
            && *first != self.first
        {
            self.first = first.clone();
        }
    }
}

impl<K, V> Node<K, V> {
    /// Entries of a leaf, children of a branch.
    pub const fn width(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }

    /// The lowest key.
    fn first_key(&self) -> Option<&K> {
        match self {
            Self::Leaf(entries) => entries.first().map(|(key, _)| key),
            Self::Branch(children) => children.first().map(|child| &child.first),
        }
    }

    /// How many places lie before those whose keys are not `below`: entries of a leaf; of a branch,
    /// the child in which the border lies.
    pub fn place(&self, below: impl Fn(&K) -> bool) -> usize {
        match self {
            Self::Leaf(entries) => entries.partition_point(|(key, _)| below(key)),
            Self::Branch(children) => {
                children.partition_point(|child| below(&child.first)).saturating_sub(1)
            }
        }
    }

    /// The child of a branch that has only one.
    pub fn only_child(&self) -> Option<Arc<Self>> {
        match self {
            Self::Branch(children) => match &children[..] {
                [only] => Some(Arc::clone(&only.node)),
                _ => None,
            },
            Self::Leaf(_) => None,
        }
    }
}

impl<K: Ord, V> Node<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => {
                    let at = entries.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
                    return entries.get(at).map(|(_, value)| value);
                }
                Self::Branch(children) => {
                    node = &children.get(node.place(|first| first <= key))?.node;
                }
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    /// A node over others, in their order.
    pub fn over(nodes: impl IntoIterator<Item = Arc<Self>>) -> Self {
        Self::Branch(nodes.into_iter().filter_map(Child::new).collect())
    }

    /// The node for changing: itself, or a copy where somebody else holds it as well.
    fn own(node: &mut Arc<Self>) -> &mut Self {
        if Arc::get_mut(node).is_none() {
            let copy = match &**node {
                Self::Leaf(entries) => Self::Leaf(with_room(entries)),
                Self::Branch(children) => Self::Branch(with_room(children)),
            };
            *node = Arc::new(copy);
        }
        // Nobody else holds it: this copies nothing more.
        Arc::make_mut(node)
    }

    /// Puts an entry. `rightmost` says that no key of the map is behind this node.
    pub fn insert(node: &mut Arc<Self>, key: K, value: V, rightmost: bool) -> Inserted<K, V> {
        let place = node.place(|first| *first <= key);
        match Self::own(node) {
            Self::Leaf(entries) => {
                // The place is behind an entry of the same key.
                let same = place.checked_sub(1).filter(|at| entries[*at].0 == key);
                match same {
                    Some(at) => entries[at].1 = value,
                    None => {
                        make_room(entries);
                        entries.insert(place, (key, value));
                    }
                }
                let split = split(entries, rightmost).map(|right| Arc::new(Self::Leaf(right)));
                Inserted { added: same.is_none(), split }
            }
            Self::Branch(children) => {
                let rightmost = rightmost && place + 1 == children.len();
                let child = &mut children[place];
                let inserted = Self::insert(&mut child.node, key, value, rightmost);
                child.refresh();
                if let Some(behind) = inserted.split.and_then(Child::new) {
                    make_room(children);
                    children.insert(place + 1, behind);
                }
                let split = split(children, rightmost).map(|right| Arc::new(Self::Branch(right)));
                Inserted { added: inserted.added, split }
            }
        }
    }

    /// Takes out an entry that is there.
    pub fn remove(node: &mut Arc<Self>, key: &K) {
        let place = node.place(|first| first <= key);
        match Self::own(node) {
            Self::Leaf(entries) => {
                // The place is behind the entry.
                entries.remove(place.saturating_sub(1));
            }
            Self::Branch(children) => {
                Self::remove(&mut children[place].node, key);
                if children[place].node.width() == 0 {
                    children.remove(place);
                } else {
                    children[place].refresh();
                }
            }
        }
    }
}

impl<K: Clone, V: Clone> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(entries.clone()),
            Self::Branch(children) => Self::Branch(children.clone()),
        }
    }
}

fn with_room<T: Clone>(places: &[T]) -> Vec<T> {
    let mut copy = Vec::with_capacity(places.len() + ROOM);
    copy.extend_from_slice(places);
    copy
}

/// A node is at most as wide as [`WIDTH_MAX`]: doubling it, as vectors do, would waste half.
fn make_room<T>(places: &mut Vec<T>) {
    if places.len() == places.capacity() {
        places.reserve_exact(ROOM);
    }
}

/// What a node that grew too wide gives away. One that only grows at its end (history) is left nearly
/// full, others are halved.
fn split<T>(places: &mut Vec<T>, rightmost: bool) -> Option<Vec<T>> {
    let kept = if rightmost { WIDTH_MAX - WIDTH_MAX / 8 } else { WIDTH_MAX / 2 };
    (places.len() > WIDTH_MAX).then(|| places.split_off(kept))
}
