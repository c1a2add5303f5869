//! DMN's hit policies (OMG DMN 1.5, 8.2.8), in three values.
//!
//! Matched rows certainly match, unknown rows may. An answer is unknown only if an unknown row, were
//! it to match, would change what follows.

use std::cmp::Reverse;

use smallvec::{SmallVec, smallvec};
use verdict_config::definition::{Effect, HitPolicy, Outcome};

use super::bits::Bits;
use super::{TableAnswer, TableUnknown};

/// Whether a policy makes one number out of all matches.
pub const fn is_aggregate(policy: HitPolicy) -> bool {
    matches!(
        policy,
        HitPolicy::CollectSum
            | HitPolicy::CollectMin
            | HitPolicy::CollectMax
            | HitPolicy::CollectCount
    )
}

/// What the rows come to under a policy. The slots of a missing cause are the caller's to fill in.
pub fn answer(
    policy: HitPolicy,
    base: &Effect,
    effects: &[Effect],
    matched: &Bits,
    unknown: &Bits,
) -> TableAnswer {
    match policy {
        HitPolicy::Unique => unique(matched, unknown),
        HitPolicy::Any => any(effects, matched, unknown),
        HitPolicy::First => first_by(effects, matched, unknown, |row| row),
        HitPolicy::Priority => first_by(effects, matched, unknown, |row| priority(effects, row)),
        HitPolicy::RuleOrder | HitPolicy::Collect => all(matched, unknown),
        HitPolicy::OutputOrder => {
            let mut answer = all(matched, unknown);
            answer.rows.sort_unstable_by_key(|row| priority(effects, *row));
            answer
        }
        HitPolicy::CollectSum
        | HitPolicy::CollectMin
        | HitPolicy::CollectMax
        | HitPolicy::CollectCount => aggregate(policy, base, effects, matched, unknown),
    }
}

fn missing() -> TableAnswer {
    let unknown = Some(TableUnknown::Missing(SmallVec::new()));
    TableAnswer { unknown, ..TableAnswer::default() }
}

fn conflict(one: u32, other: u32) -> TableAnswer {
    TableAnswer { unknown: Some(TableUnknown::Conflict(one, other)), ..TableAnswer::default() }
}

fn unique(matched: &Bits, unknown: &Bits) -> TableAnswer {
    let mut rows = matched.iter();
    match (rows.next(), rows.next()) {
        (Some(one), Some(other)) => conflict(one, other),
        // A second match would be a conflict.
        _ if !unknown.is_empty() => missing(),
        (row, _) => TableAnswer { rows: row.into_iter().collect(), ..TableAnswer::default() },
    }
}

fn any(effects: &[Effect], matched: &Bits, unknown: &Bits) -> TableAnswer {
    let mut rows = matched.iter();
    let Some(one) = rows.next() else {
        return if unknown.is_empty() { TableAnswer::default() } else { missing() };
    };
    let says_other = |row: &u32| !same(effects, *row, one);
    if let Some(other) = rows.find(says_other) {
        return conflict(one, other);
    }
    if unknown.iter().any(|row| says_other(&row)) {
        return missing();
    }
    TableAnswer { rows: smallvec![one], ..TableAnswer::default() }
}

/// The matched row of the smallest key, unless an unknown row before it says something else.
fn first_by<K: Ord>(
    effects: &[Effect],
    matched: &Bits,
    unknown: &Bits,
    key: impl Fn(u32) -> K,
) -> TableAnswer {
    let Some(first) = matched.iter().min_by_key(|row| key(*row)) else {
        return if unknown.is_empty() { TableAnswer::default() } else { missing() };
    };
    let limit = key(first);
    if unknown.iter().any(|row| key(row) < limit && !same(effects, row, first)) {
        return missing();
    }
    TableAnswer { rows: smallvec![first], ..TableAnswer::default() }
}

fn all(matched: &Bits, unknown: &Bits) -> TableAnswer {
    let mut answer = if unknown.is_empty() { TableAnswer::default() } else { missing() };
    answer.rows = matched.iter().collect();
    answer
}

fn aggregate(
    policy: HitPolicy,
    base: &Effect,
    effects: &[Effect],
    matched: &Bits,
    unknown: &Bits,
) -> TableAnswer {
    let points = |row: u32| effects.get(row as usize).and_then(|effect| effect.points);
    if matched.is_empty() {
        return if unknown.is_empty() { TableAnswer::default() } else { missing() };
    }
    let of_matched = || matched.iter().filter_map(points);
    let mut of_unknown = unknown.iter().filter_map(points);
    // Besides points, an unknown row must not say anything that changes the joined effect.
    let joined = |more: Option<u32>| {
        let counts = |row: &u32| matched.contains(*row) || more == Some(*row);
        let rows = (0u32..).zip(effects).filter(|(row, _)| counts(row));
        super::outputs::join(rows.map(|(_, effect)| effect), None)
    };
    let silent = || {
        let known = joined(None);
        unknown.iter().all(|row| joined(Some(row)) == known)
    };
    let (total, changes) = match policy {
        HitPolicy::CollectSum => {
            let sum = of_matched().fold(0i32, i32::saturating_add);
            (Some(sum), of_unknown.any(|points| points != 0))
        }
        HitPolicy::CollectMin => {
            let least = of_matched().min();
            (least, of_unknown.any(|points| least.is_none_or(|least| points < least)))
        }
        HitPolicy::CollectMax => {
            let most = of_matched().max();
            (most, of_unknown.any(|points| most.is_none_or(|most| points > most)))
        }
        _ => {
            let count = i32::try_from(matched.iter().count()).unwrap_or(i32::MAX);
            let each = base.points.unwrap_or(1);
            (Some(count.saturating_mul(each)), each != 0 && !unknown.is_empty())
        }
    };
    if changes || !(unknown.is_empty() || silent()) {
        return missing();
    }
    TableAnswer { rows: matched.iter().collect(), points: total, unknown: None }
}

fn same(effects: &[Effect], one: u32, other: u32) -> bool {
    effects.get(one as usize) == effects.get(other as usize)
}

/// The graver outcome goes first, then more points, then the earlier row.
pub fn priority(effects: &[Effect], row: u32) -> (Reverse<Option<Outcome>>, Reverse<i32>, u32) {
    let effect = effects.get(row as usize);
    let outcome = effect.and_then(|effect| effect.outcome);
    let points = effect.and_then(|effect| effect.points).unwrap_or(0);
    (Reverse(outcome), Reverse(points), row)
}
