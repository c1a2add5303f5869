//! What longer requests have in them.

use serde::{Deserialize, Serialize};
use verdict_config::ObjectKind;
use verdict_consensus::Op;

/// A change of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRequest {
    /// The node; of a replacement, the one that is gone.
    pub node_id: u64,
    /// Makes a retry harmless; drawn by the node, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Only says what would happen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl MemberRequest {
    /// A change for a reason that the node gives, under a name that it draws.
    #[must_use]
    pub const fn new(node_id: u64) -> Self {
        Self { node_id, request_id: None, why: None, dry_run: false }
    }
}

/// A step of a change of the cluster's authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// The step.
    pub step: RotationStep,
    /// Makes a retry harmless.
    pub request_id: String,
    /// Why, for people.
    pub why: String,
    /// Only says what would happen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// The steps of a change of the cluster's authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationStep {
    /// A new authority is made and trusted beside the one that signs.
    Install,
    /// The new one signs: every node gets a certificate of it.
    Use,
    /// The old one is trusted no more, and its private key is gone.
    Remove,
    /// The new one, which signs nothing yet, is trusted no more.
    Abandon,
}

impl RotationStep {
    /// Every step.
    pub const ALL: [Self; 4] = [Self::Install, Self::Use, Self::Remove, Self::Abandon];

    /// The step as routes name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Use => "use",
            Self::Remove => "remove",
            Self::Abandon => "abandon",
        }
    }
}

/// A change set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Makes a retry harmless.
    pub request_id: String,
    /// Why, for people.
    pub why: String,
    /// Only says what would happen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Applied whole or not at all.
    pub changes: Vec<ObjectChange>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectChange {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// What is done.
    pub op: Op,
    /// Revision of the object's last change as the author saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
    /// The object; only with `put`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
}

/// A rollback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Makes a retry harmless.
    pub request_id: String,
    /// Why, for people.
    pub why: String,
    /// Only says what would happen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The revision whose state is restored.
    pub to_revision: u64,
    /// The objects that are restored; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectName>,
}

/// An object by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectName {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}
