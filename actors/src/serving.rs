//! What the node serves: one immutable state, all of one catalogue revision.
//!
//! A request pins one [`ServingState`] and never sees another, so no decision mixes two revisions.
//! The publisher builds the next state beside it and swaps; what did not change is shared.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram, counter, histogram};
use serde::Serialize;
use tokio::sync::watch;
use verdict_config::definition::Outcome;
use verdict_config::flags::FlagSet;
use verdict_config::{EvaluationVersion, ObjectId, OrderedMap, TimestampMs};
use verdict_consensus::Object;
use verdict_decisions::{CompiledFlow, ModelInterface};
use verdict_rules::RuleLimits;

use crate::catalogue::{ObjectFault, ObjectFinding, RuleSetTests, TypedObject};
use crate::catalogue::{findings_of_flow, findings_of_set};
use crate::window_ages::FlowWindows;

/// Everything that decides, of one revision.
pub struct ServingState {
    /// The catalogue's revision.
    pub revision: u64,
    /// When that revision was made, by the log's clock.
    pub at: TimestampMs,
    /// The flags.
    pub flags: Arc<FlagSet>,
    /// The flows by name.
    pub flows: Arc<BTreeMap<String, Arc<ServedFlow>>>,
    /// The models by every name that reaches them: their own and their aliases.
    pub models: Arc<BTreeMap<String, Arc<ModelInterface>>>,
    /// Models that flags name and that do not fit the flow that asks.
    pub(crate) misfits: Arc<[ObjectFinding]>,
    /// Where members are, by node id, as the catalogue says it.
    pub regions: BTreeMap<u64, Box<str>>,
    /// The objects that this state was compiled from: what the next one is compared with.
    pub(crate) objects: OrderedMap<ObjectId, Arc<Object>>,
    /// The bodies of those that flows are compiled from, read.
    pub(crate) typed: OrderedMap<ObjectId, TypedObject>,
    /// The bounds that flows were compiled within.
    pub(crate) limits: RuleLimits,
}

impl ServingState {
    /// The version by which the rules of this state evaluate.
    #[must_use]
    pub const fn evaluation(&self) -> EvaluationVersion {
        self.limits.evaluation
    }

    /// The findings for which the next change of an object is refused.
    #[must_use]
    pub fn refusals(&self) -> Vec<ObjectFinding> {
        let findings = self.flows.iter().flat_map(|(name, served)| {
            let sets = served.flow.rule_sets().flat_map(|set| findings_of_set(set));
            findings_of_flow(name, &served.flow).into_iter().chain(sets).collect::<Vec<_>>()
        });
        let findings = findings.chain(self.misfits.iter().cloned());
        findings.filter(|finding| finding.refusal.is_some()).collect()
    }
}

impl std::fmt::Debug for ServingState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServingState")
            .field("revision", &self.revision)
            .field("flows", &self.flows.keys())
            .field("models", &self.models.keys())
            .finish_non_exhaustive()
    }
}

/// A compiled flow with what the node keeps beside it.
pub struct ServedFlow {
    /// The flow.
    pub flow: Arc<CompiledFlow>,
    /// Hash of everything it was compiled against: the same hash, the same flow.
    pub(crate) key: [u8; 32],
    /// The same of each of its rule sets, by name.
    pub(crate) set_keys: BTreeMap<String, [u8; 32]>,
    /// Results of its rule sets' own tests, run when they are first asked for.
    pub(crate) tests: OnceLock<Arc<[RuleSetTests]>>,
    /// Until when its windows are incomplete; set when it is first served.
    pub(crate) windows: OnceLock<FlowWindows>,
    measured: OnceLock<FlowMetrics>,
}

impl ServedFlow {
    pub(crate) fn new(
        flow: CompiledFlow,
        key: [u8; 32],
        set_keys: BTreeMap<String, [u8; 32]>,
    ) -> Self {
        let (tests, windows, measured) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { flow: Arc::new(flow), key, set_keys, tests, windows, measured }
    }

    /// The flow's metrics, registered when it first decides.
    pub(crate) fn metrics(&self) -> &FlowMetrics {
        self.measured.get_or_init(|| FlowMetrics::new(self.flow.name()))
    }
}

/// A flow's metrics, looked up once.
pub(crate) struct FlowMetrics {
    /// By outcome, in the order of [`Outcome::ALL`].
    decisions: Vec<Counter>,
    tests: Counter,
    /// From the request's arrival to the end of its record, in seconds.
    pub seconds: Histogram,
}

impl FlowMetrics {
    fn new(flow: &Arc<str>) -> Self {
        let flow = || Arc::clone(flow);
        let of = |outcome: &Outcome| counter!("verdict_decisions_total", "flow" => flow(), "outcome" => outcome.as_str());
        Self {
            decisions: Outcome::ALL.iter().map(of).collect(),
            tests: counter!("verdict_test_decisions_total", "flow" => flow()),
            seconds: histogram!("verdict_decision_seconds", "flow" => flow()),
        }
    }

    /// Counts a decision; a test counts as a test only.
    pub fn decided(&self, outcome: Outcome, test: bool) {
        if test {
            self.tests.increment(1);
        } else if let Some(counter) = self.decisions.get(outcome as usize) {
            counter.increment(1);
        }
    }
}

impl std::fmt::Debug for ServedFlow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ServedFlow({})", self.flow.name())
    }
}

/// The most findings that a status names.
pub(crate) const FINDINGS_MAX: usize = 100;

/// How publication stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PublisherStatus {
    /// The revision that is served.
    pub serving_revision: u64,
    /// The newest revision of the catalogue.
    pub catalogue_revision: u64,
    /// Why the newest revision is not served, object by object; empty if it is.
    pub faults: Vec<ObjectFault>,
    /// Models of the served revision that cannot be loaded, with the reason.
    pub models_unavailable: BTreeMap<String, String>,
    /// Why objects that are served would be refused today, at most a hundred: an older program
    /// accepted them, and the refusal comes with their next change.
    pub findings: Arc<[ObjectFinding]>,
    /// How long the last compilation took, in microseconds.
    pub compile_us_last: u64,
    /// States that were swapped in since the start.
    pub swaps: u64,
}

/// The served state and who waits for it. Cloning is cheap and shares it.
#[derive(Clone)]
pub struct Serving {
    shared: Arc<Shared>,
}

struct Shared {
    state: ArcSwap<ServingState>,
    /// What was served before, for the deliberate bugs of `build.rs`.
    #[cfg(any(verdict_bug = "mixed_revision", verdict_bug = "serve_retired"))]
    before: ArcSwap<ServingState>,
    status: ArcSwap<PublisherStatus>,
    revision: watch::Sender<u64>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Serving(revision {})", self.state().revision)
    }
}

impl Serving {
    /// Serves a first state.
    #[must_use]
    pub fn new(state: Arc<ServingState>) -> Self {
        let revision = watch::Sender::new(state.revision);
        let status = PublisherStatus { serving_revision: state.revision, ..Default::default() };
        let (state, status) = (ArcSwap::new(state), ArcSwap::from_pointee(status));
        Self {
            shared: Arc::new(Shared {
                #[cfg(any(verdict_bug = "mixed_revision", verdict_bug = "serve_retired"))]
                before: ArcSwap::new(state.load_full()),
                state,
                status,
                revision,
            }),
        }
    }

    /// The state that is served now. Whoever decides keeps it for the whole request.
    #[must_use]
    pub fn state(&self) -> Arc<ServingState> {
        self.shared.state.load_full()
    }

    /// The state that a request is decided against: the one that is served.
    pub(crate) fn pinned(&self) -> Arc<ServingState> {
        #[cfg(verdict_bug = "serve_retired")]
        return self.wrong(self.state());
        #[cfg(not(verdict_bug = "serve_retired"))]
        self.state()
    }

    /// The flags of a request's state.
    #[cfg(verdict_bug = "mixed_revision")]
    pub(crate) fn flags_of(&self, state: &Arc<ServingState>) -> Arc<FlagSet> {
        Arc::clone(&self.wrong(Arc::clone(state)).flags)
    }

    /// The state before, at every fourth revision.
    #[cfg(any(verdict_bug = "mixed_revision", verdict_bug = "serve_retired"))]
    fn wrong(&self, state: Arc<ServingState>) -> Arc<ServingState> {
        if state.revision.is_multiple_of(4) { self.shared.before.load_full() } else { state }
    }

    /// How publication stands.
    #[must_use]
    pub fn status(&self) -> Arc<PublisherStatus> {
        self.shared.status.load_full()
    }

    /// Waits until a revision of at least `revision` is served, at most `limit`. Gives the revision
    /// that is served then, whether or not it is enough.
    pub async fn reached(&self, revision: u64, limit: Duration) -> u64 {
        let mut watched = self.shared.revision.subscribe();
        let waiting = watched.wait_for(|served| *served >= revision);
        let reached = tokio::time::timeout(limit, waiting).await;
        match reached {
            Ok(Ok(served)) => *served,
            Ok(Err(_)) | Err(_) => self.state().revision,
        }
    }

    /// The revision that is served, as it changes.
    #[must_use]
    pub fn watch_revision(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// Swaps a state in.
    pub(crate) fn publish(&self, state: Arc<ServingState>) {
        let revision = state.revision;
        #[cfg(any(verdict_bug = "mixed_revision", verdict_bug = "serve_retired"))]
        self.shared.before.store(self.state());
        self.shared.state.store(state);
        self.shared.revision.send_replace(revision);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("verdict_serving_revision").set(revision as f64);
    }

    pub(crate) fn set_status(&self, status: PublisherStatus) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("verdict_publisher_faults").set(status.faults.len() as f64);
        self.shared.status.store(Arc::new(status));
    }
}
