//! Nodes of the tree, shared between the maps that hold them.

use std::sync::Arc;

/// A node is split when it grows beyond this. Larger nodes are copied for longer, smaller ones make
/// a deeper tree.
const WIDTH_MAX: usize = 32;

pub type Entry<K, V> = Arc<(K, V)>;

/// Every leaf is equally far from the root. Only the root may be empty.
#[derive(Debug)]
pub enum Node<K, V> {
    /// Entries in key order.
    Leaf(Vec<Entry<K, V>>),
    /// Children: every key of one is below those of the next.
    Branch(Vec<Child<K, V>>),
}

/// A child with its first entry, so that a search reads no more than one leaf.
#[derive(Debug)]
pub struct Child<K, V> {
    first: Entry<K, V>,
    pub node: Arc<Node<K, V>>,
}

/// What an insertion did to a node.
pub struct Inserted<K, V> {
    /// Whether the key is new.
    pub added: bool,
    /// What no longer fits and belongs behind the node.
    pub split: Option<Arc<Node<K, V>>>,
}

impl<K, V> Clone for Child<K, V> {
    fn clone(&self) -> Self {
        Self { first: Arc::clone(&self.first), node: Arc::clone(&self.node) }
    }
}

impl<K, V> Child<K, V> {
    /// `None` for a node without entries.
    fn new(node: Arc<Node<K, V>>) -> Option<Self> {
        Some(Self { first: Arc::clone(node.first()?), node })
    }

    /// Notes the first entry anew.
    fn refresh(&mut self) {
        if let Some(first) = self.node.first()
            && !Arc::ptr_eq(first, &self.first)
        {
            self.first = Arc::clone(first);
        }
    }
}

impl<K, V> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(entries.clone()),
            Self::Branch(children) => Self::Branch(children.clone()),
        }
    }
}

impl<K, V> Node<K, V> {
    /// A node over others, in their order.
    pub fn over(nodes: impl IntoIterator<Item = Arc<Self>>) -> Self {
        Self::Branch(nodes.into_iter().filter_map(Child::new).collect())
    }

    /// Entries of a leaf, children of a branch.
    pub const fn width(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }

    /// The entry of the lowest key.
    pub fn first(&self) -> Option<&Entry<K, V>> {
        match self {
            Self::Leaf(entries) => entries.first(),
            Self::Branch(children) => children.first().map(|child| &child.first),
        }
    }

    /// How many places lie before those whose keys are not `below`: entries of a leaf; of a branch,
    /// the child in which the border lies.
    pub fn place(&self, below: impl Fn(&K) -> bool) -> usize {
        match self {
            Self::Leaf(entries) => entries.partition_point(|entry| below(&entry.0)),
            Self::Branch(children) => {
                children.partition_point(|child| below(&child.first.0)).saturating_sub(1)
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
    /// The entry of a key.
    pub fn get(&self, key: &K) -> Option<&Entry<K, V>> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => {
                    let at = entries.binary_search_by(|entry| entry.0.cmp(key)).ok()?;
                    return entries.get(at);
                }
                Self::Branch(children) => {
                    node = &children.get(node.place(|first| first <= key))?.node;
                }
            }
        }
    }

    /// Puts an entry. `rightmost` says that no key of the map is behind this node.
    pub fn insert(node: &mut Arc<Self>, entry: Entry<K, V>, rightmost: bool) -> Inserted<K, V> {
        let place = node.place(|first| *first <= entry.0);
        match Arc::make_mut(node) {
            Self::Leaf(entries) => {
                // The place is behind an entry of the same key.
                let same = place.checked_sub(1).filter(|at| entries[*at].0 == entry.0);
                match same {
                    Some(at) => entries[at] = entry,
                    None => entries.insert(place, entry),
                }
                let split = split(entries, rightmost).map(|right| Arc::new(Self::Leaf(right)));
                Inserted { added: same.is_none(), split }
            }
            Self::Branch(children) => {
                let rightmost = rightmost && place + 1 == children.len();
                let child = &mut children[place];
                let inserted = Self::insert(&mut child.node, entry, rightmost);
                child.refresh();
                let behind = inserted.split.and_then(Child::new);
                children.splice(place + 1..place + 1, behind);
                let split = split(children, rightmost).map(|right| Arc::new(Self::Branch(right)));
                Inserted { added: inserted.added, split }
            }
        }
    }

    /// Takes out an entry that is there.
    pub fn remove(node: &mut Arc<Self>, key: &K) {
        let place = node.place(|first| first <= key);
        match Arc::make_mut(node) {
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

/// What a node that grew too wide gives away. One that only grows at its end (history) is left nearly
/// full, others are halved.
fn split<T>(places: &mut Vec<T>, rightmost: bool) -> Option<Vec<T>> {
    let kept = if rightmost { WIDTH_MAX - WIDTH_MAX / 8 } else { WIDTH_MAX / 2 };
    (places.len() > WIDTH_MAX).then(|| places.split_off(kept))
}
