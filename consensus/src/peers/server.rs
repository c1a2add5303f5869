//! The called side: bounded accepting, bounded handshakes, bounded work.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, PeerConnectionCounts};
use super::frame::{self, Frame, FrameKind};
use super::handshake::{self, Hello, Host, Purpose};
use super::tls::{PeerIdentity, SharedPeerIdentity};
use crate::raft::PeerChannel;

/// A frame that began arrives within so long.
const FRAME_WITHIN: Duration = Duration::from_secs(60);

/// Bounds of the called side.
#[derive(Debug, Clone)]
pub struct PeerServerOptions {
    /// Connections that are open at once.
    pub connections_max: usize,
    /// Handshakes under way at once; more wait.
    pub handshakes_max: usize,
    /// How long TLS and hello may take.
    pub handshake_timeout: Duration,
    /// A connection on which nothing is asked for so long is closed.
    pub idle_timeout: Duration,
}

impl Default for PeerServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 512,
            handshakes_max: 64,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

/// An answer under way.
pub type ServiceFuture<'a> = Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>>;

/// Answers what peers ask.
pub trait PeerService: Send + Sync + 'static {
    /// Answers a request of a node that proved to be `from`.
    fn answer(&self, from: u64, channel: PeerChannel, request: Vec<u8>) -> ServiceFuture<'_>;

    /// Whether a node was removed from the cluster: it is not answered.
    fn is_removed(&self, _node: u64) -> bool {
        false
    }

    /// Changes whenever [`Self::is_removed`] may: connections of removed nodes are closed.
    fn removals(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Answers a node that asks to join. `certificate` is what it showed, DER, if it has one: one that
    /// an authority signed that is trusted here.
    fn join(&self, certificate: Option<Vec<u8>>, request: Vec<u8>) -> ServiceFuture<'_>;
}

/// A bound listener for peers.
pub struct PeerListener {
    listener: TcpListener,
    identity: SharedPeerIdentity,
    options: PeerServerOptions,
    counts: Arc<PeerConnectionCounts>,
}

impl std::fmt::Debug for PeerListener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PeerListener({:?})", self.identity)
    }
}

/// Keeps a stream from waiting for ever for an end that is gone.
///
/// # Errors
/// The system refuses an option.
pub fn guard(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    Ok(())
}

impl PeerListener {
    /// Listens on an address.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        identity: impl Into<SharedPeerIdentity>,
        options: PeerServerOptions,
    ) -> std::io::Result<Self> {
        Ok(Self::new(TcpListener::bind(address).await?, identity, options))
    }

    /// Takes a listener that is bound.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        identity: impl Into<SharedPeerIdentity>,
        options: PeerServerOptions,
    ) -> Self {
        Self { listener, identity: identity.into(), options, counts: Arc::default() }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> Arc<PeerConnectionCounts> {
        Arc::clone(&self.counts)
    }

    /// Serves until it is told to stop; then open connections end at once.
    pub async fn serve(self, service: Arc<dyn PeerService>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let connections = Arc::new(Semaphore::new(self.options.connections_max));
        let handshakes = Arc::new(Semaphore::new(self.options.handshakes_max));
        let host = Arc::new(Serving {
            service,
            identity: self.identity,
            options: self.options,
            counts: self.counts,
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors: accepting again at once would spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            // One that is too many is closed, not kept waiting: its caller tries again.
            let Ok(connection) = Arc::clone(&connections).try_acquire_owned() else {
                host.counts.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let (host, handshakes, stop) =
                (Arc::clone(&host), Arc::clone(&handshakes), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = host.connection(stream, &handshakes) => {}
                }
                drop(connection);
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

/// What a connection brought.
enum Next {
    Request(Frame),
    /// Nothing for a long time.
    Idle,
    /// The end, or what is no request.
    Ended,
}

/// Who called, after TLS and hello.
struct Caller {
    hello: Hello,
    /// The certificate it showed, and what stands between it and an authority.
    chain: Vec<CertificateDer<'static>>,
}

/// Waits until an identity takes the place of the one before that would not let the caller in.
async fn distrusted(
    mut identities: watch::Receiver<Arc<PeerIdentity>>,
    chain: Vec<CertificateDer<'static>>,
) {
    loop {
        if chain.is_empty() || identities.changed().await.is_err() {
            return std::future::pending().await;
        }
        let identity = Arc::clone(&identities.borrow_and_update());
        if !identity.trusts(&chain) {
            return;
        }
    }
}

/// Waits until a node is removed from the cluster.
async fn removed(service: &dyn PeerService, node: u64) {
    let Some(mut removals) = service.removals() else { return std::future::pending().await };
    loop {
        removals.borrow_and_update();
        if service.is_removed(node) {
            return;
        }
        if removals.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

struct Serving {
    service: Arc<dyn PeerService>,
    identity: SharedPeerIdentity,
    options: PeerServerOptions,
    counts: Arc<PeerConnectionCounts>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Serving {
    async fn connection(self: &Arc<Self>, stream: TcpStream, handshakes: &Semaphore) {
        // From before the handshake on, so that no replacement is missed.
        let mut identities = self.identity.subscribe();
        let identity = Arc::clone(&identities.borrow_and_update());
        let shaken = async {
            let _turn = handshakes.acquire().await.map_err(std::io::Error::other)?;
            tokio::time::timeout(
                self.options.handshake_timeout,
                self.shake_hands(stream, &identity),
            )
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
        };
        match shaken.await {
            Ok((stream, caller)) => {
                self.counts.opened.fetch_add(1, Ordering::Relaxed);
                let (from, chain) = (caller.hello.from, caller.chain.clone());
                tokio::select! {
                    () = self.serve(stream, caller) => {}
                    () = distrusted(identities, chain) => {
                        tracing::info!(from, "a connection of an authority that is gone is closed");
                    }
                    () = removed(&*self.service, from) => {
                        tracing::info!(from, "a connection of a node that was removed is closed");
                    }
                }
            }
            Err(error) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "a peer's connection was not taken");
            }
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        identity: &PeerIdentity,
    ) -> std::io::Result<(tokio_rustls::server::TlsStream<TcpStream>, Caller)> {
        guard(&stream)?;
        let mut stream = identity.acceptor.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let host = Host {
            node_id: identity.node_id,
            cluster_id: &identity.cluster_id,
            certificate: chain.first().map(|certificate| certificate.as_ref()),
            is_removed: &|node| self.service.is_removed(node),
        };
        let hello = handshake::welcome(&mut stream, &host).await?;
        Ok((stream, Caller { hello, chain }))
    }

    async fn serve<S>(self: &Arc<Self>, stream: S, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let in_flight = match caller.hello.purpose {
            Purpose::Channel(channel) => connection::in_flight_max(channel),
            Purpose::Join => 1,
        };
        let (reading, writing) = tokio::io::split(stream);
        let (answers, queue) = mpsc::channel(in_flight);
        let closed = self.stop.child_token();
        let (token, counts) = (closed.clone(), Arc::clone(&self.counts));
        self.tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                _ = connection::write_frames(writing, queue, counts) => token.cancel(),
            }
        });
        let _close = closed.clone().drop_guard();
        let slots = Arc::new(Semaphore::new(in_flight));
        let mut reading = BufReader::with_capacity(64 << 10, reading);
        loop {
            let frame = tokio::select! {
                () = closed.cancelled() => return,
                frame = self.next_request(&mut reading) => match frame {
                    Next::Request(frame) => frame,
                    // Long answers may be under way on a connection that asks nothing more.
                    Next::Idle if slots.available_permits() < in_flight => continue,
                    Next::Idle | Next::Ended => return,
                },
            };
            self.counts.bytes_received.fetch_add(frame.bytes.len() as u64, Ordering::Relaxed);
            match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => self.start(&caller, frame, slot, answers.clone()),
                Err(_) => {
                    let busy = Frame { id: frame.id, kind: FrameKind::Busy, bytes: Vec::new() };
                    if answers.send(busy).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn next_request(&self, reading: &mut (impl AsyncBufRead + Unpin)) -> Next {
        // Waiting for the first byte can be given up without losing a part of a frame.
        match tokio::time::timeout(self.options.idle_timeout, reading.fill_buf()).await {
            Err(_) => return Next::Idle,
            Ok(Ok([])) | Ok(Err(_)) => return Next::Ended,
            Ok(Ok(_)) => {}
        }
        match tokio::time::timeout(FRAME_WITHIN, frame::read(reading)).await {
            Ok(Ok(Some(frame))) if frame.kind == FrameKind::Request => Next::Request(frame),
            _ => Next::Ended,
        }
    }

    fn start(
        self: &Arc<Self>,
        caller: &Caller,
        Frame { id, bytes, .. }: Frame,
        slot: OwnedSemaphorePermit,
        answers: mpsc::Sender<Frame>,
    ) {
        let Hello { from, purpose, .. } = caller.hello;
        let host = Arc::clone(self);
        if host.service.is_removed(from) {
            // Its connection is about to be closed.
            return;
        }
        let certificate = caller.chain.first().map(|certificate| certificate.to_vec());
        self.tasks.spawn(async move {
            let answering = match purpose {
                Purpose::Channel(channel) => host.service.answer(from, channel, bytes),
                Purpose::Join => host.service.join(certificate, bytes),
            };
            let answer = tokio::select! {
                () = host.stop.cancelled() => return,
                answer = answering => answer,
            };
            let frame = Frame { id, kind: FrameKind::Answer, bytes: answer };
            // A caller that left needs no answer.
            drop(answers.send(frame).await);
            drop(slot);
        });
    }
}
