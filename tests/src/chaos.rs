//! Faults against a cluster of real processes, and what must hold whatever they do.
//!
//! ```text
//!  schedule(seed) ──> perform ──kill, stop──────────> node processes <──dial── links (one a pair)
//!     pure               └────cut, delay, corrupt───────────────────────────────^
//!  load: changes, decisions, reads, watchers ──HTTP──> any node
//!     └──every call with its times──> history ──> oracle(history, pure state machine) ──> violations
//! ```
//!
//! The oracle knows the history and the pure cores (`verdict_consensus::apply`, flows), and nothing of
//! a node. An episode has a cluster of its own; a long run is many of them, each with its own seed.

pub mod catalogue;
pub mod cluster;
pub mod episode;
pub mod history;
pub mod http;
pub mod links;
pub mod load;
pub mod oracle;
pub mod perform;
pub mod schedule;
