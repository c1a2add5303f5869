//! TLS from the settings' certificate and key files.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use super::ServerError;

/// Reads a PEM chain and its key.
///
/// # Errors
/// [`ServerError::Tls`] that names the file.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, ServerError> {
    let at = |path: &Path, what: String| ServerError::Tls(format!("{}: {what}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| at(certificate, pem_reason(&error, "a certificate")))?;
    if chain.is_empty() {
        return Err(at(certificate, "it holds no certificate: name a file in PEM".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| at(key, pem_reason(&error, "a private key")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerError::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            let what = format!(
                "the certificate and the key {} do not belong together, or are of a kind that is not \
                 supported ({error}): name the key that the certificate was made for",
                key.display()
            );
            at(certificate, what)
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem_reason(error: &rustls_pki_types::pem::Error, wanted: &str) -> String {
    use rustls_pki_types::pem::Error;
    match error {
        Error::Io(error) => crate::reasons::io(error),
        _ => format!("it does not hold {wanted} in PEM (`-----BEGIN ...-----`): export it as PEM"),
    }
}
