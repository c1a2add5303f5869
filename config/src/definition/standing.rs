//! What a node is in its cluster, as the audit tells it: objects `standing-N` of the kind `member`.
//!
//! The members themselves are the consensus' own; these objects say who asked for what, and stand in
//! the history like every other change.

use serde::{Deserialize, Serialize};

use crate::{Code, Fault, Faults, ObjectId, ObjectKind};

/// How the names of these objects begin.
pub const STANDING_PREFIX: &str = "standing-";

/// What a node is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A member that follows.
    Learner,
    /// A member that votes.
    Voter,
    /// No member any more, for ever.
    Removed,
}

impl Standing {
    /// The standing of a member.
    #[must_use]
    pub const fn of_member(voter: bool) -> Self {
        if voter { Self::Voter } else { Self::Learner }
    }

    /// The standing as it stands in bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::Voter => "voter",
            Self::Removed => "removed",
        }
    }
}

/// What a node is in its cluster, and how it came to be that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberStanding {
    /// The cluster. In one that began from a backup, the members of the one before are nobody.
    pub cluster_id: String,
    /// The node, as the object's name has it.
    pub node_id: u64,
    /// What it is.
    pub standing: Standing,
    /// The node whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place_of: Option<u64>,
    /// The node that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<u64>,
}

impl MemberStanding {
    /// What a node of a cluster is.
    #[must_use]
    pub fn new(cluster_id: impl Into<String>, node_id: u64, standing: Standing) -> Self {
        let cluster_id = cluster_id.into();
        Self { cluster_id, node_id, standing, in_place_of: None, replaced_by: None }
    }

    /// The name of the object about a node.
    #[must_use]
    pub fn name_of(node_id: u64) -> String {
        format!("{STANDING_PREFIX}{node_id}")
    }

    /// Whether an object is one of these. They follow changes of the members, and nothing else
    /// changes them.
    #[must_use]
    pub fn is_object(object: &ObjectId) -> bool {
        Self::is_named(object.kind, object.name.as_str())
    }

    /// The same, of a kind and a name that was not checked.
    #[must_use]
    pub fn is_named(kind: ObjectKind, name: &str) -> bool {
        kind == ObjectKind::Member && name.starts_with(STANDING_PREFIX)
    }

    /// What is wrong with it under a name.
    #[must_use]
    pub fn faults(&self, name: &str) -> Faults {
        let mut faults = Faults::new();
        if Self::name_of(self.node_id) != name {
            let message = format!("the object of node {} is called {name}", self.node_id);
            faults.push(Fault::new(Code::InvalidValue, "node_id", message));
        }
        let own = Some(self.node_id);
        for (path, other) in [("in_place_of", self.in_place_of), ("replaced_by", self.replaced_by)]
        {
            if other == own {
                let message = "a node does not take its own place".to_owned();
                faults.push(Fault::new(Code::InvalidValue, path, message));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectName;

    #[test]
    fn an_object_is_about_the_node_of_its_name() {
        let standing = MemberStanding::new("c", 4, Standing::Voter);
        assert_eq!(standing.faults("standing-4"), []);
        let body = serde_json::to_string(&standing).unwrap();
        assert_eq!(body, r#"{"cluster_id":"c","node_id":4,"standing":"voter"}"#);
        assert_eq!(serde_json::from_str::<MemberStanding>(&body).unwrap(), standing);

        let wrong = MemberStanding { in_place_of: Some(4), ..standing };
        let paths: Vec<String> =
            wrong.faults("standing-04").into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["node_id", "in_place_of"]);
    }

    #[test]
    fn only_these_objects_are_these() {
        let is = |kind, name: &str| {
            let name = ObjectName::new(kind, name).unwrap();
            MemberStanding::is_object(&ObjectId { kind, name })
        };
        assert!(is(ObjectKind::Member, "standing-4"));
        assert!(!is(ObjectKind::Member, "node-4") && !is(ObjectKind::List, "standing-4"));
    }
}
