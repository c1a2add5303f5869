//! Compiling a catalogue, object by object, sharing what did not change.

mod flags;
pub(crate) mod flows;
mod invisible;
mod loose;
mod misfits;

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::definition::{MemberPlace, SnoozeDefinition};
use verdict_config::flags::FlagSet;
use verdict_config::ordered::Changed;
use verdict_config::{
    Code, Fault, Faults, ObjectId, ObjectKind, ObjectName, OrderedMap, TimestampMs,
};
use verdict_consensus::Object;
use verdict_decisions::ModelInterface;
use verdict_rules::RuleLimits;

use super::objects::{TypedBody, TypedObject, of_kind};
use super::{CatalogueObjects, CheckReport, ObjectFault, ObjectFinding};
use crate::serving::{ServedFlow, ServingState};

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
    let mut report = compile(objects, previous, CompileOptions { limits, check: true }).report;
    report.refuse(objects.objects.iter().map(|(id, _)| id));
    report
}

/// Compiles a catalogue. What `previous` holds unchanged is taken over. Rules evaluate by the version of
/// the objects, whatever the limits say.
#[must_use]
pub fn compile(
    objects: &CatalogueObjects,
    previous: Option<&ServingState>,
    options: CompileOptions,
) -> Compilation {
    let limits = RuleLimits { evaluation: objects.evaluation, ..options.limits };
    let options = CompileOptions { limits, ..options };
    let nothing = OrderedMap::default();
    let before = previous.map_or(&nothing, |state| &state.objects);
    let mut compiler = Compiler::new(objects, previous, options);
    compiler.changed = objects.objects.changed_since(before, Arc::ptr_eq);
    compiler.read_objects();
    compiler.compile_flags();
    compiler.compile_flows();
    compiler.find_misfits();
    if options.check {
        compiler.compile_loose_sets();
        compiler.report_invisible();
    }
    compiler.finish()
}

/// An object that changed since the state before.
type ChangedObject<'a> = Changed<'a, ObjectId, Arc<Object>>;

struct Compiler<'a> {
    objects: &'a CatalogueObjects,
    previous: Option<&'a ServingState>,
    options: CompileOptions,
    report: CheckReport,
    changed: Vec<ChangedObject<'a>>,
    typed: OrderedMap<ObjectId, TypedObject>,
    flags: Option<Arc<FlagSet>>,
    models: Arc<BTreeMap<String, Arc<ModelInterface>>>,
    flows: Arc<BTreeMap<String, Arc<ServedFlow>>>,
    misfits: Arc<[ObjectFinding]>,
}

/// Whether flows are compiled from an object.
fn is_for_flows(id: &ObjectId) -> bool {
    match id.kind {
        ObjectKind::Setting => SnoozeDefinition::is_named(id.name.as_str()),
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
        | ObjectKind::Member => false,
    }
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
            changed: Vec::new(),
            typed: previous.map(|state| state.typed.clone()).unwrap_or_default(),
            flags: None,
            models: previous.map(|state| Arc::clone(&state.models)).unwrap_or_default(),
            flows: previous.map(|state| Arc::clone(&state.flows)).unwrap_or_default(),
            misfits: Arc::default(),
        }
    }

    fn fault(&mut self, object: &ObjectId, fault: Fault) {
        if self.report.faults.len() < FAULTS_MAX {
            let (object, path) = flows::owner_of(object, &fault.path);
            self.report.faults.push(ObjectFault { object, fault: Fault { path, ..fault } });
        }
    }

    fn faults(&mut self, object: &ObjectId, faults: Faults) {
        for fault in faults {
            self.fault(object, fault);
        }
    }

    /// Reads what changed, but for flags, which are read as they are compiled.
    fn read_objects(&mut self) {
        for Changed { key: id, before, after } in self.changed.clone() {
            if flags::is_for_flags(id) {
                continue;
            }
            let Some(object) = after else {
                self.typed.remove(id);
                continue;
            };
            let same = before.filter(|before| before.hash == object.hash);
            let read = match same.and_then(|_| self.typed.get(id)) {
                Some(typed) => Ok(TypedObject { revision: object.revision, ..typed.clone() }),
                None => TypedObject::read(id, object),
            };
            match read {
                // What nothing is compiled from has been read for its faults only.
                Ok(read) if is_for_flows(id) => self.typed.insert(id.clone(), read),
                Ok(_) => {}
                Err(faults) => self.faults(id, faults),
            }
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
        self.models = Arc::new(models);
        for (id, fault) in faults {
            self.fault(&id, fault);
        }
    }

    fn object(&self, kind: ObjectKind, name: &str) -> Option<&TypedObject> {
        self.typed.get(&id_of(kind, name)?)
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
                misfits: self.misfits,
                models: self.models,
                regions: regions_of(self.objects),
                objects: self.objects.objects.clone(),
                typed: self.typed,
                limits: self.options.limits,
            }),
            _ => None,
        };
        Compilation { state, report: self.report }
    }
}

/// Where members are, as the catalogue says it.
fn regions_of(objects: &CatalogueObjects) -> BTreeMap<u64, Box<str>> {
    let members = objects.objects.range_by(|id| id.kind < ObjectKind::Member);
    let places = members.take_while(|(id, _)| id.kind == ObjectKind::Member);
    let region = |(id, object): (&ObjectId, &Arc<Object>)| {
        let node_id = MemberPlace::node_of(id.name.as_str())?;
        // It was checked when it was proposed.
        let place: MemberPlace = serde_json::from_slice(&object.body).ok()?;
        Some((node_id, place.region.into_boxed_str()))
    };
    places.filter_map(region).collect()
}
