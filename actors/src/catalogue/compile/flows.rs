//! Flows with their rule sets: compiled where anything that they may read has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use verdict_config::definition::{
    FlowDefinition, ListDefinition, SnoozeDefinition, TableDefinition,
};
use verdict_config::flags::FlagSet;
use verdict_config::{ObjectId, ObjectKind};
use verdict_decisions::{CompiledFlow, FlowFinding, FlowParts, RuleSetPart};
use verdict_rules::CompiledRuleSet;

use super::{ChangedObject, Compiler, id_of, is_for_flows};
use crate::catalogue::objects::{TypedBody, TypedObject, of_kind};
use crate::catalogue::{ObjectFinding, RuleSetTests};
use crate::serving::ServedFlow;

/// What one flow's compilation may read.
#[derive(Default)]
pub(super) struct Inputs {
    pub(super) rule_sets: BTreeMap<String, RuleSetPart>,
    pub(super) lists: BTreeMap<String, Arc<ListDefinition>>,
    pub(super) tables: BTreeMap<String, Arc<TableDefinition>>,
    pub(super) snoozes: BTreeMap<String, Arc<SnoozeDefinition>>,
}

pub(super) fn hash_named(hasher: &mut Sha256, kind: &str, name: &str, hash: &[u8; 32]) {
    for text in [kind, name] {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(hash);
}

/// Takes over the rule sets that would be compiled to what they are in another flow.
fn take_over(inputs: &mut Inputs, keys: &BTreeMap<String, [u8; 32]>, before: &ServedFlow) {
    for set in before.flow.rule_sets() {
        let name: &str = set.name();
        if let Some(part) = inputs.rule_sets.get_mut(name)
            && keys.contains_key(name)
            && keys.get(name) == before.set_keys.get(name)
        {
            part.compiled = Some(Arc::clone(set));
        }
    }
}

impl Compiler<'_> {
    /// Whether anything that any flow may read has changed.
    fn reaches_flows(&self) -> bool {
        let Some(previous) = self.previous else { return true };
        let came_or_went = |object: &ChangedObject<'_>| {
            object.key.kind == ObjectKind::Flag && object.before.is_some() != object.after.is_some()
        };
        previous.limits != self.options.limits
            || self.changed.iter().any(|object| is_for_flows(object.key) || came_or_went(object))
    }

    pub(super) fn compile_flows(&mut self) {
        let Some(flags) = self.flags.clone() else {
            // There will be no state; no set is spoken for by flows of another one.
            self.flows = Arc::default();
            return;
        };
        // Nothing to compile, and nobody who asks for a report: the flows before are these.
        if !self.reaches_flows() && !self.options.check {
            return;
        }
        self.resolve_models();
        let mut served_flows = BTreeMap::new();
        let flows: Vec<(String, TypedObject)> = of_kind(&self.typed, ObjectKind::Flow)
            .map(|(name, object)| (name.to_owned(), object.clone()))
            .collect();
        for (name, object) in flows {
            let TypedBody::Flow(definition) = &object.body else { continue };
            let mut inputs = self.inputs_of(&name, &object, definition);
            let key = self.key_of(&object, (definition, &inputs), &flags);
            let before = self.previous.and_then(|state| state.flows.get(&name));
            if let Some(before) = before.filter(|before| before.key == key) {
                let before = Arc::clone(before);
                self.report_flow(&name, &before, &inputs);
                served_flows.insert(name, before);
                continue;
            }
            let set_keys = self.set_keys(definition, &inputs);
            if let Some(before) = before {
                take_over(&mut inputs, &set_keys, before);
            }
            let parts = FlowParts {
                rule_sets: &inputs.rule_sets,
                lists: &inputs.lists,
                tables: &inputs.tables,
                snoozes: &inputs.snoozes,
                models: &self.models,
                flags: &flags,
                limits: self.options.limits,
            };
            match CompiledFlow::compile(definition, &parts) {
                Ok(flow) => {
                    let served = Arc::new(ServedFlow::new(flow, key, set_keys));
                    self.report_flow(&name, &served, &inputs);
                    served_flows.insert(name, served);
                }
                Err(error) => {
                    for object in error.objects {
                        if let Some(id) = id_of(object.kind, &object.name) {
                            self.faults(&id, object.faults);
                        }
                    }
                }
            }
        }
        self.flows = Arc::new(served_flows);
    }

    /// What a flow's compilation may read: exactly what its key hashes.
    fn inputs_of(&self, name: &str, flow: &TypedObject, definition: &FlowDefinition) -> Inputs {
        let classify = definition.classify.iter().flat_map(|classify| &classify.rules);
        let names: BTreeSet<&String> = definition.rules.iter().chain(classify).collect();
        let mut readers = vec![flow.clone()];
        let mut inputs = Inputs::default();
        for set in names {
            let Some(object) = self.object(ObjectKind::RuleSet, set) else { continue };
            let TypedBody::RuleSet(definition) = &object.body else { continue };
            let definition = Arc::clone(definition);
            let part = RuleSetPart { definition, revision: object.revision, compiled: None };
            inputs.rule_sets.insert(set.clone(), part);
            readers.push(object.clone());
        }
        let snooze = format!("snooze.{name}");
        let may_read = |name: &str| readers.iter().any(|reader| reader.mentions(name));
        for (name, object) in of_kind(&self.typed, ObjectKind::List) {
            if let TypedBody::List(list) = &object.body
                && (name == snooze || may_read(name))
            {
                inputs.lists.insert(name.to_owned(), Arc::clone(list));
            }
        }
        for (name, object) in of_kind(&self.typed, ObjectKind::Table) {
            if let TypedBody::Table(table) = &object.body
                && may_read(name)
            {
                inputs.tables.insert(name.to_owned(), Arc::clone(table));
            }
        }
        for (name, object) in of_kind(&self.typed, ObjectKind::Setting) {
            if let TypedBody::Snooze(snooze) = &object.body
                && snooze.flow == definition.flow
            {
                inputs.snoozes.insert(name.to_owned(), Arc::clone(snooze));
            }
        }
        inputs
    }

    fn key_of(
        &self,
        flow: &TypedObject,
        (definition, inputs): (&FlowDefinition, &Inputs),
        flags: &FlagSet,
    ) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(flow.hash);
        for key in CompiledFlow::flags_read(definition, &inputs.rule_sets) {
            hash_named(&mut hasher, "flag", &key, &[u8::from(flags.contains(&key)); 32]);
        }
        hasher.update(format!("{:?}", self.options.limits).as_bytes());
        for (name, part) in &inputs.rule_sets {
            let hash = self.object(ObjectKind::RuleSet, name).map_or([0; 32], |set| set.hash);
            hash_named(&mut hasher, "rule_set", name, &hash);
            hasher.update(part.revision.to_le_bytes());
        }
        let named = [
            (ObjectKind::List, inputs.lists.keys().collect::<Vec<_>>()),
            (ObjectKind::Table, inputs.tables.keys().collect()),
            (ObjectKind::Setting, inputs.snoozes.keys().collect()),
        ];
        for (kind, names) in named {
            for name in names {
                let hash = self.object(kind, name).map_or([0; 32], |object| object.hash);
                hash_named(&mut hasher, kind.as_str(), name, &hash);
            }
        }
        for (name, model) in &*self.models {
            // The interface is what a flow reads of a model, and Debug writes all of it.
            let hash: [u8; 32] = Sha256::digest(format!("{model:?}").as_bytes()).into();
            hash_named(&mut hasher, "model", name, &hash);
        }
        hasher.finalize().into()
    }

    /// Hashes of what the compilation of each rule set reads: the same hash, the same compiled set.
    fn set_keys(&self, definition: &FlowDefinition, inputs: &Inputs) -> BTreeMap<String, [u8; 32]> {
        let mut facts = Sha256::new();
        facts.update(format!("{:?}", self.options.limits).as_bytes());
        // Debug writes all of a field; derived facts come of the models' keys and of classification.
        facts.update(format!("{:?}", definition.fields).as_bytes());
        facts.update(format!("{:?}", definition.models.keys()).as_bytes());
        facts.update([u8::from(definition.classify.is_some())]);
        let mut keys = BTreeMap::new();
        for name in inputs.rule_sets.keys() {
            let Some(set) = self.object(ObjectKind::RuleSet, name) else { continue };
            let mut hasher = facts.clone();
            hash_named(&mut hasher, "rule_set", name, &set.hash);
            let lists = inputs.lists.keys().map(|list| (ObjectKind::List, list));
            let tables = inputs.tables.keys().map(|table| (ObjectKind::Table, table));
            for (kind, other) in lists.chain(tables).filter(|(_, other)| set.mentions(other)) {
                let hash = self.object(kind, other).map_or([0; 32], |object| object.hash);
                hash_named(&mut hasher, kind.as_str(), other, &hash);
            }
            keys.insert(name.clone(), hasher.finalize().into());
        }
        keys
    }

    fn report_flow(&mut self, name: &str, served: &ServedFlow, inputs: &Inputs) {
        self.report.findings.extend(findings_of_flow(name, &served.flow));
        for set in served.flow.rule_sets() {
            self.report_findings(set);
        }
        if !self.options.check {
            return;
        }
        let tests = served.tests.get_or_init(|| {
            let run = |set: &Arc<CompiledRuleSet>| {
                let name: &str = set.name();
                let part = inputs.rule_sets.get(name)?;
                let report = set.run_tests(&part.definition);
                Some(RuleSetTests { rule_set: name.to_owned(), report })
            };
            served.flow.rule_sets().filter_map(run).collect()
        });
        self.report.tests.extend(tests.iter().cloned());
    }

    pub(super) fn report_findings(&mut self, set: &CompiledRuleSet) {
        self.report.rules += set.rules().len();
        self.report.findings.extend(findings_of_set(set));
    }
}

/// The object that a path of a rule set leads into, and the path in it: `tables.NAME.rows[3]` and
/// `lists.NAME.entries[3]` are places in a table and a list that the set reads.
pub(crate) fn owner_of(object: &ObjectId, path: &str) -> (ObjectId, String) {
    let owner = || {
        let (kind, rest) = match path.split_once('.')? {
            ("tables", rest) => (ObjectKind::Table, rest),
            ("lists", rest) => (ObjectKind::List, rest),
            _ => return None,
        };
        // Names may hold dots; what follows them begins with one of these.
        let starts = [".rows", ".columns", ".entries"].map(|start| rest.find(start));
        let end = starts.into_iter().flatten().min().unwrap_or(rest.len());
        let inner = rest[end..].trim_start_matches('.');
        Some((id_of(kind, &rest[..end])?, inner.to_owned()))
    };
    let is_set = object.kind == ObjectKind::RuleSet;
    is_set.then(owner).flatten().unwrap_or_else(|| (object.clone(), path.to_owned()))
}

/// The findings of a flow itself.
pub(crate) fn findings_of_flow(name: &str, flow: &CompiledFlow) -> Vec<ObjectFinding> {
    let Some(id) = id_of(ObjectKind::Flow, name) else { return Vec::new() };
    let finding = |found: &FlowFinding| {
        let FlowFinding { path, message, refusal } = found.clone();
        ObjectFinding { refusal, ..ObjectFinding::new(id.clone(), "flow", path, message) }
    };
    flow.findings().iter().map(finding).collect()
}

/// The findings of a rule set. One that is about a list or table that the set reads names it in its
/// refusal, and belongs to it.
pub(crate) fn findings_of_set(set: &CompiledRuleSet) -> Vec<ObjectFinding> {
    let Some(id) = id_of(ObjectKind::RuleSet, set.name()) else { return Vec::new() };
    let finding = |found: &verdict_rules::Finding| {
        let kind = serde_json::to_value(found.kind)
            .ok()
            .and_then(|kind| kind.as_str().map(str::to_owned))
            .unwrap_or_default();
        let (object, path) = owner_of(&id, &found.path);
        let refusal = found.refusal.clone();
        let message = found.message.clone();
        ObjectFinding { refusal, ..ObjectFinding::new(object, &kind, path, message) }
    };
    let mut findings: Vec<ObjectFinding> = Vec::new();
    for found in set.findings().iter().map(finding) {
        // A table that several rules read has its findings once.
        if !findings.contains(&found) {
            findings.push(found);
        }
    }
    findings
}
