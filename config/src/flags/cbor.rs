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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the Python package cbor2 writes in its canonical form, whole floats made integers.
    #[test]
    fn values_have_their_deterministic_encoding() {
        let cases = [
            (r#"null"#, "f6"),
            (r#"true"#, "f5"),
            (r#"false"#, "f4"),
            (r#"0"#, "00"),
            (r#"23"#, "17"),
            (r#"24"#, "1818"),
            (r#"255"#, "18ff"),
            (r#"256"#, "190100"),
            (r#"65535"#, "19ffff"),
            (r#"65536"#, "1a00010000"),
            (r#"4294967295"#, "1affffffff"),
            (r#"4294967296"#, "1b0000000100000000"),
            (r#"18446744073709551615"#, "1bffffffffffffffff"),
            (r#"-1"#, "20"),
            (r#"-24"#, "37"),
            (r#"-25"#, "3818"),
            (r#"-256"#, "38ff"),
            (r#"-257"#, "390100"),
            (r#"-65537"#, "3a00010000"),
            (r#"-4294967297"#, "3b0000000100000000"),
            (r#"-9223372036854775808"#, "3b7fffffffffffffff"),
            (r#"1.0"#, "01"),
            (r#"1.5"#, "f93e00"),
            (r#"-0.0"#, "00"),
            (r#"0.1"#, "fb3fb999999999999a"),
            (r#"3.4028234663852886e+38"#, "fa7f7fffff"),
            (r#"1e+300"#, "fb7e37e43c8800759c"),
            (r#"5.960464477539063e-08"#, "f90001"),
            (r#"65504.0"#, "19ffe0"),
            (r#"65505.5"#, "fa477fe180"),
            (r#"6.103515625e-05"#, "f90400"),
            (r#"1e-07"#, "fb3e7ad7f29abcaf48"),
            (r#"1.8446744073709552e+19"#, "fa5f800000"),
            (r#"-9.223372036854776e+18"#, "3b7fffffffffffffff"),
            (r#"1e+19"#, "1b8ac7230489e80000"),
            (r#""""#, "60"),
            (r#""a""#, "6161"),
            (r#""ü""#, "62c3bc"),
            (
                r#"{"b": 1, "a": [1, 2.0, "x"], "aa": null, "": 0}"#,
                "a4600061618301026178616201626161f6",
            ),
            (r#"[1, [2, {"k": 2.5}]]"#, "82018202a1616bf94100"),
            (
                r#""xxxxxxxxxxxxxxxxxxxxxxxx""#,
                "7818787878787878787878787878787878787878787878787878",
            ),
        ];
        for (text, expected) in cases {
            let value: Json = serde_json::from_str(text).unwrap();
            let mut bytes = Vec::new();
            encode(&mut bytes, &Datum::from(&value));
            assert_eq!(hex::encode(bytes), expected, "{text}");
        }
    }
}
