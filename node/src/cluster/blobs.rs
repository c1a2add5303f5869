//! What this node asks other members for: folders and bodies that it does not have, piece by piece,
//! and to prepare what a change will need.
//!
//! Pieces of a megabyte come over a connection of their own. What a member says is checked by the
//! store, against the hash that was asked for.

use tokio::runtime::Handle;
use verdict_actors::blobs::{BlobSource, SourceError};
use verdict_actors::readiness::{Needs, PreparedFuture, ReadyPeers};
use verdict_config::model::ModelFile;
use verdict_consensus::Log;
use verdict_consensus::peers::{NodeAnswer, NodeRequest};

use super::Cluster;

/// The other members. Its blocking side runs requests on a runtime's handle.
pub struct ClusterBlobs {
    cluster: Cluster,
    runtime: Handle,
}

impl ClusterBlobs {
    /// The other members of a cluster; requests run on `runtime`.
    #[must_use]
    pub const fn new(cluster: Cluster, runtime: Handle) -> Self {
        Self { cluster, runtime }
    }

    fn ask(&self, node_id: u64, request: &NodeRequest) -> Result<NodeAnswer, SourceError> {
        let answer = self.runtime.block_on(self.cluster.ask_for(node_id, request));
        answer.map_err(|error| SourceError::Away(error.to_string()))
    }

    fn piece(&self, node_id: u64, request: &NodeRequest) -> Result<Vec<u8>, SourceError> {
        match self.ask(node_id, request)? {
            NodeAnswer::Piece(bytes) => Ok(bytes),
            _ => Err(of_another_kind()),
        }
    }
}

fn of_another_kind() -> SourceError {
    SourceError::Untrue("the answer is of another kind".to_owned())
}

impl BlobSource for ClusterBlobs {
    /// Every member but this one; nodes begin at different members, so that not all ask one.
    fn nodes(&self) -> Vec<u64> {
        let here = self.cluster.node_id();
        let members = self.cluster.log().members().members;
        let mut nodes: Vec<u64> = members.iter().map(|member| member.node_id).collect();
        if let Some(place) = nodes.iter().position(|node| *node == here) {
            nodes.rotate_left(place);
        }
        nodes.retain(|node| *node != here);
        nodes
    }

    fn describe(&self, node_id: u64, hash: &str) -> Result<Vec<ModelFile>, SourceError> {
        let describe = NodeRequest::DescribeFolder { hash: hash.to_owned() };
        let NodeAnswer::Folder(files) = self.ask(node_id, &describe)? else {
            return Err(of_another_kind());
        };
        let file = |(path, sha256, size)| ModelFile { path, sha256, size };
        Ok(files.into_iter().map(file).collect())
    }

    fn file_piece(
        &self,
        node_id: u64,
        (hash, path): (&str, &str),
        offset: u64,
    ) -> Result<Vec<u8>, SourceError> {
        let (hash, path) = (hash.to_owned(), path.to_owned());
        self.piece(node_id, &NodeRequest::FolderPiece { hash, path, offset })
    }

    fn object_piece(&self, node_id: u64, hash: &str, offset: u64) -> Result<Vec<u8>, SourceError> {
        self.piece(node_id, &NodeRequest::ObjectPiece { hash: hash.to_owned(), offset })
    }
}

impl ReadyPeers for ClusterBlobs {
    fn prepare<'a>(&'a self, node_id: u64, needs: &'a Needs) -> PreparedFuture<'a> {
        Box::pin(async move {
            let objects = needs.objects.iter().map(|object| (object.hash.0, object.bytes));
            let request =
                NodeRequest::Prepare { models: needs.models.clone(), objects: objects.collect() };
            match self.cluster.ask_for(node_id, &request).await {
                Ok(NodeAnswer::Prepared(preparations)) => Ok(preparations),
                Ok(_) => Err("the answer is of another kind".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
