//! The node behind the admin actor.
//!
//! An admin request becomes a call of the HTTP interface in the name of its operator: the handlers,
//! their checks and their problems are those of `crate::http`.

mod enrolment;
mod refusals;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict_actors::Handle;
use verdict_actors::supervisor::{ChildSpec, RestartPolicy, TreeEntry};
use verdict_admin::{
    AdminActorOptions, AdminIdentity, AdminServer, AdminServerOptions, Answering, OperatorKey,
    SharedAdminIdentity, TlsError,
};
use verdict_config::definition::KeyDefinition;
use verdict_config::settings::Settings;
use verdict_config::{ObjectId, ObjectKind, ObjectName};
use verdict_consensus::{Catalogue, Object};

pub use refusals::Refusals;

use crate::cluster::Cluster;
use crate::cluster::upkeep::spawn_until;
use crate::http::Gateway;
use crate::process::NodeError;
use crate::server::ServerError;
use service::NodeAdmin;

/// The public key of an operator's key object; none for an API key.
pub(crate) fn public_key_of(object: &Object) -> Option<Vec<u8>> {
    let key: KeyDefinition = object.parse().ok()?;
    hex::decode(key.public_key?).ok()
}

/// The operator's key of a name, as a catalogue has it.
pub(crate) fn operator_key(catalogue: &Catalogue, name: &str) -> Option<OperatorKey> {
    let kind = ObjectKind::Key;
    let id = ObjectId { kind, name: ObjectName::new(kind, name).ok()? };
    let object = catalogue.get(&id)?;
    let public_key = public_key_of(object)?;
    let KeyDefinition { role, flows, regions, expires, .. } = object.parse().ok()?;
    Some(OperatorKey { name: name.to_owned(), public_key, role, flows, regions, expires })
}

/// Binds the port for operators; none where it is switched off, or taken and not asked for.
///
/// # Errors
/// The address that the settings name cannot be listened on.
pub async fn bind(
    settings: &Settings,
    http: std::net::SocketAddr,
) -> Result<Option<TcpListener>, NodeError> {
    if !settings.admin.is_on() {
        return Ok(None);
    }
    let address = settings.admin.address(&settings.cluster, http);
    let address = address.ok_or_else(|| NodeError::Process("admin.address".to_owned()))?;
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if settings.admin.address.is_empty() => {
            let reason = crate::reasons::listen(address, "admin.address", &error);
            tracing::warn!(%address, reason, "operators cannot connect");
            Ok(None)
        }
        Err(source) => {
            let setting = "admin.address";
            Err(NodeError::Server(ServerError::Bind { address, setting, source }))
        }
    }
}

/// Serves operators, by actors of the node's tree.
///
/// # Errors
/// The node's own certificate cannot be used, or the actors do not start.
pub async fn start(
    runtime: &Handle,
    cluster: &Cluster,
    gateway: &Arc<Gateway>,
    refusals: &Arc<Refusals>,
    listener: TcpListener,
    (tasks, leave): (&TaskTracker, &CancellationToken),
) -> Result<AdminServer, NodeError> {
    let unusable = |error: &dyn std::fmt::Display| NodeError::Process(error.to_string());
    let identity = SharedAdminIdentity::from(identity(cluster).map_err(|error| unusable(&error))?);
    spawn_until(tasks, leave, follow_identity(cluster.clone(), identity.clone()));
    let answering = Answering {
        cluster_id: cluster.cluster_id(),
        node_id: cluster.node_id(),
        started_at: crate::http::now(),
    };
    let service = NodeAdmin::new(Arc::clone(gateway), Arc::clone(refusals), cluster.clone());
    let actor = AdminActorOptions { answering, identity, service: Arc::new(service) };
    let server = AdminServer::new(listener, actor, AdminServerOptions::default());
    let server = server.map_err(|error| unusable(&error))?;
    runtime.supervise(branch(&server)).await.map_err(|error| unusable(&error))?;
    Ok(server)
}

/// The server's actors, as a branch of the node's tree.
fn branch(server: &AdminServer) -> ChildSpec {
    let service = RestartPolicy::service();
    let entry = |name: &str, load: fn(&AdminServer) -> (u64, u64)| {
        let server = server.clone();
        TreeEntry::with_gauge(name, "service", Some(Arc::new(move || load(&server))))
    };
    let (sessions, actor, accepting) = (server.clone(), server.clone(), server.clone());
    let children = vec![
        ChildSpec::new(entry("sessions", AdminServer::connections), service, move || {
            (sessions.sessions(), ())
        }),
        ChildSpec::new(entry("actor", AdminServer::requests), service, move || (actor.actor(), ())),
        ChildSpec::new(entry("listener", AdminServer::handshakes), service, move || {
            (accepting.listener(), ())
        }),
    ];
    ChildSpec::branch(TreeEntry::new("admin", "supervisor"), RestartPolicy::branch(), children)
}

/// What the node proves itself with to operators, as its disk says.
fn identity(cluster: &Cluster) -> Result<AdminIdentity, TlsError> {
    let parts = cluster.identity_parts();
    let chains = (parts.chain.as_slice(), parts.previous_chain.as_slice());
    AdminIdentity::new(chains, &parts.key_pkcs8, &parts.authorities)
}

/// Operators are served with what the node proves itself with now.
async fn follow_identity(cluster: Cluster, shared: SharedAdminIdentity) {
    let mut changes = cluster.identity_changes();
    loop {
        // What changed since the identity was made is not missed.
        match identity(&cluster) {
            Ok(identity) => shared.replace(identity),
            Err(error) => tracing::error!(%error, "operators are served with what was before"),
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the first operator's key file at the cluster's authorities, which the removal of a voter
/// changes by itself.
pub async fn follow_first(cluster: Cluster, path: PathBuf) {
    let mut changes = cluster.identity_changes();
    while changes.changed().await.is_ok() {
        enrol_first(&cluster, &path).await;
    }
}

/// Enrols the cluster's first operator, once, and writes its key to a file.
pub async fn enrol_first(cluster: &Cluster, path: &Path) {
    match enrolment::first(cluster, path).await {
        Ok(enrolment::First::Made) => {
            tracing::info!(file = %path.display(), "the first operator's key was made");
        }
        Ok(enrolment::First::Known) => {}
        Ok(enrolment::First::OthersAre) => {
            tracing::warn!(
                file = %path.display(),
                "operators are enrolled already: none of them has this file"
            );
        }
        Err(error) => tracing::warn!(%error, "no operator was enrolled"),
    }
}
