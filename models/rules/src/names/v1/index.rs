//! Which spellings share tokens with a query, nearly or exactly: bounded work on long lists.

use std::collections::HashMap;

use super::super::{CANDIDATES_MAX, POSTINGS_MAX};
use super::fold;
use super::score::similarity;

/// Tokens of the list that may stand for one token of the query.
const ALIKE_MAX: usize = 24;
/// Tokens that are compared per key of the index.
const KEY_TOKENS_MAX: usize = 512;

/// Every token of the list, what it is near to, and where it stands.
#[derive(Debug, Clone, Default)]
pub struct TokenIndex {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    /// How telling a token is: the rarer, the more.
    weights: Vec<f32>,
    /// Hashes of tokens, tokens with one character left out, and skeletons; sorted.
    keys: Vec<(u32, u32)>,
    /// Spellings of token `n`: `postings[starts[n]..starts[n + 1]]`.
    starts: Vec<u32>,
    postings: Vec<u32>,
    spellings: usize,
}

/// Buffers of a look-up.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// What each spelling has in common with the query, 0 for all but those touched.
    common: Vec<f32>,
    touched: Vec<u32>,
    alike: Vec<(u32, f32)>,
    chosen: Vec<u32>,
}

impl Candidates {
    /// The spellings chosen, best first.
    pub fn chosen(&self) -> &[u32] {
        &self.chosen
    }
}

impl TokenIndex {
    /// Indexes spellings, given by their tokens; a spelling is known by its position.
    pub fn build(spellings: &[Vec<Box<str>>]) -> Self {
        let mut texts: Vec<&Box<str>> = spellings.iter().flatten().collect();
        texts.sort_unstable();
        texts.dedup();
        let texts: Vec<Box<str>> = texts.into_iter().cloned().collect();
        let numbers: HashMap<Box<str>, u32> = texts.iter().cloned().zip(0u32..).collect();
        let mut placed: Vec<(u32, u32)> = Vec::new();
        for (spelling, tokens) in (0u32..).zip(spellings) {
            placed.extend(tokens.iter().filter_map(|token| Some((*numbers.get(token)?, spelling))));
        }
        placed.sort_unstable();
        placed.dedup();
        let mut starts = vec![0u32; texts.len() + 1];
        for (token, _) in &placed {
            starts[*token as usize + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut keys: Vec<(u32, u32)> = Vec::new();
        for (token, text) in (0u32..).zip(&texts) {
            for_each_key(text, |key| keys.push((key, token)));
        }
        keys.sort_unstable();
        keys.dedup();
        #[expect(clippy::cast_precision_loss, reason = "a weight")]
        let total = spellings.len().max(1) as f32;
        #[expect(clippy::cast_precision_loss, reason = "a weight")]
        let weight = |token: usize, text: &str| {
            let count = (starts[token + 1] - starts[token]).max(1) as f32;
            let rarity = 1.0 + (total / count).ln();
            if fold::is_generic(text) { rarity * 0.35 } else { rarity }
        };
        let weights = texts.iter().enumerate().map(|(token, text)| weight(token, text)).collect();
        let postings = placed.into_iter().map(|(_, spelling)| spelling).collect();
        Self { texts, numbers, weights, keys, starts, postings, spellings: spellings.len() }
    }

    /// A token's number.
    pub fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    /// A token's text.
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", AsRef::as_ref)
    }

    /// Chooses the spellings that have most in common with a query, at most [`CANDIDATES_MAX`].
    pub fn candidates(
        &self,
        query: &[Box<str>],
        buffers: &mut Candidates,
        counts: impl Fn(u32) -> bool,
    ) {
        buffers.alike.clear();
        for token in query {
            self.alike(token, &mut buffers.alike);
        }
        // Rare tokens first: they tell most and cost least, and the budget may not last.
        buffers.alike.sort_unstable_by_key(|(token, _)| (self.spellings_of(*token).len(), *token));
        if buffers.common.len() < self.spellings {
            buffers.common.resize(self.spellings, 0.0);
        }
        let mut budget = POSTINGS_MAX;
        for (token, alike) in &buffers.alike {
            let postings = self.spellings_of(*token);
            let visited = &postings[..postings.len().min(budget)];
            budget -= visited.len();
            let gain = self.weights[*token as usize] * alike;
            for spelling in visited {
                let common = &mut buffers.common[*spelling as usize];
                if *common == 0.0 {
                    buffers.touched.push(*spelling);
                }
                *common += gain;
            }
        }
        buffers.choose(counts);
    }

    fn spellings_of(&self, token: u32) -> &[u32] {
        let bounds = (self.starts.get(token as usize), self.starts.get(token as usize + 1));
        let (Some(start), Some(end)) = bounds else { return &[] };
        &self.postings[*start as usize..*end as usize]
    }

    /// Adds the tokens that may stand for one of the query, with how alike they are.
    fn alike(&self, token: &str, alike: &mut Vec<(u32, f32)>) {
        let from = alike.len();
        for_each_key(token, |key| {
            let start = self.keys.partition_point(|(known, _)| *known < key);
            let equal = self.keys[start..].iter().take_while(|(known, _)| *known == key);
            for (_, number) in equal.take(KEY_TOKENS_MAX) {
                if alike[from..].iter().any(|(known, _)| known == number) {
                    continue;
                }
                let score = similarity(token, self.text(*number));
                if score > 0.0 {
                    #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
                    alike.push((*number, score as f32));
                }
            }
        });
        if alike.len() - from > ALIKE_MAX {
            alike[from..]
                .sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
            alike.truncate(from + ALIKE_MAX);
        }
    }
}

impl Candidates {
    fn choose(&mut self, counts: impl Fn(u32) -> bool) {
        self.chosen.clear();
        self.chosen.extend(self.touched.iter().copied().filter(|spelling| counts(*spelling)));
        let common = &self.common;
        let order = |one: &u32, other: &u32| {
            let (left, right) = (common[*one as usize], common[*other as usize]);
            right.total_cmp(&left).then(one.cmp(other))
        };
        if self.chosen.len() > CANDIDATES_MAX {
            self.chosen.select_nth_unstable_by(CANDIDATES_MAX, order);
            self.chosen.truncate(CANDIDATES_MAX);
        }
        self.chosen.sort_unstable_by(order);
        for spelling in self.touched.drain(..) {
            self.common[spelling as usize] = 0.0;
        }
    }
}

/// The keys under which a token is found: itself, itself without one character (two tokens one edit
/// apart share such a key), and how it sounds.
fn for_each_key(token: &str, mut found: impl FnMut(u32)) {
    found(hash(token.chars()));
    if token.chars().count() >= 4 {
        for left_out in 0..token.chars().count() {
            let rest = token.chars().enumerate();
            found(hash(rest.filter(|(index, _)| *index != left_out).map(|(_, char)| char)));
        }
    }
    if let Some(skeleton) = fold::skeleton(token) {
        found(hash(std::iter::once('~').chain(skeleton.chars())));
    }
}

/// FNV-1a over characters; what collides is told apart by comparing.
fn hash(chars: impl Iterator<Item = char>) -> u32 {
    chars.fold(0x811c_9dc5, |hash, char| (hash ^ char as u32).wrapping_mul(0x0100_0193))
}
