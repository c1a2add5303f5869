//! Findings for characters that show nothing: zero-width spaces, soft hyphens, direction marks. They
//! come along when text is copied, and make two texts that look alike differ.

use std::sync::Arc;

use serde_json::Value as Json;
use verdict_config::{ObjectId, ObjectKind};
use verdict_consensus::Object;
use verdict_rules::is_invisible;

use super::Compiler;
use crate::catalogue::ObjectFinding;

/// The most places that are named for one object.
const PLACES_MAX: usize = 5;
/// Keys whose text is for people only.
const FOR_PEOPLE: [&str; 4] = ["comment", "description", "title", "why"];

/// Whether text of an object of a kind is compared with something.
const fn is_compared(kind: ObjectKind) -> bool {
    matches!(
        kind,
        ObjectKind::List
            | ObjectKind::Table
            | ObjectKind::RuleSet
            | ObjectKind::Flow
            | ObjectKind::Flag
            | ObjectKind::Segment
    )
}

/// The first character of a text that shows nothing and is not part of how its script is written.
fn first_invisible(text: &str) -> Option<char> {
    if text.is_ascii() {
        return None;
    }
    let mut before = ' ';
    for char in text.chars() {
        // Joiners belong to the spelling of Persian and of Indian languages, and to pictures, as do the
        // selectors of variants.
        let joins = matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
        let spelled = joins && !before.is_ascii() && !is_latin(before);
        if is_invisible(char) && !spelled {
            return Some(char);
        }
        before = char;
    }
    None
}

fn is_latin(char: char) -> bool {
    matches!(char, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

/// Adds the places of texts with such characters, with the first of them.
fn places(json: &Json, path: &str, found: &mut Vec<(String, char)>) {
    if found.len() > PLACES_MAX {
        return;
    }
    match json {
        Json::String(text) => found.extend(first_invisible(text).map(|c| (path.to_owned(), c))),
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, &format!("{path}[{at}]"), found);
            }
        }
        Json::Object(members) => {
            for (key, member) in members.iter().filter(|(key, _)| !FOR_PEOPLE.contains(&&***key)) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                found.extend(first_invisible(key).map(|c| (path.clone(), c)));
                places(member, &path, found);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn finding_of(id: &ObjectId, object: &Object) -> Option<ObjectFinding> {
    // Bodies are compact JSON, which writes such characters as they are.
    let text = std::str::from_utf8(&object.body).ok()?;
    first_invisible(text)?;
    let mut found = Vec::new();
    places(&serde_json::from_str(text).ok()?, "", &mut found);
    let (first, char) = found.first()?.clone();
    let others: Vec<String> =
        found.iter().skip(1).take(PLACES_MAX - 1).map(|(path, _)| path.clone()).collect();
    let more = match (others.is_empty(), found.len() > PLACES_MAX) {
        (true, _) => String::new(),
        (false, false) => format!("; also in {}", others.join(", ")),
        (false, true) => format!("; also in {} and more", others.join(", ")),
    };
    let message = format!(
        "the text holds a character that shows nothing (U+{:04X}): write the text again without it{more}",
        u32::from(char)
    );
    Some(ObjectFinding::new(id.clone(), "invisible", first, message))
}

impl Compiler<'_> {
    /// Reports the changed objects that hold such characters.
    pub(super) fn report_invisible(&mut self) {
        let changed = self.changed.iter().filter(|changed| is_compared(changed.key.kind));
        let found = changed.filter_map(|changed| {
            let object: &Arc<Object> = changed.after?;
            finding_of(changed.key, object)
        });
        let found: Vec<ObjectFinding> = found.collect();
        self.report.findings.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use verdict_config::ObjectName;

    use super::*;

    fn found(kind: ObjectKind, body: &Json) -> Option<(String, String)> {
        let id = ObjectId { kind, name: ObjectName::new(kind, "x").unwrap() };
        let object = Object::new(id.clone(), body.to_string().into_bytes().into(), 1);
        finding_of(&id, &object).map(|finding| (finding.path, finding.message))
    }

    #[test]
    fn texts_that_are_compared_are_looked_through() {
        let list = serde_json::json!({"entries": [
            {"value": "Acme", "comment": "a\u{200b}b"},
            {"value": "Ac\u{ad}me"},
            {"value": "B\u{202e}", "comment": null},
        ]});
        let (path, message) = found(ObjectKind::List, &list).unwrap();
        assert_eq!(path, "entries[1].value");
        assert!(message.contains("U+00AD") && message.contains("also in entries[2].value"));
        let flag = serde_json::json!({"variants": {"on\u{200b}": true}});
        assert_eq!(found(ObjectKind::Flag, &flag).unwrap().0, "variants.on\u{200b}");
        let many = serde_json::json!(vec!["\u{feff}"; 9]);
        assert!(found(ObjectKind::Table, &many).unwrap().1.ends_with("[4] and more"));
    }

    #[test]
    fn joiners_that_belong_to_a_script_are_not_reported() {
        let plain =
            serde_json::json!(["می\u{200c}خواهم", "क्\u{200d}ष", "\u{2764}\u{fe0f}", "é ß 賭"]);
        assert_eq!(found(ObjectKind::List, &plain), None);
        let wrong = serde_json::json!(["ca\u{200d}sino"]);
        assert!(found(ObjectKind::List, &wrong).is_some());
    }
}
