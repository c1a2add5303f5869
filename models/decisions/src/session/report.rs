//! What the answer says about rules: reasons, hits, unknown, snoozed and suppressed rules.

use std::cmp::Reverse;
use std::sync::Arc;

use verdict_config::Value;
use verdict_rules::{Evaluation, UnknownRule};

use super::assess::Answers;
use super::hits::CountedHit;
use super::rules;
use super::{Assessment, REPORTED_MAX, Session};
use crate::decision::{Decision, Evidence, Reason, UnknownReport, shown_probability};
use crate::flow::FlowSet;

/// Names of rules with their ranks, for lists whose order no order of rules can change.
#[derive(Default)]
struct RankedNames {
    entries: Vec<(u32, Arc<str>)>,
}

impl RankedNames {
    fn of<'a>(hits: impl Iterator<Item = CountedHit<'a>>) -> Self {
        Self { entries: hits.map(|hit| (hit.rule.rank, Arc::clone(&hit.rule.name))).collect() }
    }

    fn finish(mut self, truncated: &mut bool) -> Vec<Arc<str>> {
        self.entries.sort_unstable_by_key(|(rank, _)| *rank);
        self.entries.dedup_by_key(|(rank, _)| *rank);
        *truncated |= self.entries.len() > REPORTED_MAX;
        self.entries.truncate(REPORTED_MAX);
        self.entries.into_iter().map(|(_, name)| name).collect()
    }
}

impl Session {
    pub(crate) fn report_rules(
        &self,
        answers: &Answers,
        assessment: &Assessment,
        decision: &mut Decision,
    ) {
        let given = &self.given;
        let mut truncated = false;
        let hits = || self.hits(&assessment.late);
        decision.rules.hits = RankedNames::of(hits()).finish(&mut truncated);
        if assessment.allowed {
            let suppressed = hits().filter(|hit| hit.is_suppressed(true));
            decision.rules.suppressed = RankedNames::of(suppressed).finish(&mut truncated);
        }
        if given.snoozed.iter().any(|mask| !mask.is_empty()) {
            let snoozed = self.all_hits(assessment).filter(|hit| hit.hit.snoozed);
            decision.rules.snoozed = RankedNames::of(snoozed).finish(&mut truncated);
        }
        decision.rules.unknown = self.unknown(assessment, &mut truncated);
        if self.early().is_some() {
            let ran = given.flow.sets.iter().filter(|set| rules::runs(given, set));
            decision.rules.sets = ran.map(|set| Arc::clone(&set.label)).collect();
            decision.rules.set = decision.rules.sets.first().cloned();
        }
        decision.reasons = self.reasons(answers, assessment, &mut truncated);
        decision.rules.truncated = truncated;
    }

    fn all_hits<'a>(&'a self, assessment: &'a Assessment) -> impl Iterator<Item = CountedHit<'a>> {
        let early = self.early().map_or(&[][..], |early| &early.sets);
        let late = &assessment.late.sets;
        CountedHit::all(&self.given, early).chain(CountedHit::all(&self.given, late))
    }

    fn reasons(
        &self,
        answers: &Answers,
        assessment: &Assessment,
        truncated: &mut bool,
    ) -> Vec<Reason> {
        let mut reasons: Vec<(u32, Reason)> = self
            .hits(&assessment.late)
            .map(|hit| (hit.rule.rank, self.rule_reason(&hit, assessment)))
            .collect();
        let risks = self.given.flow.risks.iter().zip(&answers.risks);
        for ((risk, answer), points) in risks.zip(&assessment.model_points) {
            let (Some(answer), Some(points)) = (answer, points) else { continue };
            let evidence = Evidence {
                score: Some(shown_probability(answer.probability)),
                ..Evidence::default()
            };
            let reason = Reason {
                code: Arc::clone(&risk.reason),
                source: Arc::clone(&answer.source),
                points: Some(*points),
                outcome: None,
                unknown: false,
                evidence: Some(evidence),
            };
            reasons.push((u32::MAX, reason));
        }
        reasons.sort_by(|(rank_a, a), (rank_b, b)| {
            let weight = |reason: &Reason| (Reverse(reason.outcome), Reverse(reason.points));
            weight(a)
                .cmp(&weight(b))
                .then_with(|| a.code.cmp(&b.code))
                .then_with(|| rank_a.cmp(rank_b))
                .then_with(|| a.source.cmp(&b.source))
        });
        *truncated |= reasons.len() > REPORTED_MAX;
        reasons.truncate(REPORTED_MAX);
        reasons.into_iter().map(|(_, reason)| reason).collect()
    }

    fn rule_reason(&self, hit: &CountedHit<'_>, assessment: &Assessment) -> Reason {
        let effect = hit.effect;
        Reason {
            code: Arc::clone(effect.reason.as_ref().unwrap_or(&hit.info.reason)),
            source: Arc::clone(&hit.rule.source),
            points: effect.points.filter(|_| hit.hard),
            outcome: hit.outcome(assessment.allowed),
            unknown: hit.hit.as_unknown,
            evidence: self.evidence(hit, &assessment.derived),
        }
    }

    fn unknown(&self, assessment: &Assessment, truncated: &mut bool) -> Vec<UnknownReport> {
        let early = self.early().map_or(&[][..], |early| &early.sets);
        let late = &assessment.late.sets;
        let sets = || self.given.flow.sets.iter();
        let evaluations = sets().zip(early).chain(sets().zip(late));
        let mut unknown: Vec<(u32, &FlowSet, &Evaluation, &UnknownRule)> = evaluations
            .flat_map(|(set, evaluation)| {
                evaluation.unknown.iter().map(move |unknown| {
                    let rank = set.rule(unknown.rule).map_or(u32::MAX, |rule| rule.rank);
                    (rank, set, evaluation, unknown)
                })
            })
            .collect();
        unknown.sort_by_key(|(rank, ..)| *rank);
        *truncated |= unknown.len() > REPORTED_MAX;
        unknown
            .into_iter()
            .take(REPORTED_MAX)
            .filter_map(|(_, set, evaluation, unknown)| {
                let name = |slot: &u32| set.slot_names.get(*slot as usize).cloned();
                Some(UnknownReport {
                    id: Arc::clone(&set.rule(unknown.rule)?.name),
                    missing: evaluation.missing(unknown).iter().filter_map(name).collect(),
                    cause: unknown.cause.as_str(),
                })
            })
            .collect()
    }

    /// The value in a slot of a set.
    pub(crate) fn slot_value<'a>(
        &'a self,
        set: &FlowSet,
        slot: u32,
        derived: &'a [Option<Value>],
    ) -> Option<&'a Value> {
        let fields = self.given.facts.slots.len();
        let slot = slot as usize;
        if slot < fields {
            return self.given.facts.slots[slot].as_ref();
        }
        let derived_slot = slot - fields;
        let derived_len = self.given.flow.derived_len();
        if derived_slot < derived_len {
            return derived.get(derived_slot)?.as_ref();
        }
        let window = set.windows.get(derived_slot - derived_len)?;
        self.windows.values.get(*window)?.as_ref()
    }
}
