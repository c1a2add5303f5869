//! Keys of units: one random key a unit, in a file of its own.
//!
//! `keys/master` holds 32 random bytes; from it come the node's own keys. `keys/units` holds slots of
//! 128 bytes, each a unit's key encrypted under the master key. Erasing a unit overwrites its slot in
//! place and syncs: the key is gone, the slot goes on saying which unit (as a keyed hash) was erased.
//! Both files are readable by their owner only. Slots are freed when the last segment that can name
//! them is gone; a freed slot's next key has another id, so that an old record never meets a new key.
//!
//! A copy of the folder, or a file system that keeps old blocks, keeps old keys: backups must treat
//! `keys` apart, and be no older than erasure allows.

mod slots;

use std::collections::HashMap;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::JournalError;
use super::files;
use slots::{Slot, SlotState, Slots};

const NONCE_BYTES: usize = 24;
/// The slot number of the node's own key.
const NODE_SLOT: u32 = u32::MAX;
/// Unwrapped keys that are kept at hand.
const CACHED_MAX: usize = 4_096;

/// Which key a sensitive part was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// The slot.
    pub slot: u32,
    /// The key's own id: a slot may be used again.
    pub id: u64,
    /// Keyed hash of the unit.
    pub unit: u128,
}

/// A key, and what names it.
#[derive(Clone)]
pub struct UnitKey {
    pub reference: KeyRef,
    cipher: XChaCha20Poly1305,
}

/// What became of a key.
pub enum Found {
    /// It is there.
    Key(UnitKey),
    /// It was destroyed.
    Erased,
    /// Its slot cannot be read.
    Damaged,
}

/// The keys of a journal.
pub struct Keys {
    node: XChaCha20Poly1305,
    /// Makes hashes of units and window keys that say nothing without it.
    hash_secret: [u8; 32],
    slots: Mutex<Slots>,
    cached: Mutex<HashMap<u32, UnitKey>>,
}

impl Keys {
    /// Opens the keys of a folder, or makes them. Slots that cannot be read are counted.
    pub fn open(folder: &Path, newest_segment: u64) -> Result<(Self, u64), JournalError> {
        let folder = folder.join("keys");
        files::make_folder(&folder)?;
        let master = master_key(&folder)?;
        let derived = |purpose: &str| -> [u8; 32] {
            let mut hasher = Sha256::new();
            hasher.update(b"verdict journal key 1 ");
            hasher.update(purpose.as_bytes());
            hasher.update(master);
            hasher.finalize().into()
        };
        let cipher = |key: [u8; 32]| XChaCha20Poly1305::new(&key.into());
        let slots = Slots::open(&folder, cipher(derived("units")), newest_segment)?;
        let damaged = slots.damaged();
        let keys = Self {
            node: cipher(derived("node")),
            hash_secret: derived("hashes"),
            slots: Mutex::new(slots),
            cached: Mutex::new(HashMap::new()),
        };
        Ok((keys, damaged))
    }

    /// A keyed hash of parts. Each part has its length before it.
    pub fn hash(&self, domain: &[u8], parts: &[&[u8]]) -> u128 {
        // One digest over bytes that lie together costs less than many updates of a few bytes.
        let mut bytes: SmallVec<[u8; 256]> = SmallVec::new();
        bytes.extend_from_slice(&self.hash_secret);
        for part in std::iter::once(&domain).chain(parts) {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        first_half(Sha256::digest(&bytes).into())
    }

    /// The hash of a unit.
    pub fn unit_hash(&self, unit: &str) -> u128 {
        self.hash(b"unit", &[unit.as_bytes()])
    }

    /// The key of a unit, made if it has none; the node's own for no unit. `segment` is the one
    /// that will name it.
    pub fn for_unit(&self, unit: Option<&str>, segment: u64) -> Result<UnitKey, JournalError> {
        let Some(unit) = unit else {
            let reference = KeyRef { slot: NODE_SLOT, id: 0, unit: 0 };
            return Ok(UnitKey { reference, cipher: self.node.clone() });
        };
        let unit = self.unit_hash(unit);
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.of_unit(unit) {
            slots.touch(slot, segment);
            if let Some(key) =
                self.cached.lock().get(&slot).filter(|key| key.reference.unit == unit)
            {
                return Ok(key.clone());
            }
            if let SlotState::Live(slot_key) = slots.read(slot)?
                && slot_key.unit == unit
            {
                return Ok(self.cache(slot, &slot_key));
            }
        }
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let made = Slot { id: rand::rng().next_u64(), unit, key };
        let slot = slots.insert(&made, segment)?;
        Ok(self.cache(slot, &made))
    }

    fn cache(&self, slot: u32, key: &Slot) -> UnitKey {
        let reference = KeyRef { slot, id: key.id, unit: key.unit };
        let key = UnitKey { reference, cipher: XChaCha20Poly1305::new(&key.key.into()) };
        let mut cached = self.cached.lock();
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(slot, key.clone());
        key
    }

    /// The key that a record names.
    pub fn find(&self, reference: &KeyRef) -> Result<Found, JournalError> {
        if reference.slot == NODE_SLOT {
            return Ok(Found::Key(UnitKey { reference: *reference, cipher: self.node.clone() }));
        }
        if let Some(key) = self.cached.lock().get(&reference.slot)
            && key.reference == *reference
        {
            return Ok(Found::Key(key.clone()));
        }
        let state = self.slots.lock().read(reference.slot)?;
        Ok(match state {
            SlotState::Live(key) if key.id == reference.id => {
                Found::Key(self.cache(reference.slot, &key))
            }
            // Freed or used again: the unit was erased, or else the record would be gone as well.
            SlotState::Live(_) | SlotState::Erased | SlotState::Free => Found::Erased,
            SlotState::Damaged => Found::Damaged,
        })
    }

    /// Destroys the key of a unit, durably; whether there was one.
    pub fn erase(&self, unit: &str) -> Result<bool, JournalError> {
        let unit = self.unit_hash(unit);
        let mut slots = self.slots.lock();
        let Some(slot) = slots.of_unit(unit) else { return Ok(false) };
        if !matches!(slots.read(slot)?, SlotState::Live(key) if key.unit == unit) {
            return Ok(false);
        }
        slots.erase(slot, unit)?;
        self.cached.lock().remove(&slot);
        slots.sync()?;
        Ok(true)
    }

    /// Makes new keys durable.
    pub fn sync(&self) -> Result<(), JournalError> {
        let handle = self.slots.lock().dirty()?;
        match handle {
            Some(file) => file.sync(),
            None => Ok(()),
        }
    }

    /// Frees the slots that no segment from `oldest` on can name.
    pub fn collect(&self, oldest: u64) -> Result<(), JournalError> {
        let freed = self.slots.lock().collect(oldest)?;
        let mut cached = self.cached.lock();
        for slot in freed {
            cached.remove(&slot);
        }
        Ok(())
    }

    /// How many units have a key.
    pub fn units(&self) -> u64 {
        self.slots.lock().units()
    }
}

impl UnitKey {
    /// Seals bytes; they open only with the same context.
    pub fn seal(&self, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, JournalError> {
        seal(&self.cipher, plain, context)
    }

    /// Opens what was sealed; `None`: another key or context, or damage.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        open(&self.cipher, sealed, context)
    }
}

fn first_half(hash: [u8; 32]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(half)
}

/// `[nonce][ciphertext and tag]`.
fn seal(cipher: &XChaCha20Poly1305, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, JournalError> {
    let mut nonce = [0; NONCE_BYTES];
    rand::rng().fill_bytes(&mut nonce);
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context })
        .map_err(|_| JournalError::TooLarge {
            what: "a sensitive part",
            bytes: plain.len(),
            limit: super::frame::PAYLOAD_BYTES_MAX,
        })?;
    let mut bytes = Vec::with_capacity(NONCE_BYTES + sealed.len());
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&sealed);
    Ok(bytes)
}

fn open(cipher: &XChaCha20Poly1305, sealed: &[u8], context: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context }).ok()
}

/// `[32 random bytes][crc32]`.
fn master_key(folder: &Path) -> Result<[u8; 32], JournalError> {
    let path = folder.join("master");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let whole = bytes
                .split_first_chunk::<32>()
                .filter(|(key, checksum)| *checksum == crc32fast::hash(&key[..]).to_le_bytes());
            whole
                .map(|(key, _)| *key)
                .ok_or_else(|| JournalError::damaged(&path, 0, "the master key is not whole"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join("units").exists() {
                let detail = "the master key is absent, but keys of units are there";
                return Err(JournalError::damaged(&path, 0, detail));
            }
            let mut key = [0; 32];
            rand::rng().fill_bytes(&mut key);
            let mut bytes = key.to_vec();
            bytes.extend_from_slice(&crc32fast::hash(&key).to_le_bytes());
            files::write_whole(folder, "master", &bytes)?;
            Ok(key)
        }
        Err(error) => Err(JournalError::io(&path, &error)),
    }
}
