//! Frames of the log file: `[length u32][crc32 u32][index u64][command]`, little-endian. The
//! checksum covers length, index and command.

use crate::command::{COMMAND_BYTES_MAX, Command};

const HEAD_BYTES: usize = 16;
/// Begins every log file; the version is behind it.
pub const FILE_MAGIC: [u8; 8] = *b"VERDICTL";
const FILE_VERSION: u32 = 1;
/// Bytes of a log file's head.
pub const FILE_HEAD_BYTES: usize = 16;

/// The head of a log file: magic, version, checksum.
pub fn file_head() -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&FILE_MAGIC);
    head[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
    let checksum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Appends a frame to a buffer.
pub fn push_frame(buffer: &mut Vec<u8>, index: u64, command: &[u8]) {
    let length = u32::try_from(command.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&checksum(length, index, command).to_le_bytes());
    buffer.extend_from_slice(&index.to_le_bytes());
    buffer.extend_from_slice(command);
}

fn checksum(length: u32, index: u64, command: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(command);
    hasher.finalize()
}

/// One step of reading.
pub enum Read {
    /// A whole frame and where the next begins.
    Frame { index: u64, command: Box<Command>, end: usize },
    /// The end of the file, between frames.
    End,
    /// No whole frame: torn or damaged.
    Bad(String),
}

/// Reads the frame at a position of a file's bytes.
pub fn read_frame(bytes: &[u8], at: usize) -> Read {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return Read::End;
    }
    let Some((head, behind)) = rest.split_first_chunk::<HEAD_BYTES>() else {
        return Read::Bad("the head of a frame is cut off".to_owned());
    };
    let word = |from: usize| {
        u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]])
    };
    let (length, expected) = (word(0), word(4));
    let index = u64::from(word(8)) | u64::from(word(12)) << 32;
    if length as usize > COMMAND_BYTES_MAX {
        return Read::Bad(format!("a length of {length} bytes is beyond the limit"));
    }
    let Some(command) = behind.get(..length as usize) else {
        return Read::Bad(format!("a frame of {length} bytes is cut off"));
    };
    if checksum(length, index, command) != expected {
        return Read::Bad("the checksum does not fit".to_owned());
    }
    match Command::decode(command) {
        Ok(command) => {
            let end = at + HEAD_BYTES + length as usize;
            Read::Frame { index, command: Box::new(command), end }
        }
        Err(error) => Read::Bad(format!("command {index}: {error}")),
    }
}
