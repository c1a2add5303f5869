//! The rule language from outside: texts in, hits out.

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
#[path = "it/oracle.rs"]
mod oracle;
#[path = "it/sets.rs"]
mod sets;
