//! Explanations: a recorded decision, stage by stage, recomputed and not stored.
//!
//! Every rule is named: hits with the values that they read, misses with the first clause that is
//! false, unknown ones with their causes. Values of sensitive fields are redacted unless the reader
//! may see them.

mod shapes;
mod stages;

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use verdict_config::definition::Outcome;
use verdict_rules::{Phase, RuleTrace, Scratch, Verdict};

use crate::decision::{REDACTED, ShownValue};
use crate::flow::{CompiledFlow, FlowSet};
use crate::record::DecisionRecord;
use crate::replay::{ReplayError, restore};
use crate::session::evidence::{is_sensitive, shown_evidence};
use crate::session::{Answers, Assessment, Given, Session, level_outcome, rules};

pub use shapes::{
    CauseExplained, ClauseTrace, Explanation, FlagTrace, NamedValue, OutcomeTrace, PointsPart,
    PointsTrace, RuleExplained, StageStatus, StageTrace,
};

/// Who reads an explanation.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplainOptions {
    /// The reader's role may see sensitive fields.
    pub may_see_sensitive: bool,
}

/// Explains a recorded decision. `flow` is the flow of the record's revision.
///
/// # Errors
/// [`ReplayError`].
pub fn explain(
    record: &DecisionRecord,
    flow: &Arc<CompiledFlow>,
    options: ExplainOptions,
    scratch: &mut Scratch,
) -> Result<Explanation, ReplayError> {
    let (session, _) = restore(record, Given::of_record(record, flow)?, scratch)?;
    let input = record.input().map_err(|error| ReplayError::Damaged(error.to_string()))?;
    let answers = session.answers();
    let assessment = session.assess(&answers, None, scratch);
    let reader =
        Explainer { session: &session, answers: &answers, assessment: &assessment, options };
    Ok(reader.explanation(record, input))
}

struct Explainer<'a> {
    session: &'a Session,
    answers: &'a Answers,
    assessment: &'a Assessment,
    options: ExplainOptions,
}

impl Explainer<'_> {
    fn flow(&self) -> &CompiledFlow {
        &self.session.given.flow
    }

    fn explanation(&self, record: &DecisionRecord, input: Map<String, Json>) -> Explanation {
        let given = &self.session.given;
        let on = given.stages.flow;
        let hidden_unit = given.unit_sensitive && !self.options.may_see_sensitive;
        let mut explanation = Explanation {
            decision_id: Arc::clone(&given.id),
            flow: Arc::clone(&self.flow().name),
            revision: given.revision,
            as_of: given.as_of,
            received_at: given.received_at,
            unit: given.unit.clone().map(|unit| if hidden_unit { REDACTED.into() } else { unit }),
            input: self.input(input),
            windows: self.windows(),
            flags: flags(record),
            derived: if on { self.derived() } else { Vec::new() },
            stages: self.stages(),
            hits: Vec::new(),
            misses: Vec::new(),
            unknown: Vec::new(),
            disabled: Vec::new(),
            points: self.points(),
            outcomes: self.outcomes(),
            outcome: if on {
                self.assessment.outcome
            } else {
                self.flow().definition.abstain.outcome
            },
        };
        if self.session.early().is_some() {
            self.rules(&mut explanation);
        }
        explanation
    }

    fn input(&self, mut input: Map<String, Json>) -> Map<String, Json> {
        if !self.options.may_see_sensitive {
            for (name, value) in &mut input {
                let slot = self.flow().schema.slot(name);
                if slot.is_some_and(|slot| self.flow().is_sensitive(slot)) {
                    *value = REDACTED.into();
                }
            }
        }
        input
    }

    fn windows(&self) -> Vec<NamedValue> {
        let flow = self.flow();
        let values = flow.windows.iter().zip(&self.session.windows.values);
        values
            .map(|(read, value)| {
                let sensitive = read.value_field.is_some_and(|slot| flow.is_sensitive(slot));
                let hidden = sensitive && !self.options.may_see_sensitive;
                NamedValue {
                    name: read.text.as_str().into(),
                    value: ShownValue::of(value.as_ref(), hidden),
                }
            })
            .collect()
    }

    fn derived(&self) -> Vec<NamedValue> {
        let flow = self.flow();
        let mut names: Vec<Arc<str>> =
            flow.risks.iter().map(|risk| Arc::clone(&risk.fact)).collect();
        if flow.classify.is_some() {
            names.extend(["classification.label".into(), "classification.confidence".into()]);
        }
        let values = names.into_iter().zip(&self.assessment.derived);
        values
            .map(|(name, value)| NamedValue { name, value: ShownValue::of(value.as_ref(), false) })
            .collect()
    }

    fn rules(&self, explanation: &mut Explanation) {
        let given = &self.session.given;
        let mut ranked: Vec<(u32, Verdict, RuleExplained)> = Vec::new();
        for (position, set) in given.flow.sets.iter().enumerate() {
            if !rules::runs(given, set) {
                continue;
            }
            let windows = rules::windows_of(set, &self.session.windows);
            let derived = &self.assessment.derived;
            let input = rules::input(given, position, derived, &windows, u64::MAX);
            for traced in set.compiled.explain(&input) {
                let rank = set.rule(traced.rule).map_or(u32::MAX, |rule| rule.rank);
                let verdict = traced.verdict;
                let place = (position, traced.rule);
                if let Some(mut explained) = self.rule(set, traced) {
                    explained.snoozed_by =
                        if explained.snoozed { self.snoozers(place) } else { Vec::new() };
                    ranked.push((rank, verdict, explained));
                }
            }
        }
        ranked.sort_by_key(|(rank, ..)| *rank);
        for (_, verdict, explained) in ranked {
            match verdict {
                Verdict::Hit => explanation.hits.push(explained),
                Verdict::Miss => explanation.misses.push(explained),
                Verdict::Unknown => explanation.unknown.push(explained),
                Verdict::Disabled => explanation.disabled.push(explained),
            }
        }
    }

    /// The objects that snooze a rule for the decision's unit.
    fn snoozers(&self, (set, rule): (usize, u32)) -> Vec<Arc<str>> {
        let (given, flow) = (&self.session.given, self.flow());
        let Some(unit) = &given.unit else { return Vec::new() };
        let snoozed = flow.snoozes.at(&flow.name, unit, given.as_of);
        let of_rule = snoozed.filter(|found| found.set as usize == set && found.rule == rule);
        of_rule.map(|found| Arc::clone(&found.source)).collect()
    }

    fn rule(&self, set: &FlowSet, traced: RuleTrace) -> Option<RuleExplained> {
        let info = set.compiled.rules().get(traced.rule as usize)?;
        let see = self.options.may_see_sensitive;
        let clause = |clause: verdict_rules::Clause| ClauseTrace {
            text: clause.text,
            column: clause.column,
        };
        Some(RuleExplained {
            id: Arc::clone(&set.rule(traced.rule)?.name),
            set: Arc::clone(&set.label),
            phase: match info.phase {
                Phase::Early => "early",
                Phase::Late => "late",
            },
            category: info.category,
            severity: info.severity,
            snoozed: traced.snoozed,
            snoozed_by: Vec::new(),
            reads: traced
                .reads
                .into_iter()
                .map(|read| {
                    let hidden = is_sensitive(set, read.slot) && !see;
                    NamedValue {
                        name: read.name,
                        value: ShownValue::of(read.value.as_ref(), hidden),
                    }
                })
                .collect(),
            failing: traced.failing.map(clause),
            causes: traced
                .causes
                .into_iter()
                .map(|cause| CauseExplained {
                    cause: cause.cause.as_str(),
                    text: cause.text,
                    clause: cause.clause.map(clause),
                })
                .collect(),
            evidence: traced
                .evidence
                .iter()
                .map(|evidence| shown_evidence(set, evidence, see))
                .collect(),
        })
    }

    fn points(&self) -> PointsTrace {
        let flow = self.flow();
        let assessment = self.assessment;
        let mut parts: Vec<(u32, PointsPart)> = Vec::new();
        for hit in self.session.hits(&assessment.late).filter(|hit| hit.hard) {
            let effect = hit.effect;
            if effect.points.is_some() || effect.floor.is_some() || effect.cap.is_some() {
                let part = PointsPart {
                    source: Arc::clone(&hit.rule.source),
                    points: effect.points,
                    floor: effect.floor,
                    cap: effect.cap,
                };
                parts.push((hit.rule.rank, part));
            }
        }
        for (answer, points) in self.answers.risks.iter().zip(&assessment.model_points) {
            if let (Some(answer), Some(points)) = (answer, points) {
                let source = Arc::clone(&answer.source);
                let part = PointsPart { source, points: Some(*points), floor: None, cap: None };
                parts.push((u32::MAX, part));
            }
        }
        parts.sort_by_key(|(rank, _)| *rank);
        let segment = assessment.segment;
        let levels = segment.and_then(|segment| flow.segment_levels.get(segment));
        PointsTrace {
            base: flow.definition.score.base,
            parts: parts.into_iter().map(|(_, part)| part).collect(),
            sum: assessment.tally.points,
            cap: assessment.tally.cap,
            floor: assessment.tally.floor,
            score: assessment.score,
            segment: segment
                .and_then(|segment| flow.definition.score.segments.get(segment))
                .map(|segment| segment.name.clone()),
            thresholds: *levels.unwrap_or(&flow.definition.score.levels),
            level: assessment.level,
        }
    }

    fn outcomes(&self) -> Vec<OutcomeTrace> {
        let flow = self.flow();
        let plain = |source: String, outcome| OutcomeTrace { source, outcome, suppressed: false };
        let abstention = flow.definition.abstain.outcome;
        if !self.session.given.stages.flow {
            return vec![plain("flow_off".to_owned(), abstention)];
        }
        let mut hits: Vec<(u32, OutcomeTrace)> = self
            .session
            .hits(&self.assessment.late)
            .filter_map(|hit| {
                let suppressed = hit.is_suppressed(self.assessment.allowed);
                let source = hit.rule.source.as_ref().to_owned();
                Some((hit.rule.rank, OutcomeTrace { source, outcome: hit.asked()?, suppressed }))
            })
            .collect();
        hits.sort_by_key(|(rank, _)| *rank);
        let mut outcomes: Vec<OutcomeTrace> = hits.into_iter().map(|(_, trace)| trace).collect();
        if let Some(level) = self.assessment.level {
            outcomes.push(plain(format!("level:{level}"), level_outcome(&flow.definition, level)));
        }
        for why in &self.assessment.abstained {
            outcomes.push(plain(format!("abstain:{}", why.as_str()), abstention));
        }
        if self.session.early().is_none() {
            outcomes.push(plain("failure:rules".to_owned(), Outcome::Review));
        }
        if self.session.reviews_failed_models() {
            for stage in self.session.failed_stages() {
                let source = format!("failure:{}", flow.stage_name(stage));
                outcomes.push(plain(source, Outcome::Review));
            }
        }
        outcomes
    }
}

fn flags(record: &DecisionRecord) -> Vec<FlagTrace> {
    let value = |text: &Option<Arc<str>>| {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Json::Null)
    };
    record
        .open
        .flags
        .iter()
        .map(|flag| FlagTrace {
            key: Arc::clone(&flag.key),
            found: flag.found,
            variant: flag.variant.clone(),
            value: value(&flag.value),
        })
        .collect()
}
