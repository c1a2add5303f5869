//! One decision from request to record.
//!
//! ```text
//! gate, deadline, pinned state
//!   -> request id known? its first answer (of concurrent requests with one id, one decides)
//!   -> begin: facts, flags -> windows (a read of shared memory)
//!   -> rules worker: rules, and the conclusion too where no model is needed      one hop
//!   -> models, all calls at once; then those that stand in for failed ones       one hop a batch
//!   -> rules worker: late rules and the conclusion, where models ran             one hop
//!   -> journal: written before the answer (async), or synced before it (durable)
//! ```
//!
//! A decision without a model makes one hop. A panic anywhere costs this request: rules and the
//! conclusion run on workers that catch it, models on compute threads that catch it, and the rest
//! under the catch of [`caught`].

mod answer;
mod models;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tracing::Instrument;
use verdict_config::TimestampMs;
use verdict_decisions::{
    BeginOptions, DecideRequest, Decided, ModelCall, RulesFailure, RulesRefused, Session,
};
use verdict_rules::Scratch;

pub use answer::Answer;

use crate::core::Core;
use crate::error::RuntimeError;
use crate::journal::{DecisionId, RequestGuard};
use crate::monitoring::Counted;
use crate::pool::{Done, PoolError};
use crate::recording::{Origin, ReadSeries, Sealing, Turn};
use crate::serving::{ServedFlow, ServingState};
use crate::spawn::panic_text;

/// When a request came in and when its answer must be there.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// By the wall clock, for the record.
    pub received_at: TimestampMs,
    /// By the monotonic clock, for `took_us`.
    pub received: Instant,
    /// The end of its patience.
    pub deadline: Instant,
}

impl Timing {
    /// A request that comes in now and may take so long.
    #[must_use]
    pub fn starting_now(limit: std::time::Duration) -> Self {
        let received = Instant::now();
        Self { received_at: crate::clock::now(), received, deadline: received + limit }
    }

    fn took_us(&self) -> u64 {
        u64::try_from(self.received.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Runs a request so that a panic in it becomes its own internal error.
pub(crate) async fn caught<T>(
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let text = panic_text(&*panic);
            metrics::counter!("verdict_task_panics_total", "task" => "request").increment(1);
            tracing::error!(panic = text, "a request panicked");
            Err(RuntimeError::Internal("a handler panicked".to_owned()))
        }
    }
}

/// Decides one request against one state.
pub(crate) async fn decide(
    core: &Core,
    state: &Arc<ServingState>,
    flow: &str,
    request: DecideRequest,
    timing: Timing,
) -> Result<Answer, RuntimeError> {
    let Some(served) = state.flows.get(flow) else {
        return Err(RuntimeError::FlowNotFound(flow.chars().take(80).collect()));
    };
    // Spans name the flow and never the input.
    let span = tracing::debug_span!("decide", flow, revision = state.revision);
    let decision = Decision { core, state, served, timing };
    let result = decision.run(request).instrument(span).await;
    if let Err(error) = &result {
        let name = served.flow.name();
        core.monitoring.failed(name, timing.received_at);
        metrics::counter!(
            "verdict_decision_errors_total",
            "flow" => Arc::clone(name),
            "code" => error.code().as_str()
        )
        .increment(1);
    }
    result
}

/// What the first hop came to.
enum FirstStage {
    /// No model was needed.
    Decided(Box<Decided>),
    /// Models are to be asked.
    Models(Box<Session>, Vec<ModelCall>),
    /// The flow does not decide without its rules.
    Refused(RulesRefused),
}

struct Decision<'a> {
    core: &'a Core,
    state: &'a Arc<ServingState>,
    served: &'a Arc<ServedFlow>,
    timing: Timing,
}

impl Decision<'_> {
    async fn run(&self, request: DecideRequest) -> Result<Answer, RuntimeError> {
        let Some(request_id) = &request.request_id else {
            return self.decide_anew(request, None).await;
        };
        let name = self.served.flow.name();
        let body_sha256 = request.body_sha256();
        let turn = self.core.recording.turn(name, request_id, &body_sha256);
        match tokio::time::timeout_at(self.timing.deadline.into(), turn).await {
            Err(_) => Err(RuntimeError::DeadlineExceeded),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Turn::Mine(guard))) => self.decide_anew(request, Some(guard)).await,
            Ok(Ok(Turn::Known(answer))) => {
                metrics::counter!("verdict_decision_retries_total").increment(1);
                Ok(*answer)
            }
        }
    }

    /// Decides. The guard gives the request id back if no record comes of it.
    async fn decide_anew(
        &self,
        request: DecideRequest,
        guard: Option<RequestGuard>,
    ) -> Result<Answer, RuntimeError> {
        let id = self.core.recording.journal.next_id();
        #[cfg(not(verdict_bug = "mixed_revision"))]
        let flags = &self.state.flags;
        #[cfg(verdict_bug = "mixed_revision")]
        let flags = &self.core.serving.flags_of(self.state);
        let mut session = self.served.flow.begin(BeginOptions {
            request,
            flags,
            region: self.core.region_in(self.state),
            id: id.to_string().into(),
            received_at: self.timing.received_at,
            revision: self.state.revision,
            snoozes: &[],
        })?;
        let series = self.read_windows(&mut session);
        let decided = match self.first_stage(session).await? {
            FirstStage::Decided(decided) => decided,
            FirstStage::Refused(refused) => return Err(refused_error(refused)),
            FirstStage::Models(session, calls) => {
                let session = self.core.ask_models(session, calls, self.timing.deadline).await;
                self.conclude(session).await?
            }
        };
        self.record(id, *decided, Origin { request: guard, series }).await
    }

    fn read_windows(&self, session: &mut Session) -> ReadSeries {
        if session.window_queries().is_empty() {
            return ReadSeries::new();
        }
        let started = Instant::now();
        let (values, series) = self.core.recording.windows(session);
        session.set_windows(values, 0);
        if self.served.windows.get().is_some_and(|windows| windows.is_partial(session)) {
            session.mark_windows_partial();
        }
        self.core.metrics.windows.record(started.elapsed().as_secs_f64());
        series
    }

    async fn first_stage(&self, mut session: Session) -> Result<FirstStage, RuntimeError> {
        let started = Instant::now();
        let permit = match self.core.rules.admit() {
            Ok(permit) => permit,
            Err(_) => return self.without_rules(session),
        };
        let ran = permit.run(self.timing.deadline, move |scratch: &mut Scratch| {
            let job = session.rules_job();
            let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
                #[cfg(test)]
                crate::tests::fault_in_rules(&session);
                job.run(scratch)
            }));
            let (found, panic) = match ran {
                Ok(found) => (Ok(found), None),
                Err(panic) => (Err(RulesFailure::Failed), Some(panic_text(&*panic))),
            };
            if panic.is_some() {
                // Whatever the panic left half done must not reach the conclusion.
                *scratch = Scratch::default();
            }
            let result = match session.set_rules(found) {
                Err(refused) => FirstStage::Refused(refused),
                Ok(()) => go_on(session, scratch),
            };
            Done { result, panic }
        });
        let result = ran.await.map_err(pool_error);
        self.core.metrics.rules.record(started.elapsed().as_secs_f64());
        result
    }

    /// The rules pool is full: the flow's policy says whether the request goes on.
    fn without_rules(&self, mut session: Session) -> Result<FirstStage, RuntimeError> {
        match session.set_rules(Err(RulesFailure::Overloaded)) {
            Err(refused) => Ok(FirstStage::Refused(refused)),
            Ok(()) => Ok(go_on(session, &mut Scratch::default())),
        }
    }

    async fn conclude(&self, session: Box<Session>) -> Result<Box<Decided>, RuntimeError> {
        let permit = self.core.rules.admit_always();
        let concluding = permit.run(self.timing.deadline, move |scratch: &mut Scratch| Done {
            result: Box::new(session.conclude(scratch)),
            panic: None,
        });
        concluding.await.map_err(pool_error)
    }

    async fn record(
        &self,
        id: DecisionId,
        decided: Decided,
        origin: Origin,
    ) -> Result<Answer, RuntimeError> {
        let flow = self.served.flow.name();
        let took_us = self.timing.took_us();
        let counted = Counted {
            outcome: decided.decision.outcome,
            abstained: !decided.decision.abstained.is_empty(),
            degraded: !decided.decision.degraded.is_empty(),
            took_us,
        };
        let test = decided.decision.test;
        let started = Instant::now();
        let mode = self.served.flow.record_mode();
        let stale = self.core.is_stale();
        let sealing = Sealing { took_us, stale, mode };
        let answer = self.core.recording.append(id, decided, origin, sealing).await?;
        self.core.metrics.journal.record(started.elapsed().as_secs_f64());
        if !test {
            self.core.monitoring.decided(flow, self.timing.received_at, counted);
        }
        let measured = self.served.metrics();
        measured.decided(counted.outcome, test);
        measured.seconds.record(self.timing.received.elapsed().as_secs_f64());
        Ok(answer)
    }
}

/// Plans the models, or concludes where none is needed.
fn go_on(mut session: Session, scratch: &mut Scratch) -> FirstStage {
    let calls = session.model_calls();
    if calls.is_empty() {
        FirstStage::Decided(Box::new(session.conclude(scratch)))
    } else {
        FirstStage::Models(Box::new(session), calls)
    }
}

fn refused_error(refused: RulesRefused) -> RuntimeError {
    match refused.failure {
        RulesFailure::Overloaded => RuntimeError::Overloaded("the rules pool"),
        RulesFailure::Failed => RuntimeError::Internal("a rule panicked".to_owned()),
    }
}

pub(crate) fn pool_error(error: PoolError) -> RuntimeError {
    match error {
        PoolError::Overloaded(_) => RuntimeError::Overloaded("the rules pool"),
        PoolError::DeadlineExceeded => RuntimeError::DeadlineExceeded,
        PoolError::Stopped => RuntimeError::Draining,
        // The text of a panic may hold input: it goes to the tree and the log, not to the client.
        PoolError::Panicked(_) => RuntimeError::Internal("a worker panicked".to_owned()),
    }
}
