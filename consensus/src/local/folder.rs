//! The state folder: who has it, which format it has, and files that appear whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LogError;

/// What kind of folder it is, with the format that this program writes.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Stands before the number in the format file.
    pub label: &'static str,
    /// The newest format known.
    pub format: u32,
}

/// The folder of a local log. Format 2 says that its catalogue has moved to a Raft log.
pub const LOCAL: Layout = Layout { label: "verdict log", format: 1 };

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
    layout: Layout,
    /// The lock lasts as long as the file is open.
    _lock: File,
}

impl Folder {
    /// Locks a folder and checks its format.
    pub fn open(path: &Path, layout: Layout) -> Result<Self, LogError> {
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
        let is_new = !check_format(path, layout)?;
        Ok(Self { path: path.to_owned(), is_new, layout, _lock: lock })
    }

    /// Says that everything of a new folder is in place. Last, so that a folder whose making was
    /// cut short is made again.
    pub fn finish_new(&self) -> Result<(), LogError> {
        self.write_format(self.layout.format)
    }

    /// Says which format the folder has from now on.
    pub fn write_format(&self, format: u32) -> Result<(), LogError> {
        let text = format!("{} {format}\n", self.layout.label);
        write_whole(&self.path, "format", text.as_bytes())
    }

    /// Files named `PREFIX-NUMBER.SUFFIX`, by number.
    pub fn numbered(&self, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>, LogError> {
        numbered(&self.path, prefix, suffix)
    }
}

/// Files of a folder named `PREFIX-NUMBER.SUFFIX`, by number.
pub fn numbered(
    folder: &Path,
    prefix: &str,
    suffix: &str,
) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|source| io(folder, source))?;
    for entry in entries {
        let path = entry.map_err(|source| io(folder, source))?.path();
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
fn check_format(folder: &Path, layout: Layout) -> Result<bool, LogError> {
    let path = folder.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(io(&path, source)),
    };
    let found = text
        .strip_prefix(layout.label)
        .and_then(|rest| rest.trim().parse::<u32>().ok())
        .ok_or_else(|| damaged(&path, 0, format!("expected \"{} N\"", layout.label)))?;
    if found > layout.format {
        let folder = folder.display().to_string();
        return Err(LogError::Newer { folder, found, known: layout.format });
    }
    Ok(true)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| io(folder, source))
}

/// Writes a file so that it is there whole and durable, or not at all.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    write_with(folder, name, bytes, 0o666)
}

/// The same, for its owner's eyes only from the first byte on.
pub fn write_private(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    write_with(folder, name, bytes, 0o600)
}

fn write_with(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), LogError> {
    use std::os::unix::fs::OpenOptionsExt;
    let (unfinished, path) = (folder.join(format!("{name}.tmp")), folder.join(name));
    let write = || {
        // One that a process left unfinished may have another mode.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    if let Err(source) = write() {
        // A full disk keeps the empty or partial file otherwise. The first error is the one to report.
        let _ = fs::remove_file(&unfinished);
        return Err(io(&path, source));
    }
    sync_folder(folder)
}
