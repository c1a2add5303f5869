//! What follows from certificates alone: who signed whom, and whose key a key is.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use verdict_config::TimestampMs;

/// Checks that a chain leads from a certificate, which may be shown at both ends of a connection, to
/// one of the authorities, and is good at a time. All DER.
///
/// # Errors
/// Why it does not.
pub fn check_chain_of_node(
    chain: &[Vec<u8>],
    authorities: &[Vec<u8>],
    now: TimestampMs,
) -> Result<(), String> {
    check_chain(chain, authorities, (now, webpki::KeyUsage::server_auth()))?;
    check_chain(chain, authorities, (now, webpki::KeyUsage::client_auth()))
}

/// Whether one of the authorities signed the certificate of a node that a chain begins with, and the
/// chain is good at a time. All DER.
#[must_use]
pub fn is_signed_by(chain: &[Vec<u8>], authorities: &[Vec<u8>], now: TimestampMs) -> bool {
    check_chain(chain, authorities, (now, webpki::KeyUsage::server_auth())).is_ok()
}

fn check_chain(
    chain: &[Vec<u8>],
    authorities: &[Vec<u8>],
    (now, usage): (TimestampMs, webpki::KeyUsage),
) -> Result<(), String> {
    let (leaf, between) = chain.split_first().ok_or("there is no certificate")?;
    let leaf = CertificateDer::from(leaf.as_slice());
    let end = webpki::EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
    let authorities: Vec<CertificateDer<'_>> =
        authorities.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let anchors: Vec<_> =
        authorities.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok()).collect();
    let between: Vec<CertificateDer<'_>> =
        between.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let seconds = u64::try_from(now.0 / 1_000).unwrap_or(0);
    let verified = end.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &between,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        usage,
        None,
        None,
    );
    verified.map(|_| ()).map_err(|error| error.to_string())
}

/// Whether a public key, as a key pair gives it, is the one that a certificate, DER, is about.
pub(super) fn is_key_of(public_key: &[u8], certificate: &[u8]) -> bool {
    let certificate = CertificateDer::from(certificate);
    // The information about a key ends with the key's own bits.
    webpki::anchor_from_trusted_cert(&certificate)
        .is_ok_and(|anchor| anchor.subject_public_key_info.ends_with(public_key))
}

/// Whether an authority, by its certificate, signed what it is said to say of another's certificate.
/// All DER; see [`Authority::endorse`](super::Authority::endorse).
#[must_use]
pub fn is_endorsed(authority: &[u8], signature: &[u8], cluster_id: &str, other: &[u8]) -> bool {
    let authority = CertificateDer::from(authority);
    let Ok(signer) = webpki::EndEntityCert::try_from(&authority) else { return false };
    let text = endorsement(cluster_id, other);
    signer.verify_signature(webpki::ring::ECDSA_P256_SHA256, &text, signature).is_ok()
}

/// What an authority signs when it endorses another.
pub(super) fn endorsement(cluster_id: &str, other: &[u8]) -> Vec<u8> {
    let mut text = format!("Verdict authority of {cluster_id} is followed by ").into_bytes();
    text.extend_from_slice(other);
    text
}
