//! Integration tests of the actors.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests too")]

#[path = "it/journal.rs"]
mod journal;
