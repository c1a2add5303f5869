//! The replicated state: objects, their history, and the request ids already applied.
//!
//! Everything is an [`OrderedMap`], so that a catalogue is cheap to clone, readers keep the one they
//! hold, and iteration has one order on every node.

mod gaps;
mod history;
mod snapshot;

use std::sync::Arc;

use verdict_config::{EvaluationVersion, ObjectId, OrderedMap, TimestampMs};

pub use gaps::{REVISION_STEP, RevisionGap};
pub use history::{
    ChangeHead, ChangeSummary, HistoryEntry, HistoryPage, HistoryQuery, HistoryRefused, Version,
};
pub(crate) use snapshot::Bytes;
pub use snapshot::{SNAPSHOT_BYTES_MAX, decode_snapshot, encode_snapshot};

use crate::command::{COMMAND_VERSION, EVALUATION_V2_SINCE, INLINE_BYTES_MAX};
use crate::digest::{ContentHash, PartsHasher};
use crate::error::ShortHash;
use crate::references::Reference;

/// How much history a catalogue keeps. Part of the replicated state: the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Most entries of history; one change of one object is an entry.
    pub history_entries_max: u64,
    /// Most bytes of superseded bodies; the oldest go first, their entries stay.
    pub history_bytes_max: u64,
    /// Age from which on an entry goes, in milliseconds.
    pub history_age_ms_max: i64,
    /// For how long a request id answers a retry, in milliseconds of the log's time.
    pub request_age_ms_max: i64,
    /// How many request ids are kept beyond that age, to refuse them as expired.
    pub requests_kept: u64,
    /// Most request ids within that age; then change sets are refused.
    pub requests_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            history_entries_max: 20_000,
            history_bytes_max: 32 << 20,
            history_age_ms_max: 90 * 86_400_000,
            request_age_ms_max: 86_400_000,
            requests_kept: 100_000,
            requests_max: 1_000_000,
        }
    }
}

/// One object as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Kind and name.
    pub id: ObjectId,
    /// The body: compact JSON.
    pub body: Arc<[u8]>,
    /// SHA-256 of the body.
    pub hash: ContentHash,
    /// The revision of its last change, from 1.
    pub revision: u64,
    /// What it names.
    pub(crate) references: Vec<Reference>,
}

impl Object {
    /// An object that stands in no catalogue yet.
    #[must_use]
    pub fn new(id: ObjectId, body: Arc<[u8]>, revision: u64) -> Self {
        let hash = ContentHash::of(&body);
        Self { id, body, hash, revision, references: Vec::new() }
    }

    /// The body as a JSON value.
    ///
    /// # Errors
    /// Never for a body that was applied.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The body as a typed definition.
    ///
    /// # Errors
    /// Where the body is not of that type.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// A change set that was applied, as a retry of it is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub revision: u64,
    pub at: TimestampMs,
    pub digest: ContentHash,
}

/// The catalogue at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    pub(crate) revision: u64,
    /// The version of the cluster; snapshots hold it beside the catalogue.
    pub(crate) version: u16,
    pub(crate) at: TimestampMs,
    pub(crate) objects: OrderedMap<ObjectId, Arc<Object>>,
    /// (what is named, who names it).
    pub(crate) referrers: OrderedMap<(ObjectId, ObjectId), ()>,
    pub(crate) history: history::History,
    pub(crate) requests: OrderedMap<ShortHash, Request>,
    pub(crate) requests_by_revision: OrderedMap<u64, ShortHash>,
    pub(crate) limits: Limits,
    /// Revisions that were never made here, oldest first.
    pub(crate) gaps: Vec<RevisionGap>,
}

/// The version by which the rules of a cluster evaluate.
const fn evaluation_of(version: u16) -> EvaluationVersion {
    if version < EVALUATION_V2_SINCE { EvaluationVersion::V1 } else { EvaluationVersion::V2 }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Catalogue {
    /// The empty catalogue, revision 0.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            revision: 0,
            version: COMMAND_VERSION,
            at: TimestampMs(0),
            objects: OrderedMap::default(),
            referrers: OrderedMap::default(),
            history: history::History::default(),
            requests: OrderedMap::default(),
            requests_by_revision: OrderedMap::default(),
            limits,
            gaps: Vec::new(),
        }
    }

    /// How many change sets were accepted, and one for each change of how rules evaluate.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The version by which rules evaluate at this revision: the same on every node.
    #[must_use]
    pub const fn evaluation(&self) -> EvaluationVersion {
        evaluation_of(self.version)
    }

    /// The catalogue at a version of the cluster, which replaces the one that a snapshot was read with.
    #[must_use]
    pub(crate) fn at_version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    /// Raises the version of the cluster. Where rules evaluate differently from then on, that is a
    /// revision of its own: nodes at one revision answer alike, and the leader checks a change set that
    /// it checked under the old version once more.
    pub(crate) fn raise_version(&mut self, version: u16) {
        if evaluation_of(version) != self.evaluation() {
            self.revision = self.revision.saturating_add(1);
        }
        self.version = version;
    }

    /// When the last one was, by the log's clock; never decreases.
    #[must_use]
    pub const fn at(&self) -> TimestampMs {
        self.at
    }

    /// An object.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(id)
    }

    /// Every object, by kind and name.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter().map(|(_, object)| object)
    }

    /// Every object by kind and name, as a map that can be compared with an older one.
    #[must_use]
    pub const fn objects_by_id(&self) -> &OrderedMap<ObjectId, Arc<Object>> {
        &self.objects
    }

    /// Every object of a kind, by name.
    pub fn of_kind(&self, kind: verdict_config::ObjectKind) -> impl Iterator<Item = &Arc<Object>> {
        self.objects
            .range_by(move |id| id.kind < kind)
            .take_while(move |(id, _)| id.kind == kind)
            .map(|(_, object)| object)
    }

    /// Hashes of every body that is so long that it stands outside the log: of objects, and of what
    /// the history names, whether or not it retains it.
    pub fn stored_bodies(&self) -> impl Iterator<Item = ContentHash> + '_ {
        let is_large = |bytes: u64| bytes > INLINE_BYTES_MAX as u64;
        let objects = self.objects().filter(move |object| is_large(object.body.len() as u64));
        let versions = self
            .history
            .entries
            .iter()
            .flat_map(|(_, entry)| [&entry.before, &entry.after].into_iter().flatten());
        let versions = versions.filter(move |version| is_large(version.bytes));
        objects.map(|object| object.hash).chain(versions.map(|version| version.hash))
    }

    /// A body as [`Catalogue::stored_bodies`] names it: its length in bytes, and itself where an
    /// object is it or the history retains it.
    #[must_use]
    pub fn stored_body(&self, hash: ContentHash) -> Option<(u64, Option<Arc<[u8]>>)> {
        if let Some(object) = self.objects().find(|object| object.hash == hash) {
            return Some((object.body.len() as u64, Some(Arc::clone(&object.body))));
        }
        let versions = self
            .history
            .entries
            .iter()
            .flat_map(|(_, entry)| [&entry.before, &entry.after].into_iter().flatten());
        let mut known = None;
        for version in versions.filter(|version| version.hash == hash) {
            known = Some((version.bytes, version.body.clone()));
            if version.body.is_some() {
                break;
            }
        }
        known
    }

    /// How many objects there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Who names an object.
    pub fn referrers_of<'own>(
        &'own self,
        id: &'own ObjectId,
    ) -> impl Iterator<Item = &'own ObjectId> {
        self.referrers
            .range_by(move |(target, _)| target < id)
            .take_while(move |((target, _), ())| target == id)
            .map(|((_, source), ())| source)
    }

    /// A hash of the whole state, equal wherever the revision is equal: on every node, platform and
    /// version of the program, after any restart, whatever the order in which maps were filled. It
    /// covers objects and remembered request ids, not what is kept for reading (history).
    #[must_use]
    pub fn state_hash(&self) -> ContentHash {
        let mut hasher = PartsHasher::new("verdict catalogue state 1");
        hasher.number(self.revision).part(&self.at.0.to_le_bytes());
        hasher.number(self.objects.len() as u64);
        for (id, object) in self.objects.iter() {
            hasher.part(id.kind.as_str().as_bytes()).part(id.name.as_str().as_bytes());
            hasher.part(&object.hash.0).number(object.revision);
        }
        hasher.number(self.requests.len() as u64);
        for (id, request) in self.requests.iter() {
            hasher.part(id).number(request.revision).part(&request.at.0.to_le_bytes());
            hasher.part(&request.digest.0);
        }
        hasher.finish()
    }
}
