//! Snapshot files: written, synced and renamed, so that they are there whole or not at all.
//!
//! ```text
//!   VERDICTX | SHA-256 of the rest | length u32, envelope: place, members, cluster | catalogue
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::machine::{ClusterState, Machine};
use super::types::{LogId, StoredMembership};
use super::wire::{LogIdV1, MembersV1};
use crate::catalogue::{SNAPSHOT_BYTES_MAX, decode_snapshot, encode_snapshot};
use crate::command::{EnvelopeError, decode, open, seal};
use crate::digest::ContentHash;
use crate::error::LogError;
use crate::local::folder::{io as io_error, write_whole};

const MAGIC: [u8; 8] = *b"VERDICTX";
const META_MAGIC: [u8; 4] = *b"VDRS";
const META_VERSION: u16 = 1;
const META_BYTES_MAX: usize = 16 << 20;
/// The longest snapshot file.
pub const FILE_BYTES_MAX: u64 = (SNAPSHOT_BYTES_MAX + META_BYTES_MAX + 64) as u64;

/// A snapshot on disk. The open handle keeps its bytes when the file is replaced by a newer one
/// while it is still being sent.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    pub path: PathBuf,
    pub bytes: u64,
    file: Arc<File>,
}

impl SnapshotFile {
    /// Opens a snapshot.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), bytes, file: Arc::new(file) })
    }

    /// Makes an empty file to receive one in.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { path: path.to_owned(), bytes: 0, file: Arc::new(file) })
    }

    /// Writes the next piece of a snapshot that is received.
    pub fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.bytes)?;
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// At most `length` bytes from `offset` on.
    pub fn piece(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(length)];
        self.file.read_exact_at(&mut piece, offset)?;
        Ok(piece)
    }

    /// Everything.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        if self.bytes > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot beyond the limit"));
        }
        self.piece(0, usize::MAX)
    }
}

#[derive(Serialize, Deserialize)]
struct MetaV1 {
    last: Option<LogIdV1>,
    members: MembersV1,
    cluster_id: String,
    version: u16,
    next_node_id: u64,
    pending: Vec<(u64, String)>,
}

/// The file's name.
pub fn name(index: u64) -> String {
    format!("snapshot-{index:020}.vraft")
}

/// A state as a snapshot's bytes.
pub fn encode(machine: &Machine) -> Result<Vec<u8>, EnvelopeError> {
    let cluster = &machine.cluster;
    let meta = MetaV1 {
        last: machine.last_applied.as_ref().map(LogIdV1::from),
        members: (&machine.members).into(),
        cluster_id: cluster.cluster_id.clone(),
        version: cluster.version,
        next_node_id: cluster.next_node_id,
        pending: cluster.pending.iter().map(|(id, request)| (*id, request.clone())).collect(),
    };
    let meta = seal(META_MAGIC, META_VERSION, &meta)?;
    let length = u32::try_from(meta.len()).unwrap_or(u32::MAX);
    let catalogue = encode_snapshot(&machine.catalogue)?;
    let mut body = Vec::with_capacity(4 + meta.len() + catalogue.len());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&meta);
    body.extend_from_slice(&catalogue);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&ContentHash::of(&body).0);
    bytes.append(&mut body);
    Ok(bytes)
}

/// Reads a state; a sentence says what is wrong with damaged bytes.
pub fn decode_machine(bytes: &[u8]) -> Result<Machine, String> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or("no magic of a snapshot")?;
    let (hash, body) = rest.split_first_chunk::<32>().ok_or("cut off")?;
    if ContentHash::of(body).0 != *hash {
        return Err("the SHA-256 does not fit".to_owned());
    }
    let (length, rest) = body.split_first_chunk::<4>().ok_or("cut off")?;
    let length = u32::from_le_bytes(*length) as usize;
    let (meta, catalogue) = rest.split_at_checked(length).ok_or("cut off")?;
    let text = |error: EnvelopeError| error.to_string();
    let (_, meta) = open(META_MAGIC, META_VERSION, META_BYTES_MAX, meta).map_err(text)?;
    let meta: MetaV1 = decode(meta).map_err(text)?;
    let meta_version = meta.version;
    let cluster = ClusterState {
        cluster_id: meta.cluster_id,
        version: meta.version,
        next_node_id: meta.next_node_id,
        pending: meta.pending.into_iter().collect(),
    };
    Ok(Machine {
        last_applied: meta.last.map(LogId::from),
        members: StoredMembership::try_from(meta.members).map_err(text)?,
        cluster,
        catalogue: Arc::new(decode_snapshot(catalogue).map_err(text)?.at_version(meta_version)),
    })
}

/// Writes a snapshot into a folder.
pub fn write(folder: &Path, index: u64, bytes: &[u8]) -> Result<SnapshotFile, LogError> {
    let name = name(index);
    write_whole(folder, &name, bytes)?;
    let path = folder.join(name);
    SnapshotFile::open(&path).map_err(|source| io_error(&path, source))
}

/// How the names of copies begin.
pub const COPY: &str = "copy";

/// The name of a snapshot's copy.
pub fn copy_name(index: u64) -> String {
    format!("{COPY}-{index:020}.vraft")
}

/// Writes a copy of a snapshot whose place no older one could take.
pub fn write_copy(folder: &Path, index: u64, bytes: &[u8]) -> Result<(), LogError> {
    write_whole(folder, &copy_name(index), bytes)
}

/// Reads a snapshot from a file; a sentence says what is wrong with a damaged one.
pub fn read(path: &Path) -> Result<Result<Machine, String>, LogError> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(|source| io_error(path, source))?;
    (&mut file)
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| io_error(path, source))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Ok(Err("beyond the limit".to_owned()));
    }
    Ok(decode_machine(&bytes))
}
