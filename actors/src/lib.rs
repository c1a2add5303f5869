//! The supervision tree: thin actor shells around pure cores, and the journal.
//!
//! ```text
//!   Handle ── decide ──> rules pool ──> inference ──> journal ──> Answer
//!      │                     root supervisor (one-for-one)
//!      ├── propose ──> check ──> Log ──> watch ──> publisher ──> swap Arc<ServingState>
//!      └── tree, status, drain
//! ```
//!
//! [`Runtime::start`] opens the state folder and starts the tree; everything else is a method of
//! [`Handle`]. Actors own change, restarts and compute; pure functions of the crates below decide.
//! **No mailbox holds work**: queues are bounded, shared and survive the worker that dies, so that a
//! panic costs one request. No actor, channel or session leaves this crate.

pub mod blobs;
pub mod catalogue;
pub mod clock;
mod core;
mod decide;
mod descriptions;
mod error;
mod gate;
mod gauges;
mod handle;
pub mod inference;
pub mod journal;
pub mod monitoring;
pub mod outbox;
pub mod pool;
pub mod publisher;
pub mod readiness;
mod recording;
mod runtime;
pub mod serving;
pub mod spawn;
pub mod supervisor;
mod window_ages;

pub use decide::{Answer, Timing};
pub use descriptions::describe_metrics;
pub use error::{RuntimeError, StartError};
pub use handle::{
    DecideOptions, Explained, Handle, ModelContributions, NewOutcomeInput, NodeHoldings,
    NodeReadiness, Proposal, Proposed, Readiness, ReplayReport, Rollback, RuntimeStatus, Snapshot,
};
pub use runtime::{Runtime, RuntimeOptions, StartReport};

#[cfg(test)]
mod tests;
