//! What the cluster agreed: commands, catalogue, history and the durable log.
//!
//! ```text
//!  ChangeSet --propose--> Log: stamps author, time, index --> Command (versioned envelope)
//!                          |                                      |
//!                          | durable first                        v
//!                          |                    apply(&Catalogue, &Command) -> Transition | ChangeRefused
//!                          v                                      |
//!                  acknowledged Applied <-------------------------+--> watch<Arc<Catalogue>>
//! ```
//!
//! [`apply`](apply::apply) is pure: the same catalogue and command give the same catalogue on every
//! node, whole or not at all. Who appends commands is behind the trait [`Log`]: [`RaftLog`] is the
//! log of a cluster, which may have one node; [`LocalLog`] is the simpler one of a node that is alone,
//! and can be turned into the other ([`migrate_local_folder`]).
//!
//! Nothing but `local`, `durable` and `raft` touches a file, and the time of a change comes from a
//! clock that was handed in. Types of openraft and sled stay inside.

pub mod apply;
pub mod authority;
pub mod catalogue;
pub mod command;
mod digest;
mod durable;
mod error;
mod json;
mod local;
mod log;
pub mod peers;
mod proof;
mod raft;
mod references;
mod rollback;
mod validate;

pub use apply::{
    Applied, AppliedChange, Difference, DryRun, LogPosition, Transition, apply, apply_at, dry_run,
};
pub use catalogue::{
    Catalogue, ChangeHead, ChangeSummary, HistoryEntry, HistoryPage, HistoryQuery, HistoryRefused,
    Limits, Object, REVISION_STEP, RevisionGap, Version,
};
pub use command::{
    Author, BODY_BYTES_MAX, CHANGES_MAX, COMMAND_VERSION, Change, ChangeSet, Command,
    EVALUATION_V2_SINCE, EnvelopeError, Evidence, INLINE_BYTES_MAX, Op, Propose, Requirement,
    Restores, STORED_BYTES_MAX, StoredBody,
};
pub use digest::ContentHash;
pub use durable::{EngineBatch, EngineOpener, LogEngine, open_sled};
pub use error::{ChangeRefused, Conflict, LogError, ProposeError, ReadError, disk_failure};
pub use json::compact_json;
pub use local::{LocalLog, LocalLogOptions, LocalLogRecovery};
pub use log::{Log, LogFuture, LogStatus, NEVER_HEARD};
pub use proof::{Denied, Forwarded, PROOF_FROM_VERSION, Proof, ProofCheck, ProofV1};
pub use raft::{
    BackupInfo, BodyStore, CLUSTER_VERSION, ClockDoubt, ClusterStatus, FolderIdentity, FolderStart,
    InProcessNetwork, Member, MemberAnswer, MemberCommand, MemberPlan, Members, MembersWatch,
    MembershipError, NoPeers, NodeAttributes, NodeId, PEER_FRAME_BYTES_MAX, Peer, PeerChannel,
    PeerError, PeerFuture, PeerHandler, PeerStatus, PeerTransport, PlannedMember, Probe, RaftLog,
    RaftLogOptions, RaftLogRecovery, Seed, Step, SurvivorReport, TRUST_VERSION, check_backup,
    create_raft_folder, migrate_local_folder, recover_survivor, restore_backup, trust_leader,
};
pub use references::interface_hash;
pub use rollback::plan_rollback;
pub use validate::{DefinitionValidator, NoValidation, Validator};
pub use verdict_config::OrderedMap;
