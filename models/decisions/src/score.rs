//! Points to a score, a score to a level: integer arithmetic that no order of rules can change.

use verdict_config::definition::{Level, LevelThresholds};

use crate::ensemble::PROBABILITY_MIN;

/// The highest score.
pub const SCORE_MAX: i32 = 1_000;

/// A sum in the making. Sums, the highest floor and the lowest cap commute, so hits may come in any
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Base plus points, without limits.
    pub points: i64,
    /// The highest floor.
    pub floor: Option<i32>,
    /// The lowest cap.
    pub cap: Option<i32>,
}

impl Tally {
    /// A tally that starts at a base.
    #[must_use]
    pub fn new(base: i32) -> Self {
        Self { points: i64::from(base), floor: None, cap: None }
    }

    /// Counts points, a floor and a cap.
    pub fn add(&mut self, points: Option<i32>, floor: Option<i32>, cap: Option<i32>) {
        self.points = self.points.saturating_add(i64::from(points.unwrap_or(0)));
        self.floor = self.floor.max(floor);
        self.cap = match (self.cap, cap) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// The score: caps first, floors over them, then 0 to [`SCORE_MAX`].
    #[must_use]
    pub fn score(&self) -> i32 {
        let mut score = self.points;
        if let Some(cap) = self.cap {
            score = score.min(i64::from(cap));
        }
        if let Some(floor) = self.floor {
            score = score.max(i64::from(floor));
        }
        i32::try_from(score.clamp(0, i64::from(SCORE_MAX))).unwrap_or(SCORE_MAX)
    }
}

/// The level of a score.
#[must_use]
pub const fn level(thresholds: &LevelThresholds, score: i32) -> Level {
    if score >= thresholds.critical {
        Level::Critical
    } else if score >= thresholds.high {
        Level::High
    } else if score >= thresholds.medium {
        Level::Medium
    } else {
        Level::Low
    }
}

/// Points of a calibrated probability: `(logit(p) - offset) * points_per_logit`, rounded half away
/// from zero and limited to `points_max` either way. `p` is kept [`PROBABILITY_MIN`] away from 0 and 1.
#[must_use]
pub fn logit_points(probability: f64, points_per_logit: f64, offset: f64, points_max: i32) -> i32 {
    let probability = probability.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    let logit = (probability / (1.0 - probability)).ln();
    let limit = f64::from(points_max.max(0));
    let points = ((logit - offset) * points_per_logit).clamp(-limit, limit).round();
    #[expect(clippy::cast_possible_truncation, reason = "limited to the range of an i32; NaN is 0")]
    let points = points as i32;
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: i32, hits: &[(i32, Option<i32>, Option<i32>)], expected: i32) {
        let mut tally = Tally::new(base);
        for (points, floor, cap) in hits {
            tally.add(Some(*points), *floor, *cap);
        }
        let mut reverse = Tally::new(base);
        for (points, floor, cap) in hits.iter().rev() {
            reverse.add(Some(*points), *floor, *cap);
        }
        assert_eq!(tally, reverse);
        assert_eq!(tally.score(), expected, "{base} {hits:?}");
    }

    #[test]
    fn floors_win_over_caps() {
        check(0, &[], 0);
        check(100, &[(200, None, None), (-50, None, None)], 250);
        check(0, &[(900, None, Some(500))], 500);
        check(0, &[(900, None, Some(500)), (0, None, Some(700))], 500);
        check(0, &[(10, Some(600), None), (0, Some(300), None)], 600);
        check(0, &[(0, Some(600), None), (0, None, Some(200))], 600);
        check(0, &[(1_000, None, None), (1_000, None, None)], 1_000);
        check(0, &[(-1_000, None, None)], 0);
    }

    #[test]
    fn levels_start_at_their_thresholds() {
        let thresholds = LevelThresholds { medium: 300, high: 600, critical: 850 };
        for (score, expected) in [
            (0, Level::Low),
            (299, Level::Low),
            (300, Level::Medium),
            (599, Level::Medium),
            (600, Level::High),
            (849, Level::High),
            (850, Level::Critical),
            (1_000, Level::Critical),
        ] {
            assert_eq!(level(&thresholds, score), expected, "{score}");
        }
    }

    #[test]
    fn logits_give_integer_points() {
        for (probability, per_logit, offset, expected) in [
            (0.5, 100.0, 0.0, 0),
            (0.9, 100.0, 0.0, 220),
            (0.1, 100.0, 0.0, -220),
            (0.9, 100.0, 1.0, 120),
            (1.0, 100.0, 0.0, 400),
            (0.0, 100.0, 0.0, -400),
            (0.9, 0.0, 0.0, 0),
            (f64::NAN, 100.0, 0.0, 0),
        ] {
            assert_eq!(
                logit_points(probability, per_logit, offset, 400),
                expected,
                "{probability}"
            );
        }
    }
}
