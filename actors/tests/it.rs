//! Integration tests of the actors.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests too")]

#[path = "it/changes.rs"]
mod changes;
#[path = "it/deciding.rs"]
mod deciding;
#[path = "it/flow_guards.rs"]
mod flow_guards;
#[path = "it/incremental.rs"]
mod incremental;
#[path = "it/journal.rs"]
mod journal;
#[path = "it/models.rs"]
mod models;
#[path = "it/outbox.rs"]
mod outbox;
#[path = "it/support.rs"]
mod support;
