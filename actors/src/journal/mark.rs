//! The mark: how long the newest segment was when it was last synced. Kept apart, so that a file
//! that was cut is noticed although it reads well up to its end. Written, not synced: it may lag
//! behind after the end of a machine, and then only says less.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::JournalError;

const FILE: &str = "mark";
const BYTES: usize = 20;

/// Writes the mark.
pub fn write(folder: &Path, number: u64, bytes: u64) -> Result<(), JournalError> {
    let path = folder.join(FILE);
    let mut mark = [0; BYTES];
    mark[..8].copy_from_slice(&number.to_le_bytes());
    mark[8..16].copy_from_slice(&bytes.to_le_bytes());
    let checksum = crc32fast::hash(&mark[..16]);
    mark[16..].copy_from_slice(&checksum.to_le_bytes());
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .and_then(|file| file.write_all_at(&mark, 0))
        .map_err(|error| JournalError::io(&path, &error))
}

/// Reads the mark: segment and length. `None` if there is none that is whole.
pub fn read(folder: &Path) -> Option<(u64, u64)> {
    let bytes = std::fs::read(folder.join(FILE)).ok()?;
    let (mark, checksum) = bytes.split_first_chunk::<16>()?;
    if *checksum != crc32fast::hash(mark).to_le_bytes() {
        return None;
    }
    let number = u64::from_le_bytes(mark[..8].try_into().ok()?);
    let length = u64::from_le_bytes(mark[8..].try_into().ok()?);
    Some((number, length))
}
