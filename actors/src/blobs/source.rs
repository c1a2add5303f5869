//! Where folders and objects come from that this node does not have.

use verdict_config::model::ModelFile;

/// The longest piece that a source gives at once.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// Why a node gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached, or does not have it.
    #[error("{0}")]
    Away(String),
    /// What it said is not what it can have said in truth: its answer is of another kind.
    #[error("{0}")]
    Untrue(String),
}

/// Other nodes, asked piece by piece. Blocking; nothing that it says is believed before it was
/// checked against the hash that was asked for.
pub trait BlobSource: Send + Sync {
    /// The nodes to ask, in the order in which to ask them.
    fn nodes(&self) -> Vec<u64>;

    /// What files a folder has.
    ///
    /// # Errors
    /// The node does not have it or cannot be reached.
    fn describe(&self, node_id: u64, hash: &str) -> Result<Vec<ModelFile>, SourceError>;

    /// A piece of a file of a folder from `offset` on, at most [`PIECE_BYTES_MAX`] bytes; empty
    /// behind its end.
    ///
    /// # Errors
    /// As [`BlobSource::describe`].
    fn file_piece(
        &self,
        node_id: u64,
        file: (&str, &str),
        offset: u64,
    ) -> Result<Vec<u8>, SourceError>;

    /// A piece of the body of an object, as [`BlobSource::file_piece`].
    ///
    /// # Errors
    /// As [`BlobSource::describe`].
    fn object_piece(&self, node_id: u64, hash: &str, offset: u64) -> Result<Vec<u8>, SourceError>;
}
