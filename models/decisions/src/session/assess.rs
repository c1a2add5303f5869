//! Stages 5 to 7: the score, the abstentions and the outcome, from what rules and models said.
//!
//! One function of its arguments: the decision is one assessment, and each shadow model another with
//! its answer in the place of the stage's own. Everything that is combined (sums, maxima, minima,
//! sets) commutes, so that no order of rules, sets or models can matter.

use std::sync::Arc;

use smallvec::SmallVec;
use verdict_config::Value;
use verdict_config::definition::{Level, ModelFailurePolicy, Outcome};
use verdict_rules::{Phase, Scratch};

use super::calls::{CLASSIFY, ClassAnswer, RiskAnswer};
use super::hits::{CountedHit, allowed};
use super::rules::{self, RulesResult};
use super::{CONFLICT_CONFIDENCE_MIN, MODEL_CALL_COST_UNITS, Session};
use crate::decision::Abstention;
use crate::flow::ClassifyStage;
use crate::score::{self, Tally};

/// A label with how sure somebody is of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub label: Arc<str>,
    pub confidence: f64,
    pub source: Arc<str>,
}

/// What models said, by stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answers {
    pub class: Option<ClassAnswer>,
    pub risks: SmallVec<[Option<RiskAnswer>; 4]>,
}

/// The class that came out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classified {
    pub best: Candidate,
    /// Further labels, best first.
    pub others: Vec<(Arc<str>, f64)>,
    /// Rules and model name different labels, each with enough confidence.
    pub conflict: bool,
}

/// What a decision comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    pub class: Option<Classified>,
    /// Derived facts, in the order of their slots.
    pub derived: SmallVec<[Option<Value>; 8]>,
    pub late: RulesResult,
    pub allowed: bool,
    pub tally: Tally,
    /// Whether a rule moved the tally.
    pub rules_gave: bool,
    /// Points by model of the score.
    pub model_points: SmallVec<[Option<i32>; 4]>,
    /// The segment whose thresholds hold.
    pub segment: Option<usize>,
    pub score: Option<i32>,
    pub level: Option<Level>,
    pub abstained: SmallVec<[Abstention; 2]>,
    pub outcome: Outcome,
    pub cost_units: u64,
}

impl Session {
    /// What the stages' own models said.
    pub(crate) fn answers(&self) -> Answers {
        let risks = 0..self.given.flow.risks.len();
        Answers {
            class: self.class_answer(),
            risks: risks.map(|risk| self.risk_answer(risk)).collect(),
        }
    }

    /// Assesses what was said. `replaced` is the stage whose answer is a shadow's: its own failure
    /// does not count then.
    pub(crate) fn assess(
        &self,
        answers: &Answers,
        replaced: Option<usize>,
        scratch: &mut Scratch,
    ) -> Assessment {
        let class = self.classified(answers.class.as_ref());
        let derived = self.derived(answers, class.as_ref());
        let calls = MODEL_CALL_COST_UNITS.saturating_mul(self.calls.len() as u64);
        let spent = self.early().map_or(0, |early| early.cost_units).saturating_add(calls);
        let late = match self.early() {
            None => RulesResult::default(),
            Some(_) => {
                let (given, windows) = (&self.given, &self.windows);
                rules::evaluate(given, windows, Phase::Late, &derived, spent, scratch)
            }
        };
        let mut assessment = Assessment {
            class,
            derived,
            allowed: allowed(self.hits(&late)),
            tally: Tally::new(self.given.flow.definition.score.base),
            rules_gave: false,
            model_points: SmallVec::new(),
            segment: None,
            score: None,
            level: None,
            abstained: SmallVec::new(),
            outcome: Outcome::Approve,
            cost_units: spent.saturating_add(late.cost_units),
            late,
        };
        self.tally(answers, &mut assessment);
        self.level(&mut assessment, scratch);
        self.outcome(answers, replaced, &mut assessment);
        assessment
    }

    /// The hits of both phases.
    pub(crate) fn hits<'a>(
        &'a self,
        late: &'a RulesResult,
    ) -> impl Iterator<Item = CountedHit<'a>> {
        let early = self.early().map_or(&[][..], |early| &early.sets);
        CountedHit::of(&self.given, early).chain(CountedHit::of(&self.given, &late.sets))
    }

    fn classified(&self, answer: Option<&ClassAnswer>) -> Option<Classified> {
        let stage = self.given.flow.classify.as_ref()?;
        let candidates = self.rule_candidates();
        let answer = answer.filter(|_| !self.is_accepted(&candidates));
        let mut merged: Vec<Candidate> = candidates.to_vec();
        for (label, confidence) in answer.iter().flat_map(|answer| answer.distribution.ranked()) {
            let source =
                || answer.map_or_else(|| Arc::from(""), |answer| Arc::clone(&answer.source));
            let full = merged.len() > stage.alternatives + candidates.len() + 1;
            match merged.iter_mut().find(|known| known.label == *label) {
                // Of equals the rule keeps its label: it can be read.
                Some(known) if confidence > known.confidence => {
                    known.confidence = confidence;
                    known.source = source();
                }
                Some(_) => {}
                None if full => break,
                None => merged.push(Candidate {
                    label: Arc::clone(label),
                    confidence,
                    source: source(),
                }),
            }
        }
        merged.sort_by(|a, b| {
            b.confidence.total_cmp(&a.confidence).then_with(|| a.label.cmp(&b.label))
        });
        let mut merged = merged.into_iter();
        let best = merged.next()?;
        let others = merged.map(|other| (other.label, other.confidence)).collect();
        Some(Classified { conflict: conflict(stage, &candidates, answer), best, others })
    }

    fn derived(
        &self,
        answers: &Answers,
        class: Option<&Classified>,
    ) -> SmallVec<[Option<Value>; 8]> {
        let probability = |answer: &Option<RiskAnswer>| {
            answer.as_ref().map(|answer| Value::Float(answer.probability))
        };
        let mut derived: SmallVec<[Option<Value>; 8]> =
            answers.risks.iter().map(probability).collect();
        if self.given.flow.classify.is_some() {
            derived.push(class.map(|class| Value::Text(class.best.label.as_ref().into())));
            derived.push(class.map(|class| Value::Float(class.best.confidence)));
        }
        derived
    }

    fn tally(&self, answers: &Answers, assessment: &mut Assessment) {
        for hit in self.hits(&assessment.late).filter(|hit| hit.hard) {
            let effect = hit.effect;
            assessment.rules_gave |=
                effect.points.is_some() || effect.floor.is_some() || effect.cap.is_some();
            assessment.tally.add(effect.points, effect.floor, effect.cap);
        }
        for (risk, answer) in self.given.flow.risks.iter().zip(&answers.risks) {
            let points = answer.as_ref().filter(|_| risk.points_per_logit != 0.0).map(|answer| {
                let (per_logit, offset) = (risk.points_per_logit, risk.offset);
                score::logit_points(answer.probability, per_logit, offset, risk.points_max)
            });
            assessment.tally.add(points, None, None);
            assessment.model_points.push(points);
        }
    }

    fn level(&self, assessment: &mut Assessment, scratch: &mut Scratch) {
        if !self.given.stages.score {
            return;
        }
        let definition = &self.given.flow.definition.score;
        assessment.segment = self.segment(assessment, scratch);
        let levels = assessment
            .segment
            .and_then(|segment| self.given.flow.segment_levels.get(segment))
            .unwrap_or(&definition.levels);
        let score = assessment.tally.score();
        assessment.score = Some(score);
        assessment.level = Some(score::level(levels, score));
    }

    /// The first segment whose condition is true.
    fn segment(&self, assessment: &mut Assessment, scratch: &mut Scratch) -> Option<usize> {
        let set = self.given.flow.segments.as_ref()?;
        let windows = rules::windows_of(set, &self.windows);
        let no_masks = usize::MAX;
        let input = rules::input(&self.given, no_masks, &assessment.derived, &windows, u64::MAX);
        let mut first: Option<u32> = None;
        for (phase, has_phase) in [(Phase::Early, set.has_early), (Phase::Late, set.has_late)] {
            if !has_phase {
                continue;
            }
            let found = set.compiled.evaluate(phase, &input, scratch);
            assessment.cost_units = assessment.cost_units.saturating_add(found.cost_units);
            let hits = found.hits.iter().filter(|hit| !hit.as_unknown).map(|hit| hit.rule);
            first = first.into_iter().chain(hits).min();
        }
        first.map(|segment| segment as usize)
    }

    fn outcome(&self, answers: &Answers, replaced: Option<usize>, assessment: &mut Assessment) {
        let definition = &self.given.flow.definition;
        let allowed = assessment.allowed;
        let mut outcome = Outcome::Approve;
        if let Some(level) = assessment.level {
            outcome = outcome.max(level_outcome(definition, level));
        }
        for hit in self.hits(&assessment.late) {
            outcome = outcome.max(hit.outcome(allowed).unwrap_or(Outcome::Approve));
        }
        // A settled decision was never in doubt.
        let settled = outcome == Outcome::Block && self.is_settled();
        if self.given.stages.abstain && !settled {
            assessment.abstained = self.abstentions(answers, assessment);
            if !assessment.abstained.is_empty() {
                outcome = outcome.max(definition.abstain.outcome);
            }
        }
        if self.rules.as_ref().is_none_or(Result::is_err) {
            outcome = outcome.max(Outcome::Review);
        }
        let failed = |stage: usize| Some(stage) != replaced && self.stage_failed(stage);
        if self.reviews_failed_models() && (CLASSIFY..=self.given.flow.risks.len()).any(failed) {
            outcome = outcome.max(Outcome::Review);
        }
        assessment.outcome = outcome;
    }

    fn abstentions(&self, answers: &Answers, assessment: &Assessment) -> SmallVec<[Abstention; 2]> {
        let given = &self.given;
        let definition = &given.flow.definition.abstain;
        let mut abstained = SmallVec::new();
        let mut when = |condition: bool, why: Abstention| {
            if condition {
                abstained.push(why);
            }
        };
        let classifies = given.stages.classify_rules || given.stages.classify_model;
        if let Some(stage) = given.flow.classify.as_ref().filter(|_| classifies) {
            let class = assessment.class.as_ref();
            let confidence = class.map_or(0.0, |class| class.best.confidence);
            let margin = |class: &super::assess::Classified| {
                class.others.first().map(|(_, second)| class.best.confidence - second)
            };
            let near = class.and_then(margin).is_some_and(|margin| margin < stage.delta);
            when(near, Abstention::Ambiguous);
            when(confidence < stage.min_confidence, Abstention::LowConfidence);
        }
        let class_ood = answers.class.as_ref().is_some_and(|answer| answer.out_of_distribution);
        let risk_ood = answers.risks.iter().flatten().any(|answer| answer.out_of_distribution);
        when(
            definition.out_of_distribution && (class_ood || risk_ood),
            Abstention::OutOfDistribution,
        );
        let conflict = assessment.class.as_ref().is_some_and(|class| class.conflict);
        when(definition.rule_model_conflict && conflict, Abstention::RuleModelConflict);
        when(self.missing().next().is_some(), Abstention::ExpectedUnknown);
        let early = self.early().is_some_and(|early| early.exceeded);
        let spent = early || assessment.late.exceeded || self.budget_spent;
        when(spent, Abstention::CostBudget);
        abstained
    }

    /// Expected fields that are absent.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Arc<str>> {
        let given = &self.given;
        let absent = |slot: &&u32| given.facts.get(**slot).is_none();
        let names = &given.flow.field_names;
        given.flow.expected.iter().filter(absent).filter_map(|slot| names.get(*slot as usize))
    }

    /// Whether a stage without a model's answer is for a person to look at.
    pub(crate) fn reviews_failed_models(&self) -> bool {
        self.given.flow.definition.on_failure.model != ModelFailurePolicy::RulesOnly
    }

    /// Stages that were asked for and whose models all failed.
    pub(crate) fn failed_stages(&self) -> impl Iterator<Item = usize> {
        (CLASSIFY..=self.given.flow.risks.len()).filter(|stage| self.stage_failed(*stage))
    }
}

/// The outcome that a level asks for.
pub(crate) fn level_outcome(
    definition: &verdict_config::definition::FlowDefinition,
    level: Level,
) -> Outcome {
    definition.score.outcomes.get(&level).copied().unwrap_or(Outcome::Approve)
}

fn conflict(stage: &ClassifyStage, candidates: &[Candidate], answer: Option<&ClassAnswer>) -> bool {
    let enough = stage.min_confidence.max(CONFLICT_CONFIDENCE_MIN);
    let (Some(rule), Some(answer)) = (candidates.first(), answer) else { return false };
    let Some((label, confidence)) = answer.distribution.best() else { return false };
    rule.label != *label && rule.confidence >= enough && confidence >= enough
}
