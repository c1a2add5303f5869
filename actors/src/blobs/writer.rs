//! Writing a folder file by file, each hashed on its way to the disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use verdict_config::model::{ModelFile, content_hash};

use super::store::BlobStore;
use super::{BlobError, FILES_MAX, FOLDER_BYTES_MAX, check_bytes, check_path, check_shape};

/// Bytes that are in memory at once.
const COPY_BYTES: usize = 64 << 10;

/// A folder that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its content hash.
    pub hash: String,
    /// Its files.
    pub files: Vec<ModelFile>,
    /// Whether the store did not have it before.
    pub new: bool,
}

/// A folder on its way into the store. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct FolderWriter {
    store: BlobStore,
    staging: PathBuf,
    files: Vec<ModelFile>,
    bytes: u64,
}

impl FolderWriter {
    pub(super) fn new(store: BlobStore, staging: PathBuf) -> Result<Self, BlobError> {
        fs::create_dir(&staging)?;
        Ok(Self { store, staging, files: Vec::new(), bytes: 0 })
    }

    /// Writes and syncs one file, of which never more than a buffer is in memory.
    ///
    /// # Errors
    /// A path that leads out of the folder or stands twice, sizes beyond the limits, the stream, or
    /// the disk.
    pub fn add(&mut self, path: &str, content: &mut dyn Read) -> Result<(), BlobError> {
        check_path(path)?;
        if self.files.len() >= FILES_MAX {
            return Err(BlobError::Invalid(format!(
                "a model folder has at most {FILES_MAX} files"
            )));
        }
        if self.files.iter().any(|file| file.path == path) {
            return Err(BlobError::Invalid(format!("{path:?} stands twice in the folder")));
        }
        let place = self.staging.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create_new(&place)?;
        let mut content = content.take(FOLDER_BYTES_MAX.saturating_sub(self.bytes) + 1);
        let (sha256, size) = copy_hashed(&mut content, &mut file)?;
        self.bytes = self.bytes.saturating_add(size);
        check_bytes(self.bytes)?;
        file.sync_all()?;
        self.files.push(ModelFile { path: path.to_owned(), sha256, size });
        Ok(())
    }

    /// Syncs the folder and renames it to its content hash. One that is there already stays, unless
    /// it is damaged.
    ///
    /// # Errors
    /// A folder without files, or the disk.
    pub fn finish(mut self) -> Result<Staged, BlobError> {
        check_shape(&self.files)?;
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        let hash = content_hash(&self.files);
        let new = !self.store.is_whole(&hash);
        self.store.touch(&hash);
        if new {
            sync_folders(&self.staging, &self.files)?;
            self.store.put_in_place(&self.staging, &hash)?;
        }
        Ok(Staged { hash, files: std::mem::take(&mut self.files), new })
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        if self.staging.exists() {
            // What cannot be removed now is removed at the next start.
            drop(fs::remove_dir_all(&self.staging));
        }
    }
}

/// Syncs every folder that the files stand in, the innermost first.
pub(super) fn sync_folders(root: &Path, files: &[ModelFile]) -> io::Result<()> {
    let mut folders = BTreeSet::from([root.to_path_buf()]);
    for file in files {
        let place = root.join(&file.path);
        let above = place.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
        folders.extend(above.map(Path::to_path_buf));
    }
    folders.iter().rev().try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Copies a stream; its SHA-256 in hex and its length.
pub(super) fn copy_hashed(
    from: &mut dyn Read,
    to: &mut dyn Write,
) -> Result<(String, u64), BlobError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut size = 0u64;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hasher.finalize()), size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}
