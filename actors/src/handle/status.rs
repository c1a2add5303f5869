//! How the node stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use verdict_config::Code;
use verdict_consensus::{Log, LogStatus};

use super::Handle;
use crate::blobs::BlobCounts;
use crate::inference::InferenceStatus;
use crate::journal::JournalStatus;
use crate::monitoring::FlowCounts;
use crate::serving::{PublisherStatus, ServingState};
use crate::supervisor::TreeNode;

/// Whether the node wants requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why not, each in a sentence.
    pub reasons: Vec<String>,
    /// Faults that do not keep the node from serving, each in a sentence.
    pub details: Vec<String>,
}

/// Everything about the node in one answer.
#[derive(Debug, Clone, Serialize)]
pub struct RuntimeStatus {
    /// Whether it wants requests.
    pub readiness: Readiness,
    /// What an operator should see to, each in a sentence; the node serves all the same.
    pub warnings: Vec<String>,
    /// Requests that run.
    pub requests_running: usize,
    /// Publication.
    pub publisher: PublisherStatus,
    /// The log of change sets.
    pub log: LogStatus,
    /// The journal.
    pub journal: JournalStatus,
    /// What came of bringing model folders and large bodies from other nodes.
    pub blobs: BlobCounts,
    /// Inference.
    pub inference: InferenceStatus,
    /// Decisions of the last hour, by flow.
    pub flows: BTreeMap<String, FlowCounts>,
    /// The supervision tree.
    pub tree: TreeNode,
}

impl Handle {
    /// Whether the node wants requests. Not ready: draining, a log or journal that takes no more, or
    /// a catalogue that cannot be served.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.core.gate.is_closed() {
            reasons.push("the node is shutting down".to_owned());
        }
        if let Some(failed) = self.core.recording.journal.status().failed {
            reasons.push(format!("the journal takes no more: {failed}"));
        }
        let log = self.core.log.status();
        if log.removed {
            let (code, advice) = (Code::NodeRemoved, Code::NodeRemoved.advice());
            let reason = match log.distrusted {
                true => {
                    "the voters do not share this node's certificate authority: this node was removed \
                     from the cluster, or has other files of certificates"
                }
                false => "this node was removed from the cluster",
            };
            reasons.push(format!("{code} {reason}. {advice}"));
        }
        if let Some(leader) = log.unknown_leader {
            let (code, advice) = (Code::LeaderUnknown, Code::LeaderUnknown.advice());
            reasons.push(format!(
                "{code} node {leader} leads, and the voters that this node knows do not confirm it. \
                 {advice}"
            ));
        }
        if let Some(failed) = log.failed {
            reasons.push(format!("the log takes no more: {failed}"));
        }
        if let Some(waits_for) = log.waits_for {
            reasons.push(format!("what was agreed cannot be applied yet: {waits_for}"));
        }
        let publisher = self.core.serving.status();
        if let Some(fault) = publisher.faults.first() {
            reasons.push(format!(
                "revision {} is not served, {} is: {} {}",
                publisher.catalogue_revision, publisher.serving_revision, fault.object, fault.fault
            ));
        }
        let details = log.forwarding.into_iter().collect();
        Readiness { ready: reasons.is_empty(), reasons, details }
    }

    /// Why the log or the journal takes no more until the node is started again, if so.
    #[must_use]
    pub fn storage_failure(&self) -> Option<String> {
        let log = self.core.log.status().failed;
        log.or_else(|| self.core.recording.journal.status().failed)
    }

    /// The region of this node at the revision of a state.
    #[must_use]
    pub fn region_in<'a>(&'a self, state: &'a ServingState) -> Option<&'a str> {
        self.core.region_in(state)
    }

    /// Whether the node has been out of touch with its cluster for longer than the settings allow:
    /// what it answers may be old.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.core.is_stale()
    }

    /// How publication stands.
    #[must_use]
    pub fn publisher(&self) -> Arc<PublisherStatus> {
        self.core.serving.status()
    }

    /// The log of change sets, for reading and watching; changes go through
    /// [`Handle::propose`].
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.core.log
    }

    /// Decisions of the last `span` (at most an hour), by flow.
    #[must_use]
    pub fn counts(&self, span: Duration) -> BTreeMap<String, FlowCounts> {
        self.core.monitoring.counts(crate::clock::now(), span)
    }

    /// Everything about the node.
    #[must_use]
    pub fn status(&self) -> RuntimeStatus {
        let journal = self.core.recording.journal.status();
        RuntimeStatus {
            readiness: self.readiness(),
            warnings: journal.short_retention().into_iter().collect(),
            requests_running: self.core.gate.inside(),
            publisher: (*self.core.serving.status()).clone(),
            log: self.core.log.status(),
            journal,
            blobs: self.core.blobs.counts(),
            inference: self.core.inference.status(),
            flows: self.counts(Duration::from_secs(3_600)),
            tree: self.tree(),
        }
    }
}
