//! The models that a flow names: each must exist and fit where it is used.

use std::sync::Arc;

use verdict_config::Code;
use verdict_config::definition::{ClassifyDefinition, ModelChoice, ModelFailurePolicy};

use super::Compiler;
use crate::flow::{Choice, ClassifyStage, FlowModel, RiskStage, crosswalk};

fn default_reason(key: &str) -> String {
    let key = key.to_ascii_uppercase();
    let plain = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("MODEL_{}", plain.collect::<String>())
}

impl Compiler<'_> {
    pub(super) fn models(&mut self) {
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

    pub(super) fn classify(&mut self) -> Option<ClassifyStage> {
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

    pub(super) fn risks(&mut self) -> Vec<RiskStage> {
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

    pub(super) fn fallback(&mut self) -> Option<Arc<FlowModel>> {
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
}
