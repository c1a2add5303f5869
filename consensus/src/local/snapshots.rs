//! Snapshot files: magic, version, index, SHA-256, catalogue. Written whole, renamed, checked when
//! read. The one before the newest is kept, with the commands behind it, so that a damaged
//! snapshot costs time and not state.

use std::fs;
use std::path::Path;

use super::folder::{Folder, io, write_whole};
use crate::catalogue::{Catalogue, SNAPSHOT_BYTES_MAX, decode_snapshot, encode_snapshot};
use crate::digest::ContentHash;
use crate::error::LogError;

const MAGIC: [u8; 8] = *b"VERDICTS";
const HEAD_BYTES: usize = 8 + 8 + 32;

/// Writes the snapshot of a catalogue after `index`.
pub fn write(folder: &Folder, index: u64, catalogue: &Catalogue) -> Result<(), LogError> {
    let name = format!("snapshot-{index:020}.vsnap");
    let path = folder.path.join(&name);
    let payload = encode_snapshot(catalogue)
        .map_err(|error| io(&path, std::io::Error::other(error.to_string())))?;
    let mut body = index.to_le_bytes().to_vec();
    body.extend_from_slice(&payload);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&ContentHash::of(&body).0);
    bytes.extend_from_slice(&body);
    write_whole(&folder.path, &name, &bytes)
}

/// Reads a snapshot; a sentence says what is wrong with a damaged one.
pub fn read(path: &Path, index: u64) -> Result<Result<Catalogue, String>, LogError> {
    let size = fs::metadata(path).map_err(|source| io(path, source))?.len();
    if size > (SNAPSHOT_BYTES_MAX + HEAD_BYTES) as u64 {
        return Ok(Err(format!("{size} bytes are beyond the limit")));
    }
    let bytes = fs::read(path).map_err(|source| io(path, source))?;
    Ok(check(&bytes, index))
}

fn check(bytes: &[u8], index: u64) -> Result<Catalogue, String> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or("no magic of a snapshot")?;
    let (hash, body) = rest.split_first_chunk::<32>().ok_or("cut off")?;
    if ContentHash::of(body).0 != *hash {
        return Err("the SHA-256 does not fit".to_owned());
    }
    let (found, payload) = body.split_first_chunk::<8>().ok_or("cut off")?;
    if u64::from_le_bytes(*found) != index {
        return Err("the file's name is of another snapshot".to_owned());
    }
    decode_snapshot(payload).map_err(|error| error.to_string())
}
