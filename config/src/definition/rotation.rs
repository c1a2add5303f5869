//! A rotation of the certificate authority that the removal of a voter began: the object `rotation`
//! of the kind `member`, there until the rotation is done.

use serde::{Deserialize, Serialize};

use crate::{Code, Fault, Faults, ObjectId, ObjectKind};

/// The name of the object that holds the [`PendingRotation`].
pub const ROTATION_NAME: &str = "rotation";

/// A rotation that is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PendingRotation {
    /// The cluster. In one that began from a backup, the rotation of the one before is nothing.
    pub cluster_id: String,
    /// The voters whose removal began it.
    pub nodes: Vec<u64>,
    /// SHA-256 of the certificates of the authorities that have to go, in hexadecimal digits.
    pub replaces: Vec<String>,
}

impl PendingRotation {
    /// A rotation of a cluster that replaces nothing yet.
    #[must_use]
    pub fn new(cluster_id: impl Into<String>) -> Self {
        Self { cluster_id: cluster_id.into(), nodes: Vec::new(), replaces: Vec::new() }
    }

    /// Adds removed voters, and the authorities whose keys they had.
    pub fn add(&mut self, nodes: &[u64], authorities: impl Iterator<Item = String>) {
        self.nodes.extend(nodes);
        self.nodes.sort_unstable();
        self.nodes.dedup();
        self.replaces.extend(authorities);
        self.replaces.sort_unstable();
        self.replaces.dedup();
    }

    /// Whether an object is the one that this is the value of. The cluster changes it alone.
    #[must_use]
    pub fn is_object(object: &ObjectId) -> bool {
        Self::is_named(object.kind, object.name.as_str())
    }

    /// The same, of a kind and a name that was not checked.
    #[must_use]
    pub fn is_named(kind: ObjectKind, name: &str) -> bool {
        kind == ObjectKind::Member && name == ROTATION_NAME
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        for (path, absent) in
            [("nodes", self.nodes.is_empty()), ("replaces", self.replaces.is_empty())]
        {
            if absent {
                faults.push(Fault::new(Code::InvalidValue, path, "at least one is named"));
            }
        }
        faults
    }
}
