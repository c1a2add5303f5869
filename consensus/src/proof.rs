//! Evidence that a person asked for something, and the check of it by the node that leads.
//!
//! A node that forwards a request says nothing that the leader believes: the leader looks at what the
//! person sent, and finds the author, the role and the scope in its own catalogue and settings. A
//! request without such evidence counts as the node's own; what a node may do by itself is a short
//! list ([`node_may_change`](crate::authority::node_may_change)).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::Code;

use crate::catalogue::Catalogue;
use crate::command::{Author, ChangeSet};
use crate::peers::Secret;
use crate::raft::{MemberCommand, Members, NodeId};

/// From this version of the cluster on, forwarded requests need proof. Before it, older programs take
/// part that send none.
pub const PROOF_FROM_VERSION: u16 = 3;

/// What a person sent to prove who they are. It travels between nodes, and is never stored or logged.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// An API key. It proves the caller, not the request: a node that a client sends its key to can
    /// use the key for anything.
    ApiKey(Arc<str>),
    /// An operator's signed request, as it came in. It proves its content, too.
    Envelope(Arc<[u8]>),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::ApiKey(_) => "ApiKey(..)",
            Self::Envelope(_) => "Envelope(..)",
        })
    }
}

impl Proof {
    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::ApiKey(key) => key.len(),
            Self::Envelope(sealed) => sealed.len(),
        }
    }
}

/// A proof between nodes. Grows at its end only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProofV1 {
    /// An API key.
    ApiKey(Secret),
    /// An operator's signed request.
    Envelope(Vec<u8>),
}

impl std::fmt::Debug for ProofV1 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProofV1(..)")
    }
}

impl From<&Proof> for ProofV1 {
    fn from(proof: &Proof) -> Self {
        match proof {
            Proof::ApiKey(key) => Self::ApiKey(Secret(key.as_ref().to_owned())),
            Proof::Envelope(sealed) => Self::Envelope(sealed.to_vec()),
        }
    }
}

impl From<ProofV1> for Proof {
    fn from(proof: ProofV1) -> Self {
        match proof {
            ProofV1::ApiKey(key) => Self::ApiKey(key.0.into()),
            ProofV1::Envelope(sealed) => Self::Envelope(sealed.into()),
        }
    }
}

/// Why a forwarded request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Denied {
    /// The stable code.
    pub code: Code,
    /// What is wrong, in a sentence.
    pub detail: String,
}

impl Denied {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// A request that another node forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded<'a> {
    /// The node, as its certificate proves it.
    pub from: NodeId,
    /// What the person sent; none where the node acts by itself.
    pub proof: Option<&'a Proof>,
    /// Who the node says it is for. Only a duty of the node is taken from it.
    pub claimed: &'a Author,
    /// The members, as the leader knows them.
    pub members: &'a Members,
    /// The catalogue that the leader has applied.
    pub catalogue: &'a Catalogue,
}

/// The leader's check of what other nodes forward.
pub trait ProofCheck: Send + Sync {
    /// The author of a change set, as the proof says.
    ///
    /// # Errors
    /// Why the leader refuses it.
    fn change(&self, forwarded: &Forwarded<'_>, set: &ChangeSet) -> Result<Author, Denied>;

    /// Whether a change of the members may be made.
    ///
    /// # Errors
    /// Why the leader refuses it.
    fn member(&self, forwarded: &Forwarded<'_>, command: &MemberCommand) -> Result<(), Denied>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_does_not_show_its_content() {
        let key = Proof::ApiKey("vk_secret".into());
        let author = Author { proof: Some(key.clone()), ..Author::named("ann") };
        for shown in [format!("{key:?}"), format!("{author:?}")] {
            assert!(!shown.contains("vk_secret"), "{shown}");
        }
        assert_eq!(author.without_proof(), Author::named("ann"));
    }
}
