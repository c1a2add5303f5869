//! API keys that the catalogue holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::is_plain_name;
use crate::settings::Role;
use crate::{Code, Fault, Faults, TimestampMs};

/// The most flows that a key may name.
pub const KEY_FLOWS_MAX: usize = 256;
/// The longest comment of a key in characters.
pub const KEY_COMMENT_MAX: usize = 512;

/// An API key: never itself, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyDefinition {
    /// What the key may do.
    pub role: Role,
    /// SHA-256 of an API key, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// An operator's Ed25519 public key instead, 64 hexadecimal digits: its owner signs requests to
    /// admin actors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Whose it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The flows that the key may ask for decisions, and change; all of them, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Vec<String>>,
    /// The regions whose flags the key may change; everything everywhere, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
    /// From when on the key is no longer accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<TimestampMs>,
}

impl KeyDefinition {
    /// What is wrong beyond the types.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        let is_digest =
            |text: &str| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        match (&self.hash, &self.public_key) {
            (Some(hash), None) if !is_digest(hash) => {
                let message = "expected the key's SHA-256: 64 hexadecimal digits";
                faults.push(Fault::new(Code::InvalidValue, "hash", message));
            }
            (None, Some(key)) if !is_digest(key) => {
                let message = "expected an Ed25519 public key: 64 hexadecimal digits";
                faults.push(Fault::new(Code::InvalidValue, "public_key", message));
            }
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) | (Some(_), Some(_)) => {
                let message = "expected either hash (an API key) or public_key (an operator's)";
                faults.push(Fault::new(Code::InvalidValue, "hash", message));
            }
        }
        let regions = self.regions.as_deref().unwrap_or_default();
        if regions.len() > KEY_FLOWS_MAX {
            let message = format!("a key names at most {KEY_FLOWS_MAX} regions");
            faults.push(Fault::new(Code::LimitExceeded, "regions", message));
        }
        if self.comment.as_ref().is_some_and(|text| text.chars().count() > KEY_COMMENT_MAX) {
            let message = format!("a comment has at most {KEY_COMMENT_MAX} characters");
            faults.push(Fault::new(Code::LimitExceeded, "comment", message));
        }
        let flows = self.flows.as_deref().unwrap_or_default();
        if flows.len() > KEY_FLOWS_MAX {
            let message = format!("a key names at most {KEY_FLOWS_MAX} flows");
            faults.push(Fault::new(Code::LimitExceeded, "flows", message));
        }
        for (position, flow) in flows.iter().enumerate().take(KEY_FLOWS_MAX) {
            if !is_plain_name(flow) {
                let path = format!("flows[{position}]");
                let message = format!("{flow:?} is no name of a flow");
                faults.push(Fault::new(Code::InvalidName, path, message));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: serde_json::Value, expected: &[&str]) {
        let key: KeyDefinition = serde_json::from_value(body).unwrap();
        let paths: Vec<String> = key.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_key_is_checked() {
        let hash = "0123456789abcdefABCDEF0123456789".repeat(2);
        check(json!({ "role": "decider", "hash": hash }), &[]);
        let whole = json!({ "role": "operator", "hash": hash, "comment": "the shop",
            "flows": ["payment"], "expires": "2030-01-01T00:00:00Z" });
        check(whole, &[]);
        check(json!({ "role": "viewer", "hash": "abc" }), &["hash"]);
        check(json!({ "role": "viewer", "public_key": hash, "regions": ["eu"] }), &[]);
        check(json!({ "role": "viewer", "public_key": "abc" }), &["public_key"]);
        check(json!({ "role": "viewer", "hash": hash, "public_key": hash }), &["hash"]);
        check(json!({ "role": "viewer" }), &["hash"]);
        check(json!({ "role": "viewer", "hash": "g".repeat(64) }), &["hash"]);
        let flows: Vec<String> = (0..300).map(|n| format!("Flow {n}")).take(257).collect();
        let key =
            json!({ "role": "viewer", "hash": hash, "flows": flows, "comment": "x".repeat(513) });
        let key: KeyDefinition = serde_json::from_value(key).unwrap();
        assert_eq!(key.faults().len(), 2 + KEY_FLOWS_MAX);
    }

    #[test]
    fn roles_and_members_that_do_not_exist_are_refused() {
        for body in [json!({ "role": "king", "hash": "" }), json!({ "hash": "" })] {
            assert!(serde_json::from_value::<KeyDefinition>(body).is_err());
        }
        let body = json!({ "role": "viewer", "hash": "", "key": "secret" });
        assert!(serde_json::from_value::<KeyDefinition>(body).is_err());
    }
}
