//! Compiling a flow: every fault of it is collected before any is returned.

mod checks;
mod flags;
mod models;
mod snoozes;

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::definition::{Effect, FlowDefinition, RuleDefinition, RuleSetDefinition};
use verdict_config::{Code, EvaluationVersion, Fault, Faults, ObjectKind, Schema};
use verdict_rules::{DerivedFacts, Environment, Phase, WindowRead};

use super::sets::{FlowSet, SetUse};
use super::{
    ClassifyStage, CompiledFlow, Fallback, FlowError, FlowFinding, FlowModel, Misfit, ObjectFaults,
    RiskStage, Snoozes, sets,
};
use crate::canonical;
use crate::parts::{FlowParts, RuleSetPart};
use flags::{flag_keys, switch_flags};

impl CompiledFlow {
    /// Compiles a flow with its rule sets, and resolves everything that it names.
    ///
    /// Flags may be absent: that is a finding, and such a flag switches nothing.
    ///
    /// # Errors
    /// Every fault of the flow and of its rule sets, by object.
    pub fn compile(definition: &FlowDefinition, parts: &FlowParts<'_>) -> Result<Self, FlowError> {
        let mut compiler = Compiler::new(definition, parts);
        compiler.check();
        compiler.sets();
        compiler.segments();
        compiler.models();
        let classify = compiler.classify();
        let risks = compiler.risks();
        let fallback = compiler.fallback();
        let snoozes = compiler.snoozes();
        compiler.finish(classify, risks, fallback, snoozes)
    }

    /// The flags that a flow of this definition reads, sorted: its compilation asks which of them
    /// exist, and nothing else of flags.
    #[must_use]
    pub fn flags_read(
        definition: &FlowDefinition,
        rule_sets: &BTreeMap<String, RuleSetPart>,
    ) -> Vec<Arc<str>> {
        flag_keys(definition, rule_sets)
    }
}

struct Compiler<'a> {
    definition: &'a FlowDefinition,
    parts: &'a FlowParts<'a>,
    schema: Schema,
    derived: DerivedFacts,
    flags: Vec<Arc<str>>,
    faults: Faults,
    objects: Vec<ObjectFaults>,
    findings: Vec<FlowFinding>,
    sets: Vec<FlowSet>,
    segments: Option<FlowSet>,
    windows: Vec<Arc<WindowRead>>,
    models: BTreeMap<String, Arc<FlowModel>>,
    /// Why a model cannot be used here, by name.
    misfits: BTreeMap<String, Misfit>,
}

impl<'a> Compiler<'a> {
    fn new(definition: &'a FlowDefinition, parts: &'a FlowParts<'a>) -> Self {
        let keys = definition.models.keys().map(String::as_str);
        Self {
            definition,
            parts,
            schema: Schema::new(&definition.fields).evaluated_by(parts.limits.evaluation),
            derived: DerivedFacts::of_flow(keys, definition.classify.is_some()),
            flags: flag_keys(definition, parts.rule_sets),
            faults: Faults::new(),
            objects: Vec::new(),
            findings: Vec::new(),
            sets: Vec::new(),
            segments: None,
            windows: Vec::new(),
            models: BTreeMap::new(),
            misfits: BTreeMap::new(),
        }
    }

    fn fault(&mut self, code: Code, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::new(code, path, message));
    }

    fn finding(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.push(FlowFinding::new(path, message));
    }

    fn check(&mut self) {
        checks::check(self.definition, &mut self.faults, &mut self.findings);
        if self.parts.limits.evaluation < EvaluationVersion::V2 && !self.definition.tests.is_empty()
        {
            let message = "members of the cluster run a program that does not know tests of flows: \
                           update every node first";
            self.fault(Code::UnknownKey, "tests", message);
        }
        for key in self.flags.clone() {
            if !self.parts.flags.contains(&key) {
                self.finding("flags", format!("flag {key:?} does not exist; it has no effect"));
            }
        }
    }

    fn sets(&mut self) {
        let mut uses: Vec<(&str, SetUse, String)> = Vec::new();
        let hard = self.definition.rules.iter().map(|name| (name, true));
        let classify = self.definition.classify.iter().flat_map(|classify| &classify.rules);
        let mut position = (0usize, 0usize);
        for (name, hard) in hard.chain(classify.map(|name| (name, false))) {
            let path = if hard {
                position.0 += 1;
                format!("rules[{}]", position.0 - 1)
            } else {
                position.1 += 1;
                format!("classify.rules[{}]", position.1 - 1)
            };
            match uses.iter_mut().find(|(known, ..)| known == name) {
                Some((_, set_use, _)) if (hard && set_use.hard) || (!hard && set_use.classify) => {
                    self.faults.push(Fault::new(
                        Code::DuplicateName,
                        path,
                        format!("rule set {name} is named twice"),
                    ));
                }
                Some((_, set_use, _)) => set_use.classify = true,
                None => uses.push((name, SetUse { hard, classify: !hard }, path)),
            }
        }
        for (name, set_use, path) in uses {
            self.set(name, set_use, &path);
        }
        sets::name_rules(&mut self.sets);
    }

    fn set(&mut self, name: &str, set_use: SetUse, path: &str) {
        let Some(part) = self.parts.rule_sets.get(name) else {
            let message = format!("there is no rule set {name}");
            return self.fault(Code::UnknownReference, path, message);
        };
        let definition = Arc::clone(&part.definition);
        if definition.flow != self.definition.flow {
            let message = format!("rule set {name} is written for flow {}", definition.flow);
            return self.fault(Code::InvalidValue, path, message);
        }
        let compiled = match &part.compiled {
            Some(compiled) => Ok(Arc::clone(compiled)),
            None => verdict_rules::compile(&definition, &self.environment()).map(Arc::new),
        };
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(faults) => return self.object_faults(ObjectKind::RuleSet, name, faults),
        };
        let mut faults = Faults::new();
        for (position, rule) in definition.rules.iter().enumerate() {
            let late = compiled.rules().get(position).is_some_and(|rule| rule.phase == Phase::Late);
            let mut refuse = |message: &str| {
                let path = format!("rules[{position}].when");
                faults.push(Fault::new(Code::InvalidValue, path, message));
            };
            if late && rule.then.allow {
                refuse("an allow decides before models: it may not read what they answer");
            }
            if late && set_use.classify && (rule.then.label.is_some() || !set_use.hard) {
                refuse(
                    "a rule that classifies runs before models: it may not read what they answer",
                );
            }
            if set_use.classify && !set_use.hard && has_risk_effect(&rule.then) {
                let path = format!("rule_set/{name}.rules[{position}].then");
                let message = "the set is named under classify.rules only: points, floors, caps, \
                               outcomes and allows of its rules have no effect";
                self.findings.push(FlowFinding::new(path, message));
            }
        }
        if !faults.is_empty() {
            return self.object_faults(ObjectKind::RuleSet, name, faults);
        }
        let mut set = FlowSet::new(compiled, set_use, part.revision, &self.schema, &self.derived);
        self.bind(&mut set);
        self.sets.push(set);
    }

    fn environment(&self) -> Environment<'_> {
        Environment {
            schema: &self.schema,
            derived: &self.derived,
            lists: self.parts.lists,
            tables: self.parts.tables,
            limits: self.parts.limits,
        }
    }

    /// Places a set's windows and flags among those of the flow.
    fn bind(&mut self, set: &mut FlowSet) {
        for window in set.compiled.windows() {
            let known = self.windows.iter().position(|known| known.text == window.text);
            let position = known.unwrap_or(self.windows.len());
            if known.is_none() {
                self.windows.push(Arc::new(window.clone()));
            }
            set.windows.push(position);
        }
        for (rule, info) in (0u32..).zip(set.compiled.rules()) {
            let flag = info.flag.as_ref().and_then(|key| self.flags.binary_search(key).ok());
            set.flags.extend(flag.map(|flag| (rule, flag)));
        }
    }

    /// Segments are rules of a set of their own, so that their conditions are the same language.
    fn segments(&mut self) {
        let segments = &self.definition.score.segments;
        if segments.is_empty() {
            return;
        }
        let rules = segments.iter().enumerate().map(|(position, segment)| RuleDefinition {
            id: format!("segment{position}"),
            description: None,
            category: None,
            severity: None,
            when: Some(segment.when.clone()),
            table: None,
            unknown: verdict_config::definition::UnknownPolicy::NoMatch,
            then: Effect::default(),
            flag: None,
            tests: Vec::new(),
        });
        let definition = RuleSetDefinition {
            rule_set: "segments".to_owned(),
            flow: self.definition.flow.clone(),
            description: None,
            cost_units_max: None,
            rules: rules.collect(),
        };
        match verdict_rules::compile(&definition, &self.environment()) {
            Ok(compiled) => {
                let (compiled, no_use) = (Arc::new(compiled), SetUse::default());
                let mut set = FlowSet::new(compiled, no_use, 0, &self.schema, &self.derived);
                self.bind(&mut set);
                self.segments = Some(set);
            }
            Err(faults) => self.faults.extend(faults.into_iter().map(|mut fault| {
                if let Some(rest) = fault.path.strip_prefix("rules[") {
                    fault.path = format!("score.segments[{rest}");
                }
                fault
            })),
        }
    }

    fn object_faults(&mut self, kind: ObjectKind, name: &str, faults: Faults) {
        self.objects.push(ObjectFaults { kind, name: name.to_owned(), faults });
    }

    fn finish(
        mut self,
        classify: Option<ClassifyStage>,
        risks: Vec<RiskStage>,
        fallback: Option<Fallback>,
        snoozes: Snoozes,
    ) -> Result<CompiledFlow, FlowError> {
        self.check_cost();
        if !self.faults.is_empty() {
            let own = ObjectFaults {
                kind: ObjectKind::Flow,
                name: self.definition.flow.clone(),
                faults: std::mem::take(&mut self.faults),
            };
            self.objects.insert(0, own);
        }
        if !self.objects.is_empty() {
            return Err(FlowError { objects: self.objects });
        }
        if let Some(window) = self.windows.first() {
            let more = if self.windows.len() > 1 { " and others" } else { "" };
            let message = format!(
                "{}{more}: windows count on each node alone, so requests with one key must reach one \
                 node (docs/cluster.md)",
                window.text
            );
            self.finding("rules", message);
        }
        let expected = |field: &verdict_config::Field| field.need == verdict_config::Need::Expected;
        Ok(CompiledFlow {
            name: self.definition.flow.as_str().into(),
            content_hash: self.content_hash(),
            evaluation: self.parts.limits.evaluation,
            field_names: self.schema.fields().map(|(name, _)| Arc::from(name)).collect(),
            expected: (0u32..)
                .zip(self.schema.fields())
                .filter(|(_, (_, field))| expected(field))
                .map(|(slot, _)| slot)
                .collect(),
            unit_slot: self.definition.unit.as_deref().and_then(|name| self.schema.slot(name)),
            segment_levels: self.definition.score.segments.iter().map(|s| s.levels).collect(),
            switches: switch_flags(self.definition, &self.flags),
            definition: self.definition.clone(),
            schema: self.schema,
            sets: self.sets,
            segments: self.segments,
            windows: self.windows,
            models: self.models,
            misfits: self.misfits,
            classify,
            risks,
            fallback,
            flags: self.flags,
            snoozes,
            findings: self.findings,
        })
    }

    fn check_cost(&mut self) {
        let worst = self
            .sets
            .iter()
            .chain(&self.segments)
            .fold(0u64, |sum, set| sum.saturating_add(set.compiled.cost_units_max()));
        if let Some(limit) = self.definition.cost_units_max
            && worst > limit
        {
            let message = format!(
                "its rules may cost {worst} units, more than cost_units_max {limit}: such a \
                 decision abstains"
            );
            self.finding("cost_units_max", message);
        }
    }

    fn content_hash(&self) -> [u8; 32] {
        let mut text = Vec::new();
        let mut member = |name: &str, bytes: &[u8]| {
            text.extend_from_slice(name.as_bytes());
            text.push(0);
            text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            text.extend_from_slice(bytes);
        };
        let json = |value: serde_json::Result<serde_json::Value>| {
            let mut bytes = Vec::new();
            canonical::write_json(&mut bytes, &value.unwrap_or_default());
            bytes
        };
        // Tests decide nothing: with other tests a flow still replays what it decided before.
        let decides = FlowDefinition { tests: Vec::new(), ..self.definition.clone() };
        member("flow", &json(serde_json::to_value(decides)));
        for set in &self.sets {
            member(&set.label, set.compiled.content_hash().as_bytes());
        }
        if let Some(set) = &self.segments {
            member("segments", set.compiled.content_hash().as_bytes());
        }
        for (name, model) in &self.models {
            member(name, model.interface.content_hash.as_bytes());
        }
        let codes = self.definition.classify.as_ref().and_then(|classify| classify.codes.as_ref());
        if let Some(table) = codes.and_then(|codes| self.parts.tables.get(&codes.table)) {
            member("codes", &json(serde_json::to_value(table.as_ref())));
        }
        if let Some(list) = self.parts.lists.get(&format!("snooze.{}", self.definition.flow)) {
            member("snooze", &json(serde_json::to_value(list.as_ref())));
        }
        for (name, snooze) in self.parts.snoozes {
            member(name, &json(serde_json::to_value(snooze.as_ref())));
        }
        canonical::sha256(&text)
    }
}

fn has_risk_effect(effect: &Effect) -> bool {
    effect.points.is_some()
        || effect.floor.is_some()
        || effect.cap.is_some()
        || effect.outcome.is_some()
        || effect.allow
}
