//! What comes out of an evaluation. Hits and unknown rules are small and own nothing: large sets give
//! hundreds of them a request, and most are only counted. What they rest on is kept once beside them.

use crate::set::RuleBody;
use crate::{CompiledRuleSet, Evidence, HitEffect, Slot, UnknownCause};

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// Hits in rule order; several of one rule where a table gives several rows.
    pub hits: Vec<Hit>,
    /// Rules whose condition is unknown, whatever their policy, in rule order.
    pub unknown: Vec<UnknownRule>,
    /// What it cost.
    pub cost_units: u64,
    /// Whether the limit was reached.
    pub exceeded: bool,
    evidence: Vec<Evidence>,
    missing: Vec<Slot>,
    /// Effects that no rule has as they are: sums over the rows of a table.
    effects: Vec<HitEffect>,
}

/// A rule that hit. What it does and rests on is asked of the evaluation and the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The rule's position in the set.
    pub rule: u32,
    /// It hits because its condition is unknown and its policy is not `no_match`.
    pub as_unknown: bool,
    /// The rule is snoozed: the hit has no effect.
    pub snoozed: bool,
    pub(crate) effect: EffectPlace,
    pub(crate) evidence: Span,
}

/// Where the effect of a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EffectPlace {
    /// The rule's own.
    Rule,
    /// What the rule does when it is unknown.
    Unknown,
    /// Of a row of the rule's table.
    Row(u32),
    /// Made for this evaluation.
    Made(u32),
}

/// Some neighbours in a list of the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    from: u32,
    count: u32,
}

/// A rule whose condition is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownRule {
    /// The rule's position in the set.
    pub rule: u32,
    /// The first cause.
    pub cause: UnknownCause,
    pub(crate) missing: Span,
}

impl Span {
    pub(crate) const fn one(from: u32) -> Self {
        Self { from, count: 1 }
    }

    fn of<T>(self, all: &[T]) -> &[T] {
        let from = self.from as usize;
        all.get(from..from.saturating_add(self.count as usize)).unwrap_or_default()
    }

    /// The span of what is added behind `all`.
    fn behind<T>(all: &mut Vec<T>, more: impl IntoIterator<Item = T>) -> Self {
        let from = all.len();
        all.extend(more);
        let count = crate::resources::position(all.len() - from);
        Self { from: crate::resources::position(from), count }
    }

    const fn moved(self, by: u32) -> Self {
        Self { from: self.from.saturating_add(by), count: self.count }
    }
}

impl Evaluation {
    /// Room for as many hits and unknown rules.
    pub(crate) fn with_room(hits: usize, unknown: usize) -> Self {
        let (hits, unknown) = (Vec::with_capacity(hits), Vec::with_capacity(unknown));
        Self { hits, unknown, ..Self::default() }
    }

    /// What lists, names and tables matched. Values that the rule read are at `RuleInfo::reads`.
    #[must_use]
    pub fn evidence(&self, hit: &Hit) -> &[Evidence] {
        hit.evidence.of(&self.evidence)
    }

    /// The absent facts that keep a rule from being true or false, in the order they were met.
    #[must_use]
    pub fn missing(&self, unknown: &UnknownRule) -> &[Slot] {
        unknown.missing.of(&self.missing)
    }

    /// Adds what another evaluation of the same set found, such as one of its other phase.
    pub fn append(&mut self, other: Self) {
        let evidence = crate::resources::position(self.evidence.len());
        let missing = crate::resources::position(self.missing.len());
        let made = crate::resources::position(self.effects.len());
        self.hits.extend(other.hits.into_iter().map(|hit| Hit {
            evidence: hit.evidence.moved(evidence),
            effect: match hit.effect {
                EffectPlace::Made(at) => EffectPlace::Made(at.saturating_add(made)),
                other => other,
            },
            ..hit
        }));
        self.unknown.extend(
            other
                .unknown
                .into_iter()
                .map(|unknown| UnknownRule { missing: unknown.missing.moved(missing), ..unknown }),
        );
        self.evidence.extend(other.evidence);
        self.missing.extend(other.missing);
        self.effects.extend(other.effects);
        self.cost_units = self.cost_units.saturating_add(other.cost_units);
        self.exceeded |= other.exceeded;
    }

    pub(crate) fn keep_evidence(&mut self, evidence: impl IntoIterator<Item = Evidence>) -> Span {
        Span::behind(&mut self.evidence, evidence)
    }

    pub(crate) fn keep_one_evidence(&mut self, evidence: Evidence) -> u32 {
        self.evidence.push(evidence);
        crate::resources::position(self.evidence.len() - 1)
    }

    /// Evidence that is kept already.
    pub(crate) fn evidence_in(&self, span: Span) -> &[Evidence] {
        span.of(&self.evidence)
    }

    pub(crate) fn keep_missing(&mut self, slots: impl IntoIterator<Item = Slot>) -> Span {
        Span::behind(&mut self.missing, slots)
    }

    pub(crate) fn keep_effect(&mut self, effect: HitEffect) -> EffectPlace {
        self.effects.push(effect);
        EffectPlace::Made(crate::resources::position(self.effects.len() - 1))
    }
}

impl CompiledRuleSet {
    /// What a hit of an evaluation of this set does.
    #[must_use]
    pub fn effect<'a>(&'a self, evaluation: &'a Evaluation, hit: &Hit) -> &'a HitEffect {
        static NONE: HitEffect = HitEffect::NONE;
        let body = self.bodies.get(hit.rule as usize);
        let of_row = |body: &'a RuleBody, row: u32| body.table.as_ref()?.effects.get(row as usize);
        let found = match hit.effect {
            EffectPlace::Rule => body.map(|body| &body.effect),
            EffectPlace::Unknown => body.and_then(|body| body.unknown_effect.as_deref()),
            EffectPlace::Row(row) => body.and_then(|body| of_row(body, row)),
            EffectPlace::Made(at) => evaluation.effects.get(at as usize),
        };
        found.unwrap_or(&NONE)
    }
}
