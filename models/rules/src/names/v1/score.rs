//! Likeness of two names, token by token and as wholes.

use std::fmt::Write as _;

use rapidfuzz::fuzz;

use super::fold;

/// Tokens less alike than this have nothing in common.
const ALIKE_FROM: f64 = 0.72;
/// How alike an initial is to a token that starts with it.
const INITIAL: f64 = 0.70;
/// How much of the score comes from tokens; the rest from the sorted wholes.
const TOKENS_SHARE: f64 = 0.65;
/// A name that stands whole in a longer one, before what each further token takes.
const PARTIAL: f64 = 0.95;
/// What each further token takes.
const PARTIAL_EXTRA: f64 = 0.03;
/// What is left of the score of a single token against a longer name: a surname is no person.
const LONE: f64 = 0.90;
/// Names that are equal but for their spaces.
const JOINED: f64 = 0.97;
/// From here on names without spaces are compared at all.
const JOINED_FROM: f64 = 0.90;

/// Which comparison gave the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// All tokens, and the sorted wholes.
    Tokens,
    /// One name stands in the other.
    Partial,
    /// Without spaces.
    Joined,
}

/// A score before qualifiers.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// Which comparison gave it.
    pub base: Base,
    /// 0 to 1.
    pub score: f64,
    /// How alike the tokens are, 0 to 1.
    pub tokens: f64,
    /// How alike the sorted wholes are (rapidfuzz's token sort ratio), 0 to 1.
    pub sorted: f64,
}

/// Buffers of a comparison.
#[derive(Debug, Clone, Default)]
pub struct ScoreScratch {
    one: String,
    other: String,
    pairs: Vec<Pair>,
}

/// Two tokens that stand for each other.
#[derive(Debug, Clone, Copy)]
struct Pair {
    left: usize,
    right: usize,
    alike: f64,
}

/// How alike two tokens are: 0 below [`ALIKE_FROM`].
pub fn similarity(one: &str, other: &str) -> f64 {
    if one == other {
        return 1.0;
    }
    let initial = |short: &str, long: &str| {
        let mut chars = short.chars();
        chars.next().is_some() && chars.next().is_none() && long.starts_with(short)
    };
    if initial(one, other) || initial(other, one) {
        return INITIAL;
    }
    let ratio = fuzz::ratio(one.chars(), other.chars());
    if ratio >= ALIKE_FROM { ratio } else { 0.0 }
}

/// Compares a query with one spelling of an entry.
pub fn score<T: AsRef<str>>(query: &[T], entry: &[&str], scratch: &mut ScoreScratch) -> Scored {
    pair_up(query, entry, &mut scratch.pairs);
    let tokens = aligned(query, entry, &scratch.pairs);
    join(query, &mut scratch.one, true);
    join(entry, &mut scratch.other, true);
    let sorted = fuzz::ratio(scratch.one.chars(), scratch.other.chars());
    let lone = query.len().min(entry.len()) == 1 && query.len() != entry.len();
    let blend =
        (TOKENS_SHARE * tokens + (1.0 - TOKENS_SHARE) * sorted) * if lone { LONE } else { 1.0 };
    let mut best = Scored { base: Base::Tokens, score: blend, tokens, sorted };
    if let Some(partial) = partial(query, entry, &scratch.pairs)
        && partial > best.score
    {
        best = Scored { base: Base::Partial, score: partial, ..best };
    }
    if query.len() != entry.len() {
        join(query, &mut scratch.one, false);
        join(entry, &mut scratch.other, false);
        let joined = fuzz::ratio(scratch.one.chars(), scratch.other.chars());
        if joined >= JOINED_FROM && joined * JOINED > best.score {
            best = Scored { base: Base::Joined, score: joined * JOINED, ..best };
        }
    }
    best.score = best.score.clamp(0.0, 1.0);
    best
}

/// Pairs up tokens, the most alike first; each stands in one pair at most.
fn pair_up<T: AsRef<str>>(query: &[T], entry: &[&str], pairs: &mut Vec<Pair>) {
    pairs.clear();
    for (left, token) in query.iter().enumerate() {
        for (right, other) in entry.iter().enumerate() {
            let alike = similarity(token.as_ref(), other);
            if alike > 0.0 {
                pairs.push(Pair { left, right, alike });
            }
        }
    }
    pairs.sort_unstable_by(|one, other| {
        other
            .alike
            .total_cmp(&one.alike)
            .then((one.left, one.right).cmp(&(other.left, other.right)))
    });
    let (mut lefts, mut rights) = (0u32, 0u32);
    // Names have at most 12 tokens: 32 bits are enough.
    pairs.retain(|pair| {
        let (left, right) = (1u32 << pair.left.min(31), 1u32 << pair.right.min(31));
        let free = lefts & left == 0 && rights & right == 0;
        if free {
            lefts |= left;
            rights |= right;
        }
        free
    });
}

/// The weight of the pairs among the weight of all tokens.
fn aligned<T: AsRef<str>>(query: &[T], entry: &[&str], pairs: &[Pair]) -> f64 {
    let all: f64 = query.iter().map(|token| weight(token.as_ref())).sum::<f64>()
        + entry.iter().map(|token| weight(token)).sum::<f64>();
    // What an initial stands for is not known: the missing letters count neither way.
    let (mut common, mut unknown) = (0.0, 0.0);
    for pair in pairs {
        let (left, right) = (weight(query[pair.left].as_ref()), weight(entry[pair.right]));
        let is_initial = pair.alike == INITIAL && left.min(right) <= 1.0;
        let (counted, left_out) = if is_initial {
            (left + right, 0.5 * (left - right).abs())
        } else {
            (left + right, 0.0)
        };
        common += pair.alike * (counted - left_out);
        unknown += left_out;
    }
    if all - unknown > 0.0 { common / (all - unknown) } else { 0.0 }
}

/// How alike the shorter name and its part of the longer one are, if all of it stands there.
fn partial<T: AsRef<str>>(query: &[T], entry: &[&str], pairs: &[Pair]) -> Option<f64> {
    let shorter = query.len().min(entry.len());
    let extra = query.len().max(entry.len()) - shorter;
    let telling =
        pairs.iter().any(|pair| pair.alike > INITIAL && !fold::is_generic(entry[pair.right]));
    if extra == 0 || shorter < 2 || pairs.len() < shorter || !telling {
        return None;
    }
    let (mut common, mut all) = (0.0, 0.0);
    for pair in pairs {
        let both = weight(query[pair.left].as_ref()) + weight(entry[pair.right]);
        common += pair.alike * both;
        all += both;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 12")]
    let taken = PARTIAL_EXTRA * extra as f64;
    (all > 0.0).then(|| common / all * PARTIAL - taken)
}

/// Longer tokens tell more, up to ten characters; words that many companies share a third.
fn weight(token: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 10")]
    let chars = token.chars().count().min(10) as f64;
    if fold::is_generic(token) { chars * 0.35 } else { chars }
}

fn join<T: AsRef<str>>(tokens: &[T], text: &mut String, sorted: bool) {
    text.clear();
    let mut order: smallvec::SmallVec<[&str; 12]> = tokens.iter().map(AsRef::as_ref).collect();
    if sorted {
        order.sort_unstable();
    }
    for token in order {
        if sorted && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(token);
    }
}

/// A score in words.
pub fn describe<T: AsRef<str>>(query: &[T], entry: &[&str], scored: &Scored) -> String {
    let mut pairs = Vec::new();
    pair_up(query, entry, &mut pairs);
    pairs.sort_unstable_by_key(|pair| pair.left);
    let mut text = String::new();
    for pair in &pairs {
        let (left, right) = (query[pair.left].as_ref(), entry[pair.right]);
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = if left == right {
            write!(text, "{separator}{left} = {right}")
        } else {
            write!(text, "{separator}{left} ~ {right} {:.2}", pair.alike)
        };
    }
    let missing = |side: &str, tokens: &mut dyn Iterator<Item = &str>, text: &mut String| {
        let tokens: Vec<&str> = tokens.collect();
        if !tokens.is_empty() {
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{separator}only in the {side}: {}", tokens.join(" "));
        }
    };
    let unpaired = |left: usize| !pairs.iter().any(|pair| pair.left == left);
    let query = query.iter().enumerate().filter(|(left, _)| unpaired(*left));
    missing("query", &mut query.map(|(_, token)| token.as_ref()), &mut text);
    let unpaired = |right: usize| !pairs.iter().any(|pair| pair.right == right);
    let entry = entry.iter().enumerate().filter(|(right, _)| unpaired(*right));
    missing("entry", &mut entry.map(|(_, token)| *token), &mut text);
    let _ = write!(text, " (tokens {:.2}, sorted {:.2})", scored.tokens, scored.sorted);
    text
}
