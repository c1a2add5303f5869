//! Which requests are let in: everything that is checked before a request is looked into. Pure.
//!
//! ```text
//! bytes -> read -> cluster, node -> times -> key known? -> signature -> nonce unseen -> request
//! ```
//!
//! Cheap checks come first; a nonce is remembered only of requests that a known key signed, so that
//! strangers cannot fill the memory of nonces.

use std::collections::{BTreeMap, BTreeSet};

use verdict_config::settings::Role;
use verdict_config::{Code, TimestampMs};

use crate::envelope::{EnvelopeFault, RequestEnvelope, UnverifiedRequest, VALID_MS_MAX};

/// Clocks of operators and nodes may differ by so much.
pub const CLOCK_SLACK_MS: i64 = 30_000;
/// Nonces that are remembered of one key.
const NONCES_OF_KEY_MAX: usize = 4_096;
/// Nonces that are remembered in all.
const NONCES_MAX: usize = 65_536;

/// A key of an operator, as the catalogue holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorKey {
    /// Its name.
    pub name: String,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// What it may do.
    pub role: Role,
    /// The flows it is for; all, if absent.
    pub flows: Option<Vec<String>>,
    /// The regions it is for; all, if absent.
    pub regions: Option<Vec<String>>,
    /// From when on it is not accepted.
    pub expires: Option<TimestampMs>,
}

/// Who answers, and since when.
#[derive(Debug, Clone)]
pub struct Answering {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: u64,
    /// When the node started: what was signed before is refused, because its nonces are forgotten.
    pub started_at: TimestampMs,
}

/// A request that was let in.
#[derive(Debug)]
pub struct Admitted {
    /// What was signed.
    pub envelope: RequestEnvelope,
    /// By whom.
    pub key: OperatorKey,
}

/// Why a request was not let in, with the key that it names if that is known here.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub fault: EnvelopeFault,
    /// The known key that the request names. Nobody proved to be it, unless the signature was right.
    pub key: Option<String>,
    /// The nonce, where one could be read: the answer repeats it.
    pub nonce: [u8; 16],
}

/// Lets requests in or refuses them, and remembers nonces.
#[derive(Debug)]
pub struct Admission {
    answering: Answering,
    nonces: NonceMemory,
}

impl Admission {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(answering: Answering) -> Self {
        Self { answering, nonces: NonceMemory::default() }
    }

    /// Looks at a request at a time. `find` gives the key of a name, as the catalogue has it now.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admit(
        &mut self,
        bytes: &[u8],
        now: TimestampMs,
        find: impl Fn(&str) -> Option<OperatorKey>,
    ) -> Result<Admitted, Refused> {
        let unread = |fault| Refused { fault, key: None, nonce: [0; 16] };
        let request = UnverifiedRequest::read(bytes).map_err(unread)?;
        let claims = request.claims();
        let nonce = claims.nonce;
        let key = find(&claims.key);
        let known = key.as_ref().map(|key| key.name.clone());
        let refused = |fault| Refused { fault, key: known.clone(), nonce };
        self.check_claims(claims, now).map_err(refused)?;
        let unknown = || {
            EnvelopeFault::new(
                Code::OperatorUnknown,
                format!("the key {:?} is not known here, or no longer", short(&claims.key)),
            )
        };
        let key = key.filter(|key| key.expires.is_none_or(|expires| now < expires));
        let key = key.ok_or_else(unknown).map_err(refused)?;
        let envelope = request.verify(&key.public_key).map_err(refused)?;
        self.nonces.remember(&key.name, nonce, envelope.expires_at, now).map_err(refused)?;
        Ok(Admitted { envelope, key })
    }

    fn check_claims(
        &self,
        claims: &RequestEnvelope,
        now: TimestampMs,
    ) -> Result<(), EnvelopeFault> {
        let here = &self.answering;
        if claims.cluster_id != here.cluster_id || claims.node_id != here.node_id {
            let detail =
                format!("this is node {} of the cluster {}", here.node_id, here.cluster_id);
            return Err(EnvelopeFault::new(Code::EnvelopeForeign, detail));
        }
        let (issued, expires) = (claims.issued_at.0, claims.expires_at.0);
        let expired = |detail: &str| Err(EnvelopeFault::new(Code::EnvelopeExpired, detail));
        if expires.saturating_sub(issued) > VALID_MS_MAX || expires <= issued {
            return expired("a request is valid for at most two minutes after it was signed");
        }
        if now.0 >= expires {
            return expired("the request has expired");
        }
        if issued > now.0.saturating_add(CLOCK_SLACK_MS) {
            return expired("the request was signed in the future: the clocks differ");
        }
        if issued < here.started_at.0 {
            return expired("the request was signed before this node started");
        }
        Ok(())
    }
}

/// A name for a message: what strangers send is cut.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// The nonces that could still be replayed.
#[derive(Debug, Default)]
struct NonceMemory {
    by_expiry: BTreeSet<(TimestampMs, String, [u8; 16])>,
    by_key: BTreeMap<String, BTreeSet<[u8; 16]>>,
}

impl NonceMemory {
    fn remember(
        &mut self,
        key: &str,
        nonce: [u8; 16],
        expires_at: TimestampMs,
        now: TimestampMs,
    ) -> Result<(), EnvelopeFault> {
        self.forget(now);
        let of_key = self.by_key.get(key);
        if of_key.is_some_and(|nonces| nonces.contains(&nonce)) {
            let detail = "a request with this nonce was answered before";
            return Err(EnvelopeFault::new(Code::EnvelopeReplayed, detail));
        }
        let crowded = of_key.is_some_and(|nonces| nonces.len() >= NONCES_OF_KEY_MAX);
        if crowded || self.by_expiry.len() >= NONCES_MAX {
            let detail = "too many requests within their time of validity; wait two minutes";
            return Err(EnvelopeFault::new(Code::Overloaded, detail));
        }
        self.by_key.entry(key.to_owned()).or_default().insert(nonce);
        self.by_expiry.insert((expires_at, key.to_owned(), nonce));
        Ok(())
    }

    /// Forgets what has expired: such requests are refused for their time.
    fn forget(&mut self, now: TimestampMs) {
        while self.by_expiry.first().is_some_and(|(expires, ..)| *expires <= now) {
            let Some((_, key, nonce)) = self.by_expiry.pop_first() else { return };
            if let Some(nonces) = self.by_key.get_mut(&key) {
                nonces.remove(&nonce);
                if nonces.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }
}
