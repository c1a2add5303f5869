//! The log of a cluster: openraft over a store of ours. No type of openraft leaves this module.
//!
//! ```text
//!  propose ─> queue ─> proposer ──leader here?──> evaluate on the applied catalogue, one entry
//!                         │                         for all that wait ─> openraft ─> log store
//!                         └─leader elsewhere─> PeerTransport: Propose                  │
//!                                                                        quorum ─> state machine
//!  peers ─> PeerHandler: append, vote, snapshot, propose, read index        watch<Arc<Catalogue>>
//! ```
//!
//! At most one entry of change sets is under way at a leader; what arrives meanwhile shares the
//! next. So the leader evaluates every change set on exactly the catalogue that it will meet, an
//! answer that refuses one rests on committed state, and load makes entries longer, not more.
//!
//! The consensus has threads of its own, so that decisions that keep every core busy do not cost a
//! leader its office.

mod admission;
mod backup;
mod bodies;
mod clock;
mod core;
mod elector;
mod entry;
mod folder;
mod handler;
mod in_process;
mod log_store;
mod machine;
mod members;
mod messages;
mod migration;
mod network;
mod options;
mod prepared;
mod proposer;
mod raft_log;
mod snapshot_file;
mod state_machine;
mod status;
mod steps;
mod transport;
mod types;
mod wire;

#[cfg(test)]
mod suite;

pub use admission::{TRUST_VERSION, trust_leader};
pub use backup::{BackupInfo, SurvivorReport, check_backup, recover_survivor, restore_backup};
pub use bodies::BodyStore;
pub use clock::ClockDoubt;
pub use folder::{FolderIdentity, FolderStart, Seed, create_raft_folder};
pub use handler::PeerHandler;
pub use in_process::InProcessNetwork;
pub use members::{
    Member, MemberAnswer, MemberCommand, MemberPlan, Members, MembersWatch, MembershipError,
    PlannedMember,
};
pub use messages::PEER_FRAME_BYTES_MAX;
pub use migration::migrate_local_folder;
pub use options::{CLUSTER_VERSION, RaftLogOptions};
pub use raft_log::{RaftLog, RaftLogRecovery};
pub use status::{ClusterStatus, PeerStatus};
pub use steps::{Probe, Step};
pub use transport::{NoPeers, Peer, PeerChannel, PeerError, PeerFuture, PeerTransport};
pub use types::{NodeAttributes, NodeId};
