//! What goes into the journal and what comes out.

use verdict_config::definition::Outcome;
use verdict_config::{TimestampMs, Value};
use verdict_rules::WindowRead;

use super::DecisionId;
pub use super::events::SeriesId;
pub use super::requests::RequestGuard;

/// A record to be written.
#[derive(Debug)]
pub struct NewRecord<'a> {
    /// Its id, from [`Journal::next_id`](super::Journal::next_id).
    pub id: DecisionId,
    /// When the request came in.
    pub at: TimestampMs,
    /// The flow.
    pub flow: &'a str,
    /// The outcome.
    pub outcome: Outcome,
    /// Reason codes; at most 256 are searchable.
    pub reasons: &'a [std::sync::Arc<str>],
    /// A test: found only when asked for, never counted in windows.
    pub test: bool,
    /// The reservation of its `request_id`.
    pub request: Option<RequestGuard>,
    /// The unit whose key the sensitive part is encrypted under; the node's own key if absent
    /// (such a part cannot be erased, and goes with the segment).
    pub unit: Option<&'a str>,
    /// The open part, in any form.
    pub open: &'a [u8],
    /// The sensitive part, in any form.
    pub sensitive: Option<&'a [u8]>,
    /// What it adds to windows.
    pub window_events: &'a [NewWindowEvent<'a>],
}

/// What a decision adds to one window.
#[derive(Debug, Clone, Copy)]
pub struct NewWindowEvent<'a> {
    /// The window.
    pub read: &'a WindowRead,
    /// Its series for the value of its key field, from
    /// [`Journal::series`](super::Journal::series).
    pub series: SeriesId,
    /// The value of its value field.
    pub value: Option<&'a Value>,
    /// The decision's `as_of`.
    pub at: TimestampMs,
}

/// A record that was written; when it is durable, [`Journal::synced`](super::Journal::synced) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Bytes written to the journal up to its end, since the start.
    pub(crate) position: u64,
}

/// The sensitive part of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sensitive {
    /// There was none.
    None,
    /// As it was written.
    Plain(Vec<u8>),
    /// Its unit was erased.
    Erased,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its id.
    pub id: DecisionId,
    /// When its request came in.
    pub at: TimestampMs,
    /// The flow.
    pub flow: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Whether it was a test.
    pub test: bool,
    /// The open part.
    pub open: Vec<u8>,
    /// The sensitive part.
    pub sensitive: Sensitive,
}

/// Who has a `request_id`.
#[derive(Debug)]
pub enum Reservation {
    /// Nobody had: hand the guard to the record, or drop it to give the id back.
    New(RequestGuard),
    /// A decision of this id; `same_body`: of an equal body.
    Known {
        /// The first decision.
        id: DecisionId,
        /// Whether its body was equal.
        same_body: bool,
    },
    /// A request that is being decided right now.
    InFlight {
        /// Whether its body is equal.
        same_body: bool,
        /// Ends when that request has ended; reserve again then.
        ended: tokio::sync::watch::Receiver<()>,
    },
}

/// What an outcome is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeTarget<'a> {
    /// A decision.
    Decision(DecisionId),
    /// A unit.
    Unit(&'a str),
}

/// An outcome to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutcome {
    /// The client's id: one id counts once.
    pub id: String,
    /// The decision, or else the unit, that it is of.
    pub decision: Option<DecisionId>,
    /// The unit, where no decision is named.
    pub unit: Option<String>,
    /// The outcome, in any form; at most 64 KiB.
    pub body: Vec<u8>,
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeState {
    /// It is written and durable.
    Recorded,
    /// It was there already.
    Repeated,
    /// Its id was there already with another body; nothing is written.
    Conflict,
}

/// An outcome that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOutcome {
    /// The client's id.
    pub id: String,
    /// The outcome as it was written.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: TimestampMs,
}
