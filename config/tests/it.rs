//! Integration tests of the catalogue's types.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests too")]

#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/flags.rs"]
mod flags;
