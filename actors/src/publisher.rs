//! Keeps the served state up with the catalogue.
//!
//! ```text
//! watch<Arc<Catalogue>> ──> compile what changed (blocking thread) ──> load and warm models ──> swap
//!                                │ faults                                │ cannot load
//!                                └ the last good state serves on, the status says why
//! ```
//!
//! It owns the order of publications. It never answers a request, and a panic in it leaves the last
//! good state in place. A burst of changes is one compilation: the watch holds the newest catalogue.
//! What changed little is published by the task itself, without a thread.
//!
//! A model that cannot be loaded holds a new state back while an older one can serve on. At the
//! first start there is none: then the state is served without that model, whose calls fail as the
//! flow's policies say, and the status names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use verdict_config::ordered::Changed;
use verdict_config::{Code, Fault, ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{Catalogue, Log, LogStatus, Object};
use verdict_rules::RuleLimits;

use crate::blobs::{BlobStore, LogSpan};
use crate::catalogue::{
    CatalogueObjects, CompileOptions, LastCompiled, ObjectFault, ObjectFinding, compile,
    is_compiled_against,
};
use crate::inference::Inference;
use crate::readiness::Staging;
use crate::serving::{FINDINGS_MAX, PublisherStatus, Serving, ServingState};
use crate::spawn::{Spawner, caught};
use crate::supervisor::{ChildSpec, RestartPolicy, TreeEntry};
use crate::window_ages::WindowAges;

/// How often folders that nothing names are looked for.
const GARBAGE_EVERY: Duration = Duration::from_secs(300);

/// The time between two swaps once a swap took in several changes: a burst of changes is one more. A
/// writer that waits for each of its changes never meets it.
const SWAP_EVERY: Duration = Duration::from_millis(2);

/// The most objects, and bytes of them, that are compiled between other tasks of the runtime.
const LIGHT_OBJECTS_MAX: usize = 8;
const LIGHT_BYTES_MAX: usize = 16 << 10;

/// How often a catalogue that is held back is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// What the publisher works with.
#[derive(Clone)]
pub struct Publisher {
    /// Where states are swapped in.
    pub serving: Serving,
    /// Where models are loaded.
    pub inference: Inference,
    /// The model folders, for their garbage.
    pub blobs: BlobStore,
    /// Models that are loaded for changes to come.
    pub staging: Staging,
    /// Since when windows count.
    pub(crate) ages: Arc<WindowAges>,
    /// The log, for where it begins.
    pub log: Arc<dyn Log>,
    /// Bounds of rule sets.
    pub limits: RuleLimits,
    /// The state that was compiled last, by the leader's validator or here.
    pub compiled: LastCompiled,
    /// The catalogue as it changes.
    pub catalogue: watch::Receiver<Arc<Catalogue>>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Publisher({:?})", self.serving)
    }
}

impl Publisher {
    /// Compiles and serves the catalogue as it is now: the first state. Blocking.
    ///
    /// # Errors
    /// Every fault, if it cannot be compiled.
    pub fn first_state(
        catalogue: &Catalogue,
        inference: &Inference,
        (limits, compiled): (RuleLimits, &LastCompiled),
    ) -> Result<Serving, Vec<ObjectFault>> {
        let started = Instant::now();
        let objects = CatalogueObjects::from(catalogue);
        let compilation = compile(&objects, None, CompileOptions { limits, check: false });
        let Some(state) = compilation.state else { return Err(compilation.report.faults) };
        let state = Arc::new(state);
        compiled.served(&state);
        let models_unavailable = warm(inference, &state);
        let findings = first_findings(&state);
        log_findings(&findings, &[]);
        let serving = Serving::new(state);
        serving.set_status(PublisherStatus {
            findings,
            serving_revision: catalogue.revision(),
            catalogue_revision: catalogue.revision(),
            models_unavailable,
            compile_us_last: micros(started),
            ..PublisherStatus::default()
        });
        Ok(serving)
    }

    /// The child of the supervision tree that publishes.
    #[must_use]
    pub fn child(&self) -> ChildSpec {
        let publisher = self.clone();
        let entry = TreeEntry::new("publisher", "service");
        ChildSpec::new::<PublisherActor, _>(entry, RestartPolicy::branch(), move || {
            (PublisherActor, publisher.clone())
        })
    }

    async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        let mut garbage = tokio::time::interval(GARBAGE_EVERY);
        garbage.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut again = tokio::time::interval(RETRY_EVERY);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut retry = false;
        let mut swapped: Option<tokio::time::Instant> = None;
        loop {
            if let Some(last) = swapped.take() {
                tokio::time::sleep_until(last + SWAP_EVERY).await;
            }
            let newest = Arc::clone(&self.catalogue.borrow_and_update());
            // A node that joins may serve the empty revision 0 by an older version of evaluation.
            if std::mem::take(&mut retry)
                || newest.revision() != self.serving.status().catalogue_revision
                || newest.evaluation() != self.serving.state().evaluation()
            {
                let taken_in =
                    newest.revision().saturating_sub(self.serving.status().catalogue_revision);
                if self.is_light(&newest) {
                    let published = caught("publish", || self.publish(&newest));
                    published.ok_or_else(|| panicked("publish"))?;
                } else {
                    let publisher = self.clone();
                    self.blocking("publish", move || publisher.publish(&newest)).await?;
                }
                swapped = (taken_in > 1).then(tokio::time::Instant::now);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.catalogue.changed() => {
                    if changed.is_err() {
                        // The log is closed: what is served stays, until the node stops as well.
                        stop.cancelled().await;
                        return Ok(());
                    }
                }
                // What was held back for want of a model may have it by now.
                _ = again.tick() => retry = !self.serving.status().faults.is_empty(),
                _ = garbage.tick() => {
                    let (publisher, newest) = (self.clone(), Arc::clone(&self.catalogue.borrow()));
                    self.blocking("garbage", move || publisher.collect_garbage(&newest)).await?;
                }
            }
        }
    }

    async fn blocking(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), String> {
        match Spawner::default().spawn_blocking(name, work).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(panicked(name)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether so little changed since the state that is served that compiling it takes no longer than
    /// to hand it to another thread: a few flags that were there before, or what nothing is compiled
    /// from.
    fn is_light(&self, newest: &Catalogue) -> bool {
        let served = self.serving.state();
        let changed = newest.objects_by_id().changed_since(&served.objects, Arc::ptr_eq);
        let is_light = |changed: &Changed<'_, ObjectId, Arc<Object>>| match changed.key.kind {
            ObjectKind::Flag => changed.before.is_some() && changed.after.is_some(),
            kind => !is_compiled_against(kind),
        };
        let bytes = |changed: &Changed<'_, ObjectId, Arc<Object>>| {
            changed.after.map_or(0, |object| object.body.len())
        };
        newest.evaluation() == served.evaluation()
            && changed.len() <= LIGHT_OBJECTS_MAX
            && changed.iter().all(is_light)
            && changed.iter().map(bytes).sum::<usize>() <= LIGHT_BYTES_MAX
            && self.serving.status().models_unavailable.is_empty()
    }

    /// Compiles a catalogue and swaps it in, or says why not.
    fn publish(&self, catalogue: &Catalogue) {
        let started = Instant::now();
        let before = self.serving.state();
        let objects = CatalogueObjects::from(catalogue);
        let options = CompileOptions { limits: self.limits, check: false };
        // Set before the work: if it panics, the same catalogue is not tried again at once.
        let mut status = PublisherStatus {
            catalogue_revision: catalogue.revision(),
            ..(*self.serving.status()).clone()
        };
        self.serving.set_status(PublisherStatus {
            faults: vec![fault_of_publisher("the publication did not come to an end")],
            ..status.clone()
        });
        // On a leader this very catalogue was compiled before it was agreed on.
        let last = self.compiled.get().filter(|last| last.revision >= before.revision);
        let compilation = compile(&objects, Some(last.as_ref().unwrap_or(&before)), options);
        status.compile_us_last = micros(started);
        metrics::histogram!("verdict_publish_seconds").record(started.elapsed().as_secs_f64());
        let Some(state) = compilation.state else {
            return self.hold_back(status, compilation.report.faults);
        };
        let state = Arc::new(state);
        let unavailable = warm(&self.inference, &state);
        let known = &self.serving.status().models_unavailable;
        let newly: Vec<ObjectFault> = unavailable
            .iter()
            .filter(|(name, reason)| known.get(*name) != Some(*reason))
            .map(|(name, reason)| fault_of_model(name, reason))
            .collect();
        if !newly.is_empty() {
            return self.hold_back(status, newly);
        }
        let mut kept = models_of(&state).chain(models_of(&before)).collect();
        self.staging.release(&kept);
        kept.extend(self.staging.kept(Instant::now()));
        self.compiled.served(&state);
        self.ages.observe(&state, crate::clock::now());
        // Findings are about flows and what they read.
        if !Arc::ptr_eq(&state.flows, &before.flows) {
            let findings = first_findings(&state);
            log_findings(&findings, &status.findings);
            status.findings = findings;
        }
        self.serving.publish(state);
        // The state before this one may still be pinned by requests, and is the likely rollback.
        self.inference.retain(&kept);
        status.serving_revision = catalogue.revision();
        status.faults.clear();
        status.models_unavailable = unavailable;
        status.swaps += 1;
        tracing::debug!(
            revision = catalogue.revision(),
            compile_us = status.compile_us_last,
            "a catalogue is served"
        );
        self.serving.set_status(status);
    }

    fn hold_back(&self, mut status: PublisherStatus, faults: Vec<ObjectFault>) {
        tracing::error!(
            revision = status.catalogue_revision,
            faults = faults.len(),
            first = faults.first().map(|fault| fault.fault.to_string()),
            "a catalogue cannot be served: the last good one serves on"
        );
        metrics::counter!("verdict_publish_failures_total").increment(1);
        status.faults = faults;
        self.serving.set_status(status);
    }

    fn collect_garbage(&self, catalogue: &Catalogue) {
        let mut referenced = referenced_models(catalogue);
        referenced.extend(catalogue.stored_bodies().map(|hash| hash.to_hex()));
        let LogStatus { purged_index, last_index, .. } = self.log.status();
        let span = LogSpan { purged_index, last_index };
        match self.blobs.collect_garbage(&referenced, span, Instant::now()) {
            Ok(removed) => {
                for hash in removed {
                    tracing::info!(hash, "a folder or body that nothing names was removed");
                }
            }
            Err(error) => tracing::warn!(%error, "model folders cannot be looked through"),
        }
    }
}

/// Loads and warms every model of a state, as far as memory allows. Gives those that cannot be.
fn warm(inference: &Inference, state: &ServingState) -> BTreeMap<String, String> {
    let mut unavailable = BTreeMap::new();
    let mut done: BTreeMap<&Arc<str>, Result<(), String>> = BTreeMap::new();
    for (name, model) in &*state.models {
        let hash = &model.content_hash;
        let result = done
            .entry(hash)
            .or_insert_with(|| inference.warm(hash).map_err(|error| error.to_string()));
        if let Err(reason) = result {
            unavailable.insert(name.clone(), reason.clone());
        }
    }
    unavailable
}

/// The findings of a state for which changes of its objects are refused, as many as a status names.
fn first_findings(state: &ServingState) -> Arc<[ObjectFinding]> {
    state.refusals().into_iter().take(FINDINGS_MAX).collect()
}

/// Logs findings that were not known before.
fn log_findings(findings: &[ObjectFinding], known: &[ObjectFinding]) {
    for finding in findings.iter().filter(|finding| !known.contains(finding)) {
        tracing::warn!(
            object = %finding.object,
            path = finding.path,
            finding = finding.message,
            "an object is served that the next change of it must correct"
        );
    }
}

fn models_of(state: &ServingState) -> impl Iterator<Item = Arc<str>> + '_ {
    state.models.values().map(|model| Arc::clone(&model.content_hash))
}

/// Content hashes of every model that the catalogue or its retained history names.
fn referenced_models(catalogue: &Catalogue) -> BTreeSet<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        content_hash: String,
    }
    let mut referenced = BTreeSet::new();
    let mut add = |body: &[u8]| {
        if let Ok(named) = serde_json::from_slice::<Named>(body) {
            referenced.insert(named.content_hash);
        }
    };
    catalogue.of_kind(ObjectKind::Model).for_each(|object| add(&object.body));
    let models = catalogue.history_entries().filter(|entry| entry.object.kind == ObjectKind::Model);
    let versions = models.flat_map(|entry| [&entry.before, &entry.after].into_iter().flatten());
    versions.filter_map(|version| version.body.as_ref()).for_each(|body| add(body));
    referenced
}

fn fault_of_model(name: &str, reason: &str) -> ObjectFault {
    let kind = ObjectKind::Model;
    let fault = Fault::new(Code::ModelInvalid, "", format!("cannot be loaded: {reason}"));
    match ObjectName::new(kind, name) {
        Ok(name) => ObjectFault { object: ObjectId { kind, name }, fault },
        Err(_) => fault_of_publisher(reason),
    }
}

fn fault_of_publisher(reason: &str) -> ObjectFault {
    let fault = Fault::new(Code::Internal, "", reason.to_owned());
    let kind = ObjectKind::Setting;
    match ObjectName::new(kind, "publisher") {
        Ok(name) => ObjectFault { object: ObjectId { kind, name }, fault },
        Err(_) => unreachable!("a plain name"),
    }
}

fn panicked(name: &str) -> String {
    format!("{name} panicked")
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The shell: owns the loop and fails with it.
struct PublisherActor;

enum PublisherMessage {
    /// The loop ended with this text.
    Failed(String),
}

impl ractor::Message for PublisherMessage {}

impl Actor for PublisherActor {
    type Msg = PublisherMessage;
    type State = DropGuard;
    type Arguments = Publisher;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        publisher: Publisher,
    ) -> Result<Self::State, ActorProcessingErr> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = async move {
            if let Err(text) = publisher.run(stopped).await {
                // Without a shell the tree is stopping, and nobody needs to know.
                drop(myself.cast(PublisherMessage::Failed(text)));
            }
        };
        drop(Spawner::default().spawn("publisher", task));
        Ok(stop.drop_guard())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PublisherMessage::Failed(text) => Err(text.into()),
        }
    }
}
