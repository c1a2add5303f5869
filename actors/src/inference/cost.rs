//! How long a batch takes: `seconds = fixed + per_row * rows`, fitted to what was seen.
//!
//! Weighted least squares with exponential forgetting, so that a machine that becomes busy is
//! noticed within some tens of batches. The estimate serves the deadline guard: a row that cannot
//! be answered in time is shed before it costs anything.

use std::time::Duration;

/// What an older batch still counts after each newer one.
const FORGETTING: f64 = 0.95;
/// Batches before the fit is believed.
const BATCHES_MIN: u32 = 4;

/// The fit of one model.
#[derive(Debug, Clone, Default)]
pub struct BatchCost {
    batches: u32,
    weight: f64,
    rows: f64,
    seconds: f64,
    rows_squared: f64,
    rows_seconds: f64,
}

impl BatchCost {
    /// Records a batch.
    pub fn record(&mut self, rows: usize, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a batch has few rows")]
        let (rows, seconds) = (rows as f64, took.as_secs_f64());
        self.batches = self.batches.saturating_add(1);
        self.weight = self.weight.mul_add(FORGETTING, 1.0);
        self.rows = self.rows.mul_add(FORGETTING, rows);
        self.seconds = self.seconds.mul_add(FORGETTING, seconds);
        self.rows_squared = self.rows_squared.mul_add(FORGETTING, rows * rows);
        self.rows_seconds = self.rows_seconds.mul_add(FORGETTING, rows * seconds);
    }

    /// The estimate for a batch of `rows`; zero while too little was seen.
    #[must_use]
    pub fn estimate(&self, rows: usize) -> Duration {
        if self.batches < BATCHES_MIN {
            return Duration::ZERO;
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch has few rows")]
        let rows = rows as f64;
        let spread = self.weight.mul_add(self.rows_squared, -(self.rows * self.rows));
        // Batches of one size only: all that is known is their mean.
        let per_row = if spread > 1e-9 {
            (self.weight.mul_add(self.rows_seconds, -(self.rows * self.seconds)) / spread).max(0.0)
        } else {
            0.0
        };
        let fixed = per_row.mul_add(-self.rows, self.seconds) / self.weight;
        let seconds = per_row.mul_add(rows, fixed.max(0.0));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_cost_is_found() {
        let mut cost = BatchCost::default();
        assert_eq!(cost.estimate(8), Duration::ZERO);
        for rows in [1usize, 4, 16, 2, 8, 32, 1, 3] {
            cost.record(rows, Duration::from_micros(200 + 50 * rows as u64));
        }
        let error = cost.estimate(10).as_secs_f64() - 700e-6;
        assert!(error.abs() < 1e-6, "{error}");
    }

    #[test]
    fn batches_of_one_size_give_their_mean() {
        let mut cost = BatchCost::default();
        for _ in 0..10 {
            cost.record(1, Duration::from_micros(300));
        }
        let error = cost.estimate(1).as_secs_f64() - 300e-6;
        assert!(error.abs() < 1e-9, "{error}");
    }
}
