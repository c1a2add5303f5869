//! Integration tests: whole sessions from request to answer, record, replay and explanation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

mod it {
    pub mod abstain;
    pub mod answer;
    pub mod backtest;
    pub mod compile;
    pub mod ensembles;
    pub mod explain;
    pub mod failures;
    pub mod fit;
    pub mod flow_tests;
    pub mod lattice;
    pub mod models;
    pub mod properties;
    pub mod record;
    pub mod replay;
    pub mod sensitive;
    pub mod support;
    pub mod switches;
    pub mod windows;
}
