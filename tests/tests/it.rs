//! Tests over the workspace as a whole and over real node processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

#[path = "it/admin.rs"]
mod admin;
#[path = "it/admin_members.rs"]
mod admin_members;
#[path = "it/attacks.rs"]
mod attacks;
#[path = "it/attacks_proof.rs"]
mod attacks_proof;
#[path = "it/bad_input.rs"]
mod bad_input;
#[path = "it/bodies.rs"]
mod bodies;
#[path = "it/catalogue_folder.rs"]
mod catalogue_folder;
#[path = "it/chaos.rs"]
mod chaos;
#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/cluster_blobs.rs"]
mod cluster_blobs;
#[path = "it/cluster_semantics.rs"]
mod cluster_semantics;
#[path = "it/commands.rs"]
mod commands;
#[path = "it/dependency_law.rs"]
mod dependency_law;
#[path = "it/durability.rs"]
mod durability;
#[path = "it/fixture.rs"]
mod fixture;
#[path = "it/flows.rs"]
mod flows;
#[path = "it/given_certificates.rs"]
mod given_certificates;
#[path = "it/messages.rs"]
mod messages;
#[path = "it/names.rs"]
mod names;
#[path = "it/process.rs"]
mod process;
#[path = "it/readme.rs"]
mod readme;
#[path = "it/release_fixtures.rs"]
mod release_fixtures;
#[path = "it/rotation.rs"]
mod rotation;
#[path = "it/wrong_files.rs"]
mod wrong_files;
