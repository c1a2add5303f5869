//! Tests of the crate from outside.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests too")]

#[path = "it/admission.rs"]
mod admission;
#[path = "it/calls.rs"]
mod calls;
#[path = "it/envelope.rs"]
mod envelope;
#[path = "it/fixture.rs"]
mod fixture;
#[path = "it/key_file.rs"]
mod key_file;
#[path = "it/process.rs"]
mod process;
#[path = "it/requests.rs"]
mod requests;
#[path = "it/roles.rs"]
mod roles;
