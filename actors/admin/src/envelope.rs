//! What goes over the wire: signed requests and signed answers. Pure.
//!
//! ```text
//! request = "VDAS" version { signed, signature }      signed = "VDAQ" version { to, key, nonce, times, body }
//! answer  = "VDAT" version { signed, signature }      signed = "VDAA" version { from, nonce, chain, body }
//! ```
//!
//! A request is signed with the operator's Ed25519 key, an answer with the key that the node proves
//! itself with in TLS (ECDSA on P-256). What is verified is the bytes as they came, never a second
//! encoding of what they mean. Both forms are versioned bincode, held fast by golden bytes.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use verdict_config::{Code, TimestampMs};
use verdict_consensus::EnvelopeError;
use verdict_consensus::command::{decode_within, open, seal};
use verdict_consensus::peers::is_certificate_of_node;

const SEALED_REQUEST: [u8; 4] = *b"VDAS";
const REQUEST: [u8; 4] = *b"VDAQ";
const SEALED_ANSWER: [u8; 4] = *b"VDAT";
const ANSWER: [u8; 4] = *b"VDAA";
const SEALED_STATEMENT: [u8; 4] = *b"VDAU";
const STATEMENT: [u8; 4] = *b"VDAW";
/// The newest version of both envelopes.
pub const ENVELOPE_VERSION: u16 = 1;
/// The longest request in bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The longest answer in bytes.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Certificates that a node has at most: of the authority that signs, and of the one before.
const CERTIFICATES_MAX: usize = 2;
/// The longest time between issue and expiry of a request.
pub const VALID_MS_MAX: i64 = 120_000;

/// Why an envelope is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct EnvelopeFault {
    /// The stable code.
    pub code: Code,
    /// What is wrong, for people.
    pub detail: String,
}

impl EnvelopeFault {
    /// A fault.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// Whether signing again could help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.code, Code::EnvelopeExpired | Code::EnvelopeReplayed | Code::Overloaded)
    }
}

impl From<EnvelopeError> for EnvelopeFault {
    fn from(error: EnvelopeError) -> Self {
        Self::new(Code::EnvelopeInvalid, error.to_string())
    }
}

fn forged(detail: String) -> EnvelopeFault {
    EnvelopeFault::new(Code::EnvelopeForeign, format!("the node: {detail}"))
}

fn invalid(detail: &str) -> EnvelopeFault {
    EnvelopeFault::new(Code::EnvelopeInvalid, detail)
}

/// A request as its author means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEnvelope {
    /// The cluster it is for.
    pub cluster_id: String,
    /// The node it is for.
    pub node_id: u64,
    /// The name of the operator's key.
    pub key: String,
    /// Never used twice by one key.
    pub nonce: [u8; 16],
    /// When it was signed.
    pub issued_at: TimestampMs,
    /// From when on it is refused.
    pub expires_at: TimestampMs,
    /// The request: JSON of [`Request`](crate::Request).
    pub body: Vec<u8>,
}

/// An answer as a node means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerEnvelope {
    /// The cluster.
    pub cluster_id: String,
    /// The node that answers.
    pub node_id: u64,
    /// The nonce of the request.
    pub nonce: [u8; 16],
    /// When it was signed.
    pub at: TimestampMs,
    /// The node's certificate and what stands between it and the authority, DER; the certificate of
    /// before is the first of two while its authority is trusted.
    pub chain: Vec<Vec<u8>>,
    /// The answer: JSON.
    pub body: Vec<u8>,
}

/// A statement of a node to other nodes, for example that it saw the proof of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The cluster.
    pub cluster_id: String,
    /// The node that states it.
    pub node_id: u64,
    /// The certificates of the node, as in an answer.
    pub chain: Vec<Vec<u8>>,
    /// What it states.
    pub body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct SealedV1 {
    signed: Vec<u8>,
    signature: Vec<u8>,
}

fn unseal<T: DeserializeOwned, const LIMIT: usize>(
    magic: [u8; 4],
    bytes: &[u8],
) -> Result<T, EnvelopeFault> {
    let (_, payload) = open(magic, ENVELOPE_VERSION, LIMIT, bytes)?;
    Ok(decode_within::<T, LIMIT>(payload)?)
}

/// Signs on behalf of an operator.
pub struct OperatorSigner(Ed25519KeyPair);

impl std::fmt::Debug for OperatorSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OperatorSigner(..)")
    }
}

impl OperatorSigner {
    /// A signer from a key in PKCS#8.
    ///
    /// # Errors
    /// Bytes that are no Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, EnvelopeFault> {
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8);
        key.map(Self).map_err(|error| invalid(&format!("the key cannot be used: {error}")))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// Signs a request.
    ///
    /// # Errors
    /// A request that is longer than [`REQUEST_BYTES_MAX`].
    pub fn seal(&self, request: &RequestEnvelope) -> Result<Vec<u8>, EnvelopeFault> {
        let signed = seal(REQUEST, ENVELOPE_VERSION, request)?;
        let signature = self.0.sign(&signed).as_ref().to_vec();
        let sealed = seal(SEALED_REQUEST, ENVELOPE_VERSION, &SealedV1 { signed, signature })?;
        if sealed.len() > REQUEST_BYTES_MAX {
            let detail = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
            return Err(EnvelopeFault::new(Code::BodyTooLarge, detail));
        }
        Ok(sealed)
    }
}

/// A request whose signature has not been looked at.
#[derive(Debug)]
pub struct UnverifiedRequest {
    envelope: RequestEnvelope,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl UnverifiedRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// Bytes that are none, are too long, or come from a newer program.
    pub fn read(bytes: &[u8]) -> Result<Self, EnvelopeFault> {
        let SealedV1 { signed, signature } = unseal::<_, REQUEST_BYTES_MAX>(SEALED_REQUEST, bytes)?;
        let envelope = unseal::<_, REQUEST_BYTES_MAX>(REQUEST, &signed)?;
        Ok(Self { envelope, signed, signature })
    }

    /// What it says, whoever said it.
    #[must_use]
    pub const fn claims(&self) -> &RequestEnvelope {
        &self.envelope
    }

    /// The request, if a key signed it.
    ///
    /// # Errors
    /// It did not.
    pub fn verify(self, public_key: &[u8]) -> Result<RequestEnvelope, EnvelopeFault> {
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        match key.verify(&self.signed, &self.signature) {
            Ok(()) => Ok(self.envelope),
            Err(_) => Err(EnvelopeFault::new(
                Code::OperatorUnknown,
                "the signature is not of the key that the request names",
            )),
        }
    }
}

/// Signs on behalf of a node.
pub struct NodeSigner {
    key: EcdsaKeyPair,
    random: SystemRandom,
    chain: Vec<Vec<u8>>,
}

impl std::fmt::Debug for NodeSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NodeSigner(..)")
    }
}

impl NodeSigner {
    /// A signer from the node's key in PKCS#8 and its certificate chain, DER.
    ///
    /// # Errors
    /// Bytes that are no key on P-256.
    pub fn new(pkcs8: &[u8], chain: Vec<Vec<u8>>) -> Result<Self, EnvelopeFault> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random)
            .map_err(|error| invalid(&format!("the node's key cannot be used: {error}")))?;
        Ok(Self { key, random, chain })
    }

    /// The chain that goes with every answer.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Signs an answer.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(&self, answer: &AnswerEnvelope) -> Result<Vec<u8>, EnvelopeFault> {
        let signed = seal(ANSWER, ENVELOPE_VERSION, answer)?;
        let signature = self.key.sign(&self.random, &signed);
        let signature = signature.map_err(|_| invalid("the answer cannot be signed"))?;
        let sealed = SealedV1 { signed, signature: signature.as_ref().to_vec() };
        Ok(seal(SEALED_ANSWER, ENVELOPE_VERSION, &sealed)?)
    }

    /// Signs a statement to other nodes.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn state(
        &self,
        cluster_id: &str,
        node_id: u64,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, EnvelopeFault> {
        let (cluster_id, chain) = (cluster_id.to_owned(), self.chain.clone());
        let statement = Statement { cluster_id, node_id, chain, body };
        let signed = seal(STATEMENT, ENVELOPE_VERSION, &statement)?;
        let signature = self.key.sign(&self.random, &signed);
        let signature = signature.map_err(|_| invalid("the statement cannot be signed"))?;
        let sealed = SealedV1 { signed, signature: signature.as_ref().to_vec() };
        Ok(seal(SEALED_STATEMENT, ENVELOPE_VERSION, &sealed)?)
    }
}

/// What a client believes of nodes.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// Certificates of its authorities, DER.
    pub authorities: &'a [Vec<u8>],
    /// The time.
    pub now: TimestampMs,
}

impl Trust<'_> {
    /// Which certificate of a chain leads from a node of the cluster to an authority. While one
    /// authority gives way to another, a node shows what both have signed.
    ///
    /// # Errors
    /// Why none does.
    pub fn check_chain<'a>(
        &self,
        node_id: u64,
        chain: &'a [Vec<u8>],
    ) -> Result<&'a [u8], EnvelopeFault> {
        let mut first = None;
        for (position, leaf) in chain.iter().enumerate().take(CERTIFICATES_MAX) {
            let others = chain.iter().enumerate().filter(|(other, _)| *other != position);
            let others: Vec<&[u8]> = others.map(|(_, der)| der.as_slice()).collect();
            match self.check_leaf(node_id, leaf, &others) {
                Ok(()) => return Ok(leaf),
                Err(fault) => drop(first.get_or_insert(fault)),
            }
        }
        Err(first.unwrap_or_else(|| forged("it sent no certificate".to_owned())))
    }

    fn check_leaf(
        &self,
        node_id: u64,
        leaf: &[u8],
        between: &[&[u8]],
    ) -> Result<(), EnvelopeFault> {
        let authorities: Vec<CertificateDer<'_>> =
            self.authorities.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let anchors: Vec<TrustAnchor<'_>> = authorities
            .iter()
            .filter_map(|der| webpki::anchor_from_trusted_cert(der).ok())
            .collect();
        let between: Vec<CertificateDer<'_>> =
            between.iter().map(|der| CertificateDer::from(*der)).collect();
        let leaf_der = CertificateDer::from(leaf);
        let end = webpki::EndEntityCert::try_from(&leaf_der)
            .map_err(|error| forged(error.to_string()))?;
        let seconds = u64::try_from(self.now.0 / 1_000).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            now,
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| forged(error.to_string()))?;
        if !is_certificate_of_node(leaf, self.cluster_id, node_id) {
            return Err(forged(format!("its certificate is not for node {node_id}")));
        }
        Ok(())
    }

    /// Checks that a node of the cluster signed some bytes.
    fn check_signature(
        &self,
        node_id: u64,
        chain: &[Vec<u8>],
        (signed, signature): (&[u8], &[u8]),
    ) -> Result<(), EnvelopeFault> {
        let leaf = CertificateDer::from(self.check_chain(node_id, chain)?);
        let end = webpki::EndEntityCert::try_from(&leaf)
            .map_err(|error| invalid(&format!("the node's certificate: {error}")))?;
        end.verify_signature(webpki::ring::ECDSA_P256_SHA256, signed, signature)
            .map_err(|_| invalid("the signature is not the node's"))
    }

    /// Reads a statement of a node of the cluster, whose certificate the authority signed.
    ///
    /// # Errors
    /// Anything else.
    pub fn read_statement(&self, bytes: &[u8]) -> Result<Statement, EnvelopeFault> {
        let SealedV1 { signed, signature } =
            unseal::<_, REQUEST_BYTES_MAX>(SEALED_STATEMENT, bytes)?;
        let statement: Statement = unseal::<_, REQUEST_BYTES_MAX>(STATEMENT, &signed)?;
        if statement.cluster_id != self.cluster_id {
            let detail = "the statement is of another cluster";
            return Err(EnvelopeFault::new(Code::EnvelopeForeign, detail));
        }
        self.check_signature(statement.node_id, &statement.chain, (&signed, &signature))?;
        Ok(statement)
    }

    /// Reads an answer: signed by the node, whose certificate the authority signed, for this
    /// request.
    ///
    /// # Errors
    /// Anything else.
    pub fn read(
        &self,
        bytes: &[u8],
        node_id: u64,
        nonce: [u8; 16],
    ) -> Result<Vec<u8>, EnvelopeFault> {
        let SealedV1 { signed, signature } = unseal::<_, ANSWER_BYTES_MAX>(SEALED_ANSWER, bytes)?;
        let answer: AnswerEnvelope = unseal::<_, ANSWER_BYTES_MAX>(ANSWER, &signed)?;
        if answer.cluster_id != self.cluster_id || answer.node_id != node_id {
            let detail =
                format!("the answer is of node {} of {}", answer.node_id, answer.cluster_id);
            return Err(EnvelopeFault::new(Code::EnvelopeForeign, detail));
        }
        self.check_signature(node_id, &answer.chain, (&signed, &signature))?;
        if answer.nonce != nonce {
            return Err(EnvelopeFault::new(
                Code::EnvelopeReplayed,
                "the answer belongs to another request",
            ));
        }
        Ok(answer.body)
    }
}
