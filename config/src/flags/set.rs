//! All flags of a catalogue, compiled together.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

use super::canonical::{PartsHash, write_canonical};
use super::compile::SetCompiler;
use super::extension::{ArmRule, ExperimentRule, RolloutRule};
use super::hash::{Murmur3, position};
use super::logic::{Logic, Shared};
use super::resolution::Assignment;
use crate::{Faults, TimestampMs};

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

/// All flags of a catalogue, compiled together: immutable, shared, evaluated by many threads.
#[derive(Debug, Default)]
pub struct FlagSet {
    /// By key.
    pub(super) flags: Box<[CompiledFlag]>,
    pub(super) index: HashMap<Box<str>, usize>,
    pub(super) metadata: Map<String, Json>,
    pub(super) warnings: Faults,
    pub(super) content_hash: String,
    pub(super) reads_time: bool,
}

impl FlagSet {
    /// Compiles flags, segments and what their files say.
    ///
    /// # Errors
    /// Every fault of every flag, segment and file, each under the path `flag/KEY`, `segment/NAME`
    /// or `setting/flag-file.STEM`: form, types, references that name nothing, cycles, limits.
    pub fn compile(sources: &FlagSources<'_>) -> Result<Self, Faults> {
        let mut set = SetCompiler::new(sources).compile()?;
        set.content_hash = content_hash(sources);
        set.reads_time = set.flags.iter().any(|flag| flag.reads_time);
        set.index = set.flags.iter().enumerate().map(|(at, flag)| (flag.key.clone(), at)).collect();
        Ok(set)
    }

    /// The keys of all flags, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.flags.iter().map(|flag| &*flag.key)
    }

    /// Whether there is a flag of that key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// SHA-256 over the canonical form of everything that evaluation depends on, in hexadecimal
    /// digits. Equal sources give equal hashes on every node.
    #[must_use]
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }

    /// Whether any flag's result can change with time alone.
    #[must_use]
    pub const fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// Whether one flag's result can change with time alone.
    #[must_use]
    pub fn flag_reads_time(&self, key: &str) -> bool {
        self.find(key).is_some_and(|flag| flag.reads_time)
    }

    /// The flag set's own metadata: what the files agree on.
    #[must_use]
    pub const fn metadata(&self) -> &Map<String, Json> {
        &self.metadata
    }

    /// What is strange but works, with the paths of faults.
    #[must_use]
    pub const fn warnings(&self) -> &Faults {
        &self.warnings
    }

    /// The keys of flags whose `expires` has passed. They go on working.
    pub fn expired(&self, at: TimestampMs) -> impl Iterator<Item = &str> {
        let expired = move |flag: &&CompiledFlag| flag.expires.is_some_and(|expires| expires <= at);
        self.flags.iter().filter(expired).map(|flag| &*flag.key)
    }

    pub(super) fn find(&self, key: &str) -> Option<&CompiledFlag> {
        self.index.get(key).and_then(|at| self.flags.get(*at))
    }
}

fn content_hash(sources: &FlagSources<'_>) -> String {
    let mut hash = PartsHash::default();
    let mut text = String::new();
    hash.add(b"verdict flags 1");
    for (kind, objects) in
        [("flag", &sources.flags), ("segment", &sources.segments), ("file", &sources.files)]
    {
        hash.add(kind.as_bytes());
        for (name, body) in objects {
            text.clear();
            write_canonical(&mut text, body);
            hash.add(name.as_bytes());
            hash.add(text.as_bytes());
        }
    }
    hash.finish()
}

/// A compiled flag.
#[derive(Debug)]
pub struct CompiledFlag {
    pub key: Box<str>,
    pub enabled: bool,
    pub variants: Box<[Variant]>,
    pub default: Option<usize>,
    pub off: Option<usize>,
    pub targeting: Option<Logic>,
    pub gates: Option<Box<Gates>>,
    pub metadata: Map<String, Json>,
    /// The metadata as JSON text; none if empty.
    pub metadata_text: Option<Box<str>>,
    pub reads_time: bool,
    pub expires: Option<TimestampMs>,
}

/// A variant.
#[derive(Debug)]
pub struct Variant {
    pub name: Box<str>,
    pub value: Json,
    /// The value as JSON text.
    pub text: Box<str>,
}

/// What stands before and after a flag's targeting.
#[derive(Debug, Default)]
pub struct Gates {
    pub regions: Box<[Box<str>]>,
    pub prerequisites: Box<[CompiledPrerequisite]>,
    pub segments: CompiledSegments,
    pub schedule: Box<[CompiledWindow]>,
    pub experiment: Option<CompiledExperiment>,
    pub rollout: Option<CompiledRollout>,
}

/// Another flag that must resolve to one of some variants.
#[derive(Debug)]
pub struct CompiledPrerequisite {
    /// Its position in the set.
    pub flag: usize,
    /// The positions of its variants that will do.
    pub variants: Box<[usize]>,
}

/// The segments that a flag is for.
#[derive(Debug, Default)]
pub struct CompiledSegments {
    pub any: Box<[Shared]>,
    pub all: Box<[Shared]>,
    pub none: Box<[Shared]>,
}

/// A window of time.
#[derive(Debug)]
pub struct CompiledWindow {
    pub from: Option<TimestampMs>,
    pub until: Option<TimestampMs>,
    pub then: Scheduled,
}

/// What applies in a window.
#[derive(Debug)]
pub enum Scheduled {
    Variant(usize),
    /// Other targeting; none if it is empty.
    Targeting(Option<Logic>),
}

/// A rollout.
#[derive(Debug)]
pub struct CompiledRollout {
    pub variant: usize,
    pub rule: RolloutRule,
    pub salt: Box<str>,
}

/// An experiment's allocation.
#[derive(Debug)]
pub struct CompiledExperiment {
    pub rule: ExperimentRule,
    pub salt: Box<str>,
    /// The arms' variants.
    pub variants: Box<[usize]>,
    /// The sum of the arms' weights.
    pub total: u32,
}

impl CompiledWindow {
    /// Whether a time is in it.
    pub fn holds(&self, at: TimestampMs) -> bool {
        within(self.from, self.until, at)
    }
}

/// Whether `from <= at < until`.
pub fn within(from: Option<TimestampMs>, until: Option<TimestampMs>, at: TimestampMs) -> bool {
    from.is_none_or(|from| from <= at) && until.is_none_or(|until| at < until)
}

/// The hash of a unit for one purpose: murmur3 of `salt/purpose/unit`.
pub fn unit_hash(salt: &str, purpose: &str, unit: &str) -> u32 {
    let mut hash = Murmur3::new();
    for part in [salt, "/", purpose, "/", unit] {
        hash.write(part.as_bytes());
    }
    hash.finish()
}

impl CompiledExperiment {
    /// The arm of a position below the total, and its variant.
    pub fn arm(&self, hash: u32) -> Option<(usize, Assignment<'_>)> {
        let place = position(hash, self.total);
        let mut end = 0;
        let at = self.rule.arms.iter().position(|arm| {
            end += arm.weight;
            place < end
        })?;
        let arm = ArmRule::name(&self.rule.arms[at]);
        Some((*self.variants.get(at)?, Assignment { experiment: &self.rule.key, arm }))
    }
}
