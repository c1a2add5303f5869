//! Which n-grams of a text column are features, and their weights.

use std::collections::HashMap;

use super::ngrams::{Family, for_each_ngram, normalise};

/// N-grams met in training, with their inverse document frequencies.
///
/// Weights are `(1 + ln count) * idf`, and each family is scaled to length 1, as in scikit-learn's
/// `TfidfVectorizer(sublinear_tf=True)` (Salton and Buckley 1988).
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Names in ascending order; a feature is the position here.
    names: Vec<u64>,
    idf: Vec<f32>,
    /// Whether a feature is a word (or pair); characters otherwise.
    word: Vec<bool>,
    slots: Vec<u32>,
}

/// How much of a text the vocabulary knows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Coverage {
    /// N-grams of the text.
    pub total: u32,
    /// Those that are no features.
    pub unseen: u32,
}

/// Marks an empty slot.
const EMPTY: u32 = u32::MAX;

impl Vocabulary {
    /// The n-grams of training texts: those in at least `documents_min` texts, the most frequent
    /// `features_max` of them (ties by name).
    #[must_use]
    pub fn fit<'a>(
        texts: impl Iterator<Item = &'a str>,
        documents_min: u32,
        features_max: usize,
    ) -> Self {
        let mut frequencies: HashMap<u64, (u32, u32)> = HashMap::new();
        let mut documents = 0u32;
        let mut words = std::collections::HashSet::new();
        for text in texts {
            documents += 1;
            for_each_ngram(&normalise(text), |family, name| {
                let (count, last) = frequencies.entry(name).or_insert((0, 0));
                if *last != documents {
                    (*count, *last) = (*count + 1, documents);
                }
                if family == Family::Words {
                    words.insert(name);
                }
            });
        }
        let mut kept: Vec<(u64, u32)> = frequencies
            .into_iter()
            .filter(|(_, (count, _))| *count >= documents_min)
            .map(|(name, (count, _))| (name, count))
            .collect();
        // The map's order is random: everything below depends on sorted order alone.
        kept.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(&right.0)));
        kept.truncate(features_max);
        kept.sort_unstable();
        let idf = |count: u32| (f64::from(1 + documents) / f64::from(1 + count)).ln() + 1.0;
        let names: Vec<u64> = kept.iter().map(|(name, _)| *name).collect();
        let word = names.iter().map(|name| words.contains(name)).collect();
        let idf = kept.iter().map(|(_, count)| idf(*count) as f32).collect();
        Self::assemble(names, idf, word)
    }

    /// A vocabulary from its arrays; `None` unless they are equally long, the names ascend and the
    /// weights are finite.
    #[must_use]
    pub fn from_parts(names: Vec<u64>, idf: Vec<f32>, word: Vec<bool>) -> Option<Self> {
        let sound = names.len() == idf.len()
            && names.len() == word.len()
            && names.len() < EMPTY as usize / 4
            && names.windows(2).all(|pair| pair[0] < pair[1])
            && idf.iter().all(|weight| weight.is_finite());
        sound.then(|| Self::assemble(names, idf, word))
    }

    fn assemble(names: Vec<u64>, idf: Vec<f32>, word: Vec<bool>) -> Self {
        let mut slots = vec![EMPTY; (names.len() * 2).next_power_of_two().max(2)];
        let mask = slots.len() - 1;
        for (feature, name) in names.iter().enumerate() {
            let mut slot = *name as usize & mask;
            while slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            slots[slot] = feature as u32;
        }
        Self { names, idf, word, slots }
    }

    /// Number of features.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The arrays, for a file: names, inverse document frequencies, whether a word.
    #[must_use]
    pub fn parts(&self) -> (&[u64], &[f32], &[bool]) {
        (&self.names, &self.idf, &self.word)
    }

    /// Memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.len() * 13 + self.slots.len() * 4
    }

    fn feature(&self, name: u64) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = name as usize & mask;
        // Half of the slots are empty, so the walk ends.
        while self.slots[slot] != EMPTY {
            let feature = self.slots[slot];
            if self.names[feature as usize] == name {
                return Some(feature);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Appends the features of a text, ascending, with `offset` added, and their weights.
    pub fn encode(
        &self,
        text: &str,
        offset: u32,
        (features, weights): (&mut Vec<u32>, &mut Vec<f32>),
    ) -> Coverage {
        let mut coverage = Coverage::default();
        let mut found: Vec<u32> = Vec::new();
        for_each_ngram(&normalise(text), |_, name| {
            coverage.total += 1;
            match self.feature(name) {
                Some(feature) => found.push(feature),
                None => coverage.unseen += 1,
            }
        });
        found.sort_unstable();
        let first = weights.len();
        let mut squares = [0.0f32; 2];
        for same in found.chunk_by(|left, right| left == right) {
            let feature = same[0] as usize;
            let weight = (1.0 + (same.len() as f32).ln()) * self.idf[feature];
            squares[usize::from(self.word[feature])] += weight * weight;
            features.push(offset + same[0]);
            weights.push(weight);
        }
        let scale = squares.map(|sum| if sum > 0.0 { 1.0 / sum.sqrt() } else { 0.0 });
        for (weight, feature) in weights[first..].iter_mut().zip(&features[first..]) {
            *weight *= scale[usize::from(self.word[(feature - offset) as usize])];
        }
        coverage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(vocabulary: &Vocabulary, text: &str) -> (Vec<u32>, Vec<f32>, Coverage) {
        let (mut features, mut weights) = (Vec::new(), Vec::new());
        let coverage = vocabulary.encode(text, 10, (&mut features, &mut weights));
        (features, weights, coverage)
    }

    #[test]
    fn each_family_has_length_one() {
        let vocabulary = Vocabulary::fit(["red cat", "red dog"].into_iter(), 1, 1_000);
        let (features, weights, coverage) = encode(&vocabulary, "red cat");
        let length: f32 = weights.iter().map(|weight| weight * weight).sum();
        assert!((length - 2.0).abs() < 1e-5);
        assert!(features.windows(2).all(|pair| pair[0] < pair[1]) && features[0] >= 10);
        assert_eq!(coverage.unseen, 0);
        let (features, _, coverage) = encode(&vocabulary, "xyzzy");
        assert_eq!((features.len() as u32, coverage.total - coverage.unseen), (0, 0));
    }

    #[test]
    fn the_most_frequent_are_kept() {
        let texts = ["red cat", "red dog"];
        let all = Vocabulary::fit(texts.into_iter(), 1, 1_000);
        let shared = Vocabulary::fit(texts.into_iter(), 2, 1_000);
        assert!(shared.len() < all.len());
        // "red" and the character n-grams of " red ": 4 + 3 + 2 + 1.
        assert_eq!(shared.len(), 11);
        assert_eq!(Vocabulary::fit(texts.into_iter(), 1, 5).len(), 5);
        assert_eq!(Vocabulary::fit(texts.into_iter(), 1, 11), {
            let (names, _, word) = shared.parts();
            Vocabulary::from_parts(names.to_vec(), shared.idf.clone(), word.to_vec()).unwrap()
        });
    }

    #[test]
    fn arrays_that_are_no_vocabulary_are_refused() {
        let check = |names: &[u64], idf: &[f32], word: &[bool], sound: bool| {
            let parts = Vocabulary::from_parts(names.to_vec(), idf.to_vec(), word.to_vec());
            assert_eq!(parts.is_some(), sound);
        };
        check(&[1, 2], &[1.0, 1.0], &[true, false], true);
        check(&[], &[], &[], true);
        check(&[2, 1], &[1.0, 1.0], &[true, false], false);
        check(&[1, 1], &[1.0, 1.0], &[true, false], false);
        check(&[1], &[f32::NAN], &[true], false);
        check(&[1], &[1.0, 1.0], &[true], false);
        check(&[1], &[1.0], &[], false);
    }
}
