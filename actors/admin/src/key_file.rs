//! An operator's key, as a file holds it: private key, certificate, trust, addresses.
//!
//! The file belongs to its owner alone (mode 0600; one that others may read is refused, as ssh
//! does). With a passphrase the private key is sealed by ChaCha20-Poly1305 under a key that Argon2id
//! makes of it.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use argon2::Argon2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;
use serde::{Deserialize, Serialize};
use verdict_config::Code;

use crate::envelope::{EnvelopeFault, OperatorSigner};

const FORMAT: u32 = 1;
/// The longest file that is read.
const BYTES_MAX: u64 = 256 << 10;
/// Anyone but the owner.
const OTHERS: u32 = 0o077;

/// Why a key file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct KeyFileError {
    /// The stable code.
    pub code: Code,
    /// What is wrong, for people.
    pub detail: String,
}

impl KeyFileError {
    fn new(path: &Path, detail: impl std::fmt::Display) -> Self {
        let detail = format!("{}: {detail}", path.display());
        Self { code: Code::OperatorUnknown, detail }
    }
}

/// Where a node takes admin requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminAddress {
    /// The node.
    pub node_id: u64,
    /// Host and port.
    pub address: String,
}

/// What a key file holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Version of this layout.
    pub format: u32,
    /// The cluster; empty until the key is enrolled.
    pub cluster_id: String,
    /// The name of the key's object in the catalogue.
    pub name: String,
    /// Ed25519, 64 hexadecimal digits.
    pub public_key: String,
    private_key: PrivateKey,
    /// The certificate and what stands between it and the authority, DER in hexadecimal digits.
    pub chain: Vec<String>,
    /// Certificates of the authorities that are trusted, DER in hexadecimal digits.
    pub authorities: Vec<String>,
    /// Nodes that can be asked.
    pub addresses: Vec<AdminAddress>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PrivateKey {
    /// PKCS#8 in hexadecimal digits.
    Plain(String),
    /// PKCS#8, sealed.
    Sealed { salt: String, nonce: String, sealed: String },
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KeyFile({} of {:?})", self.name, self.cluster_id)
    }
}

/// A key that can be used.
pub struct OpenKey {
    /// The file it came from.
    pub file: KeyFile,
    pkcs8: Vec<u8>,
}

impl std::fmt::Debug for OpenKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "OpenKey({} of {:?})", self.file.name, self.file.cluster_id)
    }
}

fn random<const N: usize>() -> Result<[u8; N], EnvelopeFault> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| EnvelopeFault::new(Code::Internal, "the system has no randomness"))?;
    Ok(bytes)
}

/// The key that a passphrase makes.
fn stretch(passphrase: &str, salt: &[u8]) -> Result<Key, EnvelopeFault> {
    let mut key = Key::default();
    Argon2::default()
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .map_err(|error| EnvelopeFault::new(Code::Internal, error.to_string()))?;
    Ok(key)
}

impl KeyFile {
    /// Makes a key that nobody knows yet.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(name: &str, passphrase: Option<&str>) -> Result<OpenKey, EnvelopeFault> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| EnvelopeFault::new(Code::Internal, "the system has no randomness"))?;
        let pkcs8 = pkcs8.as_ref().to_vec();
        let public_key = hex::encode(OperatorSigner::from_pkcs8(&pkcs8)?.public());
        let private_key = match passphrase {
            None => PrivateKey::Plain(hex::encode(&pkcs8)),
            Some(passphrase) => {
                let (salt, nonce) = (random::<16>()?, random::<12>()?);
                let cipher = ChaCha20Poly1305::new(&stretch(passphrase, &salt)?);
                let sealed = cipher
                    .encrypt(&Nonce::from(nonce), pkcs8.as_slice())
                    .map_err(|_| EnvelopeFault::new(Code::Internal, "the key cannot be sealed"))?;
                PrivateKey::Sealed {
                    salt: hex::encode(salt),
                    nonce: hex::encode(nonce),
                    sealed: hex::encode(sealed),
                }
            }
        };
        let file = Self {
            format: FORMAT,
            cluster_id: String::new(),
            name: name.to_owned(),
            public_key,
            private_key,
            chain: Vec::new(),
            authorities: Vec::new(),
            addresses: Vec::new(),
        };
        Ok(OpenKey { file, pkcs8 })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, others may read it, or it is no key of this program's version.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let unread = |error: std::io::Error| KeyFileError::new(path, error);
        let about = std::fs::metadata(path).map_err(unread)?;
        if about.mode() & OTHERS != 0 {
            return Err(KeyFileError::new(path, "others may read it; run chmod 600 on it"));
        }
        if about.len() > BYTES_MAX {
            return Err(KeyFileError::new(path, "it is too long to be a key"));
        }
        let bytes = std::fs::read(path).map_err(unread)?;
        let file: Self = serde_json::from_slice(&bytes).map_err(|error| {
            KeyFileError::new(path, format!("it is no operator's key: {error}"))
        })?;
        match file.format {
            FORMAT => Ok(file),
            newer => Err(KeyFileError::new(path, format!("a newer program wrote it ({newer})"))),
        }
    }

    /// Whether using it asks for a passphrase.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self.private_key, PrivateKey::Sealed { .. })
    }

    /// The authorities' certificates as PEM.
    #[must_use]
    pub fn authorities_pem(&self) -> String {
        let certificates = self.authorities.iter().filter_map(|text| hex::decode(text).ok());
        certificates.map(|der| pem(&der)).collect()
    }

    /// Opens the private key.
    ///
    /// # Errors
    /// A passphrase that is wrong, missing, or not asked for.
    pub fn open(self, passphrase: Option<&str>) -> Result<OpenKey, EnvelopeFault> {
        let wrong = |detail: &str| EnvelopeFault::new(Code::OperatorUnknown, detail);
        let digits = |text: &str| hex::decode(text).map_err(|_| wrong("the key file is damaged"));
        let pkcs8 = match (&self.private_key, passphrase) {
            (PrivateKey::Plain(text), _) => digits(text)?,
            (PrivateKey::Sealed { .. }, None) => {
                return Err(wrong("the key asks for a passphrase"));
            }
            (PrivateKey::Sealed { salt, nonce, sealed }, Some(passphrase)) => {
                let nonce: [u8; 12] =
                    digits(nonce)?.try_into().map_err(|_| wrong("the key file is damaged"))?;
                let cipher = ChaCha20Poly1305::new(&stretch(passphrase, &digits(salt)?)?);
                let opened = cipher.decrypt(&Nonce::from(nonce), digits(sealed)?.as_slice());
                opened.map_err(|_| wrong("the passphrase is wrong"))?
            }
        };
        OperatorSigner::from_pkcs8(&pkcs8)?;
        Ok(OpenKey { file: self, pkcs8 })
    }

    /// Writes the file for its owner alone, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        let failed = |error: std::io::Error| KeyFileError::new(path, error);
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| KeyFileError::new(path, error))?;
        let unfinished = path.with_extension("tmp");
        // One that was left unfinished may have another mode.
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&unfinished, path).map_err(failed)
    }
}

/// A certificate as PEM (RFC 7468): base64 in lines of 64.
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

impl OpenKey {
    /// Signs requests.
    ///
    /// # Errors
    /// Never for a key that was opened.
    pub fn signer(&self) -> Result<OperatorSigner, EnvelopeFault> {
        OperatorSigner::from_pkcs8(&self.pkcs8)
    }

    /// The private key in PKCS#8: a secret.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The chain of certificates, DER.
    #[must_use]
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.file.chain.iter().filter_map(|text| hex::decode(text).ok()).collect()
    }

    /// The authorities that are trusted, DER.
    #[must_use]
    pub fn authorities(&self) -> Vec<Vec<u8>> {
        self.file.authorities.iter().filter_map(|text| hex::decode(text).ok()).collect()
    }
}
