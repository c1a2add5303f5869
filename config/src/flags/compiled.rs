//! What flags are compiled to.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::extension::{ArmRule, ExperimentRule, RolloutRule};
use super::hash::{Murmur3, position};
use super::logic::{Logic, Shared};
use super::resolution::Assignment;
use crate::TimestampMs;

/// A compiled flag.
#[derive(Debug)]
pub struct CompiledFlag {
    pub key: Arc<str>,
    /// SHA-256 of its body in canonical form.
    pub hash: [u8; 32],
    pub enabled: bool,
    pub variants: Box<[Variant]>,
    pub default: Option<usize>,
    pub off: Option<usize>,
    pub targeting: Option<Logic>,
    pub gates: Option<Box<Gates>>,
    /// Its file's metadata with its own over it; none if empty.
    pub metadata: Option<Arc<Metadata>>,
    pub expires: Option<TimestampMs>,
    /// What it comes to with its prerequisites.
    pub chain: Chain,
    /// The other objects that it was compiled against.
    pub needs: Box<[Need]>,
}

/// A flag with its prerequisites, theirs, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Flags on the longest way down, itself included.
    pub depth: usize,
    /// Flags that are evaluated for it, itself included.
    pub cost: usize,
    /// Whether its result can change with time alone.
    pub reads_time: bool,
}

/// Something that a flag was compiled against: when it changes, the flag is compiled again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Another flag, a prerequisite.
    Flag(Arc<str>),
    /// A segment, or what a `$ref` may find there.
    Segment(Arc<str>),
    /// That there is no segment at all: then a `$ref` that names nothing is no fault.
    NoSegments,
}

/// Metadata, with its JSON text.
#[derive(Debug)]
pub struct Metadata {
    pub fields: Map<String, Json>,
    pub text: Box<str>,
}

impl Metadata {
    /// None if there are no fields.
    pub fn of(fields: Map<String, Json>) -> Option<Arc<Self>> {
        if fields.is_empty() {
            return None;
        }
        let fields = Json::Object(fields);
        let text = fields.to_string().into_boxed_str();
        let Json::Object(fields) = fields else { return None };
        Some(Arc::new(Self { fields, text }))
    }
}

impl CompiledFlag {
    /// Whether flags that name this one as a prerequisite can stay as they are with another.
    pub fn same_for_others(&self, other: &Self) -> bool {
        let same = |(a, b): (&Variant, &Variant)| a.name == b.name && a.value == b.value;
        self.chain == other.chain
            && self.variants.len() == other.variants.len()
            && self.variants.iter().zip(&other.variants).all(same)
    }
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
    /// Its key.
    pub flag: Arc<str>,
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
