//! Parity with other implementations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "it/drift_parity.rs"]
mod drift_parity;
