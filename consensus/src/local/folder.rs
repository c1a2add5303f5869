//! The state folder: who has it, which format it has, and files that appear whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LogError;

/// The format this program writes.
const FORMAT: u32 = 1;

pub fn io(path: &Path, source: std::io::Error) -> LogError {
    LogError::Io { file: path.display().to_string(), source }
}

pub fn damaged(path: &Path, offset: u64, detail: impl Into<String>) -> LogError {
    LogError::Damaged { file: path.display().to_string(), offset, detail: detail.into() }
}

/// A folder that this process has locked.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    /// Whether it was made now.
    pub is_new: bool,
    /// The lock lasts as long as the file is open.
    _lock: File,
}

impl Folder {
    /// Locks a folder and checks its format.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        fs::create_dir_all(path).map_err(|source| io(path, source))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|source| io(&lock_path, source))?;
        lock_soon(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => LogError::Locked(path.display().to_string()),
            TryLockError::Error(source) => io(&lock_path, source),
        })?;
        let is_new = !check_format(path)?;
        Ok(Self { path: path.to_owned(), is_new, _lock: lock })
    }

    /// Says that everything of a new folder is in place. Last, so that a folder whose making was
    /// cut short is made again.
    pub fn finish_new(&self) -> Result<(), LogError> {
        write_whole(&self.path, "format", format!("verdict log {FORMAT}\n").as_bytes())
    }

    /// Files named `PREFIX-NUMBER.SUFFIX`, by number.
    pub fn numbered(&self, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>, LogError> {
        let mut found = Vec::new();
        let entries = fs::read_dir(&self.path).map_err(|source| io(&self.path, source))?;
        for entry in entries {
            let path = entry.map_err(|source| io(&self.path, source))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(suffix))
                .and_then(|number| number.parse().ok());
            if let Some(number) = number {
                found.push((number, path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Takes a lock, with a second's patience: a process that has just ended may still be on its way
/// out, and one that is being started holds its parent's files for a moment.
fn lock_soon(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..100 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    lock.try_lock()
}

/// Whether a format of ours stands there; `false` for a folder without one.
fn check_format(folder: &Path) -> Result<bool, LogError> {
    let path = folder.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(io(&path, source)),
    };
    let found = text
        .strip_prefix("verdict log ")
        .and_then(|rest| rest.trim_end().parse::<u32>().ok())
        .ok_or_else(|| damaged(&path, 0, "expected \"verdict log N\""))?;
    if found > FORMAT {
        let folder = folder.display().to_string();
        return Err(LogError::Newer { folder, found, known: FORMAT });
    }
    Ok(true)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| io(folder, source))
}

/// Writes a file so that it is there whole and durable, or not at all.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    let (unfinished, path) = (folder.join(format!("{name}.tmp")), folder.join(name));
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|source| io(&path, source))?;
    sync_folder(folder)
}
