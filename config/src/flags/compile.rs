//! From the catalogue's objects to a compiled set, with every fault on the way.
//!
//! ```text
//! what changed ─> segments ─> files ─> flags ─> prerequisites ─> the next set
//!                    └──────────┴─ flags compiled against them ─┘
//! ```
//!
//! A set is made from the one before it: whatever neither changed nor was compiled against something
//! that did is taken over. The first set is made from the empty one, so there is one way only.

mod alone;
mod file;
mod flag;
mod prerequisites;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

pub use self::alone::check_alone;
pub(super) use self::file::CompiledFile;
use self::flag::FlagCompiler;
use super::canonical::write_canonical;
use super::compiled::{CompiledFlag, Need};
use super::definition::{CheckedFlag, check_flag, check_segment};
use super::extension::Prerequisite;
use super::fractional::HashVersion;
use super::logic::{CompileOptions, Logic, References};
use super::set::{FlagSet, FlagSource, FlagUpdate};
use crate::{Fault, Faults};

/// Names the way in which content is hashed.
const CONTENT_HASH_DOMAIN: &[u8] = b"verdict flags 2";

/// Compiles the objects of a catalogue.
pub(super) struct SetCompiler<'b, 'u> {
    before: &'b FlagSet,
    update: &'b FlagUpdate<'u>,
    next: FlagSet,
    faults: Faults,
    /// Flags that were compiled, and deleted ones (none).
    built: BTreeMap<Arc<str>, Option<Built>>,
}

/// A flag that was compiled.
struct Built {
    flag: CompiledFlag,
    /// What it says of prerequisites; they are resolved when all flags are there.
    wanted: Vec<Prerequisite>,
    /// The names that its conditions refer to.
    named: BTreeSet<Box<str>>,
    warnings: Faults,
}

impl<'b, 'u> SetCompiler<'b, 'u> {
    pub(super) fn new(before: &'b FlagSet, update: &'b FlagUpdate<'u>) -> Self {
        let next = before.clone();
        Self { before, update, next, faults: Vec::new(), built: BTreeMap::new() }
    }

    /// The faults of files by themselves. Names are not looked up: segments and other flags may be
    /// elsewhere in the catalogue.
    pub(super) fn within_files(mut self) -> Faults {
        for key in &self.update.flags {
            let Some(body) = (self.update.body)(FlagSource::Flag, key) else { continue };
            let place = format!("flag/{key}");
            let faults = check_flag(key, &body).faults;
            self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
        }
        self.files();
        self.faults
    }

    /// Compiles what changed and what depends on it, with every fault.
    pub(super) fn compile(mut self) -> Result<FlagSet, Faults> {
        let mut touched: BTreeSet<Arc<str>> =
            self.update.flags.iter().map(|key| Arc::from(*key)).collect();
        touched.extend(self.segments());
        touched.extend(self.files());
        for key in touched {
            self.flag(&key);
        }
        // Prerequisites are judged only among flags that are well formed.
        if self.faults.is_empty() {
            self.prerequisites();
        }
        if self.faults.is_empty() { Ok(self.finish()) } else { Err(self.faults) }
    }

    /// Compiles one flag, if there is one of that key.
    fn flag(&mut self, key: &Arc<str>) {
        let Some(body) = (self.update.body)(FlagSource::Flag, key) else {
            if self.before.contains(key) {
                self.built.insert(Arc::clone(key), None);
            }
            return;
        };
        let place = format!("flag/{key}");
        let CheckedFlag { faults, mut warnings, parts } = check_flag(key, &body);
        self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
        let Some(parts) = parts else { return };
        let file = self.next.files.values().find(|file| file.keys.contains(&**key));
        let no_evaluators = References::default();
        let evaluators = file.map_or(&no_evaluators, |file| &file.evaluators);
        let mut compiler = FlagCompiler {
            key,
            parts: &parts,
            references: &[evaluators, &self.next.segments],
            named: BTreeSet::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        let flag = compiler.compile(file.and_then(|file| file.metadata.as_ref()), hash_of(&body));
        let FlagCompiler { named, faults, warnings: more, .. } = compiler;
        warnings.extend(more);
        self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
        let warnings = warnings.into_iter().map(|fault| fault.under(&place)).collect();
        let wanted = parts.extensions.prerequisites;
        self.built.insert(Arc::clone(key), Some(Built { flag, wanted, named, warnings }));
    }

    /// Compiles segments that changed. Gives the flags that were compiled against them.
    fn segments(&mut self) -> BTreeSet<Arc<str>> {
        let mut touched = BTreeSet::new();
        for name in &self.update.segments {
            let name: Arc<str> = Arc::from(*name);
            touched.extend(self.needing(&Need::Segment(Arc::clone(&name))));
            for version in HashVersion::ALL {
                self.next.segments.remove(&(Arc::clone(&name), version));
            }
            self.next.segment_hashes.remove(&name);
            let Some(rule) = (self.update.body)(FlagSource::Segment, &name) else {
                note_warnings(&mut self.next, &format!("segment/{name}"), std::iter::empty());
                continue;
            };
            let compiled = compile_shared((&name, &rule), true, &mut self.next.segments);
            self.next.segment_hashes.insert(Arc::clone(&name), hash_of(&rule));
            let place = format!("segment/{name}");
            let below = |fault: Fault| fault.under(&place);
            match compiled {
                Err(faults) => self.faults.extend(faults.into_iter().map(below)),
                Ok(warnings) => {
                    note_warnings(&mut self.next, &place, warnings.into_iter().map(below));
                }
            }
        }
        if self.before.segments.is_empty() && !self.next.segments.is_empty() {
            touched.extend(self.needing(&Need::NoSegments));
        }
        touched
    }

    /// The flags that were compiled against something.
    fn needing(&self, need: &Need) -> Vec<Arc<str>> {
        let from = self.before.needed.range_by(|(other, _)| other < need);
        let needing = from.take_while(|((other, _), ())| other == need);
        needing.map(|((_, flag), ())| Arc::clone(flag)).collect()
    }

    /// Compiles files' settings that changed. Gives the flags that these concern.
    fn files(&mut self) -> BTreeSet<Arc<str>> {
        let mut touched = BTreeSet::new();
        for stem in &self.update.files {
            let before = self.next.files.remove(*stem);
            let place = format!("setting/flag-file.{stem}");
            let mut warnings = Vec::new();
            let after = (self.update.body)(FlagSource::File, stem).map(|setting| {
                let (file, faults) =
                    CompiledFile::compile(&setting, hash_of(&setting), &mut warnings);
                self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
                Arc::new(file)
            });
            let warnings = warnings.into_iter().map(|fault| fault.under(&place));
            note_warnings(&mut self.next, &place, warnings);
            touched.extend(file::concerned(before.as_deref(), after.as_deref()));
            if let Some(after) = after {
                self.next.files.insert(Arc::from(*stem), after);
            }
        }
        touched
    }

    /// The next set, of what was built and what is taken over.
    fn finish(self) -> FlagSet {
        let Self { before, update, mut next, built, .. } = self;
        let mut flags: Vec<(Arc<str>, Option<Arc<CompiledFlag>>)> = Vec::new();
        for (key, built) in built {
            if let Some(old) = before.find(&key) {
                forget(&mut next, old);
            }
            let Some(built) = built else {
                next.flags.remove(&key);
                flags.push((key, None));
                continue;
            };
            let Built { mut flag, named, warnings, .. } = built;
            flag.needs = needs_of(&flag, named, !warnings.is_empty() && next.segments.is_empty());
            if !warnings.is_empty() {
                next.warned.insert(Arc::clone(&key), warnings.into());
            }
            let flag = Arc::new(flag);
            note(&mut next, &flag);
            next.flags.insert(Arc::clone(&key), Arc::clone(&flag));
            flags.push((key, Some(flag)));
        }
        next.index = next.index.changed(flags.iter().map(|(key, flag)| (&**key, flag.as_ref())));
        if !update.files.is_empty() {
            let metadata = next.files.values().filter_map(|file| file.metadata.as_ref());
            next.metadata = Arc::new(agreed(metadata.map(|metadata| &metadata.fields)));
        }
        next.content_hash = OnceLock::new();
        next
    }
}

/// Keeps what is strange about an object that is no flag, in the place of what was. No flag's key has
/// the key's first character.
fn note_warnings(set: &mut FlagSet, object: &str, warnings: impl Iterator<Item = Fault>) {
    let (key, warnings) = (Arc::from(format!("\u{0}{object}")), warnings.collect::<Vec<_>>());
    if warnings.is_empty() {
        set.warned.remove(&key);
    } else {
        set.warned.insert(key, warnings.into());
    }
}

/// Takes a flag out of everything that is kept about flags.
fn forget(set: &mut FlagSet, flag: &CompiledFlag) {
    for need in &flag.needs {
        set.needed.remove(&(need.clone(), Arc::clone(&flag.key)));
    }
    set.warned.remove(&flag.key);
    if let Some(expires) = flag.expires {
        set.expiring.remove(&(expires, Arc::clone(&flag.key)));
    }
    set.time_readers = set.time_readers.saturating_sub(usize::from(flag.chain.reads_time));
}

fn note(set: &mut FlagSet, flag: &CompiledFlag) {
    for need in &flag.needs {
        set.needed.insert((need.clone(), Arc::clone(&flag.key)), ());
    }
    if let Some(expires) = flag.expires {
        set.expiring.insert((expires, Arc::clone(&flag.key)), ());
    }
    set.time_readers += usize::from(flag.chain.reads_time);
}

fn needs_of(flag: &CompiledFlag, named: BTreeSet<Box<str>>, no_segments: bool) -> Box<[Need]> {
    let prerequisites = flag.gates.as_ref().map_or(&[][..], |gates| &gates.prerequisites);
    let mut needs: BTreeSet<Need> =
        prerequisites.iter().map(|other| Need::Flag(Arc::clone(&other.flag))).collect();
    needs.extend(named.into_iter().map(|name| Need::Segment(name.into())));
    if no_segments {
        needs.insert(Need::NoSegments);
    }
    needs.into_iter().collect()
}

/// SHA-256 of a body in canonical form.
fn hash_of(body: &Json) -> [u8; 32] {
    let mut text = String::new();
    write_canonical(&mut text, body);
    Sha256::digest(text.as_bytes()).into()
}

pub(super) fn content_hash(set: &FlagSet) -> String {
    let mut hasher = Sha256::new();
    hasher.update(CONTENT_HASH_DOMAIN);
    hasher.update((set.flags.len() as u64).to_be_bytes());
    for shard in set.index.hashes().filter(|_| !set.flags.is_empty()) {
        hasher.update(shard);
    }
    let segments = set.segment_hashes.iter();
    let files = set.files.iter().map(|(stem, file)| (stem, &file.hash));
    for (count, objects) in [
        (set.segment_hashes.len(), &mut segments.into_iter() as &mut dyn Iterator<Item = _>),
        (set.files.len(), &mut files.into_iter()),
    ] {
        hasher.update((count as u64).to_be_bytes());
        for (name, hash) in objects {
            hasher.update((name.len() as u64).to_be_bytes());
            hasher.update(name.as_bytes());
            hasher.update(hash);
        }
    }
    hex::encode(hasher.finalize())
}

/// Compiles a shared condition for every version of the hash; one that splits nobody is the same
/// for all.
fn compile_shared(
    (name, rule): (&str, &Json),
    strict: bool,
    references: &mut References,
) -> Result<Faults, Faults> {
    let (faults, warnings) = check_segment(name, rule, strict);
    if !faults.is_empty() {
        return Err(faults);
    }
    let empty = rule.as_object().is_some_and(Map::is_empty);
    let rule = if empty { Cow::Owned(Json::Null) } else { Cow::Borrowed(rule) };
    let name: Arc<str> = Arc::from(name);
    let mut last = None;
    for hash_version in HashVersion::ALL {
        let shared = match last.take() {
            Some(shared) => shared,
            None => {
                let lenient = !strict;
                let options = CompileOptions { hash_version, lenient, ..CompileOptions::default() };
                let logic = Logic::compile_with(&rule, &options)?;
                let splits = logic.splits();
                let shared = logic.into_shared();
                last = (!splits).then(|| shared.clone());
                references.insert((Arc::clone(&name), hash_version), shared);
                continue;
            }
        };
        references.insert((Arc::clone(&name), hash_version), shared.clone());
        last = Some(shared);
    }
    Ok(warnings)
}

/// What all of some metadata agree on.
fn agreed<'c>(all: impl Iterator<Item = &'c Map<String, Json>>) -> Map<String, Json> {
    let mut merged = Map::new();
    let mut disputed = BTreeSet::new();
    for fields in all {
        for (key, value) in fields {
            match merged.get(key) {
                None => {
                    merged.insert(key.clone(), value.clone());
                }
                Some(other) if other == value => {}
                Some(_) => {
                    disputed.insert(key.clone());
                }
            }
        }
    }
    merged.retain(|key, _| !disputed.contains(key));
    merged
}
