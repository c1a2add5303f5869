//! The gate that a drain closes: no request that entered is cut off, and none enters afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Counts the requests inside. Cloning is cheap and shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    inside: AtomicUsize,
    left: Notify,
}

/// One request inside the gate.
#[derive(Debug)]
pub(crate) struct Inside {
    shared: Arc<Shared>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.shared.inside.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.left.notify_waiters();
        }
    }
}

impl Gate {
    /// Enters, unless the gate is closed. Counted before the check, so that a request which sees an
    /// open gate is always waited for.
    pub(crate) fn enter(&self) -> Option<Inside> {
        self.shared.inside.fetch_add(1, Ordering::SeqCst);
        let inside = Inside { shared: Arc::clone(&self.shared) };
        if self.shared.closed.load(Ordering::SeqCst) { None } else { Some(inside) }
    }

    /// Requests inside.
    pub(crate) fn inside(&self) -> usize {
        self.shared.inside.load(Ordering::SeqCst)
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// Closes and waits, at most `limit`, until all have left. Returns whether all have.
    pub(crate) async fn close(&self, limit: Duration) -> bool {
        self.shared.closed.store(true, Ordering::SeqCst);
        let empty = async {
            loop {
                let left = self.shared.left.notified();
                if self.inside() == 0 {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(limit, empty).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_inside_is_waited_for_and_nobody_enters_a_closed_gate() {
        let gate = Gate::default();
        let inside = gate.enter();
        assert!(inside.is_some());
        assert!(!gate.close(Duration::from_millis(1)).await);
        assert!(gate.enter().is_none() && gate.is_closed());
        let waiting = gate.close(Duration::from_secs(20));
        drop(inside);
        assert!(waiting.await);
        assert_eq!(gate.inside(), 0);
    }
}
