//! Canonical JSON: one text for one value, so that bodies can be compared and hashed.
//!
//! Keys are sorted by their bytes, nothing is written between tokens, numbers keep the text that
//! they were sent with where JSON can hold it (`1` and `1.0` differ), and `null` members of objects
//! are left out, because in a request `null` means absent.

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

/// Writes a value in canonical form.
///
/// Recursion is bounded by the depth of the value; bodies are refused beyond
/// [`crate::JSON_DEPTH_MAX`] before they get here.
pub fn write_json(out: &mut Vec<u8>, value: &Json) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Number(number) => write_number(out, number),
        Json::String(text) => write_text(out, text),
        Json::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_json(out, item);
            }
            out.push(b']');
        }
        Json::Object(members) => write_object(out, members.iter()),
    }
}

/// Writes members as an object in canonical form, in whatever order they come.
pub fn write_object<'a>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a String, &'a Json)>) {
    let mut sorted: smallvec::SmallVec<[(&String, &Json); 32]> =
        members.filter(|(_, value)| !value.is_null()).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(b.0));
    out.push(b'{');
    for (position, (key, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_text(out, key);
        out.push(b':');
        write_json(out, value);
    }
    out.push(b'}');
}

/// Canonical text of an object.
#[must_use]
pub fn object_bytes(members: &Map<String, Json>) -> Vec<u8> {
    let mut out = Vec::with_capacity(members.len() * 24);
    write_object(&mut out, members.iter());
    out
}

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 as 64 hexadecimal digits.
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
    text
}

pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail, and a string always has a JSON form.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.extend_from_slice(b"\"\"");
    }
}

fn write_number(out: &mut Vec<u8>, number: &serde_json::Number) {
    if serde_json::to_writer(&mut *out, number).is_err() {
        out.push(b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: &str) {
        let value: Json = serde_json::from_str(given).unwrap();
        let mut out = Vec::new();
        write_json(&mut out, &value);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{given}");
    }

    #[test]
    fn one_text_for_one_value() {
        check(r#"{ "b": 1, "a": [ true, null, "x\ty" ] }"#, r#"{"a":[true,null,"x\ty"],"b":1}"#);
        check(r#"{"a":null,"b":{"d":1.0,"c":1}}"#, r#"{"b":{"c":1,"d":1.0}}"#);
        check(r#"["é","\u00e9"]"#, r#"["é","é"]"#);
        check("{}", "{}");
    }

    #[test]
    fn digests_are_known() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
