//! One flag of a set, with what it gets from its file and refers to.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::flags::compiled::{
    Chain, CompiledExperiment, CompiledFlag, CompiledRollout, CompiledSegments, CompiledWindow,
    Gates, Metadata, Scheduled, Variant,
};
use crate::flags::definition::{FlagParts, FlagState, FlagType};
use crate::flags::extension::Extensions;
use crate::flags::logic::{CompileOptions, Logic, References, Shared};
use crate::{Code, Fault, Faults};

/// Compiles one flag.
pub(super) struct FlagCompiler<'f> {
    pub(super) key: &'f Arc<str>,
    pub(super) parts: &'f FlagParts<'f>,
    /// The evaluators of the flag's file, then the segments.
    pub(super) references: &'f [&'f References; 2],
    /// The names that its conditions and segments refer to.
    pub(super) named: BTreeSet<Box<str>>,
    pub(super) faults: Faults,
    pub(super) warnings: Faults,
}

impl FlagCompiler<'_> {
    /// The flag; its prerequisites follow when all flags are there.
    pub(super) fn compile(
        &mut self,
        file_metadata: Option<&Arc<Metadata>>,
        hash: [u8; 32],
    ) -> CompiledFlag {
        let parts = self.parts;
        let float = parts.flag_type == FlagType::Float;
        let variants = parts.variants.iter().map(|(name, value)| variant(name, value, float));
        let variants: Box<[Variant]> = variants.collect();
        let targeting = parts.targeting.and_then(|rule| self.logic(rule, "targeting"));
        let gates = self.gates();
        let mut flag = CompiledFlag {
            key: Arc::clone(self.key),
            hash,
            enabled: parts.state == FlagState::Enabled,
            default: parts.default_variant.and_then(|name| self.variant(name)),
            off: parts.extensions.off.as_deref().and_then(|name| self.variant(name)),
            variants,
            targeting,
            gates,
            metadata: self.metadata(file_metadata),
            expires: parts.extensions.expires,
            chain: Chain { depth: 1, cost: 1, reads_time: false },
            needs: Box::default(),
        };
        flag.chain.reads_time = flag.reads_time();
        flag
    }

    /// The file's metadata with the flag's own over it; the file's is shared where there is no own.
    fn metadata(&self, file: Option<&Arc<Metadata>>) -> Option<Arc<Metadata>> {
        let own = self.parts.metadata.into_iter().flatten();
        if self.parts.metadata.is_none_or(serde_json::Map::is_empty) {
            return file.cloned();
        }
        let mut fields = file.map(|file| file.fields.clone()).unwrap_or_default();
        fields.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        Metadata::of(fields)
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
            lenient: !self.parts.strict,
        };
        match Logic::compile_with(rule, &options) {
            Ok(logic) => {
                self.named.extend(logic.named().map(Box::from));
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
        for ((known_name, _), _) in self.references.iter().flat_map(|references| references.iter())
        {
            known.push(known_name);
        }
        known.sort_unstable();
        known.dedup();
        let message =
            format!("$ref names {name:?}, which is no evaluator of its file and no segment");
        if known.is_empty() {
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
            self.named.insert(name.as_str().into());
            let wanted = (Arc::from(name.as_str()), self.parts.extensions.hash_version);
            match self.references.iter().find_map(|references| references.get(&wanted)) {
                Some(shared) => group.push(shared.clone()),
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
        let salt = rule.salt.as_deref().unwrap_or(&**self.key).into();
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

impl CompiledFlag {
    /// Whether its result can change with time alone, prerequisites aside.
    pub(super) fn reads_time(&self) -> bool {
        self.targeting.as_ref().is_some_and(Logic::reads_time)
            || self.gates.as_ref().is_some_and(|gates| gates.reads_time())
    }
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
