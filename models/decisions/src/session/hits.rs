//! What a hit asks for, once allows, snoozes and the limits of fuzzy names were applied.

use smallvec::SmallVec;
use verdict_config::definition::{Category, Outcome};
use verdict_rules::{Evaluation, Evidence, Hit, HitEffect, RuleInfo};

use super::{Given, SANCTIONS_SETTLE_AT};
use crate::flow::{FlowRule, FlowSet};

/// A hit with the rule that it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountedHit<'a> {
    pub set: &'a FlowSet,
    pub info: &'a RuleInfo,
    pub rule: &'a FlowRule,
    pub hit: &'a Hit,
    pub effect: &'a HitEffect,
    /// What lists, names and tables matched.
    pub evidence: &'a [Evidence],
    /// Points, outcome and allow count: the set is one of the flow's rules, and they are switched on.
    pub hard: bool,
}

impl<'a> CountedHit<'a> {
    /// The hits of evaluations of the flow's sets, snoozed ones left out.
    pub fn of(given: &'a Given, sets: &'a [Evaluation]) -> impl Iterator<Item = Self> {
        Self::all(given, sets).filter(|hit| !hit.hit.snoozed)
    }

    /// The hits of evaluations of the flow's sets.
    pub fn all(given: &'a Given, sets: &'a [Evaluation]) -> impl Iterator<Item = Self> {
        given.flow.sets.iter().zip(sets).flat_map(|(set, evaluation)| {
            evaluation.hits.iter().filter_map(|hit| {
                Some(Self {
                    set,
                    info: set.compiled.rules().get(hit.rule as usize)?,
                    rule: set.rule(hit.rule)?,
                    hit,
                    effect: set.compiled.effect(evaluation, hit),
                    evidence: evaluation.evidence(hit),
                    hard: set.hard && given.stages.rules,
                })
            })
        })
    }

    /// Whether it is an audited allow: a hit that is certain, of a rule whose points and outcomes count.
    pub fn is_allow(&self) -> bool {
        self.hard && self.effect.allow && !self.hit.as_unknown
    }

    /// The outcome that it asks for before any allow.
    pub fn asked(&self) -> Option<Outcome> {
        if !self.hard {
            return None;
        }
        let written = self.effect.outcome;
        if self.info.category != Some(Category::Sanctions) || self.hit.as_unknown {
            return written;
        }
        match self.name_score() {
            None => written,
            Some(score) if score >= SANCTIONS_SETTLE_AT => written.or(Some(Outcome::Block)),
            Some(_) => {
                let asked = written.unwrap_or(Outcome::Review);
                Some(asked.clamp(Outcome::Review, Outcome::Decline))
            }
        }
    }

    /// The outcome that it asks for; an allow suppresses block and decline of every category but
    /// sanctions.
    pub fn outcome(&self, allowed: bool) -> Option<Outcome> {
        self.asked().filter(|_| !self.is_suppressed(allowed))
    }

    /// Whether an allow takes its outcome away.
    pub fn is_suppressed(&self, allowed: bool) -> bool {
        allowed
            && self.info.category != Some(Category::Sanctions)
            && self.asked().is_some_and(|outcome| outcome >= Outcome::Decline)
    }

    /// The likeness of the name that it rests on, if it rests on one.
    fn name_score(&self) -> Option<f64> {
        let scores: SmallVec<[f64; 2]> = self
            .evidence
            .iter()
            .filter_map(|evidence| match evidence {
                Evidence::Name { score, .. } => Some(*score),
                Evidence::Terms { .. }
                | Evidence::Listed { .. }
                | Evidence::ListedText { .. }
                | Evidence::Row { .. } => None,
            })
            .collect();
        scores.into_iter().max_by(f64::total_cmp)
    }
}

/// Whether one of some hits is an audited allow.
pub(crate) fn allowed<'a>(mut hits: impl Iterator<Item = CountedHit<'a>>) -> bool {
    hits.any(|hit| hit.is_allow())
}
