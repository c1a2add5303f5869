//! Changing the catalogue: checked as a whole, proposed, and waited for until it is served.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use verdict_config::model::{ModelObject, ModelOutput};
use verdict_config::{Code, Fault, ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{
    Applied, Author, Change, ChangeRefused, ChangeSet, DryRun, Op, ProposeError, plan_rollback,
};

use verdict_decisions::{ModelCall, TestScorer};

use super::Handle;
use crate::catalogue::{
    CatalogueObjects, CheckReport, CompileOptions, ObjectFault, ObjectFinding,
    check_catalogue_with_models, compile, run_flow_tests,
};
use crate::core::Core;
use crate::error::RuntimeError;
use crate::inference::Inference;
use crate::serving::ServingState;

/// How long an applied change is waited for until it is served.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// How lately a leader, or a majority, must have been heard for a change set to be proposed without
/// asking first whether there is one.
const IN_TOUCH_WITHIN: Duration = Duration::from_secs(1);

/// A change set on its way.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The change set.
    pub change_set: ChangeSet,
    /// Who proposes it.
    pub author: Author,
}

/// What a rollback asks for.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// Makes a retry harmless.
    pub request_id: String,
    /// Why.
    pub why: String,
    /// The revision whose state is to come back.
    pub to_revision: u64,
    /// The objects; empty for all.
    pub objects: Vec<ObjectId>,
    /// Who asks.
    pub author: Author,
}

/// What came of a proposal.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// What was applied.
    pub applied: Applied,
    /// What the check found; findings do not hold a change back.
    pub check: CheckReport,
    /// Whether the revision is served already.
    pub served: bool,
}

/// What is known of a change set before it is proposed.
#[derive(Default)]
struct Checked {
    /// Whether it is no retry, as far as is known.
    fresh: bool,
    check: CheckReport,
    /// The models that it makes active.
    models: Vec<String>,
}

impl Handle {
    /// Checks a change set against the catalogue as it would be (everything compiles, models load,
    /// rule tests pass), waits until every live node has loaded the models that it makes active,
    /// proposes it, and waits until it is served.
    ///
    /// # Errors
    /// `Change` for conflicts and refusals, `Check` with every fault, `NotReady` with the nodes that
    /// did not load a model in time.
    pub async fn propose(&self, proposal: Proposal) -> Result<Proposed, RuntimeError> {
        let _inside = self.enter()?;
        let proposal = self.with_large_bodies(proposal);
        let Checked { fresh, check, models } = self.check_before(&proposal).await?;
        let Proposal { mut change_set, author } = proposal;
        if fresh {
            self.make_ready(&mut change_set, models).await?;
        }
        let change_set = self.store_bodies(change_set, fresh).await?;
        let applied = self.core.log.propose(change_set, author).await?;
        // A retry too: it may have been made a moment ago through another node.
        let reached = self.core.serving.reached(applied.revision, SERVED_WITHIN).await;
        let served = reached >= applied.revision;
        Ok(Proposed { applied, check, served })
    }

    /// What must be known before a change set is proposed.
    ///
    /// The leader checks on exactly the catalogue that the change set meets, and compiles it; here
    /// rule tests run and models are loaded, where that can matter. What is found right here may be
    /// proposed at once, but a refusal counts only by a catalogue that knows what was answered
    /// elsewhere. Out of touch, nothing is proposed that may hang.
    async fn check_before(&self, proposal: &Proposal) -> Result<Checked, RuntimeError> {
        let log = &self.core.log;
        let checked = |(dry, check, models): (DryRun, _, _)| Checked {
            fresh: dry.repeated.is_none(),
            check,
            models,
        };
        if log.out_of_touch() < IN_TOUCH_WITHIN {
            let changes = &proposal.change_set.changes;
            if log.compiles() && !changes.iter().any(|change| reaches_flows(change.kind)) {
                return Ok(Checked { fresh: true, ..Checked::default() });
            }
            if let Ok(found) = self.check(proposal).await {
                return Ok(checked(found));
            }
        }
        log.linearizable().await?;
        self.check(proposal).await.map(checked)
    }

    /// What a change set would do and what a check of it finds, without doing it.
    ///
    /// # Errors
    /// As [`Handle::propose`].
    pub async fn dry_run(
        &self,
        proposal: &Proposal,
    ) -> Result<(DryRun, CheckReport), RuntimeError> {
        let _inside = self.enter()?;
        let proposal = self.with_large_bodies(proposal.clone());
        self.check(&proposal).await.map(|(dry, check, _)| (dry, check))
    }

    /// Brings objects back to what they were at a revision, as a forward change.
    ///
    /// # Errors
    /// As [`Handle::propose`]; a revision that is not retained.
    pub async fn rollback(&self, rollback: Rollback) -> Result<Proposed, RuntimeError> {
        self.core.log.linearizable().await?;
        self.propose(self.plan(rollback)?).await
    }

    /// What a rollback would do, without doing it.
    ///
    /// # Errors
    /// As [`Handle::rollback`].
    pub async fn dry_rollback(
        &self,
        rollback: Rollback,
    ) -> Result<(DryRun, CheckReport), RuntimeError> {
        self.core.log.linearizable().await?;
        self.dry_run(&self.plan(rollback)?).await
    }

    fn plan(&self, rollback: Rollback) -> Result<Proposal, RuntimeError> {
        let Rollback { request_id, why, to_revision, objects, author } = rollback;
        let catalogue = self.core.log.catalogue();
        let change_set = plan_rollback(&catalogue, request_id, why, to_revision, &objects)
            .map_err(ProposeError::Refused)?;
        Ok(Proposal { change_set, author })
    }

    /// Also gives the models that the change set makes active.
    async fn check(
        &self,
        proposal: &Proposal,
    ) -> Result<(DryRun, CheckReport, Vec<String>), RuntimeError> {
        let Proposal { change_set, author } = proposal.clone();
        let dry =
            self.core.log.dry_run(change_set.clone(), author).map_err(ProposeError::Refused)?;
        if dry.repeated.is_some() {
            // It stands already: it is answered as before, whatever a check would say today.
            return Ok((dry, CheckReport::default(), Vec::new()));
        }
        let checking = self.blocking("check", move |core| Ok(check_change(core, change_set)));
        let (report, models) = checking.await?;
        if report.is_clean() {
            Ok((dry, report, models))
        } else {
            Err(RuntimeError::Check(Box::new(report)))
        }
    }

    /// The change set with its large bodies marked to stand outside the log, if that is allowed.
    fn with_large_bodies(&self, mut proposal: Proposal) -> Proposal {
        if self.core.log.takes_stored_bodies() {
            proposal.change_set = proposal.change_set.with_large_bodies_stored();
        }
        proposal
    }

    /// Checks a whole catalogue without touching this node's: what `verdict check` does.
    ///
    /// # Errors
    /// A panic of the check.
    pub async fn check_objects(
        &self,
        mut objects: CatalogueObjects,
    ) -> Result<CheckReport, RuntimeError> {
        self.blocking("check", move |core| {
            let serving = core.serving.state();
            objects.evaluation = serving.evaluation();
            let (limits, models) = (core.options.limits, NodeModels(&core.inference));
            Ok(check_catalogue_with_models(&objects, Some(&serving), limits, &models))
        })
        .await
    }
}

/// Whether a change of a kind can reach a flow, whose rule sets' tests are then run. A flag can only
/// come to exist or cease to.
const fn reaches_flows(kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::List
        | ObjectKind::Table
        | ObjectKind::RuleSet
        | ObjectKind::Flow
        | ObjectKind::Model
        | ObjectKind::Alias => true,
        ObjectKind::Flag
        | ObjectKind::Segment
        | ObjectKind::Experiment
        | ObjectKind::Rollout
        | ObjectKind::Key
        | ObjectKind::Member
        | ObjectKind::Setting => false,
    }
}

/// Checks the catalogue as it would be, and that every model it gains can be loaded here. Gives the
/// models that it makes active as well.
fn check_change(core: &Core, change_set: ChangeSet) -> (CheckReport, Vec<String>) {
    let change_set = match change_set.normalised() {
        Ok(change_set) => change_set,
        Err(_) => return (CheckReport::default(), Vec::new()),
    };
    let catalogue = core.log.catalogue();
    let objects = CatalogueObjects::from(&*catalogue).changed(&change_set.changes);
    let serving = core.serving.state();
    let tested = change_set.changes.iter().any(|change| reaches_flows(change.kind));
    let options = CompileOptions { limits: core.options.limits, check: tested };
    let compilation = compile(&objects, Some(&serving), options);
    let mut report = compilation.report;
    if change_set.restores.is_none() {
        let put = change_set.changes.iter().filter(|change| change.op == Op::Put);
        let put: Vec<ObjectId> = put.filter_map(|change| change.object().ok()).collect();
        report.refuse(&put);
    }
    if !report.faults.is_empty() {
        return (report, Vec::new());
    }
    report.faults.extend(load_models(core, &change_set.changes));
    if let Some(state) = compilation.state.filter(|_| tested && report.faults.is_empty()) {
        report.findings.extend(young_windows(core, &state, &serving));
        // A rollback restores what passed its tests, and may be what an emergency needs.
        if change_set.restores.is_none() {
            let models = NodeModels(&core.inference);
            report.flow_tests = run_flow_tests(&state, Some(&serving), &models);
        }
    }
    let models = made_active(&objects, &change_set.changes);
    (report, models)
}

/// Loads every model that changes bring in. Gives a fault for each that cannot be loaded here.
fn load_models(core: &Core, changes: &[Change]) -> Vec<ObjectFault> {
    let mut faults = Vec::new();
    for change in changes.iter().filter(|change| change.op == Op::Put) {
        let (ObjectKind::Model, Ok(object), Some(body)) =
            (change.kind, change.object(), &change.body)
        else {
            continue;
        };
        let Ok(model) = serde_json::from_slice::<ModelObject>(body) else { continue };
        let hash: Arc<str> = model.content_hash.into();
        match core.inference.warm(&hash) {
            Ok(()) => {
                core.staging.settle(&hash, Ok(crate::clock::now().0), std::time::Instant::now());
            }
            Err(error) => {
                let message = format!(
                    "the model cannot be loaded on this node: {error}; put its folder into the store first"
                );
                let fault = Fault::new(Code::ModelNotFound, "content_hash", message);
                faults.push(ObjectFault { object, fault });
            }
        }
    }
    faults
}

/// Findings about windows that a change adds to flows that have decided on this node.
fn young_windows(core: &Core, state: &ServingState, serving: &ServingState) -> Vec<ObjectFinding> {
    let mut findings = Vec::new();
    for (name, served) in state.flows.iter() {
        let kept = serving.flows.get(name).is_some_and(|before| Arc::ptr_eq(before, served));
        let Ok(object) = ObjectName::new(ObjectKind::Flow, name.as_str()) else { continue };
        let young = if kept { Vec::new() } else { core.ages.young_windows(&served.flow) };
        for text in young {
            let message = format!(
                "{text} is new to a flow that has decided before: it counts from the publication on, \
                 and answers say windows_partial until it is as old as it is long"
            );
            let object = ObjectId { kind: ObjectKind::Flow, name: object.clone() };
            findings.push(ObjectFinding::new(object, "windows_partial", "rules".into(), message));
        }
    }
    findings
}

/// The models of this node, for tests of flows.
struct NodeModels<'a>(&'a Inference);

impl TestScorer for NodeModels<'_> {
    fn score(&self, call: &ModelCall) -> Result<ModelOutput, String> {
        let scored = self.0.score_now(&call.content_hash, call.row.clone());
        scored.map_err(|error| error.to_string())
    }
}

/// Content hashes of the models that changes bring in, or move an alias or a flow to.
fn made_active(objects: &CatalogueObjects, changes: &[Change]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for change in changes.iter().filter(|change| change.op == Op::Put) {
        match (change.kind, &change.body) {
            (ObjectKind::Model, _) => drop(names.insert(change.name.clone())),
            // Whatever text of theirs is the name of a model may be one: to ask for one too many
            // costs a question.
            (ObjectKind::Alias | ObjectKind::Flow, Some(body)) => {
                if let Ok(json) = serde_json::from_slice(body) {
                    texts_of(&json, &mut names);
                }
            }
            _ => {}
        }
    }
    let body_of = |kind, name: &str| {
        let name = ObjectName::new(kind, name).ok()?;
        let object = objects.objects.get(&ObjectId { kind, name })?;
        serde_json::from_slice::<serde_json::Value>(&object.body).ok()
    };
    let text = |body: &serde_json::Value, key: &str| body[key].as_str().map(str::to_owned);
    let hashes = names.iter().filter_map(|name| {
        let target = body_of(ObjectKind::Alias, name).and_then(|alias| text(&alias, "model"));
        let model = body_of(ObjectKind::Model, target.as_deref().unwrap_or(name))?;
        text(&model, "content_hash")
    });
    hashes.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Every text in a JSON value. The log bounds how deep it nests.
fn texts_of(json: &serde_json::Value, texts: &mut BTreeSet<String>) {
    match json {
        serde_json::Value::String(text) => drop(texts.insert(text.clone())),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts_of(item, texts)),
        serde_json::Value::Object(map) => map.values().for_each(|value| texts_of(value, texts)),
        _ => {}
    }
}

impl From<ChangeRefused> for RuntimeError {
    fn from(refused: ChangeRefused) -> Self {
        Self::Change(ProposeError::Refused(refused))
    }
}
