//! What a store holds, as somebody who looks at the cluster sees it.

use std::fs;

use super::store::{BlobStore, OBJECTS};
use super::{BlobError, is_hash};

/// The most folders, and the most objects, that are told of one store.
pub const HOLDINGS_MAX: usize = 10_000;

/// Something that a store holds: its content hash in hex and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The hash.
    pub hash: String,
    /// Its length; of a folder, that of all its files.
    pub bytes: u64,
}

/// What a store holds, sorted by hash; not verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Model folders.
    pub folders: Vec<Held>,
    /// Bodies of large objects.
    pub objects: Vec<Held>,
    /// How many more there are than are told.
    pub left_out: u64,
}

impl BlobStore {
    /// Looks at what is here.
    ///
    /// # Errors
    /// The disk.
    pub fn holdings(&self) -> Result<Holdings, BlobError> {
        let mut holdings = Holdings::default();
        let root = &self.shared.root;
        for hash in told(hashes_in(root)?, &mut holdings.left_out) {
            // It may be collected meanwhile.
            let files = match self.list(&hash) {
                Err(BlobError::Absent(_)) => continue,
                files => files?,
            };
            let bytes = files.iter().filter_map(|(_, path)| Some(fs::metadata(path).ok()?.len()));
            holdings.folders.push(Held { bytes: bytes.sum(), hash });
        }
        let objects = root.join(OBJECTS);
        for hash in told(hashes_in(&objects)?, &mut holdings.left_out) {
            let Ok(about) = fs::metadata(objects.join(&hash)) else { continue };
            holdings.objects.push(Held { bytes: about.len(), hash });
        }
        Ok(holdings)
    }
}

pub(super) fn hashes_in(folder: &std::path::Path) -> Result<Vec<String>, BlobError> {
    let mut hashes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_hash(&name) {
            hashes.push(name);
        }
    }
    hashes.sort_unstable();
    Ok(hashes)
}

fn told(mut hashes: Vec<String>, left_out: &mut u64) -> Vec<String> {
    *left_out += hashes.len().saturating_sub(HOLDINGS_MAX) as u64;
    hashes.truncate(HOLDINGS_MAX);
    hashes
}
