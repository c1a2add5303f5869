//! JSON bodies to typed objects, with every structural fault.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::definition::{
    FlowDefinition, ListDefinition, RuleDefinition, RuleSetDefinition, TableDefinition,
};
use crate::model::ModelObject;
use crate::name::is_plain_name;
use crate::plain::plain_message;
use crate::{Code, Fault, Faults, Field, ObjectKind};

/// The most rules of a set.
pub const RULES_MAX: usize = 20_000;
/// The most fields of a flow.
pub const FIELDS_MAX: usize = 512;
/// The most entries of a list and rows of a table.
pub const ROWS_MAX: usize = 1_000_000;
/// The most columns of a table.
pub const COLUMNS_MAX: usize = 64;

/// A typed body. Kinds whose meaning other layers own stay JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A list.
    List(ListDefinition),
    /// A table.
    Table(TableDefinition),
    /// A rule set.
    RuleSet(Box<RuleSetDefinition>),
    /// A flow.
    Flow(Box<FlowDefinition>),
    /// A model's manifest and files.
    Model(Box<ModelObject>),
    /// An alias: the model it points to.
    Alias(AliasDefinition),
    /// Flags, segments, settings and the kinds of later layers.
    Json(Json),
}

/// A name that points to a model.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct AliasDefinition {
    /// The model's name.
    pub model: String,
}

/// Reads a body of a kind. References to other objects are not looked at here.
///
/// # Errors
/// Every structural fault with its path.
pub fn read_body(kind: ObjectKind, name: &str, json: &Json) -> Result<Body, Faults> {
    match kind {
        ObjectKind::List => read_list(json).map(Body::List),
        ObjectKind::Table => read_table(json).map(Body::Table),
        ObjectKind::RuleSet => read_rule_set(name, json).map(|set| Body::RuleSet(Box::new(set))),
        ObjectKind::Flow => read_flow(name, json).map(|flow| Body::Flow(Box::new(flow))),
        ObjectKind::Model => {
            typed::<ModelObject>(json, "").map(|model| Body::Model(Box::new(model)))
        }
        ObjectKind::Alias => typed(json, "").map(Body::Alias),
        ObjectKind::Flag | ObjectKind::Segment => {
            let faults = match kind {
                ObjectKind::Flag => super::flag_files::validate_flag(name, json),
                _ => super::flag_files::validate_segment(name, json),
            };
            if faults.is_empty() { Ok(Body::Json(json.clone())) } else { Err(faults) }
        }
        ObjectKind::Experiment
        | ObjectKind::Rollout
        | ObjectKind::Key
        | ObjectKind::Member
        | ObjectKind::Setting => Ok(Body::Json(json.clone())),
    }
}

/// Reads JSON into a type; the one fault that serde finds gets its path and code.
fn typed<T: DeserializeOwned>(json: &Json, prefix: &str) -> Result<T, Faults> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        let message = error.inner().to_string();
        let code = if message.starts_with("unknown field") {
            Code::UnknownKey
        } else if message.starts_with("missing field") {
            Code::MissingKey
        } else {
            Code::InvalidValue
        };
        vec![Fault::new(code, path, plain_message(&message)).under(prefix)]
    })
}

fn read_list(json: &Json) -> Result<ListDefinition, Faults> {
    let list: ListDefinition = typed(json, "")?;
    let mut faults = Faults::new();
    if list.entries.len() > ROWS_MAX {
        let message = format!("a list has at most {ROWS_MAX} entries");
        faults.push(Fault::new(Code::LimitExceeded, "entries", message));
    }
    for (position, entry) in list.entries.iter().enumerate() {
        if entry.value.trim().is_empty() {
            let path = format!("entries[{position}].value");
            faults.push(Fault::new(Code::InvalidValue, path, "an entry needs a value"));
        }
    }
    done(list, faults)
}

fn read_table(json: &Json) -> Result<TableDefinition, Faults> {
    let table: TableDefinition = typed(json, "")?;
    let mut faults = Faults::new();
    if table.columns.is_empty() || table.columns.len() > COLUMNS_MAX {
        let message = format!("a table has 1 to {COLUMNS_MAX} columns");
        faults.push(Fault::new(Code::LimitExceeded, "columns", message));
    }
    if table.rows.len() > ROWS_MAX {
        let message = format!("a table has at most {ROWS_MAX} rows");
        faults.push(Fault::new(Code::LimitExceeded, "rows", message));
    }
    for (position, column) in table.columns.iter().enumerate() {
        if table.columns[..position].contains(column) {
            let path = format!("columns[{position}]");
            faults.push(Fault::new(
                Code::DuplicateName,
                path,
                format!("column {column:?} stands twice"),
            ));
        }
    }
    for (position, row) in table.rows.iter().enumerate() {
        if row.len() != table.columns.len() {
            let message = format!("expected {} cells, got {}", table.columns.len(), row.len());
            faults.push(Fault::new(Code::InvalidValue, format!("rows[{position}]"), message));
        }
    }
    done(table, faults)
}

fn read_rule_set(name: &str, json: &Json) -> Result<RuleSetDefinition, Faults> {
    // Rules are read one by one, so that a fault in one does not hide those of the others.
    let mut faults = Faults::new();
    let mut shell = json.clone();
    let rules = shell.get_mut("rules").and_then(Json::as_array_mut).map(std::mem::take);
    let rules = rules.unwrap_or_default();
    let mut read = Vec::with_capacity(rules.len().min(RULES_MAX));
    if rules.len() > RULES_MAX {
        let message = format!("a rule set has at most {RULES_MAX} rules");
        return Err(vec![Fault::new(Code::LimitExceeded, "rules", message)]);
    }
    for (position, rule) in rules.iter().enumerate() {
        match typed::<RuleDefinition>(rule, &format!("rules[{position}]")) {
            Ok(rule) => {
                check_rule(&rule, &format!("rules[{position}]"), &mut faults);
                read.push(rule);
            }
            Err(found) => faults.extend(found),
        }
    }
    match typed::<RuleSetDefinition>(&shell, "") {
        Ok(mut set) => {
            check_name(name, &set.rule_set, "rule_set", &mut faults);
            set.rules = read;
            let mut ids = std::collections::BTreeSet::new();
            for (position, rule) in set.rules.iter().enumerate() {
                if !ids.insert(rule.id.as_str()) {
                    let path = format!("rules[{position}].id");
                    let message = format!("rule id {:?} is used twice", rule.id);
                    faults.push(Fault::new(Code::DuplicateName, path, message));
                }
            }
            done(set, faults)
        }
        Err(found) => {
            faults.extend(found);
            Err(faults)
        }
    }
}

fn check_name(name: &str, inside: &str, path: &str, faults: &mut Faults) {
    if name != inside {
        let message = format!("the object is named {name:?} but says {inside:?}; make them equal");
        faults.push(Fault::new(Code::InvalidName, path, message));
    }
}

fn check_rule(rule: &RuleDefinition, path: &str, faults: &mut Faults) {
    let mut fault = |code, key: &str, message: String| {
        faults.push(Fault::new(code, format!("{path}.{key}"), message));
    };
    if !is_plain_name(&rule.id) {
        let message = format!("{:?} is no rule id. {}", rule.id, Code::InvalidName.advice());
        fault(Code::InvalidName, "id", message);
    }
    if rule.when.is_none() && rule.table.is_none() {
        fault(Code::MissingKey, "when", "a rule needs `when`, or `table`, or both".to_owned());
    }
    let then = &rule.then;
    let bounds = [("points", then.points, -1_000), ("floor", then.floor, 0), ("cap", then.cap, 0)];
    for (key, value, least) in bounds {
        if value.is_some_and(|value| !(least..=1_000).contains(&value)) {
            let message = format!("{key} runs from {least} to 1000");
            fault(Code::InvalidValue, &format!("then.{key}"), message);
        }
    }
    if then.confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
        fault(Code::InvalidValue, "then.confidence", "a confidence runs from 0 to 1".to_owned());
    }
    if then.reason.as_deref().is_some_and(|reason| !is_reason(reason)) {
        let message = "a reason code is [A-Z][A-Z0-9_]{0,63}".to_owned();
        fault(Code::InvalidName, "then.reason", message);
    }
}

/// Whether a text is `[A-Z][A-Z0-9_]{0,63}`.
#[must_use]
pub fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_uppercase()
        && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
}

fn read_flow(name: &str, json: &Json) -> Result<FlowDefinition, Faults> {
    let mut faults = Faults::new();
    let mut shell = json.clone();
    // Fields one by one, as rules are.
    let mut fields = indexmap::IndexMap::new();
    let written = shell.get_mut("fields").and_then(Json::as_object_mut).map(std::mem::take);
    for (field_name, field) in written.unwrap_or_default() {
        let path = format!("fields.{field_name}");
        match typed::<Field>(&field, &path) {
            Ok(field) => {
                check_field(&field_name, &field, &path, &mut faults);
                fields.insert(field_name, field);
            }
            Err(found) => faults.extend(found),
        }
    }
    if fields.len() > FIELDS_MAX {
        let message = format!("a flow has at most {FIELDS_MAX} fields");
        faults.push(Fault::new(Code::LimitExceeded, "fields", message));
    }
    match typed::<FlowDefinition>(&shell, "") {
        Ok(mut flow) => {
            check_name(name, &flow.flow, "flow", &mut faults);
            flow.fields = fields;
            done(flow, faults)
        }
        Err(found) => {
            faults.extend(found);
            Err(faults)
        }
    }
}

fn check_field(name: &str, field: &Field, path: &str, faults: &mut Faults) {
    let mut characters = name.bytes();
    let starts = characters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts || name.len() > 64 || !characters.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        let message = format!("{name:?} is no field name: [A-Za-z_][A-Za-z0-9_]{{0,63}}");
        faults.push(Fault::new(Code::InvalidName, path, message));
    }
    if let (Some(min), Some(max)) = (field.min, field.max)
        && min > max
    {
        faults.push(Fault::new(Code::InvalidValue, path, format!("min {min} is above max {max}")));
    }
}

fn done<T>(value: T, faults: Faults) -> Result<T, Faults> {
    if faults.is_empty() { Ok(value) } else { Err(faults) }
}
