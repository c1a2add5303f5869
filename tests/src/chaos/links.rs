//! The links between nodes: one listener an ordered pair, and what becomes of the bytes each way.
//!
//! A connection from node 1 to node 2 carries bytes both ways. What a fault names is a way: bytes
//! from 1 to 2, whoever opened the connection. So a cut of one way leaves connections open that hear
//! and are not heard, as a broken route does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

mod damage;

use damage::Damaging;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces that are under way on one way of one connection; more stay with the sender.
const PIECES_MAX: usize = 64;
/// Open connections of one link; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;

/// What becomes of the bytes of one way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Mode {
    /// They pass.
    #[default]
    Pass,
    /// Nothing passes; connections stay open, and what was sent comes when the way is healed.
    Cut,
    /// Connections are reset, and new ones too.
    Reset,
    /// Each piece comes later by so many milliseconds, give or take.
    Delay {
        /// The middle.
        ms: u64,
        /// The most that it is off.
        jitter_ms: u64,
    },
    /// So many of a hundred pieces are lost: TCP sends them again later, or the connection breaks.
    Loss {
        /// Of a hundred.
        percent: u8,
    },
    /// So many of a thousand pieces have a byte changed.
    Corrupt {
        /// Of a thousand.
        permille: u16,
    },
}

/// Damage to the connections that are open when it is asked for. Later connections are sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Bytes are read and dropped from now on; the connection stays open.
    Swallow,
    /// The next TLS record gets a longer length, so that the receiver waits for its end.
    LongerRecord,
}

/// Who sends and who hears.
pub type Way = (u64, u64);

struct Shared {
    modes: BTreeMap<Way, watch::Sender<Mode>>,
    damages: BTreeMap<Way, broadcast::Sender<Damage>>,
    targets: Mutex<BTreeMap<u64, SocketAddr>>,
    seeds: AtomicU64,
    /// Bytes that were changed on their way.
    corrupted: AtomicU64,
}

/// Every link of a cluster. Dropping it closes them.
pub struct Links {
    shared: Arc<Shared>,
    addresses: BTreeMap<Way, SocketAddr>,
    /// Dropped with the links, and what they carry with them.
    _tasks: JoinSet<()>,
}

impl Links {
    /// Listens for every ordered pair of nodes `1..=nodes` on ports of the system's choice.
    ///
    /// # Errors
    /// No port.
    pub async fn open(nodes: u64, seed: u64) -> Result<Self> {
        let ways = || (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
        let ways = || ways().filter(|(from, to)| from != to);
        let shared = Arc::new(Shared {
            modes: ways().map(|way| (way, watch::Sender::new(Mode::Pass))).collect(),
            damages: ways().map(|way| (way, broadcast::Sender::new(1))).collect(),
            targets: Mutex::default(),
            seeds: AtomicU64::new(seed),
            corrupted: AtomicU64::new(0),
        });
        let (mut addresses, mut listeners) = (BTreeMap::new(), JoinSet::new());
        for way in ways() {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.insert(way, listener.local_addr()?);
            listeners.spawn(listen(Arc::clone(&shared), way, listener));
        }
        Ok(Self { shared, addresses, _tasks: listeners })
    }

    /// Where `from` reaches every other node.
    #[must_use]
    pub fn routes(&self, from: u64) -> BTreeMap<u64, SocketAddr> {
        let own = self.addresses.iter().filter(|((source, _), _)| *source == from);
        own.map(|((_, to), address)| (*to, *address)).collect()
    }

    /// Where a node really listens.
    pub fn set_target(&self, node: u64, address: SocketAddr) {
        self.shared.targets.lock().insert(node, address);
    }

    /// Sets what becomes of the bytes from one node to another.
    pub fn set(&self, way: Way, mode: Mode) {
        if let Some(sender) = self.shared.modes.get(&way) {
            sender.send_replace(mode);
        }
    }

    /// Damages the connections that carry bytes from one node to another now. Healing does not mend
    /// them: the nodes must replace them. Returns the number of ways of connections.
    pub fn damage(&self, way: Way, damage: Damage) -> usize {
        let sender = self.shared.damages.get(&way);
        sender.map_or(0, |sender| sender.send(damage).unwrap_or(0))
    }

    /// Every way passes again.
    pub fn heal(&self) {
        for sender in self.shared.modes.values() {
            sender.send_replace(Mode::Pass);
        }
    }

    /// How many bytes were changed on their way.
    #[must_use]
    pub fn corrupted(&self) -> u64 {
        self.shared.corrupted.load(Ordering::Relaxed)
    }
}

async fn listen(shared: Arc<Shared>, way: Way, listener: TcpListener) {
    let mut carried = JoinSet::new();
    loop {
        while carried.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if carried.len() < CONNECTIONS_MAX {
            let shared = Arc::clone(&shared);
            carried.spawn(async move { carry(&shared, way, stream).await });
        }
    }
}

/// Carries one connection until an end of it goes, or it is reset.
async fn carry(shared: &Arc<Shared>, way: Way, client: TcpStream) {
    let target = shared.targets.lock().get(&way.1).copied();
    let back = (way.1, way.0);
    let faults_of = |way| Some((shared.modes.get(&way)?, shared.damages.get(&way)?));
    let (Some((forth_mode, forth_damage)), Some((back_mode, back_damage)), Some(target)) =
        (faults_of(way), faults_of(back), target)
    else {
        return;
    };
    let (mut forth_mode, mut back_mode) = (forth_mode.subscribe(), back_mode.subscribe());
    let (forth_damage, back_damage) = (forth_damage.subscribe(), back_damage.subscribe());
    // A packet that asks for a connection does not arrive where the way is cut.
    let open = |mode: &Mode| !matches!(mode, Mode::Cut);
    if forth_mode.wait_for(open).await.is_err() || back_mode.wait_for(open).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let seed = || shared.seeds.fetch_add(1, Ordering::Relaxed);
    let faults = |mode, damage| Faults { mode, damage: Damaging::new(damage), seed: seed() };
    tokio::select! {
        () = pump(shared, faults(forth_mode, forth_damage), client_read, server_write) => {}
        () = pump(shared, faults(back_mode, back_damage), server_read, client_write) => {}
    }
}

/// What becomes of the bytes of one way of one connection.
struct Faults {
    mode: watch::Receiver<Mode>,
    damage: Damaging,
    seed: u64,
}

/// Carries bytes one way. Ends with the connection.
async fn pump(
    shared: &Shared,
    Faults { mode, mut damage, seed }: Faults,
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
) {
    let (pieces, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let mut sent_mode = mode.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let reading = async {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            let mut piece = buffer[..count].to_vec();
            if damage.swallows(&mut piece) {
                continue;
            }
            let mut at = Instant::now();
            let now = *mode.borrow();
            match now {
                Mode::Pass | Mode::Cut => {}
                Mode::Reset => return,
                Mode::Delay { ms, jitter_ms } => {
                    let least = ms.saturating_sub(jitter_ms);
                    at += Duration::from_millis(rng.random_range(least..=ms + jitter_ms));
                }
                Mode::Loss { percent } => {
                    if rng.random_range(0..100) < percent {
                        // Sent again after the time-out of a retransmission; the third time it breaks.
                        if rng.random_range(0..8) == 0 {
                            return;
                        }
                        at += Duration::from_millis(rng.random_range(200..=600));
                    }
                }
                Mode::Corrupt { permille } => {
                    if rng.random_range(0..1000) < permille {
                        let place = rng.random_range(0..count);
                        piece[place] ^= 1 << rng.random_range(0..8);
                        shared.corrupted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            if pieces.send((at, piece)).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            // What is under way when the way is cut waits until it is healed.
            if sent_mode.wait_for(|mode| !matches!(mode, Mode::Cut)).await.is_err() {
                return;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let mut reset_mode = mode.clone();
    let reset = async {
        let _ = reset_mode.wait_for(|mode| matches!(mode, Mode::Reset)).await;
    };
    // Whoever ends first ends the connection: half-open ones are not what nodes use.
    tokio::select! {
        () = reading => {}
        () = writing => {}
        () = reset => {}
    }
}

#[cfg(test)]
mod tests;
