//! Explanations: a recorded decision, stage by stage, recomputed and not stored.
//!
//! Every rule is named: hits with the values that they read, misses with the first clause that is
//! false, unknown ones with their causes. Values of sensitive fields are redacted unless the reader
//! may see them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use verdict_config::TimestampMs;
use verdict_config::definition::{Category, Level, LevelThresholds, Outcome, Severity};
use verdict_rules::{Phase, RuleTrace, Scratch, Verdict};

use crate::decision::{Evidence, REDACTED, ShownValue};
use crate::flow::{CompiledFlow, FlowSet};
use crate::record::DecisionRecord;
use crate::replay::{ReplayError, restore};
use crate::session::evidence::{is_sensitive, shown_evidence};
use crate::session::{Answers, Assessment, Given, ModelRole, Session, level_outcome, rules};

/// Who reads an explanation.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplainOptions {
    /// The reader's role may see sensitive fields.
    pub may_see_sensitive: bool,
}

/// A decision explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision_id: Arc<str>,
    /// The flow.
    pub flow: Arc<str>,
    /// The catalogue's revision.
    pub revision: u64,
    /// The time that it was made as of.
    pub as_of: TimestampMs,
    /// When the request came in.
    pub received_at: TimestampMs,
    /// The unit; redacted where a sensitive field names it.
    pub unit: Option<Arc<str>>,
    /// The input.
    pub input: Map<String, Json>,
    /// Windows with the values that were read.
    pub windows: Vec<NamedValue>,
    /// Flags as they resolved.
    pub flags: Vec<FlagTrace>,
    /// What the stages made for rules to read.
    pub derived: Vec<NamedValue>,
    /// The stages in their order.
    pub stages: Vec<StageTrace>,
    /// Rules whose condition is true, snoozed ones included.
    pub hits: Vec<RuleExplained>,
    /// Rules whose condition is false.
    pub misses: Vec<RuleExplained>,
    /// Rules whose condition is unknown.
    pub unknown: Vec<RuleExplained>,
    /// Rules that were switched off.
    pub disabled: Vec<RuleExplained>,
    /// How the score came about.
    pub points: PointsTrace,
    /// What asked for which outcome; the decision's is the gravest.
    pub outcomes: Vec<OutcomeTrace>,
    /// The outcome that they come to.
    pub outcome: Outcome,
}

/// A value by its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedValue {
    /// Field, derived fact, or the window's call.
    pub name: Arc<str>,
    /// Its value; `null` is unknown.
    pub value: ShownValue,
}

/// A flag as it resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlagTrace {
    /// Its key.
    pub key: Arc<str>,
    /// Whether there was such a flag.
    pub found: bool,
    /// The variant.
    pub variant: Option<Arc<str>>,
    /// The value.
    pub value: Json,
}

/// What became of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageTrace {
    /// `validate`, `rules`, `classify_rules`, `classify`, `scores.KEY`, `score`, `abstain`.
    pub stage: Arc<str>,
    /// What became of it.
    pub status: StageStatus,
    /// In a sentence.
    pub detail: String,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// It ran.
    Ran,
    /// It was not needed.
    NotNeeded,
    /// A flag switched it off.
    Off,
    /// It settled the decision.
    Settled,
    /// It failed, and the flow's policy held.
    Failed,
}

/// One rule explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleExplained {
    /// Its id.
    pub id: Arc<str>,
    /// Its set, as `NAME@REVISION`.
    pub set: Arc<str>,
    /// `early` (before models) or `late`.
    pub phase: &'static str,
    /// Its category.
    pub category: Option<Category>,
    /// Its severity.
    pub severity: Option<Severity>,
    /// Whether it is snoozed.
    pub snoozed: bool,
    /// The facts that it reads.
    pub reads: Vec<NamedValue>,
    /// Of a miss, the first clause that is false.
    pub failing: Option<ClauseTrace>,
    /// Of an unknown, the causes.
    pub causes: Vec<CauseExplained>,
    /// Of a hit, what lists, names and tables matched.
    pub evidence: Vec<Evidence>,
}

/// A clause of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClauseTrace {
    /// As the rule writes it.
    pub text: Arc<str>,
    /// Where it begins, in characters from 1.
    pub column: u32,
}

/// Why a rule is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CauseExplained {
    /// The cause as a stable word.
    pub cause: &'static str,
    /// The cause in a sentence.
    pub text: String,
    /// The clause that is unknown.
    pub clause: Option<ClauseTrace>,
}

/// How a score came about: base and points are summed, then caps, then floors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointsTrace {
    /// Where it starts.
    pub base: i32,
    /// Points of rules and models.
    pub parts: Vec<PointsPart>,
    /// Base and points.
    pub sum: i64,
    /// The lowest cap.
    pub cap: Option<i32>,
    /// The highest floor; it wins over the cap.
    pub floor: Option<i32>,
    /// The score; `null` where it was switched off.
    pub score: Option<i32>,
    /// The segment whose thresholds hold; `null` is the flow's own.
    pub segment: Option<String>,
    /// The thresholds.
    pub thresholds: LevelThresholds,
    /// The level.
    pub level: Option<Level>,
}

/// What moved the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointsPart {
    /// `rule:ID`, `model:NAME@VERSION` or `ensemble:...`.
    pub source: Arc<str>,
    /// Points.
    pub points: Option<i32>,
    /// A floor.
    pub floor: Option<i32>,
    /// A cap.
    pub cap: Option<i32>,
}

/// Who asked for an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeTrace {
    /// `rule:ID`, `level:LEVEL`, `abstain:WHY`, `failure:STAGE`, `flow_off`.
    pub source: String,
    /// What it asked for.
    pub outcome: Outcome,
    /// Whether an allow took it away.
    pub suppressed: bool,
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

    fn stages(&self) -> Vec<StageTrace> {
        let mut stages = vec![trace("validate", StageStatus::Ran, "the input fits the schema")];
        let given = &self.session.given;
        if !given.stages.flow {
            stages.push(trace("flow", StageStatus::Off, "a flag switched the flow off"));
            return stages;
        }
        let settled = self.session.is_settled();
        let failed = matches!(self.session.rules, Some(Err(_)) | None);
        let flow = self.flow();
        if !flow.definition.rules.is_empty() {
            stages.push(match (given.stages.rules, failed, settled) {
                (false, ..) => trace("rules", StageStatus::Off, "a flag switched the rules off"),
                (true, true, _) => trace("rules", StageStatus::Failed, "the rules did not run"),
                (true, false, true) => {
                    trace("rules", StageStatus::Settled, "a rule settled the decision at block")
                }
                (true, false, false) => trace("rules", StageStatus::Ran, "the rules ran"),
            });
        }
        if flow.classify.is_some() {
            stages.push(self.classify_rules_stage(failed));
            stages.push(self.model_stage(0, given.stages.classify_model, settled));
        }
        for stage in 1..=flow.risks.len() {
            stages.push(self.model_stage(stage, given.stages.models, settled));
        }
        stages.push(match given.stages.score {
            true => trace("score", StageStatus::Ran, "points were summed to a score"),
            false => trace("score", StageStatus::Off, "a flag switched the score off"),
        });
        stages.push(match (given.stages.abstain, settled) {
            (false, _) => trace("abstain", StageStatus::Off, "a flag switched abstention off"),
            (true, true) => trace("abstain", StageStatus::NotNeeded, "the decision was settled"),
            (true, false) if self.assessment.abstained.is_empty() => {
                trace("abstain", StageStatus::Ran, "there was no reason to abstain")
            }
            (true, false) => trace("abstain", StageStatus::Ran, "the flow abstained"),
        });
        stages
    }

    fn classify_rules_stage(&self, failed: bool) -> StageTrace {
        let name = "classify_rules";
        if !self.session.given.stages.classify_rules {
            return trace(name, StageStatus::Off, "a flag switched classification by rules off");
        }
        if failed {
            return trace(name, StageStatus::Failed, "the rules did not run");
        }
        let candidates = self.session.rule_candidates();
        match candidates.first() {
            None => trace(name, StageStatus::Ran, "no rule named a label"),
            Some(best) if self.session.is_accepted(&candidates) => trace(
                name,
                StageStatus::Settled,
                &format!(
                    "{} named {} with confidence {}: accepted",
                    best.source, best.label, best.confidence
                ),
            ),
            Some(best) => trace(
                name,
                StageStatus::Ran,
                &format!(
                    "{} named {} with confidence {}: not enough",
                    best.source, best.label, best.confidence
                ),
            ),
        }
    }

    fn model_stage(&self, stage: usize, on: bool, settled: bool) -> StageTrace {
        let name = self.flow().stage_name(stage);
        if !on {
            return trace(&name, StageStatus::Off, "a flag switched it off");
        }
        let counting: Vec<String> = self
            .session
            .uses
            .iter()
            .filter(|used| used.stage == stage && used.role != ModelRole::Shadow)
            .map(|used| match self.session.output(used) {
                Ok((model, _)) => format!("{} {} answered", used.role.as_str(), model.label),
                Err(failure) => {
                    format!("{} {}: {}", used.role.as_str(), used.name, failure.as_str())
                }
            })
            .collect();
        match (counting.is_empty(), self.session.stage_failed(stage)) {
            (true, _) if settled => trace(
                &name,
                StageStatus::NotNeeded,
                "the decision was settled; models ran in shadow",
            ),
            (true, _) => trace(&name, StageStatus::NotNeeded, "no model was needed"),
            (false, true) => trace(&name, StageStatus::Failed, &counting.join("; ")),
            (false, false) => trace(&name, StageStatus::Ran, &counting.join("; ")),
        }
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
                if let Some(explained) = self.rule(set, traced) {
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

fn trace(stage: &str, status: StageStatus, detail: &str) -> StageTrace {
    StageTrace { stage: stage.into(), status, detail: detail.to_owned() }
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
