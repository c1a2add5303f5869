//! Integration tests of the catalogue's types.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests too")]

#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/flags.rs"]
mod flags;
