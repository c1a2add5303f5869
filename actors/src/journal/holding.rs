//! An estimate of how long the journal holds a record, from its bound in bytes and the rate at which it
//! grows now. Records that go before `days_max` go without another sign.

/// The least time that a rate is measured over, in milliseconds: a burst says nothing about days.
const MEASURED_MIN_MS: i64 = 60_000;
/// The time that a rate is measured over at most, in milliseconds: a day with its night.
const MEASURED_MAX_MS: i64 = 86_400_000;
const DAY_MS: f64 = 86_400_000.0;

/// A segment as the estimate needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: u64,
    /// When the first of its records came in; `i64::MAX` where it has none.
    pub first_ms: i64,
}

/// How many days of records `bytes_max` holds at the rate of the newest pieces, at most `days_max`;
/// `None` while too little was measured. `pieces` are in the order of the files.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub fn days_held(pieces: &[Piece], now_ms: i64, bytes_max: u64, days_max: u32) -> Option<f64> {
    let mut bytes = 0u64;
    let mut since = i64::MAX;
    for piece in pieces.iter().rev().filter(|piece| piece.first_ms != i64::MAX) {
        if since != i64::MAX && now_ms.saturating_sub(since) >= MEASURED_MAX_MS {
            break;
        }
        bytes = bytes.saturating_add(piece.bytes);
        since = since.min(piece.first_ms);
    }
    let measured = now_ms.saturating_sub(since);
    if since == i64::MAX || measured < MEASURED_MIN_MS || bytes == 0 {
        return None;
    }
    let bytes_a_day = bytes as f64 / measured as f64 * DAY_MS;
    Some((bytes_max as f64 / bytes_a_day).min(f64::from(days_max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn check(pieces: &[(u64, i64)], now_ms: i64, expected: Option<f64>) {
        let pieces: Vec<Piece> = pieces
            .iter()
            .map(|(bytes, first_ms)| Piece { bytes: *bytes, first_ms: *first_ms })
            .collect();
        let days = days_held(&pieces, now_ms, 2 << 30, 90);
        let close = match (days, expected) {
            (Some(days), Some(expected)) => (days - expected).abs() < 0.01,
            (None, None) => true,
            _ => false,
        };
        assert!(close, "{pieces:?}: {days:?}, expected {expected:?}");
    }

    #[test]
    fn days_come_of_the_bound_and_the_rate() {
        // Ten payments of 3.8 kB a second fill 2 GiB in some 15.7 hours.
        let rate = 38_000u64 * 3_600;
        check(&[(rate, 0)], HOUR, Some(0.654));
        check(&[(rate / 2, 0), (rate / 2, HOUR / 2)], HOUR, Some(0.654));
        check(&[(1_000, 0)], HOUR, Some(90.0));
        // A busy day long ago does not count.
        check(&[(rate * 100, 0), (1_000, 240 * HOUR)], 300 * HOUR, Some(90.0));
    }

    #[test]
    fn a_moment_or_nothing_says_nothing() {
        check(&[], HOUR, None);
        check(&[(4_096, i64::MAX)], HOUR, None);
        check(&[(1 << 20, HOUR - 1_000)], HOUR, None);
        check(&[(1 << 20, HOUR + 1_000)], HOUR, None);
    }
}
