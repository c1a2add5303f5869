//! What a node is in its cluster, as its state folder keeps it: id, key, certificate, trust.
//!
//! One file that only its owner may read, replaced as a whole. `complete` says that the log's folder
//! stands as well: a node whose log was lost must come back under another id, because what it had
//! acknowledged is gone.

use std::path::Path;

use serde::{Deserialize, Serialize};

use verdict_config::TimestampMs;

use super::authority::{Authority, NodeKey};
use super::tls::PeerIdentity;
use super::trust;
use crate::error::LogError;
use crate::local::folder::{damaged, io, write_private};

const FILE: &str = "identity.json";
/// The layout of a node whose cluster never changed its authority.
const FORMAT: u32 = 1;
/// The layout while an authority comes or goes.
const FORMAT_ROTATING: u32 = 2;
/// The longest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// The private key of an authority that does not sign: not yet, or no more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpareAuthority {
    /// Its certificate, DER in hex digits.
    #[serde(with = "hex_bytes")]
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub key_pem: String,
    /// Whether the cluster has yet to agree that it is trusted.
    pub pending: bool,
}

impl std::fmt::Debug for SpareAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SpareAuthority(..)")
    }
}

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
    /// Certificates of the authorities that are trusted, DER in hex digits: the one that signs first.
    #[serde(with = "hex_list")]
    pub authorities: Vec<Vec<u8>>,
    /// The private key, PEM, of the authority that signs; voters have it.
    pub authority_key_pem: Option<String>,
    /// The certificate of before and what stands between it and its authority, while that is
    /// trusted still, DER in hex digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "hex_list")]
    pub previous_chain: Vec<Vec<u8>>,
    /// Private keys of authorities that do not sign; voters have them while one comes or goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spare_authorities: Vec<SpareAuthority>,
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
            previous_chain: Vec::new(),
            spare_authorities: Vec::new(),
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
        if format > FORMAT_ROTATING {
            let folder = folder.display().to_string();
            return Err(LogError::Newer { folder, found: format, known: FORMAT_ROTATING });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(unread)
    }

    /// Keeps the identity, durably.
    ///
    /// # Errors
    /// The operating system's.
    pub fn save(&self, folder: &Path) -> Result<(), LogError> {
        std::fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        let settled = self.previous_chain.is_empty() && self.spare_authorities.is_empty();
        let format = if settled { FORMAT } else { FORMAT_ROTATING };
        let text = serde_json::to_vec_pretty(&Self { format, ..self.clone() })
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

    /// This node with other authorities, the one that signs first. Private keys of authorities that
    /// are not among them are gone, and so is a certificate of before that one of those signed.
    #[must_use]
    pub fn trusting(&self, authorities: &[Vec<u8>], now: TimestampMs) -> Self {
        let own = self.authorities.first().zip(self.authority_key_pem.as_ref());
        let own = own.map(|(certificate, key_pem)| SpareAuthority {
            certificate: certificate.clone(),
            key_pem: key_pem.clone(),
            pending: false,
        });
        let (mut authority_key_pem, mut spare_authorities) = (None, Vec::new());
        for spare in own.into_iter().chain(self.spare_authorities.iter().cloned()) {
            if authorities.first() == Some(&spare.certificate) {
                authority_key_pem = Some(spare.key_pem);
            } else if authorities.contains(&spare.certificate) {
                spare_authorities.push(SpareAuthority { pending: false, ..spare });
            } else if spare.pending {
                spare_authorities.push(spare);
            }
        }
        let stays = trust::is_signed_by(&self.previous_chain, authorities, now);
        let previous_chain = if stays { self.previous_chain.clone() } else { Vec::new() };
        let authorities = authorities.to_vec();
        Self { authorities, authority_key_pem, previous_chain, spare_authorities, ..self.clone() }
    }

    /// This node with a certificate that another authority signed. That of before is kept while its
    /// authority is trusted.
    #[must_use]
    pub fn certified(&self, chain: Vec<Vec<u8>>, now: TimestampMs) -> Self {
        let stays = trust::is_signed_by(&self.chain, &self.authorities, now);
        let previous_chain = if stays { self.chain.clone() } else { Vec::new() };
        Self { chain, previous_chain, ..self.clone() }
    }

    /// This node with the private key of another authority. One that is pending takes the place of
    /// another that is.
    #[must_use]
    pub fn with_spare(&self, spare: SpareAuthority) -> Self {
        let mut kept = self.clone();
        if kept.authorities.first() == Some(&spare.certificate) {
            kept.authority_key_pem = Some(spare.key_pem);
            return kept;
        }
        kept.spare_authorities.retain(|other| {
            other.certificate != spare.certificate && !(other.pending && spare.pending)
        });
        kept.spare_authorities.push(spare);
        kept
    }

    /// An authority that is trusted, where this node has its key.
    #[must_use]
    pub fn authority_key(&self, certificate: &[u8]) -> Option<&str> {
        if self.authorities.first().is_some_and(|first| first == certificate) {
            return self.authority_key_pem.as_deref();
        }
        let spare = self.spare_authorities.iter().find(|spare| spare.certificate == certificate);
        spare.map(|spare| spare.key_pem.as_str())
    }

    /// The authority that signs, where this node has its key.
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

/// A byte string as hex digits.
mod hex_bytes {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_790_000_000_000);

    /// A rotation as one voter lives it, with what its file holds after every step.
    #[test]
    fn keys_and_certificates_come_and_go_with_their_authority() {
        let folder = tempfile::tempdir().unwrap();
        let kept_again = |kept: &KeptIdentity| {
            kept.save(folder.path()).unwrap();
            let again = KeptIdentity::load(folder.path()).unwrap().unwrap();
            assert_eq!(KeptIdentity { format: kept.format, ..again.clone() }, *kept);
            again.format
        };
        let (old, new) =
            (Authority::generate("c", NOW).unwrap(), Authority::generate("c", NOW).unwrap());
        let (old_der, new_der) = (old.certificate().to_vec(), new.certificate().to_vec());
        let key = NodeKey::generate().unwrap();
        let first = old.issue(1, &key.public(), NOW).unwrap();
        let node = KeptIdentity::first(1, &key, first.clone(), &old);
        assert_eq!(kept_again(&node), 1);

        // Before the cluster agreed: the key is there, and nothing is signed or trusted by it.
        let pending = |authority: &Authority| SpareAuthority {
            certificate: authority.certificate().to_vec(),
            key_pem: authority.key_pem(),
            pending: true,
        };
        let waiting = node.with_spare(pending(&Authority::generate("c", NOW).unwrap()));
        let waiting = waiting.with_spare(pending(&new));
        assert_eq!(waiting.spare_authorities.len(), 1, "one that failed makes room");
        assert_eq!(waiting.trusting(std::slice::from_ref(&old_der), NOW), waiting);
        assert_eq!(kept_again(&waiting), 2);

        // Installed, then used: the other certificate signs, and both certificates are held.
        let installed = waiting.trusting(&[old_der.clone(), new_der.clone()], NOW);
        assert_eq!(installed.authority().unwrap().certificate(), old_der);
        assert_eq!(installed.authority_key(&new_der), Some(new.key_pem().as_str()));
        let used = installed.trusting(&[new_der.clone(), old_der.clone()], NOW);
        let signing = used.authority().unwrap();
        assert_eq!(signing.certificate(), new_der);
        let second = signing.issue(1, &key.public(), NOW).unwrap();
        let used = used.certified(vec![second.clone()], NOW);
        assert_eq!(used.previous_chain, [first]);
        assert!(trust::is_signed_by(&used.chain, std::slice::from_ref(&new_der), NOW));
        assert!(!trust::is_signed_by(&used.chain, std::slice::from_ref(&old_der), NOW));
        kept_again(&used);

        // Removed: nothing of the old one is left, and programs of before can read the file.
        let removed = used.trusting(std::slice::from_ref(&new_der), NOW);
        assert_eq!(removed.spare_authorities, []);
        assert_eq!(removed.previous_chain, Vec::<Vec<u8>>::new());
        assert_eq!(removed.authority_key_pem, Some(new.key_pem()));
        assert_eq!(kept_again(&removed), 1);
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains(&hex::encode(&old_der)));
        assert!(!text.contains(old.key_pem().lines().nth(1).unwrap()));
    }

    #[test]
    fn an_authority_vouches_for_the_next_and_nobody_else_can() {
        let (old, new) =
            (Authority::generate("c", NOW).unwrap(), Authority::generate("c", NOW).unwrap());
        let signature = old.endorse(new.certificate()).unwrap();
        let check = |by: &Authority, cluster: &str, of: &Authority, expected: bool| {
            let (by, of) = (by.certificate(), of.certificate());
            assert_eq!(trust::is_endorsed(by, &signature, cluster, of), expected);
        };
        check(&old, "c", &new, true);
        check(&new, "c", &new, false);
        check(&old, "c", &old, false);
        check(&old, "d", &new, false);
        let list = [new.certificate().to_vec(), old.certificate().to_vec()];
        let found = Authority::of_key("c", &list, &old.key_pem()).unwrap();
        assert_eq!(found.certificate(), old.certificate());
        assert!(Authority::of_key("c", &list[..1], &old.key_pem()).is_none());
    }
}
