//! All flags of a catalogue, compiled together.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};

use super::compile::{CompiledFile, SetCompiler};
use super::compiled::{CompiledFlag, Need};
use super::index::FlagIndex;
use super::logic::References;
use crate::{Fault, Faults, OrderedMap, TimestampMs};

/// The longest chain of prerequisites.
pub const PREREQUISITE_DEPTH_MAX: usize = 8;

/// The most flags that evaluating one flag evaluates, itself included.
pub const PREREQUISITE_COST_MAX: usize = 64;

/// The objects of a catalogue that flags are made of.
#[derive(Debug, Clone, Default)]
pub struct FlagSources<'c> {
    /// Flags by key, each a flagd flag object.
    pub flags: BTreeMap<&'c str, &'c Json>,
    /// Shared conditions by name, each a JsonLogic rule; any flag can use them.
    pub segments: BTreeMap<&'c str, &'c Json>,
    /// The settings `flag-file.STEM` by stem, as [`super::file::split_file`] makes them: they hold
    /// a file's `$evaluators` and `metadata`, which are for the flags of that file.
    pub files: BTreeMap<&'c str, &'c Json>,
}

impl<'c> FlagSources<'c> {
    /// Sources of maps.
    #[must_use]
    pub fn new(
        flags: &'c BTreeMap<String, Json>,
        segments: &'c BTreeMap<String, Json>,
        files: &'c BTreeMap<String, Json>,
    ) -> Self {
        let borrow = |map: &'c BTreeMap<String, Json>| {
            map.iter().map(|(name, body)| (name.as_str(), body)).collect()
        };
        Self { flags: borrow(flags), segments: borrow(segments), files: borrow(files) }
    }
}

/// Which of three kinds of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagSource {
    /// A flag, by its key.
    Flag,
    /// A segment, by its name.
    Segment,
    /// A flag file's setting, by its stem.
    File,
}

/// What changed of the objects that flags are made of.
pub struct FlagUpdate<'u> {
    /// Keys of flags that were put or deleted.
    pub flags: BTreeSet<&'u str>,
    /// Names of segments that were put or deleted.
    pub segments: BTreeSet<&'u str>,
    /// Stems of flag files whose settings were put or deleted.
    pub files: BTreeSet<&'u str>,
    /// The bodies as they are now, of what changed and of what did not; none: there is no such
    /// object. A body is asked for only when it must be read.
    pub body: &'u dyn Fn(FlagSource, &str) -> Option<Cow<'u, Json>>,
}

/// All flags of a catalogue, compiled together: immutable, shared, evaluated by many threads. A
/// set made from another by [`FlagSet::update`] shares with it all that did not change.
#[derive(Debug, Clone, Default)]
pub struct FlagSet {
    /// In the order of their keys.
    pub(super) flags: OrderedMap<Arc<str>, Arc<CompiledFlag>>,
    /// To find them.
    pub(super) index: FlagIndex,
    /// The segments; one condition may stand under several versions of the hash.
    pub(super) segments: References,
    pub(super) segment_hashes: OrderedMap<Arc<str>, [u8; 32]>,
    pub(super) files: BTreeMap<Arc<str>, Arc<CompiledFile>>,
    /// (what is needed, which flag needs it).
    pub(super) needed: OrderedMap<(Need, Arc<str>), ()>,
    pub(super) warned: OrderedMap<Arc<str>, Arc<[Fault]>>,
    pub(super) expiring: OrderedMap<(TimestampMs, Arc<str>), ()>,
    pub(super) metadata: Arc<Map<String, Json>>,
    /// Worked out when it is asked for.
    pub(super) content_hash: OnceLock<String>,
    /// Flags whose result can change with time alone.
    pub(super) time_readers: usize,
}

impl FlagSet {
    /// Compiles flags, segments and what their files say.
    ///
    /// # Errors
    /// Every fault of every flag, segment and file, each under the path `flag/KEY`, `segment/NAME`
    /// or `setting/flag-file.STEM`: form, types, references that name nothing, cycles, limits.
    pub fn compile(sources: &FlagSources<'_>) -> Result<Self, Faults> {
        let body = |source: FlagSource, name: &str| {
            let objects = match source {
                FlagSource::Flag => &sources.flags,
                FlagSource::Segment => &sources.segments,
                FlagSource::File => &sources.files,
            };
            objects.get(name).map(|body| Cow::Borrowed(*body))
        };
        let update = FlagUpdate {
            flags: sources.flags.keys().copied().collect(),
            segments: sources.segments.keys().copied().collect(),
            files: sources.files.keys().copied().collect(),
            body: &body,
        };
        Self::default().update(&update)
    }

    /// The set after some of its objects changed: equal in all that can be asked of it to the set
    /// of all objects compiled anew. Only what changed, and what was compiled against that, is
    /// compiled.
    ///
    /// # Errors
    /// As [`FlagSet::compile`], for what was compiled; this set stays as it is.
    pub fn update(&self, update: &FlagUpdate<'_>) -> Result<Self, Faults> {
        SetCompiler::new(self, update).compile()
    }

    /// The keys of all flags, sorted.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.flags.iter().map(|(key, _)| &**key)
    }

    /// How many flags there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.flags.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// Whether there is a flag of that key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// SHA-256 over the canonical form of everything that evaluation depends on, in hexadecimal
    /// digits. Equal sources give equal hashes on every node.
    #[must_use]
    pub fn content_hash(&self) -> &str {
        self.content_hash.get_or_init(|| super::compile::content_hash(self))
    }

    /// Whether any flag's result can change with time alone.
    #[must_use]
    pub const fn reads_time(&self) -> bool {
        self.time_readers > 0
    }

    /// Whether one flag's result can change with time alone.
    #[must_use]
    pub fn flag_reads_time(&self, key: &str) -> bool {
        self.find(key).is_some_and(|flag| flag.chain.reads_time)
    }

    /// The flag set's own metadata: what the files agree on.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Json> {
        &self.metadata
    }

    /// What is strange but works, by flag, with the paths of faults.
    #[must_use]
    pub fn warnings(&self) -> Faults {
        self.warned.iter().flat_map(|(_, warnings)| warnings.iter().cloned()).collect()
    }

    /// The keys of flags whose `expires` has passed, the longest expired first. They go on working.
    pub fn expired(&self, at: TimestampMs) -> impl Iterator<Item = &str> {
        self.expiring
            .iter()
            .map(|(key, ())| key)
            .take_while(move |(expires, _)| *expires <= at)
            .map(|(_, key)| &**key)
    }

    pub(super) fn find(&self, key: &str) -> Option<&Arc<CompiledFlag>> {
        self.index.find(key)
    }
}
