//! One flight a request: of concurrent requests with the same id, one decides and the others wait
//! for what it wrote.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Key = (Arc<str>, Arc<str>);

/// Requests with an id that are being decided, by (flow, request id). Bounded by the number of
/// requests that the node admits at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights {
    flights: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
}

/// The right to decide a request id; the next one that waits has it afterwards.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Flights,
    key: Key,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits for the request id's turn.
    pub(crate) async fn enter(&self, flow: &Arc<str>, request_id: &str) -> Flight {
        let key: Key = (Arc::clone(flow), request_id.into());
        let turn = Arc::clone(self.flights.lock().entry(key.clone()).or_default());
        // Made before the wait, so that a caller that leaves while waiting is cleaned up as well.
        let mut flight = Flight { flights: self.clone(), key, turn: None };
        flight.turn = Some(turn.lock_owned().await);
        flight
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.flights.lock().len()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.turn = None;
        let mut flights = self.flights.flights.lock();
        // One reference is the map's: nobody else waits. New ones come only through the map, whose
        // lock is held here.
        if flights.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::spawn::Spawner;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn flights_of_one_id_follow_each_other_and_nothing_is_left() {
        let flights = Flights::default();
        let (flying, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let flow: Arc<str> = "payment".into();
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (flights, flow) = (flights.clone(), Arc::clone(&flow));
                let (flying, most) = (Arc::clone(&flying), Arc::clone(&most));
                Spawner::default().spawn("test", async move {
                    let flight = flights.enter(&flow, "same").await;
                    most.fetch_max(flying.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    flying.fetch_sub(1, Ordering::SeqCst);
                    drop(flight);
                    let other = format!("other-{number}");
                    drop(flights.enter(&flow, &other).await);
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap().is_some());
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(flights.len(), 0);
    }
}
