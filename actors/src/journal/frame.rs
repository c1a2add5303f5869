//! Frames of a segment file.
//!
//! `[magic u16][kind u8][0][length u32][sequence u32][crc32 of payload][crc32 of these 16 bytes]`,
//! little-endian, then the payload. The header has its own checksum so that after a damaged frame the
//! next whole one is found, and a sequence number so that it is known how many were lost between.
//! A kind is a version as well: what a kind's payload looks like never changes.

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 20;
/// The longest payload.
pub const PAYLOAD_BYTES_MAX: usize = 24 << 20;
/// A decision's record.
pub const KIND_RECORD: u8 = 1;
/// An outcome.
pub const KIND_OUTCOME: u8 = 2;
/// A unit's key was destroyed.
pub const KIND_ERASURE: u8 = 3;

const MAGIC: [u8; 2] = *b"VJ";
/// Begins every segment file; version and number are behind it.
const FILE_MAGIC: [u8; 8] = *b"VERDICTJ";
const FILE_VERSION: u32 = 1;
/// Bytes of a segment file's head.
pub const FILE_HEAD_BYTES: usize = 24;

/// The head of a segment file.
pub fn file_head(number: u64) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&FILE_MAGIC);
    head[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
    head[12..20].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&head[..20]);
    head[20..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// A buffer with room for a header, to which the payload is appended.
pub fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER_BYTES, 0);
}

/// Fills in all of the header but the sequence number; gives the payload's checksum.
pub fn checksum(buffer: &[u8]) -> u32 {
    crc32fast::hash(buffer.get(HEADER_BYTES..).unwrap_or_default())
}

/// Fills in the header of a buffer that was begun.
pub fn finish(buffer: &mut [u8], kind: u8, sequence: u32, checksum: u32) {
    let length = u32::try_from(buffer.len().saturating_sub(HEADER_BYTES)).unwrap_or(u32::MAX);
    let Some(header) = buffer.first_chunk_mut::<HEADER_BYTES>() else { return };
    header[..2].copy_from_slice(&MAGIC);
    header[2] = kind;
    header[3] = 0;
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..12].copy_from_slice(&sequence.to_le_bytes());
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    let of_header = crc32fast::hash(&header[..16]);
    header[16..].copy_from_slice(&of_header.to_le_bytes());
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub length: usize,
    pub sequence: u32,
    checksum: u32,
}

impl Header {
    /// Reads a header; `None` where none stands.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        if header[..2] != MAGIC || crc32fast::hash(&header[..16]) != word(16) {
            return None;
        }
        let length = word(4) as usize;
        (length <= PAYLOAD_BYTES_MAX).then_some(Self {
            kind: header[2],
            length,
            sequence: word(8),
            checksum: word(12),
        })
    }

    /// Whether a payload is the one that was written.
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.length && crc32fast::hash(payload) == self.checksum
    }
}

/// A step of reading a file's bytes.
pub enum Step<'bytes> {
    /// A whole frame.
    Frame { at: usize, header: Header, payload: &'bytes [u8] },
    /// Bytes that are no whole frame, up to the next one or to the end; `sequence` is the number
    /// of the frame behind it.
    Gap { at: usize, bytes: usize, next_sequence: Option<u32> },
}

/// Reads the frames of a file's bytes, from a position on.
pub struct Frames<'bytes> {
    bytes: &'bytes [u8],
    at: usize,
}

impl<'bytes> Frames<'bytes> {
    pub const fn new(bytes: &'bytes [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn frame_at(&self, at: usize) -> Option<(Header, &'bytes [u8])> {
        let rest = self.bytes.get(at..)?;
        let header = Header::read(rest)?;
        let payload = rest.get(HEADER_BYTES..HEADER_BYTES + header.length)?;
        header.fits(payload).then_some((header, payload))
    }
}

impl<'bytes> Iterator for Frames<'bytes> {
    type Item = Step<'bytes>;

    fn next(&mut self) -> Option<Step<'bytes>> {
        let at = self.at;
        if at >= self.bytes.len() {
            return None;
        }
        if let Some((header, payload)) = self.frame_at(at) {
            self.at = at + HEADER_BYTES + header.length;
            return Some(Step::Frame { at, header, payload });
        }
        let found = (at + 1..self.bytes.len())
            .filter(|&next| self.bytes[next] == MAGIC[0])
            .find_map(|next| self.frame_at(next).map(|(header, _)| (next, header.sequence)));
        let (end, next_sequence) = match found {
            Some((next, sequence)) => (next, Some(sequence)),
            None => (self.bytes.len(), None),
        };
        self.at = end;
        Some(Step::Gap { at, bytes: end - at, next_sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(payloads: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for (sequence, payload) in (0u32..).zip(payloads) {
            let mut buffer = Vec::new();
            begin(&mut buffer);
            buffer.extend_from_slice(payload);
            let checksum = checksum(&buffer);
            finish(&mut buffer, KIND_RECORD, sequence, checksum);
            file.extend_from_slice(&buffer);
        }
        file
    }

    fn read(bytes: &[u8]) -> Vec<Result<u32, (usize, Option<u32>)>> {
        let step = |step: Step<'_>| match step {
            Step::Frame { header, .. } => Ok(header.sequence),
            Step::Gap { bytes, next_sequence, .. } => Err((bytes, next_sequence)),
        };
        Frames::new(bytes, 0).map(step).collect()
    }

    #[test]
    fn every_flipped_bit_costs_its_own_frame_only() {
        let whole = frames(&[b"one", b"two two", b"three"]);
        assert_eq!(read(&whole), [Ok(0), Ok(1), Ok(2)]);
        let second = HEADER_BYTES + 3..2 * HEADER_BYTES + 10;
        for at in second {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(read(&damaged), [Ok(0), Err((HEADER_BYTES + 7, Some(2))), Ok(2)]);
            }
        }
    }

    #[test]
    fn a_cut_file_ends_in_a_gap() {
        let whole = frames(&[b"one", b"two"]);
        for end in HEADER_BYTES + 4..whole.len() {
            assert_eq!(read(&whole[..end]), [Ok(0), Err((end - HEADER_BYTES - 3, None))]);
        }
    }
}
