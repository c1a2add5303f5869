//! Compiling a flow: every fault of it is collected before any is returned.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use verdict_config::definition::{
    ClassifyDefinition, Effect, FlowDefinition, ModelChoice, ModelFailurePolicy, RuleDefinition,
    RuleSetDefinition,
};
use verdict_config::{Code, Fault, Faults, ObjectKind, Schema, TimestampMs};
use verdict_rules::{DerivedFacts, Environment, Phase, WindowRead};

use super::sets::{self, FlowSet, SetUse};
use super::{
    Choice, ClassifyStage, CompiledFlow, FlowError, FlowFinding, FlowModel, ObjectFaults,
    RiskStage, SnoozedRule, SwitchFlags, crosswalk,
};
use crate::canonical;
use crate::parts::FlowParts;

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
    misfits: BTreeMap<String, Vec<String>>,
}

impl<'a> Compiler<'a> {
    fn new(definition: &'a FlowDefinition, parts: &'a FlowParts<'a>) -> Self {
        let keys = definition.models.keys().map(String::as_str);
        Self {
            definition,
            parts,
            schema: Schema::new(&definition.fields),
            derived: DerivedFacts::of_flow(keys, definition.classify.is_some()),
            flags: flag_keys(definition, parts),
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
        self.findings.push(FlowFinding { path: path.into(), message: message.into() });
    }

    fn check(&mut self) {
        checks::check(self.definition, &mut self.faults, &mut self.findings);
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
        let compiled = match verdict_rules::compile(&definition, &self.environment()) {
            Ok(compiled) => compiled,
            Err(faults) => {
                self.object_faults(ObjectKind::RuleSet, name, faults);
                return;
            }
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
                self.findings.push(FlowFinding { path, message: message.to_owned() });
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
                let mut set =
                    FlowSet::new(compiled, SetUse::default(), 0, &self.schema, &self.derived);
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

    fn models(&mut self) {
        for (name, interface) in self.parts.models {
            match FlowModel::resolve(interface, &self.schema) {
                Ok(model) => {
                    self.models.insert(name.clone(), Arc::new(model));
                }
                Err(faults) => {
                    self.misfits.insert(name.clone(), faults);
                }
            }
        }
    }

    /// A model that the definition names: it must exist and fit.
    fn named_model(&mut self, name: &str, path: &str) -> Option<Arc<FlowModel>> {
        if let Some(model) = self.models.get(name) {
            return Some(Arc::clone(model));
        }
        match self.misfits.get(name).cloned() {
            Some(misfits) => {
                for message in misfits {
                    self.fault(Code::ModelInput, path, message);
                }
            }
            None => {
                self.fault(Code::UnknownReference, path, format!("there is no model {name}"));
            }
        }
        None
    }

    fn choice(&mut self, written: &ModelChoice, path: &str) -> Option<Choice> {
        let flags = &self.flags;
        let position = |key: &str| flags.binary_search_by(|known| known.as_ref().cmp(key)).ok();
        match Choice::read(written, position) {
            Ok(choice) => Some(choice),
            Err(messages) => {
                for message in messages {
                    self.fault(Code::InvalidValue, path, message);
                }
                None
            }
        }
    }

    fn classify(&mut self) -> Option<ClassifyStage> {
        let definition: &ClassifyDefinition = self.definition.classify.as_ref()?;
        let choice =
            definition.model.as_ref().and_then(|written| self.choice(written, "classify.model"));
        if let Some(Choice::Fixed(selection)) = &choice {
            for name in selection.names() {
                let model = self.named_model(name, "classify.model");
                if model.is_some_and(|model| !model.classifies()) {
                    let message = format!("model {name} finds anomalies; it has no labels");
                    self.fault(Code::InvalidValue, "classify.model", message);
                }
            }
        }
        if definition.model.is_none() && definition.rules.is_empty() {
            self.fault(Code::MissingKey, "classify", "classify needs rules, a model or both");
        }
        let codes = definition.codes.as_ref().and_then(|codes| {
            let Some(table) = self.parts.tables.get(&codes.table) else {
                let message = format!("there is no table {}", codes.table);
                self.fault(Code::UnknownReference, "classify.codes.table", message);
                return None;
            };
            crosswalk::read(codes, table).map_err(|faults| self.faults.extend(faults)).ok()
        });
        Some(ClassifyStage {
            scheme: definition.scheme.as_str().into(),
            choice,
            accept_from: definition.accept_from,
            delta: definition.delta,
            min_confidence: definition.min_confidence,
            alternatives: usize::from(definition.alternatives),
            codes,
        })
    }

    fn risks(&mut self) -> Vec<RiskStage> {
        let mut stages = Vec::new();
        for (key, definition) in &self.definition.models {
            let path = format!("models.{key}.model");
            let choice = self.choice(&definition.model, &path);
            if let Some(Choice::Fixed(selection)) = &choice {
                for name in selection.names() {
                    let model = self.named_model(name, &path);
                    let label = definition.label.as_deref();
                    if model.is_some_and(|model| model.risk_position(label).is_none()) {
                        let message = match label {
                            Some(label) => format!("model {name} has no label {label:?}"),
                            None => format!("model {name} has no positive label: name one"),
                        };
                        self.fault(Code::InvalidValue, format!("models.{key}.label"), message);
                    }
                }
            }
            let Some(choice) = choice else { continue };
            let reason = definition.reason.clone();
            stages.push(RiskStage {
                fact: format!("scores.{key}").into(),
                choice,
                label: definition.label.clone(),
                points_per_logit: definition.points_per_logit,
                offset: definition.offset,
                points_max: definition.points_max,
                reason: reason.unwrap_or_else(|| default_reason(key)).into(),
            });
        }
        stages
    }

    fn fallback(&mut self) -> Option<Arc<FlowModel>> {
        let policies = &self.definition.on_failure;
        match (&policies.fallback_model, policies.model) {
            (None, ModelFailurePolicy::FallbackModel) => {
                let message = "the policy fallback_model needs the name of one";
                self.fault(Code::MissingKey, "on_failure.fallback_model", message);
                None
            }
            (Some(name), ModelFailurePolicy::FallbackModel) => {
                self.named_model(name, "on_failure.fallback_model")
            }
            (Some(_), _) => {
                let message = "a fallback model is named, but the policy is not fallback_model";
                self.finding("on_failure.fallback_model", message);
                None
            }
            (None, _) => None,
        }
    }

    /// Reads the list `snooze.FLOW`: value is the unit, the qualifier `rule` the rule.
    fn snoozes(&mut self) -> BTreeMap<String, Vec<SnoozedRule>> {
        let mut snoozes: BTreeMap<String, Vec<SnoozedRule>> = BTreeMap::new();
        let list_name = format!("snooze.{}", self.definition.flow);
        let Some(list) = self.parts.lists.get(&list_name) else { return snoozes };
        let list = Arc::clone(list);
        let mut faults = Faults::new();
        for (position, entry) in list.entries.iter().enumerate() {
            let path = |key: &str| format!("entries[{position}].{key}");
            let Some(expires) = entry.expires else {
                let message = "a snooze expires: give a time";
                faults.push(Fault::new(Code::MissingKey, path("expires"), message));
                continue;
            };
            let Some(name) = entry.qualifiers.get("rule") else {
                let message = "a snooze names a rule: add the column rule";
                faults.push(Fault::new(Code::MissingKey, path("rule"), message));
                continue;
            };
            match self.snoozed_rule(name, expires) {
                Ok(rule) => snoozes.entry(entry.value.clone()).or_default().push(rule),
                Err(message) => self.finding(format!("list/{list_name}.{}", path("rule")), message),
            }
        }
        if !faults.is_empty() {
            self.object_faults(ObjectKind::List, &list_name, faults);
        }
        snoozes
    }

    fn snoozed_rule(&self, name: &str, expires: TimestampMs) -> Result<SnoozedRule, String> {
        for (set_position, set) in (0u32..).zip(&self.sets) {
            let found = set.rules.iter().position(|rule| rule.name.as_ref() == name);
            let Some(position) = found else { continue };
            let sanctions = set.compiled.rules().get(position).is_some_and(|rule| {
                rule.category == Some(verdict_config::definition::Category::Sanctions)
            });
            if sanctions {
                return Err(format!("rule {name} is of category sanctions: it cannot be snoozed"));
            }
            let rule = u32::try_from(position).map_err(|error| error.to_string())?;
            return Ok(SnoozedRule { set: set_position, rule, expires });
        }
        Err(format!("the flow has no rule {name}: the snooze has no effect"))
    }

    fn object_faults(&mut self, kind: ObjectKind, name: &str, faults: Faults) {
        self.objects.push(ObjectFaults { kind, name: name.to_owned(), faults });
    }

    fn finish(
        mut self,
        classify: Option<ClassifyStage>,
        risks: Vec<RiskStage>,
        fallback: Option<Arc<FlowModel>>,
        snoozes: BTreeMap<String, Vec<SnoozedRule>>,
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
        let expected = |field: &verdict_config::Field| field.need == verdict_config::Need::Expected;
        Ok(CompiledFlow {
            name: self.definition.flow.as_str().into(),
            content_hash: self.content_hash(),
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
        member("flow", &json(serde_json::to_value(self.definition)));
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

fn default_reason(key: &str) -> String {
    let key = key.to_ascii_uppercase();
    let plain = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("MODEL_{}", plain.collect::<String>())
}

/// Every flag that the flow reads: switches, models, rules. Sorted, so that positions are stable.
fn flag_keys(definition: &FlowDefinition, parts: &FlowParts<'_>) -> Vec<Arc<str>> {
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    keys.extend(switch_keys(definition).into_iter().flatten());
    let classify = definition.classify.as_ref();
    let choices = classify
        .and_then(|classify| classify.model.as_ref())
        .into_iter()
        .chain(definition.models.values().map(|model| &model.model));
    for choice in choices {
        if let ModelChoice::Flag { flag } = choice {
            keys.insert(flag);
        }
    }
    let sets = definition.rules.iter().chain(classify.into_iter().flat_map(|c| &c.rules));
    for set in sets.filter_map(|name| parts.rule_sets.get(name)) {
        keys.extend(set.definition.rules.iter().filter_map(|rule| rule.flag.as_deref()));
    }
    keys.into_iter().map(Arc::from).collect()
}

fn switch_keys(definition: &FlowDefinition) -> [Option<&str>; 8] {
    let switches = &definition.switches;
    [
        switches.flow.as_deref(),
        switches.rules.as_deref(),
        switches.classify_rules.as_deref(),
        switches.classify_model.as_deref(),
        switches.models.as_deref(),
        switches.score.as_deref(),
        switches.abstain.as_deref(),
        switches.shadow.as_deref(),
    ]
}

fn switch_flags(definition: &FlowDefinition, flags: &[Arc<str>]) -> SwitchFlags {
    let position = |key: Option<&str>| {
        let key = key?;
        flags.binary_search_by(|known| known.as_ref().cmp(key)).ok()
    };
    let [flow, rules, classify_rules, classify_model, models, score, abstain, shadow] =
        switch_keys(definition).map(position);
    SwitchFlags { flow, rules, classify_rules, classify_model, models, score, abstain, shadow }
}
