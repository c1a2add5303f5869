//! The calling side: connections are made when they are needed, and kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::rustls;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, ConnectionOptions, PeerConnectionCounts};
use super::handshake::{self, Hello, Purpose};
use super::tls::{self, JoiningTls, PeerIdentity, SharedPeerIdentity};
use super::{PeerIdentityError, server};
use crate::raft::{Peer, PeerChannel, PeerError, PeerFuture, PeerTransport};

/// Bounds of the calling side.
#[derive(Debug, Clone)]
pub struct PeerClientsOptions {
    /// How long connecting, TLS and hello may take.
    pub connect_timeout: Duration,
    /// The first pause after a connection could not be made; it doubles up to `pause_max`.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// The longest time without a byte on a connection while a response is due. Then the connection
    /// is closed, and its requests fail. It must be longer than a round trip.
    pub silence_max: Duration,
    /// Nodes that are reached at another address than the one they advertise.
    pub routes: BTreeMap<u64, String>,
}

/// Heartbeats without a byte after which a connection is closed.
const SILENT_HEARTBEATS: u32 = 3;
/// The least time without a byte after which a connection is closed: a busy machine needs a moment.
const SILENCE_MIN: Duration = Duration::from_millis(1_050);

impl PeerClientsOptions {
    /// The longest silence for a cluster with this heartbeat.
    #[must_use]
    pub fn silence_for(heartbeat: Duration) -> Duration {
        (heartbeat * SILENT_HEARTBEATS).max(SILENCE_MIN)
    }
}

impl Default for PeerClientsOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(1),
            silence_max: SILENCE_MIN,
            routes: BTreeMap::new(),
        }
    }
}

/// One way to one peer.
#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    connection: Option<Arc<Connection>>,
    /// What it was made with.
    identity: Option<Arc<PeerIdentity>>,
    /// The address that it leads to.
    address: String,
    /// Not to be tried again before.
    paused_until: Option<Instant>,
    failures: u32,
    last_error: Option<PeerError>,
}

/// Connections to every peer, made when needed. Implements [`PeerTransport`].
pub struct PeerClients {
    identity: SharedPeerIdentity,
    options: PeerClientsOptions,
    slots: Mutex<BTreeMap<(u64, PeerChannel), Arc<Slot>>>,
    tasks: TaskTracker,
    counts: Arc<PeerConnectionCounts>,
}

impl std::fmt::Debug for PeerClients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PeerClients({:?})", self.identity)
    }
}

impl PeerClients {
    /// No connection yet.
    #[must_use]
    pub fn new(identity: impl Into<SharedPeerIdentity>, options: PeerClientsOptions) -> Self {
        Self {
            identity: identity.into(),
            options,
            slots: Mutex::default(),
            tasks: TaskTracker::new(),
            counts: Arc::default(),
        }
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> &PeerConnectionCounts {
        &self.counts
    }

    /// Closes the connections to nodes that are no members any more, and lets go of those that were
    /// made with a certificate of before: they end with what is under way on them.
    pub fn keep(&self, member: impl Fn(u64) -> bool) {
        let identity = self.identity.current();
        self.slots.lock().retain(|(node_id, _), slot| {
            let keep = member(*node_id);
            if keep
                && let Ok(mut state) = slot.state.try_lock()
                && state.identity.as_ref().is_some_and(|made| !Arc::ptr_eq(made, &identity))
            {
                (state.connection, state.identity) = (None, None);
            }
            if !keep
                && let Ok(state) = slot.state.try_lock()
                && let Some(connection) = &state.connection
            {
                connection.close();
            }
            keep
        });
    }

    /// Asks a node to be let into its cluster: one request, one answer.
    ///
    /// # Errors
    /// No way there, an end that the authority did not sign, or no answer in time.
    pub async fn ask_to_join(
        address: &str,
        (cluster_id, member): (&str, u64),
        JoiningTls(connector): &JoiningTls,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let work = async {
            let name = tls::server_name(cluster_id, member).map_err(unusable)?;
            let hello = Hello {
                purpose: Purpose::Join,
                from: 0,
                to: member,
                cluster_id: cluster_id.to_owned(),
            };
            let stream = connect(address).await?;
            let mut stream = connector.connect(name, stream).await.map_err(unreachable)?;
            handshake::greet(&mut stream, &hello).await.map_err(unreachable)?;
            let (tasks, counts) = (TaskTracker::new(), Arc::default());
            let connection = Connection::start(
                stream,
                &ConnectionOptions {
                    channel: PeerChannel::Forward,
                    // The whole request has a limit already, and nothing is tried again.
                    silence_max: timeout,
                    tasks: &tasks,
                    counts: &counts,
                },
            );
            let answer = connection.call(request).await;
            connection.close();
            answer
        };
        let limit = || PeerError::NoAnswer(format!("within {timeout:?}"));
        tokio::time::timeout(timeout, work).await.map_err(|_| limit())?
    }

    async fn connection(
        &self,
        peer: &Peer,
        channel: PeerChannel,
    ) -> Result<Arc<Connection>, PeerError> {
        let slot = Arc::clone(self.slots.lock().entry((peer.node_id, channel)).or_default());
        // Those who come meanwhile wait for the same connection.
        let mut state = slot.state.lock().await;
        let (address, identity) = (self.address(peer), self.identity.current());
        if let Some(connection) = &state.connection
            && !connection.is_closed()
            && state.address == address
            && state.identity.as_ref().is_some_and(|made| Arc::ptr_eq(made, &identity))
        {
            return Ok(Arc::clone(connection));
        }
        if state.address != address {
            *state = SlotState { address: address.to_owned(), ..SlotState::default() };
        }
        if state.paused_until.is_some_and(|until| Instant::now() < until) {
            let unknown = || PeerError::Unreachable(String::new());
            return Err(state.last_error.clone().unwrap_or_else(unknown));
        }
        let opening = self.open(peer, channel, &identity);
        let opened = tokio::time::timeout(self.options.connect_timeout, opening);
        let late = || PeerError::Unreachable(format!("{address} does not answer"));
        match opened.await.unwrap_or_else(|_| Err(late())) {
            Ok(connection) => {
                (state.failures, state.paused_until) = (0, None);
                state.connection = Some(Arc::clone(&connection));
                state.identity = Some(identity);
                self.counts.opened.fetch_add(1, Ordering::Relaxed);
                Ok(connection)
            }
            Err(error) => {
                let pause = self.options.pause_min * 2u32.saturating_pow(state.failures.min(16));
                state.paused_until = Some(Instant::now() + pause.min(self.options.pause_max));
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(error.clone());
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Where a node is reached from here.
    fn address<'a>(&'a self, peer: &'a Peer) -> &'a str {
        self.options.routes.get(&peer.node_id).unwrap_or(&peer.attributes.peer_address)
    }

    async fn open(
        &self,
        peer: &Peer,
        channel: PeerChannel,
        identity: &PeerIdentity,
    ) -> Result<Arc<Connection>, PeerError> {
        let name = tls::server_name(&identity.cluster_id, peer.node_id).map_err(unusable)?;
        let stream = connect(self.address(peer)).await?;
        let refused = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => PeerError::Removed(peer.node_id),
            _ if is_distrust(&error) => PeerError::Distrusted(peer.node_id),
            _ => unreachable(error),
        };
        let mut stream = identity.connector.connect(name, stream).await.map_err(refused)?;
        let hello = Hello {
            purpose: Purpose::Channel(channel),
            from: identity.node_id,
            to: peer.node_id,
            cluster_id: identity.cluster_id.to_string(),
        };
        handshake::greet(&mut stream, &hello).await.map_err(refused)?;
        let options = ConnectionOptions {
            channel,
            silence_max: self.options.silence_max,
            tasks: &self.tasks,
            counts: &self.counts,
        };
        Ok(Connection::start(stream, &options))
    }

    async fn ask(
        &self,
        peer: Peer,
        channel: PeerChannel,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let mut connection = None;
        let work = async {
            let opened = self.connection(&peer, channel).await?;
            connection = Some(Arc::clone(&opened));
            opened.call(request).await
        };
        if let Ok(answer) = tokio::time::timeout(timeout, work).await {
            return answer;
        }
        match connection {
            // A node that does not answer may be cut off one way: the next request opens another
            // connection. A forwarded request may wait for the leader, so silence decides there.
            Some(connection) if channel != PeerChannel::Forward => {
                connection.close();
                Err(PeerError::NoAnswer(format!("within {timeout:?}")))
            }
            Some(_) => Err(PeerError::NoAnswer(format!("within {timeout:?}"))),
            None => Err(PeerError::Unreachable(format!("no connection within {timeout:?}"))),
        }
    }
}

impl PeerTransport for PeerClients {
    fn call(
        &self,
        peer: Peer,
        channel: PeerChannel,
        request: Vec<u8>,
        timeout: Duration,
    ) -> PeerFuture<'_> {
        Box::pin(self.ask(peer, channel, request, timeout))
    }
}

async fn connect(address: &str) -> Result<TcpStream, PeerError> {
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    server::guard(&stream).map_err(unreachable)?;
    Ok(stream)
}

/// Whether two ends do not trust who signed the other's certificate.
fn is_distrust(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(
            // Authorities of one cluster have one name: then it is the signature that does not fit.
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature
            ) | rustls::Error::AlertReceived(
                rustls::AlertDescription::UnknownCA | rustls::AlertDescription::DecryptError
            )
        )
    )
}

fn unreachable(error: std::io::Error) -> PeerError {
    PeerError::Unreachable(error.to_string())
}

fn unusable(error: PeerIdentityError) -> PeerError {
    PeerError::Unreachable(error.to_string())
}
