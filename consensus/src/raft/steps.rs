//! The steps between a proposal and its effect, as a test may interrupt them.

use std::sync::Arc;

/// A step of the log, about to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A vote is written.
    Vote,
    /// Entries are written.
    Append,
    /// It is noted up to where entries are committed.
    Committed,
    /// Entries are applied.
    Apply,
    /// What they made is shown to watchers.
    Show,
    /// A snapshot is written.
    BuildSnapshot,
    /// A snapshot of another node is taken over.
    InstallSnapshot,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 7] = [
        Self::Vote,
        Self::Append,
        Self::Committed,
        Self::Apply,
        Self::Show,
        Self::BuildSnapshot,
        Self::InstallSnapshot,
    ];
}

/// Called before each step, on the thread that takes it. A panic in it is one of that step.
pub type Probe = Arc<dyn Fn(Step) + Send + Sync>;

/// A probe that does nothing.
#[must_use]
pub fn no_probe() -> Probe {
    Arc::new(|_| {})
}
