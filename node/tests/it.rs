//! Tests of the node over its own code: settings, routes, errors, limits, the catalogue folder.

#[path = "it/folder.rs"]
mod folder;
#[path = "it/gateway.rs"]
mod gateway;
#[path = "it/routes.rs"]
mod routes;
#[path = "it/settings.rs"]
mod settings;
