//! The listener for operators: mutual TLS, bounded, guarded, and a session behind each guard.
//!
//! ```text
//! accept -> slot (a full house drops its oldest stranger) -> TLS within a limit, certificate asked
//!        -> connections of this certificate bounded -> guard <-> duplex <-> session -> admin actor
//! ```

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use verdict_consensus::peers::guard_stream;

use crate::actor::{AdminActor, AdminActorOptions};
use crate::guard::{GuardEnd, GuardLimits, pump};
use crate::sessions::{Sessions, SessionsHandle};
use crate::tls::{SharedAdminIdentity, distrusted};

/// Bytes between a guard and its session.
const DUPLEX_BYTES: usize = 64 << 10;
/// What a failed accept waits before the next: the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of the listener.
#[derive(Debug, Clone)]
pub struct AdminServerOptions {
    /// Connections whose certificate was checked.
    pub connections_max: usize,
    /// Of one certificate.
    pub connections_of_one_max: usize,
    /// Connections that have not proved anything yet; one more drops the oldest.
    pub handshakes_max: usize,
    /// How long a handshake may take.
    pub handshake_within: Duration,
    /// Of each connection.
    pub guard: GuardLimits,
}

impl Default for AdminServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 256,
            connections_of_one_max: 32,
            handshakes_max: 256,
            handshake_within: Duration::from_secs(3),
            guard: GuardLimits::default(),
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct AdminCounts {
    /// Connections that were taken.
    pub accepted: AtomicU64,
    /// Of them, those that got no further than their handshake.
    pub strangers: AtomicU64,
    /// Connections that a guard ended for what they sent.
    pub guarded: AtomicU64,
}

/// An admin server: three actors, which a supervisor starts, in this order, and starts again when
/// they fail. What waits at the socket outlives all of them. Cloning shares it.
#[derive(Clone)]
pub struct AdminServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Counts since the start.
    pub counts: Arc<AdminCounts>,
    house: Arc<House>,
}

impl std::fmt::Debug for AdminServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AdminServer({})", self.address)
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminServerError {
    /// The socket.
    #[error("the admin port: {0}")]
    Listen(#[from] std::io::Error),
    /// An actor.
    #[error("an actor does not start: {0}")]
    Spawn(#[from] ractor::SpawnErr),
}

impl AdminServer {
    /// A server over a socket that is listened on; its actors are not started yet.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(
        listener: TcpListener,
        actor: AdminActorOptions,
        options: AdminServerOptions,
    ) -> Result<Self, AdminServerError> {
        let address = listener.local_addr()?;
        let identity = actor.identity.clone();
        let counts = Arc::new(AdminCounts::default());
        let house = Arc::new(House {
            name: format!("node-{}@{}", actor.answering.node_id, actor.answering.cluster_id),
            listener,
            actor,
            working: Arc::default(),
            sessions: SessionsHandle::default(),
            connections: Arc::new(Semaphore::new(options.connections_max)),
            guests: Mutex::default(),
            strangers: Mutex::default(),
            next_id: AtomicU64::new(1),
            counts: Arc::clone(&counts),
            identity,
            options,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        Ok(Self { address, counts, house })
    }

    /// The actor that sessions report to.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.house.sessions.sessions()
    }

    /// The actor that answers.
    #[must_use]
    pub fn actor(&self) -> AdminActor {
        let House { actor, working, .. } = &*self.house;
        AdminActor { options: actor.clone(), working: Arc::clone(working) }
    }

    /// The actor that accepts connections.
    #[must_use]
    pub fn listener(&self) -> Listener {
        Listener { house: Arc::clone(&self.house) }
    }

    /// Connections whose certificate was checked, and the most there may be.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        let most = self.house.options.connections_max;
        let free = self.house.connections.available_permits();
        (most.saturating_sub(free) as u64, most as u64)
    }

    /// Requests that are worked on, and the most that the guards let through.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        let AdminServerOptions { connections_max, guard, .. } = &self.house.options;
        let most = connections_max.saturating_mul(guard.calls_max);
        (self.house.working.load(Ordering::Relaxed), most as u64)
    }

    /// Handshakes under way, and the most there may be.
    #[must_use]
    pub fn handshakes(&self) -> (u64, u64) {
        let most = self.house.options.handshakes_max;
        (self.house.strangers.lock().len() as u64, most as u64)
    }

    /// Starts the actors without anybody who starts them again: for programs without a tree.
    ///
    /// # Errors
    /// The runtime refuses.
    pub async fn start_alone(&self) -> Result<(), AdminServerError> {
        Actor::spawn(None, self.sessions(), ()).await?;
        Actor::spawn(None, self.actor(), ()).await?;
        Actor::spawn(None, self.listener(), ()).await?;
        Ok(())
    }

    /// Accepts no more, and ends what is open. The actors end with whoever started them.
    pub async fn stop(&self) {
        self.house.stop.cancel();
        self.house.tasks.close();
        self.house.tasks.wait().await;
    }
}

/// The actor that accepts connections: its loop is a task, whose end is its failure.
pub struct Listener {
    house: Arc<House>,
}

/// What the listener hears of its loop.
pub enum ListenerMessage {
    /// It panicked.
    Ended(String),
}

impl ractor::Message for ListenerMessage {}

impl Actor for Listener {
    type Msg = ListenerMessage;
    /// Ends the loop with the actor.
    type State = DropGuard;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let house = Arc::clone(&self.house);
        let stop = house.stop.child_token();
        let guard = stop.clone().drop_guard();
        self.house.tasks.spawn(async move {
            let served = AssertUnwindSafe(serve(house, stop)).catch_unwind().await;
            if served.is_err() {
                // It is gone where the loop's end is its own.
                drop(myself.cast(ListenerMessage::Ended("the accept loop panicked".to_owned())));
            }
        });
        Ok(guard)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let ListenerMessage::Ended(text) = message;
        Err(text.into())
    }
}

/// Everything that connections share.
struct House {
    name: String,
    listener: TcpListener,
    actor: AdminActorOptions,
    /// Requests that are worked on.
    working: Arc<AtomicU64>,
    sessions: SessionsHandle,
    stop: CancellationToken,
    tasks: TaskTracker,
    identity: SharedAdminIdentity,
    options: AdminServerOptions,
    connections: Arc<Semaphore>,
    /// Connections by the certificate they came with.
    guests: Mutex<HashMap<Vec<u8>, usize>>,
    /// Handshakes under way, oldest first.
    strangers: Mutex<BTreeMap<u64, CancellationToken>>,
    next_id: AtomicU64,
    counts: Arc<AdminCounts>,
}

async fn serve(house: Arc<House>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = house.listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, from)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        house.counts.accepted.fetch_add(1, Ordering::Relaxed);
        // A connection outlives a loop that is started again.
        let (house, stop) = (Arc::clone(&house), house.stop.clone());
        let tasks = house.tasks.clone();
        tasks.spawn(async move {
            let id = house.next_id.fetch_add(1, Ordering::Relaxed);
            let served = tokio::select! {
                served = house.receive(id, stream, from.ip().to_canonical()) => served,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(end) = served {
                tracing::debug!(%from, %end, "an admin connection ended");
            }
        });
    }
}

impl House {
    async fn receive(&self, id: u64, stream: TcpStream, from: IpAddr) -> Result<(), GuardEnd> {
        guard_stream(&stream)?;
        // From before the handshake on, so that no replacement is missed.
        let identities = self.identity.subscribe();
        let stream = self.shake_hands(id, stream).await.inspect_err(|_| {
            self.counts.strangers.fetch_add(1, Ordering::Relaxed);
        })?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let certificate =
            chain.first().ok_or(GuardEnd::Refused("a connection without a certificate"))?;
        let _guest = self.seat(certificate.as_ref().to_vec())?;
        let (inside, outside) = tokio::io::duplex(DUPLEX_BYTES);
        let session = self.sessions.begin(id, &self.name, true, inside).await;
        let session = session.map_err(|_| GuardEnd::Closed)?;
        let end = tokio::select! {
            end = pump(stream, outside, Some(from), self.options.guard.clone()) => end,
            () = distrusted(identities, chain) => {
                GuardEnd::Refused("a certificate of an authority that is gone")
            }
        };
        session.stop();
        if matches!(end, GuardEnd::Refused(_) | GuardEnd::Late(_)) {
            self.counts.guarded.fetch_add(1, Ordering::Relaxed);
        }
        Err(end)
    }

    /// TLS, within a limit of time, and of others who are at it: a newcomer drops the oldest, so
    /// that silent connections keep nobody out.
    async fn shake_hands(
        &self,
        id: u64,
        stream: TcpStream,
    ) -> Result<tokio_rustls::server::TlsStream<TcpStream>, GuardEnd> {
        let dropped = CancellationToken::new();
        let identity = self.identity.current();
        {
            let mut strangers = self.strangers.lock();
            if strangers.len() >= self.options.handshakes_max
                && let Some((_, oldest)) = strangers.pop_first()
            {
                oldest.cancel();
            }
            strangers.insert(id, dropped.clone());
        }
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(
                self.options.handshake_within,
                identity.acceptor.accept(stream),
            ) => shaken.map_err(|_| GuardEnd::Late("the handshake took too long"))
                .and_then(|shaken| shaken.map_err(GuardEnd::from)),
            () = dropped.cancelled() => Err(GuardEnd::Late("newcomers needed the place")),
        };
        self.strangers.lock().remove(&id);
        shaken
    }

    fn seat(&self, certificate: Vec<u8>) -> Result<Guest<'_>, GuardEnd> {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        let permit = permit.map_err(|_| GuardEnd::Refused("there are too many connections"))?;
        let mut guests = self.guests.lock();
        let seats = guests.entry(certificate.clone()).or_default();
        if *seats >= self.options.connections_of_one_max {
            return Err(GuardEnd::Refused("too many connections with one certificate"));
        }
        *seats += 1;
        Ok(Guest { house: self, certificate, _permit: permit })
    }
}

/// A seat, given back when the connection ends.
struct Guest<'a> {
    house: &'a House,
    certificate: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let mut guests = self.house.guests.lock();
        if let Some(seats) = guests.get_mut(&self.certificate) {
            *seats -= 1;
            if *seats == 0 {
                guests.remove(&self.certificate);
            }
        }
    }
}
