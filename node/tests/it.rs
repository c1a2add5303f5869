//! Tests of the node over its own code: settings, routes, errors and limits.

#[path = "it/settings.rs"]
mod settings;
