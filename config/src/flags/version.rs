//! `sem_ver`: versions as flagd reads them, and their comparisons.

use std::cmp::Ordering;

/// A semantic version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(semver::Version);

impl Version {
    /// Reads `1.2.3-pre+build`, also after one `v` or `V`, and the short forms `1` and `1.2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        match plain_version(text) {
            Some(version) => Some(Self(version)),
            None => semver::Version::parse(text).ok().map(Self),
        }
    }

    /// Whether `self OPERATOR other` holds, build metadata ignored; none for an unknown operator.
    /// `^` compares major versions, `~` major and minor ones.
    #[must_use]
    pub fn compare(&self, operator: &str, other: &Self) -> Option<bool> {
        let order = self.0.cmp_precedence(&other.0);
        Some(match operator {
            "=" => order == Ordering::Equal,
            "!=" => order != Ordering::Equal,
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            ">=" => order != Ordering::Less,
            "^" => self.0.major == other.0.major,
            "~" => self.0.major == other.0.major && self.0.minor == other.0.minor,
            _ => return None,
        })
    }
}

/// Whether a text is a full semantic version as semver.org writes it.
#[must_use]
pub fn is_full_version(text: &str) -> bool {
    semver::Version::parse(text).is_ok()
}

/// The operators of `sem_ver`.
pub const VERSION_OPERATORS: [&str; 8] = ["=", "!=", ">", "<", ">=", "<=", "~", "^"];

/// `1`, `1.2` and `1.2.3`; of full versions only those without leading zeros are versions.
fn plain_version(text: &str) -> Option<semver::Version> {
    let mut parts = text.split('.');
    let major = parts.next()?;
    let (minor, patch) = (parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let number = |part: &str| {
        let digits = (1..=19).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let padded = patch.is_some() && part.len() > 1 && part.starts_with('0');
        (digits && !padded).then(|| part.bytes().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
    };
    let or_zero = |part: Option<&str>| part.map_or(Some(0), number);
    Some(semver::Version::new(number(major)?, or_zero(minor)?, or_zero(patch)?))
}
