//! The outbox's file: a head, then frames as in the journal.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::TimestampMs;

use super::Kept;
use crate::journal::frame::{self, Frames, HEADER_BYTES, Step};
use crate::journal::{JournalError, content_hash, files};

const NAME: &str = "outbox";
/// What a kind's payload looks like never changes: another form is another kind.
const KIND_PUT: u8 = 1;
const KIND_DONE: u8 = 2;
/// Begins the file: magic and version.
const HEAD: [u8; 12] = *b"VERDICTO\x01\0\0\0";
/// Below this size a file is not worth writing anew.
const COMPACT_BYTES: u64 = 1 << 20;

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its number: higher than every earlier one's.
    pub sequence: u64,
    /// When it came in.
    pub at: TimestampMs,
    /// Hash of its node and content.
    pub content: u128,
    /// Whether it is an erasure.
    pub erasure: bool,
    /// Its frame's bytes.
    pub bytes: u64,
    offset: u64,
}

#[derive(Serialize, Deserialize)]
struct Put {
    sequence: u64,
    node_id: u64,
    at: TimestampMs,
    kept: Kept,
}

#[derive(Serialize, Deserialize)]
struct Done {
    node_id: u64,
    through: u64,
}

/// An entry that is not written yet.
pub struct Frame {
    put: Put,
    length: usize,
    pub content: u128,
}

impl Frame {
    pub fn put(node_id: u64, at: TimestampMs, kept: &Kept) -> Result<Self, JournalError> {
        // The longest sequence number: so its size is known before its number is.
        let put = Put { sequence: u64::MAX, node_id, at, kept: kept.clone() };
        let length = HEADER_BYTES + encode(&put)?.len();
        Ok(Self { put, length, content: content_of(node_id, kept)? })
    }

    pub fn bytes(&self) -> u64 {
        self.length as u64
    }
}

fn content_of(node_id: u64, kept: &Kept) -> Result<u128, JournalError> {
    Ok(content_hash(&encode(&(node_id, kept))?))
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, JournalError> {
    serde_json::to_vec(value).map_err(|error| JournalError::Io {
        file: NAME.to_owned(),
        detail: format!("an entry cannot be written: {error}"),
    })
}

/// What opening found.
#[derive(Default)]
pub struct Found {
    pub rows: Vec<(u64, Row)>,
    pub next_sequence: u64,
    pub damaged: u64,
}

pub struct OutboxFile {
    folder: PathBuf,
    path: PathBuf,
    file: Arc<File>,
    length: u64,
}

impl OutboxFile {
    pub fn open(folder: &Path) -> Result<(Self, Found), JournalError> {
        files::make_folder(folder)?;
        let path = folder.join(NAME);
        let file = files::open_private(&path)?;
        let bytes = std::fs::read(&path).map_err(|error| JournalError::io(&path, &error))?;
        let (found, length) = match bytes.get(..HEAD.len()) {
            Some(head) if head == HEAD => recover(&bytes)?,
            // A file that ended while it was made has no entry that was acknowledged.
            _ if bytes.len() < HEAD.len() => {
                files::write_whole(folder, NAME, &HEAD)?;
                (Found { next_sequence: 1, ..Found::default() }, HEAD.len() as u64)
            }
            _ if bytes.starts_with(&HEAD[..8]) => {
                let found = bytes.get(8..12).and_then(|version| version.try_into().ok());
                let found = found.map_or(0, u32::from_le_bytes);
                let folder = folder.display().to_string();
                return Err(JournalError::Newer { folder, found, known: 1 });
            }
            _ => return Err(JournalError::damaged(&path, 0, "this is no outbox")),
        };
        drop(file);
        let file = Arc::new(files::open_private(&path)?);
        Ok((Self { folder: folder.to_owned(), path, file, length }, found))
    }

    /// The file, to sync or to read.
    pub fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Writes entries behind the others, with numbers from `first` on.
    pub fn append(&mut self, frames: &mut [Frame], first: u64) -> Result<Vec<Row>, JournalError> {
        let (mut bytes, mut rows) = (Vec::new(), Vec::with_capacity(frames.len()));
        for (sequence, frame) in (first..).zip(frames) {
            frame.put.sequence = sequence;
            let offset = self.length + bytes.len() as u64;
            let written = push_frame(&mut bytes, KIND_PUT, &encode(&frame.put)?);
            rows.push(Row {
                sequence,
                at: frame.put.at,
                content: frame.content,
                erasure: frame.put.kept.is_erasure(),
                bytes: written,
                offset,
            });
        }
        self.write(&bytes)?;
        Ok(rows)
    }

    /// Writes that the entries of a node up to a number are done.
    pub fn done(&mut self, node_id: u64, through: u64) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, KIND_DONE, &encode(&Done { node_id, through })?);
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            // What a full disk took of it is none of the file's; the next one writes over it.
            let _ = self.file.set_len(self.length);
            return Err(JournalError::io(&self.path, &error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes the file anew where most of it is done.
    pub fn compact(&mut self, rows: &mut BTreeMap<u64, VecDeque<Row>>) -> Result<(), JournalError> {
        let live: u64 = rows.values().flatten().map(|row| row.bytes).sum();
        // An empty one is made new at once: nothing of a unit stays behind.
        if !rows.is_empty() && self.length < COMPACT_BYTES.max(2 * live) {
            return Ok(());
        }
        let mut bytes = HEAD.to_vec();
        let mut moved = rows.clone();
        for row in moved.values_mut().flatten() {
            let start = bytes.len();
            bytes.resize(start + usize::try_from(row.bytes).unwrap_or(usize::MAX), 0);
            let read = self.file.read_exact_at(&mut bytes[start..], row.offset);
            read.map_err(|error| JournalError::io(&self.path, &error))?;
            row.offset = start as u64;
        }
        files::write_whole(&self.folder, NAME, &bytes)?;
        self.file = Arc::new(files::open_private(&self.path)?);
        self.length = bytes.len() as u64;
        *rows = moved;
        Ok(())
    }
}

/// Reads an entry.
pub fn read(file: &File, row: &Row, folder: &Path) -> Result<Kept, JournalError> {
    let path = folder.join(NAME);
    let mut bytes = vec![0; usize::try_from(row.bytes).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, row.offset).map_err(|error| JournalError::io(&path, &error))?;
    match Frames::new(&bytes, 0).next() {
        Some(Step::Frame { header, payload, .. }) if header.kind == KIND_PUT => {
            let put: Result<Put, _> = serde_json::from_slice(payload);
            put.map(|put| put.kept)
                .map_err(|error| JournalError::damaged(&path, row.offset, error.to_string()))
        }
        _ => Err(JournalError::damaged(&path, row.offset, "expected an entry")),
    }
}

fn push_frame(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) -> u64 {
    let mut buffer = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame::begin(&mut buffer);
    buffer.extend_from_slice(payload);
    let checksum = frame::checksum(&buffer);
    frame::finish(&mut buffer, kind, 0, checksum);
    bytes.extend_from_slice(&buffer);
    buffer.len() as u64
}

/// Reads the frames of a file; where the last whole one ends.
fn recover(bytes: &[u8]) -> Result<(Found, u64), JournalError> {
    let mut rows: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    let mut found = Found { next_sequence: 1, ..Found::default() };
    let mut end = HEAD.len() as u64;
    let mut frames = Frames::new(bytes, HEAD.len()).peekable();
    while let Some(step) = frames.next() {
        match step {
            Step::Frame { at, header, payload } if header.kind == KIND_PUT => {
                end = (at + HEADER_BYTES + header.length) as u64;
                let Ok(put) = serde_json::from_slice::<Put>(payload) else {
                    found.damaged += 1;
                    continue;
                };
                found.next_sequence = found.next_sequence.max(put.sequence + 1);
                let row = Row {
                    sequence: put.sequence,
                    at: put.at,
                    content: content_of(put.node_id, &put.kept)?,
                    erasure: put.kept.is_erasure(),
                    bytes: (HEADER_BYTES + header.length) as u64,
                    offset: at as u64,
                };
                rows.entry(put.node_id).or_default().push(row);
            }
            Step::Frame { at, header, payload } => {
                end = (at + HEADER_BYTES + header.length) as u64;
                match serde_json::from_slice::<Done>(payload) {
                    Ok(done) if header.kind == KIND_DONE => {
                        found.next_sequence =
                            found.next_sequence.max(done.through.saturating_add(1));
                        if let Some(rows) = rows.get_mut(&done.node_id) {
                            rows.retain(|row| row.sequence > done.through);
                        }
                    }
                    _ => found.damaged += 1,
                }
            }
            // What was being written when the machine ended was not acknowledged.
            Step::Gap { .. } if frames.peek().is_none() => {}
            Step::Gap { .. } => found.damaged += 1,
        }
    }
    let flat = rows
        .into_iter()
        .flat_map(|(node_id, rows)| rows.into_iter().map(move |row| (node_id, row)));
    found.rows = flat.collect();
    Ok((found, end))
}
