//! How alike two names are, and the score in words.

use std::fmt::Write as _;

use super::pairs::{How, Pair, PairScratch, Weights, Word, pair_up, whole};
use super::words::Kind;

/// How much less a word tells that only one name has: a title, and a word that many companies share.
const EXTRA_PARTICLE: f64 = 0.3;
const EXTRA_GENERIC: f64 = 0.4;
/// A word that is said again.
const EXTRA_AGAIN: f64 = 0.25;

/// Compares a query with one spelling of an entry: 1 for the same words in any order, 0 for nothing
/// in common.
pub fn score(
    weights: &Weights,
    query: &[Word<'_>],
    entry: &[Word<'_>],
    scratch: &mut PairScratch,
) -> f64 {
    if query.is_empty() || entry.is_empty() {
        return 0.0;
    }
    pair_up(weights, query, entry, scratch);
    let loss: f64 = scratch.chosen.iter().map(|pair| pair.loss).sum();
    let extra = extra(weights, query, entry, &scratch.chosen);
    let common = common(weights, (query, entry), &scratch.chosen, extra.telling);
    let mut loss = loss + extra.loss + common;
    // Spaces may be anywhere: the names are the same letters.
    if loss > weights.join
        && let Some(whole) = whole(weights, query, entry, scratch)
        && whole.loss < loss
    {
        loss = whole.loss;
        scratch.chosen.clear();
        scratch.chosen.push(whole);
    }
    (-loss).exp().clamp(0.0, 1.0)
}

struct Extra {
    loss: f64,
    /// How many of the words tell something, at least one if any does.
    telling: usize,
}

/// What the words cost that only one of the names has.
fn extra(weights: &Weights, query: &[Word<'_>], entry: &[Word<'_>], pairs: &[Pair]) -> Extra {
    let taken = pairs.iter().fold((0, 0), |bits, pair| (bits.0 | pair.left, bits.1 | pair.right));
    let mut found = Extra { loss: 0.0, telling: 0 };
    for (side, bits) in [(query, taken.0), (entry, taken.1)] {
        for (_, word) in side.iter().enumerate().filter(|(at, _)| bits & (1 << at) == 0) {
            // More words cost no more.
            if found.loss >= weights.extra_max && found.telling > 0 {
                break;
            }
            let again = side.iter().filter(|other| other.text == word.text).count() > 1;
            found.loss += weights.extra
                * match word.kind {
                    _ if again => EXTRA_AGAIN,
                    Kind::Telling => 1.0,
                    Kind::Generic => EXTRA_GENERIC,
                    Kind::Particle => EXTRA_PARTICLE,
                };
            found.telling += usize::from(word.kind == Kind::Telling && !again);
        }
    }
    found.loss = found.loss.min(weights.extra_max);
    found
}

/// What it costs that names have only little in common: a surname is no person, and a word that many
/// companies share is no company.
fn common(
    weights: &Weights,
    (query, entry): (&[Word<'_>], &[Word<'_>]),
    pairs: &[Pair],
    extra: usize,
) -> f64 {
    let (mut count, mut telling) = (0, false);
    let agreeing = |pair: &&Pair| matches!(pair.how, How::Equal | How::Edited | How::Joined);
    for pair in pairs.iter().filter(agreeing) {
        let one = &query[pair.left.trailing_zeros() as usize % query.len()];
        let other = &entry[pair.right.trailing_zeros() as usize % entry.len()];
        if one.kind != Kind::Particle {
            count += pair.left.count_ones().max(pair.right.count_ones());
        }
        telling |= pair.how == How::Joined
            || (one.kind == Kind::Telling && other.kind == Kind::Telling && one.text.len() > 1);
    }
    let lone = match count {
        0 => 2.0 * weights.lone,
        1 if extra > 0 => weights.lone,
        _ => 0.0,
    };
    let same = query.len() == entry.len() && pairs.iter().all(|pair| pair.how == How::Equal);
    match (telling, same) {
        (true, _) => lone,
        (false, true) => 0.0,
        (false, false) => lone + weights.common,
    }
}

/// A comparison in words.
pub fn describe(query: &[Word<'_>], entry: &[Word<'_>], pairs: &[Pair]) -> String {
    let words = |side: &[Word<'_>], bits: u32| {
        let chosen = side.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        chosen.map(|(_, word)| word.text).collect::<Vec<_>>().join(" ")
    };
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable_by_key(|pair| pair.left.trailing_zeros());
    let mut text = String::new();
    for pair in &pairs {
        let (left, right) = (words(query, pair.left), words(entry, pair.right));
        let separator = if text.is_empty() { "" } else { ", " };
        let alike = (-pair.loss).exp();
        // Writing to a text cannot fail.
        let _ = match pair.how {
            How::Equal => write!(text, "{separator}{left} = {right}"),
            How::Conflict => write!(text, "{separator}{left} ≠ {right} {alike:.2}"),
            How::Edited | How::Initial | How::Joined => {
                write!(text, "{separator}{left} ~ {right} {alike:.2}")
            }
        };
    }
    let taken = pairs.iter().fold((0, 0), |bits, pair| (bits.0 | pair.left, bits.1 | pair.right));
    for (name, side, bits) in [("query", query, taken.0), ("entry", entry, taken.1)] {
        let only = words(side, !bits);
        if !only.is_empty() {
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{separator}only in the {name}: {only}");
        }
    }
    text
}
