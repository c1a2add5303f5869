//! Entries and marks as values of the engine, each with its checksum.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

use super::super::types::Entry;
use super::super::wire::decode_entry;
use crate::command::{EnvelopeError, decode, open, seal};
use crate::durable::{EngineBatch, LogEngine};

/// Bytes of a piece. sled writes a leaf of its tree as one piece of its own log, and what is beyond
/// a quarter of a segment (128 KiB) as a file that it does not sync. A leaf has up to 17 values.
const CHUNK_BYTES: usize = 6 << 10;
const HEAD_BYTES: usize = 16;
const META_MAGIC: [u8; 4] = *b"VDLM";
const META_BYTES_MAX: usize = 1 << 10;

pub const VOTE_KEY: &[u8] = b"m vote";
pub const PURGED_KEY: &[u8] = b"m purged";

/// The key of a piece of an entry. Keys sort as entries do.
fn key(index: u64, chunk: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(11);
    key.push(b'l');
    key.extend_from_slice(&index.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

fn damaged(index: u64, detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("entry {index}: {detail}"))
}

/// Adds an entry to a batch, in pieces.
pub fn put(batch: &mut EngineBatch, index: u64, bytes: &[u8]) {
    let chunks = u16::try_from(bytes.len().div_ceil(CHUNK_BYTES)).unwrap_or(u16::MAX);
    for (chunk, data) in (0u16..).zip(bytes.chunks(CHUNK_BYTES)) {
        let mut value = vec![0; 4];
        value.extend_from_slice(&index.to_le_bytes());
        value.extend_from_slice(&chunk.to_le_bytes());
        value.extend_from_slice(&chunks.to_le_bytes());
        value.extend_from_slice(data);
        let checksum = crc32fast::hash(&value[4..]);
        value[..4].copy_from_slice(&checksum.to_le_bytes());
        batch.put(key(index, chunk), value);
    }
}

/// A piece that was read back and checked.
struct Chunk<'value> {
    index: u64,
    chunk: u16,
    chunks: u16,
    data: &'value [u8],
}

fn check<'value>(key: &[u8], value: &'value [u8]) -> io::Result<Chunk<'value>> {
    let index = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let index = index.ok_or_else(|| damaged(0, "a key that is none"))?;
    let Some((head, data)) = value.split_first_chunk::<HEAD_BYTES>() else {
        return Err(damaged(index, "cut off"));
    };
    let checksum = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if crc32fast::hash(&value[4..]) != checksum {
        return Err(damaged(index, "the checksum does not fit"));
    }
    let chunk = u16::from_le_bytes([head[12], head[13]]);
    let chunks = u16::from_le_bytes([head[14], head[15]]);
    if head[4..12] != index.to_le_bytes() || key != self::key(index, chunk) {
        return Err(damaged(index, "the value belongs to another key"));
    }
    Ok(Chunk { index, chunk, chunks, data })
}

/// Shows every entry from `from` on, before `to`, whole and in order; checks that none is missing
/// in between. `visit` says whether to go on.
pub fn scan(
    engine: &dyn LogEngine,
    from: u64,
    to: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut failure = None;
    let mut whole: Vec<u8> = Vec::new();
    let mut expected: Option<(u64, u16)> = None;
    let mut step = |key: &[u8], value: &[u8]| -> io::Result<bool> {
        let Chunk { index, chunk, chunks, data } = check(key, value)?;
        let (next, next_chunk) = expected.unwrap_or((index, 0));
        if (index, chunk) != (next, next_chunk) {
            return Err(damaged(next, "absent, or a piece of it"));
        }
        whole.extend_from_slice(data);
        if chunk.saturating_add(1) < chunks {
            expected = Some((index, chunk + 1));
            return Ok(true);
        }
        expected = Some((index.saturating_add(1), 0));
        let more = visit(index, &whole)?;
        whole.clear();
        Ok(more)
    };
    engine.scan(&key(from, 0), &key(to, 0), &mut |key, value| match step(key, value) {
        Ok(more) => more,
        Err(error) => {
            failure = Some(error);
            false
        }
    })?;
    match (failure, expected) {
        (Some(failure), _) => Err(failure),
        (None, Some((index, chunk))) if chunk > 0 => Err(damaged(index, "its end is absent")),
        (None, _) => Ok(()),
    }
}

/// Entries from `start` on, before `end`, as many as fit.
pub fn read(
    engine: &dyn LogEngine,
    start: u64,
    end: u64,
    bytes_max: usize,
) -> io::Result<Vec<Entry>> {
    let (mut found, mut bytes) = (Vec::new(), 0usize);
    if start >= end {
        return Ok(found);
    }
    scan(engine, start, end, &mut |index, entry| {
        bytes = bytes.saturating_add(entry.len());
        if bytes > bytes_max && !found.is_empty() {
            return Ok(false);
        }
        found.push(decode_entry(entry).map_err(|error| damaged(index, &error.to_string()))?);
        Ok(true)
    })?;
    Ok(found)
}

/// The keys of entries from `from` on, before `to`.
pub fn keys(engine: &dyn LogEngine, from: u64, to: u64) -> io::Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    engine.scan(&key(from, 0), &key(to, 0), &mut |key, _| {
        keys.push(key.to_vec());
        true
    })?;
    Ok(keys)
}

/// A mark of the store, with its checksum.
pub fn seal_meta<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let invalid = |error: EnvelopeError| io::Error::other(error.to_string());
    let envelope = seal(META_MAGIC, 1, value).map_err(invalid)?;
    let mut bytes = crc32fast::hash(&envelope).to_le_bytes().to_vec();
    bytes.extend_from_slice(&envelope);
    Ok(bytes)
}

/// Reads a mark of the store.
pub fn read_meta<T: DeserializeOwned>(engine: &dyn LogEngine, key: &[u8]) -> io::Result<Option<T>> {
    let name = String::from_utf8_lossy(key);
    let damaged =
        |detail: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{name:?}: {detail}"));
    let Some(value) = engine.get(key)? else { return Ok(None) };
    let Some((checksum, envelope)) = value.split_first_chunk::<4>() else {
        return Err(damaged("cut off"));
    };
    if crc32fast::hash(envelope).to_le_bytes() != *checksum {
        return Err(damaged("the checksum does not fit"));
    }
    let (_, payload) = open(META_MAGIC, 1, META_BYTES_MAX, envelope)
        .map_err(|error| damaged(&error.to_string()))?;
    decode(payload).map(Some).map_err(|error| damaged(&error.to_string()))
}
