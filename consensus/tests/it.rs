//! Integration tests of the state machine, the local log and the replicated log.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests too")]

#[path = "it/admission.rs"]
mod admission;
#[path = "it/apply.rs"]
mod apply;
#[path = "it/clocks.rs"]
mod clocks;
#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/history.rs"]
mod history;
#[path = "it/kill.rs"]
mod kill;
#[path = "it/local_log.rs"]
mod local_log;
#[path = "it/properties.rs"]
mod properties;
#[path = "it/raft.rs"]
mod raft;
#[path = "it/raft_kill.rs"]
mod raft_kill;
#[path = "it/raft_power.rs"]
mod raft_power;
#[path = "it/raft_storage.rs"]
mod raft_storage;
#[path = "it/references.rs"]
mod references;
#[path = "it/semantics.rs"]
mod semantics;
#[path = "it/snapshots.rs"]
mod snapshots;
#[path = "it/snoozes.rs"]
mod snoozes;
#[path = "it/support.rs"]
mod support;
