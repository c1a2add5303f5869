//! A connection after its handshake: requests with ids, responses in any order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{self, Frame, FrameKind};
use super::liveness::{Liveness, Observed, PROBE_ID};
use crate::raft::{PeerChannel, PeerError};

/// Frames that wait to be written.
const WRITES_MAX: usize = 8;
/// A write that makes no progress for so long ends the connection.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Requests of one channel that may be under way on one connection.
pub const fn in_flight_max(channel: PeerChannel) -> usize {
    match channel {
        PeerChannel::Raft => 16,
        PeerChannel::Snapshot => 2,
        PeerChannel::Forward => 64,
        PeerChannel::Blob => 4,
    }
}

/// Counts over all connections of a process, since its start.
#[derive(Debug, Default)]
pub struct PeerConnectionCounts {
    /// Connections that were made or taken.
    pub opened: AtomicU64,
    /// Connections that were not: no way there, or an end that is not who it should be.
    pub refused: AtomicU64,
    /// Bytes of requests and answers sent.
    pub bytes_sent: AtomicU64,
    /// Bytes of requests and answers received.
    pub bytes_received: AtomicU64,
}

/// Writes frames until the queue or the connection ends.
pub(super) async fn write_frames(
    stream: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Frame>,
    counts: Arc<PeerConnectionCounts>,
) -> std::io::Result<()> {
    let mut stream = BufWriter::with_capacity(64 << 10, stream);
    while let Some(first) = frames.recv().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            counts.bytes_sent.fetch_add(frame.bytes.len() as u64, Ordering::Relaxed);
            timed(frame::write(&mut stream, &frame)).await?;
            // What waits goes out together.
            next = frames.try_recv().ok();
        }
        timed(stream.flush()).await?;
    }
    stream.shutdown().await
}

async fn timed<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    match tokio::time::timeout(WRITE_WITHIN, work).await {
        Ok(done) => done,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

type Waiting = Mutex<HashMap<u64, oneshot::Sender<Result<Vec<u8>, PeerError>>>>;

/// The calling end.
pub(super) struct Connection {
    frames: mpsc::Sender<Frame>,
    waiting: Arc<Waiting>,
    next_id: AtomicU64,
    slots: Semaphore,
    closed: CancellationToken,
    liveness: Arc<Liveness>,
}

/// How a connection works.
pub(super) struct ConnectionOptions<'a> {
    /// Bounds the requests that are under way.
    pub channel: PeerChannel,
    /// The longest time without a byte while a response is due.
    pub silence_max: Duration,
    /// Where the connection's tasks run.
    pub tasks: &'a TaskTracker,
    /// What the connection counts into.
    pub counts: &'a Arc<PeerConnectionCounts>,
}

impl Connection {
    /// Starts the tasks of a connection: one writes, one reads, one measures silence.
    pub fn start<S>(stream: S, options: &ConnectionOptions<'_>) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let ConnectionOptions { channel, silence_max, tasks, counts } = *options;
        let (reading, writing) = tokio::io::split(stream);
        let (frames, queue) = mpsc::channel(WRITES_MAX);
        let closed = CancellationToken::new();
        let connection = Arc::new(Self {
            frames,
            waiting: Arc::default(),
            next_id: AtomicU64::new(0),
            slots: Semaphore::new(in_flight_max(channel)),
            closed: closed.clone(),
            liveness: Arc::new(Liveness::new(silence_max)),
        });
        let (token, liveness) = (closed.clone(), Arc::clone(&connection.liveness));
        let probes = connection.frames.downgrade();
        tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = liveness.lost(|| send_probe(&probes)) => {
                    tracing::info!(?channel, "a peer's connection is silent and is closed");
                    token.cancel();
                }
            }
        });
        let (token, sent) = (closed.clone(), Arc::clone(counts));
        tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                _ = write_frames(writing, queue, sent) => token.cancel(),
            }
        });
        let (waiting, received) = (Arc::clone(&connection.waiting), Arc::clone(counts));
        let liveness = Arc::clone(&connection.liveness);
        tasks.spawn(async move {
            let reading = Observed { stream: reading, liveness: &liveness };
            tokio::select! {
                () = closed.cancelled() => {}
                () = read_answers(reading, &waiting, &received) => closed.cancel(),
            }
            // Nobody answers any more: dropping the senders tells those who wait.
            waiting.lock().clear();
        });
        connection
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Sends a request and waits for its answer.
    pub async fn call(&self, request: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        let unsent = || PeerError::Unreachable("the connection closed".to_owned());
        let _slot = self.slots.acquire().await.map_err(|_| unsent())?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let _forget = Forget { waiting: &self.waiting, id };
        if self.is_closed() {
            return Err(unsent());
        }
        self.liveness.requested(request.len());
        let frame = Frame { id, kind: FrameKind::Request, bytes: request };
        tokio::select! {
            () = self.closed.cancelled() => return Err(unsent()),
            sent = self.frames.send(frame) => sent.map_err(|_| unsent())?,
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(PeerError::NoAnswer("the connection broke".to_owned())),
        }
    }
}

/// Gives a place in the map back when its caller leaves.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

/// Sends an empty request. Where frames wait to be written already, their bytes are the probe.
fn send_probe(frames: &mpsc::WeakSender<Frame>) {
    if let Some(frames) = frames.upgrade() {
        let probe = Frame { id: PROBE_ID, kind: FrameKind::Request, bytes: Vec::new() };
        drop(frames.try_send(probe));
    }
}

async fn read_answers(
    stream: Observed<'_, impl AsyncRead + Unpin>,
    waiting: &Waiting,
    counts: &PeerConnectionCounts,
) {
    let liveness = stream.liveness;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    while let Ok(Some(frame)) = frame::read(&mut stream).await {
        counts.bytes_received.fetch_add(frame.bytes.len() as u64, Ordering::Relaxed);
        let result = match frame.kind {
            FrameKind::Answer => Ok(frame.bytes),
            FrameKind::Busy => Err(PeerError::Unreachable("the node is busy".to_owned())),
            // A server asks nothing.
            FrameKind::Request => return,
        };
        let mut waiting = waiting.lock();
        // One that left needs no answer.
        if let Some(sender) = waiting.remove(&frame.id) {
            drop(sender.send(result));
        }
        // Under the same lock as a request is noted, so that none is missed.
        if waiting.is_empty() {
            liveness.idle();
        }
    }
}
