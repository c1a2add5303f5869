//! YAML 1.2 text as JSON, and the place of every value in the text.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use serde_saphyr::Spanned;

use crate::{Code, Fault};

/// Lines and columns (from 1) of values by path.
pub type Marks = BTreeMap<String, (u32, u32)>;

/// A YAML value that knows where its parts stand.
enum Node {
    Scalar(Json),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(String, Spanned<Node>)>),
}

/// Reads one YAML document. `NO` and its like are strings, keys are strings, repeated keys are
/// refused, aliases are bounded by the parser.
///
/// # Errors
/// The first syntax fault with its line and column.
pub fn read(file: &str, text: &str) -> Result<(Json, Marks), Fault> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let root: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let fault = Fault::new(Code::InvalidSyntax, "", error.to_string());
            match error.location() {
                Some(place) => fault.at(file, narrow(place.line()), narrow(place.column())),
                None => fault.at(file, 1, 1),
            }
        })?;
    let mut marks = Marks::new();
    let json = flatten(root, String::new(), &mut marks);
    Ok((json, marks))
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn flatten(node: Spanned<Node>, path: String, marks: &mut Marks) -> Json {
    let mark = (narrow(node.referenced.line()), narrow(node.referenced.column()));
    let json = match node.value {
        Node::Scalar(json) => json,
        Node::Sequence(items) => items
            .into_iter()
            .enumerate()
            .map(|(position, item)| flatten(item, format!("{path}[{position}]"), marks))
            .collect(),
        Node::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                object.insert(key, flatten(value, inner, marks));
            }
            Json::Object(object)
        }
    };
    marks.insert(path, mark);
    json
}

/// The place of a path, or of the nearest part of it that stands in the text.
#[must_use]
pub fn place(marks: &Marks, path: &str) -> Option<(u32, u32)> {
    let mut path = path;
    loop {
        if let Some(mark) = marks.get(path) {
            return Some(*mark);
        }
        match path.rfind(['.', '[']) {
            Some(end) => path = &path[..end],
            None => return marks.get("").copied(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value)
            .map(|number| Node::Scalar(Json::Number(number)))
            .ok_or_else(|| E::custom("numbers must be finite; write .inf and .nan as text"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Json::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Json::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Node::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = mapping.next_key::<String>()? {
            entries.push((key, mapping.next_value()?));
        }
        Ok(Node::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_yaml_1_1_are_strings_and_places_are_known() {
        let text = "a: NO\nb:\n  - on\n  - {c: 1.5, d: true}\ne: ~\nf: 0x10\ng: \"1\"\n";
        let (json, marks) = read("x.yaml", text).unwrap();
        let expected = serde_json::json!({
            "a": "NO", "b": ["on", {"c": 1.5, "d": true}], "e": null, "f": 16, "g": "1"
        });
        assert_eq!(json, expected);
        assert_eq!(place(&marks, "b[1].d"), Some((4, 17)));
        assert_eq!(place(&marks, "b[0]"), Some((3, 5)));
        assert_eq!(place(&marks, "b[1].nothing.there"), Some((4, 5)));
    }

    #[test]
    fn faults_of_syntax_name_their_place() {
        for (text, line) in [("a: 1\na: 2\n", 2), ("a: [1\nb: 2\n", 2), ("a: \"x\n", 2)] {
            let fault = read("x.yaml", text).unwrap_err();
            assert_eq!(fault.code, Code::InvalidSyntax, "{text:?}");
            assert!(fault.line.is_some_and(|found| found <= line), "{text:?}: {fault}");
        }
    }
}
