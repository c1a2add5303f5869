//! The mark: what was durable, in a file outside the store.
//!
//! Two slots in different sectors are written in turn, so that a torn write of one leaves the other,
//! which is one write older.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

const SLOT_BYTES: usize = 512;
const BODY_BYTES: usize = 42;
const MAGIC: [u8; 8] = *b"VERDICTR";

/// A vote as the mark keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkedVote {
    pub term: u64,
    pub committed: bool,
    pub node_id: u64,
}

/// What the mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MarkState {
    /// Entries up to this index were durable.
    pub index: u64,
    /// The newest vote that was cast.
    pub vote: Option<MarkedVote>,
}

/// The mark's open file.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    /// Counts writes; its parity chooses the slot.
    sequence: u64,
    pub state: MarkState,
}

fn slot(sequence: u64, state: MarkState) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&sequence.to_le_bytes());
    slot[16..24].copy_from_slice(&state.index.to_le_bytes());
    if let Some(vote) = state.vote {
        slot[24] = 1;
        slot[25] = u8::from(vote.committed);
        slot[26..34].copy_from_slice(&vote.term.to_le_bytes());
        slot[34..42].copy_from_slice(&vote.node_id.to_le_bytes());
    }
    let checksum = crc32fast::hash(&slot[..BODY_BYTES]);
    slot[BODY_BYTES..BODY_BYTES + 4].copy_from_slice(&checksum.to_le_bytes());
    slot
}

fn read_slot(bytes: &[u8]) -> Option<(u64, MarkState)> {
    let (body, rest) = bytes.split_first_chunk::<BODY_BYTES>()?;
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    if body[..8] != MAGIC || crc32fast::hash(body) != checksum {
        return None;
    }
    let number = |from: usize| body[from..from + 8].try_into().map(u64::from_le_bytes).ok();
    let vote = match body[24] {
        0 => None,
        _ => Some(MarkedVote { term: number(26)?, committed: body[25] != 0, node_id: number(34)? }),
    };
    Some((number(8)?, MarkState { index: number(16)?, vote }))
}

impl Mark {
    /// The bytes of a new mark's file.
    pub fn new_file(state: MarkState) -> Vec<u8> {
        [slot(0, state), slot(1, state)].concat()
    }

    /// Opens a mark; `InvalidData` if neither slot is whole.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(2 * SLOT_BYTES as u64).read_to_end(&mut bytes)?;
        let slots = bytes.chunks(SLOT_BYTES).filter_map(read_slot);
        let Some((sequence, state)) = slots.max_by_key(|(sequence, _)| *sequence) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "neither slot is whole"));
        };
        Ok(Self { file, sequence, state })
    }

    /// Moves the mark, durably.
    pub fn advance(&mut self, state: MarkState) -> io::Result<()> {
        self.write(state)?;
        self.file.sync_data()
    }

    /// The file, to be synced beside what is written to it.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Moves the mark so that it survives the end of the process, but not a loss of power.
    pub fn write(&mut self, state: MarkState) -> io::Result<()> {
        self.sequence += 1;
        let offset = (self.sequence % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&slot(self.sequence, state), offset)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_whole_slot_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        std::fs::write(&path, Mark::new_file(MarkState::default())).unwrap();
        let mut mark = Mark::open(&path).unwrap();
        let vote = Some(MarkedVote { term: 3, committed: true, node_id: 2 });
        mark.advance(MarkState { index: 7, vote: None }).unwrap();
        mark.advance(MarkState { index: 9, vote }).unwrap();
        assert_eq!(Mark::open(&path).unwrap().state, MarkState { index: 9, vote });
        // The write that was torn is the last one; the one before it is there.
        let mut bytes = std::fs::read(&path).unwrap();
        let newest = (mark.sequence % 2) as usize * SLOT_BYTES;
        bytes[newest + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Mark::open(&path).unwrap().state, MarkState { index: 7, vote: None });
        bytes[20 + SLOT_BYTES - newest] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Mark::open(&path).is_err());
    }
}
