//! The cluster's own authority, and the keys of its nodes.
//!
//! An authority is made with its cluster and signs what nodes prove themselves with. Its private key
//! lives in the state folders of voters and never in log, snapshot or export.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm, SigningKey, date_time_ymd,
};
use verdict_config::{Code, TimestampMs};

use super::tls::node_name;
use super::trust;

/// How long a node's certificate is valid. Rotation replaces it long before.
const NODE_VALID: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long the authority's own certificate is valid.
const AUTHORITY_VALID: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Clocks of nodes may differ by so much.
const CLOCK_SLACK: Duration = Duration::from_secs(86_400);
/// Bytes of an uncompressed point of P-256.
const PUBLIC_KEY_BYTES: usize = 65;
/// Bytes of a public key of Ed25519.
const OPERATOR_KEY_BYTES: usize = 32;

/// Why a key or certificate cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthorityError(pub String);

impl AuthorityError {
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

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

/// The private key of a node: made on the node, and never leaves it.
pub struct NodeKey(KeyPair);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NodeKey(..)")
    }
}

impl NodeKey {
    /// A new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads a key from PEM.
    ///
    /// # Errors
    /// Text that is no PKCS#8 key of this kind.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::from_pem(pem)?))
    }

    /// The key as PEM: a secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The public half, as an authority signs it.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }

    /// The key in PKCS#8.
    #[must_use]
    pub fn pkcs8(&self) -> Vec<u8> {
        self.0.serialize_der()
    }
}

/// A public key from elsewhere.
struct PublicKey(Vec<u8>, &'static SignatureAlgorithm);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

/// The authority of one cluster.
pub struct Authority {
    cluster_id: String,
    certificate: Vec<u8>,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Authority({})", self.cluster_id)
    }
}

impl Authority {
    /// A new authority for a cluster.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(cluster_id: &str, now: TimestampMs) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = authority_parameters(cluster_id);
        set_validity(&mut parameters, now, AUTHORITY_VALID);
        let certificate = parameters.self_signed(&key)?.der().to_vec();
        Ok(Self { cluster_id: cluster_id.to_owned(), certificate, key })
    }

    /// An authority from its parts, as they were kept.
    ///
    /// # Errors
    /// A key that cannot be read.
    pub fn from_parts(
        cluster_id: &str,
        certificate: Vec<u8>,
        key_pem: &str,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self { cluster_id: cluster_id.to_owned(), certificate, key })
    }

    /// The one of several certificates that a private key belongs to; none if it is of none of them.
    #[must_use]
    pub fn of_key(cluster_id: &str, certificates: &[Vec<u8>], key_pem: &str) -> Option<Self> {
        let key = KeyPair::from_pem(key_pem).ok()?;
        let fits = |der: &&Vec<u8>| trust::is_key_of(key.public_key_raw(), der);
        let certificate = certificates.iter().find(fits)?.clone();
        Some(Self { cluster_id: cluster_id.to_owned(), certificate, key })
    }

    /// Signs another authority's certificate, DER: whoever trusts this one may trust that one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn endorse(&self, other: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.key.sign(&trust::endorsement(&self.cluster_id, other))?)
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Its certificate, DER: what nodes trust.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its private key as PEM: the cluster's greatest secret.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Signs a node's public key, as [`NodeKey::public`] gives it: a certificate, DER, for the
    /// node's name.
    ///
    /// # Errors
    /// Bytes that are no public key.
    pub fn issue(
        &self,
        node_id: u64,
        public_key: &[u8],
        now: TimestampMs,
    ) -> Result<Vec<u8>, AuthorityError> {
        if public_key.len() != PUBLIC_KEY_BYTES || public_key.first() != Some(&4) {
            return Err(AuthorityError("this is no public key of a node".to_owned()));
        }
        let name = node_name(&self.cluster_id, node_id);
        let mut parameters = CertificateParams::new(vec![name.clone()])?;
        set_validity(&mut parameters, now, NODE_VALID);
        parameters.distinguished_name = named(&name);
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(parameters, PublicKey(public_key.to_vec(), &PKCS_ECDSA_P256_SHA256))
    }

    /// Signs an operator's Ed25519 public key, 32 bytes: a certificate, DER, that lets its owner
    /// connect to admin actors. What the owner may do, the catalogue says.
    ///
    /// # Errors
    /// Bytes that are no public key.
    pub fn issue_operator(
        &self,
        key_name: &str,
        public_key: &[u8],
        now: TimestampMs,
    ) -> Result<Vec<u8>, AuthorityError> {
        if public_key.len() != OPERATOR_KEY_BYTES {
            return Err(AuthorityError("this is no public key of an operator".to_owned()));
        }
        let name = format!("operator.{}.verdict.internal", self.cluster_id);
        let mut parameters = CertificateParams::new(vec![name])?;
        set_validity(&mut parameters, now, NODE_VALID);
        parameters.distinguished_name = named(&format!("Verdict operator {key_name}"));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(parameters, PublicKey(public_key.to_vec(), &PKCS_ED25519))
    }

    fn sign(
        &self,
        mut parameters: CertificateParams,
        key: PublicKey,
    ) -> Result<Vec<u8>, AuthorityError> {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issuer = Issuer::new(authority_parameters(&self.cluster_id), &self.key);
        Ok(parameters.signed_by(&key, &issuer)?.der().to_vec())
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn authority_parameters(cluster_id: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(&format!("Verdict cluster {cluster_id}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    parameters
}

/// Sets the time a certificate is valid: from a day ago, because clocks differ, for so long.
fn set_validity(parameters: &mut CertificateParams, now: TimestampMs, length: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0)).max(CLOCK_SLACK);
    parameters.not_before = epoch + (now - CLOCK_SLACK);
    parameters.not_after = epoch + now + length;
}
