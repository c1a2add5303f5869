//! sled as the log's engine.
//!
//! sled's `flush` writes its buffers with `sync_file_range`, which neither waits for the disk's own
//! cache nor for the file's length: after a loss of power nothing of it need be there. So every
//! sync is a flush, then `fdatasync` on a handle of our own of the same file.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{EngineBatch, LogEngine};

/// sled's page cache; its default is a gigabyte.
const CACHE_BYTES: u64 = 16 << 20;
/// How often opening is tried while a process that has just ended lets go of the file.
const OPEN_TRIES_MAX: u32 = 50;

struct SledEngine {
    db: sled::Db,
    /// The file that sled writes, opened by us.
    file: File,
}

/// Opens a sled store in a folder, which is made if it is absent.
///
/// # Errors
/// The operating system's, or `InvalidData` for a store that sled cannot read.
pub fn open_sled(folder: &Path) -> io::Result<Arc<dyn LogEngine>> {
    let db = open_db(folder)?;
    let file = File::open(folder.join("db"))?;
    // The names of the files, and the folder's own, are durable from here on.
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    if let Some(parent) = folder.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(Arc::new(SledEngine { db, file }))
}

fn open_db(folder: &Path) -> io::Result<sled::Db> {
    for tried in 1.. {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .print_profile_on_drop(false);
        // sled meets some kinds of damage with a panic; here it is one of the answers.
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => {
                let error = io_error(error);
                if error.kind() == io::ErrorKind::InvalidData || tried >= OPEN_TRIES_MAX {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(_) => return Err(damaged("the store cannot be read")),
        }
    }
    Err(damaged("the store cannot be opened"))
}

fn damaged(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => plain(error),
        sled::Error::Corruption { .. } => damaged("the store is damaged"),
        other => io::Error::other(other.to_string()),
    }
}

/// An error of the operating system as its own text. sled hands out copies of the first one, whose text is
/// debug output and which have no number.
fn plain(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let number = match error.kind() {
        io::ErrorKind::StorageFull => 28,
        io::ErrorKind::QuotaExceeded => 122,
        io::ErrorKind::FileTooLarge => 27,
        kind => return io::Error::new(kind, kind.to_string()),
    };
    io::Error::from_raw_os_error(number)
}

impl LogEngine for SledEngine {
    fn write(&self, mut batch: EngineBatch) -> io::Result<()> {
        // A batch of sled begins with a buffer of its own, which is written, and waited for, before the
        // rest: two waits for the disk in a row, where one write is whole by itself.
        if batch.writes.len() == 1
            && let Some((key, value)) = batch.writes.pop()
        {
            let before = match value {
                Some(value) => self.db.insert(key, value),
                None => self.db.remove(key),
            };
            return before.map(drop).map_err(io_error);
        }
        let mut writes = sled::Batch::default();
        for (key, value) in batch.writes {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.db.apply_batch(writes).map_err(io_error)
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.db.get(key).map_err(io_error)?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        for entry in self.db.range(from..to) {
            let (key, value) = entry.map_err(io_error)?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that flushes, and then syncs")]
    fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io_error)?;
        self.file.sync_data()
    }

    fn disk_bytes(&self) -> u64 {
        self.file.metadata().map(|data| data.len()).unwrap_or(0)
    }
}
