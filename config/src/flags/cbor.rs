//! Deterministic CBOR (RFC 8949, 4.2.1) of JSON values, written straight into a hash.
//!
//! Lengths and numbers take their shortest form, whole floats become integers, and keys are sorted
//! by their encoding.

use serde_json::Value as Json;

use super::hash::Murmur3;
use super::logic::datum::{Datum, List, Number};

/// Where bytes go.
pub trait Sink {
    /// Takes bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Murmur3 {
    fn put(&mut self, bytes: &[u8]) {
        self.write(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Writes a value.
pub fn encode(out: &mut impl Sink, value: &Datum<'_>) {
    match value {
        Datum::Null => out.put(&[0xf6]),
        Datum::Bool(truth) => out.put(&[if *truth { 0xf5 } else { 0xf4 }]),
        Datum::Number(number) => encode_number(out, *number),
        Datum::Text(text) => encode_text(out, text),
        Datum::List(List::Borrowed(items)) => {
            head(out, ARRAY, items.len() as u64);
            items.iter().for_each(|item| encode_json(out, item));
        }
        Datum::List(items) => {
            head(out, ARRAY, items.len() as u64);
            items.iter().for_each(|item| encode(out, &item));
        }
        Datum::Object(object) => encode_map(out, object.fields()),
    }
}

/// Writes the array of two texts that `fractional` hashes without a key of its own.
pub fn encode_pair(out: &mut impl Sink, first: &str, second: &str) {
    head(out, ARRAY, 2);
    encode_text(out, first);
    encode_text(out, second);
}

fn encode_json(out: &mut impl Sink, value: &Json) {
    encode(out, &Datum::from(value));
}

fn encode_map(out: &mut impl Sink, fields: &serde_json::Map<String, Json>) {
    // All keys are texts: by encoding means shorter ones first, then by bytes.
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    head(out, MAP, sorted.len() as u64);
    for (key, value) in sorted {
        encode_text(out, key);
        encode_json(out, value);
    }
}

fn encode_text(out: &mut impl Sink, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.put(text.as_bytes());
}

fn encode_number(out: &mut impl Sink, number: Number) {
    match number {
        Number::Int(number) => encode_integer(out, number),
        Number::Large(number) => head(out, UNSIGNED, number),
        Number::Float(number) => {
            // Whole floats up to 2^64 are integers.
            const LIMIT: f64 = 18_446_744_073_709_551_616.0;
            if let Some(number) = Number::Float(number).as_whole() {
                encode_integer(out, number);
            } else if number.fract() == 0.0 && number > 0.0 && number < LIMIT {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, positive and below 2^64"
                )]
                head(out, UNSIGNED, number as u64);
            } else {
                encode_float(out, number);
            }
        }
    }
}

fn encode_integer(out: &mut impl Sink, number: i64) {
    match u64::try_from(number) {
        Ok(number) => head(out, UNSIGNED, number),
        // -1 - n for negative n, without overflow at the least integer.
        Err(_) => head(out, NEGATIVE, (!number).cast_unsigned()),
    }
}

fn encode_float(out: &mut impl Sink, number: f64) {
    if number.is_nan() {
        return out.put(&[0xf9, 0x7e, 0x00]);
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be exact below")]
    let single = number as f32;
    if f64::from(single).to_bits() != number.to_bits() {
        out.put(&[0xfb]);
        return out.put(&number.to_be_bytes());
    }
    if let Some(half) = half_bits(single) {
        out.put(&[0xf9]);
        return out.put(&half.to_be_bytes());
    }
    out.put(&[0xfa]);
    out.put(&single.to_be_bytes());
}

/// The bits of a float in 16 bits, if it fits exactly.
fn half_bits(number: f32) -> Option<u16> {
    let bits = number.to_bits();
    let sign = u16::try_from((bits >> 16) & 0x8000).ok()?;
    let exponent = i32::try_from((bits >> 23) & 0xff).ok()? - 127;
    let fraction = bits & 0x007f_ffff;
    if bits & 0x7fff_ffff == 0 {
        return Some(sign);
    }
    if exponent == 128 {
        return (fraction == 0).then_some(sign | 0x7c00);
    }
    if (-14..=15).contains(&exponent) {
        let half_exponent = u16::try_from(exponent + 15).ok()? << 10;
        let half_fraction = u16::try_from(fraction >> 13).ok()?;
        return (fraction.trailing_zeros() >= 13).then_some(sign | half_exponent | half_fraction);
    }
    if (-24..-14).contains(&exponent) {
        let significand = fraction | 0x0080_0000;
        let shift = u32::try_from(-1 - exponent).ok()?;
        let exact = significand.trailing_zeros() >= shift;
        return exact.then(|| u16::try_from(significand >> shift).ok().map(|s| sign | s)).flatten();
    }
    None
}

fn head(out: &mut impl Sink, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.put(&[major | bytes[7]]),
        24..=0xff => out.put(&[major | 24, bytes[7]]),
        0x100..=0xffff => out.put(&[major | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.put(&[major | 26]);
            out.put(&bytes[4..]);
        }
        0x1_0000_0000.. => {
            out.put(&[major | 27]);
            out.put(&bytes);
        }
    }
}
