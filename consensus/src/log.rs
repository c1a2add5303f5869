//! The log as everybody else sees it: propose, read, watch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::apply::{Applied, DryRun};
use crate::catalogue::{Catalogue, HistoryPage, HistoryQuery, HistoryRefused};
use crate::command::{Author, ChangeSet};
use crate::error::{ChangeRefused, ProposeError, ReadError};
use crate::raft::{ClusterStatus, Members, NodeId};

/// A future that a log hands out.
pub type LogFuture<'log, T> = Pin<Box<dyn Future<Output = T> + Send + 'log>>;

/// The answer of [`Log::out_of_touch`] where nobody was heard since the start: how old what is here
/// is cannot be told, so it is longer than any limit.
pub const NEVER_HEARD: Duration = Duration::from_secs(u32::MAX as u64);

/// How a log stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct LogStatus {
    /// Index of the last durable command.
    pub last_index: u64,
    /// Revision of the catalogue.
    pub revision: u64,
    /// Index that the newest snapshot holds.
    pub snapshot_index: u64,
    /// Index up to which entries were let go.
    pub purged_index: u64,
    /// Bytes of commands behind the snapshot.
    pub log_bytes: u64,
    /// Proposals that wait.
    pub waiting: u64,
    /// Proposals answered with a new revision, since the start.
    pub applied: u64,
    /// Proposals refused, since the start.
    pub refused: u64,
    /// Duration of the last sync in microseconds.
    pub sync_us_last: u64,
    /// What this node lacks to apply what was agreed, if anything; it goes on looking for it.
    pub waits_for: Option<String>,
    /// Whether this node was removed from the cluster.
    pub removed: bool,
    /// Where it was: whether that follows only from the voters' not sharing its authority.
    pub distrusted: bool,
    /// A leader that this node does not follow, because the voters that it knows do not confirm it.
    pub unknown_leader: Option<NodeId>,
    /// The failure of the requests that this node forwards to the leader, if the last one failed.
    pub forwarding: Option<String>,
    /// Why the log takes no more, if so; the process should end and open it again.
    pub failed: Option<String>,
}

/// The replicated log of change sets. Whoever appends (one node, or a quorum), these hold:
/// an [`Applied`] is durable before it is given; a change set is applied whole or not at all; a
/// retry by `request_id` is applied once; `watch` shows catalogues in order of revision.
pub trait Log: Send + Sync {
    /// Proposes a change set. Dropping the future does not take the proposal back.
    fn propose(
        &self,
        change_set: ChangeSet,
        author: Author,
    ) -> LogFuture<'_, Result<Applied, ProposeError>>;

    /// What a change set would do now.
    ///
    /// # Errors
    /// The refusal it would get.
    fn dry_run(&self, change_set: ChangeSet, author: Author) -> Result<DryRun, ChangeRefused>;

    /// Whether whoever appends compiles the catalogue that a change set makes: then a change set
    /// need not be compiled before it is proposed to be refused if it does not.
    fn compiles(&self) -> bool {
        false
    }

    /// The catalogue that is applied.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// The catalogue as it changes. A slow watcher misses catalogues in between, but not their
    /// changes: [`Catalogue::changes_since`] has them.
    fn watch(&self) -> watch::Receiver<Arc<Catalogue>>;

    /// A page of history.
    ///
    /// # Errors
    /// As [`Catalogue::history`].
    fn history(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryRefused> {
        self.catalogue().history(query)
    }

    /// How the log stands.
    fn status(&self) -> LogStatus;

    /// A catalogue that holds every change that was acknowledged anywhere before this was called.
    /// With one node that is the one that is applied.
    fn linearizable(&self) -> LogFuture<'_, Result<Arc<Catalogue>, ReadError>> {
        Box::pin(std::future::ready(Ok(self.catalogue())))
    }

    /// The node that leads, as far as this one knows; `None` without a cluster or a leader.
    fn leader(&self) -> Option<NodeId> {
        None
    }

    /// The members; empty without a cluster.
    fn members(&self) -> Members {
        Members::default()
    }

    /// How the cluster stands, as this node sees it; `None` without a cluster.
    fn cluster(&self) -> Option<ClusterStatus> {
        None
    }

    /// Commands up to this version may be used: every member's program knows them.
    fn command_version(&self) -> u16 {
        1
    }

    /// Whether bodies may stand outside the log.
    fn takes_stored_bodies(&self) -> bool {
        false
    }

    /// How long this node may have missed what the others agreed: the time since it last heard a
    /// leader, or, leading, a majority; [`NEVER_HEARD`] if it has not since it started. Zero without a
    /// cluster.
    fn out_of_touch(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the clock of this node may let something expire.
    fn trusts_clock(&self) -> bool {
        true
    }

    /// Answers what waits, takes no more, and lets go of the files.
    fn drain(&self) -> LogFuture<'_, ()>;
}
