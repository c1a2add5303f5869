//! Compiling a catalogue, object by object, sharing what did not change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use verdict_config::definition::{
    FlowDefinition, ListDefinition, RuleSetDefinition, TableDefinition,
};
use verdict_config::flags::{FlagSet, FlagSources};
use verdict_config::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName, Schema, TimestampMs};
use verdict_decisions::{CompiledFlow, FlowParts, ModelInterface, RuleSetPart};
use verdict_rules::{CompiledRuleSet, DerivedFacts, Environment, RuleLimits};

use super::objects::{TypedBody, TypedObject, of_kind};
use super::{CatalogueObjects, CheckReport, ObjectFault, ObjectFinding, RuleSetTests};
use crate::serving::{ServedFlow, ServingState};

/// The settings that hold what a flag file has beside its flags.
const FLAG_FILE: &str = "flag-file.";
/// The most faults that a report names.
const FAULTS_MAX: usize = 1_000;

/// How a catalogue is compiled.
#[derive(Debug, Clone, Copy)]
pub struct CompileOptions {
    /// Bounds of rule sets.
    pub limits: RuleLimits,
    /// Whether the rule sets' own tests are run and sets that no flow names are compiled too.
    pub check: bool,
}

/// What came of a compilation.
#[derive(Debug)]
pub struct Compilation {
    /// The state, unless there were faults.
    pub state: Option<ServingState>,
    /// What was found.
    pub report: CheckReport,
}

/// Checks a catalogue: compiles everything and runs the rule sets' own tests.
#[must_use]
pub fn check_catalogue(
    objects: &CatalogueObjects,
    previous: Option<&ServingState>,
    limits: RuleLimits,
) -> CheckReport {
    compile(objects, previous, CompileOptions { limits, check: true }).report
}

/// Compiles a catalogue. What `previous` holds unchanged is taken over.
#[must_use]
pub fn compile(
    objects: &CatalogueObjects,
    previous: Option<&ServingState>,
    options: CompileOptions,
) -> Compilation {
    let mut compiler = Compiler::new(objects, previous, options);
    compiler.read_objects();
    compiler.compile_flags();
    compiler.resolve_models();
    compiler.compile_flows();
    if options.check {
        compiler.compile_loose_sets();
    }
    compiler.finish()
}

struct Compiler<'a> {
    objects: &'a CatalogueObjects,
    previous: Option<&'a ServingState>,
    options: CompileOptions,
    report: CheckReport,
    typed: BTreeMap<ObjectId, TypedObject>,
    flags: Option<Arc<FlagSet>>,
    flags_hash: [u8; 32],
    models: BTreeMap<String, Arc<ModelInterface>>,
    flows: BTreeMap<String, Arc<ServedFlow>>,
}

fn id_of(kind: ObjectKind, name: &str) -> Option<ObjectId> {
    Some(ObjectId { kind, name: ObjectName::new(kind, name).ok()? })
}

impl<'a> Compiler<'a> {
    fn new(
        objects: &'a CatalogueObjects,
        previous: Option<&'a ServingState>,
        options: CompileOptions,
    ) -> Self {
        Self {
            objects,
            previous,
            options,
            report: CheckReport { objects: objects.objects.len(), ..CheckReport::default() },
            typed: BTreeMap::new(),
            flags: None,
            flags_hash: [0; 32],
            models: BTreeMap::new(),
            flows: BTreeMap::new(),
        }
    }

    fn fault(&mut self, object: &ObjectId, fault: Fault) {
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(ObjectFault { object: object.clone(), fault });
        }
    }

    fn faults(&mut self, object: &ObjectId, faults: Faults) {
        for fault in faults {
            self.fault(object, fault);
        }
    }

    fn read_objects(&mut self) {
        for (id, object) in &self.objects.objects {
            let before = self.previous.and_then(|state| state.typed.get(id));
            match before.filter(|before| before.hash == object.hash) {
                Some(before) => {
                    let same = TypedObject { revision: object.revision, ..before.clone() };
                    self.typed.insert(id.clone(), same);
                }
                None => match TypedObject::read(id, object) {
                    Ok(read) => drop(self.typed.insert(id.clone(), read)),
                    Err(faults) => self.faults(id, faults),
                },
            }
        }
    }

    fn compile_flags(&mut self) {
        let mut hasher = Sha256::new();
        for (id, object) in &self.typed {
            let is_file = id.kind == ObjectKind::Setting && id.name.as_str().starts_with(FLAG_FILE);
            if is_file || matches!(id.kind, ObjectKind::Flag | ObjectKind::Segment) {
                hash_named(&mut hasher, id.kind.as_str(), id.name.as_str(), &object.hash);
            }
        }
        self.flags_hash = hasher.finalize().into();
        let before = self.previous.filter(|state| state.flags_hash == self.flags_hash);
        if let Some(before) = before {
            let flags = Arc::clone(&before.flags);
            self.report_flags(&flags);
            self.flags = Some(flags);
            return;
        }
        let mut sources = FlagSources::default();
        for (id, object) in &self.typed {
            let TypedBody::Json(json) = &object.body else { continue };
            let name = id.name.as_str();
            match (id.kind, name.strip_prefix(FLAG_FILE)) {
                (ObjectKind::Flag, _) => drop(sources.flags.insert(name, json)),
                (ObjectKind::Segment, _) => drop(sources.segments.insert(name, json)),
                (ObjectKind::Setting, Some(stem)) => drop(sources.files.insert(stem, json)),
                _ => {}
            }
        }
        match FlagSet::compile(&sources) {
            Ok(flags) => {
                self.report_flags(&flags);
                self.flags = Some(Arc::new(flags));
            }
            Err(faults) => {
                for fault in faults {
                    let (object, fault) = self.owner_of_flag_fault(fault);
                    self.fault(&object, fault);
                }
            }
        }
    }

    /// What is strange about flags but works, and flags that have outlived their `expires`.
    fn report_flags(&mut self, flags: &FlagSet) {
        if !self.options.check {
            return;
        }
        for warning in flags.warnings() {
            let (object, Fault { path, message, .. }) = self.owner_of_flag_fault(warning.clone());
            let message = if path.is_empty() {
                format!("{object}: {message}")
            } else {
                format!("{object}: {path} {message}")
            };
            let kind = "flag".to_owned();
            self.report.findings.push(ObjectFinding { object, kind, path, message });
        }
        for key in flags.expired(TimestampMs(self.objects.at_ms)) {
            let Some(object) = id_of(ObjectKind::Flag, key) else { continue };
            let message =
                format!("{object}: its `expires` has passed; remove it, or give it more time");
            let (kind, path) = ("expired".to_owned(), "expires".to_owned());
            self.report.findings.push(ObjectFinding { object, kind, path, message });
        }
    }

    /// Faults of a flag set stand under the path `KIND/NAME`; names may hold dots themselves.
    fn owner_of_flag_fault(&self, fault: Fault) -> (ObjectId, Fault) {
        let rest_of = |id: &ObjectId| {
            let rest = fault.path.strip_prefix(&id.to_string())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| rest.to_owned())
        };
        let owner = self
            .typed
            .keys()
            .filter_map(|id| Some((id, rest_of(id)?)))
            .max_by_key(|(id, _)| id.name.as_str().len());
        match owner {
            Some((id, rest)) => {
                let path = rest.trim_start_matches('.').to_owned();
                (id.clone(), Fault { path, ..fault })
            }
            None => (unnamed(), fault),
        }
    }

    fn resolve_models(&mut self) {
        let mut models: BTreeMap<String, Arc<ModelInterface>> = BTreeMap::new();
        for (name, object) in of_kind(&self.typed, ObjectKind::Model) {
            let TypedBody::Model(model) = &object.body else { continue };
            let interface = ModelInterface::of(&model.manifest, &model.content_hash);
            let before = self.previous.and_then(|state| state.models.get(name));
            let shared = match before.filter(|before| ***before == interface) {
                Some(before) => Arc::clone(before),
                None => Arc::new(interface),
            };
            models.insert(name.to_owned(), shared);
        }
        let mut faults = Vec::new();
        let mut aliases = Vec::new();
        for (name, object) in of_kind(&self.typed, ObjectKind::Alias) {
            let TypedBody::Alias(target) = &object.body else { continue };
            let Some(id) = id_of(ObjectKind::Alias, name) else { continue };
            if models.contains_key(name) {
                let message = format!("a model is called {name} as well; rename the alias");
                faults.push((id, Fault::new(Code::DuplicateName, "", message)));
            } else if let Some(model) = models.get(&**target) {
                aliases.push((name.to_owned(), Arc::clone(model)));
            } else {
                let message = format!("there is no model {target}");
                faults.push((id, Fault::new(Code::UnknownReference, "model", message)));
            }
        }
        models.extend(aliases);
        self.models = models;
        for (id, fault) in faults {
            self.fault(&id, fault);
        }
    }

    fn compile_flows(&mut self) {
        let Some(flags) = self.flags.clone() else { return };
        let flag_keys = flag_keys_hash(&flags);
        let flows: Vec<(String, TypedObject)> = of_kind(&self.typed, ObjectKind::Flow)
            .map(|(name, object)| (name.to_owned(), object.clone()))
            .collect();
        for (name, object) in flows {
            let TypedBody::Flow(definition) = &object.body else { continue };
            let inputs = self.inputs_of(&name, &object, definition);
            let key = self.key_of(&object, &inputs, &flag_keys);
            let before = self.previous.and_then(|state| state.flows.get(&name));
            if let Some(before) = before.filter(|before| before.key == key) {
                let before = Arc::clone(before);
                self.report_flow(&name, &before, &inputs);
                self.flows.insert(name, before);
                continue;
            }
            let parts = FlowParts {
                rule_sets: &inputs.rule_sets,
                lists: &inputs.lists,
                tables: &inputs.tables,
                models: &self.models,
                flags: &flags,
                limits: self.options.limits,
            };
            match CompiledFlow::compile(definition, &parts) {
                Ok(flow) => {
                    let served = Arc::new(ServedFlow::new(flow, key));
                    self.report_flow(&name, &served, &inputs);
                    self.flows.insert(name, served);
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
            let part = RuleSetPart { definition, revision: object.revision };
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
        inputs
    }

    fn object(&self, kind: ObjectKind, name: &str) -> Option<&TypedObject> {
        self.typed.get(&id_of(kind, name)?)
    }

    fn key_of(&self, flow: &TypedObject, inputs: &Inputs, flag_keys: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(flow.hash);
        hasher.update(flag_keys);
        hasher.update(format!("{:?}", self.options.limits).as_bytes());
        for (name, part) in &inputs.rule_sets {
            let hash = self.object(ObjectKind::RuleSet, name).map_or([0; 32], |set| set.hash);
            hash_named(&mut hasher, "rule_set", name, &hash);
            hasher.update(part.revision.to_le_bytes());
        }
        let named = [
            (ObjectKind::List, inputs.lists.keys().collect::<Vec<_>>()),
            (ObjectKind::Table, inputs.tables.keys().collect()),
        ];
        for (kind, names) in named {
            for name in names {
                let hash = self.object(kind, name).map_or([0; 32], |object| object.hash);
                hash_named(&mut hasher, kind.as_str(), name, &hash);
            }
        }
        for (name, model) in &self.models {
            // The interface is what a flow reads of a model, and Debug writes all of it.
            let hash: [u8; 32] = Sha256::digest(format!("{model:?}").as_bytes()).into();
            hash_named(&mut hasher, "model", name, &hash);
        }
        hasher.finalize().into()
    }

    fn report_flow(&mut self, name: &str, served: &ServedFlow, inputs: &Inputs) {
        if let Some(id) = id_of(ObjectKind::Flow, name) {
            for finding in served.flow.findings() {
                let (path, message) = (finding.path.clone(), finding.message.clone());
                let (object, kind) = (id.clone(), "flow".to_owned());
                self.report.findings.push(ObjectFinding { object, kind, path, message });
            }
        }
        for set in served.flow.rule_sets() {
            self.report_findings(set);
        }
        if !self.options.check {
            return;
        }
        let tests = served.tests.get_or_init(|| {
            let run = |set: &CompiledRuleSet| {
                let name: &str = set.name();
                let part = inputs.rule_sets.get(name)?;
                let report = set.run_tests(&part.definition);
                Some(RuleSetTests { rule_set: name.to_owned(), report })
            };
            served.flow.rule_sets().filter_map(run).collect()
        });
        self.report.tests.extend(tests.iter().cloned());
    }

    fn report_findings(&mut self, set: &CompiledRuleSet) {
        self.report.rules += set.rules().len();
        let Some(id) = id_of(ObjectKind::RuleSet, set.name()) else { return };
        for finding in set.findings() {
            let kind = serde_json::to_value(finding.kind)
                .ok()
                .and_then(|kind| kind.as_str().map(str::to_owned))
                .unwrap_or_default();
            let (path, message) = (finding.path.clone(), finding.message.clone());
            let object = id.clone();
            self.report.findings.push(ObjectFinding { object, kind, path, message });
        }
    }

    /// Rule sets that no flow names: nothing runs them, but their text is checked all the same.
    fn compile_loose_sets(&mut self) {
        let used: BTreeSet<String> = self
            .flows
            .values()
            .flat_map(|served| served.flow.rule_sets().map(|set| set.name().to_string()))
            .chain(self.report.faults.iter().map(|fault| fault.object.name.to_string()))
            .collect();
        let loose: Vec<(String, TypedObject)> = of_kind(&self.typed, ObjectKind::RuleSet)
            .filter(|(name, _)| !used.contains(*name))
            .map(|(name, object)| (name.to_owned(), object.clone()))
            .collect();
        for (name, object) in loose {
            if let (TypedBody::RuleSet(definition), Some(id)) =
                (&object.body, id_of(ObjectKind::RuleSet, &name))
            {
                self.compile_loose_set(&id, definition);
            }
        }
    }

    fn compile_loose_set(&mut self, id: &ObjectId, definition: &RuleSetDefinition) {
        let flow = self.object(ObjectKind::Flow, &definition.flow).map(|flow| flow.body.clone());
        let Some(TypedBody::Flow(flow)) = flow else {
            let message = format!("there is no flow {}", definition.flow);
            return self.fault(id, Fault::new(Code::UnknownReference, "flow", message));
        };
        let (mut lists, mut tables) = (BTreeMap::new(), BTreeMap::new());
        for (id, object) in &self.typed {
            match &object.body {
                TypedBody::List(list) => {
                    lists.insert(id.name.to_string(), Arc::clone(list));
                }
                TypedBody::Table(table) => {
                    tables.insert(id.name.to_string(), Arc::clone(table));
                }
                _ => {}
            }
        }
        let keys = flow.models.keys().map(String::as_str);
        let environment = Environment {
            schema: &Schema::new(&flow.fields),
            derived: &DerivedFacts::of_flow(keys, flow.classify.is_some()),
            lists: &lists,
            tables: &tables,
            limits: self.options.limits,
        };
        match verdict_rules::compile(definition, &environment) {
            Ok(set) => {
                self.report_findings(&set);
                let message =
                    format!("flow {} does not name this set: no rule of it runs", flow.flow);
                let (object, kind) = (id.clone(), "unused".to_owned());
                let path = String::new();
                self.report.findings.push(ObjectFinding { object, kind, path, message });
                let report = set.run_tests(definition);
                let rule_set = definition.rule_set.clone();
                self.report.tests.push(RuleSetTests { rule_set, report });
            }
            Err(faults) => self.faults(id, faults),
        }
    }

    fn finish(mut self) -> Compilation {
        self.report.tests.sort_by(|left, right| left.rule_set.cmp(&right.rule_set));
        // A set that two flows could name is reported by each; sets belong to one flow, but a
        // report must not depend on that.
        self.report.tests.dedup_by(|left, right| left.rule_set == right.rule_set);
        let state = match self.flags {
            Some(flags) if self.report.faults.is_empty() => Some(ServingState {
                revision: self.objects.revision,
                at: TimestampMs(self.objects.at_ms),
                flags,
                flows: self.flows,
                models: self.models,
                typed: self.typed,
                flags_hash: self.flags_hash,
            }),
            _ => None,
        };
        Compilation { state, report: self.report }
    }
}

/// What one flow's compilation may read.
#[derive(Default)]
struct Inputs {
    rule_sets: BTreeMap<String, RuleSetPart>,
    lists: BTreeMap<String, Arc<ListDefinition>>,
    tables: BTreeMap<String, Arc<TableDefinition>>,
}

fn hash_named(hasher: &mut Sha256, kind: &str, name: &str, hash: &[u8; 32]) {
    for text in [kind, name] {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(hash);
}

/// A flow's compilation reads which flags exist, and nothing else of them.
fn flag_keys_hash(flags: &FlagSet) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for key in flags.keys() {
        hasher.update((key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
    }
    hasher.finalize().into()
}

/// The owner of a fault that names none.
fn unnamed() -> ObjectId {
    match ObjectName::new(ObjectKind::Setting, "catalogue") {
        Ok(name) => ObjectId { kind: ObjectKind::Setting, name },
        Err(_) => unreachable!("a plain name"),
    }
}
