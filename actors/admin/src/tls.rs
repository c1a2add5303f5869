//! TLS of both ends: each proves itself by a certificate of the cluster's authority.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verdict_config::TimestampMs;
use verdict_consensus::peers::node_of_certificate;

use crate::envelope::Trust;

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

/// The node's end: asks for a certificate of the authority and takes nobody without one.
///
/// # Errors
/// Parts that do not fit each other.
pub fn acceptor(
    chain: &[Vec<u8>],
    key_pkcs8: &[u8],
    authorities: &[Vec<u8>],
) -> Result<TlsAcceptor, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities) {
        roots.add(authority).map_err(unusable)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier.build().map_err(unusable)?)
        .with_single_cert(certificates(chain), private_key(key_pkcs8))
        .map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
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
