//! From the catalogue's objects to a compiled set, with every fault on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::definition::{
    CheckedFlag, FlagParts, FlagState, FlagType, check_flag, check_metadata, validate_segment,
};
use super::extension::{Extensions, Prerequisite};
use super::file::FileSetting;
use super::fractional::HashVersion;
use super::logic::{CompileOptions, Logic, References, Shared};
use super::set::{
    CompiledExperiment, CompiledFlag, CompiledPrerequisite, CompiledRollout, CompiledSegments,
    CompiledWindow, FlagSet, FlagSources, Gates, PREREQUISITE_COST_MAX, PREREQUISITE_DEPTH_MAX,
    Scheduled, Variant,
};
use crate::{Code, Fault, Faults};

pub(super) struct SetCompiler<'c> {
    sources: &'c FlagSources<'c>,
    faults: Faults,
    warnings: Faults,
}

/// How much is there to refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Everything.
    Catalogue,
    /// One file; segments and other flags may be elsewhere.
    File,
}

/// What a flag gets from its file.
#[derive(Default)]
struct FileParts<'c> {
    evaluators: References,
    metadata: Option<&'c Map<String, Json>>,
}

impl<'c> SetCompiler<'c> {
    pub(super) const fn new(sources: &'c FlagSources<'c>) -> Self {
        Self { sources, faults: Vec::new(), warnings: Vec::new() }
    }

    /// The faults of one file by itself: what names segments and other flags may be elsewhere.
    pub(super) fn within_file(self) -> Faults {
        self.build(Scope::File).err().unwrap_or_default()
    }

    pub(super) fn compile(self) -> Result<FlagSet, Faults> {
        self.build(Scope::Catalogue)
    }

    fn build(mut self, scope: Scope) -> Result<FlagSet, Faults> {
        let checked = self.check_flags();
        let versions: BTreeSet<HashVersion> =
            checked.values().map(|parts| parts.extensions.hash_version).collect();
        let segments = self.segments(&versions);
        let mut files: BTreeMap<&str, FileParts<'c>> = BTreeMap::new();
        let mut file_of: BTreeMap<&str, &str> = BTreeMap::new();
        for (stem, setting) in &self.sources.files {
            let setting = FileSetting::read(setting);
            for key in setting.keys() {
                file_of.entry(key).or_insert(stem);
            }
            let parts = self.file(stem, &setting, &versions);
            files.insert(stem, parts);
        }
        let no_file = FileParts::default();
        let mut flags = Vec::with_capacity(checked.len());
        let positions: BTreeMap<&str, usize> =
            checked.keys().enumerate().map(|(position, key)| (*key, position)).collect();
        for (key, parts) in &checked {
            let file = file_of.get(key).and_then(|stem| files.get(stem)).unwrap_or(&no_file);
            let references = [&file.evaluators, &segments];
            let mut flag = FlagCompiler {
                key,
                parts,
                references: &references,
                scope,
                faults: Vec::new(),
                warnings: Vec::new(),
            };
            let compiled = flag.compile(file.metadata);
            let place = format!("flag/{key}");
            self.faults.extend(flag.faults.into_iter().map(|fault| fault.under(&place)));
            self.warnings.extend(flag.warnings.into_iter().map(|fault| fault.under(&place)));
            flags.push(compiled);
        }
        // Positions count only flags that are well formed, so prerequisites wait for that.
        if self.faults.is_empty() && scope == Scope::Catalogue {
            self.prerequisites(&checked, &positions, &mut flags);
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        Ok(FlagSet {
            flags: flags.into_boxed_slice(),
            metadata: agreed(files.values().filter_map(|file| file.metadata)),
            warnings: self.warnings,
            ..FlagSet::default()
        })
    }

    fn check_flags(&mut self) -> BTreeMap<&'c str, FlagParts<'c>> {
        let mut checked = BTreeMap::new();
        for (key, body) in &self.sources.flags {
            let CheckedFlag { faults, warnings, parts } = check_flag(key, body);
            let place = format!("flag/{key}");
            self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
            self.warnings.extend(warnings.into_iter().map(|fault| fault.under(&place)));
            if let Some(parts) = parts {
                checked.insert(*key, parts);
            }
        }
        checked
    }

    fn segments(&mut self, versions: &BTreeSet<HashVersion>) -> References {
        let mut references = References::new();
        for (name, rule) in &self.sources.segments {
            let place = format!("segment/{name}");
            compile_shared(name, rule, versions, &mut references).unwrap_or_else(|faults| {
                self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
            });
        }
        references
    }

    fn file(
        &mut self,
        stem: &str,
        setting: &FileSetting<'c>,
        versions: &BTreeSet<HashVersion>,
    ) -> FileParts<'c> {
        let mut faults = setting.faults.clone();
        let mut evaluators = References::new();
        match setting.document.and_then(|document| document.get("$evaluators")) {
            None => {}
            Some(Json::Object(rules)) => {
                for (name, rule) in rules {
                    if let Err(found) = compile_shared(name, rule, versions, &mut evaluators) {
                        let place = format!("$evaluators.{name}");
                        faults.extend(found.into_iter().map(|fault| fault.under(&place)));
                    }
                }
            }
            Some(_) => {
                let message = "must be an object of conditions by name";
                faults.push(Fault::new(Code::FlagInvalid, "$evaluators", message));
            }
        }
        let metadata = setting.document.and_then(|document| document.get("metadata"));
        let metadata = check_metadata(metadata, "metadata", &mut faults);
        for key in ["flagSetId", "version"] {
            if metadata.and_then(|fields| fields.get(key)).is_some_and(|value| !value.is_string()) {
                let place = format!("metadata.{key}");
                faults.push(Fault::new(Code::FlagInvalid, place, "must be a string"));
            }
        }
        let place = format!("setting/flag-file.{stem}");
        self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
        FileParts { evaluators, metadata }
    }

    fn prerequisites(
        &mut self,
        checked: &BTreeMap<&str, FlagParts<'_>>,
        positions: &BTreeMap<&str, usize>,
        flags: &mut [CompiledFlag],
    ) {
        for (at, (key, parts)) in checked.iter().enumerate() {
            let wanted = &parts.extensions.prerequisites;
            let mut compiled = Vec::with_capacity(wanted.len());
            for (index, prerequisite) in wanted.iter().enumerate() {
                match resolve(prerequisite, positions, flags) {
                    Ok(resolved) => compiled.push(resolved),
                    Err(message) => {
                        let place = format!("flag/{key}.prerequisites[{index}]");
                        self.faults.push(Fault::new(Code::UnknownReference, place, message));
                    }
                }
            }
            if let (false, Some(gates)) = (compiled.is_empty(), &mut flags[at].gates) {
                gates.prerequisites = compiled.into_boxed_slice();
            }
        }
        let mut walk = Walk { flags, state: vec![Visit::New; flags.len()] };
        let mut found = Vec::new();
        for at in 0..flags.len() {
            if let Err(message) = walk.visit(at, 0) {
                found.push((at, message));
            }
        }
        let reads_time: Vec<bool> = walk
            .state
            .iter()
            .map(|visit| matches!(visit, Visit::Done { reads_time: true, .. }))
            .collect();
        for (flag, reads_time) in flags.iter_mut().zip(reads_time) {
            flag.reads_time |= reads_time;
        }
        for (at, message) in found {
            let place = format!("flag/{}.prerequisites", flags[at].key);
            self.faults.push(Fault::new(Code::FlagInvalid, place, message));
        }
    }
}

fn compile_shared(
    name: &str,
    rule: &Json,
    versions: &BTreeSet<HashVersion>,
    references: &mut References,
) -> Result<(), Faults> {
    let faults = validate_segment(name, rule);
    if !faults.is_empty() {
        return Err(faults);
    }
    let empty = rule.as_object().is_some_and(Map::is_empty);
    let rule = if empty { &Json::Null } else { rule };
    // Without flags a condition is still compiled, for its faults.
    let default = [HashVersion::default()];
    let versions: Vec<HashVersion> =
        if versions.is_empty() { default.to_vec() } else { versions.iter().copied().collect() };
    for hash_version in versions {
        let options = CompileOptions { hash_version, ..CompileOptions::default() };
        let shared = Logic::compile_with(rule, &options)?.into_shared();
        references.insert((name.to_owned(), hash_version), shared);
    }
    Ok(())
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

fn resolve(
    prerequisite: &Prerequisite,
    positions: &BTreeMap<&str, usize>,
    flags: &[CompiledFlag],
) -> Result<CompiledPrerequisite, String> {
    let Some(at) = positions.get(prerequisite.flag.as_str()).copied() else {
        return Err(format!("there is no flag {:?}", prerequisite.flag));
    };
    let other = &flags[at];
    let fits = |variant: &Variant| match (&prerequisite.variant, &prerequisite.value) {
        (Some(name), _) => *variant.name == **name,
        (None, Some(value)) => same_value(&variant.value, value),
        (None, None) => false,
    };
    let variants: Box<[usize]> = other
        .variants
        .iter()
        .enumerate()
        .filter(|(_, variant)| fits(variant))
        .map(|(position, _)| position)
        .collect();
    if variants.is_empty() {
        let names: Vec<&str> = other.variants.iter().map(|variant| &*variant.name).collect();
        return Err(format!(
            "flag {:?} has no such variant; its variants are {}",
            prerequisite.flag,
            names.join(", ")
        ));
    }
    Ok(CompiledPrerequisite { flag: at, variants })
}

fn same_value(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

#[derive(Clone, Copy)]
enum Visit {
    New,
    Open,
    Done { depth: usize, cost: usize, reads_time: bool },
}

/// A walk along prerequisites that finds cycles and adds up depth and cost.
struct Walk<'f> {
    flags: &'f [CompiledFlag],
    state: Vec<Visit>,
}

impl Walk<'_> {
    /// Depth, cost and whether time is read, of one flag. Refuses beyond the longest chain, so that
    /// its own recursion is bounded.
    fn visit(&mut self, at: usize, level: usize) -> Result<(usize, usize, bool), String> {
        match self.state[at] {
            Visit::Done { depth, cost, reads_time } => return Ok((depth, cost, reads_time)),
            Visit::Open => {
                return Err(format!(
                    "prerequisites form a circle through {:?}",
                    self.flags[at].key
                ));
            }
            Visit::New => {}
        }
        let too_deep = || format!("prerequisites chain at most {PREREQUISITE_DEPTH_MAX} flags");
        // A circle is found before this bound only if it is short; either way it is refused.
        if level > PREREQUISITE_DEPTH_MAX * 2 {
            return Err(too_deep());
        }
        self.state[at] = Visit::Open;
        let flag = &self.flags[at];
        let (mut depth, mut cost, mut reads_time) = (1, 1_usize, flag.reads_time);
        let prerequisites = flag.gates.as_ref().map_or(&[][..], |gates| &gates.prerequisites);
        for prerequisite in prerequisites {
            match self.visit(prerequisite.flag, level + 1) {
                Ok((below, added, reads)) => {
                    depth = depth.max(below + 1);
                    cost = cost.saturating_add(added);
                    reads_time |= reads;
                }
                Err(message) => {
                    self.state[at] = Visit::New;
                    return Err(message);
                }
            }
        }
        self.state[at] = Visit::Done { depth, cost, reads_time };
        if depth > PREREQUISITE_DEPTH_MAX {
            return Err(too_deep());
        }
        if cost > PREREQUISITE_COST_MAX {
            return Err(format!(
                "prerequisites lead to {cost} evaluations; at most {PREREQUISITE_COST_MAX}"
            ));
        }
        Ok((depth, cost, reads_time))
    }
}

struct FlagCompiler<'f> {
    key: &'f str,
    parts: &'f FlagParts<'f>,
    /// The evaluators of the flag's file, then the segments.
    references: &'f [&'f References; 2],
    scope: Scope,
    faults: Faults,
    warnings: Faults,
}

impl FlagCompiler<'_> {
    fn compile(&mut self, file_metadata: Option<&Map<String, Json>>) -> CompiledFlag {
        let parts = self.parts;
        let float = parts.flag_type == FlagType::Float;
        let variants = parts.variants.iter().map(|(name, value)| variant(name, value, float));
        let variants: Box<[Variant]> = variants.collect();
        let targeting = parts.targeting.and_then(|rule| self.logic(rule, "targeting"));
        let gates = self.gates();
        let mut metadata = file_metadata.cloned().unwrap_or_default();
        for (key, value) in parts.metadata.into_iter().flatten() {
            metadata.insert(key.clone(), value.clone());
        }
        let metadata_text = (!metadata.is_empty())
            .then(|| Json::Object(metadata.clone()).to_string().into_boxed_str());
        let reads_time = targeting.as_ref().is_some_and(Logic::reads_time)
            || gates.as_ref().is_some_and(|gates| gates.reads_time());
        CompiledFlag {
            key: self.key.into(),
            enabled: parts.state == FlagState::Enabled,
            default: parts.default_variant.and_then(|name| self.variant(name)),
            off: parts.extensions.off.as_deref().and_then(|name| self.variant(name)),
            variants,
            targeting,
            gates,
            metadata,
            metadata_text,
            reads_time,
            expires: parts.extensions.expires,
        }
    }

    /// The position of a variant; checked with the flag's form.
    fn variant(&self, name: &str) -> Option<usize> {
        self.parts.variants.iter().position(|(other, _)| *other == name)
    }

    fn logic(&mut self, rule: &Json, place: &str) -> Option<Logic> {
        let options = CompileOptions {
            hash_version: self.parts.extensions.hash_version,
            references: self.references,
            place,
        };
        match Logic::compile_with(rule, &options) {
            Ok(logic) => {
                for name in logic.unresolved() {
                    self.dangling(name, place);
                }
                Some(logic)
            }
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    /// A `$ref` that names nothing is a fault where there is something it could have meant. A flag
    /// of a file without any evaluators is taken as flagd takes it: evaluating it is an error.
    fn dangling(&mut self, name: &str, place: &str) {
        let mut known: Vec<&str> = Vec::new();
        for (known_name, _) in self.references.iter().flat_map(|references| references.keys()) {
            known.push(known_name);
        }
        known.sort_unstable();
        known.dedup();
        let message =
            format!("$ref names {name:?}, which is no evaluator of its file and no segment");
        if known.is_empty() || self.scope == Scope::File {
            self.warnings.push(Fault::new(Code::UnknownReference, place, message));
        } else {
            let message = format!("{message}; there are {}", known.join(", "));
            self.faults.push(Fault::new(Code::UnknownReference, place, message));
        }
    }

    fn gates(&mut self) -> Option<Box<Gates>> {
        let extensions = &self.parts.extensions;
        let needed = !extensions.regions.is_empty()
            || !extensions.prerequisites.is_empty()
            || extensions.segments.is_some()
            || !extensions.schedule.is_empty()
            || extensions.experiment.is_some()
            || extensions.rollout.is_some();
        if !needed {
            return None;
        }
        Some(Box::new(Gates {
            regions: extensions.regions.iter().map(|region| region.as_str().into()).collect(),
            prerequisites: Box::default(),
            segments: self.segments(extensions),
            schedule: self.schedule(extensions),
            experiment: self.experiment(extensions),
            rollout: self.rollout(extensions),
        }))
    }

    fn segments(&mut self, extensions: &Extensions) -> CompiledSegments {
        let Some(rule) = &extensions.segments else { return CompiledSegments::default() };
        CompiledSegments {
            any: self.group(&rule.any, "segments.any"),
            all: self.group(&rule.all, "segments.all"),
            none: self.group(&rule.none, "segments.none"),
        }
    }

    fn group(&mut self, names: &[String], place: &str) -> Box<[Shared]> {
        let mut group = Vec::with_capacity(names.len());
        for name in names {
            let wanted = (name.clone(), self.parts.extensions.hash_version);
            match self.references.iter().find_map(|references| references.get(&wanted)) {
                Some(shared) => group.push(shared.clone()),
                None if self.scope == Scope::File => {}
                None => {
                    let message = format!("there is no segment {name:?}");
                    self.faults.push(Fault::new(Code::UnknownReference, place, message));
                }
            }
        }
        group.into_boxed_slice()
    }

    fn schedule(&mut self, extensions: &Extensions) -> Box<[CompiledWindow]> {
        let mut windows = Vec::with_capacity(extensions.schedule.len());
        for (index, window) in extensions.schedule.iter().enumerate() {
            let then = match (&window.variant, &window.targeting) {
                (Some(name), _) => self.variant(name).map(Scheduled::Variant),
                (None, Some(Json::Object(fields))) if fields.is_empty() => {
                    Some(Scheduled::Targeting(None))
                }
                (None, Some(rule)) => {
                    let place = format!("schedule[{index}].targeting");
                    self.logic(rule, &place).map(|logic| Scheduled::Targeting(Some(logic)))
                }
                (None, None) => None,
            };
            if let Some(then) = then {
                windows.push(CompiledWindow { from: window.from, until: window.until, then });
            }
        }
        windows.into_boxed_slice()
    }

    fn experiment(&self, extensions: &Extensions) -> Option<CompiledExperiment> {
        let rule = extensions.experiment.clone()?;
        let variants =
            rule.arms.iter().map(|arm| self.variant(&arm.variant)).collect::<Option<_>>()?;
        let total = rule.arms.iter().try_fold(0_u32, |sum, arm| sum.checked_add(arm.weight))?;
        let salt = rule.salt.as_deref().unwrap_or(&rule.key).into();
        Some(CompiledExperiment { rule, salt, variants, total })
    }

    fn rollout(&self, extensions: &Extensions) -> Option<CompiledRollout> {
        let rule = extensions.rollout.clone()?;
        let variant = self.variant(&rule.variant)?;
        let salt = rule.salt.as_deref().unwrap_or(self.key).into();
        Some(CompiledRollout { variant, rule, salt })
    }
}

/// A variant; in a float flag every number is a float, so that clients see `10.0`.
fn variant(name: &str, value: &Json, float: bool) -> Variant {
    let value = match value {
        Json::Number(number) if float => number.as_f64().map_or_else(|| value.clone(), Json::from),
        other => other.clone(),
    };
    Variant { name: name.into(), text: value.to_string().into_boxed_str(), value }
}

impl Gates {
    fn reads_time(&self) -> bool {
        let logic = |window: &CompiledWindow| window.from.is_some() || window.until.is_some();
        let segments = [&self.segments.any, &self.segments.all, &self.segments.none];
        self.schedule.iter().any(logic)
            || segments.iter().any(|group| group.iter().any(Shared::reads_time))
            || self.experiment.as_ref().is_some_and(|experiment| {
                experiment.rule.from.is_some() || experiment.rule.until.is_some()
            })
    }
}
