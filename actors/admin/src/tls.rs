//! TLS of both ends: each proves itself by a certificate of the cluster's authority.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::sync::watch;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verdict_config::TimestampMs;
use verdict_config::model::sha256_hex;
use verdict_consensus::peers::node_of_certificate;

use crate::envelope::{NodeSigner, Trust};

/// Why certificates and keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate or key cannot be used: {0}")]
pub struct TlsError(String);

fn unusable(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

fn certificates(chain: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    chain.iter().cloned().map(CertificateDer::from).collect()
}

fn private_key(pkcs8: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.to_vec()))
}

/// The name by which a client says which authority it knows, by its certificate, DER.
#[must_use]
pub(crate) fn authority_name(authority: &[u8]) -> String {
    format!("authority-{}.verdict.internal", &sha256_hex(authority)[..32])
}

/// What a node proves itself with to operators.
pub struct AdminIdentity {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) signer: Arc<NodeSigner>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl std::fmt::Debug for AdminIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AdminIdentity(..)")
    }
}

impl AdminIdentity {
    /// An identity from the node's certificate chain, that of before (empty, unless its authority is
    /// trusted still), the key of both in PKCS#8, and the authorities, the one that signs first.
    /// Who does not say to know that one is shown the certificate of before.
    ///
    /// # Errors
    /// Parts that do not fit each other.
    pub fn new(
        (chain, previous): (&[Vec<u8>], &[Vec<u8>]),
        key_pkcs8: &[u8],
        authorities: &[Vec<u8>],
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities) {
            roots.add(authority).map_err(unusable)?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = verifier.build().map_err(unusable)?;
        let certified = |chain: &[Vec<u8>]| {
            CertifiedKey::from_der(certificates(chain), private_key(key_pkcs8), &provider)
                .map(Arc::new)
                .map_err(unusable)
        };
        let shown = Shown {
            name: authorities.first().map(|signs| authority_name(signs)).unwrap_or_default(),
            current: certified(chain)?,
            previous: if previous.is_empty() { None } else { Some(certified(previous)?) },
        };
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_cert_resolver(Arc::new(shown));
        let both = previous.iter().chain(chain).cloned().collect();
        let signer = NodeSigner::new(key_pkcs8, both).map_err(unusable)?;
        let acceptor = TlsAcceptor::from(Arc::new(server));
        Ok(Self { acceptor, signer: Arc::new(signer), verifier })
    }

    /// Whether whoever showed a chain would be let in now.
    fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain.split_first().is_some_and(|(leaf, between)| {
            self.verifier.verify_client_cert(leaf, between, UnixTime::now()).is_ok()
        })
    }
}

/// The certificates of a node, of which each client is shown one that it can check.
#[derive(Debug)]
struct Shown {
    name: String,
    current: Arc<CertifiedKey>,
    previous: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match &self.previous {
            Some(previous) if hello.server_name() != Some(self.name.as_str()) => {
                Some(Arc::clone(previous))
            }
            _ => Some(Arc::clone(&self.current)),
        }
    }
}

/// An identity that can be replaced while operators are served. Cheap to clone. Connections of whoever
/// would not be let in any more are closed.
#[derive(Debug, Clone)]
pub struct SharedAdminIdentity(Arc<watch::Sender<Arc<AdminIdentity>>>);

impl From<AdminIdentity> for SharedAdminIdentity {
    fn from(identity: AdminIdentity) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(identity))))
    }
}

impl SharedAdminIdentity {
    /// The identity that operators are served with now.
    #[must_use]
    pub fn current(&self) -> Arc<AdminIdentity> {
        Arc::clone(&self.0.borrow())
    }

    /// Goes on with another.
    pub fn replace(&self, identity: AdminIdentity) {
        self.0.send_replace(Arc::new(identity));
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<AdminIdentity>> {
        self.0.subscribe()
    }
}

/// Waits until an identity takes the place of the one before that would not let the caller in.
pub(crate) async fn distrusted(
    mut identities: watch::Receiver<Arc<AdminIdentity>>,
    chain: Vec<CertificateDer<'static>>,
) {
    while identities.changed().await.is_ok() {
        let identity = Arc::clone(&identities.borrow_and_update());
        if !identity.trusts(&chain) {
            return;
        }
    }
    std::future::pending().await
}

/// The operator's end: takes any node of the cluster, and no one else.
///
/// # Errors
/// Parts that do not fit each other.
pub fn connector(
    cluster_id: &str,
    chain: &[Vec<u8>],
    key_pkcs8: &[u8],
    authorities: &[Vec<u8>],
) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = AnyNode {
        cluster_id: cluster_id.to_owned(),
        authorities: authorities.to_vec(),
        provider: Arc::clone(&provider),
    };
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(certificates(chain), private_key(key_pkcs8))
        .map_err(unusable)?;
    Ok(TlsConnector::from(Arc::new(client)))
}

/// Takes certificates of the cluster's nodes. An operator connects to an address without knowing
/// which node is there, so that the usual check of one name is a check of the form of the name.
#[derive(Debug)]
struct AnyNode {
    cluster_id: String,
    authorities: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let node = node_of_certificate(end_entity.as_ref(), &self.cluster_id);
        let node_id = node.ok_or(Error::InvalidCertificate(CertificateError::NotValidForName))?;
        let mut chain = vec![end_entity.as_ref().to_vec()];
        chain.extend(intermediates.iter().map(|der| der.as_ref().to_vec()));
        let milliseconds = Duration::from_secs(now.as_secs()).as_millis();
        let now = TimestampMs(i64::try_from(milliseconds).unwrap_or(i64::MAX));
        let trust = Trust { cluster_id: &self.cluster_id, authorities: &self.authorities, now };
        trust
            .check_chain(node_id, &chain)
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
