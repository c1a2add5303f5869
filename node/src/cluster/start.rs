//! From a state folder to an open log and a bound listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use verdict_actors::blobs::BlobStore;
use verdict_actors::catalogue::{CompilingValidator, LastCompiled};
use verdict_actors::outbox::{Outbox, OutboxLimits};
use verdict_config::settings::{NetworkProfile, Settings};
use verdict_consensus::peers::{
    Authority, KeptIdentity, NodeKey, PeerClients, PeerClientsOptions, PeerListener,
    PeerServerOptions, PeerService, SharedPeerIdentity,
};
use verdict_consensus::{
    Catalogue, FolderIdentity, FolderStart, LocalLogOptions, LogError, NodeAttributes,
    PeerTransport, ProofCheck, RaftLog, RaftLogOptions, Seed, create_raft_folder,
    migrate_local_folder,
};

use tokio_util::sync::CancellationToken;

use verdict_rules::RuleLimits;

use super::given::{Given, GivenTls};
use super::proof::ProofGate;
use super::{Cluster, ClusterError, join};
use crate::http::keys::KeyRing;
use crate::process::NodeError;
use crate::server::ServerError;

/// What the profile for regions is made for.
const WAN_ROUND_TRIP: Duration = Duration::from_millis(150);

/// A node of a cluster whose listener is not served yet.
pub struct Opened {
    /// The node.
    pub cluster: Cluster,
    /// The listener for peers; none where the address was taken and no other node needs it.
    pub listener: Option<BoundPeers>,
    /// Whether the node has joined now, and has nothing of the catalogue yet.
    pub joined: bool,
    /// What the leader's validator compiled last.
    pub compiled: LastCompiled,
}

/// A bound address for peers, to be served on whichever runtime is to look after it.
pub struct BoundPeers {
    listener: std::net::TcpListener,
    identity: SharedPeerIdentity,
}

impl BoundPeers {
    /// Listens until it is told to stop. Connections belong to the runtime that runs this.
    pub async fn serve(self, service: Arc<dyn PeerService>, stop: CancellationToken) {
        match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => {
                let options = PeerServerOptions::default();
                PeerListener::new(listener, self.identity, options).serve(service, stop).await;
            }
            Err(error) => tracing::error!(%error, "no other node is heard"),
        }
    }
}

/// Opens the log of a state folder: of one that has an identity, by joining, or as the first node
/// of a cluster of its own.
///
/// # Errors
/// A damaged, newer or used folder; a cluster that does not let the node in; the address.
pub async fn open(
    settings: &Settings,
    http: SocketAddr,
    admin: Option<SocketAddr>,
    (blobs, keys): (&BlobStore, &KeyRing),
) -> Result<Opened, NodeError> {
    let data_dir = PathBuf::from(&settings.node.data_dir);
    let folder = data_dir.join("identity");
    let listener = bind(settings, http);
    let bound = listener.as_ref().ok().and_then(|listener| listener.local_addr().ok());
    let attributes = attributes(settings, http, bound, admin);
    let files = GivenTls::of(&settings.cluster);
    let given = files.as_ref().map(|files| files.load(crate::http::now())).transpose();
    let given = given.map_err(|error| cluster_error(&error))?;
    let kept = KeptIdentity::load(&folder).map_err(|error| log_error(&error))?;
    let (kept, joined) = match kept.filter(|kept| kept.node_id != 0) {
        Some(kept) => (kept, false),
        None if settings.cluster.join.is_empty() => {
            (first(settings, &folder, given.as_ref())?, false)
        }
        None => {
            // A node that nobody can reach would use up the token, and stand among the members.
            if bound.is_none() {
                return Err(listener.err().unwrap_or_else(|| {
                    NodeError::Process("the address for peers cannot be used".to_owned())
                }));
            }
            let routes = settings.cluster.routes();
            let (token, about) = (&settings.cluster.join, (&attributes, &routes));
            let joining = join::join(&folder, token, about, given.as_ref()).await;
            (joining.map_err(|error| cluster_error(&error))?, true)
        }
    };
    let identity = match given {
        Some(given) => given.of(&kept).map_err(|error| cluster_error(&error))?.identity,
        None => kept.peer_identity(&folder).map_err(|error| log_error(&error))?,
    };
    let identity = SharedPeerIdentity::from(identity);
    let compiled = LastCompiled::default();
    let mut options = options(settings, blobs, compiled.clone());
    let reaching = PeerClientsOptions {
        routes: settings.cluster.routes(),
        silence_max: PeerClientsOptions::silence_for(options.heartbeat),
        ..PeerClientsOptions::default()
    };
    let clients = Arc::new(PeerClients::new(identity.clone(), reaching));
    let transport: Arc<dyn PeerTransport> = Arc::clone(&clients) as Arc<dyn PeerTransport>;
    let (raft_dir, local_dir) = (data_dir.join("raft"), data_dir.join("log"));
    let gate = Arc::new(ProofGate::new(keys.clone(), kept.cluster_id.clone()));
    let opening = Opening { folder: folder.clone(), kept, raft_dir, local_dir, joined };
    let known = attributes.clone();
    options.proofs = Some(Arc::clone(&gate) as Arc<dyn ProofCheck>);
    let opened = tokio::task::spawn_blocking(move || opening.log(&known, options, transport)).await;
    let (log, kept) = opened
        .map_err(|error| NodeError::Process(error.to_string()))?
        .map_err(|error| log_error(&error))?;
    let log = Arc::new(log);
    let alone = verdict_consensus::Log::members(&*log).members.len() < 2;
    let listener = match listener {
        Ok(listener) => Some(BoundPeers { listener, identity: identity.clone() }),
        Err(error) if alone && !joined && settings.cluster.peer_address.is_empty() => {
            tracing::warn!(%error, "no other node can join: name a free cluster.peer_address");
            None
        }
        Err(error) => return Err(error),
    };
    let outbox = open_outbox(data_dir.join("outbox")).await?;
    let cluster =
        Cluster::new(log, (clients, identity, files), (folder, kept), (attributes, outbox, gate));
    Ok(Opened { cluster, listener, joined, compiled })
}

/// Opens what waits for nodes that are away.
async fn open_outbox(folder: PathBuf) -> Result<Outbox, NodeError> {
    let opening = move || Outbox::open(&folder, OutboxLimits::default());
    let opened = tokio::task::spawn_blocking(opening).await;
    let (outbox, damaged) = opened
        .map_err(|error| NodeError::Process(error.to_string()))?
        .map_err(|error| crate::process::state_error(error.code(), &error))?;
    if damaged > 0 {
        tracing::error!(damaged, "entries of the outbox are lost");
    }
    Ok(outbox)
}

fn bind(settings: &Settings, http: SocketAddr) -> Result<std::net::TcpListener, NodeError> {
    let address = settings.cluster.peer_address(http);
    let address = address.ok_or_else(|| NodeError::Process("cluster.peer_address".to_owned()))?;
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let setting = "cluster.peer_address";
    bound.map_err(|source| ServerError::Bind { address, setting, source }.into())
}

/// What the members are to know of this node.
fn attributes(
    settings: &Settings,
    http: SocketAddr,
    peer: Option<SocketAddr>,
    admin: Option<SocketAddr>,
) -> NodeAttributes {
    let or = |advertised: &String, bound: String| {
        if advertised.is_empty() { bound } else { advertised.clone() }
    };
    let text = |address: Option<SocketAddr>| {
        address.map(|address| address.to_string()).unwrap_or_default()
    };
    let peer = text(peer);
    NodeAttributes {
        name: String::new(),
        peer_address: or(&settings.cluster.peer_advertise, peer),
        http_address: or(&settings.cluster.http_advertise, http.to_string()),
        admin_address: or(&settings.admin.advertise, text(admin)),
        region: settings.node.region.clone(),
        zone: settings.node.zone.clone(),
    }
}

fn options(settings: &Settings, blobs: &BlobStore, compiled: LastCompiled) -> RaftLogOptions {
    let mut options = RaftLogOptions::new(crate::http::now);
    let limits =
        RuleLimits { cost_units_max: settings.rules.cost_units_max, ..RuleLimits::default() };
    options.validator = Arc::new(CompilingValidator::new(limits, compiled));
    options.snapshot_entries = settings.cluster.snapshot_entries;
    options.entries_kept = settings.cluster.entries_kept;
    options.clock_bound = Duration::from_secs(settings.cluster.clock_bound_s);
    options.bodies = Some(Arc::new(blobs.clone()));
    match (settings.cluster.round_trip_ms, settings.cluster.network) {
        (0, NetworkProfile::Lan) => options,
        (0, NetworkProfile::Wan) => options.for_round_trip(WAN_ROUND_TRIP),
        (ms, _) => options.for_round_trip(Duration::from_millis(ms)),
    }
}

/// The first node of a cluster: its id, its authority, its key. The log's folder is made next.
fn first(
    settings: &Settings,
    folder: &Path,
    given: Option<&Given>,
) -> Result<KeptIdentity, NodeError> {
    let unmade = |error: verdict_consensus::peers::AuthorityError| NodeError::Runtime {
        code: error.code(),
        message: error.to_string(),
    };
    let (now, node_id) = (crate::http::now(), u64::from(settings.node.id));
    let cluster_id = match given {
        Some(given) => given.cluster_of(node_id).map_err(|error| cluster_error(&error))?,
        None => ulid::Ulid::generate().to_string().to_lowercase(),
    };
    let authority = Authority::generate(&cluster_id, now).map_err(unmade)?;
    let key = NodeKey::generate().map_err(unmade)?;
    let certificate = authority.issue(node_id, &key.public(), now).map_err(unmade)?;
    let kept = KeptIdentity::first(node_id, &key, certificate, &authority);
    kept.save(folder).map_err(|error| log_error(&error))?;
    Ok(kept)
}

struct Opening {
    folder: PathBuf,
    kept: KeptIdentity,
    raft_dir: PathBuf,
    local_dir: PathBuf,
    joined: bool,
}

impl Opening {
    /// Opens the log; makes its folder where it is not made yet. Blocking.
    fn log(
        mut self,
        attributes: &NodeAttributes,
        options: RaftLogOptions,
        transport: Arc<dyn PeerTransport>,
    ) -> Result<(RaftLog, KeptIdentity), LogError> {
        let identity =
            FolderIdentity { cluster_id: self.kept.cluster_id.clone(), node_id: self.kept.node_id };
        if !self.kept.complete {
            if !self.raft_dir.exists() {
                self.make(&identity, attributes, &options)?;
            }
            self.kept.complete = true;
            self.kept.save(&self.folder)?;
        }
        let (log, recovery) = RaftLog::open(&self.raft_dir, Some(&identity), options, transport)?;
        tracing::info!(?recovery, ?identity, "the log is open");
        Ok((log, self.kept))
    }

    fn make(
        &self,
        identity: &FolderIdentity,
        attributes: &NodeAttributes,
        options: &RaftLogOptions,
    ) -> Result<(), LogError> {
        let first = self.kept.authority_key_pem.is_some();
        if self.joined || !first {
            let voters = join::kept_voters(&self.folder);
            let start = match voters.is_empty() {
                true => FolderStart::Join,
                false => FolderStart::JoinTrusting(voters),
            };
            return create_raft_folder(&self.raft_dir, identity, start);
        }
        if self.local_dir.join("format").is_file() {
            // The folder of a program before the cluster: its catalogue and history move in.
            let local = LocalLogOptions::new(crate::http::now);
            let attributes = attributes.clone();
            return migrate_local_folder(
                &self.local_dir,
                &self.raft_dir,
                identity,
                attributes,
                &local,
            );
        }
        let seed = Seed::new(attributes.clone(), Catalogue::new(options.limits));
        create_raft_folder(&self.raft_dir, identity, FolderStart::Bootstrap(Box::new(seed)))
    }
}

fn cluster_error(error: &ClusterError) -> NodeError {
    let code = error.code;
    NodeError::Runtime { code, message: format!("{error}. {}", code.advice()) }
}

fn log_error(error: &LogError) -> NodeError {
    let code = error.code();
    NodeError::Runtime { code, message: format!("{error}. {}", code.advice()) }
}
