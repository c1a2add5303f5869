//! The seam to [`crate::flags`]: flagd files as objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName};

pub fn validate_flag(_name: &str, _body: &Json) -> Faults {
    Faults::new()
}

pub fn validate_segment(_name: &str, _body: &Json) -> Faults {
    Faults::new()
}

pub fn split_file(_stem: &str, bytes: &[u8]) -> Result<Vec<(ObjectId, Json)>, Faults> {
    let json: Json = serde_json::from_slice(bytes)
        .map_err(|error| vec![Fault::new(Code::InvalidSyntax, "", error.to_string())])?;
    let mut objects = Vec::new();
    for (name, body) in json["flags"].as_object().into_iter().flatten() {
        let name = ObjectName::new(ObjectKind::Flag, name.as_str()).map_err(|fault| vec![fault])?;
        objects.push((ObjectId { kind: ObjectKind::Flag, name }, body.clone()));
    }
    Ok(objects)
}

pub fn join_files(
    _objects: &BTreeMap<ObjectId, Json>,
) -> (BTreeMap<String, Vec<u8>>, BTreeSet<ObjectId>) {
    (BTreeMap::new(), BTreeSet::new())
}
