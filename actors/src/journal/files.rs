//! Files of the journal's folder: private, locked, and there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::JournalError;

/// The format of the folder that this program writes.
const FORMAT: u32 = 1;

fn io(path: &Path) -> impl Fn(std::io::Error) -> JournalError {
    move |error| JournalError::io(path, &error)
}

/// Makes a folder that only its owner can read, and those above it.
pub fn make_folder(path: &Path) -> Result<(), JournalError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))
}

/// Locks the folder and checks its format. The lock lasts as long as the file is open.
pub fn lock_folder(path: &Path) -> Result<File, JournalError> {
    make_folder(path)?;
    let lock_path = path.join("lock");
    let lock = open_private(&lock_path)?;
    lock_soon(&lock).map_err(|error| match error {
        TryLockError::WouldBlock => JournalError::Locked(path.display().to_string()),
        TryLockError::Error(error) => JournalError::io(&lock_path, &error),
    })?;
    check_format(path)?;
    Ok(lock)
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

fn check_format(folder: &Path) -> Result<(), JournalError> {
    let path = folder.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let written = format!("verdict journal {FORMAT}\n");
            return write_whole(folder, "format", written.as_bytes());
        }
        Err(error) => return Err(JournalError::io(&path, &error)),
    };
    let found = text
        .strip_prefix("verdict journal ")
        .and_then(|rest| rest.trim_end().parse::<u32>().ok())
        .ok_or_else(|| JournalError::damaged(&path, 0, "expected \"verdict journal N\""))?;
    if found > FORMAT {
        let folder = folder.display().to_string();
        return Err(JournalError::Newer { folder, found, known: FORMAT });
    }
    Ok(())
}

/// Opens a file for reading and writing, made if absent, readable by its owner only.
pub fn open_private(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io(path))
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))
}

/// Writes a file so that it is there whole and durable, or not at all.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let (unfinished, path) = (folder.join(format!("{name}.tmp")), folder.join(name));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(io(&path))?;
    sync_folder(folder)
}

/// Files named `PREFIX-NUMBER.SUFFIX`, by number.
pub fn numbered(folder: &Path, prefix: &str, suffix: &str) -> Result<Vec<u64>, JournalError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let name = entry.map_err(io(folder))?.file_name();
        let number = name
            .to_str()
            .and_then(|name: &str| name.strip_prefix(prefix)?.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(suffix)?.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}
