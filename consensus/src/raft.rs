//! The log of a cluster: openraft over a store of ours.

mod entry;
mod log_store;
mod machine;
mod snapshot_file;
mod state_machine;
mod types;
mod wire;

#[cfg(test)]
mod suite;

pub use types::{NodeAttributes, NodeId};
