//! The store: what is there, read and verified, and what goes.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use verdict_config::model::{ModelFile, content_hash};

use super::damage::{Damage, PlaceProbe, PlaceStep};
use super::fetch::Fetches;
use super::source::BlobSource;
use super::writer::{FolderWriter, Staged, copy_hashed};
use super::{
    BlobCounts, BlobError, FILES_MAX, Files, UNREFERENCED_KEPT, check_hash, check_path, is_hash,
};

const STAGING: &str = ".staging-";
pub(super) const PARTIAL: &str = ".partial-";
pub(super) const OBJECTS: &str = "objects";

/// A store of folders and objects. Cloning is cheap; methods block on the disk.
#[derive(Debug, Clone)]
pub struct BlobStore {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub root: PathBuf,
    source: OnceLock<Arc<dyn BlobSource>>,
    staged: AtomicU64,
    pub fetches: Fetches,
    pub damage: Damage,
    pub probe: OnceLock<PlaceProbe>,
    unreferenced_since: Mutex<HashMap<PathBuf, (Instant, u64)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("root", &self.root).finish_non_exhaustive()
    }
}

impl BlobStore {
    /// Opens the store and removes what an earlier process left half written; what it left half
    /// brought from another node stays, to go on from there. A folder has one store at a time.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = root.into();
        fs::create_dir_all(root.join(OBJECTS))?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(STAGING) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let shared = Shared {
            root,
            source: OnceLock::new(),
            staged: AtomicU64::new(0),
            fetches: Fetches::default(),
            damage: Damage::default(),
            probe: OnceLock::new(),
            unreferenced_since: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// From here on, what is not here is brought from these nodes. The first source stays.
    pub fn set_source(&self, source: Arc<dyn BlobSource>) {
        drop(self.shared.source.set(source));
    }

    pub(super) fn source(&self) -> Option<&Arc<dyn BlobSource>> {
        self.shared.source.get()
    }

    /// What came of bringing things from other nodes, since the start.
    #[must_use]
    pub fn counts(&self) -> BlobCounts {
        BlobCounts {
            damaged: self.shared.damage.noticed(),
            repaired: self.shared.damage.repaired(),
            ..self.shared.fetches.counts()
        }
    }

    /// A name under which something is written before it is whole.
    pub(super) fn staging(&self) -> PathBuf {
        let number = self.shared.staged.fetch_add(1, Ordering::Relaxed);
        self.shared.root.join(format!("{STAGING}{}-{number}", std::process::id()))
    }

    /// Begins to write a folder.
    ///
    /// # Errors
    /// The disk.
    pub fn writer(&self) -> Result<FolderWriter, BlobError> {
        FolderWriter::new(self.clone(), self.staging())
    }

    /// Stores a folder that is in memory. One that is there already stays.
    ///
    /// # Errors
    /// As [`FolderWriter`].
    pub fn stage(&self, files: &Files) -> Result<Staged, BlobError> {
        let mut writer = self.writer()?;
        for (path, bytes) in files {
            writer.add(path, &mut &bytes[..])?;
        }
        writer.finish()
    }

    /// Renames a whole and synced folder to its hash, in the place of a damaged one.
    pub(super) fn put_in_place(&self, folder: &Path, hash: &str) -> Result<(), BlobError> {
        let place = self.place(hash)?;
        let damaged = self.staging();
        if place.exists() {
            fs::rename(&place, &damaged)?;
        }
        self.step(PlaceStep::Rename);
        fs::rename(folder, place)?;
        self.step(PlaceStep::Sync);
        File::open(&self.shared.root)?.sync_all()?;
        self.placed(hash);
        if damaged.exists() {
            fs::remove_dir_all(damaged)?;
        }
        Ok(())
    }

    /// The hour of something that nothing names begins anew.
    pub(super) fn touch(&self, hash: &str) {
        let mut since = self.shared.unreferenced_since.lock();
        since.remove(&self.shared.root.join(hash));
        since.remove(&self.shared.root.join(OBJECTS).join(hash));
    }

    /// Removes a folder that turned out to be of no use.
    ///
    /// # Errors
    /// The disk.
    pub fn discard(&self, hash: &str) -> Result<(), BlobError> {
        let place = self.place(hash)?;
        if place.is_dir() {
            fs::remove_dir_all(place)?;
        }
        Ok(())
    }

    /// Whether a folder of that hash is there (not whether it is whole).
    #[must_use]
    pub fn contains(&self, hash: &str) -> bool {
        self.place(hash).is_ok_and(|place| place.is_dir())
    }

    pub(super) fn is_whole(&self, hash: &str) -> bool {
        self.describe(hash).is_ok()
    }

    /// What files a folder has, read through and verified against its hash.
    ///
    /// # Errors
    /// Absent, damaged, or the disk.
    pub fn describe(&self, hash: &str) -> Result<Vec<ModelFile>, BlobError> {
        let mut files = Vec::new();
        for (path, place) in self.list(hash)? {
            let (sha256, size) = copy_hashed(&mut File::open(place)?, &mut io::sink())?;
            files.push(ModelFile { path, sha256, size });
        }
        self.verified(hash, &content_hash(&files))?;
        Ok(files)
    }

    /// The files of a folder with their places, by path; not verified.
    ///
    /// # Errors
    /// Absent, or the disk.
    pub fn list(&self, hash: &str) -> Result<Vec<(String, PathBuf)>, BlobError> {
        let place = self.place(hash)?;
        if !place.is_dir() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        let mut files = Vec::new();
        list_folder(&place, "", &mut files)?;
        files.sort();
        Ok(files)
    }

    /// Reads a folder into memory and verifies it against its hash.
    ///
    /// # Errors
    /// Absent, damaged, or the disk.
    pub fn read(&self, hash: &str) -> Result<Files, BlobError> {
        let mut files = Files::new();
        for (path, place) in self.list(hash)? {
            files.insert(path, fs::read(place)?);
        }
        self.verified(hash, &super::hash_of(&files))?;
        Ok(files)
    }

    /// Reads a folder into memory; has it brought from elsewhere where it is absent or damaged.
    ///
    /// # Errors
    /// As [`BlobStore::read`], where nobody else has it either.
    pub fn obtain(&self, hash: &str) -> Result<Files, BlobError> {
        match self.read(hash) {
            Err(BlobError::Absent(_) | BlobError::Damaged { .. }) => {
                self.fetch(hash, None)?;
                self.read(hash)
            }
            read => read,
        }
    }

    /// The files of a folder with their places, read through and verified; it is brought from
    /// elsewhere where it is absent or damaged.
    ///
    /// # Errors
    /// As [`BlobStore::obtain`].
    pub fn obtain_on_disk(&self, hash: &str) -> Result<Vec<(String, PathBuf)>, BlobError> {
        if let Err(error) = self.describe(hash) {
            if matches!(error, BlobError::Io(_) | BlobError::Invalid(_)) {
                return Err(error);
            }
            self.fetch(hash, None)?;
        }
        self.list(hash)
    }

    /// A piece of a file of a folder, at most `length` bytes; shorter at the file's end.
    ///
    /// # Errors
    /// Absent, a path that leads out of the folder, or the disk.
    pub fn piece(&self, hash: &str, path: &str, span: (u64, usize)) -> Result<Vec<u8>, BlobError> {
        check_path(path)?;
        let place = self.place(hash)?;
        if !place.is_dir() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        piece_of(&place.join(path), span)
    }

    /// Removes what `referenced` has not named for an hour: folders, objects, and what was brought
    /// in part. An object stays as long as an entry of the log may name it, because whoever reads
    /// that entry needs it: until the log is let go up to where it ended when the object was first
    /// found unnamed. Gives the hashes.
    ///
    /// # Errors
    /// The disk.
    pub fn collect_garbage(
        &self,
        referenced: &BTreeSet<String>,
        log: LogSpan,
        now: Instant,
    ) -> Result<Vec<String>, BlobError> {
        let mut removed = Vec::new();
        let mut since = self.shared.unreferenced_since.lock();
        let mut found = BTreeSet::new();
        let objects = self.shared.root.join(OBJECTS);
        for folder in [&self.shared.root, &objects] {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let hash = name.strip_prefix(PARTIAL).unwrap_or(&name);
                if !is_hash(hash) {
                    continue;
                }
                let path = entry.path();
                found.insert(path.clone());
                if referenced.contains(hash) {
                    since.remove(&path);
                    continue;
                }
                let (first, index) = *since.entry(path.clone()).or_insert((now, log.last_index));
                let log_may_name = *folder == objects && log.purged_index < index;
                let kept = now.saturating_duration_since(first) < UNREFERENCED_KEPT;
                if !kept && !log_may_name {
                    if entry.file_type()?.is_dir() {
                        fs::remove_dir_all(&path)?;
                    } else {
                        fs::remove_file(&path)?;
                    }
                    removed.push(hash.to_owned());
                    found.remove(&path);
                }
            }
        }
        since.retain(|path, _| found.contains(path));
        Ok(removed)
    }

    pub(super) fn place(&self, hash: &str) -> Result<PathBuf, BlobError> {
        check_hash(hash)?;
        Ok(self.shared.root.join(hash))
    }
}

/// Where the log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSpan {
    /// Index of the last entry that was let go.
    pub purged_index: u64,
    /// Index of the last entry.
    pub last_index: u64,
}

/// At most `length` bytes of a file from `offset` on.
pub(super) fn piece_of(path: &Path, (offset, length): (u64, usize)) -> Result<Vec<u8>, BlobError> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(length)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn list_folder(
    folder: &Path,
    prefix: &str,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), BlobError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Staging bounds the length of paths, and so the depth.
            if name.len() > 255 {
                return Err(BlobError::Invalid("a model folder nests too deep".into()));
            }
            list_folder(&entry.path(), &format!("{name}/"), files)?;
        } else if kind.is_file() {
            if files.len() >= FILES_MAX {
                return Err(BlobError::Invalid(format!("more than {FILES_MAX} files")));
            }
            files.push((name, entry.path()));
        } else {
            return Err(BlobError::Invalid(format!("{name} is neither file nor folder")));
        }
    }
    Ok(())
}
