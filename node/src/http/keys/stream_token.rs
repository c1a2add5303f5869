//! Tokens in the addresses of event streams.
//!
//! Browsers cannot send a header with the request for an event stream, so its address carries what
//! lets it in: a MAC of the day under the key's digest. It opens streams of flag events and nothing
//! else, names no key, holds for one to two days, and ends with the key. Every node that accepts the
//! key accepts the token.

use sha2::{Digest, Sha256};
use verdict_config::TimestampMs;

use super::{Answer, Caller, KeyRing, KnownKey, equal, unknown};

const DAY_MS: i64 = 86_400_000;
const TOKEN_BYTES: usize = 16;
const PURPOSE: &[u8] = b"verdict flag events 1";
/// SHA-256 works in blocks of so many bytes.
const BLOCK_BYTES: usize = 64;

type Token = [u8; TOKEN_BYTES];

const fn day_of(at: TimestampMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

impl KnownKey {
    fn stream_token(&self, day: i64) -> Token {
        let mac = hmac_sha256(&self.entry.digest, &[PURPOSE, &day.to_le_bytes()]);
        let mut token = [0; TOKEN_BYTES];
        token.copy_from_slice(&mac[..TOKEN_BYTES]);
        token
    }
}

impl Caller {
    /// What lets the caller into event streams.
    pub(crate) fn stream_token(&self, at: TimestampMs) -> Option<String> {
        Some(hex::encode(self.known.stream_token(day_of(at))))
    }
}

impl KeyRing {
    /// Finds the caller of an event stream by its token, of today or yesterday.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`](verdict_config::Code::Unauthenticated).
    pub(crate) fn by_stream_token(&self, token: &str, at: TimestampMs) -> Answer<Caller> {
        let mut presented = [0; TOKEN_BYTES];
        hex::decode_to_slice(token, &mut presented).map_err(|_| unknown())?;
        let today = day_of(at);
        let accepted = |key: &KnownKey| {
            let (newer, older) = (key.stream_token(today), key.stream_token(today - 1));
            equal(&newer, &presented) | equal(&older, &presented)
        };
        self.select(accepted).map(|key| Caller::of(&key)).ok_or_else(unknown)
    }
}

/// HMAC (RFC 2104) with SHA-256 over the parts, one after the other, for keys of one block at most.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_BYTES];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let mut inner = Sha256::new();
    inner.update(padded(0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(padded(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use verdict_config::settings::Role;

    use super::super::{KeyEntry, digest};
    use super::*;

    /// RFC 4231, case 1; its key of 20 bytes is padded with zeros, as HMAC itself does.
    #[test]
    fn the_mac_is_that_of_the_standard() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let mac = hex::encode(hmac_sha256(&key, &[b"Hi ", b"There"]));
        assert_eq!(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn a_token_lets_its_key_in_for_a_day_or_two() {
        let entry =
            |name: &str| KeyEntry { name: name.into(), role: Role::Decider, digest: digest(name) };
        let ring = KeyRing::new(vec![entry("shop"), entry("desk")]);
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("x-api-key", "desk".parse().unwrap());
        let caller = ring.authenticate(&headers).unwrap();
        let made = TimestampMs(100 * DAY_MS + 5);
        let token = caller.stream_token(made).unwrap();
        let enters = |ring: &KeyRing, token: &str, at: i64| {
            ring.by_stream_token(token, TimestampMs(at)).ok().map(|caller| caller.name)
        };
        assert_eq!(enters(&ring, &token, made.0).as_deref(), Some("desk"));
        assert_eq!(enters(&ring, &token, made.0 + DAY_MS).as_deref(), Some("desk"));
        assert_eq!(enters(&ring, &token, made.0 + 2 * DAY_MS), None);
        assert_eq!(enters(&ring, &token, made.0 - DAY_MS), None);
        assert_eq!(enters(&ring, &token[2..], made.0), None);
        assert_eq!(enters(&ring, "", made.0), None);
        assert_eq!(enters(&KeyRing::new(vec![entry("shop")]), &token, made.0), None);
    }
}
