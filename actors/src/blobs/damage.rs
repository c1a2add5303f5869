//! What is here and is not what its hash says: disks lie. It is noticed wherever it is read, told
//! once, and told again when what is right stands in its place.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use verdict_config::model::sha256_hex;

use super::holdings::hashes_in;
use super::store::{BlobStore, OBJECTS};
use super::writer::copy_hashed;
use super::{BlobError, check_hash};

/// Hashes of damaged contents that are remembered.
const DAMAGED_MAX: usize = 4_096;

/// A step on the way of something whole to its final name, about to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceStep {
    /// It is renamed to its hash.
    Rename,
    /// The folder that it stands in is synced.
    Sync,
}

/// Called before each step; tests interrupt them with it.
pub type PlaceProbe = Arc<dyn Fn(PlaceStep) + Send + Sync>;

#[derive(Default)]
pub(super) struct Damage {
    found: Mutex<BTreeSet<String>>,
    mending: Mutex<BTreeSet<String>>,
    noticed: AtomicU64,
    repaired: AtomicU64,
}

impl Damage {
    pub(super) fn noticed(&self) -> u64 {
        self.noticed.load(Ordering::Relaxed)
    }

    pub(super) fn repaired(&self) -> u64 {
        self.repaired.load(Ordering::Relaxed)
    }
}

/// A hash whose content is being mended; dropped, it may be mended again.
pub(crate) struct Mending {
    store: BlobStore,
    hash: String,
}

impl Drop for Mending {
    fn drop(&mut self) {
        self.store.shared.damage.mending.lock().remove(&self.hash);
    }
}

impl BlobStore {
    /// Begins to mend a content; `None` while somebody else does.
    pub(crate) fn mending(&self, hash: &str) -> Option<Mending> {
        let new = self.shared.damage.mending.lock().insert(hash.to_owned());
        new.then(|| Mending { store: self.clone(), hash: hash.to_owned() })
    }

    /// Whether a content has the hash it should have.
    pub(super) fn verified(&self, hash: &str, found: &str) -> Result<(), BlobError> {
        let damage = &self.shared.damage;
        if found == hash {
            damage.found.lock().remove(hash);
            return Ok(());
        }
        let detail = format!("its content has the hash {found}");
        let new = {
            let mut known = damage.found.lock();
            known.len() < DAMAGED_MAX && known.insert(hash.to_owned())
        };
        if new {
            damage.noticed.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("verdict_blob_damaged_total").increment(1);
            tracing::error!(hash, detail, "what lies here is not what its hash says");
        }
        Err(BlobError::Damaged { hash: hash.to_owned(), detail })
    }

    /// What was verified now stands under its hash.
    pub(super) fn placed(&self, hash: &str) {
        let damage = &self.shared.damage;
        if damage.found.lock().remove(hash) {
            damage.repaired.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("verdict_blob_repaired_total").increment(1);
            tracing::info!(hash, "what was damaged here was brought anew");
        }
    }

    /// From here on `probe` is called before each step. The first stays.
    pub fn set_probe(&self, probe: PlaceProbe) {
        drop(self.shared.probe.set(probe));
    }

    pub(super) fn step(&self, step: PlaceStep) {
        if let Some(probe) = self.shared.probe.get() {
            probe(step);
        }
    }

    /// The hashes of every folder and object that is here; not verified.
    ///
    /// # Errors
    /// The disk.
    pub fn hashes(&self) -> Result<BTreeSet<String>, BlobError> {
        let mut hashes: BTreeSet<String> = hashes_in(&self.shared.root)?.into_iter().collect();
        hashes.extend(hashes_in(&self.shared.root.join(OBJECTS))?);
        Ok(hashes)
    }

    /// Reads a folder or object through; its bytes. Nothing is wrong with one that is absent.
    ///
    /// # Errors
    /// Damaged, or the disk.
    pub fn check(&self, hash: &str) -> Result<u64, BlobError> {
        check_hash(hash)?;
        let mut bytes = 0;
        match self.describe(hash) {
            Ok(files) => bytes += files.iter().map(|file| file.size).sum::<u64>(),
            Err(BlobError::Absent(_)) => {}
            Err(error) => return Err(error),
        }
        if self.contains_object(hash) {
            bytes += self.check_object(hash)?;
        }
        Ok(bytes)
    }

    /// Reads the body of an object through; its bytes.
    ///
    /// # Errors
    /// Absent, damaged, or the disk.
    pub(super) fn check_object(&self, hash: &str) -> Result<u64, BlobError> {
        let place = self.object_place(hash)?;
        if !place.is_file() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        let (found, bytes) = copy_hashed(&mut File::open(place)?, &mut io::sink())?;
        self.verified(hash, &found)?;
        Ok(bytes)
    }

    /// Stores a body that is in memory in the place of a damaged one.
    ///
    /// # Errors
    /// Not that body, or as [`BlobStore::put_object`].
    pub fn restore_object(&self, hash: &str, body: &[u8]) -> Result<(), BlobError> {
        if sha256_hex(body) != hash {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        self.put_object(body).map(drop)
    }
}
