//! What a node is in its cluster, as its state folder keeps it: id, key, certificate, trust.
//!
//! One file that only its owner may read, replaced as a whole. `complete` says that the log's folder
//! stands as well: a node whose log was lost must come back under another id, because what it had
//! acknowledged is gone.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::authority::{Authority, NodeKey};
use super::tls::PeerIdentity;
use crate::error::LogError;
use crate::local::folder::{damaged, io, write_private};

const FILE: &str = "identity.json";
const FORMAT: u32 = 1;
/// The longest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// What a node is in its cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptIdentity {
    /// Version of this layout.
    pub format: u32,
    /// The cluster; empty while the node asks to join one.
    pub cluster_id: String,
    /// The node; 0 while it asks to join.
    pub node_id: u64,
    /// Whether the log's folder was made.
    pub complete: bool,
    /// The node's private key, PEM.
    pub key_pem: String,
    /// The node's certificate and what stands between it and the authority, DER in hex digits.
    #[serde(with = "hex_list")]
    pub chain: Vec<Vec<u8>>,
    /// Certificates of the authorities that are trusted, DER in hex digits.
    #[serde(with = "hex_list")]
    pub authorities: Vec<Vec<u8>>,
    /// The authority's private key, PEM; voters have it.
    pub authority_key_pem: Option<String>,
}

impl std::fmt::Debug for KeptIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KeptIdentity(node {} of {:?})", self.node_id, self.cluster_id)
    }
}

impl KeptIdentity {
    /// A node that has a key and nothing else yet.
    #[must_use]
    pub fn joining(key: &NodeKey) -> Self {
        Self {
            format: FORMAT,
            cluster_id: String::new(),
            node_id: 0,
            complete: false,
            key_pem: key.to_pem(),
            chain: Vec::new(),
            authorities: Vec::new(),
            authority_key_pem: None,
        }
    }

    /// The first node of a cluster with its authority.
    #[must_use]
    pub fn first(node_id: u64, key: &NodeKey, certificate: Vec<u8>, authority: &Authority) -> Self {
        Self {
            cluster_id: authority.cluster_id().to_owned(),
            node_id,
            chain: vec![certificate],
            authorities: vec![authority.certificate().to_vec()],
            authority_key_pem: Some(authority.key_pem()),
            ..Self::joining(key)
        }
    }

    /// Reads the identity of a state folder; `None` if it has none.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or a newer program wrote it.
    pub fn load(folder: &Path) -> Result<Option<Self>, LogError> {
        let path = folder.join(FILE);
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(&path, source)),
            Ok(file) if file.len() > BYTES_MAX => return Err(damaged(&path, 0, "it is too long")),
            Ok(_) => std::fs::read(&path).map_err(|source| io(&path, source))?,
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unread = |error: serde_json::Error| damaged(&path, 0, error.to_string());
        let Format { format } = serde_json::from_slice(&bytes).map_err(unread)?;
        if format > FORMAT {
            let folder = folder.display().to_string();
            return Err(LogError::Newer { folder, found: format, known: FORMAT });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(unread)
    }

    /// Keeps the identity, durably.
    ///
    /// # Errors
    /// The operating system's.
    pub fn save(&self, folder: &Path) -> Result<(), LogError> {
        std::fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| io(folder, std::io::Error::other(error.to_string())))?;
        write_private(folder, FILE, &text)
    }

    /// The identity as connections use it.
    ///
    /// # Errors
    /// Parts that do not fit each other.
    pub fn peer_identity(&self, folder: &Path) -> Result<PeerIdentity, LogError> {
        let unfit = |detail: String| damaged(&folder.join(FILE), 0, detail);
        let key = NodeKey::from_pem(&self.key_pem).map_err(|error| unfit(error.to_string()))?;
        let (cluster, chain) = (&self.cluster_id, &self.chain);
        PeerIdentity::new(cluster, self.node_id, chain, &key.pkcs8(), &self.authorities)
            .map_err(|error| unfit(error.to_string()))
    }

    /// The authority, where this node has its key.
    #[must_use]
    pub fn authority(&self) -> Option<Authority> {
        let key = self.authority_key_pem.as_ref()?;
        let certificate = self.authorities.first()?.clone();
        Authority::from_parts(&self.cluster_id, certificate, key).ok()
    }
}

/// Byte strings as hex digits.
mod hex_list {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(hex::encode))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| hex::decode(text).map_err(D::Error::custom)).collect()
    }
}
