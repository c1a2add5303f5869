//! Signed requests that another node took and forwarded to the leader. Pure.
//!
//! The node that an operator connects to checks a request and remembers its nonce. The leader believes
//! nothing that this node says, so it checks the signature and the times again. It does not refuse a
//! nonce that it saw: one request may lead to several steps. Each step must be what was signed.

use verdict_config::{Code, TimestampMs};

use crate::admission::{Admitted, CLOCK_SLACK_MS, OperatorKey};
use crate::envelope::{EnvelopeFault, UnverifiedRequest, VALID_MS_MAX};

/// How long after its expiry a request may reach the leader: the node that took it works on it for at
/// most this time.
pub const FORWARD_WITHIN_MS: i64 = 60_000;

/// The way of a request to the leader.
#[derive(Debug, Clone, Copy)]
pub struct ForwardedBy<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// The node that forwards the request: the operator must have signed it for this node.
    pub node_id: u64,
    /// The leader's time.
    pub now: TimestampMs,
}

/// Checks a request that a node forwarded. `find` gives the key of a name as the leader's catalogue
/// has it.
///
/// # Errors
/// A request that is not signed by a known key, is for another node or cluster, or has expired.
pub fn verify_forwarded(
    sealed: &[u8],
    by: ForwardedBy<'_>,
    find: impl Fn(&str) -> Option<OperatorKey>,
) -> Result<Admitted, EnvelopeFault> {
    let request = UnverifiedRequest::read(sealed)?;
    let claims = request.claims();
    if claims.cluster_id != by.cluster_id || claims.node_id != by.node_id {
        let detail = format!("the request was signed for another node than node {}", by.node_id);
        return Err(EnvelopeFault::new(Code::EnvelopeForeign, detail));
    }
    let (issued, expires, now) = (claims.issued_at.0, claims.expires_at.0, by.now.0);
    let valid = expires.saturating_sub(issued);
    let in_time = (1..=VALID_MS_MAX).contains(&valid)
        && now < expires.saturating_add(FORWARD_WITHIN_MS)
        && issued <= now.saturating_add(CLOCK_SLACK_MS);
    if !in_time {
        let detail = "the signed request has expired, or is not valid yet";
        return Err(EnvelopeFault::new(Code::EnvelopeExpired, detail));
    }
    let key = find(&claims.key).filter(|key| key.expires.is_none_or(|end| by.now < end));
    let key = key.ok_or_else(|| {
        let detail = "the leader does not know the key that signed the request, or no longer";
        EnvelopeFault::new(Code::OperatorUnknown, detail)
    })?;
    let envelope = request.verify(&key.public_key)?;
    Ok(Admitted { envelope, key })
}
