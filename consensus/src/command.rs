//! Change sets as they are proposed, and commands as they stand in the log.

mod envelope;

pub(crate) use envelope::{COMMAND_BYTES_MAX, EvidenceV2, ObjectIdV1, decode};
pub use envelope::{
    COMMAND_VERSION, EVALUATION_V2_SINCE, EnvelopeError, decode_within, open, seal,
};

use verdict_config::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName, TimestampMs};

use crate::digest::{ContentHash, PartsHasher};
use crate::json::compact_json;
use crate::proof::Proof;

/// The most objects a change set touches.
pub const CHANGES_MAX: usize = 1_000;
/// The most bytes the bodies of a change set have together.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// The most bytes that the bodies of a change set have together which stand outside the log.
pub const STORED_BYTES_MAX: u64 = 32 << 20;
/// A body above it stands outside the log, in the nodes' stores: the log carries its hash.
pub const INLINE_BYTES_MAX: usize = 32 << 10;
/// The most evidence of a change set: nodes times models.
pub const EVIDENCE_MAX: usize = 16_384;
/// The longest `request_id` in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// The longest `why` and author in bytes.
pub const WHY_BYTES_MAX: usize = 2_048;

/// What a change does with its object.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Creates or replaces it.
    Put,
    /// Deletes it.
    Delete,
}

impl Op {
    /// The operation as it stands in bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// A change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// Its name, not yet checked.
    pub name: String,
    /// What is done.
    pub op: Op,
    /// The revision of the object's last change as the author saw it: 0 for "does not exist". Not
    /// compared if absent.
    pub expected_revision: Option<u64>,
    /// The body as JSON text; only with `put`.
    pub body: Option<Vec<u8>>,
    /// Set where the body stands in the nodes' stores and the log carries only this. Whoever applies
    /// the change fills `body` in first.
    pub stored: Option<StoredBody>,
}

/// A body that stands outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoredBody {
    /// SHA-256 of its bytes.
    pub hash: ContentHash,
    /// How many they are.
    pub bytes: u64,
}

impl StoredBody {
    /// The reference to a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self { hash: ContentHash::of(body), bytes: body.len() as u64 }
    }
}

/// That a node had a model fetched, verified, loaded and warmed before a change made it active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Evidence {
    /// Content hash of the model's folder.
    pub model: ContentHash,
    /// The node.
    pub node_id: u64,
    /// When it had, by its own clock.
    pub at: TimestampMs,
}

impl Change {
    /// A put.
    pub fn put(kind: ObjectKind, name: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let (name, body) = (name.into(), Some(body.into()));
        Self { kind, name, op: Op::Put, expected_revision: None, body, stored: None }
    }

    /// A delete.
    pub fn delete(kind: ObjectKind, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { kind, name, op: Op::Delete, expected_revision: None, body: None, stored: None }
    }

    /// The same change, compared with the object's revision.
    #[must_use]
    pub fn expecting(mut self, revision: u64) -> Self {
        self.expected_revision = Some(revision);
        self
    }

    /// The object it touches.
    ///
    /// # Errors
    /// The fault of its name, at path `name`.
    pub fn object(&self) -> Result<ObjectId, Fault> {
        ObjectName::new(self.kind, self.name.as_str())
            .map(|name| ObjectId { kind: self.kind, name })
    }
}

/// The interface that a change set was compiled against: if the object's interface
/// ([`interface_hash`](crate::interface_hash)) is another one when the change set is applied, it is
/// refused. So two edits, each valid where it was made, never add up to a catalogue that no node
/// can compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The object.
    pub object: ObjectId,
    /// Its interface's hash; `None`: the object is absent.
    pub interface: Option<ContentHash>,
}

/// What a rollback restores. The change set that carries it is a forward change like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restores {
    /// The revision whose state is restored.
    pub to_revision: u64,
    /// The objects that were asked for; empty: all.
    pub objects: Vec<ObjectId>,
}

/// A change set: applied whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    /// Makes a retry harmless. 1 to [`REQUEST_ID_BYTES_MAX`] bytes.
    pub request_id: String,
    /// Why, for people and audit.
    pub why: String,
    /// The changes; an object stands in at most one.
    pub changes: Vec<Change>,
    /// What it was compiled against.
    pub requires: Vec<Requirement>,
    /// Set if it is a rollback.
    pub restores: Option<Restores>,
    /// Which nodes had the models loaded that it makes active. No part of what a retry must equal.
    pub evidence: Vec<Evidence>,
}

impl ChangeSet {
    /// A change set of changes.
    pub fn new(
        request_id: impl Into<String>,
        why: impl Into<String>,
        changes: Vec<Change>,
    ) -> Self {
        Self { request_id: request_id.into(), why: why.into(), changes, ..Self::default() }
    }

    /// The same with every large body marked to stand outside the log. Whoever proposes it puts them
    /// into the nodes' stores first.
    #[must_use]
    pub fn with_large_bodies_stored(mut self) -> Self {
        for change in &mut self.changes {
            let large = change.body.as_ref().filter(|body| body.len() > INLINE_BYTES_MAX);
            // What is no JSON is refused later, with its place.
            let Some(Ok(compact)) = large.map(|body| compact_json(body)) else { continue };
            let is_large = compact.len() > INLINE_BYTES_MAX;
            change.stored = is_large.then(|| StoredBody::of(&compact));
            change.body = Some(compact);
        }
        self
    }

    /// Checks sizes, names and bodies, and brings bodies into the stored form. What comes out is
    /// what a log may append.
    ///
    /// # Errors
    /// Every fault, with paths like `changes[2].name`.
    pub fn normalised(mut self) -> Result<Self, Faults> {
        let mut faults = self.size_faults();
        if faults.iter().any(|fault| fault.code == Code::LimitExceeded) {
            return Err(faults);
        }
        for (position, change) in self.changes.iter_mut().enumerate() {
            let path = format!("changes[{position}]");
            if let Err(fault) = change.object() {
                faults.push(fault.under(&path));
            }
            match (change.op, change.body.take()) {
                (Op::Put, Some(body)) => match compact_json(&body) {
                    Ok(compact) => {
                        if change.stored.is_some_and(|stored| stored != StoredBody::of(&compact)) {
                            let message = "the body is not the one that its hash names";
                            let path = format!("{path}.body");
                            faults.push(Fault::new(Code::InvalidValue, path, message));
                        }
                        change.body = Some(compact);
                    }
                    Err(fault) => faults.push(fault.under(&format!("{path}.body"))),
                },
                (Op::Put, None) => faults.push(Fault::new(
                    Code::MissingKey,
                    format!("{path}.body"),
                    "a put needs a body",
                )),
                (Op::Delete, Some(_)) => faults.push(Fault::new(
                    Code::InvalidValue,
                    format!("{path}.body"),
                    "a delete has no body",
                )),
                (Op::Delete, None) => {}
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// Faults of counts and lengths, and of objects that stand twice.
    pub(crate) fn size_faults(&self) -> Faults {
        let mut faults = Faults::new();
        let mut limit = |path: &str, message: String| {
            faults.push(Fault::new(Code::LimitExceeded, path, message));
        };
        if self.changes.len() > CHANGES_MAX || self.requires.len() > CHANGES_MAX {
            let message = format!("at most {CHANGES_MAX} objects, got {}", self.changes.len());
            limit("changes", message);
        }
        let inline = self.changes.iter().filter(|change| change.stored.is_none());
        let bytes: usize = inline.filter_map(|change| change.body.as_ref()).map(Vec::len).sum();
        if bytes > BODY_BYTES_MAX {
            limit("changes", format!("bodies of at most {BODY_BYTES_MAX} bytes, got {bytes}"));
        }
        let stored = self.changes.iter().filter_map(|change| change.stored);
        let bytes = stored.fold(0u64, |sum, stored| sum.saturating_add(stored.bytes));
        if bytes > STORED_BYTES_MAX {
            let message = format!("large bodies of at most {STORED_BYTES_MAX} bytes, got {bytes}");
            limit("changes", message);
        }
        if self.evidence.len() > EVIDENCE_MAX {
            let message =
                format!("evidence of at most {EVIDENCE_MAX}, got {}", self.evidence.len());
            limit("evidence", message);
        }
        if self.why.len() > WHY_BYTES_MAX {
            limit("why", format!("at most {WHY_BYTES_MAX} bytes, got {}", self.why.len()));
        }
        let restored = self.restores.as_ref().map_or(0, |restores| restores.objects.len());
        if restored > CHANGES_MAX {
            limit("objects", format!("at most {CHANGES_MAX} objects, got {restored}"));
        }
        if self.changes.is_empty() {
            faults.push(Fault::new(Code::MissingKey, "changes", "a change set has a change"));
        }
        let id_fits = (1..=REQUEST_ID_BYTES_MAX).contains(&self.request_id.len())
            && !self.request_id.chars().any(char::is_control);
        if !id_fits {
            let message =
                format!("1 to {REQUEST_ID_BYTES_MAX} bytes of text without control characters");
            faults.push(Fault::new(Code::InvalidValue, "request_id", message));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (position, change) in self.changes.iter().enumerate().take(CHANGES_MAX) {
            if !seen.insert((change.kind, change.name.as_str())) {
                let message = format!("{}/{} stands twice", change.kind, change.name);
                let path = format!("changes[{position}]");
                faults.push(Fault::new(Code::DuplicateName, path, message));
            }
        }
        faults
    }

    /// What a retry must equal: the changes, or for a rollback what it asked to restore (planned
    /// anew, its changes may be others).
    #[must_use]
    pub fn digest(&self) -> ContentHash {
        let mut hasher = PartsHasher::new("verdict change set 1");
        hasher.part(self.why.as_bytes());
        if let Some(restores) = &self.restores {
            hasher.part(b"restores").number(restores.to_revision);
            for object in &restores.objects {
                hasher.part(object.kind.as_str().as_bytes()).part(object.name.as_str().as_bytes());
            }
            return hasher.finish();
        }
        for change in &self.changes {
            hasher.part(change.kind.as_str().as_bytes()).part(change.name.as_bytes());
            hasher.part(change.op.as_str().as_bytes());
            hasher
                .number(change.expected_revision.map_or(0, |revision| revision.saturating_add(1)));
            hasher.part(change.body.as_deref().unwrap_or_default());
        }
        hasher.finish()
    }
}

/// The proposer of a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// The name of the key or operator.
    pub name: String,
    /// The address the request came from, if it came over a network. The node that took the request
    /// says so; nothing proves it.
    pub address: Option<String>,
    /// What the person sent, for a leader elsewhere. It ends with the proposal: the log, the history
    /// and snapshots never hold it.
    pub proof: Option<Proof>,
}

impl Author {
    /// An author without an address.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), address: None, proof: None }
    }

    /// The author as the log keeps it.
    #[must_use]
    pub fn without_proof(self) -> Self {
        Self { proof: None, ..self }
    }
}

/// A proposed change set with what the log stamped on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propose {
    /// The change set, normalised.
    pub change_set: ChangeSet,
    /// Who.
    pub author: Author,
    /// When, by the clock of the log's leader.
    pub at: TimestampMs,
}

/// What stands in the log. Append only: variants keep their order for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A change set.
    Propose(Propose),
}
