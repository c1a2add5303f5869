//! A YAML document as a tree, built from the parser's events.

use std::collections::{BTreeMap, HashMap};

use granit_parser::ScalarStyle;
use serde_json::Value as Json;

use super::{Remark, scalar, shown};

/// The most levels of a document, aliases included.
const DEPTH_MAX: usize = 100;
/// The most values that aliases add to a document.
const ALIASED_MAX: usize = 100_000;
/// The most faults that are collected.
const FAULTS_MAX: usize = 100;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub part: Part,
    pub place: (u32, u32),
    /// Levels below, itself included.
    height: usize,
    /// Values below, itself included.
    size: usize,
}

#[derive(Debug, Clone)]
pub enum Part {
    Scalar(Json),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

/// A collection that has begun and not ended.
#[derive(Debug)]
struct Frame {
    part: Part,
    anchor: usize,
    place: (u32, u32),
    /// The key whose value comes next.
    key: Option<(String, (u32, u32))>,
    /// Keys of a mapping so far, with their places.
    keys: HashMap<String, (u32, u32)>,
    /// Values of merge keys.
    merged: Vec<(String, Node)>,
}

#[derive(Debug, Default)]
pub struct Builder {
    frames: Vec<Frame>,
    root: Option<Node>,
    /// Anchors with their values; `None` before the value has ended.
    anchors: BTreeMap<usize, Anchor>,
    faults: Vec<Remark>,
    aliased: usize,
    is_too_deep: bool,
}

#[derive(Debug)]
struct Anchor {
    place: (u32, u32),
    node: Option<Node>,
    is_used: bool,
}

impl Builder {
    pub fn fault(&mut self, place: (u32, u32), message: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((place, message.into()));
        }
    }

    pub const fn is_over_limit(&self) -> bool {
        self.is_too_deep || self.aliased > ALIASED_MAX
    }

    pub fn scalar(&mut self, value: &str, style: ScalarStyle, anchor: usize, place: (u32, u32)) {
        if self.awaits_key() {
            if anchor != 0 {
                self.fault(place, "a key has no anchor: remove `&` and its name, or quote the key");
            }
            self.key(value, style, place);
            return;
        }
        let json = match style {
            ScalarStyle::Plain => scalar::plain(value),
            ScalarStyle::Literal | ScalarStyle::Folded if value.is_empty() => Err(
                "`>` or `|` begins a text on the lines below, and there is none: put the value \
                     in quotes"
                    .to_owned(),
            ),
            _ => Ok(value.into()),
        };
        let json = json.unwrap_or_else(|message| {
            let key = self.frames.last().and_then(|frame| frame.key.as_ref());
            // A block's text begins in another line than what announces it.
            let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            let place = key.filter(|_| is_block).map_or(place, |(_, place)| *place);
            let of_key = key.map_or_else(String::new, |(key, _)| format!("{}: ", shown(key)));
            self.fault(place, format!("{of_key}{message}"));
            Json::Null
        });
        self.anchored(anchor, place);
        self.end(Node { part: Part::Scalar(json), place, height: 1, size: 1 }, anchor);
    }

    pub fn open(&mut self, part: Part, anchor: usize, place: (u32, u32)) {
        if self.awaits_key() {
            self.fault(place, "a key must be a text; quote it if it begins with `[`, `{` or `?`");
            self.key(&format!("\u{0}{}:{}", place.0, place.1), ScalarStyle::DoubleQuoted, place);
            // The collection takes the place of the key's value, and the value that follows is the
            // next key: nothing of a faulty document is used.
        }
        self.anchored(anchor, place);
        let (key, keys, merged) = (None, HashMap::new(), Vec::new());
        self.frames.push(Frame { part, anchor, place, key, keys, merged });
        self.is_too_deep |= self.frames.len() > DEPTH_MAX;
    }

    pub fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let mut part = frame.part;
        if let Part::Mapping(entries) = &mut part {
            // The first value of a key counts, and the mapping's own before merged ones.
            for (key, node) in frame.merged {
                if !entries.iter().any(|(known, _)| *known == key) {
                    entries.push((key, node));
                }
            }
        }
        let below = match &part {
            Part::Scalar(_) => (0, 0),
            Part::Sequence(items) => measure(items.iter()),
            Part::Mapping(entries) => measure(entries.iter().map(|(_, node)| node)),
        };
        let (height, size) = (below.0 + 1, below.1 + 1);
        self.is_too_deep |= height + self.frames.len() > DEPTH_MAX;
        self.end(Node { part, place: frame.place, height, size }, frame.anchor);
    }

    pub fn alias(&mut self, anchor: usize, place: (u32, u32)) {
        if self.awaits_key() {
            self.fault(place, "an alias cannot be a key: write the key out");
            self.key("*", ScalarStyle::DoubleQuoted, place);
            return;
        }
        let found = self.anchors.get_mut(&anchor);
        let node = found.and_then(|anchor| {
            anchor.is_used = true;
            anchor.node.clone()
        });
        let null = Node { part: Part::Scalar(Json::Null), place, height: 1, size: 1 };
        let node = node.unwrap_or_else(|| {
            self.fault(place, "the alias stands inside of what it names: write the value out");
            null
        });
        self.aliased += node.size;
        self.is_too_deep |= node.height + self.frames.len() > DEPTH_MAX;
        if !self.is_over_limit() {
            self.end(node, 0);
        }
    }

    /// The document, if there is one, and the faults in order of their places.
    pub fn finish(mut self) -> (Option<Node>, Vec<Remark>) {
        let unused: Vec<(u32, u32)> =
            self.anchors.values().filter(|anchor| !anchor.is_used).map(|a| a.place).collect();
        for place in unused {
            self.fault(
                place,
                "`&` begins an anchor, which nothing uses: quote the value if `&` belongs to it",
            );
        }
        self.faults.sort_by_key(|(place, _)| *place);
        (self.root, self.faults)
    }

    fn awaits_key(&self) -> bool {
        self.frames
            .last()
            .is_some_and(|frame| matches!(frame.part, Part::Mapping(_)) && frame.key.is_none())
    }

    fn key(&mut self, text: &str, style: ScalarStyle, place: (u32, u32)) {
        if text.is_empty() && style == ScalarStyle::Plain {
            self.fault(place, "there is no key before the colon: write one");
        }
        let Some(frame) = self.frames.last_mut() else { return };
        let is_merge = text == "<<" && style == ScalarStyle::Plain;
        let first = if is_merge { None } else { frame.keys.insert(text.to_owned(), place) };
        frame.key = Some((text.to_owned(), place));
        if let Some((line, _)) = first {
            let message = format!(
                "the key {} is written twice (first in line {line}): remove one of the two",
                shown(text)
            );
            self.fault(place, message);
        }
    }

    fn anchored(&mut self, anchor: usize, place: (u32, u32)) {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor { place, node: None, is_used: false });
        }
    }

    /// Puts a value that has ended where it belongs.
    fn end(&mut self, node: Node, anchor: usize) {
        if let Some(anchor) = self.anchors.get_mut(&anchor) {
            anchor.node = Some(node.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut frame.part {
            Part::Scalar(_) => {}
            Part::Sequence(items) => items.push(node),
            Part::Mapping(entries) => match frame.key.take() {
                Some((key, place)) if key == "<<" && !frame.keys.contains_key("<<") => {
                    self.merge(node, place);
                }
                Some((key, _)) => entries.push((key, node)),
                None => {}
            },
        }
    }

    fn merge(&mut self, node: Node, place: (u32, u32)) {
        let sources = match node.part {
            Part::Sequence(items) => items.into_iter().map(|item| item.part).collect(),
            part => vec![part],
        };
        for source in sources {
            match (source, self.frames.last_mut()) {
                (Part::Mapping(entries), Some(frame)) => frame.merged.extend(entries),
                _ => self.fault(place, "`<<` takes the keys of a mapping, and this is none"),
            }
        }
    }
}

fn measure<'n>(nodes: impl Iterator<Item = &'n Node>) -> (usize, usize) {
    nodes.fold((0, 0), |(height, size), node| (height.max(node.height), size + node.size))
}
