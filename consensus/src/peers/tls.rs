//! Who a node is on the wire: its certificate, its key, and whom it trusts.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::sync::watch;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verdict_config::Code;

/// The name that a node's certificate is valid for.
#[must_use]
pub fn node_name(cluster_id: &str, node_id: u64) -> String {
    format!("node-{node_id}.{cluster_id}.verdict.internal")
}

/// A node's certificate, key and trust, ready for both ends of a connection.
#[derive(Clone)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: Arc<str>,
    /// The node; 0 for one that has yet to join.
    pub node_id: u64,
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl std::fmt::Debug for PeerIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PeerIdentity(node {} of {})", self.node_id, self.cluster_id)
    }
}

/// Why an identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node's certificate cannot be used: {0}")]
pub struct PeerIdentityError(String);

impl PeerIdentityError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::SettingsInvalid
    }

    /// Whether trying again could help: never.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

fn unusable(error: impl std::fmt::Display) -> PeerIdentityError {
    PeerIdentityError(error.to_string())
}

fn roots(authorities: &[Vec<u8>]) -> Result<RootCertStore, PeerIdentityError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority.clone())).map_err(unusable)?;
    }
    Ok(roots)
}

impl PeerIdentity {
    /// An identity from a certificate chain and the certificates of the authorities that are
    /// trusted, all DER, and a key in PKCS#8. Authorities may be several while they are rotated.
    ///
    /// # Errors
    /// Parts that do not fit each other, or a certificate that is not for this node.
    pub fn new(
        cluster_id: &str,
        node_id: u64,
        chain: &[Vec<u8>],
        key_pkcs8: &[u8],
        authorities: &[Vec<u8>],
    ) -> Result<Self, PeerIdentityError> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key_pkcs8.to_vec()));
        Self::with_key((cluster_id, node_id), chain, key, authorities)
    }

    /// An identity as [`new`](Self::new) makes it, from a key in any encoding that TLS knows.
    ///
    /// # Errors
    /// Parts that do not fit each other, or a certificate that is not for this node.
    pub fn with_key(
        (cluster_id, node_id): (&str, u64),
        chain: &[Vec<u8>],
        key: PrivateKeyDer<'static>,
        authorities: &[Vec<u8>],
    ) -> Result<Self, PeerIdentityError> {
        let leaf = chain.first().ok_or_else(|| unusable("there is none"))?;
        if !is_for(leaf, cluster_id, node_id) {
            let name = node_name(cluster_id, node_id);
            return Err(unusable(format!("it is not for {name}")));
        }
        let trusted = Arc::new(roots(authorities)?);
        let chain: Vec<CertificateDer<'static>> =
            chain.iter().cloned().map(CertificateDer::from).collect();
        let provider = Arc::new(ring::default_provider());
        // Those who have yet to join have no certificate: what they may ask is up to the handshake.
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&trusted),
            Arc::clone(&provider),
        )
        .allow_unauthenticated()
        .build()
        .map_err(unusable)?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(trusted)
            .with_client_auth_cert(chain, key)
            .map_err(unusable)?;
        Ok(Self {
            cluster_id: cluster_id.into(),
            node_id,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            verifier,
        })
    }

    /// Whether whoever showed a chain would be let in now.
    pub(super) fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain.split_first().is_some_and(|(leaf, between)| {
            self.verifier.verify_client_cert(leaf, between, UnixTime::now()).is_ok()
        })
    }

    /// What it asks to join with: its certificate is shown.
    #[must_use]
    pub fn joining(&self) -> JoiningTls {
        JoiningTls(self.connector.clone())
    }
}

/// An identity that can be replaced while connections are made with it. Cheap to clone.
///
/// Callers make their next connection with the new one, and let those of before end with the
/// requests that are under way on them. The called side closes connections of whoever it would not
/// let in any more.
#[derive(Clone)]
pub struct SharedPeerIdentity(Arc<watch::Sender<Arc<PeerIdentity>>>);

impl std::fmt::Debug for SharedPeerIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.current().fmt(formatter)
    }
}

impl From<PeerIdentity> for SharedPeerIdentity {
    fn from(identity: PeerIdentity) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(identity))))
    }
}

impl SharedPeerIdentity {
    /// The identity that connections are made with now.
    #[must_use]
    pub fn current(&self) -> Arc<PeerIdentity> {
        Arc::clone(&self.0.borrow())
    }

    /// Goes on with another.
    pub fn replace(&self, identity: PeerIdentity) {
        self.0.send_replace(Arc::new(identity));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<PeerIdentity>> {
        self.0.subscribe()
    }
}

/// How a node that asks to join knows the cluster, and shows itself.
#[derive(Clone)]
pub struct JoiningTls(pub(super) TlsConnector);

impl std::fmt::Debug for JoiningTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JoiningTls(..)")
    }
}

impl JoiningTls {
    /// Of a node that has no certificate yet and trusts the authorities, DER.
    ///
    /// # Errors
    /// A certificate that is none.
    pub fn trusting(authorities: &[Vec<u8>]) -> Result<Self, PeerIdentityError> {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots(authorities)?)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(client))))
    }
}

/// Whether a certificate is valid for a node's name. Who signed it was checked by TLS.
pub fn is_for(certificate: &[u8], cluster_id: &str, node_id: u64) -> bool {
    let certificate = CertificateDer::from(certificate);
    let (Ok(parsed), Ok(name)) =
        (ParsedCertificate::try_from(&certificate), server_name(cluster_id, node_id))
    else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
}

/// The node that a certificate is for, if it is one of the cluster's. Who signed it is for the caller
/// to check.
#[must_use]
pub fn node_of_certificate(certificate: &[u8], cluster_id: &str) -> Option<u64> {
    let certificate = CertificateDer::from(certificate);
    let end = webpki::EndEntityCert::try_from(&certificate).ok()?;
    let suffix = format!(".{cluster_id}.verdict.internal");
    end.valid_dns_names()
        .find_map(|name| name.strip_prefix("node-")?.strip_suffix(suffix.as_str())?.parse().ok())
}

/// The nodes that a certificate is for, with the cluster of each.
#[must_use]
pub fn names_of_certificate(certificate: &[u8]) -> Vec<(u64, String)> {
    let certificate = CertificateDer::from(certificate);
    let Ok(end) = webpki::EndEntityCert::try_from(&certificate) else { return Vec::new() };
    let node_and_cluster = |name: &str| {
        let (id, cluster) =
            name.strip_prefix("node-")?.strip_suffix(".verdict.internal")?.split_once('.')?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&cluster.len()) && cluster.bytes().all(plain);
        Some((id.parse().ok()?, cluster.to_owned())).filter(|_| fits)
    };
    end.valid_dns_names().filter_map(node_and_cluster).collect()
}

/// The name to ask a node for.
///
/// # Errors
/// A cluster id that is no part of a name.
pub fn server_name(
    cluster_id: &str,
    node_id: u64,
) -> Result<ServerName<'static>, PeerIdentityError> {
    ServerName::try_from(node_name(cluster_id, node_id)).map_err(unusable)
}
