//! Places between entries, and ways from there.

use super::node::Node;

/// A place between two entries: the nodes from the root down to it, each with how many of its entries
/// or children lie before it. Empty at an end.
#[derive(Debug)]
pub struct Cursor<'map, K, V> {
    path: Vec<(&'map Node<K, V>, usize)>,
}

impl<'map, K, V> Cursor<'map, K, V> {
    /// Before the first entry.
    pub fn first(root: &'map Node<K, V>) -> Self {
        Self { path: vec![(root, 0)] }
    }

    /// Behind the last entry.
    fn last(root: &'map Node<K, V>) -> Self {
        Self { path: vec![(root, root.width())] }
    }

    /// Behind the entries for whose keys `below` holds.
    pub fn behind(root: &'map Node<K, V>, below: impl Fn(&K) -> bool) -> Self {
        let (mut path, mut node) = (Vec::new(), root);
        loop {
            let place = node.place(&below);
            path.push((node, place));
            match node {
                Node::Branch(children) if place < children.len() => node = &children[place].node,
                _ => return Self { path },
            }
        }
    }

    /// The entry behind the place.
    pub fn peek(&mut self) -> Option<&'map (K, V)> {
        loop {
            let &(node, place) = self.path.last()?;
            match node {
                Node::Leaf(entries) if place < entries.len() => return entries.get(place),
                Node::Branch(children) if place < children.len() => {
                    self.path.push((&children[place].node, 0));
                }
                _ => self.leave(),
            }
        }
    }

    /// Leaves the lowest node at its end.
    fn leave(&mut self) {
        self.path.pop();
        if let Some((_, place)) = self.path.last_mut() {
            *place += 1;
        }
    }

    /// The entry behind the place, which is passed.
    pub fn next(&mut self) -> Option<&'map (K, V)> {
        let entry = self.peek()?;
        if let Some((_, place)) = self.path.last_mut() {
            *place += 1;
        }
        Some(entry)
    }

    /// The entry before the place, which is passed.
    fn previous(&mut self) -> Option<&'map (K, V)> {
        loop {
            let (node, place) = self.path.last_mut()?;
            if *place == 0 {
                self.path.pop();
                continue;
            }
            *place -= 1;
            match *node {
                Node::Leaf(entries) => return entries.get(*place),
                Node::Branch(children) => {
                    let child = &children.get(*place)?.node;
                    self.path.push((child, child.width()));
                }
            }
        }
    }

    /// Passes the largest node that begins at both places and is the same; whether there is one.
    pub fn pass_shared(one: &mut Self, other: &mut Self) -> bool {
        let begin = |cursor: &Self| {
            let inside = cursor.path.iter().rposition(|(_, place)| *place > 0);
            inside.map_or(0, |at| at + 1)
        };
        let theirs = begin(other);
        for at in begin(one)..one.path.len() {
            let mut candidates = other.path.iter().skip(theirs);
            let same = candidates.position(|(node, _)| std::ptr::eq(*node, one.path[at].0));
            if let Some(same) = same {
                one.path.truncate(at + 1);
                one.leave();
                other.path.truncate(theirs + same + 1);
                other.leave();
                return true;
            }
        }
        false
    }

    /// Entries behind the place, in key order.
    pub fn forward(mut self) -> impl Iterator<Item = (&'map K, &'map V)> {
        std::iter::from_fn(move || self.next().map(|(key, value)| (key, value)))
    }

    /// Entries before the place, in reverse key order.
    pub fn backward(mut self) -> impl Iterator<Item = (&'map K, &'map V)> {
        std::iter::from_fn(move || self.previous().map(|(key, value)| (key, value)))
    }
}

/// Every entry, from both ends.
pub struct Iter<'map, K, V> {
    front: Cursor<'map, K, V>,
    back: Cursor<'map, K, V>,
    left: usize,
}

impl<'map, K, V> Iter<'map, K, V> {
    /// Over a tree of so many entries.
    pub fn new(root: &'map Node<K, V>, len: usize) -> Self {
        Self { front: Cursor::first(root), back: Cursor::last(root), left: len }
    }
}

impl<'map, K, V> Iterator for Iter<'map, K, V> {
    type Item = (&'map K, &'map V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.front.next().map(|(key, value)| (key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.back.previous().map(|(key, value)| (key, value))
    }
}
