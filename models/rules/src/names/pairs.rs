//! Which words of two names stand for each other, and what the differences cost.
//!
//! ```text
//! 1. words that are equal, close, or an initial     petrov ~ petrow
//! 2. words that are joined or split on one side     rami + makhlouf ~ ramimakhlouf
//! 3. what is left on both sides: a conflict         hafez ≠ rami
//! ```
//!
//! Pairs are taken in the order of their loss, so that a word goes where it fits best.

use rapidfuzz::distance::osa;
use smallvec::SmallVec;

use super::fold::TOKENS_MAX;
use super::words::{self, Kind};
use super::work::{self, Letters, Work};

/// What differences cost. A score is `exp(-loss)`, so losses add up and scores multiply.
///
/// The values were chosen by hand to be round, and checked by cross-validation over groups of names
/// that share no spelling (`names/quality.rs`).
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// One to four edits (a letter more, less, other, or two turned) in one word.
    pub edits: [f64; 4],
    /// The share of an edit's cost where both words sound alike.
    pub sound: f64,
    /// Two words that have nothing to do with each other in each other's place.
    pub conflict: f64,
    /// A word that only one of the names has.
    pub extra: f64,
    /// All such words together at most: more words in front hide nobody.
    pub extra_max: f64,
    /// The names have a single word in common and one of them has more.
    pub lone: f64,
    /// An initial for a word.
    pub initial: f64,
    /// Words that are joined or split.
    pub join: f64,
    /// Only words that many names share are in common.
    pub common: f64,
}

/// The weights in force.
pub const WEIGHTS: Weights = Weights {
    edits: [0.08, 0.28, 0.58, 0.97],
    sound: 0.75,
    conflict: 1.0,
    extra: 0.06,
    extra_max: 0.24,
    lone: 0.35,
    initial: 0.12,
    join: 0.03,
    common: 0.6,
};

/// Joined words that are compared per candidate at most, each way.
const WINDOWS_MAX: usize = 64;
/// Joined words less alike than this are not taken for one another.
const JOINED_FROM: f64 = 0.8;
/// A joined word may be longer than its counterpart by a legal form of so many letters.
const AFFIX_CHARS_MAX: usize = 5;
/// The shortest word that a legal form may be stuck to.
const AFFIXED_CHARS_MIN: usize = 4;
/// The longest run of initials written as one word.
const INITIALS_MAX: usize = 4;

/// A word with what the comparison asks of it.
#[derive(Debug, Clone, Copy)]
pub struct Word<'t> {
    /// Its letters, ASCII.
    pub text: &'t str,
    /// What kind of word it is.
    pub kind: Kind,
    /// A hash of how it sounds; 0 for words too short to tell.
    pub sound: u64,
    /// Which letters it has.
    pub letters: Letters,
}

impl<'t> Word<'t> {
    /// A word of a name.
    pub fn new(text: &'t str) -> Self {
        let letters = Letters::of(text);
        Self { text, kind: words::kind(text), sound: words::sound(text), letters }
    }

    /// Words joined: nothing is known of them but their letters.
    const fn joined(text: &'t str, letters: Letters) -> Self {
        Self { text, kind: Kind::Telling, sound: 0, letters }
    }

    /// How much it tells, 0 to 1.
    fn weight(&self) -> f64 {
        match (self.kind, self.text.len()) {
            (Kind::Particle, _) => 0.3,
            (Kind::Generic, _) => 0.8,
            // A letter that is no initial of its counterpart contradicts it.
            (Kind::Telling, 0..=1) => 0.4,
            (Kind::Telling, 2) => 0.6,
            (Kind::Telling, 3) => 0.8,
            (Kind::Telling, _) => 1.0,
        }
    }
}

/// How two words were matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They are equal.
    Equal,
    /// They are few edits apart.
    Edited,
    /// One is the initial of the other, or the initials of several.
    Initial,
    /// One is the others joined, or has a legal form stuck to it.
    Joined,
    /// They are in each other's place and differ.
    Conflict,
}

/// Words that stand for each other, as bits of their positions.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Words of the query.
    pub left: u32,
    /// Words of the entry.
    pub right: u32,
    /// What their difference costs.
    pub loss: f64,
    /// How they were matched.
    pub how: How,
}

/// Buffers of a comparison.
#[derive(Debug, Clone, Default)]
pub struct PairScratch {
    found: Vec<Pair>,
    text: String,
    other: String,
    /// The pairs that were taken, those without conflict first.
    pub chosen: Vec<Pair>,
    /// What the comparisons cost.
    pub work: Work,
}

const fn bit(place: usize) -> u32 {
    // Names have at most 32 words.
    1 << (place % TOKENS_MAX)
}

/// Pairs up the words of a query and an entry.
pub fn pair_up(
    weights: &Weights,
    query: &[Word<'_>],
    entry: &[Word<'_>],
    scratch: &mut PairScratch,
) {
    let PairScratch { found, text, chosen, work, .. } = scratch;
    found.clear();
    chosen.clear();
    work.spend(work::pairs(query.len(), entry.len()));
    for (i, one) in query.iter().enumerate() {
        for (j, other) in entry.iter().enumerate() {
            if let Some((loss, how)) = alike(weights, one, other, work) {
                found.push(Pair { left: bit(i), right: bit(j), loss, how });
            }
        }
    }
    work.spend(work::SORTED * found.len() as u64);
    let mut taken = take(found, chosen, (0, 0));
    // What is equal needs no second look: only the other words may be joined or split.
    let is_open = |taken: u32, count: usize| taken.count_ones() < u32::try_from(count).unwrap_or(0);
    if is_open(taken.0, query.len()) || is_open(taken.1, entry.len()) {
        let equal = |pairs: &[Pair]| {
            pairs
                .iter()
                .filter(|pair| pair.how == How::Equal)
                .fold((0, 0), |bits, pair| (bits.0 | pair.left, bits.1 | pair.right))
        };
        let fixed = equal(chosen);
        let before = found.len();
        let left = WINDOWS_MAX;
        let mut windows = Windows { weights, text, found, work, left, swapped: false };
        windows.find((query, fixed.0), (entry, fixed.1));
        windows.swapped = true;
        windows.left = WINDOWS_MAX;
        windows.find((entry, fixed.1), (query, fixed.0));
        if found.len() > before {
            chosen.clear();
            work.spend(work::SORTED * found.len() as u64);
            taken = take(found, chosen, (0, 0));
        }
    }
    conflicts(weights, (query, taken.0), (entry, taken.1), (found, work));
    work.spend(work::SORTED * found.len() as u64);
    take(found, chosen, taken);
}

/// Takes pairs in the order of their loss; a word goes into one pair at most.
fn take(found: &mut [Pair], chosen: &mut Vec<Pair>, mut taken: (u32, u32)) -> (u32, u32) {
    found.sort_unstable_by(|one, other| {
        let order = |pair: &Pair| (pair.how == How::Joined, pair.left, pair.right);
        one.loss.total_cmp(&other.loss).then_with(|| order(one).cmp(&order(other)))
    });
    for pair in found.iter() {
        if taken.0 & pair.left == 0 && taken.1 & pair.right == 0 {
            taken = (taken.0 | pair.left, taken.1 | pair.right);
            chosen.push(*pair);
        }
    }
    taken
}

/// How alike two words are, 0 to 1; 0 if neither may stand for the other.
pub fn closeness(weights: &Weights, one: &Word<'_>, other: &Word<'_>, work: &mut Work) -> f64 {
    alike(weights, one, other, work).map_or(0.0, |(loss, _)| (-loss).exp())
}

/// What it costs that one word stands for another, if it may.
fn alike(
    weights: &Weights,
    one: &Word<'_>,
    other: &Word<'_>,
    work: &mut Work,
) -> Option<(f64, How)> {
    if one.letters == other.letters && one.text == other.text {
        return Some((0.0, How::Equal));
    }
    let initial = |short: &str, long: &str| short.len() == 1 && long.starts_with(short);
    if initial(one.text, other.text) || initial(other.text, one.text) {
        return Some((weights.initial, How::Initial));
    }
    if is_affixed(one.text, other.text) {
        return Some((weights.join, How::Joined));
    }
    let most = weights.conflict * one.weight().min(other.weight());
    let (loss, ratio) = edits(weights, (one, other), most, work)?;
    // Of short words with as many edits as that, nothing is the same.
    (ratio > 0.3 && loss < most).then_some((loss, How::Edited))
}

/// What the edits between two words cost, and which share of their letters is the same; `None` where
/// there are more than four, and perhaps where they cost `most_loss` or more.
fn edits(
    weights: &Weights,
    (one, other): (&Word<'_>, &Word<'_>),
    most_loss: f64,
    work: &mut Work,
) -> Option<(f64, f64)> {
    let most = weights.edits.len();
    if one.text.len().abs_diff(other.text.len()) > most || one.letters.apart(other.letters) > most {
        return None;
    }
    let cheap = |loss: &f64| loss * weights.sound.min(1.0) < most_loss;
    let useful = weights.edits.iter().rposition(cheap).map_or(0, |at| at + 1);
    if one.letters.apart(other.letters) > useful {
        return None;
    }
    if !work.spend(work::edits(one.text.len() + other.text.len())) {
        return None;
    }
    let args = osa::Args::default().score_cutoff(most);
    let count = osa::distance_with_args(one.text.bytes(), other.text.bytes(), &args)?;
    let Some(loss) = count.checked_sub(1).and_then(|at| weights.edits.get(at)) else {
        return Some((0.0, 1.0));
    };
    let longest = one.text.len().max(other.text.len());
    #[expect(clippy::cast_precision_loss, reason = "at most 64")]
    let ratio = 1.0 - count as f64 / longest as f64;
    let sounds = one.sound != 0 && one.sound == other.sound;
    Some((if sounds { loss * weights.sound } else { *loss }, ratio))
}

/// Whether one word is the other with a legal form stuck to its beginning or end.
fn is_affixed(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let extra = long.len() - short.len();
    let possible = short.len() >= AFFIXED_CHARS_MIN && (2..=AFFIX_CHARS_MAX).contains(&extra);
    possible
        && [long.strip_prefix(short), long.strip_suffix(short)]
            .into_iter()
            .flatten()
            .any(words::is_form)
}

/// The search for words that are joined or split.
struct Windows<'s> {
    weights: &'s Weights,
    text: &'s mut String,
    found: &'s mut Vec<Pair>,
    work: &'s mut Work,
    left: usize,
    swapped: bool,
}

impl Windows<'_> {
    /// Compares neighbours of one side, joined, with single words of the other; words that have an
    /// equal counterpart are left out.
    fn find(&mut self, many: (&[Word<'_>], u32), single: (&[Word<'_>], u32)) {
        for (place, word) in single.0.iter().enumerate() {
            if single.1 & bit(place) != 0 {
                continue;
            }
            for from in 0..many.0.len() {
                self.from(many, from, (place, word));
            }
            self.scattered(many, (place, word));
        }
    }

    fn from(&mut self, many: (&[Word<'_>], u32), from: usize, single: (usize, &Word<'_>)) {
        let (place, word) = single;
        let (mut mask, mut length, mut letters) = (0, 0, Letters::default());
        for (at, part) in many.0.iter().enumerate().skip(from) {
            self.work.spend(work::PAIR);
            if many.1 & bit(at) != 0 || length + part.text.len() > word.text.len() + AFFIX_CHARS_MAX
            {
                return;
            }
            length += part.text.len();
            letters = letters.with(part.letters);
            mask |= bit(at);
            if at == from {
                continue;
            }
            if are_initials(&many.0[from..=at], word.text) {
                self.push(mask, place, self.weights.initial, How::Initial);
            }
            if length + 2 < word.text.len() || self.left == 0 {
                continue;
            }
            self.left -= 1;
            if !may_be_joined((length, letters), word) {
                continue;
            }
            let parts = &many.0[from..=at];
            let mut best = self.compare(parts.iter(), letters, word);
            if let [_, _] = parts {
                let turned = self.compare(parts.iter().rev(), letters, word);
                best = [best, turned].into_iter().flatten().min_by(f64::total_cmp);
            }
            if let Some(loss) = best {
                self.push(mask, place, loss, How::Joined);
            }
        }
    }

    fn compare<'w>(
        &mut self,
        parts: impl Iterator<Item = &'w Word<'w>>,
        letters: Letters,
        word: &Word<'_>,
    ) -> Option<f64> {
        self.text.clear();
        parts.for_each(|part| self.text.push_str(part.text));
        joined_loss(self.weights, &Word::joined(self.text, letters), word, self.work)
    }

    /// Three and more words joined in another order: each of them is in the single word.
    fn scattered(&mut self, many: (&[Word<'_>], u32), single: (usize, &Word<'_>)) {
        let (place, word) = single;
        if many.0.len() < 3 {
            return;
        }
        self.work.spend(work::pairs(many.0.len(), 1));
        let mut order: SmallVec<[(usize, &str); 8]> = SmallVec::new();
        for (at, part) in many.0.iter().enumerate() {
            let inside = part.text.len() > 1 && word.letters.has(part.letters);
            if many.1 & bit(at) == 0
                && inside
                && self.work.spend(work::edits(word.text.len()))
                && word.text.contains(part.text)
            {
                order.push((at, part.text));
            }
        }
        if order.len() < 3 {
            return;
        }
        order.sort_by_key(|(at, part)| (std::cmp::Reverse(part.len()), *at));
        self.text.clear();
        self.text.push_str(word.text);
        let mut mask = 0;
        for (at, part) in order {
            if let Some(start) = self.text.find(part) {
                // A mark keeps letters apart that were not neighbours.
                self.text.replace_range(start..start + part.len(), " ");
                mask |= bit(at);
            }
        }
        let rest = self.text.bytes().filter(|byte| *byte != b' ').count();
        if mask.count_ones() >= 3 && rest <= 2 {
            let loss = if rest == 0 { 0.0 } else { self.weights.edits[rest - 1] };
            self.push(mask, place, self.weights.join + loss, How::Joined);
        }
    }

    fn push(&mut self, mask: u32, place: usize, loss: f64, how: How) {
        let (left, right) = if self.swapped { (bit(place), mask) } else { (mask, bit(place)) };
        self.found.push(Pair { left, right, loss, how });
    }
}

/// Whether joined words, by their length and letters, may stand for a word: quicker than comparing.
fn may_be_joined((length, letters): (usize, Letters), word: &Word<'_>) -> bool {
    let apart = letters.apart(word.letters).max(length.abs_diff(word.text.len()));
    // As many edits leave less than `JOINED_FROM` of the letters, or it is a legal form.
    let few = 5 * apart <= length.max(word.text.len());
    few || (length < word.text.len() && word.letters.has(letters))
        || (length > word.text.len() && letters.has(word.letters))
}

/// What it costs that joined words stand for a word, if they may.
fn joined_loss(
    weights: &Weights,
    joined: &Word<'_>,
    word: &Word<'_>,
    work: &mut Work,
) -> Option<f64> {
    if joined.text == word.text || is_affixed(joined.text, word.text) {
        return Some(weights.join);
    }
    let (loss, ratio) = edits(weights, (joined, word), f64::INFINITY, work)?;
    (ratio >= JOINED_FROM).then_some(weights.join + loss)
}

/// Whether a short word without a vowel is the initials of some words.
fn are_initials(words: &[Word<'_>], text: &str) -> bool {
    let vowel = |byte: u8| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u');
    text.len() == words.len()
        && text.len() <= INITIALS_MAX
        && !text.bytes().any(vowel)
        && words.iter().zip(text.bytes()).all(|(word, first)| word.text.as_bytes()[0] == first)
}

/// All words of both names as one pair, if without their spaces they are nearly the same letters.
pub fn whole(
    weights: &Weights,
    query: &[Word<'_>],
    entry: &[Word<'_>],
    scratch: &mut PairScratch,
) -> Option<Pair> {
    let measure = |side: &[Word<'_>]| {
        side.iter().fold((0, Letters::default()), |(length, letters), word| {
            (length + word.text.len(), letters.with(word.letters))
        })
    };
    if query.len() == entry.len() {
        return None;
    }
    let (asked, listed) = (measure(query), measure(entry));
    if asked.0.abs_diff(listed.0) > 2 || asked.1.apart(listed.1) > weights.edits.len() {
        return None;
    }
    let PairScratch { text, other, work, .. } = scratch;
    for (text, side) in [(&mut *text, query), (&mut *other, entry)] {
        text.clear();
        side.iter().for_each(|word| text.push_str(word.text));
    }
    let (one, other) = (Word::joined(text, asked.1), Word::joined(other, listed.1));
    let loss = joined_loss(weights, &one, &other, work)?;
    let all = |side: &[Word<'_>]| (0..side.len()).fold(0, |bits, at| bits | bit(at));
    Some(Pair { left: all(query), right: all(entry), loss, how: How::Joined })
}

/// Every pair of words that are left over on both sides.
fn conflicts(
    weights: &Weights,
    query: (&[Word<'_>], u32),
    entry: (&[Word<'_>], u32),
    (found, work): (&mut Vec<Pair>, &mut Work),
) {
    found.clear();
    work.spend(work::pairs(query.0.len(), entry.0.len()));
    for (i, one) in query.0.iter().enumerate().filter(|(i, _)| query.1 & bit(*i) == 0) {
        for (j, other) in entry.0.iter().enumerate().filter(|(j, _)| entry.1 & bit(*j) == 0) {
            let most = weights.conflict * one.weight().min(other.weight());
            let loss =
                edits(weights, (one, other), most, work).map_or(most, |(loss, _)| loss.min(most));
            found.push(Pair { left: bit(i), right: bit(j), loss, how: How::Conflict });
        }
    }
}
