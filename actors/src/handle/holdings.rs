//! What this node's store holds.

use std::collections::BTreeSet;

use super::Handle;
use super::staging::model_error;
use crate::blobs::Holdings;
use crate::error::RuntimeError;

/// What a node holds, and which of its models are in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeHoldings {
    /// What is on the disk.
    pub held: Holdings,
    /// Content hashes of the folders that are loaded.
    pub loaded: BTreeSet<String>,
}

impl Handle {
    /// Looks at what this node holds.
    ///
    /// # Errors
    /// `Model`: the disk.
    pub async fn holdings(&self) -> Result<NodeHoldings, RuntimeError> {
        self.blocking("holdings", |core| {
            let held = core.blobs.holdings().map_err(model_error)?;
            let hashes = held.folders.iter().map(|folder| &folder.hash);
            let loaded = hashes.filter(|hash| core.inference.is_loaded(hash));
            Ok(NodeHoldings { loaded: loaded.cloned().collect(), held })
        })
        .await
    }
}
