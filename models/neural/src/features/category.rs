//! Categories as one feature each.

use std::collections::BTreeMap;

/// The categories of one column that training saw.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryValues {
    /// Ascending.
    pub values: Vec<String>,
    /// The most frequent one; `None` when most rows have none.
    pub typical: Option<String>,
}

/// Categories of a column at most; rarer ones are read as "other".
pub const CATEGORIES_MAX: usize = 4_096;

impl CategoryValues {
    /// The categories that at least `rows_min` rows have.
    #[must_use]
    pub fn fit<'a>(values: impl Iterator<Item = Option<&'a str>>, rows_min: usize) -> Self {
        let mut counts = BTreeMap::<Option<&str>, usize>::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        let typical = counts
            .iter()
            .max_by(|left, right| left.1.cmp(right.1).then(right.0.cmp(left.0)))
            .and_then(|(value, _)| value.map(str::to_owned));
        let mut kept: Vec<(&str, usize)> = counts
            .iter()
            .filter_map(|(value, count)| value.map(|value| (value, *count)))
            .filter(|(_, count)| *count >= rows_min)
            .collect();
        kept.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        kept.truncate(CATEGORIES_MAX);
        let mut values: Vec<String> = kept.into_iter().map(|(value, _)| value.to_owned()).collect();
        values.sort();
        Self { values, typical }
    }

    /// Whether the categories ascend.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.values.len() <= CATEGORIES_MAX && self.values.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// Features: one a category, one for others, one for "missing".
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() + 2
    }

    /// The feature of a value.
    #[must_use]
    pub fn feature(&self, value: Option<&str>) -> usize {
        match value {
            None => self.values.len() + 1,
            Some(value) => self
                .values
                .binary_search_by(|known| known.as_str().cmp(value))
                .unwrap_or(self.values.len()),
        }
    }

    /// Whether training never (or too rarely) saw the value.
    #[must_use]
    pub fn is_unknown(&self, value: Option<&str>) -> bool {
        value.is_some() && self.feature(value) == self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_their_own_features() {
        let seen = [Some("b"), Some("a"), Some("b"), None, Some("rare")];
        let values = CategoryValues::fit(seen.into_iter(), 1);
        assert_eq!(values.values, ["a", "b", "rare"]);
        assert_eq!(values.typical.as_deref(), Some("b"));
        assert_eq!([Some("a"), Some("zzz"), None].map(|value| values.feature(value)), [0, 3, 4]);
        assert!(values.is_unknown(Some("zzz")) && !values.is_unknown(None));
        let frequent = CategoryValues::fit(seen.into_iter(), 2);
        assert_eq!(frequent.values, ["b"]);
        assert_eq!(CategoryValues::fit(std::iter::empty(), 1).len(), 2);
    }
}
