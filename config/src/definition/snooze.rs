//! Snoozes: a rule that is not to count for one unit until some time.
//!
//! Objects of the kind `setting` whose names begin with `snooze-`. The unit itself never enters the
//! catalogue, only a salted hash of it: see [`hash_unit`].

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::name::is_plain_name;
use crate::{Code, Fault, Faults, TimestampMs};

/// What names of snoozes begin with.
pub const SNOOZE_PREFIX: &str = "snooze-";
/// The most snoozes of a catalogue, those that have expired and were not removed included.
pub const SNOOZES_MAX: usize = 1_000;
/// The most salts that the snoozes of one flow may use: a decision hashes its unit once for each.
pub const SNOOZE_SALTS_MAX: usize = 8;
/// The longest comment in characters.
pub const SNOOZE_COMMENT_MAX: usize = 512;
/// Hexadecimal digits of a salt.
pub const SNOOZE_SALT_DIGITS: usize = 32;

/// A rule that is not to count for one unit until some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnoozeDefinition {
    /// The flow whose decisions it is for.
    pub flow: String,
    /// The rule set, which is written for that flow.
    pub rule_set: String,
    /// The rule's id in the set.
    pub rule: String,
    /// 32 hexadecimal digits in lower case, drawn at random.
    pub salt: String,
    /// [`hash_unit`] of the unit, 64 hexadecimal digits in lower case.
    pub unit_hash: String,
    /// From this time on the rule counts again.
    pub until: TimestampMs,
    /// Why.
    pub comment: String,
}

/// The hash that stands for a unit: SHA-256 of the text `verdict-snooze-1:SALT:FLOW:UNIT`.
#[must_use]
pub fn hash_unit(salt: &str, flow: &str, unit: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in ["verdict-snooze-1", salt, flow] {
        hasher.update(part.as_bytes());
        hasher.update(b":");
    }
    hasher.update(unit.as_bytes());
    hasher.finalize().into()
}

impl SnoozeDefinition {
    /// Whether a setting of this name is a snooze.
    #[must_use]
    pub fn is_named(name: &str) -> bool {
        name.starts_with(SNOOZE_PREFIX)
    }

    /// The hash as bytes; none where it is no hash.
    #[must_use]
    pub fn hash_bytes(&self) -> Option<[u8; 32]> {
        hex::decode(&self.unit_hash).ok()?.try_into().ok()
    }

    /// What is wrong beyond the types, whatever the time and the rest of the catalogue.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        let names = [("flow", &self.flow), ("rule_set", &self.rule_set), ("rule", &self.rule)];
        for (path, name) in names.into_iter().filter(|(_, name)| !is_plain_name(name)) {
            let message = format!("{name:?}: {}", Code::InvalidName.advice());
            faults.push(Fault::new(Code::InvalidName, path, message));
        }
        let digits = [("salt", &self.salt, SNOOZE_SALT_DIGITS), ("unit_hash", &self.unit_hash, 64)];
        for (path, text, count) in digits {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if text.len() != count || !text.bytes().all(is_hex) {
                let message = format!("expected {count} hexadecimal digits in lower case");
                faults.push(Fault::new(Code::InvalidValue, path, message));
            }
        }
        if self.comment.trim().is_empty() {
            let message = "say why: whoever reads the audit wants to know";
            faults.push(Fault::new(Code::InvalidValue, "comment", message));
        } else if self.comment.chars().count() > SNOOZE_COMMENT_MAX {
            let message = format!("a comment has at most {SNOOZE_COMMENT_MAX} characters");
            faults.push(Fault::new(Code::LimitExceeded, "comment", message));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn body() -> Json {
        json!({ "flow": "payment", "rule_set": "fraud", "rule": "large", "salt": "0a".repeat(16),
            "unit_hash": "0b".repeat(32), "until": "2030-01-01T00:00:00Z", "comment": "case 7" })
    }

    #[test]
    fn a_snooze_is_checked() {
        let check = |key: &str, value: Json, code: Code| {
            let mut changed = body();
            changed[key] = value;
            let snooze: SnoozeDefinition = serde_json::from_value(changed).unwrap();
            let faults = snooze.faults();
            let found: Vec<_> = faults.iter().map(|f| (f.path.as_str(), f.code)).collect();
            assert_eq!(found, [(key, code)]);
        };
        let right: SnoozeDefinition = serde_json::from_value(body()).unwrap();
        assert!(right.faults().is_empty() && right.hash_bytes() == Some([0x0b; 32]));
        for key in ["flow", "rule_set", "rule"] {
            check(key, json!("Not Plain"), Code::InvalidName);
        }
        check("salt", json!("0A".repeat(16)), Code::InvalidValue);
        check("salt", json!("0a"), Code::InvalidValue);
        check("unit_hash", json!("the unit itself"), Code::InvalidValue);
        check("comment", json!("  "), Code::InvalidValue);
        check("comment", json!("x".repeat(513)), Code::LimitExceeded);
        let mut more = body();
        more["unit"] = json!("the unit itself");
        assert!(serde_json::from_value::<SnoozeDefinition>(more).is_err());
    }

    #[test]
    fn the_hash_is_the_one_that_the_docs_promise() {
        let hash = hash_unit("00112233445566778899aabbccddeeff", "payment", "card-1");
        let text = b"verdict-snooze-1:00112233445566778899aabbccddeeff:payment:card-1";
        let plain: [u8; 32] = Sha256::digest(text).into();
        assert_eq!(hash, plain);
        assert_ne!(hash, hash_unit("00112233445566778899aabbccddeeff", "merchant", "card-1"));
    }
}
