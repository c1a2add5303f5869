//! How the answers of several models become one.
//!
//! Pure arithmetic on calibrated distributions. Members may name their labels in different orders,
//! or know different labels: a label that a member does not know has probability 0 there.

use std::collections::BTreeSet;
use std::sync::Arc;

use verdict_config::definition::EnsembleMethod;

/// The smallest probability that is taken a logarithm of.
pub const PROBABILITY_MIN: f64 = 1e-6;

/// A distribution over labels; probabilities are in 0 to 1 and stand for themselves (a member that
/// was computed in `f32` need not sum to exactly 1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    /// Labels with their probabilities, in the model's order.
    pub entries: Vec<(Arc<str>, f64)>,
}

impl Distribution {
    /// The probability of a label; 0 for an unknown one.
    #[must_use]
    pub fn probability(&self, label: &str) -> f64 {
        self.entries
            .iter()
            .find(|(name, _)| name.as_ref() == label)
            .map_or(0.0, |(_, share)| *share)
    }

    /// Entries by falling probability; labels of equal probability by their names, so that the
    /// order in which a model lists its labels never matters.
    #[must_use]
    pub fn ranked(&self) -> Vec<(&Arc<str>, f64)> {
        let mut ranked: Vec<(&Arc<str>, f64)> =
            self.entries.iter().map(|(label, share)| (label, *share)).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        ranked
    }

    /// The best label and its probability.
    #[must_use]
    pub fn best(&self) -> Option<(&Arc<str>, f64)> {
        self.entries
            .iter()
            .map(|(label, share)| (label, *share))
            .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0)))
    }
}

/// One member's answer with its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberAnswer {
    /// Its weight (average, voting) or coefficient (stacking).
    pub weight: f64,
    /// What it answered.
    pub distribution: Distribution,
}

/// Combines the members that answered; `None` without any, or where their weights cancel out.
#[must_use]
pub fn combine(method: EnsembleMethod, members: &[MemberAnswer]) -> Option<Distribution> {
    match members {
        [] => None,
        // The temperature of a lone survivor is its own: only stacking rescales it.
        [only] if method != EnsembleMethod::Stacking => Some(only.distribution.clone()),
        _ => match method {
            EnsembleMethod::WeightedAverage => {
                weighted(members, |member, label| member.distribution.probability(label))
            }
            EnsembleMethod::Voting => weighted(members, |member, label| {
                f64::from(u8::from(
                    member.distribution.best().is_some_and(|best| best.0.as_ref() == label),
                ))
            }),
            EnsembleMethod::Stacking => stacked(members),
            EnsembleMethod::BestSingle => best_single(members),
        },
    }
}

/// Labels of every member in the order of their first mention.
fn labels(members: &[MemberAnswer]) -> Vec<Arc<str>> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let entries = members.iter().flat_map(|member| &member.distribution.entries);
    entries.filter(|(label, _)| seen.insert(label)).map(|(label, _)| Arc::clone(label)).collect()
}

fn weighted(
    members: &[MemberAnswer],
    share: impl Fn(&MemberAnswer, &str) -> f64,
) -> Option<Distribution> {
    let total: f64 = members.iter().map(|member| member.weight).sum();
    if !(total.is_finite() && total > 0.0) {
        return None;
    }
    let entries = labels(members)
        .into_iter()
        .map(|label| {
            let sum: f64 = members.iter().map(|member| member.weight * share(member, &label)).sum();
            (label, (sum / total).clamp(0.0, 1.0))
        })
        .collect();
    Some(Distribution { entries })
}

/// Softmax of the weighted sum of log-probabilities (a product of experts with exponents).
fn stacked(members: &[MemberAnswer]) -> Option<Distribution> {
    let labels = labels(members);
    let logits: Vec<f64> = labels
        .iter()
        .map(|label| {
            let log = |member: &MemberAnswer| {
                member.weight * member.distribution.probability(label).max(PROBABILITY_MIN).ln()
            };
            members.iter().map(log).sum()
        })
        .collect();
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return None;
    }
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let total: f64 = powers.iter().sum();
    let entries =
        labels.into_iter().zip(powers).map(|(label, power)| (label, power / total)).collect();
    Some(Distribution { entries })
}

fn best_single(members: &[MemberAnswer]) -> Option<Distribution> {
    let confidence =
        |member: &MemberAnswer| member.distribution.best().map_or(0.0, |(_, share)| share);
    let mut best = members.first()?;
    for member in members {
        // Strictly greater: of equals, the member that is named first.
        if confidence(member) > confidence(best) {
            best = member;
        }
    }
    Some(best.distribution.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(weight: f64, entries: &[(&str, f64)]) -> MemberAnswer {
        let entries = entries.iter().map(|(label, share)| (Arc::from(*label), *share)).collect();
        MemberAnswer { weight, distribution: Distribution { entries } }
    }

    fn check(method: EnsembleMethod, members: &[MemberAnswer], expected: Option<&[(&str, f64)]>) {
        let got = combine(method, members);
        match (&got, expected) {
            (None, None) => {}
            (Some(got), Some(expected)) => {
                assert_eq!(got.entries.len(), expected.len(), "{method:?} {got:?}");
                for (label, share) in expected {
                    let found = got.probability(label);
                    assert!((found - share).abs() < 1e-9, "{method:?} {label}: {found}");
                }
            }
            _ => panic!("{method:?}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn methods_combine_as_they_say() {
        let members =
            [answer(1.0, &[("a", 0.9), ("b", 0.1)]), answer(3.0, &[("b", 0.6), ("a", 0.4)])];
        check(EnsembleMethod::WeightedAverage, &members, Some(&[("a", 0.525), ("b", 0.475)]));
        check(EnsembleMethod::Voting, &members, Some(&[("a", 0.25), ("b", 0.75)]));
        check(EnsembleMethod::BestSingle, &members, Some(&[("a", 0.9), ("b", 0.1)]));
        let (a, b) = (0.9 * 0.4f64.powi(3), 0.1 * 0.6f64.powi(3));
        check(EnsembleMethod::Stacking, &members, Some(&[("a", a / (a + b)), ("b", b / (a + b))]));
    }

    #[test]
    fn labels_that_a_member_does_not_know_count_as_zero() {
        let members = [answer(1.0, &[("a", 1.0)]), answer(1.0, &[("b", 1.0)])];
        check(EnsembleMethod::WeightedAverage, &members, Some(&[("a", 0.5), ("b", 0.5)]));
    }

    #[test]
    fn nothing_in_gives_nothing_out() {
        for method in [
            EnsembleMethod::WeightedAverage,
            EnsembleMethod::Voting,
            EnsembleMethod::Stacking,
            EnsembleMethod::BestSingle,
        ] {
            check(method, &[], None);
        }
        let zero = [answer(0.0, &[("a", 1.0)]), answer(0.0, &[("a", 1.0)])];
        check(EnsembleMethod::WeightedAverage, &zero, None);
    }

    #[test]
    fn ties_go_to_the_name_and_to_the_first_member() {
        let tied = answer(1.0, &[("b", 0.5), ("a", 0.5)]);
        assert_eq!(tied.distribution.best(), Some((&Arc::from("a"), 0.5)));
        assert_eq!(tied.distribution.ranked()[0], (&Arc::from("a"), 0.5));
        let members = [answer(1.0, &[("b", 0.8)]), answer(1.0, &[("a", 0.8)])];
        check(EnsembleMethod::BestSingle, &members, Some(&[("b", 0.8)]));
    }
}
