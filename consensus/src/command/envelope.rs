//! Versioned envelopes: `[magic 4][version u16 LE][bincode payload]`.
//!
//! bincode neither defaults added fields nor refuses trailing bytes, and an inserted enum variant
//! decodes as another one in silence. So every version has its own structs, which never change once
//! released; enums only grow at their end; a decode consumes every byte, within a size limit; and
//! golden bytes in the tests hold the form fast.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use verdict_config::{ObjectId, ObjectKind, ObjectName, TimestampMs};

use super::{
    Author, Change, ChangeSet, Command, Evidence, Op, Propose, Requirement, Restores, StoredBody,
};
use crate::digest::ContentHash;

/// Begins every command.
pub const COMMAND_MAGIC: [u8; 4] = *b"VDCM";
/// The newest version of the cluster's protocol that this program knows. A cluster uses a version once
/// every member's program knows it. Version 2 allows bodies outside the log; version 3 requires proof
/// of who acts and evaluates rules by [`verdict_config::EvaluationVersion::V2`].
pub const COMMAND_VERSION: u16 = 3;
/// From this version of the cluster on, rules evaluate by [`verdict_config::EvaluationVersion::V2`].
pub const EVALUATION_V2_SINCE: u16 = 3;
/// The newest form of a command's bytes. A command is written in the oldest form that can hold it; the
/// second form is used only where the cluster's version allows it.
const COMMAND_FORM: u16 = 2;
/// The longest envelope of a command: bodies, names and what stands around them.
pub const COMMAND_BYTES_MAX: usize = 10 << 20;

/// Why bytes are no envelope of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Another magic: another kind of thing.
    #[error("the bytes do not begin with the magic {expected:?}")]
    Magic {
        /// What should stand there.
        expected: String,
    },
    /// Written by a newer program.
    #[error("version {found} is newer than {known}, the newest this program knows")]
    Newer {
        /// The version that stands there.
        found: u16,
        /// The newest known one.
        known: u16,
    },
    /// Too long.
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLong {
        /// Length in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The payload is not what the version says.
    #[error("the payload cannot be decoded: {0}")]
    Payload(String),
}

/// Writes an envelope.
pub fn seal<T: Serialize>(
    magic: [u8; 4],
    version: u16,
    payload: &T,
) -> Result<Vec<u8>, EnvelopeError> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bincode::serde::encode_into_std_write(payload, &mut bytes, bincode::config::standard())
        .map_err(|error| EnvelopeError::Payload(error.to_string()))?;
    Ok(bytes)
}

/// Reads the version of an envelope, and gives the payload's bytes.
pub fn open(
    magic: [u8; 4],
    known: u16,
    limit: usize,
    bytes: &[u8],
) -> Result<(u16, &[u8]), EnvelopeError> {
    if bytes.len() > limit {
        return Err(EnvelopeError::TooLong { bytes: bytes.len(), limit });
    }
    let missing =
        || EnvelopeError::Magic { expected: String::from_utf8_lossy(&magic).into_owned() };
    let rest = bytes.strip_prefix(&magic).ok_or_else(missing)?;
    let (version, payload) = rest.split_first_chunk::<2>().ok_or_else(missing)?;
    let version = u16::from_le_bytes(*version);
    if version == 0 || version > known {
        return Err(EnvelopeError::Newer { found: version, known });
    }
    Ok((version, payload))
}

/// Decodes a payload; every byte must belong to it.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, EnvelopeError> {
    decode_within::<T, { 1 << 30 }>(payload)
}

/// Decodes a payload; every byte must belong to it. A limit bounds what a forged length can make the
/// decoder allocate.
pub fn decode_within<T: DeserializeOwned, const LIMIT: usize>(
    payload: &[u8],
) -> Result<T, EnvelopeError> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    let (value, consumed) = bincode::serde::decode_from_slice(payload, config)
        .map_err(|error| EnvelopeError::Payload(error.to_string()))?;
    if consumed != payload.len() {
        let surplus = payload.len() - consumed;
        return Err(EnvelopeError::Payload(format!("{surplus} bytes too many")));
    }
    Ok(value)
}

#[derive(Serialize, Deserialize)]
enum CommandV1 {
    Propose(ProposeV1),
}

#[derive(Serialize, Deserialize)]
struct ProposeV1 {
    request_id: String,
    why: String,
    author: String,
    address: Option<String>,
    at_ms: i64,
    changes: Vec<ChangeV1>,
    requires: Vec<RequirementV1>,
    restores: Option<RestoresV1>,
}

#[derive(Serialize, Deserialize)]
struct ChangeV1 {
    kind: ObjectKind,
    name: String,
    op: Op,
    expected_revision: Option<u64>,
    body: Option<Vec<u8>>,
}

/// Since bodies may stand outside the log, and changes carry evidence.
#[derive(Serialize, Deserialize)]
enum CommandV2 {
    Propose(ProposeV2),
}

#[derive(Serialize, Deserialize)]
struct ProposeV2 {
    /// Everything but the changes, which stand here.
    propose: ProposeV1,
    changes: Vec<ChangeV2>,
    evidence: Vec<EvidenceV2>,
}

#[derive(Serialize, Deserialize)]
struct ChangeV2 {
    kind: ObjectKind,
    name: String,
    op: Op,
    expected_revision: Option<u64>,
    body: Option<BodyV2>,
}

#[derive(Serialize, Deserialize)]
enum BodyV2 {
    Inline(Vec<u8>),
    Stored { hash: [u8; 32], bytes: u64 },
}

/// Evidence, as commands and snapshots hold it.
#[derive(Serialize, Deserialize)]
pub struct EvidenceV2 {
    model: [u8; 32],
    node_id: u64,
    at_ms: i64,
}

impl From<&Evidence> for EvidenceV2 {
    fn from(evidence: &Evidence) -> Self {
        let Evidence { model, node_id, at } = *evidence;
        Self { model: model.0, node_id, at_ms: at.0 }
    }
}

impl From<EvidenceV2> for Evidence {
    fn from(EvidenceV2 { model, node_id, at_ms }: EvidenceV2) -> Self {
        Self { model: ContentHash(model), node_id, at: TimestampMs(at_ms) }
    }
}

#[derive(Serialize, Deserialize)]
pub struct ObjectIdV1 {
    kind: ObjectKind,
    name: String,
}

impl From<&ObjectId> for ObjectIdV1 {
    fn from(id: &ObjectId) -> Self {
        Self { kind: id.kind, name: id.name.as_str().to_owned() }
    }
}

impl TryFrom<ObjectIdV1> for ObjectId {
    type Error = EnvelopeError;

    fn try_from(id: ObjectIdV1) -> Result<Self, EnvelopeError> {
        let name = ObjectName::new(id.kind, id.name)
            .map_err(|fault| EnvelopeError::Payload(fault.message))?;
        Ok(Self { kind: id.kind, name })
    }
}

#[derive(Serialize, Deserialize)]
struct RequirementV1 {
    object: ObjectIdV1,
    interface: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct RestoresV1 {
    to_revision: u64,
    objects: Vec<ObjectIdV1>,
}

impl Command {
    /// The command as it is stored and sent.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLong`] beyond the limit of a change set.
    pub fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        let Command::Propose(propose) = self;
        let set = &propose.change_set;
        let second = !set.evidence.is_empty() || set.changes.iter().any(|c| c.stored.is_some());
        let bytes = if second {
            seal(COMMAND_MAGIC, 2, &CommandV2::Propose(ProposeV2::from(propose)))?
        } else {
            seal(COMMAND_MAGIC, 1, &CommandV1::Propose(ProposeV1::of(propose, &set.changes)))?
        };
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(EnvelopeError::TooLong { bytes: bytes.len(), limit: COMMAND_BYTES_MAX });
        }
        Ok(bytes)
    }

    /// Reads a command.
    ///
    /// # Errors
    /// Anything but exactly one command of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (version, payload) = open(COMMAND_MAGIC, COMMAND_FORM, COMMAND_BYTES_MAX, bytes)?;
        if version == 1 {
            let CommandV1::Propose(propose) = decode(payload)?;
            return propose.try_into().map(Command::Propose);
        }
        let CommandV2::Propose(ProposeV2 { propose, changes, evidence }) = decode(payload)?;
        let mut propose = Propose::try_from(propose)?;
        propose.change_set.changes = changes.into_iter().map(Into::into).collect();
        propose.change_set.evidence = evidence.into_iter().map(Into::into).collect();
        Ok(Command::Propose(propose))
    }
}

impl From<&Propose> for ProposeV2 {
    fn from(propose: &Propose) -> Self {
        let set = &propose.change_set;
        Self {
            propose: ProposeV1::of(propose, &[]),
            changes: set.changes.iter().map(Into::into).collect(),
            evidence: set.evidence.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Change> for ChangeV2 {
    fn from(change: &Change) -> Self {
        let inline = || change.body.clone().map(BodyV2::Inline);
        let stored =
            |stored: StoredBody| BodyV2::Stored { hash: stored.hash.0, bytes: stored.bytes };
        Self {
            kind: change.kind,
            name: change.name.clone(),
            op: change.op,
            expected_revision: change.expected_revision,
            body: change.stored.map(stored).or_else(inline),
        }
    }
}

impl From<ChangeV2> for Change {
    fn from(change: ChangeV2) -> Self {
        let (body, stored) = match change.body {
            None => (None, None),
            Some(BodyV2::Inline(body)) => (Some(body), None),
            Some(BodyV2::Stored { hash, bytes }) => {
                (None, Some(StoredBody { hash: ContentHash(hash), bytes }))
            }
        };
        Self {
            kind: change.kind,
            name: change.name,
            op: change.op,
            expected_revision: change.expected_revision,
            body,
            stored,
        }
    }
}

impl ProposeV1 {
    fn of(propose: &Propose, changes: &[Change]) -> Self {
        let set = &propose.change_set;
        let change = |change: &Change| ChangeV1 {
            kind: change.kind,
            name: change.name.clone(),
            op: change.op,
            expected_revision: change.expected_revision,
            body: change.body.clone(),
        };
        let requirement = |requirement: &Requirement| RequirementV1 {
            object: (&requirement.object).into(),
            interface: requirement.interface.map(|hash| hash.0),
        };
        Self {
            request_id: set.request_id.clone(),
            why: set.why.clone(),
            author: propose.author.name.clone(),
            address: propose.author.address.clone(),
            at_ms: propose.at.0,
            changes: changes.iter().map(change).collect(),
            requires: set.requires.iter().map(requirement).collect(),
            restores: set.restores.as_ref().map(|restores| RestoresV1 {
                to_revision: restores.to_revision,
                objects: restores.objects.iter().map(Into::into).collect(),
            }),
        }
    }
}

impl TryFrom<ProposeV1> for Propose {
    type Error = EnvelopeError;

    fn try_from(wire: ProposeV1) -> Result<Self, EnvelopeError> {
        let change = |change: ChangeV1| Change {
            kind: change.kind,
            name: change.name,
            op: change.op,
            expected_revision: change.expected_revision,
            body: change.body,
            stored: None,
        };
        let requires = wire.requires.into_iter().map(|requirement| {
            let object = requirement.object.try_into()?;
            Ok(Requirement { object, interface: requirement.interface.map(ContentHash) })
        });
        let restores = wire.restores.map(|restores| {
            let objects = restores.objects.into_iter().map(TryInto::try_into);
            let objects = objects.collect::<Result<_, EnvelopeError>>()?;
            Ok(Restores { to_revision: restores.to_revision, objects })
        });
        Ok(Self {
            change_set: ChangeSet {
                request_id: wire.request_id,
                why: wire.why,
                changes: wire.changes.into_iter().map(change).collect(),
                requires: requires.collect::<Result<_, EnvelopeError>>()?,
                restores: restores.transpose()?,
                evidence: Vec::new(),
            },
            author: Author { name: wire.author, address: wire.address, proof: None },
            at: TimestampMs(wire.at_ms),
        })
    }
}

#[cfg(test)]
mod tests;
