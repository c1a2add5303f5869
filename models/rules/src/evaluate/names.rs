//! Name look-ups: scores that may be lower bounds, and their evidence.

use std::sync::Arc;

use verdict_config::Value;

use super::term::Operand;
use super::{Evaluator, Kleene, texts};
use crate::cost;
use crate::expression::{NameCall, Relation, Term};
use crate::names::{NameGap, NameMatch, NameQuery, NameScore};
use crate::{Evidence, UnknownCause};

impl<'a> Evaluator<'a, '_> {
    /// Compares the score of a name that cannot be compared with every entry: its lower bound may
    /// decide. `None` for all other comparisons.
    pub(super) fn compare_name(
        &mut self,
        relation: Relation,
        left: &'a Term,
        right: &'a Term,
    ) -> Option<Kleene> {
        let (call, other, relation) = match (left, right) {
            (Term::NameScore(call), other) => (*call, other, relation),
            (other, Term::NameScore(call)) => (*call, other, relation.flipped()),
            _ => return None,
        };
        let Ok(NameScore { score, gap: Some(gap) }) = self.name_score(call) else { return None };
        let slot = self.resources.name_calls.get(call as usize)?.name;
        let bound = match self.term(other) {
            Ok(Operand::Float(bound)) => bound,
            Ok(_) => return Some(Err(UnknownCause::NotANumber)),
            Err(cause) => return Some(Err(cause)),
        };
        self.charge(cost::STEP);
        // The score is somewhere from here to 1.
        let least = score.partial_cmp(&bound).map(|order| relation.holds(order));
        let most = 1f64.partial_cmp(&bound).map(|order| relation.holds(order));
        let inside = (score..=1.0).contains(&bound);
        let decided = match relation {
            Relation::Equal | Relation::NotEqual if inside => None,
            _ => least.filter(|least| most == Some(*least)),
        };
        Some(decided.ok_or(UnknownCause::Name(slot, gap)))
    }

    /// The score of a look-up, if it is more than a lower bound.
    pub(super) fn exact_name_score(&mut self, call: u32) -> Result<f64, UnknownCause> {
        let found = self.name_score(call)?;
        match (found.gap, self.resources.name_calls.get(call as usize)) {
            (Some(gap), Some(call)) => Err(UnknownCause::Name(call.name, gap)),
            _ => Ok(found.score),
        }
    }

    fn name_score(&mut self, call: u32) -> Result<NameScore, UnknownCause> {
        if let Some(known) = self.kept.name_score(call) {
            return known;
        }
        let before = self.cost_units();
        let score = self.best_name(call).map(|(score, _)| score);
        let spent = self.cost_units().saturating_sub(before);
        self.charge(cost::NAME.saturating_sub(spent));
        self.kept.keep_name_score(call, score);
        score
    }

    /// The best score of a look-up, and the name that has it: of a set the best item counts, and a
    /// gap of any item is one of the whole unless another item is certain.
    fn best_name(&mut self, call: u32) -> Result<(NameScore, Option<&'a str>), UnknownCause> {
        let resources = self.resources;
        let call = resources.name_calls.get(call as usize).ok_or(UnknownCause::NoRow)?;
        let (_, list) = resources.name_lists.get(call.list as usize).ok_or(UnknownCause::NoRow)?;
        let facts = self.facts;
        let value = facts.get(call.name).ok_or(UnknownCause::Missing(call.name))?;
        if !matches!(value, Value::Text(_) | Value::Set(_)) {
            return Err(UnknownCause::WrongType(call.name));
        }
        let mut best = (NameScore { score: 0.0, gap: None }, None);
        let mut gap: Option<(NameGap, &'a str)> = None;
        for name in texts(value) {
            let query = self.name_query(call, name);
            let found = list.score(&query, self.as_of, self.kept.names());
            let spent = list.spent_units(self.kept.names());
            self.charge(spent);
            if best.1.is_none() || found.score > best.0.score {
                best = (found, Some(&**name));
            }
            gap = gap.or(found.gap.map(|gap| (gap, &**name)));
        }
        let (score, name) = best;
        let gap = gap.filter(|_| score.score < 1.0);
        // Of items that have nothing in common with the list, the evidence names the one in doubt.
        let name = gap.filter(|_| score.score == 0.0).map(|(_, name)| name).or(name);
        Ok((NameScore { score: score.score, gap: gap.map(|(gap, _)| gap) }, name))
    }

    /// Whom to look for. An absent country or identifier only says less.
    fn name_query(&self, call: &NameCall, name: &'a str) -> NameQuery<'a> {
        let facts = self.facts;
        let optional = |slot: Option<_>| facts.get(slot?).and_then(Value::as_text);
        NameQuery { name, country: optional(call.country), identifier: optional(call.identifier) }
    }

    /// The evidence of a name look-up: the entry that is most alike, and how the score came about.
    pub(super) fn name_evidence(&mut self, call: u32) -> Option<Evidence> {
        // Told after the fact, so it costs the request nothing.
        let spent = self.cost_units();
        let best = self.best_name(call);
        self.reset_cost_units(spent);
        let (found, name) = best.ok()?;
        let resources = self.resources;
        let call = resources.name_calls.get(call as usize)?;
        let (list_name, list) = resources.name_lists.get(call.list as usize)?;
        let name = name?;
        let query = self.name_query(call, name);
        let best = list.find(&query, self.as_of, self.kept.names());
        if best.is_none() && found.gap.is_none() {
            return None;
        }
        let explained = explain(best.as_ref(), found.gap);
        let set = matches!(self.facts.get(call.name), Some(Value::Set(_)));
        Some(Evidence::Name {
            field: call.name,
            list: list_name.clone(),
            item: set.then(|| Arc::from(name)),
            entry: best.map_or("".into(), |best| Arc::from(&*best.value)),
            score: found.score,
            explanation: explained.into(),
        })
    }
}

fn explain(best: Option<&NameMatch>, gap: Option<NameGap>) -> String {
    let parts = best.map_or(&[][..], |best| &best.parts);
    let mut texts: Vec<String> = parts
        .iter()
        .map(|part| format!("{}: {} ({:.3})", part.kind, part.detail, part.score))
        .collect();
    texts.extend(gap.map(|gap| gap.describe().to_owned()));
    texts.join("; ")
}
