//! What a body must be before it may stand in the catalogue.
//!
//! Checks are pure and the same on every node. Deeper checks (compiling rules and flows) belong to
//! whoever proposes: what they relied on comes along as the change set's requirements.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use verdict_config::definition::{
    AUTHORITY_NAME, Category, ClusterAuthority, ClusterPolicy, FlowDefinition, KeyDefinition,
    ListDefinition, MemberPlace, MemberStanding, POLICY_NAME, PendingRotation, RuleSetDefinition,
    SNOOZE_SALTS_MAX, SNOOZES_MAX, SnoozeDefinition, TableDefinition,
};
use verdict_config::flags::{validate_flag, validate_segment};
use verdict_config::model::ModelObject;
use verdict_config::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName};

use crate::catalogue::{Catalogue, Object};

/// Checks bodies, and the catalogue that a change set would make.
pub trait Validator: Send + Sync {
    /// The faults of one body, with paths into it.
    fn check_body(&self, object: &ObjectId, body: &[u8]) -> Faults;

    /// Whether names in bodies must exist.
    fn checks_references(&self) -> bool;

    /// Whether [`check_catalogue`](Self::check_catalogue) compiles whatever changes may break.
    fn compiles(&self) -> bool {
        false
    }

    /// The faults of the catalogue as it would be, with paths `changes[N]...`; asked only when
    /// bodies and references are right.
    fn check_catalogue(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        let _ = (next, touched);
        Faults::new()
    }

    /// The faults of what was accepted once and is refused today, in the objects that a change set
    /// puts, with paths `changes[N]...`; never asked of a rollback, which restores what was accepted.
    fn check_refusals(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        let _ = (next, touched);
        Faults::new()
    }

    /// The faults that only time makes, by the time of the change set, with paths `changes[N]...`;
    /// asked last, and never of a rollback, which restores what was right in its time.
    fn check_times(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        let _ = (next, touched);
        Faults::new()
    }
}

/// Accepts everything: for commands that were validated before they were appended.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoValidation;

impl Validator for NoValidation {
    fn check_body(&self, _: &ObjectId, _: &[u8]) -> Faults {
        Faults::new()
    }

    fn checks_references(&self) -> bool {
        false
    }
}

/// Bodies by their definitions, and references.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefinitionValidator;

impl Validator for DefinitionValidator {
    fn check_body(&self, object: &ObjectId, body: &[u8]) -> Faults {
        match object.kind {
            ObjectKind::List => parse::<ListDefinition>(body).err().into_iter().collect(),
            ObjectKind::Table => parse(body).map_or_else(|fault| vec![fault], |t| check_table(&t)),
            ObjectKind::RuleSet => {
                named(object, body, "rule_set", |set: RuleSetDefinition| set.rule_set)
            }
            ObjectKind::Flow => named(object, body, "flow", |flow: FlowDefinition| flow.flow),
            ObjectKind::Model => check_model(object, body),
            ObjectKind::Alias => parse::<Alias>(body).err().into_iter().collect(),
            ObjectKind::Flag => check_flag(object, body),
            ObjectKind::Key => {
                parse(body).map_or_else(|fault| vec![fault], |key: KeyDefinition| key.faults())
            }
            ObjectKind::Member if object.name.as_str() == POLICY_NAME => parse(body)
                .map_or_else(|fault| vec![fault], |policy: ClusterPolicy| policy.faults()),
            ObjectKind::Member if object.name.as_str() == AUTHORITY_NAME => parse(body)
                .map_or_else(|fault| vec![fault], |trust: ClusterAuthority| trust.faults()),
            ObjectKind::Member if PendingRotation::is_object(object) => parse(body)
                .map_or_else(|fault| vec![fault], |pending: PendingRotation| pending.faults()),
            ObjectKind::Member if MemberPlace::node_of(object.name.as_str()).is_some() => {
                parse(body).map_or_else(|fault| vec![fault], |place: MemberPlace| place.faults())
            }
            ObjectKind::Member if MemberStanding::is_object(object) => parse(body).map_or_else(
                |fault| vec![fault],
                |standing: MemberStanding| standing.faults(object.name.as_str()),
            ),
            ObjectKind::Experiment | ObjectKind::Rollout | ObjectKind::Member => {
                let object = parse::<serde_json::Map<String, serde_json::Value>>(body);
                object.err().into_iter().collect()
            }
            ObjectKind::Segment => check_segment(object, body),
            ObjectKind::Setting if SnoozeDefinition::is_named(object.name.as_str()) => {
                parse(body).map_or_else(|fault| vec![fault], |s: SnoozeDefinition| s.faults())
            }
            ObjectKind::Setting => Faults::new(),
        }
    }

    fn checks_references(&self) -> bool {
        true
    }

    fn check_catalogue(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        let mut faults = Faults::new();
        for (position, snooze) in snoozes_of(next, touched) {
            let path = format!("changes[{position}].body");
            let found = unmet_snooze(next, &snooze).into_iter();
            faults.extend(found.chain(salts_fault(next, &snooze)).map(|fault| fault.under(&path)));
        }
        let is_put = |id: &ObjectId| is_snooze(id) && next.get(id).is_some();
        if let Some(position) = touched.iter().position(is_put)
            && snooze_objects(next).count() > SNOOZES_MAX
        {
            let message = format!("there are at most {SNOOZES_MAX} snoozes: remove expired ones");
            let path = format!("changes[{position}]");
            faults.push(Fault::new(Code::LimitExceeded, path, message));
        }
        faults
    }

    fn check_times(&self, next: &Catalogue, touched: &[ObjectId]) -> Faults {
        let over = snoozes_of(next, touched).filter(|(_, snooze)| snooze.until <= next.at());
        over.map(|(position, snooze)| {
            let message = format!("{} is not in the future: it is {}", snooze.until, next.at());
            Fault::new(Code::InvalidValue, format!("changes[{position}].body.until"), message)
        })
        .collect()
    }
}

fn is_snooze(id: &ObjectId) -> bool {
    id.kind == ObjectKind::Setting && SnoozeDefinition::is_named(id.name.as_str())
}

fn snooze_objects(catalogue: &Catalogue) -> impl Iterator<Item = &Object> {
    let settings = catalogue.of_kind(ObjectKind::Setting).map(|object| &**object);
    settings.filter(|object| is_snooze(&object.id))
}

/// The snoozes that a change set puts, with their positions in it.
fn snoozes_of<'a>(
    next: &'a Catalogue,
    touched: &'a [ObjectId],
) -> impl Iterator<Item = (usize, SnoozeDefinition)> + 'a {
    let put = touched.iter().enumerate().filter(|(_, id)| is_snooze(id));
    put.filter_map(|(position, id)| Some((position, parse(&next.get(id)?.body).ok()?)))
}

/// The rule must be there, and be one that may be snoozed, when a snooze is put. A rule set may lose
/// the rule later: then the snooze has no effect.
fn unmet_snooze(next: &Catalogue, snooze: &SnoozeDefinition) -> Option<Fault> {
    let SnoozeDefinition { flow, rule_set, rule, .. } = snooze;
    let unknown = |path: &str, message: String| Fault::new(Code::UnknownReference, path, message);
    let id = ObjectName::new(ObjectKind::RuleSet, rule_set.as_str()).ok();
    let id = id.map(|name| ObjectId { kind: ObjectKind::RuleSet, name });
    let Some(object) = id.and_then(|id| next.get(&id)) else {
        return Some(unknown("rule_set", format!("there is no rule_set named {rule_set:?}")));
    };
    let set: RuleSetDefinition = match parse(&object.body) {
        Ok(set) => set,
        Err(fault) => return Some(fault.under("rule_set")),
    };
    if set.flow != *flow {
        let message = format!("rule_set {rule_set} is written for flow {}, not {flow}", set.flow);
        return Some(Fault::new(Code::InvalidValue, "flow", message));
    }
    let Some(found) = set.rules.iter().find(|known| known.id == *rule) else {
        return Some(unknown("rule", format!("rule_set {rule_set} has no rule {rule:?}")));
    };
    (found.category == Some(Category::Sanctions)).then(|| {
        let message = format!("rule {rule} is of category sanctions: it cannot be snoozed");
        Fault::new(Code::InvalidValue, "rule", message)
    })
}

fn salts_fault(next: &Catalogue, snooze: &SnoozeDefinition) -> Option<Fault> {
    let snoozes = snooze_objects(next).filter_map(|object| parse(&object.body).ok());
    let of_flow = snoozes.filter(|other: &SnoozeDefinition| other.flow == snooze.flow);
    let salts: BTreeSet<String> = of_flow.map(|other| other.salt).collect();
    (salts.len() > SNOOZE_SALTS_MAX).then(|| {
        let message = format!(
            "the snoozes of a flow use at most {SNOOZE_SALTS_MAX} salts: take that of another one"
        );
        Fault::new(Code::LimitExceeded, "salt", message)
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let code = if text.starts_with("unknown field") {
            Code::UnknownKey
        } else if text.starts_with("missing field") {
            Code::MissingKey
        } else {
            Code::InvalidValue
        };
        Fault::new(code, "", text)
    })
}

/// A definition that carries its own name must carry the object's.
fn named<T: DeserializeOwned>(
    object: &ObjectId,
    body: &[u8],
    key: &str,
    name: impl Fn(T) -> String,
) -> Faults {
    let found = match parse(body) {
        Ok(definition) => name(definition),
        Err(fault) => return vec![fault],
    };
    if found == object.name.as_str() {
        return Faults::new();
    }
    let message = format!("the body says {found:?}, but the object is {object}");
    vec![Fault::new(Code::InvalidValue, key, message)]
}

fn check_table(table: &TableDefinition) -> Faults {
    let mut faults = Faults::new();
    let mut seen = BTreeSet::new();
    for (position, column) in table.columns.iter().enumerate() {
        if !seen.insert(column) {
            let message = format!("the column {column:?} stands twice");
            faults.push(Fault::new(Code::DuplicateName, format!("columns[{position}]"), message));
        }
    }
    for (position, row) in table.rows.iter().enumerate() {
        if row.len() != table.columns.len() {
            let message = format!("{} cells in {} columns", row.len(), table.columns.len());
            faults.push(Fault::new(Code::TableInvalid, format!("rows[{position}]"), message));
        }
    }
    faults
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    #[expect(dead_code, reason = "read to be checked")]
    model: String,
}

fn check_model(object: &ObjectId, body: &[u8]) -> Faults {
    let mut faults = Faults::new();
    let files: ModelObject = match parse(body) {
        Ok(model) => model,
        Err(fault) => return vec![fault],
    };
    let is_hash = |text: &str| {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut hash = |path: String, text: &str| {
        if !is_hash(text) {
            let message = format!("expected a SHA-256 as 64 hexadecimal digits for {object}");
            faults.push(Fault::new(Code::InvalidValue, path, message));
        }
    };
    hash("content_hash".to_owned(), &files.content_hash);
    for (position, file) in files.files.iter().enumerate() {
        hash(format!("files[{position}].sha256"), &file.sha256);
    }
    for (position, file) in files.files.iter().enumerate() {
        let inside = !file.path.is_empty()
            && !file.path.contains(['\\', '\0'])
            && file.path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !inside {
            let message = format!("{:?} is no path inside the model's folder", file.path);
            faults.push(Fault::new(Code::InvalidValue, format!("files[{position}].path"), message));
        }
    }
    faults
}

fn check_flag(object: &ObjectId, body: &[u8]) -> Faults {
    match parse::<serde_json::Value>(body) {
        Ok(json) => validate_flag(object.name.as_str(), &json),
        Err(fault) => vec![fault],
    }
}

fn check_segment(object: &ObjectId, body: &[u8]) -> Faults {
    match parse::<serde_json::Value>(body) {
        Ok(json) => validate_segment(object.name.as_str(), &json),
        Err(fault) => vec![fault],
    }
}
