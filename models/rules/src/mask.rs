//! Which rules of a set are switched off or snoozed for one request.

/// A set of rules by position; the empty mask costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleMask {
    words: Vec<u64>,
}

impl RuleMask {
    /// No rule.
    #[must_use]
    pub const fn none() -> Self {
        Self { words: Vec::new() }
    }

    /// Adds a rule.
    pub fn insert(&mut self, rule: u32) {
        let word = rule as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (rule % 64);
    }

    /// Removes every rule and keeps the memory.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Whether a rule is in it.
    #[must_use]
    pub fn contains(&self, rule: u32) -> bool {
        self.words.get(rule as usize / 64).is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    /// Whether no rule is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Its rules in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0u32..).flat_map(|(word, position)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| position * 64 + bit)
        })
    }
}

impl FromIterator<u32> for RuleMask {
    fn from_iter<I: IntoIterator<Item = u32>>(rules: I) -> Self {
        let mut mask = Self::none();
        rules.into_iter().for_each(|rule| mask.insert(rule));
        mask
    }
}
