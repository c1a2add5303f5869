//! Requests that are being decided: one decision a `request_id` at a time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

const SHARDS: usize = 16;

/// One request that is being decided.
#[derive(Debug)]
pub struct Pending {
    pub body: u128,
    /// Dropped when the request has ended.
    ended: watch::Sender<()>,
}

impl Pending {
    pub fn ended(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }
}

pub type Shard = HashMap<u128, Pending>;

/// Every request that is being decided; as many as the node admits at a time.
#[derive(Debug, Default)]
pub struct InFlight {
    shards: [Mutex<Shard>; SHARDS],
}

impl InFlight {
    pub fn shard(&self, request: u128) -> MutexGuard<'_, Shard> {
        self.shards[(request >> 64) as usize % SHARDS].lock()
    }
}

/// A `request_id` that is taken until its record is written, or the guard is dropped.
#[derive(Debug)]
pub struct RequestGuard {
    pub(super) request: u128,
    pub(super) body: u128,
    in_flight: Arc<InFlight>,
}

impl RequestGuard {
    /// Takes a request, in its locked shard.
    pub fn take(in_flight: &Arc<InFlight>, shard: &mut Shard, request: u128, body: u128) -> Self {
        shard.insert(request, Pending { body, ended: watch::Sender::new(()) });
        Self { request, body, in_flight: Arc::clone(in_flight) }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.in_flight.shard(self.request).remove(&self.request);
    }
}
