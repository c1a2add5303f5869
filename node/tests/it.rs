//! Tests of the node over its own code: settings, routes, errors, limits, the catalogue folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

#[path = "it/access.rs"]
mod access;
#[path = "it/flag_events.rs"]
mod flag_events;
#[path = "it/folder.rs"]
mod folder;
#[path = "it/gateway.rs"]
mod gateway;
#[path = "it/keys.rs"]
mod keys;
#[path = "it/routes.rs"]
mod routes;
#[path = "it/settings.rs"]
mod settings;
