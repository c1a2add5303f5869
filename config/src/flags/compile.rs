//! From the catalogue's objects to a compiled set, with every fault on the way.

mod flag;
mod prerequisites;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use self::flag::FlagCompiler;
use super::definition::{CheckedFlag, FlagParts, check_flag, check_metadata, validate_segment};
use super::file::FileSetting;
use super::fractional::HashVersion;
use super::logic::{CompileOptions, Logic, References};
use super::set::{CompiledFlag, FlagSet, FlagSources};
use crate::{Code, Fault, Faults};

/// Compiles the objects of a catalogue.
pub(super) struct SetCompiler<'c> {
    sources: &'c FlagSources<'c>,
    faults: Faults,
    warnings: Faults,
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

    /// The faults of files by themselves. Names are not looked up: segments and other flags may be
    /// elsewhere in the catalogue.
    pub(super) fn within_files(mut self) -> Faults {
        let versions = versions_of(&self.check_flags());
        for (stem, setting) in &self.sources.files {
            self.file(stem, &FileSetting::read(setting), &versions);
        }
        self.faults
    }

    /// Compiles everything, with every fault.
    pub(super) fn compile(mut self) -> Result<FlagSet, Faults> {
        let checked = self.check_flags();
        let versions = versions_of(&checked);
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
        for (key, parts) in &checked {
            let file = file_of.get(key).and_then(|stem| files.get(stem)).unwrap_or(&no_file);
            flags.push(self.flag(key, parts, file, &segments));
        }
        // Positions count only flags that are well formed, so prerequisites wait for that.
        if self.faults.is_empty() {
            self.prerequisites(&checked, &mut flags);
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

    fn flag(
        &mut self,
        key: &str,
        parts: &FlagParts<'_>,
        file: &FileParts<'_>,
        segments: &References,
    ) -> CompiledFlag {
        let mut compiler = FlagCompiler {
            key,
            parts,
            references: &[&file.evaluators, segments],
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        let compiled = compiler.compile(file.metadata);
        let FlagCompiler { faults, warnings, .. } = compiler;
        if !faults.is_empty() || !warnings.is_empty() {
            let place = format!("flag/{key}");
            self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
            self.warnings.extend(warnings.into_iter().map(|fault| fault.under(&place)));
        }
        compiled
    }

    fn check_flags(&mut self) -> BTreeMap<&'c str, FlagParts<'c>> {
        let mut checked = BTreeMap::new();
        for (key, body) in &self.sources.flags {
            let CheckedFlag { faults, warnings, parts } = check_flag(key, body);
            if !faults.is_empty() || !warnings.is_empty() {
                let place = format!("flag/{key}");
                self.faults.extend(faults.into_iter().map(|fault| fault.under(&place)));
                self.warnings.extend(warnings.into_iter().map(|fault| fault.under(&place)));
            }
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
}

fn versions_of(checked: &BTreeMap<&str, FlagParts<'_>>) -> BTreeSet<HashVersion> {
    checked.values().map(|parts| parts.extensions.hash_version).collect()
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
