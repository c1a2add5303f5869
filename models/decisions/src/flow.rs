//! A flow that can decide: everything that its definition names, resolved.
//!
//! Immutable and shared. What a request must look up (slots, flag positions, texts of the answer) was
//! looked up when the flow was compiled.

mod compile;
mod crosswalk;
mod fit;
mod models;
mod selection;
mod sets;
mod snoozes;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use verdict_config::definition::{FlowDefinition, LevelThresholds, RecordMode};
use verdict_config::{Code, EvaluationVersion, Fault, Faults, ObjectKind, Refusal, Schema};
use verdict_rules::{CompiledRuleSet, WindowRead};

use crate::decision::CodePairs;

pub use fit::ModelMisfit;
pub(crate) use fit::{Misfit, unsuited_for_classes, unsuited_for_risk};
pub use models::FlowModel;
pub(crate) use selection::{Choice, Selection};
pub(crate) use sets::{FlowRule, FlowSet};
pub(crate) use snoozes::{SnoozedRule, Snoozes};

/// Codes of a label in other schemes, by name.
pub(crate) type Codes = BTreeMap<String, CodePairs>;

/// A flow compiled against its parts.
#[derive(Debug)]
pub struct CompiledFlow {
    pub(crate) name: Arc<str>,
    pub(crate) definition: FlowDefinition,
    pub(crate) schema: Schema,
    pub(crate) content_hash: [u8; 32],
    pub(crate) evaluation: EvaluationVersion,
    pub(crate) field_names: Vec<Arc<str>>,
    /// Slots of fields that are expected.
    pub(crate) expected: Vec<u32>,
    pub(crate) unit_slot: Option<u32>,
    pub(crate) sets: Vec<FlowSet>,
    /// The conditions of `score.segments`, as a rule set of its own.
    pub(crate) segments: Option<FlowSet>,
    pub(crate) segment_levels: Vec<LevelThresholds>,
    /// Windows of every set, without repetition.
    pub(crate) windows: Vec<Arc<WindowRead>>,
    pub(crate) models: BTreeMap<String, Arc<FlowModel>>,
    /// Models whose columns do not fit the flow's fields, by every name that reaches them.
    pub(crate) misfits: BTreeMap<String, Misfit>,
    pub(crate) classify: Option<ClassifyStage>,
    pub(crate) risks: Vec<RiskStage>,
    pub(crate) fallback: Option<Fallback>,
    /// Keys of every flag that the flow reads, sorted.
    pub(crate) flags: Vec<Arc<str>>,
    pub(crate) switches: SwitchFlags,
    pub(crate) snoozes: Snoozes,
    pub(crate) findings: Vec<FlowFinding>,
}

/// The classification stage.
#[derive(Debug)]
pub(crate) struct ClassifyStage {
    pub scheme: Arc<str>,
    pub choice: Option<Choice>,
    pub accept_from: f64,
    pub delta: f64,
    pub min_confidence: f64,
    pub alternatives: usize,
    pub codes: Option<Codes>,
}

/// One model of the score.
#[derive(Debug)]
pub(crate) struct RiskStage {
    /// `scores.KEY`.
    pub fact: Arc<str>,
    pub choice: Choice,
    pub label: Option<String>,
    pub points_per_logit: f64,
    pub offset: f64,
    pub points_max: i32,
    pub reason: Arc<str>,
}

/// The model that stands in for failed ones.
#[derive(Debug)]
pub(crate) struct Fallback {
    /// Its name, as the flow writes it.
    pub name: Arc<str>,
    /// The model; none where its columns do not fit.
    pub model: Option<Arc<FlowModel>>,
}

/// Positions of the switches' flags among the flow's flags.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SwitchFlags {
    pub flow: Option<usize>,
    pub rules: Option<usize>,
    pub classify_rules: Option<usize>,
    pub classify_model: Option<usize>,
    pub models: Option<usize>,
    pub score: Option<usize>,
    pub abstain: Option<usize>,
    pub shadow: Option<usize>,
}

/// Something suspicious about a flow that nevertheless compiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowFinding {
    /// Where in the flow.
    pub path: String,
    /// What is suspicious, in a sentence.
    pub message: String,
    /// Present where the next change of the objects concerned is refused for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

impl FlowFinding {
    /// A finding that refuses nothing.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), refusal: None }
    }
}

/// Why a flow does not compile: faults of the flow itself, and of the rule sets it names.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("the flow does not compile: {} faults", self.count())]
pub struct FlowError {
    /// Faults by object: the flow, its rule sets, its snooze list.
    pub objects: Vec<ObjectFaults>,
}

/// The faults of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFaults {
    /// The object's kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// Its faults, with paths into it.
    pub faults: Faults,
}

impl FlowError {
    /// How many faults there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.objects.iter().map(|object| object.faults.len()).sum()
    }

    /// The code of the whole.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::ChangeInvalid
    }

    /// Every fault, with the object in front of its path: `rule_set/NAME.rules[3].when`.
    #[must_use]
    pub fn into_faults(self) -> Faults {
        let mut faults = Faults::new();
        for object in self.objects {
            let prefix = format!("{}/{}", object.kind, object.name);
            faults.extend(object.faults.into_iter().map(|fault: Fault| fault.under(&prefix)));
        }
        faults
    }
}

impl CompiledFlow {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The definition that it was compiled from.
    #[must_use]
    pub const fn definition(&self) -> &FlowDefinition {
        &self.definition
    }

    /// Its input fields.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// When its records are written.
    #[must_use]
    pub const fn record_mode(&self) -> RecordMode {
        self.definition.record
    }

    /// SHA-256 over the definition and everything that it was compiled against, flags excepted.
    #[must_use]
    pub const fn content_hash(&self) -> &[u8; 32] {
        &self.content_hash
    }

    /// The version by which its rules evaluate.
    #[must_use]
    pub const fn evaluation(&self) -> EvaluationVersion {
        self.evaluation
    }

    /// The compiled rule sets, in the order of the definition.
    pub fn rule_sets(&self) -> impl Iterator<Item = &Arc<CompiledRuleSet>> {
        self.sets.iter().map(|set| &set.compiled)
    }

    /// A compiled rule set by name.
    #[must_use]
    pub fn rule_set(&self, name: &str) -> Option<&CompiledRuleSet> {
        self.rule_sets().find(|set| set.name().as_ref() == name).map(|set| &**set)
    }

    /// The windows that its rules read, without repetition: what a node must count.
    #[must_use]
    pub fn windows(&self) -> &[Arc<WindowRead>] {
        &self.windows
    }

    /// Models that a request may be sent to, by every name that reaches them.
    pub fn models(&self) -> impl Iterator<Item = (&str, &Arc<FlowModel>)> {
        self.models.iter().map(|(name, model)| (name.as_str(), model))
    }

    /// Keys of the flags that it reads, sorted.
    #[must_use]
    pub fn flag_keys(&self) -> &[Arc<str>] {
        &self.flags
    }

    /// What is suspicious about it; the findings of its rule sets are theirs.
    #[must_use]
    pub fn findings(&self) -> &[FlowFinding] {
        &self.findings
    }

    /// The text of a window call as the flow's windows have it.
    pub(crate) fn canonical_window(&self, text: &str) -> String {
        let set = self.sets.iter().chain(&self.segments).next();
        set.map_or_else(|| text.to_owned(), |set| set.compiled.canonical_window(text))
    }

    /// How many facts its stages derive.
    pub(crate) fn derived_len(&self) -> usize {
        self.risks.len() + if self.classify.is_some() { 2 } else { 0 }
    }

    /// Whether the field in a slot is sensitive.
    #[must_use]
    pub fn is_sensitive(&self, slot: u32) -> bool {
        self.schema.field(slot).is_some_and(|(_, field)| field.sensitive)
    }

    /// Whether any field is sensitive.
    #[must_use]
    pub fn has_sensitive(&self) -> bool {
        self.schema.fields().any(|(_, field)| field.sensitive)
    }
}
