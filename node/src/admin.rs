//! The node behind the admin actor.
//!
//! An admin request becomes a call of the HTTP interface in the name of its operator: the handlers,
//! their checks and their problems are those of `crate::http`.

mod enrolment;
mod refusals;
mod service;

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use verdict_actors::Handle;
use verdict_actors::supervisor::{ChildSpec, RestartPolicy, TreeEntry};
use verdict_admin::{
    AdminActorOptions, AdminServer, AdminServerOptions, Answering, NodeSigner, acceptor,
};
use verdict_config::definition::KeyDefinition;
use verdict_config::settings::Settings;
use verdict_consensus::Object;

pub use refusals::Refusals;

use crate::cluster::Cluster;
use crate::http::Gateway;
use crate::process::NodeError;
use crate::server::ServerError;
use service::NodeAdmin;

/// The public key of an operator's key object; none for an API key.
pub(crate) fn public_key_of(object: &Object) -> Option<Vec<u8>> {
    let key: KeyDefinition = object.parse().ok()?;
    hex::decode(key.public_key?).ok()
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
            tracing::warn!(%error, %address, "operators cannot connect: name a free admin.address");
            Ok(None)
        }
        Err(source) => Err(NodeError::Server(ServerError::Bind { address, source })),
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
) -> Result<AdminServer, NodeError> {
    let unusable = |error: &dyn std::fmt::Display| NodeError::Process(error.to_string());
    let parts = cluster.identity_parts();
    let acceptor = acceptor(&parts.chain, &parts.key_pkcs8, &parts.authorities);
    let acceptor = acceptor.map_err(|error| unusable(&error))?;
    let signer =
        NodeSigner::new(&parts.key_pkcs8, parts.chain).map_err(|error| unusable(&error))?;
    let answering = Answering {
        cluster_id: parts.cluster_id,
        node_id: cluster.node_id(),
        started_at: crate::http::now(),
    };
    let service = NodeAdmin::new(Arc::clone(gateway), Arc::clone(refusals));
    let actor =
        AdminActorOptions { answering, signer: Arc::new(signer), service: Arc::new(service) };
    let server = AdminServer::new(listener, acceptor, actor, AdminServerOptions::default());
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
