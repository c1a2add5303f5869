//! What this crate's callers are told when something does not work.

use verdict_config::{Code, Faults};
use verdict_consensus::{ChangeRefused, ProposeError, ReadError};
use verdict_decisions::RequestRejected;

use crate::catalogue::{CheckReport, ObjectFault};

/// A failure of the runtime. Every variant has a stable code; `is_retryable` says whether the same
/// request may succeed later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// There is no flow of that name in the served revision.
    #[error("there is no flow {0:?}")]
    FlowNotFound(String),
    /// The request does not fit the flow: every fault.
    #[error(transparent)]
    Rejected(#[from] RequestRejected),
    /// The `request_id` was used before with another body.
    #[error("request_id {0:?} was used with another body")]
    RequestIdConflict(String),
    /// A queue is full.
    #[error("{0} is busy")]
    Overloaded(&'static str),
    /// The deadline passed. Whether the request took effect is unknown.
    #[error("the request took too long")]
    DeadlineExceeded,
    /// The node does not serve that revision yet.
    #[error("revision {wanted} is not served yet; {serving} is")]
    RevisionNotReached {
        /// What was asked for.
        wanted: u64,
        /// What is served.
        serving: u64,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
    /// There is no such decision, test decisions and erased retention included.
    #[error("there is no decision {0:?}")]
    DecisionNotFound(String),
    /// What was asked for needs fields whose key was destroyed.
    #[error("the unit of this decision was erased")]
    UnitErased,
    /// The decision cannot be computed again.
    #[error("the decision cannot be replayed: {0}")]
    ReplayUnavailable(String),
    /// An argument of a read is not valid.
    #[error("{0}")]
    Invalid(String),
    /// Outcomes that are not valid: every fault, with paths `outcomes[N]...`.
    #[error("{} fault(s) in the outcomes", .0.len())]
    OutcomeInvalid(Faults),
    /// A change set was refused, or failed.
    #[error(transparent)]
    Change(#[from] ProposeError),
    /// A catalogue that would not compile, or whose tests fail: every fault.
    #[error("the change would make a catalogue with {} fault(s)", .0.blocking().len())]
    Check(Box<CheckReport>),
    /// Nodes did not fetch and load in time what the change needs: which, and why. Nothing changed;
    /// they go on with it.
    #[error("not ready: {}", .0.iter().map(|(id, why)| format!("node {id}: {why}")).collect::<Vec<_>>().join("; "))]
    NotReady(Vec<(u64, String)>),
    /// A model folder cannot be stored or read.
    #[error("{detail}")]
    Model {
        /// The stable code.
        code: Code,
        /// What is wrong.
        detail: String,
    },
    /// The journal refused a read or a write.
    #[error("{detail}")]
    Journal {
        /// The stable code.
        code: Code,
        /// What is wrong.
        detail: String,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// A fault of our own: a panic in a rule, a model or a handler.
    #[error("{0}")]
    Internal(String),
}

impl From<ReadError> for RuntimeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoLeader => Self::Change(ProposeError::NoLeader),
            ReadError::Closed(_) => Self::Draining,
        }
    }
}

impl RuntimeError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::FlowNotFound(_) => Code::FlowNotFound,
            Self::Rejected(rejected) => rejected.code(),
            Self::RequestIdConflict(_) => Code::RequestIdConflict,
            Self::Overloaded(_) => Code::Overloaded,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::RevisionNotReached { .. } => Code::RevisionNotReached,
            Self::Draining => Code::Draining,
            Self::DecisionNotFound(_) => Code::DecisionNotFound,
            Self::UnitErased => Code::UnitErased,
            Self::ReplayUnavailable(_) => Code::ReplayUnavailable,
            Self::Invalid(_) => Code::RequestInvalid,
            Self::OutcomeInvalid(_) => Code::OutcomeInvalid,
            Self::Change(error) => error.code(),
            Self::Check(_) => Code::ChangeInvalid,
            Self::NotReady(_) => Code::NotReady,
            Self::Model { code, .. } | Self::Journal { code, .. } => *code,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded(_)
            | Self::DeadlineExceeded
            | Self::RevisionNotReached { .. }
            | Self::NotReady(_)
            | Self::Draining => true,
            Self::Change(error) => error.is_retryable(),
            Self::Journal { retryable, .. } => *retryable,
            _ => false,
        }
    }

    /// The faults to show, if there are any.
    #[must_use]
    pub fn faults(&self) -> Faults {
        match self {
            Self::Rejected(rejected) => rejected.faults.clone(),
            Self::OutcomeInvalid(faults) => faults.clone(),
            Self::Check(report) => report.to_faults(),
            Self::Change(ProposeError::Refused(ChangeRefused::Invalid(faults))) => faults.clone(),
            _ => Faults::new(),
        }
    }

    /// Faults that mention no more than a message.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Why a runtime cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The catalogue of the log cannot be compiled.
    #[error("the catalogue cannot be served: {}", .0.first().map_or_else(String::new, |fault| fault.fault.to_string()))]
    Catalogue(Vec<ObjectFault>),
    /// The journal cannot be opened.
    #[error("{detail}")]
    Journal {
        /// The stable code.
        code: Code,
        /// What is wrong.
        detail: String,
    },
    /// The model store cannot be opened.
    #[error(transparent)]
    Blobs(#[from] crate::blobs::BlobError),
    /// The supervision tree cannot be started.
    #[error("the supervision tree cannot be started: {0}")]
    Tree(String),
}

impl StartError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Catalogue(_) => Code::ChangeInvalid,
            Self::Journal { code, .. } => *code,
            Self::Blobs(error) => error.code(),
            Self::Tree(_) => Code::Internal,
        }
    }
}
