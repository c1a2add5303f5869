//! Countries and identifiers of a query and an entry, and what they make of a score.

use unicode_normalization::UnicodeNormalization;

use super::script::is_invisible;
use super::{NamePart, NameQuery};

/// How far an agreeing country closes the gap to 1.
const COUNTRY_AGREES: f64 = 0.25;
/// What is left of a score if the countries differ.
const COUNTRY_DIFFERS: f64 = 0.92;
/// What is left of a score if the identifiers differ.
const IDENTIFIER_DIFFERS: f64 = 0.90;

/// A query's qualifiers, folded once for all candidates.
pub struct Qualifiers {
    pub country: Option<Box<str>>,
    pub identifier: Option<Box<str>>,
}

/// What the qualifiers make of a score: after the country, and after the identifier; `None` where
/// one of the two sides does not know it.
pub struct Qualified {
    country: Option<(bool, f64)>,
    identifier: Option<(bool, f64)>,
    /// The score in the end.
    pub score: f64,
}

/// The qualifiers of an entry.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    pub countries: Vec<Box<str>>,
    pub identifiers: Vec<Box<str>>,
}

impl Qualifiers {
    /// The qualifiers of a query.
    pub fn new(query: &NameQuery<'_>) -> Self {
        Self {
            country: query.country.and_then(country),
            identifier: query.identifier.and_then(identifier),
        }
    }

    /// What they make of the score of an entry.
    pub fn qualify(&self, entry: &Listed, base: f64) -> Qualified {
        let agrees = |given: &Option<Box<str>>, listed: &[Box<str>]| {
            given.as_ref().filter(|_| !listed.is_empty()).map(|given| listed.contains(given))
        };
        let mut score = base;
        let country = agrees(&self.country, &entry.countries).map(|agrees| {
            score = if agrees {
                score + (1.0 - score) * COUNTRY_AGREES
            } else {
                score * COUNTRY_DIFFERS
            };
            (agrees, score)
        });
        let identifier = agrees(&self.identifier, &entry.identifiers).map(|agrees| {
            score = if agrees { 1.0 } else { score * IDENTIFIER_DIFFERS };
            (agrees, score)
        });
        Qualified { country, identifier, score }
    }

    /// Adds what they made of the score of an entry.
    pub fn explain(&self, entry: &Listed, qualified: &Qualified, parts: &mut Vec<NamePart>) {
        if let Some((agrees, score)) = qualified.country {
            let given = self.country.as_deref().unwrap_or_default();
            let listed = entry.countries.join(", ");
            let detail = if agrees {
                format!("{given} is of {listed}")
            } else {
                format!("{given} is not of {listed}")
            };
            parts.push(NamePart { kind: "country", detail, score });
        }
        if let Some((agrees, score)) = qualified.identifier {
            let detail =
                if agrees { "the identifiers are equal" } else { "the identifiers differ" };
            parts.push(NamePart { kind: "identifier", detail: detail.to_owned(), score });
        }
    }
}

/// A country code in capitals; `None` if there is none.
pub fn country(text: &str) -> Option<Box<str>> {
    let shown: String = text.chars().filter(|char| !is_invisible(*char)).nfkc().collect();
    let text = shown.trim();
    (!text.is_empty()).then(|| text.chars().take(16).flat_map(char::to_uppercase).collect())
}

/// An identifier without punctuation and in capitals; `None` if nothing is left.
pub fn identifier(text: &str) -> Option<Box<str>> {
    let kept = text.nfkc().filter(|char| char.is_alphanumeric()).take(64);
    let folded: String = kept.flat_map(char::to_uppercase).collect();
    (!folded.is_empty()).then(|| folded.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualifiers_fold() {
        assert_eq!(identifier(" gb-123 456/7 ").as_deref(), Some("GB1234567"));
        assert_eq!(identifier("ＧＢ\u{200b}１２"), identifier("gb12"));
        assert_eq!(identifier(" - "), None);
        assert_eq!(country(" d\u{200b}e ").as_deref(), Some("DE"));
        assert_eq!(country(" "), None);
    }
}
