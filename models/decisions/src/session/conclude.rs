//! The end of a session: the answer, the record, and what windows are to count.

use std::sync::Arc;

use smallvec::SmallVec;
use verdict_config::definition::Outcome;
use verdict_config::schema::{Decimals, read_value_as};
use verdict_config::{EvaluationVersion, Facts, Field, TimestampMs, Value};
use verdict_rules::Scratch;

use super::assess::Answers;
use super::calls;
use super::{Assessment, Decided, FlagValue, ModelRole, Session, WindowEvent};
use crate::decision::{
    Alternative, Classification, Decision, ModelReport, Risk, RiskSource, RulesReport,
    ShadowReport, WindowsReport, shown_probability,
};
use crate::flow::{CompiledFlow, FlowModel};
use crate::record::{
    DecisionRecord, OpenRecord, SensitiveRecord, StoredCall, StoredFlag, StoredScores, StoredValue,
};

impl Session {
    /// Ends the session. Whatever was not brought (windows, rules, model answers) counts as failed,
    /// and the answer says so.
    #[must_use]
    pub fn conclude(self, scratch: &mut Scratch) -> Decided {
        let decision = self.decide(scratch);
        let record = self.record(&decision);
        Decided {
            window_events: self.window_events(),
            unit: self.given.unit.clone(),
            decision,
            record,
        }
    }

    pub(crate) fn decide(&self, scratch: &mut Scratch) -> Decision {
        if !self.given.stages.flow {
            return self.off();
        }
        let answers = self.answers();
        let assessment = self.assess(&answers, None, scratch);
        let mut decision = self.frame(assessment.outcome);
        decision.classification = self.classification(&assessment);
        decision.risk = Some(self.risk(&assessment));
        decision.abstained = assessment.abstained.to_vec();
        decision.missing = self.missing().map(Arc::clone).collect();
        decision.models = self.model_reports(&answers, &assessment);
        decision.shadow = self.shadow_reports(&answers, scratch);
        decision.degraded = self.degraded();
        decision.windows = self.windows_report();
        decision.cost_units = assessment.cost_units;
        self.report_rules(&answers, &assessment, &mut decision);
        decision
    }

    /// A decision without anything found.
    fn frame(&self, outcome: Outcome) -> Decision {
        let given = &self.given;
        let flags = given.flow.flags.iter().zip(&given.flags).filter(|(_, flag)| flag.found);
        Decision {
            decision_id: Arc::clone(&given.id),
            flow: Arc::clone(&given.flow.name),
            outcome,
            classification: None,
            risk: None,
            reasons: Vec::new(),
            abstained: Vec::new(),
            experiment: given.experiment.clone(),
            flags: flags.map(|(key, flag)| (Arc::clone(key), flag.variant.clone())).collect(),
            rules: RulesReport::default(),
            models: Vec::new(),
            shadow: Vec::new(),
            missing: Vec::new(),
            as_of: given.as_of,
            test: given.test,
            request_id: given.request.as_ref().map(|mark| Arc::clone(&mark.request_id)),
            revision: given.revision,
            stale: false,
            degraded: Vec::new(),
            cost_units: 0,
            took_us: 0,
            windows: None,
        }
    }

    fn off(&self) -> Decision {
        let mut decision = self.frame(self.given.flow.definition.abstain.outcome);
        decision.degraded.push("flow_off".into());
        decision
    }

    fn classification(&self, assessment: &Assessment) -> Option<Classification> {
        let stage = self.given.flow.classify.as_ref()?;
        let class = assessment.class.as_ref()?;
        let others = class.others.iter().take(stage.alternatives);
        let alternatives = others
            .map(|(label, confidence)| Alternative {
                label: Arc::clone(label),
                confidence: shown_probability(*confidence),
            })
            .collect();
        let codes = stage.codes.as_ref().and_then(|codes| codes.get(class.best.label.as_ref()));
        Some(Classification {
            label: Arc::clone(&class.best.label),
            scheme: Arc::clone(&stage.scheme),
            confidence: shown_probability(class.best.confidence),
            source: Arc::clone(&class.best.source),
            alternatives,
            codes: codes.cloned(),
        })
    }

    fn risk(&self, assessment: &Assessment) -> Risk {
        let mut categories: Vec<_> = self
            .hits(&assessment.late)
            .filter(|hit| !hit.is_allow() && !hit.hit.as_unknown)
            .filter_map(|hit| hit.info.category)
            .collect();
        categories.sort_unstable();
        categories.dedup();
        let models_gave = assessment.model_points.iter().any(Option::is_some);
        Risk {
            score: assessment.score,
            level: assessment.level,
            categories,
            source: match (assessment.rules_gave, models_gave) {
                (false, false) => RiskSource::Base,
                (true, false) => RiskSource::Rules,
                (false, true) => RiskSource::Models,
                (true, true) => RiskSource::Fusion,
            },
        }
    }

    fn model_reports(&self, answers: &Answers, assessment: &Assessment) -> Vec<ModelReport> {
        let flow = &self.given.flow;
        let counting = self.uses.iter().filter(|used| used.role != ModelRole::Shadow);
        counting
            .map(|used| {
                let output = self.output(used);
                let risk = used.stage.checked_sub(1);
                let (score, label) = match &output {
                    Ok((model, output)) => self.shown_answer(used.stage, model, output),
                    Err(_) => (None, None),
                };
                // Points are the stage's: an ensemble's members do not have shares of them.
                let points = risk
                    .filter(|_| used.role != ModelRole::Ensemble && output.is_ok())
                    .filter(|risk| answers.risks.get(*risk).is_some_and(Option::is_some))
                    .and_then(|risk| assessment.model_points.get(risk).copied().flatten());
                ModelReport {
                    stage: flow.stage_name(used.stage),
                    model: self.model_label(used),
                    role: used.role.as_str(),
                    score,
                    label,
                    points,
                    failure: output.err().map(super::ModelFailure::as_str),
                    detail: used.detail.clone(),
                }
            })
            .collect()
    }

    fn shadow_reports(&self, answers: &Answers, scratch: &mut Scratch) -> Vec<ShadowReport> {
        let shadows = self.uses.iter().filter(|used| used.role == ModelRole::Shadow);
        shadows
            .map(|used| {
                let mut report = ShadowReport {
                    model: self.model_label(used),
                    stage: self.given.flow.stage_name(used.stage),
                    score: None,
                    label: None,
                    outcome: None,
                    failure: None,
                    detail: used.detail.clone(),
                };
                match self.output(used) {
                    Err(failure) => report.failure = Some(failure.as_str()),
                    Ok((model, output)) => {
                        (report.score, report.label) = self.shown_answer(used.stage, model, output);
                        let mut with = answers.clone();
                        match used.stage.checked_sub(1) {
                            None => with.class = Some(calls::class_of(model, output)),
                            Some(risk) => {
                                let stage = self.given.flow.risks.get(risk);
                                let label = stage.and_then(|stage| stage.label.as_deref());
                                if let Some(answer) = with.risks.get_mut(risk) {
                                    *answer = calls::risk_of(model, output, label);
                                }
                            }
                        }
                        let assessment = self.assess(&with, Some(used.stage), scratch);
                        report.outcome = Some(assessment.outcome);
                    }
                }
                report
            })
            .collect()
    }

    /// A model's score as it is shown, and the label that it names.
    fn shown_answer(
        &self,
        stage: usize,
        model: &FlowModel,
        output: &verdict_config::model::ModelOutput,
    ) -> (Option<f64>, Option<Arc<str>>) {
        match stage.checked_sub(1) {
            None => {
                let answer = calls::class_of(model, output);
                let best = answer.distribution.best();
                best.map_or((None, None), |(label, share)| {
                    (Some(shown_probability(share)), Some(Arc::clone(label)))
                })
            }
            Some(risk) => {
                let stage = self.given.flow.risks.get(risk);
                let label = stage.and_then(|stage| stage.label.as_deref());
                let answer = calls::risk_of(model, output, label);
                (answer.map(|answer| shown_probability(answer.probability)), None)
            }
        }
    }

    fn model_label(&self, used: &super::ModelUse) -> Arc<str> {
        match used.call.ok().and_then(|call| self.calls.get(call)) {
            Some(call) => Arc::clone(&call.model.label),
            None => Arc::clone(&used.name),
        }
    }

    /// What did not run as the flow says, in the order of the stages.
    fn degraded(&self) -> Vec<Arc<str>> {
        let stages = &self.given.stages;
        let flow = &self.given.flow;
        let mut degraded: SmallVec<[Arc<str>; 4]> = SmallVec::new();
        let has_class = flow.classify.is_some();
        let switched_off = [
            (stages.rules, !flow.definition.rules.is_empty(), "rules_off"),
            (stages.classify_rules, has_class, "classify_rules_off"),
            (stages.classify_model, has_class, "classify_model_off"),
            (stages.models, !flow.risks.is_empty(), "models_off"),
            (stages.score, true, "score_off"),
            (stages.abstain, true, "abstain_off"),
        ];
        for (on, exists, name) in switched_off {
            if exists && !on {
                degraded.push(name.into());
            }
        }
        if !self.windows.read {
            degraded.push("windows_unavailable".into());
        }
        if self.windows.partial {
            degraded.push("windows_partial".into());
        }
        match &self.rules {
            Some(Ok(_)) => {}
            Some(Err(failure)) => degraded.push(failure.degraded().into()),
            None => degraded.push("rules_failed".into()),
        }
        for used in self.uses.iter().filter(|used| used.role != ModelRole::Shadow) {
            if let Err(failure) = self.output(used) {
                let model = self.model_label(used);
                degraded.push(format!("model_{}:{model}", failure.as_str()).into());
            } else if used.role == ModelRole::Fallback {
                degraded.push(format!("fallback_model:{}", self.model_label(used)).into());
            }
        }
        for stage in self.failed_stages() {
            let name = flow.stage_name(stage);
            degraded.push(format!("without_model:{name}").into());
        }
        let mut unique: Vec<Arc<str>> = Vec::with_capacity(degraded.len());
        for entry in degraded {
            if !unique.contains(&entry) {
                unique.push(entry);
            }
        }
        unique
    }

    /// Answers of the first version of evaluation say nothing of windows.
    fn windows_report(&self) -> Option<WindowsReport> {
        let flow = &self.given.flow;
        let said = flow.evaluation >= EvaluationVersion::V2 && !flow.windows.is_empty();
        said.then_some(WindowsReport { lag_ms: self.windows.lag_ms, partial: self.windows.partial })
    }

    fn window_events(&self) -> Vec<WindowEvent> {
        if self.given.test {
            return Vec::new();
        }
        events(&self.given.flow, &self.given.facts, self.given.as_of)
    }

    fn record(&self, decision: &Decision) -> DecisionRecord {
        let given = &self.given;
        let flow = &given.flow;
        let tells = |position: usize| {
            flow.windows
                .get(position)
                .is_some_and(|read| read.value_field.is_some_and(|slot| flow.is_sensitive(slot)))
        };
        let mut windows: Vec<Option<StoredValue>> =
            self.windows.values.iter().map(|value| value.as_ref().map(Into::into)).collect();
        let mut hidden_windows = Vec::new();
        for (position, value) in (0u32..).zip(&mut windows) {
            if tells(position as usize) {
                hidden_windows.extend(value.take().map(|value| (position, value)));
            }
        }
        let hidden_unit = given.unit.clone().filter(|_| given.unit_sensitive);
        let sensitive = SensitiveRecord {
            unit: hidden_unit,
            input: given.input_sensitive.clone(),
            windows: hidden_windows,
        };
        let sensitive = (sensitive != SensitiveRecord::default()).then_some(sensitive);
        let mut reasons: Vec<Arc<str>> =
            decision.reasons.iter().map(|reason| Arc::clone(&reason.code)).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let snoozed = (0u32..).zip(&given.snoozed);
        let open = OpenRecord {
            decision_id: Arc::clone(&given.id),
            flow: Arc::clone(&flow.name),
            flow_hash: *flow.content_hash(),
            evaluation: flow.evaluation().number(),
            revision: given.revision,
            as_of: given.as_of,
            received_at: given.received_at,
            test: given.test,
            request: given.request.clone(),
            unit: given.unit.clone().filter(|_| !given.unit_sensitive),
            has_sensitive: sensitive.is_some(),
            input: given.input_open.clone(),
            windows,
            windows_read: self.windows.read,
            window_lag_ms: self.windows.lag_ms,
            windows_partial: self.windows.partial,
            flags: flow
                .flags
                .iter()
                .zip(&given.flags)
                .map(|(key, flag)| stored(key, flag))
                .collect(),
            experiment: given
                .experiment
                .as_ref()
                .map(|arm| (Arc::clone(&arm.key), Arc::clone(&arm.arm))),
            snoozed: snoozed
                .flat_map(|(set, mask)| mask.iter().map(move |rule| (set, rule)))
                .collect(),
            rules_failure: match &self.rules {
                Some(Ok(_)) => None,
                Some(Err(failure)) => Some(*failure),
                None if given.stages.flow => Some(super::RulesFailure::Failed),
                None => None,
            },
            calls: self.stored_calls(),
            outcome: decision.outcome,
            reasons,
            cost_units: decision.cost_units,
            answer: Vec::new(),
        };
        DecisionRecord { open, sensitive }
    }

    fn stored_calls(&self) -> Vec<StoredCall> {
        self.calls
            .iter()
            .map(|call| StoredCall {
                model: Arc::clone(&call.model.label),
                content_hash: Arc::clone(&call.model.interface.content_hash),
                result: match &call.result {
                    Some(Ok(output)) => Ok(StoredScores::from(output)),
                    Some(Err(failure)) => Err(*failure),
                    None => Err(super::ModelFailure::Failed),
                },
            })
            .collect()
    }
}

fn stored(key: &Arc<str>, flag: &super::ResolvedFlag) -> StoredFlag {
    StoredFlag {
        key: Arc::clone(key),
        found: flag.found,
        variant: flag.variant.clone(),
        value: match &flag.value {
            FlagValue::None => None,
            FlagValue::Bool(true) => Some("true".into()),
            FlagValue::Bool(false) => Some("false".into()),
            FlagValue::Other(value) => Some(value.to_string().into()),
        },
    }
}

impl CompiledFlow {
    /// What a recorded decision adds to the windows that this version of its flow reads, so that a node
    /// can count again after a restart, and a new window has a past. Fields that do not fit, or whose
    /// unit was erased, add nothing; neither does a test.
    #[must_use]
    pub fn window_events(&self, record: &DecisionRecord) -> Vec<WindowEvent> {
        let Some(input) = record.input().ok().filter(|_| !record.open.test) else {
            return Vec::new();
        };
        let read = |(name, field): (&str, &Field)| {
            let json = input.get(name).filter(|json| !json.is_null())?;
            read_value_as(field, json, Decimals::Rounded).ok()
        };
        let facts = Facts { slots: self.schema.fields().map(read).collect() };
        events(self, &facts, record.open.as_of)
    }
}

/// What facts add to a flow's windows.
fn events(flow: &CompiledFlow, facts: &Facts, at: TimestampMs) -> Vec<WindowEvent> {
    let events = flow.windows.iter().filter_map(|read| {
        let key: &Value = facts.get(read.key_field)?;
        let value = read.value_field.and_then(|slot| facts.get(slot)).cloned();
        Some(WindowEvent { read: Arc::clone(read), key: key.clone(), value, at })
    });
    events.collect()
}
