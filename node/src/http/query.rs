//! Query strings, read strictly: unknown, repeated and malformed parameters are all told at once.
//!
//! A misspelt filter that is silently ignored answers more than was asked for; so none is ignored.

use std::str::FromStr;

use axum::http::Uri;
use verdict_config::{Code, Fault, Faults, TimestampMs};

use super::problem::{Answer, Problem};

/// The parameters of one request.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
    faults: Faults,
}

impl Query {
    /// Reads the query of a request whose route takes the parameters `known`.
    #[must_use]
    pub fn read(uri: &Uri, known: &[&str]) -> Self {
        let mut query = Self { pairs: Vec::new(), faults: Vec::new() };
        let text = uri.query().unwrap_or_default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => query.add(name, value, known),
                _ => query.fault("", format!("{pair:?} is not percent-encoded UTF-8")),
            }
        }
        query
    }

    fn add(&mut self, name: String, value: String, known: &[&str]) {
        if !known.contains(&name.as_str()) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            self.fault(&name.clone(), format!("no such parameter; there are: {known}"));
        } else if self.pairs.iter().any(|(other, _)| *other == name) {
            self.fault(&name.clone(), "it is given twice".to_owned());
        } else {
            self.pairs.push((name, value));
        }
    }

    /// Notes a fault of a parameter.
    pub fn fault(&mut self, name: &str, message: String) {
        self.faults.push(Fault::new(Code::RequestInvalid, name, message));
    }

    /// A parameter as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    /// A parameter of a type that reads itself from text; `expected` says what it looks like.
    pub fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(name, format!("expected {expected}, got {text:?}"));
        }
        parsed
    }

    /// A number between two bounds, digits only.
    pub fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let text = self.text(name)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
        if number.is_none() {
            self.fault(name, format!("expected a number from {least} to {most}, got {text:?}"));
        }
        number
    }

    /// A point in time.
    pub fn time(&mut self, name: &str) -> Option<TimestampMs> {
        let text = self.text(name)?;
        TimestampMs::parse(&text).map_err(|message| self.fault(name, message)).ok()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, "true or false")
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] with every fault.
    pub fn finish(self) -> Answer<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let told: Vec<String> =
            self.faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
        Err(Problem::new(Code::RequestInvalid, told.join("; ")).with_faults(self.faults))
    }
}

/// Decodes `%41` and `+`; `None` if the result is not UTF-8 or an escape is broken.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    percent_decode(text, true)
}

/// Decodes `%41` in a path segment, where `+` is itself.
#[must_use]
pub fn decode_segment(text: &str) -> Option<String> {
    percent_decode(text, false)
}

fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' if plus_is_space => bytes.push(b' '),
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let uri: Uri = format!("/x?{text}").parse().unwrap();
        let mut query = Query::read(&uri, &["limit", "since", "flow"]);
        query.number("limit", 1, 10);
        query.time("since");
        match query.finish() {
            Ok(()) => Vec::new(),
            Err(problem) => problem.faults().iter().map(|fault| fault.path.clone()).collect(),
        }
    }

    #[test]
    fn every_fault_of_a_query_is_told() {
        assert_eq!(faults(""), Vec::<String>::new());
        assert_eq!(faults("limit=10&flow=a%20b&since=2026-01-31"), Vec::<String>::new());
        assert_eq!(faults("limit=11&lmit=1&since=yesterday"), ["lmit", "limit", "since"]);
        assert_eq!(faults("limit=1&limit=2"), ["limit"]);
        assert_eq!(faults("limit=%2B1"), ["limit"]);
        assert_eq!(faults("flow=%ff"), [""]);
        assert_eq!(faults("flow=%4"), [""]);
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode("a+b%26%C3%A9"), Some("a b&é".to_owned()));
        assert_eq!(decode_segment("a+b%2F"), Some("a+b/".to_owned()));
    }
}
