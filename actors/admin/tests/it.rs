//! Tests of the crate from outside.

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
