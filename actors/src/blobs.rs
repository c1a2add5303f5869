//! Model folders on local disk, by content hash.
//!
//! ```text
//! blobs/HASH/model.json ...      complete and synced; never changed again
//! blobs/.staging-N/              being written; removed at the next start
//! ```
//!
//! A folder is staged under another name, every file and the folder synced, then renamed: what
//! stands under its hash is whole. It is verified again at every load, because disks lie. Folders
//! that no retained revision names go after an hour; the hour is what a client has between staging
//! a folder and proposing the change that names it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use verdict_config::Code;
use verdict_config::model::{ModelFile, content_hash, sha256_hex};

/// A folder's files: relative path to bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The most files of a folder.
pub const FILES_MAX: usize = 256;
/// The most bytes of a folder.
pub const FOLDER_BYTES_MAX: u64 = 2 << 30;
/// How long a folder that nothing names is kept.
pub const UNREFERENCED_KEPT: Duration = Duration::from_secs(3_600);

/// Why a folder cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store has no such folder.
    #[error("no model folder {0} on this node")]
    Absent(String),
    /// A folder's content is not what its name says.
    #[error("model folder {hash}: {detail}")]
    Damaged {
        /// The hash it stands under.
        hash: String,
        /// What is wrong.
        detail: String,
    },
    /// Files that cannot be a model folder.
    #[error("{0}")]
    Invalid(String),
    /// The disk.
    #[error("model store: {0}")]
    Io(#[from] io::Error),
}

impl BlobError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Absent(_) => Code::ModelNotFound,
            Self::Damaged { .. } => Code::StateDamaged,
            Self::Invalid(_) => Code::ModelInvalid,
            Self::Io(_) => Code::StorageFailed,
        }
    }

    /// Whether trying again may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// Brings folders that this node does not have from nodes that do. Blocking; whatever it brings is
/// checked against the hash that was asked for.
pub trait BlobSource: Send + Sync {
    /// The files of a folder.
    ///
    /// # Errors
    /// Nobody has it, or nobody who has it can be reached.
    fn fetch(&self, hash: &str) -> Result<Files, BlobError>;
}

/// A store of folders. Cloning is cheap; methods block on the disk.
#[derive(Debug, Clone)]
pub struct BlobStore {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    source: Option<Arc<dyn BlobSource>>,
    staged: AtomicU64,
    unreferenced_since: Mutex<HashMap<String, Instant>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("root", &self.root).finish_non_exhaustive()
    }
}

impl BlobStore {
    /// Opens the store without a source of what it does not have.
    ///
    /// # Errors
    /// As [`BlobStore::open_with`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        Self::open_with(root, None)
    }

    /// Opens the store and removes what an earlier process left half written.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open_with(
        root: impl Into<PathBuf>,
        source: Option<Arc<dyn BlobSource>>,
    ) -> Result<Self, BlobError> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".staging-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let (staged, unreferenced_since) = (AtomicU64::new(0), Mutex::new(HashMap::new()));
        Ok(Self { shared: Arc::new(Shared { root, source, staged, unreferenced_since }) })
    }

    /// Stores a folder durably and gives its content hash. A folder that is there already stays.
    ///
    /// # Errors
    /// Paths that lead out of the folder, sizes beyond the limits, or the disk.
    pub fn stage(&self, files: &Files) -> Result<String, BlobError> {
        check_shape(files)?;
        let hash = hash_of(files);
        let place = self.place(&hash)?;
        if place.is_dir() && self.read(&hash).is_ok() {
            self.shared.unreferenced_since.lock().remove(&hash);
            return Ok(hash);
        }
        let number = self.shared.staged.fetch_add(1, Ordering::Relaxed);
        let name = format!(".staging-{}-{number}", std::process::id());
        let staging = self.shared.root.join(name);
        let written = self.write_and_rename(files, &staging, &place);
        if written.is_err() {
            // What is left is removed at the next start as well.
            drop(fs::remove_dir_all(&staging));
        }
        written?;
        Ok(hash)
    }

    fn write_and_rename(
        &self,
        files: &Files,
        staging: &Path,
        place: &Path,
    ) -> Result<(), BlobError> {
        fs::create_dir(staging)?;
        let mut folders = BTreeSet::from([staging.to_path_buf()]);
        for (path, bytes) in files {
            let path = staging.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
                folders.insert(parent.to_path_buf());
            }
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        for folder in folders.iter().rev() {
            File::open(folder)?.sync_all()?;
        }
        if place.exists() {
            // A damaged folder of that name: the whole one takes its place.
            fs::remove_dir_all(place)?;
        }
        fs::rename(staging, place)?;
        File::open(&self.shared.root)?.sync_all()?;
        Ok(())
    }

    /// Whether a folder of that hash is there (not whether it is whole).
    #[must_use]
    pub fn contains(&self, hash: &str) -> bool {
        self.place(hash).is_ok_and(|place| place.is_dir())
    }

    /// Reads a folder and verifies it against its hash.
    ///
    /// # Errors
    /// Absent, damaged, or the disk.
    pub fn read(&self, hash: &str) -> Result<Files, BlobError> {
        let place = self.place(hash)?;
        if !place.is_dir() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        let mut files = Files::new();
        read_folder(&place, "", &mut files)?;
        let found = hash_of(&files);
        if found != hash {
            let detail = format!("its content has the hash {found}");
            return Err(BlobError::Damaged { hash: hash.to_owned(), detail });
        }
        Ok(files)
    }

    /// Reads a folder, or has it brought from elsewhere and keeps it. A damaged one is brought anew.
    ///
    /// # Errors
    /// As [`BlobStore::read`], where nobody else has it either.
    pub fn obtain(&self, hash: &str) -> Result<Files, BlobError> {
        let missing = match self.read(hash) {
            Ok(files) => return Ok(files),
            Err(error @ (BlobError::Absent(_) | BlobError::Damaged { .. })) => error,
            Err(error) => return Err(error),
        };
        let Some(source) = &self.shared.source else { return Err(missing) };
        let files = source.fetch(hash)?;
        let found = hash_of(&files);
        if found != hash {
            let detail = format!("what was brought has the hash {found}");
            return Err(BlobError::Damaged { hash: hash.to_owned(), detail });
        }
        self.stage(&files)?;
        Ok(files)
    }

    /// What files a folder has, with their sizes and hashes.
    ///
    /// # Errors
    /// As [`BlobStore::read`].
    pub fn describe(&self, hash: &str) -> Result<Vec<ModelFile>, BlobError> {
        Ok(described(&self.read(hash)?))
    }

    /// A piece of a file of a folder, at most `length` bytes; shorter at the file's end.
    ///
    /// # Errors
    /// Absent, a path that leads out of the folder, or the disk.
    pub fn piece(
        &self,
        hash: &str,
        path: &str,
        (offset, length): (u64, usize),
    ) -> Result<Vec<u8>, BlobError> {
        use std::os::unix::fs::FileExt;
        check_path(path)?;
        let place = self.place(hash)?;
        if !place.is_dir() {
            return Err(BlobError::Absent(hash.to_owned()));
        }
        let file = File::open(place.join(path))?;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Removes folders that `referenced` has not named for an hour, and gives their hashes.
    ///
    /// # Errors
    /// The disk.
    pub fn collect_garbage(
        &self,
        referenced: &BTreeSet<String>,
        now: Instant,
    ) -> Result<Vec<String>, BlobError> {
        let mut removed = Vec::new();
        let mut since = self.shared.unreferenced_since.lock();
        for entry in fs::read_dir(&self.shared.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_hash(&name) {
                continue;
            }
            if referenced.contains(&name) {
                since.remove(&name);
                continue;
            }
            let first = *since.entry(name.clone()).or_insert(now);
            if now.saturating_duration_since(first) >= UNREFERENCED_KEPT {
                fs::remove_dir_all(entry.path())?;
                since.remove(&name);
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Hashes name folders, so what is no hash is no path either.
    fn place(&self, hash: &str) -> Result<PathBuf, BlobError> {
        if is_hash(hash) {
            Ok(self.shared.root.join(hash))
        } else {
            let shown: String = hash.chars().take(80).collect();
            Err(BlobError::Invalid(format!("{shown:?} is no content hash")))
        }
    }
}

/// The identity of a folder, as the catalogue's model objects give it.
#[must_use]
pub fn hash_of(files: &Files) -> String {
    content_hash(&described(files))
}

fn described(files: &Files) -> Vec<ModelFile> {
    let describe = |(path, bytes): (&String, &Vec<u8>)| ModelFile {
        path: path.clone(),
        sha256: sha256_hex(bytes),
        size: bytes.len() as u64,
    };
    files.iter().map(describe).collect()
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_shape(files: &Files) -> Result<(), BlobError> {
    if files.is_empty() || files.len() > FILES_MAX {
        let text = format!("a model folder has 1 to {FILES_MAX} files, got {}", files.len());
        return Err(BlobError::Invalid(text));
    }
    let bytes: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    if bytes > FOLDER_BYTES_MAX {
        let text = format!("a model folder has at most {FOLDER_BYTES_MAX} bytes, got {bytes}");
        return Err(BlobError::Invalid(text));
    }
    files.keys().try_for_each(|path| check_path(path))
}

fn check_path(path: &str) -> Result<(), BlobError> {
    let inside =
        Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if path.is_empty() || path.len() > 255 || !inside {
        let shown: String = path.chars().take(80).collect();
        return Err(BlobError::Invalid(format!("{shown:?} is no path within a folder")));
    }
    Ok(())
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Files) -> Result<(), BlobError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Staging bounds the length of paths, and so the depth.
            if name.len() > 255 {
                return Err(BlobError::Invalid("a model folder nests too deep".into()));
            }
            read_folder(&entry.path(), &format!("{name}/"), files)?;
        } else if kind.is_file() {
            if files.len() >= FILES_MAX {
                return Err(BlobError::Invalid(format!("more than {FILES_MAX} files")));
            }
            let mut bytes = Vec::new();
            File::open(entry.path())?.take(FOLDER_BYTES_MAX).read_to_end(&mut bytes)?;
            files.insert(name, bytes);
        } else {
            return Err(BlobError::Invalid(format!("{name} is neither file nor folder")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files::from([
            ("model.json".to_owned(), b"{}".to_vec()),
            ("weights/a.safetensors".to_owned(), vec![1, 2, 3]),
        ])
    }

    #[test]
    fn a_folder_is_read_back_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let hash = store.stage(&files()).unwrap();
        assert_eq!(store.stage(&files()).unwrap(), hash, "staging again changes nothing");
        assert_eq!(store.read(&hash).unwrap(), files());
        fs::write(folder.path().join(&hash).join("model.json"), b"[]").unwrap();
        let error = store.read(&hash).unwrap_err();
        assert_eq!(error.code(), Code::StateDamaged);
        assert_eq!(store.stage(&files()).unwrap(), hash, "staging again repairs it");
        assert_eq!(store.read(&hash).unwrap(), files());
        let absent = store.read(&"0".repeat(64)).unwrap_err();
        assert_eq!(absent.code(), Code::ModelNotFound);
    }

    #[test]
    fn what_is_left_half_written_is_removed_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".staging-1-0")).unwrap();
        BlobStore::open(folder.path()).unwrap();
        assert!(!folder.path().join(".staging-1-0").exists());
    }

    #[test]
    fn folders_go_an_hour_after_the_last_reference() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let hash = store.stage(&files()).unwrap();
        let start = Instant::now();
        let collect = |named: bool, minutes: u64| {
            let referenced = named.then(|| hash.clone()).into_iter().collect();
            store.collect_garbage(&referenced, start + Duration::from_secs(60 * minutes)).unwrap()
        };
        assert!(collect(false, 0).is_empty());
        assert!(collect(false, 59).is_empty());
        assert!(collect(true, 60).is_empty(), "a reference begins the hour anew");
        assert!(collect(false, 61).is_empty());
        assert!(collect(false, 120).is_empty());
        assert_eq!(collect(false, 121), std::slice::from_ref(&hash));
        assert!(!store.contains(&hash));
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        for path in ["../x", "/etc/x", "", "a/../../x"] {
            let files = Files::from([(path.to_owned(), vec![])]);
            assert_eq!(store.stage(&files).unwrap_err().code(), Code::ModelInvalid, "{path}");
        }
        assert_eq!(store.read("../../etc").unwrap_err().code(), Code::ModelInvalid);
    }
}
