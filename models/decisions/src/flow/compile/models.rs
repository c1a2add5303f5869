//! The models that a flow names: each must exist and fit where it is used.

use std::sync::Arc;

use verdict_config::definition::{
    ClassifyDefinition, ModelChoice, ModelFailurePolicy, RiskModelDefinition,
};
use verdict_config::{Code, EvaluationVersion};

use super::Compiler;
use crate::flow::{
    Choice, ClassifyStage, Fallback, FlowModel, Misfit, RiskStage, Selection, crosswalk,
    unsuited_for_classes, unsuited_for_risk,
};

fn default_reason(key: &str) -> String {
    let key = key.to_ascii_uppercase();
    let plain = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("MODEL_{}", plain.collect::<String>())
}

/// What keeps a model from answering.
struct Problem {
    code: Code,
    path: String,
    message: String,
}

fn no_labels(model: &FlowModel) -> Option<Problem> {
    let message = unsuited_for_classes(model)?;
    Some(Problem { code: Code::InvalidValue, path: "classify.model".to_owned(), message })
}

fn no_risk(model: &FlowModel, label: Option<&str>, path: &str) -> Option<Problem> {
    let message = unsuited_for_risk(model, label)?;
    Some(Problem { code: Code::InvalidValue, path: path.to_owned(), message })
}

impl Compiler<'_> {
    pub(super) fn models(&mut self) {
        for (name, interface) in self.parts.models {
            match FlowModel::resolve(interface, &self.schema) {
                Ok(model) => {
                    self.models.insert(name.clone(), Arc::new(model));
                }
                Err(misfits) => {
                    self.misfits.insert(name.clone(), Misfit::new(misfits));
                }
            }
        }
    }

    /// A model that the definition names: it must exist. Where its answer counts it must also fit;
    /// a shadow or a fallback that does not fit is a finding, and fails when it is asked.
    fn judge(
        &mut self,
        (name, counts): (&str, bool),
        path: &str,
        problem: impl Fn(&FlowModel) -> Option<Problem>,
    ) {
        let problems: Vec<Problem> = match (self.models.get(name), self.misfits.get(name)) {
            (Some(model), _) => problem(model).into_iter().collect(),
            (None, Some(misfit)) => {
                let problem = |message: &String| Problem {
                    code: Code::ModelInput,
                    path: path.to_owned(),
                    message: message.clone(),
                };
                misfit.messages.iter().map(problem).collect()
            }
            (None, None) => {
                let message = format!("there is no model {name}");
                return self.fault(Code::UnknownReference, path, message);
            }
        };
        // Programs before refuse a flow with such a shadow or fallback.
        let must_fit = counts || self.parts.limits.evaluation < EvaluationVersion::V2;
        for Problem { code, path, message } in problems {
            if must_fit {
                self.fault(code, path, message);
            } else {
                self.finding(path, message);
            }
        }
    }

    /// The models of a selection that is written in the flow, each with whether its answer counts.
    fn judge_selection(
        &mut self,
        selection: &Selection,
        path: &str,
        problem: impl Fn(&FlowModel) -> Option<Problem>,
    ) {
        for member in &selection.members {
            self.judge((&member.model, true), path, &problem);
        }
        for shadow in &selection.shadow {
            self.judge((shadow, false), path, &problem);
        }
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
            self.judge_selection(selection, "classify.model", no_labels);
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
                let label_path = format!("models.{key}.label");
                let label = definition.label.as_deref();
                self.judge_selection(selection, &path, |model| no_risk(model, label, &label_path));
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

    pub(super) fn fallback(&mut self) -> Option<Fallback> {
        let policies = &self.definition.on_failure;
        match (&policies.fallback_model, policies.model) {
            (None, ModelFailurePolicy::FallbackModel) => {
                let message = "the policy fallback_model needs the name of one";
                self.fault(Code::MissingKey, "on_failure.fallback_model", message);
                None
            }
            (Some(name), ModelFailurePolicy::FallbackModel) => Some(self.fallback_model(name)),
            (Some(_), _) => {
                let message = "a fallback model is named, but the policy is not fallback_model";
                self.finding("on_failure.fallback_model", message);
                None
            }
            (None, _) => None,
        }
    }

    fn fallback_model(&mut self, name: &str) -> Fallback {
        let (definition, path) = (self.definition, "on_failure.fallback_model");
        let mut found = Vec::new();
        if let Some(model) = self.models.get(name) {
            let of_risk = |risk: &RiskModelDefinition| no_risk(model, risk.label.as_deref(), path);
            let classify = definition.classify.as_ref().filter(|stage| stage.model.is_some());
            let problems = classify.and_then(|_| no_labels(model)).into_iter();
            found.extend(problems.chain(definition.models.values().filter_map(of_risk)));
        }
        self.judge((name, false), path, |_| None);
        for problem in found {
            self.finding(path, problem.message);
        }
        Fallback { name: name.into(), model: self.models.get(name).cloned() }
    }
}
