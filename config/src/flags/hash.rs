//! MurmurHash3 (x86, 32 bits, seed 0), fed in pieces so that a key made of parts needs no copy.
//!
//! Austin Appleby's public-domain algorithm; every flagd client assigns users with it.

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

/// A hash that is fed in pieces. The pieces' boundaries do not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Murmur3 {
    state: u32,
    tail: [u8; 4],
    tail_bytes: u8,
    total_bytes: u32,
}

impl Murmur3 {
    /// An empty hash, seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn write(&mut self, mut bytes: &[u8]) {
        #[expect(clippy::cast_possible_truncation, reason = "the length enters modulo 2^32")]
        let length = bytes.len() as u32;
        self.total_bytes = self.total_bytes.wrapping_add(length);
        while self.tail_bytes > 0 && !bytes.is_empty() {
            self.push(bytes[0]);
            bytes = &bytes[1..];
        }
        let mut blocks = bytes.chunks_exact(4);
        for block in &mut blocks {
            self.mix(u32::from_le_bytes([block[0], block[1], block[2], block[3]]));
        }
        for byte in blocks.remainder() {
            self.push(*byte);
        }
    }

    /// The hash of everything written.
    #[must_use]
    pub fn finish(&self) -> u32 {
        let mut hash = self.state;
        if self.tail_bytes > 0 {
            let mut last = 0_u32;
            for (index, byte) in self.tail.iter().take(usize::from(self.tail_bytes)).enumerate() {
                last |= u32::from(*byte) << (8 * index);
            }
            hash ^= scramble(last);
        }
        hash ^= self.total_bytes;
        hash ^= hash >> 16;
        hash = hash.wrapping_mul(0x85eb_ca6b);
        hash ^= hash >> 13;
        hash = hash.wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }

    fn push(&mut self, byte: u8) {
        self.tail[usize::from(self.tail_bytes)] = byte;
        self.tail_bytes += 1;
        if self.tail_bytes == 4 {
            self.tail_bytes = 0;
            self.mix(u32::from_le_bytes(self.tail));
        }
    }

    fn mix(&mut self, block: u32) {
        self.state ^= scramble(block);
        self.state = self.state.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

/// The hash of one text or byte string.
#[must_use]
pub fn murmur3(bytes: &[u8]) -> u32 {
    let mut hash = Murmur3::new();
    hash.write(bytes);
    hash.finish()
}

/// The position of a unit in one of `positions` equal buckets: `(u32(h) * positions) >> 32`.
#[must_use]
pub fn position(hash: u32, positions: u32) -> u32 {
    let product = u64::from(hash) * u64::from(positions);
    u32::try_from(product >> 32).unwrap_or(u32::MAX)
}
