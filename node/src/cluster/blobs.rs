//! Model folders that this node does not have, brought from members that do.
//!
//! Files come in pieces of a megabyte over a connection of their own; each file is checked against
//! the hash that its sender told, and the whole against the hash that the catalogue names, so that
//! a sender that lies or cuts short costs its turn and nothing else.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use verdict_actors::blobs::{BlobError, BlobSource, FILES_MAX, FOLDER_BYTES_MAX, Files};
use verdict_consensus::Log;
use verdict_consensus::peers::{NodeAnswer, NodeRequest};

use super::{Cluster, ClusterError};

/// Brings folders from other members.
pub struct ClusterBlobs {
    cluster: Cluster,
    runtime: Handle,
}

impl ClusterBlobs {
    /// Folders from a cluster; requests run on `runtime`.
    #[must_use]
    pub const fn new(cluster: Cluster, runtime: Handle) -> Self {
        Self { cluster, runtime }
    }

    async fn bring(&self, hash: &str) -> Result<Files, BlobError> {
        let here = self.cluster.node_id();
        let members = self.cluster.log().members().members;
        for member in members.iter().filter(|member| member.node_id != here) {
            match self.bring_from(member.node_id, hash).await {
                Ok(files) if verdict_actors::blobs::hash_of(&files) == hash => {
                    tracing::info!(hash, from = member.node_id, "a model folder was brought");
                    return Ok(files);
                }
                Ok(_) => {
                    let from = member.node_id;
                    tracing::error!(hash, from, "a node sent another folder than was asked for");
                }
                Err(error) => {
                    tracing::debug!(hash, from = member.node_id, %error, "not from there")
                }
            }
        }
        Err(BlobError::Absent(hash.to_owned()))
    }

    async fn bring_from(&self, node_id: u64, hash: &str) -> Result<Files, ClusterError> {
        let describe = NodeRequest::DescribeFolder { hash: hash.to_owned() };
        let NodeAnswer::Folder(described) = self.cluster.ask_for(node_id, &describe).await? else {
            return Err(ClusterError::refused("the answer is of another kind"));
        };
        let bytes = described.iter().fold(0u64, |sum, (_, _, size)| sum.saturating_add(*size));
        if described.len() > FILES_MAX || bytes > FOLDER_BYTES_MAX {
            return Err(ClusterError::refused("the folder is beyond the limits"));
        }
        let mut files = BTreeMap::new();
        for (path, sha256, size) in described {
            let bytes = self.file(node_id, (hash, &path), size).await?;
            if hex::encode(Sha256::digest(&bytes)) != sha256 {
                return Err(ClusterError::refused(format!("{path} is not what was told")));
            }
            files.insert(path, bytes);
        }
        Ok(files)
    }

    async fn file(
        &self,
        node_id: u64,
        (hash, path): (&str, &str),
        size: u64,
    ) -> Result<Vec<u8>, ClusterError> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            let request = NodeRequest::FolderPiece {
                hash: hash.to_owned(),
                path: path.to_owned(),
                offset: bytes.len() as u64,
            };
            match self.cluster.ask_for(node_id, &request).await? {
                NodeAnswer::Piece(piece) if !piece.is_empty() => bytes.extend_from_slice(&piece),
                _ => return Err(ClusterError::refused(format!("{path} ends early"))),
            }
        }
        Ok(bytes)
    }
}

impl BlobSource for ClusterBlobs {
    fn fetch(&self, hash: &str) -> Result<Files, BlobError> {
        self.runtime.block_on(self.bring(hash))
    }
}
