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
        if let Ok(version) = semver::Version::parse(text) {
            return Some(Self(version));
        }
        let mut parts = text.split('.');
        let major = plain_number(parts.next()?)?;
        let minor = match parts.next() {
            Some(minor) => plain_number(minor)?,
            None => 0,
        };
        parts.next().is_none().then(|| Self(semver::Version::new(major, minor, 0)))
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

fn plain_number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}
