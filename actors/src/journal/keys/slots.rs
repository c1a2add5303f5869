//! The file of keys: slots of 128 bytes.
//!
//! `[state u8][0; 3][crc32 of the rest][key id u64][unit u128][nonce 24][sealed key 48][0; 24]`. In
//! memory a unit costs its place in a map and four bytes a slot; keys are read when they are needed.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::XChaCha20Poly1305;

use super::{open, seal};
use crate::journal::{JournalError, files};

const SLOT_BYTES: usize = 128;
const STATE_FREE: u8 = 0;
const STATE_LIVE: u8 = 1;
const STATE_ERASED: u8 = 2;
const SEALED_BYTES: usize = 24 + 32 + 16;
/// Most units of one node.
const UNITS_MAX: usize = 16_000_000;
const READ_AT_ONCE: usize = 8_192;

/// A key with its names.
pub struct Slot {
    pub id: u64,
    pub unit: u128,
    pub key: [u8; 32],
}

/// What a slot holds.
pub enum SlotState {
    Free,
    Live(Slot),
    Erased,
    Damaged,
}

/// A file that can be synced while others go on writing to it.
pub struct Dirty {
    file: Arc<File>,
    path: PathBuf,
}

impl Dirty {
    /// Syncs it.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.file
            .sync_data()
            .map_err(|error| JournalError::Failed(format!("{}: {error}", self.path.display())))
    }
}

/// The slots.
pub struct Slots {
    file: Arc<File>,
    path: PathBuf,
    cipher: XChaCha20Poly1305,
    /// Live slots by the low half of their unit's hash.
    by_unit: HashMap<u64, u32>,
    /// The newest segment that can name a slot.
    last_used: Vec<u32>,
    free: Vec<u32>,
    damaged: u64,
    is_dirty: bool,
}

fn short(unit: u128) -> u64 {
    unit as u64
}

fn segment_short(segment: u64) -> u32 {
    u32::try_from(segment).unwrap_or(u32::MAX)
}

impl Slots {
    pub fn open(
        folder: &Path,
        cipher: XChaCha20Poly1305,
        newest_segment: u64,
    ) -> Result<Self, JournalError> {
        let path = folder.join("units");
        let file = files::open_private(&path)?;
        let mut slots = Self {
            file: Arc::new(file),
            path,
            cipher,
            by_unit: HashMap::new(),
            last_used: Vec::new(),
            free: Vec::new(),
            damaged: 0,
            is_dirty: false,
        };
        slots.load(newest_segment)?;
        Ok(slots)
    }

    fn load(&mut self, newest_segment: u64) -> Result<(), JournalError> {
        let io = |error: &std::io::Error| JournalError::io(&self.path, error);
        let length = self.file.metadata().map_err(|error| io(&error))?.len();
        // A slot that was being added when the process ended names no record yet.
        let count = usize::try_from(length).unwrap_or(usize::MAX) / SLOT_BYTES;
        let mut buffer = vec![0; SLOT_BYTES * READ_AT_ONCE];
        for start in (0..count).step_by(READ_AT_ONCE) {
            let bytes = &mut buffer[..SLOT_BYTES * READ_AT_ONCE.min(count - start)];
            self.file
                .read_exact_at(bytes, (start * SLOT_BYTES) as u64)
                .map_err(|error| io(&error))?;
            for (slot, bytes) in (start..).zip(bytes.as_chunks::<SLOT_BYTES>().0) {
                let slot = u32::try_from(slot).unwrap_or(u32::MAX);
                match read_state(bytes) {
                    Some((STATE_LIVE, _, unit)) => {
                        self.by_unit.insert(short(unit), slot);
                    }
                    Some((STATE_FREE, ..)) => self.free.push(slot),
                    Some(_) => {}
                    None => self.damaged += 1,
                }
            }
        }
        self.last_used = vec![segment_short(newest_segment); count];
        Ok(())
    }

    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    pub fn units(&self) -> u64 {
        self.by_unit.len() as u64
    }

    pub fn of_unit(&self, unit: u128) -> Option<u32> {
        self.by_unit.get(&short(unit)).copied()
    }

    pub fn touch(&mut self, slot: u32, segment: u64) {
        if let Some(last_used) = self.last_used.get_mut(slot as usize) {
            *last_used = (*last_used).max(segment_short(segment));
        }
    }

    pub fn read(&self, slot: u32) -> Result<SlotState, JournalError> {
        if slot as usize >= self.last_used.len() {
            return Ok(SlotState::Damaged);
        }
        let mut bytes = [0; SLOT_BYTES];
        self.file
            .read_exact_at(&mut bytes, offset(slot))
            .map_err(|error| JournalError::io(&self.path, &error))?;
        Ok(match read_state(&bytes) {
            Some((STATE_FREE, ..)) => SlotState::Free,
            Some((STATE_ERASED, ..)) => SlotState::Erased,
            Some((STATE_LIVE, id, unit)) => {
                let key = open(&self.cipher, &bytes[32..32 + SEALED_BYTES], &context(id, unit));
                key.and_then(|key| key.try_into().ok())
                    .map_or(SlotState::Damaged, |key| SlotState::Live(Slot { id, unit, key }))
            }
            Some(_) | None => SlotState::Damaged,
        })
    }

    pub fn insert(&mut self, key: &Slot, segment: u64) -> Result<u32, JournalError> {
        if self.by_unit.len() >= UNITS_MAX {
            return Err(JournalError::Overloaded);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.last_used.push(0);
                u32::try_from(self.last_used.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let sealed = seal(&self.cipher, &key.key, &context(key.id, key.unit))?;
        self.write(slot, &bytes_of(STATE_LIVE, key.id, key.unit, &sealed))?;
        self.by_unit.insert(short(key.unit), slot);
        self.touch(slot, segment);
        Ok(slot)
    }

    /// Overwrites a key; the slot remembers whose it was.
    pub fn erase(&mut self, slot: u32, unit: u128) -> Result<(), JournalError> {
        self.write(slot, &bytes_of(STATE_ERASED, 0, unit, &[]))?;
        self.by_unit.remove(&short(unit));
        Ok(())
    }

    /// Frees slots that no segment from `oldest` on names.
    pub fn collect(&mut self, oldest: u64) -> Result<Vec<u32>, JournalError> {
        let oldest = segment_short(oldest);
        let free: std::collections::HashSet<u32> = self.free.iter().copied().collect();
        let unused: Vec<u32> = (0u32..)
            .zip(&self.last_used)
            .filter(|(slot, last_used)| **last_used < oldest && !free.contains(slot))
            .map(|(slot, _)| slot)
            .collect();
        for &slot in &unused {
            self.write(slot, &bytes_of(STATE_FREE, 0, 0, &[]))?;
            self.free.push(slot);
        }
        let gone: std::collections::HashSet<u32> = unused.iter().copied().collect();
        self.by_unit.retain(|_, slot| !gone.contains(slot));
        Ok(unused)
    }

    fn write(&mut self, slot: u32, bytes: &[u8; SLOT_BYTES]) -> Result<(), JournalError> {
        self.is_dirty = true;
        self.file
            .write_all_at(bytes, offset(slot))
            .map_err(|error| JournalError::Failed(format!("{}: {error}", self.path.display())))
    }

    /// The file, if it must be synced. The caller syncs it.
    pub fn dirty(&mut self) -> Result<Option<Dirty>, JournalError> {
        let dirty = std::mem::take(&mut self.is_dirty);
        Ok(dirty.then(|| Dirty { file: Arc::clone(&self.file), path: self.path.clone() }))
    }

    /// Syncs the file now.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        match self.dirty()? {
            Some(dirty) => dirty.sync(),
            None => Ok(()),
        }
    }
}

fn offset(slot: u32) -> u64 {
    u64::from(slot) * SLOT_BYTES as u64
}

fn context(id: u64, unit: u128) -> [u8; 24] {
    let mut context = [0; 24];
    context[..8].copy_from_slice(&id.to_le_bytes());
    context[8..].copy_from_slice(&unit.to_le_bytes());
    context
}

fn bytes_of(state: u8, id: u64, unit: u128, sealed: &[u8]) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[0] = state;
    bytes[8..16].copy_from_slice(&id.to_le_bytes());
    bytes[16..32].copy_from_slice(&unit.to_le_bytes());
    if let Some(place) = bytes.get_mut(32..32 + sealed.len()) {
        place.copy_from_slice(sealed);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[state]);
    hasher.update(&bytes[8..]);
    bytes[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
    bytes
}

/// State, key id and unit; `None` if the slot is damaged.
fn read_state(bytes: &[u8; SLOT_BYTES]) -> Option<(u8, u64, u128)> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..1]);
    hasher.update(&bytes[8..]);
    let checksum = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
    let id = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
    let unit = u128::from_le_bytes(bytes[16..32].try_into().ok()?);
    (hasher.finalize() == checksum && bytes[0] <= STATE_ERASED).then_some((bytes[0], id, unit))
}
