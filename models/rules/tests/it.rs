//! The rule language from outside: texts in, hits out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(missing_docs)]

#[path = "it/demo.rs"]
mod demo;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/findings.rs"]
mod findings;
#[path = "it/harness.rs"]
mod harness;
#[path = "it/language.rs"]
mod language;
#[path = "it/names.rs"]
mod names;
#[path = "it/oracle.rs"]
mod oracle;
#[path = "it/sets.rs"]
mod sets;
