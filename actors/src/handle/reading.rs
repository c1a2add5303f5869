//! Reading decisions back: explanation, replay, search.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use verdict_config::EvaluationVersion;
use verdict_config::model::ModelTask;
use verdict_decisions::decision::REDACTED;
use verdict_decisions::replay::{RecomputedOutput, replay_calls};
use verdict_decisions::{
    CompiledFlow, DecisionRecord, ExplainOptions, Explanation, ModelCall, ModelFailure,
    ReplayError, ReplayOptions, Replayed, explain, replay,
};
use verdict_neural::Contribution;
use verdict_rules::Scratch;

use super::Handle;
use super::outcomes::NewOutcomeInput;
use crate::catalogue::{CatalogueObjects, CompileOptions, compile};
use crate::core::Core;
use crate::decide::pool_error;
use crate::error::RuntimeError;
use crate::journal::{OutcomeTarget, Page, SearchQuery, StoredOutcome};
use crate::serving::ServingState;

/// The parts of a row that an explanation names, a model.
const CONTRIBUTIONS_MAX: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// A decision explained, with what its models read and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The answer as it was sent.
    pub decision: serde_json::Value,
    /// Stage by stage, rule by rule.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// What spoke for the label of each model that answered.
    pub models: Vec<ModelContributions>,
    /// Outcomes that were reported for it, oldest first.
    pub observed: Vec<serde_json::Value>,
}

/// What spoke for and against a model's label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelContributions {
    /// The model's name.
    pub model: Arc<str>,
    /// `classify`, or `scores.KEY`.
    pub stage: Arc<str>,
    /// The label that is explained; `null` for anomaly models.
    pub label: Option<Arc<str>>,
    /// Parts of the row, the weightiest first.
    pub contributions: Vec<Contribution>,
    /// Why there are none.
    pub unavailable: Option<String>,
}

/// A replay with what it was computed from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayReport {
    /// The revision that was rebuilt.
    pub revision: u64,
    /// What came out.
    #[serde(flatten)]
    pub replayed: Replayed,
}

/// A record that was read, with the state of its revision.
#[derive(Clone)]
pub struct Snapshot {
    record: Arc<DecisionRecord>,
    flow: Arc<CompiledFlow>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Snapshot({})", self.record.open.decision_id)
    }
}

impl Handle {
    /// Explains a decision: every rule, the score, the models.
    ///
    /// # Errors
    /// `DecisionNotFound`, `UnitErased`, `ReplayUnavailable`.
    pub async fn explain(
        &self,
        decision_id: &str,
        options: ExplainOptions,
    ) -> Result<Explained, RuntimeError> {
        let _inside = self.enter()?;
        let snapshot = self.snapshot(decision_id).await?;
        let deadline = Instant::now() + PATIENCE;
        let (explanation, calls) = self
            .on_worker(&snapshot, deadline, move |record, flow, scratch| {
                let explanation = explain(record, flow, options, scratch)?;
                Ok((explanation, replay_calls(record, flow, scratch)?))
            })
            .await?;
        let models = self.contributions(&snapshot, calls, options, deadline).await;
        let text = decision_id.to_owned();
        let observed = self.blocking("outcomes of", move |core| outcomes_of(core, &text)).await?;
        let decision = serde_json::from_slice(&snapshot.record.open.answer)
            .map_err(|error| RuntimeError::ReplayUnavailable(error.to_string()))?;
        Ok(Explained { decision, explanation, models, observed })
    }

    /// Computes a decision again as of its revision; with `recompute`, its models' scores too.
    ///
    /// # Errors
    /// `DecisionNotFound`, `UnitErased`, `ReplayUnavailable`.
    pub async fn replay(
        &self,
        decision_id: &str,
        recompute: bool,
    ) -> Result<ReplayReport, RuntimeError> {
        let _inside = self.enter()?;
        let snapshot = self.snapshot(decision_id).await?;
        let deadline = Instant::now() + PATIENCE;
        let recomputed = if recompute {
            let calls = self.on_worker(&snapshot, deadline, replay_calls).await?;
            Some(self.recomputed(calls, deadline).await)
        } else {
            None
        };
        let replayed = self
            .on_worker(&snapshot, deadline, move |record, flow, scratch| {
                let options = ReplayOptions { recomputed: recomputed.as_deref(), tolerance: None };
                replay(record, flow, options, scratch)
            })
            .await?;
        Ok(ReplayReport { revision: snapshot.record.open.revision, replayed })
    }

    /// Decisions by flow, outcome, reason and time, newest first.
    ///
    /// # Errors
    /// A cursor that cannot be read, or the disk.
    pub async fn search(&self, query: SearchQuery) -> Result<Page, RuntimeError> {
        let _inside = self.enter()?;
        self.blocking("search", move |core| Ok(core.recording.journal.search(&query)?)).await
    }

    /// Outcomes of a unit, oldest first.
    ///
    /// # Errors
    /// The disk.
    pub async fn outcomes_of_unit(&self, unit: String) -> Result<Vec<StoredOutcome>, RuntimeError> {
        let _inside = self.enter()?;
        self.blocking("outcomes of", move |core| {
            Ok(core.recording.journal.outcomes_of(OutcomeTarget::Unit(&unit))?)
        })
        .await
    }

    /// Reads a record and finds the flow that decided it, rebuilt if need be.
    async fn snapshot(&self, decision_id: &str) -> Result<Snapshot, RuntimeError> {
        let text = decision_id.to_owned();
        self.blocking("read record", move |core| {
            let (_, record) = core.recording.read(&text)?;
            if record.is_erased() {
                return Err(RuntimeError::UnitErased);
            }
            let evaluation = record.open.replay_evaluation();
            let state = state_at(core, record.open.revision, evaluation)?;
            let missing = || {
                let text = format!("flow {} is not in its revision", record.open.flow);
                RuntimeError::ReplayUnavailable(text)
            };
            let served = state.flows.get(&*record.open.flow).ok_or_else(missing)?;
            Ok(Snapshot { flow: Arc::clone(&served.flow), record: Arc::new(record) })
        })
        .await
    }

    async fn on_worker<T, F>(
        &self,
        snapshot: &Snapshot,
        deadline: Instant,
        work: F,
    ) -> Result<T, RuntimeError>
    where
        T: Send + 'static,
        F: FnOnce(&DecisionRecord, &Arc<CompiledFlow>, &mut Scratch) -> Result<T, ReplayError>
            + Send
            + 'static,
    {
        let Snapshot { record, flow } = snapshot.clone();
        let ran = self.core.rules.run(deadline, move |scratch| work(&record, &flow, scratch));
        ran.await.map_err(pool_error)?.map_err(replay_error)
    }

    async fn recomputed(&self, calls: Vec<ModelCall>, deadline: Instant) -> Vec<RecomputedOutput> {
        let asked = calls.into_iter().map(|call| async move {
            let predicted =
                self.core.inference.predict(&call.content_hash, call.row, deadline).await;
            let output = predicted.map_err(|_| ModelFailure::Failed);
            RecomputedOutput { call: call.call, output }
        });
        futures::future::join_all(asked).await
    }

    async fn contributions(
        &self,
        snapshot: &Snapshot,
        calls: Vec<ModelCall>,
        options: ExplainOptions,
        deadline: Instant,
    ) -> Vec<ModelContributions> {
        let asked = calls.into_iter().filter_map(|call| {
            let stored = snapshot.record.open.calls.get(call.call as usize)?;
            let scores = &stored.result.as_ref().ok()?.bits;
            let (_, model) = snapshot
                .flow
                .models()
                .find(|(_, model)| model.interface.content_hash == call.content_hash)?;
            let label = best_of(scores);
            let name = match model.interface.task {
                ModelTask::Classification => model.interface.labels.get(label).cloned(),
                ModelTask::Anomaly => None,
            };
            Some(async move {
                let explained = self.core.inference.explain(
                    &call.content_hash,
                    call.row,
                    (label, CONTRIBUTIONS_MAX),
                    deadline,
                );
                let (contributions, unavailable) = match explained.await {
                    Ok(contributions) => (shown(contributions, &snapshot.flow, options), None),
                    Err(error) => (Vec::new(), Some(error.to_string())),
                };
                let (model, stage) = (call.model, call.stage);
                ModelContributions { model, stage, label: name, contributions, unavailable }
            })
        });
        futures::future::join_all(asked).await
    }
}

/// The position of the highest score, as bits of a float.
fn best_of(bits: &[u32]) -> usize {
    let scores = bits.iter().map(|bits| f32::from_bits(*bits)).enumerate();
    scores.max_by(|(_, left), (_, right)| left.total_cmp(right)).map_or(0, |(position, _)| position)
}

/// What models read of sensitive fields is shown to those who may see them.
fn shown(
    mut contributions: Vec<Contribution>,
    flow: &CompiledFlow,
    options: ExplainOptions,
) -> Vec<Contribution> {
    for contribution in &mut contributions {
        let slot = flow.schema().slot(&contribution.column);
        if !options.may_see_sensitive && slot.is_none_or(|slot| flow.is_sensitive(slot)) {
            REDACTED.clone_into(&mut contribution.feature);
        }
    }
    contributions
}

/// The state of a revision with rules that evaluate by a version: the served one, one rebuilt before, or
/// one rebuilt from the history.
fn state_at(
    core: &Core,
    revision: u64,
    evaluation: EvaluationVersion,
) -> Result<Arc<ServingState>, RuntimeError> {
    let serving = core.serving.state();
    if serving.revision == revision && serving.evaluation() == evaluation {
        return Ok(serving);
    }
    if let Some(state) = core.rebuilt.get(&(revision, evaluation)) {
        return Ok(state);
    }
    let unavailable = |text: String| RuntimeError::ReplayUnavailable(text);
    let catalogue = core
        .log
        .catalogue()
        .at_revision(revision)
        .map_err(|error| unavailable(error.to_string()))?;
    let options = CompileOptions { limits: core.options.limits, check: false };
    let objects = CatalogueObjects { evaluation, ..CatalogueObjects::from(&catalogue) };
    let compilation = compile(&objects, Some(&serving), options);
    let faults = compilation.report.faults.len();
    let state = compilation.state.map(Arc::new).ok_or_else(|| {
        unavailable(format!("revision {revision} no longer compiles: {faults} faults"))
    })?;
    core.rebuilt.insert((revision, evaluation), Arc::clone(&state));
    Ok(state)
}

fn outcomes_of(core: &Core, decision_id: &str) -> Result<Vec<serde_json::Value>, RuntimeError> {
    let Ok(id) = decision_id.parse() else { return Ok(Vec::new()) };
    let stored = core.recording.journal.outcomes_of(OutcomeTarget::Decision(id))?;
    let read = |stored: StoredOutcome| {
        let mut outcome: NewOutcomeInput = serde_json::from_slice(&stored.body).ok()?;
        outcome.at.get_or_insert(stored.received_at);
        serde_json::to_value(outcome).ok()
    };
    Ok(stored.into_iter().filter_map(read).collect())
}

fn replay_error(error: ReplayError) -> RuntimeError {
    match error {
        ReplayError::UnitErased => RuntimeError::UnitErased,
        ReplayError::WrongFlow | ReplayError::Input(_) | ReplayError::Damaged(_) => {
            RuntimeError::ReplayUnavailable(error.to_string())
        }
    }
}
