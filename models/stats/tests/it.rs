//! Parity with other implementations.

#![allow(clippy::print_stdout, reason = "a test or a benchmark fails by panicking, and prints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "it/drift_parity.rs"]
mod drift_parity;
