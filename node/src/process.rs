//! One node process: from settings to a served address, and down again.
//!
//! ```text
//! settings -> bind -> log and peers -> runtime (state folder) -> caught up
//!          -> folder's first settling -> ready
//!          -> SIGTERM, SIGINT -> server drains -> records flushed -> end
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict_actors::blobs::{BlobSource, BlobStore};
use verdict_actors::catalogue::LastCompiled;
use verdict_actors::readiness::ReadyPeers;
use verdict_actors::{Handle, Runtime, RuntimeOptions, StartError};
use verdict_config::settings::{Role, Settings};
use verdict_config::{Code, Faults};
use verdict_consensus::Log;

use crate::admin::{self, Refusals};
use crate::catalogue_dir::FolderError;
use crate::cluster::authority;
use crate::cluster::blobs::ClusterBlobs;
use crate::cluster::given;
use crate::cluster::outbox::{deliver, learn_erasures};
use crate::cluster::policy;
use crate::cluster::proof;
use crate::cluster::service::ClusterService;
use crate::cluster::start::{self, Opened};
use crate::cluster::upkeep::{catch_up, check_blobs, spawn_until, watch_cluster};
use crate::folder_sync::{FolderKey, FolderSync, Synced};
use crate::http::keys::{CatalogueKeys, KeyEntry, KeyRing};
use crate::http::{Gateway, GatewayOptions};
use crate::metrics;
use crate::server::{Server, ServerError, ServerOptions, tls};

/// How long connections are still taken after a stop.
const DRAIN_GRACE: Duration = Duration::from_millis(200);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The settings or keys are not fit.
    #[error("{} fault(s) in the settings", .0.len())]
    Settings(Faults),
    /// The address or certificate cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The state folder cannot be used.
    #[error("{code} {message}")]
    Runtime {
        /// The stable code.
        code: Code,
        /// What is wrong.
        message: String,
    },
    /// The catalogue folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The process itself: signals, threads, the recorder of metrics.
    #[error("{0}")]
    Process(String),
}

/// What a node tells whoever started it.
#[derive(Debug, Clone)]
pub enum Told {
    /// It takes requests.
    Ready {
        /// Where.
        address: SocketAddr,
        /// Whether over TLS.
        tls: bool,
        /// The flows that it serves, with an example of an input.
        flows: Vec<(String, Json)>,
        /// Flags that it serves.
        flags: usize,
        /// Models that it serves.
        models: Vec<String>,
        /// The revision.
        revision: u64,
    },
    /// The catalogue folder and the catalogue settled.
    Folder(Synced),
    /// It was asked to stop.
    Draining,
}

/// What a node is started with.
pub struct NodeStart {
    /// Settings that were validated.
    pub settings: Settings,
    /// Keys beside those of the settings.
    pub keys: Vec<KeyEntry>,
    /// The key that the catalogue folder acts with, in place of the settings' one.
    pub folder_key: Option<String>,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// Why it does not start.
pub fn run(start: NodeStart, tell: impl Fn(Told) + Send + Sync + 'static) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("verdict-http")
        .build()
        .map_err(|error| NodeError::Process(error.to_string()))?;
    let ended = runtime.block_on(serve(start, Arc::new(tell)));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

type Tell = Arc<dyn Fn(Told) + Send + Sync>;

async fn serve(start: NodeStart, tell: Tell) -> Result<(), NodeError> {
    let NodeStart { settings, mut keys, folder_key } = start;
    keys.extend(own_key(&settings, &keys)?);
    let folder_key = read_folder_key(&settings, folder_key)?;
    let prometheus = metrics::install().map_err(NodeError::Process)?;
    let keys = key_ring(&settings, keys)?;
    let server = bind(&settings).await?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    watch_signals(&tasks, &stop, Arc::clone(&tell))?;
    let blobs = open_blobs(&settings)?;
    let operators = admin::bind(&settings, server.address()).await?;
    let admin_address = operators.as_ref().and_then(|listener| listener.local_addr().ok());
    let member = start::open(&settings, server.address(), admin_address, (&blobs, &keys)).await?;
    let Opened { cluster, listener, joined, compiled } = member;
    let log: Arc<dyn Log> = Arc::clone(cluster.log()) as Arc<dyn Log>;
    let others = ClusterBlobs::new(cluster.clone(), tokio::runtime::Handle::current());
    let others = Arc::new(others);
    blobs.set_source(Arc::clone(&others) as Arc<dyn BlobSource>);
    let peers: Option<Arc<dyn ReadyPeers>> = Some(others);
    let parts = RuntimeParts { log, blobs, peers, compiled };
    let runtime = start_runtime(&settings, parts, cluster.node_id()).await?;
    // Peers are listened to until this node has left: the drain itself may need them.
    let leave = CancellationToken::new();
    if let Some(listener) = listener {
        let service =
            Arc::new(ClusterService::new(cluster.clone(), runtime.clone(), tasks.clone()));
        let serving = listener.serve(service, leave.clone());
        // On the threads of the consensus: decisions that keep every core busy must not cost a
        // leader its office.
        match cluster.log().threads() {
            Some(threads) => drop(threads.spawn(serving)),
            None => drop(tasks.spawn(serving)),
        }
    }
    spawn_until(&tasks, &leave, authority::follow(cluster.clone()));
    spawn_until(&tasks, &leave, given::follow(cluster.clone()));
    catch_up(&cluster, &runtime, joined, &stop).await;
    if joined {
        // It has made no decision yet.
        cluster.settle();
    } else {
        learn_erasures(&cluster, &runtime).await;
    }
    spawn_until(&tasks, &leave, cluster.clone().tell_addresses());
    spawn_until(&tasks, &leave, deliver(cluster.clone(), runtime.clone()));
    spawn_until(&tasks, &leave, watch_cluster(cluster.clone()));
    spawn_until(&tasks, &leave, check_blobs(runtime.clone()));
    spawn_until(&tasks, &leave, policy::look_after(cluster.clone()));
    spawn_until(&tasks, &leave, proof::report_rules(cluster.clone()));
    let agreed = CatalogueKeys::new(runtime.log().watch());
    let folder_key = FolderKey::new(keys.clone().with_catalogue(agreed), folder_key);
    let refusals = Arc::new(Refusals::default());
    let gateway = Arc::new(Gateway::new(GatewayOptions {
        runtime: runtime.clone(),
        http: settings.http.clone(),
        flags_strict: settings.flags.strict,
        keys,
        prometheus: prometheus.clone(),
        cluster: Some(cluster.clone()),
        data_dir: PathBuf::from(&settings.node.data_dir),
        refusals: Arc::clone(&refusals),
        stop: stop.clone(),
        tasks: tasks.clone(),
        activation_wait: Duration::from_millis(settings.cluster.activation_wait_ms),
    }));
    let address = server.address();
    let serving = tokio::select! {
        biased;
        synced = first_settling(&settings, &runtime, folder_key) => synced?,
        () = stop.cancelled() => None,
    };
    follow_folder(serving, &tasks, &stop, &tell);
    let operators = match operators {
        Some(listener) => {
            let until = (&tasks, &leave);
            Some(admin::start(&runtime, &cluster, &gateway, &refusals, listener, until).await?)
        }
        None => None,
    };
    if !settings.admin.first_key_file.is_empty() {
        let path = PathBuf::from(&settings.admin.first_key_file);
        admin::enrol_first(&cluster, &path).await;
        spawn_until(&tasks, &leave, admin::follow_first(cluster.clone(), path));
    }
    tasks.spawn(upkeep(prometheus, stop.clone()));
    gateway.set_ready();
    tell(ready(&runtime, address, !settings.http.tls_certificate.is_empty()));
    if !server.run(Arc::clone(&gateway), stop.clone()).await {
        tracing::warn!("requests were still running when the drain's time was up");
    }
    stop.cancel();
    if let Some(operators) = operators {
        operators.stop().await;
    }
    cluster.step_down().await;
    leave.cancel();
    tasks.close();
    let wait = Duration::from_millis(settings.node.drain_timeout_ms);
    let _ = tokio::time::timeout(wait, tasks.wait()).await;
    if !runtime.drain(wait).await {
        return Err(NodeError::Process("the journal was not flushed in time".to_owned()));
    }
    tracing::info!("stopped");
    Ok(())
}

/// The store of model folders and large bodies in the state folder.
///
/// # Errors
/// The disk's.
pub fn open_blobs(settings: &Settings) -> Result<BlobStore, NodeError> {
    let opened = BlobStore::open(Path::new(&settings.node.data_dir).join("blobs"));
    opened.map_err(|error| state_error(error.code(), &error))
}

/// What the tree is started over.
pub struct RuntimeParts {
    /// The log, open.
    pub log: Arc<dyn Log>,
    /// Model folders and large objects.
    pub blobs: BlobStore,
    /// The other nodes, asked before a model is made active.
    pub peers: Option<Arc<dyn ReadyPeers>>,
    /// The state that was compiled last; shared with the log's validator.
    pub compiled: LastCompiled,
}

/// Starts the tree over a log that is open.
///
/// # Errors
/// A damaged, newer or used folder; a catalogue that cannot be served.
pub async fn start_runtime(
    settings: &Settings,
    parts: RuntimeParts,
    node_id: u64,
) -> Result<Handle, NodeError> {
    let RuntimeParts { log, blobs, peers, compiled } = parts;
    let data_dir = PathBuf::from(&settings.node.data_dir);
    let mut options = RuntimeOptions::from_settings(data_dir, log, settings);
    (options.blobs, options.peers) = (Some(blobs), peers);
    options.compiled = compiled;
    let beyond = |_| NodeError::Process(format!("node id {node_id} is beyond 65535"));
    options.node_id = u16::try_from(node_id).map_err(beyond)?;
    let started = Runtime::start(options).await;
    let (handle, report) =
        started.map_err(|error: StartError| state_error(error.code(), &error))?;
    tracing::info!(journal = ?report.journal, "the journal is open");
    for damage in &report.journal.damage {
        tracing::error!(?damage, "records of the journal are lost");
    }
    Ok(handle)
}

pub(crate) fn state_error(code: Code, error: &dyn std::fmt::Display) -> NodeError {
    NodeError::Runtime { code, message: format!("{error}. {}", code.advice()) }
}

async fn bind(settings: &Settings) -> Result<Server, NodeError> {
    let http = &settings.http;
    let acceptor = if http.tls_certificate.is_empty() {
        None
    } else {
        Some(tls::acceptor(Path::new(&http.tls_certificate), Path::new(&http.tls_key))?)
    };
    let options = ServerOptions {
        address: http.address,
        connections_max: http.connections_max,
        header_read: Duration::from_millis(http.header_read_timeout_ms),
        idle: Duration::from_millis(http.idle_timeout_ms),
        drain_grace: DRAIN_GRACE,
        drain_wait: Duration::from_millis(settings.node.drain_timeout_ms),
    };
    Ok(Server::bind(options, acceptor).await?)
}

fn key_ring(settings: &Settings, keys: Vec<KeyEntry>) -> Result<KeyRing, NodeError> {
    let mut entries = keys;
    for key in &settings.keys {
        // Validation saw 64 hex digits.
        let bytes = hex::decode(&key.sha256).unwrap_or_default();
        let digest = bytes.try_into().map_err(|_| {
            let message = format!("keys: {} has no SHA-256", key.name);
            NodeError::Process(message)
        })?;
        entries.push(KeyEntry { name: key.name.as_str().into(), role: key.role, digest });
    }
    Ok(KeyRing::new(entries))
}

/// The key that a node on loopback makes where there is no other: no node is without keys.
fn own_key(settings: &Settings, others: &[KeyEntry]) -> Result<Option<KeyEntry>, NodeError> {
    let http = &settings.http;
    if !settings.keys.is_empty() || !others.is_empty() || !http.address.ip().is_loopback() {
        return Ok(None);
    }
    let data_dir = Path::new(&settings.node.data_dir);
    std::fs::create_dir_all(data_dir)
        .map_err(|source| FolderError::Io { path: data_dir.to_owned(), source })?;
    let file = data_dir.join("api-key");
    let (_, entry) = key_file(&file, "local", Role::Operator)?;
    tracing::warn!(
        file = %file.display(),
        "the settings name no key: this file has one with the role operator, for this node only"
    );
    Ok(Some(entry))
}

/// The key of the catalogue folder, from the file that the settings name.
fn read_folder_key(
    settings: &Settings,
    given: Option<String>,
) -> Result<Option<Arc<str>>, NodeError> {
    let file = &settings.node.catalogue_key_file;
    if file.is_empty() {
        return Ok(given.map(Into::into));
    }
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|source| FolderError::Io { path: PathBuf::from(file), source })?;
    Ok(Some(text.trim().into()))
}

/// The folder's saves become the catalogue before the first request is taken.
async fn first_settling(
    settings: &Settings,
    runtime: &Handle,
    key: FolderKey,
) -> Result<Option<(FolderSync, Synced)>, NodeError> {
    if settings.node.catalogue_dir.is_empty() {
        return Ok(None);
    }
    let dir = PathBuf::from(&settings.node.catalogue_dir);
    std::fs::create_dir_all(&dir)
        .map_err(|source| FolderError::Io { path: dir.clone(), source })?;
    let memory = Path::new(&settings.node.data_dir).join("catalogue-folder.json");
    let folder = FolderSync::new(dir, memory, runtime.clone()).acting_with(key);
    let mut folder = folder.with_flags_strict(settings.flags.strict);
    let synced = folder.settle().await?;
    let revision = runtime.log().catalogue().revision();
    // What was just agreed is served before the node says that it is ready.
    if let Err(error) = runtime.wait_for_revision(revision, Duration::from_secs(60)).await {
        tracing::error!(%error, "the catalogue is not served yet");
    }
    Ok(Some((folder, synced)))
}

fn follow_folder(
    serving: Option<(FolderSync, Synced)>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    tell: &Tell,
) {
    let Some((folder, first)) = serving else { return };
    if first != Synced::Unchanged {
        tell(Told::Folder(first));
    }
    let (stop, tell) = (stop.clone(), Arc::clone(tell));
    tasks.spawn(async move {
        let told = move |synced: &Synced| tell(Told::Folder(synced.clone()));
        if let Err(error) = folder.run(stop, told).await {
            tracing::warn!(%error, "saves in the catalogue folder are no longer seen");
        }
    });
}

async fn upkeep(
    prometheus: metrics_exporter_prometheus::PrometheusHandle,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(metrics::UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => prometheus.run_upkeep(),
        }
    }
}

fn watch_signals(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    tell: Tell,
) -> Result<(), NodeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| NodeError::Process(error.to_string()));
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stop.cancelled() => return,
        }
        tell(Told::Draining);
        stop.cancel();
    });
    Ok(())
}

fn ready(runtime: &Handle, address: SocketAddr, tls: bool) -> Told {
    let state = runtime.serving();
    let flows = state
        .flows
        .iter()
        .map(|(name, served)| (name.clone(), example_input(served.flow.definition())));
    Told::Ready {
        address,
        tls,
        flows: flows.collect(),
        flags: state.flags.len(),
        models: state.models.keys().cloned().collect(),
        revision: state.revision,
    }
}

/// An input that a flow accepts: its required and expected fields.
fn example_input(definition: &verdict_config::definition::FlowDefinition) -> Json {
    use verdict_config::{FieldType, Need};
    let wanted = definition.fields.iter().filter(|(_, field)| field.need != Need::Optional);
    let example = |(name, field): (&String, &verdict_config::Field)| {
        let number = field.min.unwrap_or(1.0).max(1.0).min(field.max.unwrap_or(f64::MAX));
        let value = match (&field.symbols, field.field_type) {
            (Some(symbols), FieldType::Symbol | FieldType::String) => {
                symbols.first().cloned().unwrap_or_default().into()
            }
            (_, FieldType::Bool) => true.into(),
            #[expect(clippy::cast_possible_truncation, reason = "an example near 1")]
            (_, FieldType::Int) => (number.ceil() as i64).into(),
            (_, FieldType::Decimal | FieldType::Float) => number.into(),
            (_, FieldType::Time) => "2026-01-31T12:00:00Z".into(),
            (_, FieldType::Set) => Json::Array(Vec::new()),
            (None, FieldType::Symbol) => "US".into(),
            (None, FieldType::String) => "Example".into(),
        };
        (name.clone(), value)
    };
    Json::Object(wanted.map(example).collect())
}

/// A key of its own, kept in a file that only its owner reads: read if it is there, else made.
///
/// # Errors
/// The file cannot be read or written.
pub fn key_file(path: &Path, name: &str, role: Role) -> Result<(String, KeyEntry), FolderError> {
    let failed = |source| FolderError::Io { path: path.to_owned(), source };
    let key = match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => {
            let key = format!("vk_{}", hex::encode(rand::random::<[u8; 24]>()));
            write_private(path, format!("{key}\n").as_bytes()).map_err(failed)?;
            key
        }
    };
    let entry = KeyEntry { name: name.into(), role, digest: crate::http::keys::digest(&key) };
    Ok((key, entry))
}

/// Writes a file that only its owner reads, from its creation on: whole, or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension("partial");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api-key");
        let (first, entry) = key_file(&path, "dev", Role::Operator).unwrap();
        let (second, _) = key_file(&path, "dev", Role::Operator).unwrap();
        assert_eq!(first, second);
        assert!(first.len() > 40, "{first}");
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(entry.digest, crate::http::keys::digest(&first));
    }
}
