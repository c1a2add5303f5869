//! What a caller gets.

use std::sync::Arc;

use verdict_config::definition::Outcome;

/// A decision as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The decision's id.
    pub decision_id: Arc<str>,
    /// The revision it was decided under.
    pub revision: u64,
    /// What to do.
    pub outcome: Outcome,
    /// The answer's JSON, as it was recorded.
    pub json: Vec<u8>,
    /// Whether this is the first answer to a request that was sent again.
    pub repeated: bool,
}
