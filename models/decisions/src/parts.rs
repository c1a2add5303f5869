//! What a flow is compiled against: the other objects of the catalogue that it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::definition::{
    ListDefinition, RuleSetDefinition, SnoozeDefinition, TableDefinition,
};
use verdict_config::flags::FlagSet;
use verdict_config::model::{ModelColumn, ModelManifest, ModelTask};
use verdict_rules::{CompiledRuleSet, RuleLimits};

/// The objects that a flow may name, all of one revision.
#[derive(Debug, Clone, Copy)]
pub struct FlowParts<'a> {
    /// Rule sets by name.
    pub rule_sets: &'a BTreeMap<String, RuleSetPart>,
    /// Lists by name. The list `snooze.FLOW`, if there is one, snoozes rules of the flow.
    pub lists: &'a BTreeMap<String, Arc<ListDefinition>>,
    /// The snoozes of the flow, by their objects' names.
    pub snoozes: &'a BTreeMap<String, Arc<SnoozeDefinition>>,
    /// Tables by name.
    pub tables: &'a BTreeMap<String, Arc<TableDefinition>>,
    /// Models by every name that reaches them: their own and their aliases.
    pub models: &'a BTreeMap<String, Arc<ModelInterface>>,
    /// The flags, to find out which of those that the flow names exist; they are not kept.
    pub flags: &'a FlagSet,
    /// Bounds of rule sets.
    pub limits: RuleLimits,
}

/// A rule set with the revision that last changed it.
#[derive(Debug, Clone)]
pub struct RuleSetPart {
    /// The set as it is written.
    pub definition: Arc<RuleSetDefinition>,
    /// The revision; answers name the set as `NAME@REVISION`.
    pub revision: u64,
    /// The set as it was compiled before, where nothing that its compilation reads has changed since:
    /// the definition, the flow's fields and derived facts, the lists and tables that it names, and
    /// the bounds.
    pub compiled: Option<Arc<CompiledRuleSet>>,
}

/// What a flow needs to know of a model: not its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInterface {
    /// The model's own name.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// Content hash of its folder: what identifies it.
    pub content_hash: Arc<str>,
    /// What it answers.
    pub task: ModelTask,
    /// Labels in the order of scores; empty for anomaly models.
    pub labels: Vec<Arc<str>>,
    /// The label whose probability is the risk score.
    pub positive_label: Option<String>,
    /// Input columns in the order of a row.
    pub columns: Vec<ModelColumn>,
    /// The distance from which on a row is out of distribution.
    pub ood_threshold: Option<f64>,
}

impl ModelInterface {
    /// The interface of a manifest.
    #[must_use]
    pub fn of(manifest: &ModelManifest, content_hash: &str) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            content_hash: content_hash.into(),
            task: manifest.task,
            labels: manifest.labels.iter().map(|label| label.as_str().into()).collect(),
            positive_label: manifest.positive_label.clone(),
            columns: manifest.columns.clone(),
            ood_threshold: manifest.ood_threshold,
        }
    }

    /// How many scores it answers a row with.
    #[must_use]
    pub fn scores_len(&self) -> usize {
        match self.task {
            ModelTask::Classification => self.labels.len(),
            ModelTask::Anomaly => 1,
        }
    }
}
