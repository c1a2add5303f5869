//! Changing the catalogue: checked as a whole, proposed, and waited for until it is served.

use std::sync::Arc;
use std::time::Duration;

use verdict_config::model::{ModelFile, ModelObject};
use verdict_config::{Code, Fault, ObjectId, ObjectKind};
use verdict_consensus::{
    Applied, Author, ChangeRefused, ChangeSet, DryRun, Op, ProposeError, plan_rollback,
};

use super::Handle;
use crate::blobs::{BlobError, Files};
use crate::catalogue::{
    CatalogueObjects, CheckReport, CompileOptions, ObjectFault, check_catalogue, compile,
};
use crate::core::Core;
use crate::error::RuntimeError;

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

impl Handle {
    /// Checks a change set against the catalogue as it would be (everything compiles, models load,
    /// rule tests pass), proposes it, and waits until it is served.
    ///
    /// # Errors
    /// `Change` for conflicts and refusals, `Check` with every fault.
    pub async fn propose(&self, proposal: Proposal) -> Result<Proposed, RuntimeError> {
        let _inside = self.enter()?;
        let check = self.check_before(&proposal).await?;
        let Proposal { change_set, author } = proposal;
        let applied = self.core.log.propose(change_set, author).await?;
        let served = applied.repeated
            || self.core.serving.reached(applied.revision, SERVED_WITHIN).await >= applied.revision;
        Ok(Proposed { applied, check, served })
    }

    /// What must be known before a change set is proposed.
    ///
    /// The leader checks on exactly the catalogue that the change set meets, and compiles it; here
    /// rule tests run and models are loaded, where that can matter. What is found right here may be
    /// proposed at once, but a refusal counts only by a catalogue that knows what was answered
    /// elsewhere. Out of touch, nothing is proposed that may hang.
    async fn check_before(&self, proposal: &Proposal) -> Result<CheckReport, RuntimeError> {
        let log = &self.core.log;
        if log.out_of_touch() < IN_TOUCH_WITHIN {
            let changes = &proposal.change_set.changes;
            if log.compiles() && !changes.iter().any(|change| reaches_flows(change.kind)) {
                return Ok(CheckReport::default());
            }
            if let Ok((_, check)) = self.check(proposal).await {
                return Ok(check);
            }
        }
        log.linearizable().await?;
        self.check(proposal).await.map(|(_, check)| check)
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
        self.check(proposal).await
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

    async fn check(&self, proposal: &Proposal) -> Result<(DryRun, CheckReport), RuntimeError> {
        let Proposal { change_set, author } = proposal.clone();
        let dry =
            self.core.log.dry_run(change_set.clone(), author).map_err(ProposeError::Refused)?;
        if dry.repeated.is_some() {
            // It stands already: it is answered as before, whatever a check would say today.
            return Ok((dry, CheckReport::default()));
        }
        let report = self.blocking("check", move |core| Ok(check_change(core, change_set))).await?;
        if report.is_clean() {
            Ok((dry, report))
        } else {
            Err(RuntimeError::Check(Box::new(report)))
        }
    }

    /// Checks a whole catalogue without touching this node's: what `verdict check` does.
    ///
    /// # Errors
    /// A panic of the check.
    pub async fn check_objects(
        &self,
        objects: CatalogueObjects,
    ) -> Result<CheckReport, RuntimeError> {
        self.blocking("check", move |core| {
            let serving = core.serving.state();
            Ok(check_catalogue(&objects, Some(&serving), core.options.limits))
        })
        .await
    }

    /// Puts a model folder into the node's store and describes it for the change set that names it.
    /// It is kept for an hour if none does.
    ///
    /// # Errors
    /// `Model`: not a model folder, or the disk.
    pub async fn stage_model(&self, files: Files) -> Result<ModelObject, RuntimeError> {
        let _inside = self.enter()?;
        self.blocking("stage", move |core| {
            let invalid = |detail: String| RuntimeError::Model { code: Code::ModelInvalid, detail };
            let object = ModelObject::describe(&files).map_err(invalid)?;
            verdict_neural::Model::from_files(&files).map_err(|error| RuntimeError::Model {
                code: error.code(),
                detail: error.to_string(),
            })?;
            core.blobs.stage(&files).map_err(|error| RuntimeError::Model {
                code: error.code(),
                detail: error.to_string(),
            })?;
            Ok(object)
        })
        .await
    }

    /// What files a model folder of this node's store has.
    ///
    /// # Errors
    /// `Model`: absent or damaged.
    pub async fn describe_model(&self, hash: String) -> Result<Vec<ModelFile>, RuntimeError> {
        self.blocking("describe", move |core| core.blobs.describe(&hash).map_err(model_error)).await
    }

    /// A piece of a file of a model folder: at most `length` bytes from `offset`.
    ///
    /// # Errors
    /// `Model`: absent, or no path of the folder.
    pub async fn model_piece(
        &self,
        (hash, path): (String, String),
        span: (u64, usize),
    ) -> Result<Vec<u8>, RuntimeError> {
        let piece = move |core: &Core| core.blobs.piece(&hash, &path, span).map_err(model_error);
        self.blocking("piece", piece).await
    }

    /// The files of a model folder in the node's store.
    ///
    /// # Errors
    /// `Model`: absent or damaged.
    pub async fn model_files(&self, content_hash: String) -> Result<Files, RuntimeError> {
        self.blocking("model files", move |core| {
            core.blobs.obtain(&content_hash).map_err(|error| RuntimeError::Model {
                code: error.code(),
                detail: error.to_string(),
            })
        })
        .await
    }
}

fn model_error(error: BlobError) -> RuntimeError {
    RuntimeError::Model { code: error.code(), detail: error.to_string() }
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

/// Checks the catalogue as it would be, and that every model it gains can be loaded here.
fn check_change(core: &Core, change_set: ChangeSet) -> CheckReport {
    let change_set = match change_set.normalised() {
        Ok(change_set) => change_set,
        Err(_) => return CheckReport::default(),
    };
    let catalogue = core.log.catalogue();
    let objects = CatalogueObjects::from(&*catalogue).changed(&change_set.changes);
    let serving = core.serving.state();
    let tested = change_set.changes.iter().any(|change| reaches_flows(change.kind));
    let options = CompileOptions { limits: core.options.limits, check: tested };
    let mut report = compile(&objects, Some(&serving), options).report;
    if !report.faults.is_empty() {
        return report;
    }
    for change in change_set.changes.iter().filter(|change| change.op == Op::Put) {
        let (ObjectKind::Model, Ok(object), Some(body)) =
            (change.kind, change.object(), &change.body)
        else {
            continue;
        };
        let Ok(model) = serde_json::from_slice::<ModelObject>(body) else { continue };
        let hash: Arc<str> = model.content_hash.into();
        if let Err(error) = core.inference.warm(&hash) {
            let message = format!(
                "the model cannot be loaded on this node: {error}; put its folder into the store first"
            );
            let fault = Fault::new(Code::ModelNotFound, "content_hash", message);
            report.faults.push(ObjectFault { object, fault });
        }
    }
    report
}

impl From<ChangeRefused> for RuntimeError {
    fn from(refused: ChangeRefused) -> Self {
        Self::Change(ProposeError::Refused(refused))
    }
}
