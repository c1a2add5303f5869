//! JSON Schemas for editors of catalogue files.

use std::collections::BTreeMap;

use schemars::schema_for;
use serde_json::Value as Json;

use super::body::AliasDefinition;
use crate::definition::{FlowDefinition, RuleSetDefinition};
use crate::model::ModelManifest;

/// The schemas by file name; `verdict dev` writes them to the catalogue's `schemas` folder, where
/// editors find them by the `yaml-language-server` line at the head of each file.
#[must_use]
pub fn editor_schemas() -> BTreeMap<&'static str, Json> {
    BTreeMap::from([
        ("alias.schema.json", schema_for!(AliasDefinition).to_value()),
        ("flow.schema.json", schema_for!(FlowDefinition).to_value()),
        ("model.schema.json", schema_for!(ModelManifest).to_value()),
        ("rule_set.schema.json", schema_for!(RuleSetDefinition).to_value()),
    ])
}
