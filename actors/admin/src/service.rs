//! What a node gives the admin actor: keys, an implementation, and an ear for refusals.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::{Code, TimestampMs};

use crate::admission::OperatorKey;
use crate::request::Request;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: String,
    /// What is wrong, for people.
    pub detail: String,
    /// What exactly, where there are several things.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<serde_json::Value>,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), detail: detail.into(), faults: Vec::new() }
    }
}

/// The body of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was asked for, and the revision that the node served.
    Done {
        /// The revision.
        revision: u64,
        /// JSON.
        answer: serde_json::Value,
        /// [`trust_digest`](crate::trust_digest) of the authorities that the node trusts, so that a
        /// key file of before is noticed; empty from a program that does not say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        trust: String,
    },
    /// Why not.
    Refused(Refusal),
}

/// A request under way.
pub type AnswerFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// The origin of a request.
#[derive(Debug, Clone)]
pub struct RequestOrigin {
    /// Where its connection came from.
    pub from: Option<IpAddr>,
    /// The signed request as it came in: the proof for a leader elsewhere.
    pub sealed: Arc<[u8]>,
}

/// The node behind an admin actor.
pub trait AdminService: Send + Sync + 'static {
    /// The operator's key of a name, as the catalogue has it now.
    fn operator(&self, name: &str) -> Option<OperatorKey>;

    /// Does what an operator who proved to be one asks for, as far as its role and scope go.
    fn perform(
        &self,
        operator: OperatorKey,
        origin: RequestOrigin,
        request: Request,
    ) -> AnswerFuture<'_>;

    /// Hears of every request that was refused before it was performed.
    fn refused(&self, key: Option<&str>, code: Code, detail: &str);

    /// The time.
    fn now(&self) -> TimestampMs;
}
