//! The models of one decision: every call at once, then those that stand in for failed ones.

use std::time::{Duration, Instant};

use verdict_config::Code;
use verdict_decisions::{ModelCall, ModelFailure, Session};

use crate::core::Core;
use crate::inference::InferenceError;

/// Rounds of calls: selections, then fallbacks. One more than that is never needed.
const ROUNDS_MAX: usize = 3;

impl Core {
    /// Asks the models until the session wants no more. A model that fails, is late or overloaded
    /// is a failure that the flow's policy answers, never the request's.
    pub(crate) async fn ask_models(
        &self,
        mut session: Box<Session>,
        mut calls: Vec<ModelCall>,
        deadline: Instant,
    ) -> Box<Session> {
        let started = Instant::now();
        for _ in 0..ROUNDS_MAX {
            if calls.is_empty() {
                break;
            }
            let asked = calls.into_iter().map(|call| async move {
                let until = self.model_deadline(deadline);
                let output = self.inference.predict(&call.content_hash, call.row, until).await;
                (call.call, output.map_err(|error| self.model_failure(&call.model, &error)))
            });
            for (call, output) in futures::future::join_all(asked).await {
                session.set_output(call, output);
            }
            calls = session.model_calls();
        }
        self.metrics.models.record(started.elapsed().as_secs_f64());
        session
    }

    /// A model may take its own timeout, but must leave a quarter of what remains of the request
    /// for its fallback and the conclusion.
    fn model_deadline(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let remaining = deadline.saturating_duration_since(now);
        let share = remaining.saturating_sub((remaining / 4).min(Duration::from_millis(250)));
        now + share.min(self.options.model_timeout)
    }

    fn model_failure(&self, model: &str, error: &InferenceError) -> ModelFailure {
        let failure = match error {
            InferenceError::Overloaded | InferenceError::CircuitOpen => ModelFailure::Overloaded,
            InferenceError::DeadlineExceeded => ModelFailure::TimedOut,
            InferenceError::Failed(error) if error.code == Code::ModelNotFound => {
                ModelFailure::Absent
            }
            InferenceError::Failed(_) | InferenceError::Panicked(_) | InferenceError::Stopped => {
                ModelFailure::Failed
            }
        };
        metrics::counter!(
            "verdict_model_failures_total",
            "model" => model.to_owned(),
            "failure" => failure.as_str()
        )
        .increment(1);
        failure
    }
}
