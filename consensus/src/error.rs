//! What can go wrong with a change, and with the log.

use verdict_config::{Code, Faults, ObjectId};

use crate::digest::ContentHash;
use crate::proof::Denied;

/// One object that another change came first on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The object.
    pub object: ObjectId,
    /// The revision that the change expected; `None` if it conflicts by its interface.
    pub expected_revision: Option<u64>,
    /// The revision of its last change; 0 if it does not exist.
    pub found_revision: u64,
    /// What happened, in a sentence.
    pub message: String,
}

/// Why a change set was refused. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// Objects changed since their author read them: every conflict.
    #[error("another change came first on {} object(s)", .0.len())]
    Conflict(Vec<Conflict>),
    /// The `request_id` belongs to another change set, applied before.
    #[error("request_id {request_id:?} was used at revision {revision} with another change set")]
    RequestIdConflict {
        /// The id.
        request_id: String,
        /// The revision that it made.
        revision: u64,
    },
    /// The `request_id` was applied more than 24 h ago.
    #[error("request_id {request_id:?} has expired: it was applied more than 24 h ago")]
    TooOld {
        /// The id.
        request_id: String,
    },
    /// The change set, or the catalogue it would make, is not valid: every fault.
    #[error("the change set has {} fault(s)", .0.len())]
    Invalid(Faults),
    /// A rollback to a revision whose bodies are no longer kept, or not yet made.
    #[error("revision {revision} is not retained; {oldest} to {newest} are")]
    NotRetained {
        /// What was asked for.
        revision: u64,
        /// The oldest revision that can be restored.
        oldest: u64,
        /// The newest one.
        newest: u64,
    },
    /// A revision of the cluster that this one was restored or recovered from, made after the state
    /// that it began with.
    #[error(
        "revision {revision} was not made in this cluster, which was restored from revision {after} \
         and continues at {from}"
    )]
    NeverMade {
        /// What was named.
        revision: u64,
        /// The revision of the state that the cluster began with.
        after: u64,
        /// The revision that it continued at.
        from: u64,
    },
}

impl ChangeRefused {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Conflict(_) => Code::ChangeConflict,
            Self::RequestIdConflict { .. } => Code::RequestIdConflict,
            Self::TooOld { .. } => Code::ChangeTooOld,
            Self::Invalid(_) => Code::ChangeInvalid,
            Self::NotRetained { .. } => Code::RevisionNotRetained,
            Self::NeverMade { .. } => Code::RevisionForeign,
        }
    }
}

/// A failure of the disk with what ends it. A node whose disk failed takes no more changes or records
/// until it is started again, because the state of its open files is unknown.
#[must_use]
pub fn disk_failure(failure: &str) -> String {
    // ENOSPC, EDQUOT and EFBIG, as the standard library writes them.
    let is_full = ["(os error 28)", "(os error 122)", "(os error 27)"];
    let is_full = is_full.into_iter().any(|number| failure.contains(number));
    let first = if is_full { "free space" } else { "check the disk" };
    format!("{failure}; {first}, then restart the node")
}

/// Why a proposal failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was refused; nothing changed, and the same proposal would be refused again.
    #[error(transparent)]
    Refused(#[from] ChangeRefused),
    /// Too many proposals wait. Nothing changed; try again.
    #[error("too many changes are waiting")]
    Overloaded,
    /// The log is closing. Nothing changed.
    #[error("the log is closing")]
    Draining,
    /// The disk refused a write or a sync. Whether the change will stand is unknown until the log
    /// is opened again; the log takes no more.
    #[error("the log cannot be written: {0}")]
    Storage(String),
    /// No leader could be reached. Nothing changed; try again.
    #[error("the cluster has no leader that can be reached")]
    NoLeader,
    /// The clock of the node that leads is in doubt. Nothing changed.
    #[error("the clock of the node that leads is in doubt: it stamps no change")]
    ClockDoubtful,
    /// The leader was lost, or the time was up, after the change was sent. Whether it will stand is
    /// unknown; sent again with the same `request_id` it is applied once.
    #[error("the change may or may not have been applied")]
    OutcomeUnknown,
    /// The leader found no proof that whoever asked may do it. Nothing changed.
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl ProposeError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::Overloaded => Code::Overloaded,
            Self::Draining => Code::Draining,
            Self::Storage(_) => Code::StorageFailed,
            Self::NoLeader => Code::NoLeader,
            Self::ClockDoubtful => Code::ClockDoubtful,
            Self::OutcomeUnknown => Code::OutcomeUnknown,
            Self::Denied(denied) => denied.code,
        }
    }

    /// Whether the same proposal may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::Draining
                | Self::NoLeader
                | Self::ClockDoubtful
                | Self::OutcomeUnknown
        )
    }
}

/// Why a linearizable read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader with a majority could be reached in time.
    #[error("the cluster has no leader that can be reached")]
    NoLeader,
    /// The log is closing, or has failed.
    #[error("the log is closed: {0}")]
    Closed(String),
}

impl ReadError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NoLeader => Code::NoLeader,
            Self::Closed(_) => Code::Draining,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file is damaged where it held acknowledged changes.
    #[error("{file} is damaged at byte {offset}: {detail}")]
    Damaged {
        /// The file's path.
        file: String,
        /// Where in it.
        offset: u64,
        /// What was expected and found.
        detail: String,
    },
    /// The folder was written by a newer program.
    #[error("{folder} has format {found}; this program knows formats up to {known}")]
    Newer {
        /// The folder.
        folder: String,
        /// Its format.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// Another process has the folder.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// Entries that were acknowledged are gone, or a vote that was cast.
    #[error("{folder}: {detail}")]
    Gap {
        /// The folder.
        folder: String,
        /// What is missing.
        detail: String,
    },
    /// The folder belongs to another node or cluster.
    #[error("{folder}: {detail}")]
    Foreign {
        /// The folder.
        folder: String,
        /// What was expected and found.
        detail: String,
    },
    /// The consensus could not be started.
    #[error("the log cannot be started: {0}")]
    Start(String),
    /// The operating system refused.
    #[error("{file}: {source}")]
    Io {
        /// The path.
        file: String,
        /// What it said.
        source: std::io::Error,
    },
}

impl LogError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Damaged { .. } => Code::StateDamaged,
            Self::Newer { .. } => Code::StateVersion,
            Self::Locked(_) => Code::StateLocked,
            Self::Gap { .. } => Code::StateGap,
            Self::Foreign { .. } => Code::StateForeign,
            Self::Start(_) => Code::Internal,
            Self::Io { .. } => Code::StorageFailed,
        }
    }
}

/// The first 16 bytes of a hash, which are enough to tell request ids apart.
pub type ShortHash = [u8; 16];

/// The short hash of a request id.
pub fn short_hash(text: &str) -> ShortHash {
    let hash = ContentHash::of(text.as_bytes()).0;
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}
