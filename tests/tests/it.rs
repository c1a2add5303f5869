//! Tests over the workspace as a whole and over real node processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

#[path = "it/dependency_law.rs"]
mod dependency_law;
