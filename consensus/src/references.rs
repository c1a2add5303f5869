//! What objects name, found in their bodies: the edges that no change set may break.
//!
//! A reference is a name and the parts of the named object that are relied upon: fields of a flow,
//! columns of a table. Rule expressions are not compiled here (the compiler lies in another layer);
//! their words are read, which is enough to know lists, tables and fields by name. What a
//! compilation found beyond names travels with a change set as its requirements.

mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use verdict_config::definition::{
    FlowDefinition, ListDefinition, ModelChoice, ModelSelection, RuleSetDefinition, TableDefinition,
};
use verdict_config::model::ModelObject;
use verdict_config::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName};

use crate::catalogue::{Catalogue, Object};
use crate::digest::{ContentHash, PartsHasher};
use words::Words;

/// A name that stands in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it may be: a model's name may be a model or an alias.
    kinds: &'static [ObjectKind],
    name: String,
    /// Fields or columns of the named object that are relied upon.
    parts: Vec<String>,
    /// Where it stands.
    path: String,
}

const MODEL_OR_ALIAS: &[ObjectKind] = &[ObjectKind::Model, ObjectKind::Alias];

impl Reference {
    fn to(kind: &'static [ObjectKind], name: &str, path: impl Into<String>) -> Self {
        Self { kinds: kind, name: name.to_owned(), parts: Vec::new(), path: path.into() }
    }

    /// Every object that would satisfy it.
    fn targets(&self) -> impl Iterator<Item = ObjectId> {
        self.kinds.iter().filter_map(|&kind| {
            let name = ObjectName::new(kind, self.name.as_str()).ok()?;
            Some(ObjectId { kind, name })
        })
    }
}

/// Takes an object's references out of the index, before it is replaced or deleted.
pub fn forget(catalogue: &mut Catalogue, id: &ObjectId) {
    let Some(object) = catalogue.objects.get(id).cloned() else { return };
    for target in object.references.iter().flat_map(Reference::targets) {
        catalogue.referrers.remove(&(target, id.clone()));
    }
}

/// Finds an object's references and enters them in the index.
pub fn note(catalogue: &mut Catalogue, id: &ObjectId) {
    let Some(object) = catalogue.objects.get(id).cloned() else { return };
    let references = references_of(catalogue, &object);
    if references.is_empty() {
        return;
    }
    for target in references.iter().flat_map(Reference::targets) {
        catalogue.referrers.insert((target, id.clone()), ());
    }
    let object = Object { references, ..Object::clone(&object) };
    catalogue.objects.insert(id.clone(), Arc::new(object));
}

/// Puts an object back as it was, with the references that were found in it.
pub fn put_back(catalogue: &mut Catalogue, object: Arc<Object>) {
    for target in object.references.iter().flat_map(Reference::targets) {
        catalogue.referrers.insert((target, object.id.clone()), ());
    }
    catalogue.objects.insert(object.id.clone(), object);
}

/// Builds every reference anew, after a catalogue was read from a snapshot.
pub fn rebuild(catalogue: &mut Catalogue) {
    let ids: Vec<_> = catalogue.objects.iter().map(|(id, _)| id.clone()).collect();
    for id in &ids {
        note(catalogue, id);
    }
}

/// Checks the references of the objects that a change set touched, and of those that name them.
pub fn check(next: &Catalogue, touched: &[ObjectId]) -> Faults {
    let mut faults = Faults::new();
    for (position, id) in touched.iter().enumerate() {
        let Some(object) = next.get(id) else { continue };
        let path = format!("changes[{position}].body");
        faults.extend(unmet(next, object).map(|fault| fault.under(&path)));
    }
    let touched_set: BTreeSet<&ObjectId> = touched.iter().collect();
    for (position, id) in touched.iter().enumerate() {
        for referrer in next.referrers_of(id).filter(|referrer| !touched_set.contains(referrer)) {
            let Some(object) = next.get(referrer) else { continue };
            for reference in object.references.iter().filter(|reference| reference.names(id)) {
                if let Some(message) = unmet_reference(next, reference) {
                    let message =
                        format!("{referrer} at {} relies on it: {message}", reference.path);
                    let path = format!("changes[{position}]");
                    faults.push(Fault::new(Code::UnknownReference, path, message));
                }
            }
        }
    }
    faults
}

impl Reference {
    fn names(&self, id: &ObjectId) -> bool {
        self.kinds.contains(&id.kind) && self.name == id.name.as_str()
    }
}

fn unmet<'own>(next: &'own Catalogue, object: &'own Object) -> impl Iterator<Item = Fault> + 'own {
    object.references.iter().filter_map(|reference| {
        let message = unmet_reference(next, reference)?;
        Some(Fault::new(Code::UnknownReference, reference.path.as_str(), message))
    })
}

fn unmet_reference(next: &Catalogue, reference: &Reference) -> Option<String> {
    let name = &reference.name;
    let Some(target) = reference.targets().find_map(|id| next.get(&id)) else {
        let kinds: Vec<_> = reference.kinds.iter().map(|kind| kind.as_str()).collect();
        return Some(format!("there is no {} named {name:?}", kinds.join(" or ")));
    };
    if reference.parts.is_empty() {
        return None;
    }
    let has = parts_of(target);
    let missing: Vec<_> =
        reference.parts.iter().filter(|part| !has.contains(part.as_str())).cloned().collect();
    let what = if target.id.kind == ObjectKind::Flow { "field" } else { "column" };
    (!missing.is_empty()).then(|| format!("{} has no {what} {}", target.id, missing.join(", ")))
}

/// The parts that others may rely upon: a flow's fields, a table's columns.
fn parts_of(object: &Object) -> BTreeSet<String> {
    let parts = match object.id.kind {
        ObjectKind::Flow => parse::<FlowDefinition>(&object.body)
            .map(|flow| flow.fields.into_keys().collect::<BTreeSet<_>>()),
        ObjectKind::Table => {
            parse::<TableDefinition>(&object.body).map(|table| table.columns.into_iter().collect())
        }
        ObjectKind::Flag
        | ObjectKind::Segment
        | ObjectKind::List
        | ObjectKind::RuleSet
        | ObjectKind::Model
        | ObjectKind::Alias
        | ObjectKind::Experiment
        | ObjectKind::Rollout
        | ObjectKind::Key
        | ObjectKind::Member
        | ObjectKind::Setting => None,
    };
    parts.unwrap_or_default()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

fn references_of(catalogue: &Catalogue, object: &Object) -> Vec<Reference> {
    match object.id.kind {
        ObjectKind::RuleSet => {
            parse(&object.body).map_or_else(Vec::new, |set| of_rule_set(catalogue, &set))
        }
        ObjectKind::Flow => parse(&object.body).map_or_else(Vec::new, |flow| of_flow(&flow)),
        ObjectKind::Alias => of_alias(&object.body),
        ObjectKind::Flag => of_flag(&object.body),
        ObjectKind::Segment
        | ObjectKind::List
        | ObjectKind::Table
        | ObjectKind::Model
        | ObjectKind::Experiment
        | ObjectKind::Rollout
        | ObjectKind::Key
        | ObjectKind::Member
        | ObjectKind::Setting => Vec::new(),
    }
}

fn of_alias(body: &[u8]) -> Vec<Reference> {
    let body: Option<serde_json::Value> = parse(body);
    let model = body.as_ref().and_then(|body| body.get("model")).and_then(|model| model.as_str());
    model.map(|model| Reference::to(&[ObjectKind::Model], model, "model")).into_iter().collect()
}

/// What names others in a flag; the rest is passed over unread.
#[derive(serde::Deserialize)]
struct FlagNames {
    #[serde(default)]
    segments: serde_json::Value,
    #[serde(default)]
    prerequisites: serde_json::Value,
}

/// Segments and prerequisites. `$ref` may also mean an evaluator of the flag's own file, which the
/// compiler of flags resolves.
fn of_flag(body: &[u8]) -> Vec<Reference> {
    let mut references = Vec::new();
    let Some(FlagNames { segments, prerequisites }) = parse(body) else { return references };
    for group in ["any", "all", "none"] {
        let names = segments.get(group).and_then(|names| names.as_array());
        for (position, name) in names.into_iter().flatten().enumerate() {
            let path = format!("segments.{group}[{position}]");
            let segment =
                name.as_str().map(|name| Reference::to(&[ObjectKind::Segment], name, path));
            references.extend(segment);
        }
    }
    let prerequisites = prerequisites.as_array();
    for (position, prerequisite) in prerequisites.into_iter().flatten().enumerate() {
        let flag = prerequisite.get("flag").and_then(|flag| flag.as_str());
        let path = format!("prerequisites[{position}].flag");
        references.extend(flag.map(|flag| Reference::to(&[ObjectKind::Flag], flag, path)));
    }
    references
}

fn of_rule_set(catalogue: &Catalogue, set: &RuleSetDefinition) -> Vec<Reference> {
    let mut references = Vec::new();
    let mut words = BTreeSet::new();
    for (position, rule) in set.rules.iter().enumerate() {
        if let Some(when) = &rule.when {
            let read = Words::read(when);
            let path = format!("rules[{position}].when");
            references.extend(read.references(&path));
            words.extend(read.names);
        }
        if let Some(table) = &rule.table {
            let path = format!("rules[{position}].table.name");
            references.push(Reference::to(&[ObjectKind::Table], &table.name, path));
            words.extend(condition_columns(catalogue, &table.name));
        }
    }
    let mut flow = Reference::to(&[ObjectKind::Flow], &set.flow, "flow");
    let target = flow.targets().find_map(|id| catalogue.get(&id));
    if let Some(target) = target {
        // Words that are no fields (yet) are the compiler's to judge.
        flow.parts = parts_of(target).into_iter().filter(|field| words.contains(field)).collect();
    }
    references.insert(0, flow);
    references
}

/// The columns of a decision table that are conditions on fields.
fn condition_columns(catalogue: &Catalogue, table: &str) -> Vec<String> {
    let table = Reference::to(&[ObjectKind::Table], table, "");
    let target = table.targets().find_map(|id| catalogue.get(&id));
    let Some(target) = target else { return Vec::new() };
    parts_of(target).into_iter().filter(|column| !column.starts_with("then.")).collect()
}

fn of_flow(flow: &FlowDefinition) -> Vec<Reference> {
    let mut references = Vec::new();
    for (position, name) in flow.rules.iter().enumerate() {
        references.push(Reference::to(&[ObjectKind::RuleSet], name, format!("rules[{position}]")));
    }
    if let Some(classify) = &flow.classify {
        for (position, name) in classify.rules.iter().enumerate() {
            let path = format!("classify.rules[{position}]");
            references.push(Reference::to(&[ObjectKind::RuleSet], name, path));
        }
        if let Some(codes) = &classify.codes {
            let path = "classify.codes.table";
            let mut table = Reference::to(&[ObjectKind::Table], &codes.table, path);
            table.parts = vec![codes.key.clone()];
            table.parts.extend(codes.columns.values().cloned());
            references.push(table);
        }
        if let Some(choice) = &classify.model {
            of_choice(choice, "classify.model", &mut references);
        }
    }
    for (key, model) in &flow.models {
        of_choice(&model.model, &format!("models.{key}.model"), &mut references);
    }
    if let Some(model) = &flow.on_failure.fallback_model {
        references.push(Reference::to(MODEL_OR_ALIAS, model, "on_failure.fallback_model"));
    }
    for (position, segment) in flow.score.segments.iter().enumerate() {
        let path = format!("score.segments[{position}].when");
        references.extend(Words::read(&segment.when).references(&path));
    }
    references
}

fn of_choice(choice: &ModelChoice, path: &str, references: &mut Vec<Reference>) {
    match choice {
        // "none" is no model: rules only.
        ModelChoice::Name(name) if name == "none" => {}
        ModelChoice::Name(name) => references.push(Reference::to(MODEL_OR_ALIAS, name, path)),
        ModelChoice::Flag { flag } => {
            references.push(Reference::to(&[ObjectKind::Flag], flag, format!("{path}.flag")));
        }
        ModelChoice::Choice(selection) => of_selection(selection, path, references),
    }
}

fn of_selection(selection: &ModelSelection, path: &str, references: &mut Vec<Reference>) {
    if let Some(model) = selection.model.as_deref().filter(|model| *model != "none") {
        references.push(Reference::to(MODEL_OR_ALIAS, model, format!("{path}.model")));
    }
    for (position, model) in selection.shadow.iter().enumerate() {
        let path = format!("{path}.shadow[{position}]");
        references.push(Reference::to(MODEL_OR_ALIAS, model, path));
    }
    let members = selection.ensemble.iter().flat_map(|ensemble| &ensemble.members);
    for (position, member) in members.enumerate() {
        let path = format!("{path}.ensemble.members[{position}].model");
        references.push(Reference::to(MODEL_OR_ALIAS, &member.model, path));
    }
}

/// The hash of what others are compiled against: fields and types of a flow, columns of a table,
/// qualifiers of a list, inputs and labels of a model; for other kinds the whole body. Two bodies
/// with one interface can replace each other without compiling anything again.
#[must_use]
pub fn interface_hash(object: &Object) -> ContentHash {
    let mut hasher = PartsHasher::new("verdict interface 1");
    hasher.part(object.id.kind.as_str().as_bytes());
    if hash_interface(object, &mut hasher).is_none() {
        hasher.part(&object.hash.0);
    }
    hasher.finish()
}

fn hash_interface(object: &Object, hasher: &mut PartsHasher) -> Option<()> {
    if object.id.kind == ObjectKind::Flow {
        let flow: FlowDefinition = parse(&object.body)?;
        for (name, field) in &flow.fields {
            hasher.part(name.as_bytes()).part(field.field_type.as_str().as_bytes());
        }
    } else if object.id.kind == ObjectKind::Table {
        let table: TableDefinition = parse(&object.body)?;
        for column in &table.columns {
            hasher.part(column.as_bytes());
        }
    } else if object.id.kind == ObjectKind::List {
        let list: ListDefinition = parse(&object.body)?;
        let qualifiers: BTreeSet<_> =
            list.entries.iter().flat_map(|entry| entry.qualifiers.keys()).collect();
        for qualifier in qualifiers {
            hasher.part(qualifier.as_bytes());
        }
    } else if object.id.kind == ObjectKind::Model {
        let model = parse::<ModelObject>(&object.body)?.manifest;
        for column in &model.columns {
            let kind = serde_json::to_vec(&column.kind).ok()?;
            hasher.part(column.name.as_bytes()).part(&kind);
        }
        hasher.number(model.labels.len() as u64);
        for label in &model.labels {
            hasher.part(label.as_bytes());
        }
        hasher.part(model.positive_label.unwrap_or_default().as_bytes());
    } else {
        return None;
    }
    Some(())
}
