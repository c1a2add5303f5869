//! What waits for nodes that are away, and how they get it.
//!
//! An outcome for a node that cannot be reached, and an erasure that it does not know of, are kept in
//! this node's outbox and sent, in order and with pauses, until that node has them. Sending again
//! changes nothing: outcomes count once by their id, and a key is destroyed once. A node that starts
//! asks the others what it is to erase before it answers anybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use verdict_actors::outbox::{Kept, Outbox, OutboxError};
use verdict_actors::{Handle, NewOutcomeInput};
use verdict_config::Code;
use verdict_consensus::Log;
use verdict_consensus::peers::{NodeAnswer, NodeRequest, Order};

use super::{Cluster, ClusterError};

/// Entries, and their bytes, that are sent at once.
const BATCH_MAX: usize = 500;
const BATCH_BYTES_MAX: u64 = 1 << 20;
/// Units that one answer names.
pub(crate) const ERASURES_MAX: usize = 1_000;
/// Between two tries to reach a node.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How long nothing is looked at when nothing comes in.
const IDLE: Duration = Duration::from_secs(10);

impl Cluster {
    /// What waits for other nodes.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.inner.outbox
    }

    /// Keeps entries for a node. Returns when they are durable.
    ///
    /// # Errors
    /// A full outbox, or the disk.
    pub(crate) async fn keep_for(
        &self,
        nodes: Vec<u64>,
        kept: Vec<Kept>,
    ) -> Result<(), ClusterError> {
        let (outbox, at) = (Arc::clone(self.outbox()), crate::http::now());
        let put = move || nodes.into_iter().try_for_each(|node_id| outbox.put(node_id, &kept, at));
        let put = tokio::task::spawn_blocking(put).await;
        let failed = |error: OutboxError| {
            let full = matches!(error, OutboxError::Full { .. });
            ClusterError { code: error.code(), detail: error.to_string(), retryable: full }
        };
        put.map_err(|error| storage(&error))?.map_err(failed)
    }

    /// Units that a node is to erase, behind an entry's number, for a node of before erasures were
    /// signed.
    pub(crate) async fn erasures_of(
        &self,
        node_id: u64,
        after: u64,
    ) -> Result<Vec<(u64, String)>, ClusterError> {
        let unit = |kept| match kept {
            Kept::Erasure(unit) | Kept::Order { unit, .. } => Some(unit),
            Kept::Outcome(_) => None,
        };
        let kept = self.kept_erasures(node_id, after).await?.into_iter();
        Ok(kept.filter_map(|(sequence, kept)| Some((sequence, unit(kept)?))).collect())
    }

    /// Signed erasures that a node is to perform, behind an entry's number.
    pub(crate) async fn orders_of(
        &self,
        node_id: u64,
        after: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>, ClusterError> {
        let kept = self.kept_erasures(node_id, after).await?.into_iter();
        let signed = kept.filter_map(|(sequence, kept)| Some((sequence, self.as_order(kept)?)));
        Ok(signed.collect())
    }

    async fn kept_erasures(
        &self,
        node_id: u64,
        after: u64,
    ) -> Result<Vec<(u64, Kept)>, ClusterError> {
        let outbox = Arc::clone(self.outbox());
        let read = move || outbox.erasures(node_id, after, ERASURES_MAX);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| storage(&error))?.map_err(|error| storage(&error))
    }

    /// The signed order of an erasure that this node keeps. A voter signs anew: it checked the order,
    /// or took the erasure by the rules of before, and the first signer may be gone. None where a
    /// learner has an erasure that nobody signed.
    fn as_order(&self, kept: Kept) -> Option<Vec<u8>> {
        let (unit, sealed) = match kept {
            Kept::Outcome(_) => return None,
            Kept::Erasure(unit) => (unit, None),
            Kept::Order { unit, sealed } => (unit, hex::decode(sealed).ok()),
        };
        if !self.is_voter() {
            return sealed;
        }
        match self.sign_order(&Order::EraseUnit { unit }) {
            Ok(anew) => Some(anew),
            Err(error) => {
                tracing::error!(%error, "an erasure cannot be signed again");
                sealed
            }
        }
    }

    async fn next_for(&self, node_id: u64, count: usize) -> Result<Vec<(u64, Kept)>, ClusterError> {
        let outbox = Arc::clone(self.outbox());
        let read = move || outbox.next(node_id, count, BATCH_BYTES_MAX);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| storage(&error))?.map_err(|error| storage(&error))
    }

    async fn delivered(&self, node_id: u64, through: u64) -> Result<(), ClusterError> {
        let outbox = Arc::clone(self.outbox());
        let done = tokio::task::spawn_blocking(move || outbox.done(node_id, through)).await;
        done.map_err(|error| storage(&error))?.map_err(|error| storage(&error))
    }
}

fn storage(error: &dyn std::fmt::Display) -> ClusterError {
    ClusterError { code: Code::StorageFailed, detail: error.to_string(), retryable: false }
}

/// Sends what waits, for as long as the node is a member.
pub(crate) async fn deliver(cluster: Cluster, runtime: Handle) {
    let mut pauses: BTreeMap<u64, (Instant, Duration)> = BTreeMap::new();
    loop {
        let (now, nodes) = (Instant::now(), cluster.outbox().nodes());
        pauses.retain(|node_id, _| nodes.contains(node_id));
        let due = nodes.iter().filter(|id| pauses.get(id).is_none_or(|(until, _)| *until <= now));
        let tried =
            due.map(|node_id| async { (*node_id, deliver_to(&cluster, &runtime, *node_id).await) });
        for (node_id, delivered) in join_all(tried).await {
            match delivered {
                Ok(()) => drop(pauses.remove(&node_id)),
                Err(error) => {
                    tracing::debug!(node_id, %error, "what waits for the node goes on waiting");
                    let before = pauses.get(&node_id).map_or(PAUSE_MIN / 2, |(_, pause)| *pause);
                    let pause = (before * 2).min(PAUSE_MAX);
                    pauses.insert(node_id, (Instant::now() + pause, pause));
                }
            }
        }
        if cluster.outbox().nodes().iter().any(|node_id| !pauses.contains_key(node_id)) {
            continue;
        }
        let next = pauses.values().map(|(until, _)| *until).min();
        let next = next.unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            () = cluster.outbox().changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Sends the oldest entries of a node.
async fn deliver_to(cluster: &Cluster, runtime: &Handle, node_id: u64) -> Result<(), ClusterError> {
    let entries = cluster.next_for(node_id, BATCH_MAX).await?;
    let member = cluster.log().members().get(node_id).is_some();
    let mut outcomes: Vec<NewOutcomeInput> = Vec::new();
    let mut last = 0;
    for (sequence, kept) in entries {
        match kept {
            Kept::Outcome(outcome) => outcomes.push(outcome),
            Kept::Erasure(_) | Kept::Order { .. } if !outcomes.is_empty() => break,
            kept => {
                if member {
                    erase_at(cluster, node_id, kept).await?;
                } else {
                    tracing::warn!(node_id, "a removed node was never told to erase a unit");
                }
                return cluster.delivered(node_id, sequence).await;
            }
        }
        last = sequence;
    }
    if outcomes.is_empty() {
        return Ok(());
    }
    let whole = send_outcomes(cluster, runtime, (node_id, member), &outcomes).await?;
    if !whole {
        // One that the node refuses must not hold up the others.
        for outcome in outcomes.chunks(1) {
            if !send_outcomes(cluster, runtime, (node_id, member), outcome).await? {
                metrics::counter!("verdict_outbox_refused_total").increment(1);
                tracing::warn!(node_id, "an outcome that waited is refused by its node");
            }
        }
    }
    cluster.delivered(node_id, last).await
}

/// Records outcomes at their node, or here if that is gone for ever. `false`: they are refused.
async fn send_outcomes(
    cluster: &Cluster,
    runtime: &Handle,
    (node_id, member): (u64, bool),
    outcomes: &[NewOutcomeInput],
) -> Result<bool, ClusterError> {
    let json = serde_json::to_vec(outcomes).map_err(|error| storage(&error))?;
    let (status, body) = if member {
        let answer = cluster.ask_for(node_id, &NodeRequest::Outcomes { json }).await?;
        match answer {
            NodeAnswer::Http { status, body } => (status, body),
            _ => return Err(ClusterError::refused("the answer is of another kind")),
        }
    } else {
        crate::http::record_for_peer(runtime, &json).await
    };
    match status {
        200 => {
            let answers: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap_or_default();
            let conflicts = answers.iter().filter(|answer| answer["state"] == "conflict").count();
            if conflicts > 0 {
                tracing::warn!(node_id, conflicts, "outcomes that waited had ids of other ones");
            }
            metrics::counter!("verdict_outbox_delivered_total").increment(outcomes.len() as u64);
            Ok(true)
        }
        400..=428 | 430..=499 => Ok(false),
        _ => Err(ClusterError {
            code: Code::PeerUnreachable,
            detail: format!("node {node_id} answers {status}"),
            retryable: true,
        }),
    }
}

async fn erase_at(cluster: &Cluster, node_id: u64, kept: Kept) -> Result<(), ClusterError> {
    let request = if cluster.log().needs_proof() {
        let Some(sealed) = cluster.as_order(kept) else {
            // It is from before erasures were signed, and the target takes no learner's word. Most
            // members kept it, too.
            tracing::error!(node_id, "an erasure that no voter signed is given up here");
            return Ok(());
        };
        NodeRequest::CarryOut { sealed }
    } else {
        match kept {
            Kept::Erasure(unit) | Kept::Order { unit, .. } => NodeRequest::EraseUnit { unit },
            Kept::Outcome(_) => return Ok(()),
        }
    };
    match cluster.ask_for(node_id, &request).await? {
        NodeAnswer::Erased { .. } => {
            metrics::counter!("verdict_outbox_delivered_total").increment(1);
            Ok(())
        }
        _ => Err(ClusterError::refused("the answer is of another kind")),
    }
}

/// Asks the other members what this node is to erase, and erases it, before it answers anybody.
/// Who cannot be reached sends it later.
pub(crate) async fn learn_erasures(cluster: &Cluster, runtime: &Handle) {
    let others = cluster.log().members().members.into_iter().map(|member| member.node_id);
    let others = others.filter(|node_id| *node_id != cluster.node_id());
    join_all(others.map(|node_id| async move {
        match erasures_at(cluster, runtime, node_id).await {
            Ok(0) => {}
            Ok(units) => {
                tracing::info!(node_id, units, "units were erased while this node was away")
            }
            Err(error) => {
                tracing::warn!(node_id, %error, "what is to be erased here is not known from it");
            }
        }
    }))
    .await;
    cluster.settle();
}

/// Units that a node says are to be erased here: each with a voter's signature, once all members' programs
/// send one.
async fn ask_erasures(
    cluster: &Cluster,
    node_id: u64,
    after: u64,
) -> Result<Vec<(u64, String)>, ClusterError> {
    let of_another_kind = || ClusterError::refused("the response is of another kind");
    if !cluster.log().needs_proof() {
        return match cluster.ask_for(node_id, &NodeRequest::PendingErasures { after }).await? {
            NodeAnswer::Erasures(units) => Ok(units),
            _ => Err(of_another_kind()),
        };
    }
    let asked = cluster.ask_for(node_id, &NodeRequest::PendingOrders { after }).await?;
    let NodeAnswer::Orders(orders) = asked else { return Err(of_another_kind()) };
    let unit = |(sequence, sealed): (u64, Vec<u8>)| match cluster.read_order(node_id, &sealed)? {
        Order::EraseUnit { unit } => Ok((sequence, unit)),
        Order::ReadDecision { .. } => Err(of_another_kind()),
    };
    orders.into_iter().map(unit).collect()
}

async fn erasures_at(
    cluster: &Cluster,
    runtime: &Handle,
    node_id: u64,
) -> Result<usize, ClusterError> {
    let (mut after, mut count) = (0, 0);
    loop {
        let units = ask_erasures(cluster, node_id, after).await?;
        let more = units.len() == ERASURES_MAX;
        for (sequence, unit) in units {
            // An answer that does not go on would be asked for again and again.
            if sequence <= after {
                return Err(ClusterError::refused("the answer goes back"));
            }
            runtime.erase_unit(&unit).await.map_err(|error| storage(&error))?;
            (after, count) = (sequence, count + 1);
        }
        if !more {
            return Ok(count);
        }
    }
}
