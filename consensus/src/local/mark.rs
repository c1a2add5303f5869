//! The mark: the index up to which every command was synced, in a file of its own.
//!
//! A log that was cut (a lost extent, a restored copy) still reads well up to its end; the mark
//! says what should be there. Two slots in different sectors are written in turn, so that a torn
//! write of one leaves the other, which is one group older.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::folder::{damaged, io, write_whole};
use crate::error::LogError;

const SLOT_BYTES: usize = 512;
const MAGIC: [u8; 8] = *b"VERDICTM";

/// The mark's open file.
#[derive(Debug)]
pub struct Mark {
    file: File,
    path: PathBuf,
    /// Counts writes; its parity chooses the slot.
    sequence: u64,
    /// The index that is marked.
    pub index: u64,
}

fn slot(sequence: u64, index: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&sequence.to_le_bytes());
    slot[16..24].copy_from_slice(&index.to_le_bytes());
    let checksum = crc32fast::hash(&slot[..24]);
    slot[24..28].copy_from_slice(&checksum.to_le_bytes());
    slot
}

fn read_slot(bytes: &[u8]) -> Option<(u64, u64)> {
    let (head, rest) = bytes.split_first_chunk::<24>()?;
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    if head[..8] != MAGIC || crc32fast::hash(head) != checksum {
        return None;
    }
    let number = |from: usize| head[from..from + 8].try_into().map(u64::from_le_bytes).ok();
    Some((number(8)?, number(16)?))
}

impl Mark {
    /// Writes the mark of a new folder.
    pub fn create(folder: &Path) -> Result<(), LogError> {
        write_whole(folder, "mark", &[slot(0, 0), slot(1, 0)].concat())
    }

    /// Opens the mark.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join("mark");
        let mut file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|source| match source
                .kind()
            {
                std::io::ErrorKind::NotFound => damaged(&path, 0, "the mark is absent"),
                _ => io(&path, source),
            })?;
        let mut bytes = Vec::new();
        let limit = 2 * SLOT_BYTES as u64;
        (&mut file).take(limit).read_to_end(&mut bytes).map_err(|source| io(&path, source))?;
        let newest = bytes.chunks(SLOT_BYTES).filter_map(read_slot).max();
        let Some((sequence, index)) = newest else {
            return Err(damaged(&path, 0, "neither slot is whole"));
        };
        Ok(Self { file, path, sequence, index })
    }

    /// Moves the mark, durably.
    pub fn advance(&mut self, index: u64) -> Result<(), LogError> {
        self.sequence += 1;
        let offset = (self.sequence % 2) * SLOT_BYTES as u64;
        self.file
            .write_all_at(&slot(self.sequence, index), offset)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| io(&self.path, source))?;
        self.index = index;
        Ok(())
    }
}
