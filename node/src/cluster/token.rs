//! Tokens to join with: one node, one time.
//!
//! The text holds all that a node needs to find the cluster and know it again: addresses, the
//! authority's certificate, and a secret. The catalogue keeps the secret's hash as an object of the
//! kind `member`, so that a token is used up at one revision on every node.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use verdict_config::TimestampMs;
use verdict_config::definition::JOIN_TOKEN_PREFIX;
use verdict_config::model::sha256_hex;

const PREFIX: &str = "vj1_";
/// The longest token.
const TOKEN_CHARS_MAX: usize = 16 << 10;

/// A token as its text says it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// The cluster.
    pub cluster_id: String,
    /// Members that may be asked: id and address.
    pub members: Vec<(u64, String)>,
    /// The certificate of the authority that signs, DER in base64.
    pub authority: String,
    /// Others that are trusted, while one comes or goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Names the token.
    pub id: String,
    /// Proves that it was given.
    pub secret: String,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "JoinToken({} of {})", self.id, self.cluster_id)
    }
}

impl JoinToken {
    /// The token as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads a token; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.trim().strip_prefix(PREFIX)?;
        if encoded.len() > TOKEN_CHARS_MAX {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
    }

    /// The authorities' certificates, DER.
    #[must_use]
    pub fn authorities_der(&self) -> Option<Vec<Vec<u8>>> {
        let texts = std::iter::once(&self.authority).chain(&self.others);
        texts.map(|text| URL_SAFE_NO_PAD.decode(text).ok()).collect()
    }

    /// The certificate as tokens carry it.
    #[must_use]
    pub fn encode_authority(der: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(der)
    }
}

/// What the catalogue keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptToken {
    /// SHA-256 of the secret, hex.
    pub secret_sha256: String,
    /// From this time on it is of no use.
    pub expires: TimestampMs,
    /// Whether the node is to become a voter once it has caught up.
    pub voter: bool,
    /// The node that used it: its id, and the SHA-256 of its public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<(u64, String)>,
    /// The member whose place the node takes once it has caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

/// The name of the object that keeps a token.
#[must_use]
pub fn object_name(token_id: &str) -> String {
    format!("{JOIN_TOKEN_PREFIX}{token_id}")
}

impl KeptToken {
    /// Whether a node may join with it, and the id it was given before if it asks again.
    ///
    /// # Errors
    /// Why not, for the one who asks.
    pub fn admits(
        &self,
        secret: &str,
        public_key: &[u8],
        now: TimestampMs,
    ) -> Result<Option<u64>, &'static str> {
        // Hashes of equal length are compared whole, so that the time taken says nothing.
        let given = sha256_hex(secret.as_bytes());
        let differ =
            given.bytes().zip(self.secret_sha256.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        if differ != 0 || given.len() != self.secret_sha256.len() {
            return Err("the token is not valid here");
        }
        match &self.used_by {
            Some((node_id, key)) if *key == sha256_hex(public_key) => Ok(Some(*node_id)),
            Some(_) => Err("the token was used by another node: make a new one"),
            None if now >= self.expires => Err("the token has expired: make a new one"),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let token = JoinToken {
            cluster_id: "c".to_owned(),
            members: vec![(1, "127.0.0.1:7701".to_owned())],
            authority: JoinToken::encode_authority(&[1, 2, 3]),
            others: vec![JoinToken::encode_authority(&[4])],
            id: "t".to_owned(),
            secret: "s".to_owned(),
        };
        let text = token.to_text();
        assert_eq!(JoinToken::parse(&format!(" {text}\n")), Some(token.clone()));
        assert_eq!(token.authorities_der(), Some(vec![vec![1, 2, 3], vec![4]]));
        for wrong in ["", "vj1_", "vj1_e30", &text[..text.len() - 2], "vj2_AAAA"] {
            assert_eq!(JoinToken::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_node_one_time() {
        let kept = KeptToken {
            secret_sha256: sha256_hex(b"secret"),
            expires: TimestampMs(1_000),
            voter: false,
            used_by: None,
            replaces: None,
        };
        let check = |kept: &KeptToken, secret, key: &[u8], now, expected| {
            assert_eq!(kept.admits(secret, key, TimestampMs(now)).ok(), expected, "{now}");
        };
        check(&kept, "secret", b"key", 999, Some(None));
        check(&kept, "secret", b"key", 1_000, None);
        check(&kept, "another", b"key", 999, None);
        check(&kept, "", b"key", 999, None);
        let used = KeptToken { used_by: Some((4, sha256_hex(b"key"))), ..kept };
        check(&used, "secret", b"key", 999, Some(Some(4)));
        // The one that used it may ask again later: its answer may have been lost.
        check(&used, "secret", b"key", 5_000, Some(Some(4)));
        check(&used, "secret", b"other", 999, None);
        check(&used, "another", b"key", 999, None);
    }
}
