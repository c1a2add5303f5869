//! What can go wrong with the journal.

use verdict_config::Code;

/// Why the journal cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The disk refused a write or a sync; the journal takes no more until it is opened again.
    #[error("the journal cannot be written: {0}")]
    Failed(String),
    /// The disk is too far behind.
    #[error("the journal's disk is behind by more than the limit")]
    Overloaded,
    /// The journal was drained.
    #[error("the journal is closed")]
    Closed,
    /// A record, an index or a key file is not whole.
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
    /// A record or outcome beyond the limits of the journal.
    #[error("{what} of {bytes} bytes is more than the limit of {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A cursor that this journal did not give.
    #[error("the cursor cannot be read: send `next` of the page before, unchanged")]
    Cursor,
    /// The operating system refused to read, or to open.
    #[error("{file}: {detail}")]
    Io {
        /// The path.
        file: String,
        /// What it said.
        detail: String,
    },
}

impl JournalError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Failed(_) | Self::Io { .. } => Code::StorageFailed,
            Self::Overloaded => Code::Overloaded,
            Self::Closed => Code::Draining,
            Self::Damaged { .. } => Code::StateDamaged,
            Self::Newer { .. } => Code::StateVersion,
            Self::Locked(_) => Code::StateLocked,
            Self::TooLarge { .. } => Code::LimitExceeded,
            Self::Cursor => Code::RequestInvalid,
        }
    }

    /// Whether trying again could help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Overloaded | Self::Closed)
    }

    pub(crate) fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Io { file: path.display().to_string(), detail: error.to_string() }
    }

    pub(crate) fn damaged(path: &std::path::Path, offset: u64, detail: impl Into<String>) -> Self {
        Self::Damaged { file: path.display().to_string(), offset, detail: detail.into() }
    }
}
