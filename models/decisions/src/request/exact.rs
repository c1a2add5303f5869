//! Numbers of an input that a float does not keep.
//!
//! A JSON number becomes a 64-bit float, which keeps 15 digits of any number and no more. A decimal
//! field holds 28. So a body with a long number is read a second time for the text of its numbers;
//! other bodies cost nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use verdict_config::number::is_kept_by_float;

/// The digits of any decimal number that a 64-bit float keeps.
pub(super) const FLOAT_DIGITS: usize = 15;

#[derive(Deserialize)]
struct RawBody<'b> {
    #[serde(borrow)]
    input: HashMap<Cow<'b, str>, &'b RawValue>,
}

#[derive(Deserialize)]
struct RawBatch<'b> {
    #[serde(borrow)]
    items: Vec<&'b RawValue>,
}

/// The numbers of one body. Bodies come here after they were read without a fault.
pub(super) fn of_body(bytes: &[u8]) -> BTreeMap<String, Box<str>> {
    let Ok(body) = serde_json::from_slice::<RawBody<'_>>(bytes) else {
        return BTreeMap::new();
    };
    let is_lost = |text: &str| {
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let is_whole = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
        is_number
            && !is_whole
            && !text.parse::<f64>().is_ok_and(|number| is_kept_by_float(text, number))
    };
    let numbers = body.input.into_iter().map(|(name, raw)| (name, raw.get()));
    numbers
        .filter(|(_, text)| is_lost(text))
        .map(|(name, text)| (name.into_owned(), text.into()))
        .collect()
}

/// The numbers of each body of a batch.
pub(super) fn of_batch(bytes: &[u8]) -> Vec<BTreeMap<String, Box<str>>> {
    let Ok(batch) = serde_json::from_slice::<RawBatch<'_>>(bytes) else { return Vec::new() };
    batch.items.iter().map(|item| of_body(item.get().as_bytes())).collect()
}
