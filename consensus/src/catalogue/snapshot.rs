//! A catalogue as bytes: the payload of snapshot files and, with Raft, of snapshot transfers.
//!
//! Bodies stand once each in a table by hash and are named by their place in it, because an object
//! and the history entries around it share them. What can be derived (references, indexes) is left
//! out and built again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::{ObjectId, TimestampMs};

use super::history::History;
use super::{Catalogue, ChangeHead, HistoryEntry, Limits, Object, Request, RevisionGap, Version};
use crate::command::{
    Author, EnvelopeError, EvidenceV2, ObjectIdV1, Op, Restores, decode, open, seal,
};
use crate::digest::ContentHash;
use crate::references;

const SNAPSHOT_MAGIC: [u8; 4] = *b"VDCS";
const SNAPSHOT_VERSION: u16 = 4;
/// The longest snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// The payload of every version so far; what differs is what is known of a change set.
#[derive(Serialize, Deserialize)]
struct Payload<Head> {
    limits: Limits,
    revision: u64,
    at_ms: i64,
    bodies: Vec<Bytes>,
    objects: Vec<(ObjectIdV1, u32, u64)>,
    heads: Vec<Head>,
    entries: Vec<EntryV1>,
    restorable_from: u64,
    requests: Vec<([u8; 16], u64, i64, [u8; 32])>,
}

impl<Head> Payload<Head> {
    fn with_heads<Other>(self, other: impl Fn(Head) -> Other) -> Payload<Other> {
        Payload {
            limits: self.limits,
            revision: self.revision,
            at_ms: self.at_ms,
            bodies: self.bodies,
            objects: self.objects,
            heads: self.heads.into_iter().map(other).collect(),
            entries: self.entries,
            restorable_from: self.restorable_from,
            requests: self.requests,
        }
    }
}

/// Since a cluster that begins again continues at a later revision.
#[derive(Serialize, Deserialize)]
struct PayloadV4 {
    payload: Payload<HeadV3>,
    /// Pairs of `after` and `from` of each gap.
    gaps: Vec<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct HeadV1 {
    revision: u64,
    log_index: u64,
    request_id: String,
    at_ms: i64,
    author: String,
    address: Option<String>,
    why: String,
    restores: Option<(u64, Vec<ObjectIdV1>)>,
}

/// Since several change sets share an entry of the log.
#[derive(Serialize, Deserialize)]
struct HeadV2 {
    head: HeadV1,
    log_position: u32,
}

/// Since changes carry evidence.
#[derive(Serialize, Deserialize)]
struct HeadV3 {
    head: HeadV2,
    evidence: Vec<EvidenceV2>,
}

#[derive(Serialize, Deserialize)]
struct EntryV1 {
    head: u32,
    position: u32,
    object: ObjectIdV1,
    op: Op,
    before: Option<VersionV1>,
    after: Option<VersionV1>,
}

#[derive(Serialize, Deserialize)]
struct VersionV1 {
    hash: [u8; 32],
    revision: u64,
    bytes: u64,
    body: Option<u32>,
}

/// Bytes that serde writes as one piece.
pub(crate) struct Bytes(pub(crate) Arc<[u8]>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.into()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// The bodies met so far, by hash.
#[derive(Default)]
struct BodyTable {
    places: BTreeMap<ContentHash, u32>,
    bodies: Vec<Bytes>,
}

impl BodyTable {
    fn place(&mut self, hash: ContentHash, body: &Arc<[u8]>) -> u32 {
        *self.places.entry(hash).or_insert_with(|| {
            self.bodies.push(Bytes(Arc::clone(body)));
            u32::try_from(self.bodies.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn version(&mut self, version: &Version) -> VersionV1 {
        VersionV1 {
            hash: version.hash.0,
            revision: version.revision,
            bytes: version.bytes,
            body: version.body.as_ref().map(|body| self.place(version.hash, body)),
        }
    }
}

/// The catalogue as a versioned envelope.
///
/// # Errors
/// [`EnvelopeError::TooLong`] beyond [`SNAPSHOT_BYTES_MAX`].
pub fn encode_snapshot(catalogue: &Catalogue) -> Result<Vec<u8>, EnvelopeError> {
    let mut table = BodyTable::default();
    let objects = catalogue
        .objects()
        .map(|object| {
            ((&object.id).into(), table.place(object.hash, &object.body), object.revision)
        })
        .collect();
    let mut heads: Vec<HeadV3> = Vec::new();
    let mut entries = Vec::new();
    for ((_, position), entry) in catalogue.history.entries.iter() {
        if heads.last().is_none_or(|last| last.head.head.revision != entry.head.revision) {
            heads.push(HeadV3::from(&*entry.head));
        }
        entries.push(EntryV1 {
            head: u32::try_from(heads.len() - 1).unwrap_or(u32::MAX),
            position: *position,
            object: (&entry.object).into(),
            op: entry.op,
            before: entry.before.as_ref().map(|version| table.version(version)),
            after: entry.after.as_ref().map(|version| table.version(version)),
        });
    }
    let requests = catalogue
        .requests
        .iter()
        .map(|(id, request)| (*id, request.revision, request.at.0, request.digest.0))
        .collect();
    let snapshot = Payload {
        limits: catalogue.limits,
        revision: catalogue.revision,
        at_ms: catalogue.at.0,
        bodies: table.bodies,
        objects,
        heads,
        entries,
        restorable_from: catalogue.history.restorable_from,
        requests,
    };
    // The oldest version that can say it: a node of an older program may be sent this.
    let bytes = if !catalogue.gaps.is_empty() {
        let gaps = catalogue.gaps.iter().map(|gap| (gap.after, gap.from)).collect();
        seal(SNAPSHOT_MAGIC, SNAPSHOT_VERSION, &PayloadV4 { payload: snapshot, gaps })?
    } else if snapshot.heads.iter().all(|head| head.evidence.is_empty()) {
        seal(SNAPSHOT_MAGIC, 2, &snapshot.with_heads(|head| head.head))?
    } else {
        seal(SNAPSHOT_MAGIC, 3, &snapshot)?
    };
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(EnvelopeError::TooLong { bytes: bytes.len(), limit: SNAPSHOT_BYTES_MAX });
    }
    Ok(bytes)
}

impl From<&ChangeHead> for HeadV3 {
    fn from(head: &ChangeHead) -> Self {
        let restores = head.restores.as_ref().map(|restores| {
            (restores.to_revision, restores.objects.iter().map(Into::into).collect())
        });
        let log_position = head.log_position;
        let evidence = head.evidence.iter().map(Into::into).collect();
        let head = HeadV1 {
            revision: head.revision,
            log_index: head.log_index,
            request_id: head.request_id.clone(),
            at_ms: head.at.0,
            author: head.author.name.clone(),
            address: head.author.address.clone(),
            why: head.why.clone(),
            restores,
        };
        let head = HeadV2 { head, log_position };
        Self { head, evidence }
    }
}

impl From<HeadV1> for HeadV3 {
    fn from(head: HeadV1) -> Self {
        HeadV2 { head, log_position: 0 }.into()
    }
}

impl From<HeadV2> for HeadV3 {
    fn from(head: HeadV2) -> Self {
        Self { head, evidence: Vec::new() }
    }
}

impl TryFrom<HeadV3> for ChangeHead {
    type Error = EnvelopeError;

    fn try_from(HeadV3 { head, evidence }: HeadV3) -> Result<Self, EnvelopeError> {
        let HeadV2 { head, log_position } = head;
        let restores = head.restores.map(|(to_revision, objects)| {
            let objects: Result<_, _> = objects.into_iter().map(ObjectId::try_from).collect();
            Ok::<_, EnvelopeError>(Restores { to_revision, objects: objects? })
        });
        Ok(Self {
            revision: head.revision,
            log_index: head.log_index,
            log_position,
            request_id: head.request_id,
            at: TimestampMs(head.at_ms),
            author: Author { name: head.author, address: head.address, proof: None },
            why: head.why,
            restores: restores.transpose()?,
            evidence: evidence.into_iter().map(Into::into).collect(),
        })
    }
}

fn absent(what: &str) -> EnvelopeError {
    EnvelopeError::Payload(format!("{what} is named but absent"))
}

/// Reads a catalogue back.
///
/// # Errors
/// Anything but exactly one snapshot of a known version.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Catalogue, EnvelopeError> {
    let (version, payload) = open(SNAPSHOT_MAGIC, SNAPSHOT_VERSION, SNAPSHOT_BYTES_MAX, bytes)?;
    match version {
        1 => restore::<HeadV1>(decode(payload)?),
        2 => restore::<HeadV2>(decode(payload)?),
        3 => restore::<HeadV3>(decode(payload)?),
        _ => {
            let PayloadV4 { payload, gaps } = decode(payload)?;
            let gap = |(after, from)| RevisionGap { after, from };
            let mut catalogue = restore(payload)?;
            catalogue.gaps = gaps.into_iter().map(gap).collect();
            Ok(catalogue)
        }
    }
}

fn restore<Head: Into<HeadV3>>(snapshot: Payload<Head>) -> Result<Catalogue, EnvelopeError> {
    let body = |place: u32| {
        let bytes = snapshot.bodies.get(place as usize).ok_or_else(|| absent("a body"))?;
        Ok::<_, EnvelopeError>(Arc::clone(&bytes.0))
    };
    let mut catalogue = Catalogue::new(snapshot.limits);
    catalogue.revision = snapshot.revision;
    catalogue.at = TimestampMs(snapshot.at_ms);
    for (id, place, revision) in snapshot.objects {
        let (id, body) = (ObjectId::try_from(id)?, body(place)?);
        let hash = ContentHash::of(&body);
        let object = Object { id: id.clone(), body, hash, revision, references: Vec::new() };
        catalogue.objects.insert(id, Arc::new(object));
    }
    let heads =
        snapshot.heads.into_iter().map(|head| ChangeHead::try_from(head.into()).map(Arc::new));
    let heads = heads.collect::<Result<Vec<_>, _>>()?;
    let version = |version: VersionV1| {
        let body = version.body.map(body).transpose()?;
        let hash = ContentHash(version.hash);
        Ok::<_, EnvelopeError>(Version {
            hash,
            revision: version.revision,
            bytes: version.bytes,
            body,
        })
    };
    let mut history = History::default();
    history.restorable_from = snapshot.restorable_from;
    for entry in snapshot.entries {
        let head = heads.get(entry.head as usize).ok_or_else(|| absent("a change set"))?;
        let restored = HistoryEntry {
            head: Arc::clone(head),
            object: entry.object.try_into()?,
            op: entry.op,
            before: entry.before.map(version).transpose()?,
            after: entry.after.map(version).transpose()?,
        };
        history.push(entry.position, restored);
    }
    catalogue.history = history;
    for (id, revision, at_ms, digest) in snapshot.requests {
        let digest = ContentHash(digest);
        let request = Request { revision, at: TimestampMs(at_ms), digest };
        catalogue.requests_by_revision.insert(revision, id);
        catalogue.requests.insert(id, request);
    }
    references::rebuild(&mut catalogue);
    Ok(catalogue)
}
