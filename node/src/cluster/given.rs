//! Certificates between nodes that the operator gives, in place of those of the cluster's own
//! authority.
//!
//! The certificate says who the node is: it is for `node-N.CLUSTER.verdict.internal`, for one N and
//! one CLUSTER. Whoever begins a cluster takes both from there; a newcomer is let in where its token
//! was made for this N. Operators are served by the cluster's own authority all the same.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use verdict_config::settings::ClusterSettings;
use verdict_config::{Code, TimestampMs};
use verdict_consensus::peers::{
    KeptIdentity, PeerIdentity, check_chain_of_node, names_of_certificate,
};

use super::{Cluster, ClusterError};

/// Between two looks at whether a file was replaced.
const PERIOD: Duration = Duration::from_secs(1);
/// The longest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// The files that the settings name.
#[derive(Debug, Clone)]
pub(crate) struct GivenTls {
    certificate: PathBuf,
    key: PathBuf,
    authorities: PathBuf,
}

/// What the files hold, checked.
pub(crate) struct Given {
    /// The cluster that the certificate names.
    pub(crate) cluster_id: String,
    /// The node that it names.
    pub(crate) node_id: u64,
    /// What connections are made with.
    pub(crate) identity: PeerIdentity,
}

/// What says that a file is another one: when it was written, and how long it is.
type Stamp = [Option<(SystemTime, u64)>; 3];

fn unfit(path: &Path, what: impl std::fmt::Display) -> ClusterError {
    ClusterError {
        code: Code::CertificateInvalid,
        detail: format!("{}: {what}", path.display()),
        retryable: false,
    }
}

impl GivenTls {
    /// The files, if the settings name some.
    pub(crate) fn of(settings: &ClusterSettings) -> Option<Self> {
        (!settings.tls_certificate.is_empty()).then(|| Self {
            certificate: PathBuf::from(&settings.tls_certificate),
            key: PathBuf::from(&settings.tls_key),
            authorities: PathBuf::from(&settings.tls_authorities),
        })
    }

    /// Reads the files and checks what they hold against each other.
    ///
    /// # Errors
    /// [`Code::CertificateInvalid`] that names the file and what is wrong with it.
    pub(crate) fn load(&self, now: TimestampMs) -> Result<Given, ClusterError> {
        let chain = certificates(&self.certificate)?;
        let authorities = certificates(&self.authorities)?;
        let leaf = chain.first().ok_or_else(|| unfit(&self.certificate, "it is empty"))?;
        let (node_id, cluster_id) = match names_of_certificate(leaf).as_slice() {
            [(node_id, cluster_id)] => (*node_id, cluster_id.clone()),
            [] => {
                let detail = "no DNS name is like node-1.CLUSTER.verdict.internal";
                return Err(unfit(&self.certificate, detail));
            }
            _ => return Err(unfit(&self.certificate, "it is for several nodes")),
        };
        check_chain_of_node(&chain, &authorities, now).map_err(|why| {
            let bundle = self.authorities.display();
            unfit(&self.certificate, format!("no authority of {bundle} signed it: {why}"))
        })?;
        let key = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unfit(&self.key, error))?;
        let named = (cluster_id.as_str(), node_id);
        let identity = PeerIdentity::with_key(named, &chain, key, &authorities)
            .map_err(|error| unfit(&self.key, error))?;
        Ok(Given { cluster_id, node_id, identity })
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key, &self.authorities].map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        })
    }
}

impl Given {
    /// What is given, if it is for the node of a state folder.
    ///
    /// # Errors
    /// [`Code::CertificateInvalid`].
    pub(crate) fn of(self, kept: &KeptIdentity) -> Result<Self, ClusterError> {
        if (self.node_id, &self.cluster_id) == (kept.node_id, &kept.cluster_id) {
            return Ok(self);
        }
        Err(self.of_another(&format!("node {} of cluster {}", kept.node_id, kept.cluster_id)))
    }

    /// The cluster to begin as a node.
    ///
    /// # Errors
    /// [`Code::CertificateInvalid`]: it is another node's.
    pub(crate) fn cluster_of(&self, node_id: u64) -> Result<String, ClusterError> {
        if self.node_id == node_id {
            return Ok(self.cluster_id.clone());
        }
        Err(self.of_another(&format!("node {node_id}")))
    }

    /// The certificate is not what is needed.
    pub(crate) fn of_another(&self, needed: &str) -> ClusterError {
        let Self { node_id, cluster_id, .. } = self;
        let detail = format!("it is for node {node_id} of cluster {cluster_id}, not for {needed}");
        ClusterError { code: Code::CertificateInvalid, detail, retryable: false }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClusterError> {
    let about = std::fs::metadata(path).map_err(|error| unfit(path, error))?;
    if about.len() > BYTES_MAX {
        return Err(unfit(path, "it is too long"));
    }
    std::fs::read(path).map_err(|error| unfit(path, error))
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, ClusterError> {
    let pem = read(path)?;
    let list: Result<Vec<Vec<u8>>, _> = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect();
    let list = list.map_err(|error| unfit(path, error))?;
    if list.is_empty() { Err(unfit(path, "it holds no certificate in PEM")) } else { Ok(list) }
}

/// Takes renewed files into use, for as long as the node runs. Files that are not fit are told of once,
/// and what was there before is used.
pub(crate) async fn follow(cluster: Cluster) {
    let Some(given) = cluster.inner.given.clone() else { return };
    let mut seen = given.stamp();
    loop {
        tokio::time::sleep(PERIOD).await;
        let stamp = given.stamp();
        if stamp == seen {
            continue;
        }
        seen = stamp;
        match given.load(crate::http::now()) {
            Ok(Given { cluster_id, node_id, identity })
                if node_id == cluster.node_id() && cluster_id == cluster.cluster_id() =>
            {
                cluster.inner.tls.replace(identity);
                tracing::info!("the certificate between nodes was renewed");
            }
            Ok(Given { cluster_id, node_id, .. }) => {
                let code = Code::CertificateInvalid;
                tracing::error!(%code, node_id, cluster_id, "the certificate is of another node");
            }
            Err(error) => tracing::error!(code = %error.code, %error, "it is not taken into use"),
        }
    }
}
