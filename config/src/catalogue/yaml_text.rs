//! YAML 1.2 text as JSON, and the place of every value in the text.
//!
//! YAML loses text in silence: `when: ! vip` is a tag and the text `vip`, `mcc: 0742` is a number,
//! `when: # later` is nothing at all. This reader works on the events of the parser, where each of
//! these can still be seen, and refuses them. Aliases and merge keys are resolved within a bound.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Value as Json};

use crate::csv::shown;
use crate::{Code, Fault, Faults};

mod messages;
mod scalar;
mod tree;

use tree::{Builder, Node, Part};

/// Lines and columns (from 1) of values by path.
pub type Marks = BTreeMap<String, (u32, u32)>;

/// A document: its value, the places of its parts, and what may not be meant as it is written.
#[derive(Debug)]
pub struct YamlText {
    /// The value.
    pub json: Json,
    /// Places of values by path.
    pub marks: Marks,
    /// Findings with their places.
    pub remarks: Faults,
}

/// Reads one YAML document. `NO` and its like are strings, keys are strings; repeated keys, tags,
/// values that are missing and numbers that YAML versions read differently are refused.
///
/// # Errors
/// Every fault with its line and column.
pub fn read(file: &str, text: &str) -> Result<YamlText, Faults> {
    let (root, mut faults, remarks) = parse(text).map_err(|(place, message)| {
        vec![Fault::new(Code::InvalidSyntax, "", message).at(file, place.0, place.1)]
    })?;
    let placed = |found: Vec<Remark>| -> Faults {
        let fault = |((line, column), message): Remark| {
            Fault::new(Code::InvalidSyntax, "", message).at(file, line, column)
        };
        found.into_iter().map(fault).collect()
    };
    let Some(root) = root else {
        let message = "the file is empty: write the object, or remove the file".to_owned();
        faults.push(((1, 1), message));
        return Err(placed(faults));
    };
    if !faults.is_empty() {
        return Err(placed(faults));
    }
    let mut marks = Marks::new();
    let json = flatten(root, String::new(), &mut marks);
    Ok(YamlText { json, marks, remarks: placed(remarks) })
}

/// The places of the values of a text, whatever its scalars are; JSON is YAML in this.
#[must_use]
pub fn marks_of(text: &str) -> Option<Marks> {
    let (root, _, _) = parse(text).ok()?;
    let mut marks = Marks::new();
    flatten(root?, String::new(), &mut marks);
    Some(marks)
}

/// A place and a sentence about it.
type Remark = ((u32, u32), String);

type Parsed = (Option<Node>, Vec<Remark>, Vec<Remark>);

fn parse(text: &str) -> Result<Parsed, Remark> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = granit_parser::options! { disallow_directives: true, emit_comments: false };
    let mut builder = Builder::default();
    let mut remarks = Vec::new();
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| messages::of_syntax(&error, text))?;
        let place = place_of(&span);
        if let Some(tag) = span.tag_span() {
            builder.fault(place_of(&tag), messages::of_tag(&tag, text));
        }
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second document begins here, which nothing reads: remove \
                                   the line `---` or `...`, or write a file of its own";
                    return Err((place, message.to_owned()));
                }
            }
            Event::Scalar(value, style, anchor, _) => {
                if style == ScalarStyle::Plain
                    && let Some(remark) = messages::of_comment(&span, text)
                {
                    remarks.push((place, remark));
                }
                // The parser gives the text `~` where there is none.
                let is_missing = style == ScalarStyle::Plain && span.is_empty();
                let value = if is_missing { "" } else { value.as_ref() };
                builder.scalar(value, style, anchor, place);
            }
            Event::SequenceStart(_, anchor, _) => {
                builder.open(Part::Sequence(vec![]), anchor, place)
            }
            Event::MappingStart(_, anchor, _) => builder.open(Part::Mapping(vec![]), anchor, place),
            Event::SequenceEnd | Event::MappingEnd => builder.close(),
            Event::Alias(anchor) => builder.alias(anchor, place),
            _ => {}
        }
        if builder.is_over_limit() {
            return Err((
                place,
                "the document has too many or too deep parts: split it".to_owned(),
            ));
        }
    }
    let (root, faults) = builder.finish();
    Ok((root, faults, remarks))
}

fn place_of(span: &Span) -> (u32, u32) {
    (narrow(span.start.line()), narrow(span.start.col() + 1))
}

fn place_of_error(error: &ScanError) -> (u32, u32) {
    (narrow(error.marker().line()), narrow(error.marker().col() + 1))
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn flatten(node: Node, path: String, marks: &mut Marks) -> Json {
    let mark = node.place;
    let json = match node.part {
        Part::Scalar(json) => json,
        Part::Sequence(items) => items
            .into_iter()
            .enumerate()
            .map(|(position, item)| flatten(item, format!("{path}[{position}]"), marks))
            .collect(),
        Part::Mapping(entries) => {
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

#[cfg(test)]
mod tests;
