//! Liveness of a connection: the time since a byte arrived while requests wait for a response.
//!
//! A connection can stay open and carry nothing: a network device drops its packets, or a changed
//! length makes the other end wait for a TLS record that never ends. TCP does not report that. So the
//! calling end measures silence. Half-way to the limit it sends an empty request, which every version
//! of the program answers at once; a slow response alone is therefore never taken for a dead
//! connection. At the limit the connection is closed, and the next request opens another.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The id of a probe's frame. No request has it, so its response is read and dropped.
pub const PROBE_ID: u64 = u64::MAX;
/// Bytes a second that the slowest usable link carries. A request on its way extends the limit by the
/// time that it needs at this rate.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// The silence of one connection.
#[derive(Debug)]
pub struct Liveness {
    limit: Duration,
    state: Mutex<State>,
    began: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Since when a response is due and no byte has arrived.
    silent_since: Option<Instant>,
    /// Bytes of requests that were sent since then.
    bytes: u64,
    probed: bool,
}

impl Liveness {
    /// A connection that may be silent for so long.
    pub fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default(), began: Notify::new() }
    }

    /// Notes a request of so many bytes.
    pub fn requested(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_add(bytes as u64);
        if state.silent_since.is_none() {
            state.silent_since = Some(Instant::now());
            self.began.notify_one();
        }
    }

    /// Notes that bytes arrived.
    pub fn received(&self) {
        let mut state = self.state.lock();
        if state.silent_since.is_some() {
            *state = State { silent_since: Some(Instant::now()), ..State::default() };
        }
    }

    /// Notes that no request waits any more.
    pub fn idle(&self) {
        *self.state.lock() = State::default();
    }

    /// Returns once the connection was silent for too long. `probe` sends an empty request.
    pub async fn lost(&self, probe: impl Fn()) {
        loop {
            let (since, bytes, probed) = {
                let state = self.state.lock();
                (state.silent_since, state.bytes, state.probed)
            };
            let Some(since) = since else {
                self.began.notified().await;
                continue;
            };
            let sending = Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_SECOND_MIN);
            let (probe_at, end) = (since + self.limit / 2, since + self.limit + sending);
            let now = Instant::now();
            if now >= end {
                return;
            }
            if !probed && now >= probe_at {
                self.state.lock().probed = true;
                probe();
            }
            tokio::time::sleep_until(if now < probe_at { probe_at } else { end }).await;
        }
    }
}

/// A stream that notes each arrival of bytes.
pub struct Observed<'a, S> {
    /// The stream.
    pub stream: S,
    /// The connection's silence.
    pub liveness: &'a Liveness,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.liveness.received();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(1_000);

    /// The time until the connection counts as lost, and the probes until then.
    async fn lost_after(liveness: &Liveness, probes: &AtomicU32) -> Duration {
        let begun = Instant::now();
        let probe = || {
            probes.fetch_add(1, Ordering::Relaxed);
        };
        liveness.lost(probe).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_byte_ends_the_connection_at_the_limit() {
        let (liveness, probes) = (Liveness::new(LIMIT), AtomicU32::new(0));
        liveness.requested(100);
        let took = lost_after(&liveness, &probes).await;
        assert!(took >= LIMIT && took < LIMIT + Duration::from_millis(50), "{took:?}");
        assert_eq!(probes.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_arrive_and_requests_that_are_long_extend_the_limit() {
        let (liveness, probes) = (Liveness::new(LIMIT), AtomicU32::new(0));
        liveness.requested(100);
        let arriving = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                liveness.received();
            }
        };
        let (took, ()) = tokio::join!(lost_after(&liveness, &probes), arriving);
        assert!(took >= Duration::from_secs(10), "{took:?}");
        assert!(probes.load(Ordering::Relaxed) >= 10);
        let liveness = Liveness::new(LIMIT);
        liveness.requested(1 << 20);
        let took = lost_after(&liveness, &probes).await;
        assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_may_be_silent() {
        let (liveness, probes) = (Liveness::new(LIMIT), AtomicU32::new(0));
        liveness.requested(100);
        liveness.idle();
        let waiting = lost_after(&liveness, &probes);
        let ended = tokio::time::timeout(LIMIT * 100, waiting).await;
        assert!(ended.is_err(), "{ended:?}");
        assert_eq!(probes.load(Ordering::Relaxed), 0);
    }
}
