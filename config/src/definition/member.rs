//! What the catalogue says about members: where a node is, and how the cluster looks after itself.
//!
//! Objects of the kind `member`: `node-N` is a [`MemberPlace`], `cluster` is the [`ClusterPolicy`],
//! `authority` is a [`ClusterAuthority`](super::ClusterAuthority), `standing-N` is a
//! [`MemberStanding`](super::MemberStanding), `join-...` is a token.

use serde::{Deserialize, Serialize};

use crate::name::is_plain_name;
use crate::{Code, Fault, Faults, ObjectId, ObjectKind};

/// The name of the object that holds the [`ClusterPolicy`].
pub const POLICY_NAME: &str = "cluster";
/// The shortest time after which a silent member may be removed.
const REMOVE_AFTER_S_MIN: u64 = 60;
/// The longest one.
const REMOVE_AFTER_S_MAX: u64 = 90 * 86_400;

/// How the names of join tokens begin.
pub const JOIN_TOKEN_PREFIX: &str = "join-";

/// Whether an object is a one-time token. A rollback never brings one back: it would be good again
/// although it was used.
#[must_use]
pub fn is_join_token(object: &ObjectId) -> bool {
    object.kind == ObjectKind::Member && object.name.as_str().starts_with(JOIN_TOKEN_PREFIX)
}

/// Where a member is, in place of what its own settings say. It holds from the revision on that
/// says so, on every node alike.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberPlace {
    /// The region, a plain name, which flags may be limited to.
    pub region: String,
}

impl MemberPlace {
    /// The node that an object is about: 4 for `node-4`.
    #[must_use]
    pub fn node_of(name: &str) -> Option<u64> {
        let digits = name.strip_prefix("node-")?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain)
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        place_fault("region", &self.region).into_iter().collect()
    }
}

/// How a cluster looks after itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterPolicy {
    /// Where the leader should be, a plain name; anywhere, if empty. A leader elsewhere hands its
    /// office to an up-to-date voter there.
    pub preferred_leader_region: String,
    /// A member that nobody has heard of for so long is removed, where at least three voters and a
    /// majority that is heard from remain; 0: never.
    pub remove_dead_after_s: u64,
}

impl ClusterPolicy {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        if !self.preferred_leader_region.is_empty() {
            faults.extend(place_fault("preferred_leader_region", &self.preferred_leader_region));
        }
        let after = self.remove_dead_after_s;
        if after != 0 && !(REMOVE_AFTER_S_MIN..=REMOVE_AFTER_S_MAX).contains(&after) {
            let message =
                format!("0, or {REMOVE_AFTER_S_MIN} to {REMOVE_AFTER_S_MAX} seconds, got {after}");
            faults.push(Fault::new(Code::InvalidValue, "remove_dead_after_s", message));
        }
        faults
    }
}

fn place_fault(path: &str, name: &str) -> Option<Fault> {
    let message = || format!("{name:?}: {}", Code::InvalidName.advice());
    (!is_plain_name(name)).then(|| Fault::new(Code::InvalidValue, path, message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes() {
        for (name, node) in [("node-4", Some(4)), ("node-04", None), ("node-", None)] {
            assert_eq!(MemberPlace::node_of(name), node, "{name}");
        }
        assert_eq!(MemberPlace::node_of("join-4"), None);
        assert_eq!(MemberPlace::node_of("node-+4"), None);
    }

    #[test]
    fn what_cannot_be_is_told() {
        assert!(ClusterPolicy::default().faults().is_empty());
        let hasty = ClusterPolicy {
            preferred_leader_region: "Not plain".to_owned(),
            remove_dead_after_s: 5,
        };
        let paths: Vec<_> = hasty.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["preferred_leader_region", "remove_dead_after_s"]);
    }
}
