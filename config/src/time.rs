//! Points in time as arguments: milliseconds since the Unix epoch, UTC.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z; written in text as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TimestampMs(pub i64);

/// The last day that people write for "for ever". No instant of it is within jiff's range, which ends
/// with 9999-12-30 so that every offset fits.
const LAST_DAYS: [&str; 2] = ["9999-12-31", "9999-12-30"];

impl TimestampMs {
    /// "For ever": the last instant that every program of the cluster can read. `9999-12-31`, with
    /// any time of day and offset, is read as this.
    pub const FOR_EVER: Self = Self(253_402_207_200_000);

    /// Parses RFC 3339 (`2026-01-31T12:00:00Z`, any offset); also `2026-01-31`, its midnight in UTC.
    /// `9999-12-31` is [`Self::FOR_EVER`].
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = instant(text).or_else(|| {
            let (last, rest) =
                LAST_DAYS.iter().find_map(|day| Some((*day, text.strip_prefix(day)?)))?;
            // The same text in a year within the range shows whether it is a time at all.
            instant(&format!("9995{}{rest}", &last[4..])).map(|_| Self::FOR_EVER)
        });
        found.ok_or_else(|| {
            let shown = crate::csv::shown(text);
            format!("{shown} is no time; write it like 2026-01-31T12:00:00Z or 2026-01-31")
        })
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

fn instant(text: &str) -> Option<TimestampMs> {
    let midnight = || (text.len() == 10).then(|| format!("{text}T00:00:00Z").parse().ok())?;
    let at: jiff::Timestamp = text.parse().ok().or_else(midnight)?;
    Some(TimestampMs(at.as_millisecond()).min(TimestampMs::FOR_EVER))
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(formatter, "{at}"),
            Err(_) => write!(formatter, "{} ms", self.0),
        }
    }
}

impl Serialize for TimestampMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for TimestampMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::parse(&text).map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

impl schemars::JsonSchema for TimestampMs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_means_for_ever() {
        for text in [
            "9999-12-31",
            "9999-12-31T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59+14:00",
            "9999-12-31T23:59:59-12:00",
            "9999-12-30T22:00:00.5Z",
            "9999-12-30T23:30:00Z",
            "9999-12-30T23:30:00-05:00",
        ] {
            assert_eq!(TimestampMs::parse(text), Ok(TimestampMs::FOR_EVER), "{text}");
        }
        let written = TimestampMs::FOR_EVER.to_string();
        assert_eq!(written, "9999-12-30T22:00:00Z");
        assert_eq!(TimestampMs::parse(&written), Ok(TimestampMs::FOR_EVER));
        for text in ["9999-12-31x", "9999-12-32", "9999-12-31T25:00:00Z", "9999-12-31 soon"] {
            assert!(TimestampMs::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn early_times_are_read() {
        for text in ["0001-01-01", "0001-01-01T00:00:00+14:00", "0000-01-01", "1969-12-31"] {
            let at = TimestampMs::parse(text).unwrap();
            assert_eq!(TimestampMs::parse(&at.to_string()), Ok(at), "{text}");
        }
    }
}
