//! Bodies of large objects: one file each, named by the SHA-256 of its bytes.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use verdict_config::model::sha256_hex;
use verdict_consensus::{BodyStore, StoredBody};

use super::damage::PlaceStep;
use super::fetch::{Givers, TurnEnd, Wanted};
use super::store::{BlobStore, OBJECTS, PARTIAL, piece_of};
use super::{BlobError, OBJECT_BYTES_MAX, check_hash};

impl BlobStore {
    pub(super) fn object_place(&self, hash: &str) -> Result<PathBuf, BlobError> {
        check_hash(hash)?;
        Ok(self.shared.root.join(OBJECTS).join(hash))
    }

    /// Stores a body durably and gives its hash. One that is there and whole stays.
    ///
    /// # Errors
    /// A body beyond the limit, or the disk.
    pub fn put_object(&self, body: &[u8]) -> Result<String, BlobError> {
        check_length(body.len() as u64)?;
        let hash = sha256_hex(body);
        self.touch(&hash);
        if self.object(&hash).is_ok() {
            return Ok(hash);
        }
        let staging = self.staging();
        fs::create_dir(&staging)?;
        let written = self.write_object(body, &staging.join("body"), &hash);
        // Empty by now, or of no use.
        drop(fs::remove_dir_all(&staging));
        written.map(|()| hash)
    }

    fn write_object(&self, body: &[u8], path: &PathBuf, hash: &str) -> Result<(), BlobError> {
        let mut file = File::create_new(path)?;
        file.write_all(body)?;
        file.sync_all()?;
        self.put_object_in_place(path, hash)
    }

    fn put_object_in_place(&self, path: &PathBuf, hash: &str) -> Result<(), BlobError> {
        self.step(PlaceStep::Rename);
        fs::rename(path, self.object_place(hash)?)?;
        self.step(PlaceStep::Sync);
        File::open(self.shared.root.join(OBJECTS))?.sync_all()?;
        self.placed(hash);
        Ok(())
    }

    /// Whether a body of that hash is there (not whether it is whole).
    #[must_use]
    pub fn contains_object(&self, hash: &str) -> bool {
        self.object_place(hash).is_ok_and(|place| place.is_file())
    }

    /// Reads a body and verifies it.
    ///
    /// # Errors
    /// Absent, damaged, or the disk.
    pub fn object(&self, hash: &str) -> Result<Vec<u8>, BlobError> {
        let place = self.object_place(hash)?;
        if !place.is_file() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        let body = fs::read(place)?;
        self.verified(hash, &sha256_hex(&body))?;
        Ok(body)
    }

    /// A piece of a body, as [`BlobStore::piece`]. Before the first piece the whole is verified.
    ///
    /// # Errors
    /// Absent, damaged, or the disk.
    pub fn object_piece(&self, hash: &str, span: (u64, usize)) -> Result<Vec<u8>, BlobError> {
        if span.0 == 0 {
            self.check_object(hash)?;
        }
        let place = self.object_place(hash)?;
        if !place.is_file() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        piece_of(&place, span)
    }

    /// Brings a body of `size` bytes from other nodes, `first` before the others. Blocking.
    ///
    /// # Errors
    /// Absent where nobody gave it, a length beyond the limit, or the disk.
    pub fn fetch_object(
        &self,
        (hash, size): (&str, u64),
        first: Option<u64>,
    ) -> Result<(), BlobError> {
        check_length(size)?;
        check_hash(hash)?;
        let is_here = || self.object(hash).is_ok_and(|body| body.len() as u64 == size);
        self.fetch_with(hash, first, is_here, |node, givers| {
            self.object_from(node, (hash, size), givers)
        })
    }

    fn object_from(
        &self,
        node: u64,
        (hash, size): (&str, u64),
        givers: &mut Givers,
    ) -> Result<(), TurnEnd> {
        let Some(source) = self.source() else {
            return Err(TurnEnd::Next("nobody can be asked".to_owned()));
        };
        let place = self.shared.root.join(OBJECTS).join(format!("{PARTIAL}{hash}"));
        let wanted = Wanted { place: &place, sha256: hash, size };
        let piece = |offset| source.object_piece(node, hash, offset);
        self.bring_file((node, hash), &wanted, &piece, givers)?;
        self.put_object_in_place(&place, hash)?;
        Ok(())
    }
}

impl BodyStore for BlobStore {
    fn load(&self, body: StoredBody) -> Option<Vec<u8>> {
        self.object(&body.hash.to_hex()).ok().filter(|bytes| bytes.len() as u64 == body.bytes)
    }

    fn fetch(&self, body: StoredBody) -> Option<Vec<u8>> {
        if let Err(error) = self.fetch_object((&body.hash.to_hex(), body.bytes), None) {
            tracing::debug!(%error, hash = %body.hash, "a body cannot be fetched yet");
        }
        self.load(body)
    }
}

fn check_length(bytes: u64) -> Result<(), BlobError> {
    if bytes > OBJECT_BYTES_MAX {
        let text =
            format!("the body of an object has at most {OBJECT_BYTES_MAX} bytes, got {bytes}");
        return Err(BlobError::Invalid(text));
    }
    Ok(())
}
