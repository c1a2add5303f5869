//! Model folders and large objects on local disk, by content hash.
//!
//! ```text
//! blobs/HASH/model.json ...      a folder: complete and synced; never changed again
//! blobs/objects/HASH             the body of a large object, the same
//! blobs/.staging-N/              being written; removed at the next start
//! blobs/.partial-HASH/           being brought from another node; goes on after a restart
//! ```
//!
//! Bytes come in as a stream, are hashed on their way and written under another name, every file and
//! folder synced, then renamed: what stands under its hash is whole. It is verified again at every
//! load, and now and then besides, because disks lie; what is damaged is brought anew from another node
//! (`Handle::check_blobs`). What no retained revision names goes after an hour; the hour is what a
//! client has between staging a folder and proposing the change that names it.

mod damage;
mod fetch;
mod holdings;
mod objects;
mod source;
mod store;
mod writer;

pub use damage::{PlaceProbe, PlaceStep};
pub use fetch::BlobCounts;
pub use holdings::{HOLDINGS_MAX, Held, Holdings};
pub use source::{BlobSource, PIECE_BYTES_MAX, SourceError};
pub use store::{BlobStore, LogSpan};
pub use writer::{FolderWriter, Staged};

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::time::Duration;

use verdict_config::Code;
use verdict_config::model::{ModelFile, content_hash, sha256_hex};

/// A folder's files: relative path to bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The most files of a folder.
pub const FILES_MAX: usize = 256;
/// The most bytes of a folder.
pub const FOLDER_BYTES_MAX: u64 = 2 << 30;
/// The most bytes of an object's body.
pub const OBJECT_BYTES_MAX: u64 = 32 << 20;
/// How long a folder or object that nothing names is kept.
pub const UNREFERENCED_KEPT: Duration = Duration::from_secs(3_600);

/// Why a folder or object cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store has no such folder or object, and nobody gave it.
    #[error("no model folder or object {0} on this node")]
    Absent(String),
    /// A content is not what its name says.
    #[error("{hash}: {detail}")]
    Damaged {
        /// The hash it stands under.
        hash: String,
        /// What is wrong.
        detail: String,
    },
    /// Files that cannot be a model folder.
    #[error("{0}")]
    Invalid(String),
    /// The disk.
    #[error("model store: {0}")]
    Io(#[from] io::Error),
}

impl BlobError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Absent(_) => Code::ModelNotFound,
            Self::Damaged { .. } => Code::StateDamaged,
            Self::Invalid(_) => Code::ModelInvalid,
            Self::Io(_) => Code::StorageFailed,
        }
    }

    /// Whether trying again may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// The identity of a folder, as the catalogue's model objects give it.
#[must_use]
pub fn hash_of(files: &Files) -> String {
    let describe = |(path, bytes): (&String, &Vec<u8>)| ModelFile {
        path: path.clone(),
        sha256: sha256_hex(bytes),
        size: bytes.len() as u64,
    };
    content_hash(&files.iter().map(describe).collect::<Vec<_>>())
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Hashes name files and folders, so what is no hash is no path either.
fn check_hash(hash: &str) -> Result<(), BlobError> {
    if is_hash(hash) {
        return Ok(());
    }
    let shown: String = hash.chars().take(80).collect();
    Err(BlobError::Invalid(format!("{shown:?} is no content hash")))
}

/// Whether a folder of these files is within the limits.
fn check_shape(files: &[ModelFile]) -> Result<(), BlobError> {
    if files.is_empty() || files.len() > FILES_MAX {
        let text = format!("a model folder has 1 to {FILES_MAX} files, got {}", files.len());
        return Err(BlobError::Invalid(text));
    }
    let bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    check_bytes(bytes)?;
    files.iter().try_for_each(|file| check_path(&file.path))
}

fn check_bytes(bytes: u64) -> Result<(), BlobError> {
    if bytes > FOLDER_BYTES_MAX {
        let text = format!("a model folder has at most {FOLDER_BYTES_MAX} bytes, got {bytes}");
        return Err(BlobError::Invalid(text));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), BlobError> {
    let inside =
        Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if path.is_empty() || path.len() > 255 || !inside {
        let shown: String = path.chars().take(80).collect();
        return Err(BlobError::Invalid(format!("{shown:?} is no path within a folder")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
