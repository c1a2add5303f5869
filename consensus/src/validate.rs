//! What a body must be before it may stand in the catalogue.
//!
//! Checks are pure and the same on every node. Deeper checks (compiling rules and flows) belong to
//! whoever proposes: what they relied on comes along as the change set's requirements.

use serde::de::DeserializeOwned;
use verdict_config::definition::{
    AUTHORITY_NAME, ClusterAuthority, ClusterPolicy, FlowDefinition, KeyDefinition, ListDefinition,
    MemberPlace, POLICY_NAME, RuleSetDefinition, TableDefinition,
};
use verdict_config::flags::{validate_flag, validate_segment};
use verdict_config::model::ModelObject;
use verdict_config::{Code, Fault, Faults, ObjectId, ObjectKind};

use crate::catalogue::Catalogue;

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
            ObjectKind::Member if MemberPlace::node_of(object.name.as_str()).is_some() => {
                parse(body).map_or_else(|fault| vec![fault], |place: MemberPlace| place.faults())
            }
            ObjectKind::Experiment | ObjectKind::Rollout | ObjectKind::Member => {
                let object = parse::<serde_json::Map<String, serde_json::Value>>(body);
                object.err().into_iter().collect()
            }
            ObjectKind::Segment => check_segment(object, body),
            ObjectKind::Setting => Faults::new(),
        }
    }

    fn checks_references(&self) -> bool {
        true
    }
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
    let mut seen = std::collections::BTreeSet::new();
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
