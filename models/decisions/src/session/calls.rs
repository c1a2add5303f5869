//! Stage 4: which models are asked, and what their answers come to.

use std::sync::Arc;

use smallvec::SmallVec;
use verdict_config::EvaluationVersion;
use verdict_config::definition::{EnsembleMethod, ModelFailurePolicy};
use verdict_config::model::ModelOutput;

use super::{FlagValue, MODEL_CALL_COST_UNITS, ModelCall, ModelFailure, ModelRole, Session};
use crate::ensemble::{self, Distribution, MemberAnswer};
use crate::flow::{Choice, FlowModel, Selection};

/// The stage of the classification; stage `k + 1` is the flow's `k`th model of the score.
pub(crate) const CLASSIFY: usize = 0;

/// How far the planning of calls is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planned {
    Nothing,
    Selections,
    Fallbacks,
}

/// One model asked for one row, whatever for.
#[derive(Debug, Clone)]
pub(crate) struct CallState {
    pub model: Arc<FlowModel>,
    pub role: ModelRole,
    pub stage: usize,
    pub handed_out: bool,
    pub result: Option<Result<ModelOutput, ModelFailure>>,
}

/// What a stage uses a model for.
#[derive(Debug, Clone)]
pub(crate) struct ModelUse {
    pub stage: usize,
    pub role: ModelRole,
    pub weight: f64,
    /// The name that the selection gave.
    pub name: Arc<str>,
    pub method: Option<EnsembleMethod>,
    /// The call, or why there is none.
    pub call: Result<usize, ModelFailure>,
    /// What does not fit, where that is why.
    pub detail: Option<Arc<str>>,
}

/// A stage's selection, or why there is none.
enum Selected<'a> {
    Off,
    Fixed(&'a Selection),
    Said(Selection),
    Unsaid(Arc<str>),
}

/// The answer of a stage that classifies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassAnswer {
    pub distribution: Distribution,
    pub source: Arc<str>,
    pub out_of_distribution: bool,
}

/// The answer of a stage that scores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RiskAnswer {
    pub probability: f64,
    pub source: Arc<str>,
    pub out_of_distribution: bool,
}

/// Checks what a model answered: as many scores as labels, all of them probabilities.
pub(crate) fn checked(model: &FlowModel, output: ModelOutput) -> Result<ModelOutput, ModelFailure> {
    let fits = output.scores.len() == model.interface.scores_len()
        && output.scores.iter().all(|score| (-1e-6..=1.000_001).contains(score))
        && output.ood_distance.is_none_or(|distance| !distance.is_nan());
    if fits { Ok(output) } else { Err(ModelFailure::Failed) }
}

impl Session {
    /// The calls that are to be made next. Call it after the rules, bring every answer, and call it
    /// again: models that stand in for failed ones come then. Empty means that nothing is left.
    pub fn model_calls(&mut self) -> Vec<ModelCall> {
        let mut may_fall_back = self.planned == Planned::Selections;
        if self.planned == Planned::Nothing {
            self.plan();
            self.planned = Planned::Selections;
            // Where no model could be asked there is no answer to wait for.
            may_fall_back = self.given.flow.evaluation >= EvaluationVersion::V2;
        }
        if may_fall_back && self.calls.iter().all(|call| call.result.is_some()) {
            self.plan_fallbacks();
            self.planned = Planned::Fallbacks;
        }
        self.hand_out()
    }

    fn hand_out(&mut self) -> Vec<ModelCall> {
        let flow = Arc::clone(&self.given.flow);
        let facts = &self.given.facts;
        let pending = (0u32..).zip(&mut self.calls).filter(|(_, call)| !call.handed_out);
        pending
            .map(|(number, call)| {
                call.handed_out = true;
                ModelCall {
                    call: number,
                    model: call.model.interface.name.as_str().into(),
                    content_hash: Arc::clone(&call.model.interface.content_hash),
                    row: call.model.row(facts),
                    role: call.role,
                    stage: flow.stage_name(call.stage),
                }
            })
            .collect()
    }

    fn plan(&mut self) {
        let given = Arc::clone(&self.given);
        if !given.stages.flow {
            return;
        }
        let settled = self.is_settled();
        let stages = 1 + given.flow.risks.len();
        let needed = |session: &Self, stage: usize| {
            stage != CLASSIFY || !session.is_accepted(&session.rule_candidates())
        };
        let selections: Vec<Selected<'_>> =
            (0..stages).map(|stage| given.selected(stage)).collect();
        // Everything that counts first: shadows get what is left of the budget.
        for (stage, selected) in selections.iter().enumerate() {
            if settled || !needed(self, stage) {
                continue;
            }
            match selected {
                Selected::Off => {}
                Selected::Unsaid(flag) => {
                    let name = Arc::clone(flag);
                    self.uses.push(ModelUse {
                        stage,
                        role: ModelRole::Primary,
                        weight: 1.0,
                        name,
                        method: None,
                        call: Err(ModelFailure::Absent),
                        detail: None,
                    });
                }
                Selected::Fixed(_) | Selected::Said(_) => self.plan_members(stage, selected),
            }
        }
        if given.stages.shadow {
            for (stage, selected) in selections.iter().enumerate() {
                self.plan_shadows(stage, selected, settled);
            }
        }
    }

    fn plan_members(&mut self, stage: usize, selected: &Selected<'_>) {
        let Some(selection) = selected.selection() else { return };
        let role = match selection.method {
            Some(_) => ModelRole::Ensemble,
            None => ModelRole::Primary,
        };
        for member in &selection.members {
            self.add_use(ModelUse {
                stage,
                role,
                weight: member.weight,
                name: Arc::clone(&member.model),
                method: selection.method,
                call: Err(ModelFailure::Absent),
                detail: None,
            });
        }
    }

    /// Models that do not count: those named as shadows, and, where a rule settled the decision,
    /// those that would have counted, so that what is learnt from labels is not biased.
    fn plan_shadows(&mut self, stage: usize, selected: &Selected<'_>, settled: bool) {
        let Some(selection) = selected.selection() else { return };
        let members = selection.members.iter().map(|member| &member.model);
        let names = members.filter(|_| settled).chain(&selection.shadow);
        for name in names {
            let known = |used: &ModelUse| {
                used.stage == stage && used.role == ModelRole::Shadow && used.name == *name
            };
            if !self.uses.iter().any(known) {
                self.add_use(ModelUse {
                    stage,
                    role: ModelRole::Shadow,
                    weight: 1.0,
                    name: Arc::clone(name),
                    method: None,
                    call: Err(ModelFailure::Absent),
                    detail: None,
                });
            }
        }
    }

    fn plan_fallbacks(&mut self) {
        let given = Arc::clone(&self.given);
        if given.flow.definition.on_failure.model != ModelFailurePolicy::FallbackModel {
            return;
        }
        let Some(fallback) = &given.flow.fallback else { return };
        let name = match &fallback.model {
            Some(model) => model.interface.name.as_str().into(),
            None => Arc::clone(&fallback.name),
        };
        for stage in 0..=given.flow.risks.len() {
            let uses = || self.uses.iter().filter(|used| used.stage == stage && used.counts());
            let asked = uses().next().is_some();
            // A stage that was left out to save cost is not asked for in another way.
            let skipped = uses().all(|used| used.call == Err(ModelFailure::Skipped));
            if !asked || skipped || uses().any(|used| self.output(used).is_ok()) {
                continue;
            }
            self.add_use(ModelUse {
                stage,
                role: ModelRole::Fallback,
                weight: 1.0,
                name: Arc::clone(&name),
                method: None,
                call: Err(ModelFailure::Absent),
                detail: None,
            });
        }
    }

    fn add_use(&mut self, mut used: ModelUse) {
        let flow = Arc::clone(&self.given.flow);
        let found = match used.role {
            ModelRole::Fallback => flow.fallback.as_ref().and_then(|found| found.model.as_ref()),
            ModelRole::Primary | ModelRole::Ensemble | ModelRole::Shadow => {
                flow.models.get(used.name.as_ref())
            }
        };
        used.call = match found {
            Some(model) if !flow.suits(model, used.stage) => {
                // The first version of evaluation says that it is unfit, and not why.
                let said = flow.evaluation >= EvaluationVersion::V2;
                let detail = said.then(|| flow.unsuited(model, used.stage)).flatten();
                used.detail = detail.map(Arc::from);
                Err(ModelFailure::Unfit)
            }
            Some(model) => self.call(model, used.role, used.stage),
            None => {
                let said = flow.evaluation >= EvaluationVersion::V2;
                let misfit = flow.misfits.get(used.name.as_ref()).filter(|_| said);
                used.detail = misfit.map(|misfit| Arc::clone(&misfit.detail));
                Err(misfit.map_or(ModelFailure::Absent, |_| ModelFailure::Unfit))
            }
        };
        self.uses.push(used);
    }

    /// The call to a model: the one that is made already, or a new one if the budget allows it.
    fn call(
        &mut self,
        model: &Arc<FlowModel>,
        role: ModelRole,
        stage: usize,
    ) -> Result<usize, ModelFailure> {
        let hash = &model.interface.content_hash;
        let same = |call: &CallState| call.model.interface.content_hash == *hash;
        if let Some(position) = self.calls.iter().position(same) {
            let call = &mut self.calls[position];
            call.role = call.role.min(role);
            return Ok(position);
        }
        let rules = self.early().map_or(0, |early| early.cost_units);
        let calls = MODEL_CALL_COST_UNITS.saturating_mul(self.calls.len() as u64 + 1);
        let limit = self.given.flow.definition.cost_units_max.unwrap_or(u64::MAX);
        if rules.saturating_add(calls) > limit {
            self.budget_spent |= role != ModelRole::Shadow;
            return Err(ModelFailure::Skipped);
        }
        let model = Arc::clone(model);
        self.calls.push(CallState { model, role, stage, handed_out: false, result: None });
        Ok(self.calls.len() - 1)
    }

    /// What a use came to; a call that was never answered failed.
    pub(crate) fn output(
        &self,
        used: &ModelUse,
    ) -> Result<(&FlowModel, &ModelOutput), ModelFailure> {
        let call = self.calls.get(used.call?).ok_or(ModelFailure::Failed)?;
        match &call.result {
            Some(Ok(output)) => Ok((&call.model, output)),
            Some(Err(failure)) => Err(*failure),
            None => Err(ModelFailure::Failed),
        }
    }

    /// The uses that a stage's answer is made of: the fallback where there is one, else the selection.
    fn counting(&self, stage: usize) -> SmallVec<[&ModelUse; 4]> {
        let of = |role: fn(ModelRole) -> bool| -> SmallVec<[&ModelUse; 4]> {
            self.uses.iter().filter(|used| used.stage == stage && role(used.role)).collect()
        };
        let fallback = of(|role| role == ModelRole::Fallback);
        if fallback.is_empty() {
            of(|role| matches!(role, ModelRole::Primary | ModelRole::Ensemble))
        } else {
            fallback
        }
    }

    /// What the classification's models say; `None` where none was asked or none answered.
    pub(crate) fn class_answer(&self) -> Option<ClassAnswer> {
        let uses = self.counting(CLASSIFY);
        let answered: SmallVec<[_; 4]> =
            uses.iter().filter_map(|used| Some((*used, self.output(used).ok()?))).collect();
        let (first, _) = answered.first()?;
        let method = first.method;
        if let (None, [(_, (model, output))]) = (method, answered.as_slice()) {
            return Some(class_of(model, output));
        }
        let members: Vec<MemberAnswer> = answered
            .iter()
            .map(|(used, (model, output))| MemberAnswer {
                weight: used.weight,
                distribution: class_of(model, output).distribution,
            })
            .collect();
        let method = method.unwrap_or(EnsembleMethod::BestSingle);
        let models = answered.iter().map(|(_, (model, _))| *model);
        Some(ClassAnswer {
            distribution: ensemble::combine(method, &members)?,
            source: ensemble_source(method, models),
            out_of_distribution: answered.iter().any(|(_, (model, output))| is_ood(model, output)),
        })
    }

    /// What the models of a score say; `None` where none was asked or none answered.
    pub(crate) fn risk_answer(&self, risk: usize) -> Option<RiskAnswer> {
        let label = self.given.flow.risks.get(risk)?.label.as_deref();
        let uses = self.counting(risk + 1);
        let answered: SmallVec<[_; 4]> = uses
            .iter()
            .filter_map(|used| {
                let (model, output) = self.output(used).ok()?;
                Some((*used, model, risk_of(model, output, label)?))
            })
            .collect();
        let (first, _, alone) = answered.first()?;
        let method = first.method;
        if let (None, 1) = (method, answered.len()) {
            return Some(alone.clone());
        }
        let method = method.unwrap_or(EnsembleMethod::BestSingle);
        let (positive, negative): (Arc<str>, Arc<str>) = ("positive".into(), "negative".into());
        let members: Vec<MemberAnswer> = answered
            .iter()
            .map(|(used, _, answer)| MemberAnswer {
                weight: used.weight,
                distribution: Distribution {
                    entries: vec![
                        (Arc::clone(&positive), answer.probability),
                        (Arc::clone(&negative), 1.0 - answer.probability),
                    ],
                },
            })
            .collect();
        Some(RiskAnswer {
            probability: ensemble::combine(method, &members)?.probability(&positive),
            source: ensemble_source(method, answered.iter().map(|(_, model, _)| *model)),
            out_of_distribution: answered.iter().any(|(_, _, answer)| answer.out_of_distribution),
        })
    }

    /// Whether the models of a stage were asked, and none of them answered.
    pub(crate) fn stage_failed(&self, stage: usize) -> bool {
        let uses = self.counting(stage);
        let skipped = uses.iter().all(|used| used.call == Err(ModelFailure::Skipped));
        !uses.is_empty() && !skipped && uses.iter().all(|used| self.output(used).is_err())
    }
}

impl ModelUse {
    /// Whether it counts.
    pub fn counts(&self) -> bool {
        self.role != ModelRole::Shadow
    }
}

impl Selected<'_> {
    const fn selection(&self) -> Option<&Selection> {
        match self {
            Self::Off | Self::Unsaid(_) => None,
            Self::Fixed(selection) => Some(selection),
            Self::Said(selection) => Some(selection),
        }
    }
}

impl super::Given {
    /// What a stage is to ask, after switches and flags.
    fn selected(&self, stage: usize) -> Selected<'_> {
        let choice = match stage {
            CLASSIFY => {
                let stage = self.flow.classify.as_ref().filter(|_| self.stages.classify_model);
                stage.and_then(|stage| stage.choice.as_ref())
            }
            risk => {
                let risk = self.flow.risks.get(risk - 1).filter(|_| self.stages.models);
                risk.map(|risk| &risk.choice)
            }
        };
        match choice {
            None => Selected::Off,
            Some(Choice::Fixed(selection)) => Selected::Fixed(selection),
            Some(Choice::Flag(position)) => {
                let said = self.flags.get(*position).and_then(|flag| match &flag.value {
                    FlagValue::Other(value) => Selection::of_flag_value(value).ok(),
                    FlagValue::None | FlagValue::Bool(_) => None,
                });
                let key = self.flow.flags.get(*position).cloned();
                said.map_or_else(
                    || Selected::Unsaid(format!("flag:{}", key.unwrap_or_default()).into()),
                    Selected::Said,
                )
            }
        }
    }
}

impl crate::flow::CompiledFlow {
    /// Whether a model can answer a stage: it has labels, or the label whose probability is the risk.
    fn suits(&self, model: &FlowModel, stage: usize) -> bool {
        match stage {
            CLASSIFY => model.classifies(),
            risk => self
                .risks
                .get(risk - 1)
                .is_some_and(|risk| model.risk_position(risk.label.as_deref()).is_some()),
        }
    }

    /// `classify`, or `scores.KEY`.
    pub(crate) fn stage_name(&self, stage: usize) -> Arc<str> {
        match stage.checked_sub(1).and_then(|risk| self.risks.get(risk)) {
            Some(risk) => Arc::clone(&risk.fact),
            None => "classify".into(),
        }
    }
}

/// One model's answer as a class distribution.
pub(crate) fn class_of(model: &FlowModel, output: &ModelOutput) -> ClassAnswer {
    let labels = model.interface.labels.iter().cloned();
    let scores = output.scores.iter().map(|score| f64::from(*score).clamp(0.0, 1.0));
    ClassAnswer {
        distribution: Distribution { entries: labels.zip(scores).collect() },
        source: Arc::clone(&model.source),
        out_of_distribution: is_ood(model, output),
    }
}

/// One model's answer as a risk.
pub(crate) fn risk_of(
    model: &FlowModel,
    output: &ModelOutput,
    label: Option<&str>,
) -> Option<RiskAnswer> {
    let score = output.scores.get(model.risk_position(label)?)?;
    Some(RiskAnswer {
        probability: f64::from(*score).clamp(0.0, 1.0),
        source: Arc::clone(&model.source),
        out_of_distribution: is_ood(model, output),
    })
}

fn is_ood(model: &FlowModel, output: &ModelOutput) -> bool {
    match (model.interface.ood_threshold, output.ood_distance) {
        (Some(threshold), Some(distance)) => f64::from(distance) > threshold,
        _ => false,
    }
}

fn ensemble_source<'a>(
    method: EnsembleMethod,
    models: impl Iterator<Item = &'a FlowModel>,
) -> Arc<str> {
    let method = match method {
        EnsembleMethod::WeightedAverage => "weighted_average",
        EnsembleMethod::Voting => "voting",
        EnsembleMethod::Stacking => "stacking",
        EnsembleMethod::BestSingle => "best_single",
    };
    let members: Vec<&str> = models.map(|model| model.label.as_ref()).collect();
    format!("ensemble:{method}({})", members.join(",")).into()
}
